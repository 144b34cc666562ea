// Nodes of the fraction tree, `rise` levels (0 to 3) above the source: node i is the sum of the source's fractions
// i * 2^rise .. (i + 1) * 2^rise.
//
// Source fractions from `real` on are padding: 0 / alpha^(2^squarings). With BASE_NUMERATORS, the source's are of the base field.
//
// One thread a node, `len` nodes from source node `source_at` (counted in nodes) to `target_at`. One pass: reads 32 (or 20) * 2^rise bytes and
// writes 32 bytes a node; 3 (2^rise - 1) extension products a node. Levels in between are not stored: layers near the leaves are
// evaluated from the leaves again (see window.wgsl), which moves no more bytes than storing them would.
// Host reference: `Frac::add` of upstream's fractional_sumcheck_gkr.
#import grid
#import gkr/fraction
#import gkr/numerator
#import gkr/state

#interface

fn leaf(i: u32) -> Fraction {
    let real = i < params.real;
    let at = select(0u, i, real);
    let there = vec4<bool>(real);
    return Fraction(select(E_ZERO, numerator(at), there), select(state[PADDING + params.squarings], source_q[at], there));
}

fn pair(i: u32) -> Fraction {
    return fraction_sum(leaf(2u * i), leaf(2u * i + 1u));
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_workgroup(workgroup_id, num_workgroups) * 256u + local;
    if i >= params.len {
        return;
    }
    let at = params.source_at + i;
    var sum: Fraction;
    if params.rise == 0u {
        sum = leaf(at);
    } else {
        let pairs = 1u << (params.rise - 1u);
        sum = pair(at * pairs);
        // sums of neighbours in any order are the same node
        for (var k = 1u; k < pairs; k++) {
            sum = fraction_sum(sum, pair(at * pairs + k));
        }
    }
    target_p[params.target_at + i] = sum.p;
    target_q[params.target_at + i] = sum.q;
}
