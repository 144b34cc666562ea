// The adapter of branches: two registers are read. Columns 0 to 9.
//
// Host reference: `Rv32BranchAdapterFiller`.
#import openvm/row

const BRANCH_RECORD: u32 = 6u;
const BRANCH_WIDTH: u32 = 10u;

struct Branch {
    pc: u32,
    timestamp: u32,
    rs1: u32,
    rs2: u32,
    read1: u32,
    read2: u32,
}

fn load_branch(at: u32) -> Branch {
    return Branch(
        records[at],
        records[at + 1u],
        records[at + 2u],
        records[at + 3u],
        records[at + 4u],
        records[at + 5u],
    );
}

fn put_branch(row: u32, branch: Branch) {
    put_u32(row, 0u, branch.pc);
    put_u32(row, 1u, branch.timestamp);
    put_u32(row, 2u, branch.rs1);
    put_u32(row, 3u, branch.rs2);
    put_access(row, 4u, branch.read1, branch.timestamp);
    put_access(row, 7u, branch.read2, branch.timestamp + 1u);
}
