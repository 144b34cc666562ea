// out[x 2^l_skip + z] = point[z] eq(x, u[1..1+bits]) for x < 2^bits: the weights of a column's cells in its opening at u.
//
// One thread an element, at most `bits` products. Challenge u_j lies at word u_word + 12 (j - 1) of the tape for u_word = that of u_1.
// Host reference: `tests::openings_of_columns`.
#import grid
#import transcript/tape

#interface

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_workgroup(workgroup_id, num_workgroups) * 64u + local;
    if i >= 1u << (params.l_skip + params.bits) {
        return;
    }
    var weight = point[i & ((1u << params.l_skip) - 1u)];
    for (var j = 0u; j < params.bits; j++) {
        let product = e_mul(weight, tape_ext(params.u_word + 12u * j));
        if ((i >> (params.l_skip + j)) & 1u) != 0u {
            weight = product;
        } else {
            weight = e_sub(weight, product);
        }
    }
    out[i] = weight;
}
