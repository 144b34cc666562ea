// eq over all prefixes of r[1..]: two heaps, which eq_cube.wgsl reads.
//
// eq_tables[2^m + x] = prod_(j < m) (x_j r[1+j] + (1 - x_j)(1 - r[1+j])) for m <= low_bits, and from 2 << low_bits on the same over
// r[1+low_bits..] for m <= high_bits. Entry 0 of either heap is unused. One thread an entry, at most low_bits or high_bits products.
// Host reference: upstream's `evals_eq_hypercube` (`tests::weights_of_cubes`).
#import grid
#import field/ext

struct Params {
    low_bits: u32,
    high_bits: u32,
}

@group(0) @binding(0) var<storage, read> r: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> eq_tables: array<vec4<u32>>;
var<immediate> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let entry = linear_workgroup(workgroup_id, num_workgroups) * 64u + local;
    let low_size = 2u << params.low_bits;
    if entry >= low_size + (2u << params.high_bits) {
        return;
    }
    let high = entry >= low_size;
    let place = select(entry, entry - low_size, high);
    let first = 1u + select(0u, params.low_bits, high);
    var value = E_ONE;
    if place > 1u {
        let bits = firstLeadingBit(place);
        for (var j = 0u; j < bits; j++) {
            let factor = r[first + j];
            if ((place >> j) & 1u) != 0u {
                value = e_mul(value, factor);
            } else {
                value = e_sub(value, e_mul(value, factor));
            }
        }
    }
    eq_tables[entry] = value;
}
