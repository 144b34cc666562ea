// The weight of each interaction in its AIR's sum: eq_3b[i] = eq((xi[first], .., xi[end - 1]), bits of b), (b, first) = entries[i],
// bit 0 of b belonging to xi[first].
//
// EF, one thread per interaction, end - first products. Host reference: upstream's eval_eq_mle.
#import grid
#import field/ext

#interface

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_workgroup(workgroup_id, num_workgroups) * 64u + local;
    if i >= params.len {
        return;
    }
    var bits = entries[i].x;
    var product = E_ONE;
    for (var k = entries[i].y; k < params.end; k++) {
        let x = xi[k];
        product = e_mul(product, select(e_sub(E_ONE, x), x, vec4<bool>((bits & 1u) != 0u)));
        bits >>= 1u;
    }
    eq_3b[i] = product;
}
