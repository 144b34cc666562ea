// Inner products of the residue classes of f with product weights: for term t and b < 2^k
//   dots[t][b] = sum_y f[2^k y + b] e_t[y],  e_t[(y_high, y_low)] = high_t[y_high] low_t[y_low].
// This leaves one partial sum a workgroup, for wgsl/sum_rows.wgsl: partials[t][b][y_high].
//
// f: 2^chunk_bits entries for each of `chunks` values of y_high. halves[t]: low_t (2^(chunk_bits - k)), then high_t (missing when
// chunks = 1), `halves_len` entries. k <= 8.
// One workgroup a chunk, z the term. A thread's entries all have the same b, so it sums over y_low, one product an entry; the
// threads of a b are then added up in workgroup memory and multiplied with high_t[y_high]. Reads f once a term.
// Host reference: the formula.
#import grid
#import field/ext
#import reduce

#interface

const THREADS: u32 = 256u;
const SUMS: u32 = 1u;
var<workgroup> sums: array<vec4<u32>, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let chunk = linear_workgroup(workgroup, workgroups);
    let term = workgroup.z;
    let low = term * params.halves_len;
    let first = chunk << params.chunk_bits;
    var sum = E_ZERO;
    if chunk < params.chunks {
        for (var i = local; i < (1u << params.chunk_bits); i += THREADS) {
            sum = e_add(sum, e_mul(f[first + i], halves[low + (i >> params.k)]));
        }
    }
    sums[local] = sum;
    reduce(local, THREADS, 1u << params.k);
    if local < (1u << params.k) && chunk < params.chunks {
        var total = sums[local];
        if params.chunks > 1u {
            total = e_mul(total, halves[low + (1u << (params.chunk_bits - params.k)) + chunk]);
        }
        partials[((term << params.k) + local) * params.chunks + chunk] = total;
    }
}
