// The adapter of loads and stores: a register and an offset make an address; one word is read, one written. Columns 0 to 22.
//
// Host reference: `Rv32LoadStoreAdapterFiller`.
#import openvm/row

const MEMORY_RECORD: u32 = 9u;
const MEMORY_WIDTH: u32 = 23u;

struct MemoryAccess {
    pc: u32,
    timestamp: u32,
    rs1: u32,
    rs1_value: u32,
    read1: u32,
    /// Nothing is written where this is NO_REGISTER.
    rd_rs2: u32,
    read2: u32,
    offset: u32,
    is_negative: bool,
    space: u32,
    write: u32,
}

fn load_memory(at: u32) -> MemoryAccess {
    let packed = records[at + 7u];
    return MemoryAccess(
        records[at],
        records[at + 1u],
        records[at + 2u],
        records[at + 3u],
        records[at + 4u],
        records[at + 5u],
        records[at + 6u],
        packed & 0xffffu,
        limb(packed, 2u) != 0u,
        packed >> 24u,
        records[at + 8u],
    );
}

fn put_memory(row: u32, access: MemoryAccess) {
    put_u32(row, 0u, access.pc);
    put_u32(row, 1u, access.timestamp);
    put_u32(row, 2u, access.rs1);
    put_limbs(row, 3u, access.rs1_value);
    put_access(row, 7u, access.read1, access.timestamp);
    let writes = access.rd_rs2 != NO_REGISTER;
    put_u32(row, 10u, select(0u, access.rd_rs2, writes));
    put_access(row, 11u, access.read2, access.timestamp + 1u);
    put_u32(row, 14u, access.offset);
    put_bool(row, 15u, access.is_negative);
    let address = access.rs1_value + (access.offset | select(0u, 0xffff0000u, access.is_negative));
    put_u32(row, 16u, address & 0xffffu);
    put_u32(row, 17u, address >> 16u);
    count_range((address & 0xffffu) >> 2u, 14u);
    count_range(address >> 16u, params.pointer_bits - 16u);
    put_u32(row, 18u, access.space);
    if writes {
        put_access(row, 19u, access.write, access.timestamp + 2u);
    } else {
        put_zeros(row, 19u, 3u);
    }
    put_bool(row, 22u, writes);
}
