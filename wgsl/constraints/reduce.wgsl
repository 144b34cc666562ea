// out[a * points + p] += sum over chunks c and rows x of partials[c][a][x * points + p].
//
// EF throughout; `evaluations` = rows * points elements for each (c, a). One workgroup per (a, p); its threads stride over the
// chunks * rows terms, then add up in workgroup memory.
// Host reference: kernels::constraints::tests.
#import grid
#import field/ext
#import reduce

#interface

const THREADS: u32 = 128u;
/// Values of a thread.
const SUMS: u32 = 1u;
var<workgroup> sums: array<vec4<u32>, THREADS>;

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let target_sum = linear_workgroup(workgroup_id, num_workgroups);
    let a = target_sum / params.points;
    let p = target_sum - a * params.points;
    let rows = params.evaluations / params.points;
    // a folded grid may have workgroups past the end; they join the barriers with nothing to add
    let terms = select(0u, params.chunks * rows, a < params.accumulators);
    var sum = E_ZERO;
    for (var i = local; i < terms; i += THREADS) {
        let c = i / rows;
        let x = i - c * rows;
        sum = e_add(sum, partials[(c * params.accumulators + a) * params.evaluations + x * params.points + p]);
    }
    sums[local] = sum;
    reduce(local, THREADS, 1u);
    if local == 0u && a < params.accumulators {
        let at = params.sums_offset + target_sum;
        out[at] = e_add(out[at], sums[local]);
    }
}
