// The trace of a lookup table: what can be looked up, and how often the chips of the device and those of the host have done so.
//
// One thread a row. The device's counts begin at `first`, the host's at 0. Host reference: `generate_trace` of upstream's tables.
#import grid
#import openvm/columns

#interface

const RANGES: u32 = 0u;
const BITWISE: u32 = 1u;

fn multiplicity(i: u32) -> u32 {
    return f_add(f_from_u32(counts[params.first + i] % P), f_from_u32(host_counts[i] % P));
}

/// A value below 2^bits, by bits.
fn fill_ranges(row: u32) {
    let bits = firstLeadingBit(row + 1u);
    put_u32(row, 0u, row + 1u - (1u << bits));
    put_u32(row, 1u, bits);
    put_u32(row, 2u, 1u << bits);
    put(row, 3u, multiplicity(row));
}

/// Two bytes by their bits.
fn fill_bitwise(row: u32) {
    for (var i = 0u; i < 8u; i++) {
        put_bool(row, i, ((row >> (8u + i)) & 1u) != 0u);
        put_bool(row, 8u + i, ((row >> i) & 1u) != 0u);
    }
    put(row, 16u, multiplicity(row));
    put(row, 17u, multiplicity(params.height + row));
}

fn fill_tuples(row: u32) {
    put_u32(row, 0u, row / params.tuple_size);
    put_u32(row, 1u, row % params.tuple_size);
    put(row, 2u, multiplicity(row));
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = linear_workgroup(workgroup, workgroups) * 256u + local;
    if row < params.height {
        switch params.table {
            case RANGES: { fill_ranges(row); }
            case BITWISE: { fill_bitwise(row); }
            default: { fill_tuples(row); }
        }
    }
}
