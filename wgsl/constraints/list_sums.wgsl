// out[sums_at + v] = sum over the slots of a job of partials[slot][v], v < values: what the items of a work list left.
//
// EF; `slot_len` elements of partials a slot. Job z, list[params.entries + z]: first slot, slots, values, sums_at. One workgroup per (job z,
// value x); its threads stride over the slots, then add up in workgroup memory.
// Host reference: kernels::constraints::list::tests.
#import field/ext
#import reduce

#interface

const THREADS: u32 = 64u;
/// Values of a thread.
const SUMS: u32 = 1u;
var<workgroup> sums: array<vec4<u32>, THREADS>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let entry = list[params.entries + workgroup_id.z];
    let v = workgroup_id.x;
    // jobs have different numbers of values: who has none joins the barriers with nothing to add
    let slots = select(0u, entry.y, v < entry.z);
    var sum = E_ZERO;
    for (var s = local; s < slots; s += THREADS) {
        sum = e_add(sum, partials[(entry.x + s) * params.slot_len + v]);
    }
    sums[local] = sum;
    reduce(local, THREADS, 1u);
    if local == 0u && v < entry.z {
        out[entry.w + v] = sums[local];
    }
}
