// A round of a product sumcheck over values F and weights K: after a fold, sums over the pairs (2 i, 2 i + 1) of F(1) K(1) and of F(2) K(2), where
// F(X) = F_2i + X (F_2i+1 - F_2i).
//
// The importer declares `element(i, u)`, which makes element i of both (folded with u) and stores it, and `params` (`u_word`, `workgroups`, `partial_at`).
// Thread i takes pairs i, i + threads, ..; workgroup w leaves partials[2 (partial_at + w)] and the next.
#import reduce
#import transcript/tape

const THREADS: u32 = 256u;
/// Of F(1) K(1) and of F(2) K(2).
const SUMS: u32 = 2u;
var<workgroup> sums: array<vec4<u32>, 512>;

struct Element {
    value: Ext,
    weight: Ext,
}

/// Makes `len` elements and sums the pairs of those below `paired`.
fn product_round(group: u32, local: u32, len: u32, paired: u32) {
    var one = E_ZERO;
    var two = E_ZERO;
    if group < params.workgroups {
        let u = tape_ext(params.u_word);
        for (var i = group * THREADS + local; 2u * i < len; i += params.workgroups * THREADS) {
            let low = element(2u * i, u);
            if 2u * i + 1u < len {
                let high = element(2u * i + 1u, u);
                if 2u * i < paired {
                    one = e_add(one, e_mul(high.value, high.weight));
                    let value = e_sub(e_double(high.value), low.value);
                    two = e_add(two, e_mul(value, e_sub(e_double(high.weight), low.weight)));
                }
            }
        }
    }
    sums[local] = one;
    sums[THREADS + local] = two;
    reduce(local, THREADS, 1u);
    if local == 0u && group < params.workgroups {
        partials[2u * (params.partial_at + group)] = sums[local];
        partials[2u * (params.partial_at + group) + 1u] = sums[THREADS + local];
    }
}
