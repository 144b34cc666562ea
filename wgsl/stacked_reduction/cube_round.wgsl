// One round of the product sumcheck over the combined vectors F and their weights K, all groups concatenated, tallest first:
//   F' = fold of F with u, K' = fold of K with u (only with `fold`; else F' = F, K' = K and nothing is written),
//   partials = sums over the pairs (2 i, 2 i + 1) below `paired` of F'(1) K'(1) and of F'(2) K'(2), F'(X) = F'_2i + X (F'_2i+1 - F'_2i).
//
// Elements from `paired` on belong to groups that have no variable left: they are folded but not summed. Thread i takes pairs i,
// i + threads, ..; a workgroup writes partials[2 (partial_at + w)] and the next. Reads 128 bytes and writes 64 per pair, 8 products.
// Host reference: `tests::cube_rounds`.
#import grid
#import transcript/tape

struct Params {
    len: u32,
    paired: u32,
    fold: u32,
    u_word: u32,
    workgroups: u32,
    partial_at: u32,
}

@group(0) @binding(0) var<storage, read> tape: array<u32>;
@group(0) @binding(1) var<storage, read> values: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> next_values: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> next_weights: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> partials: array<vec4<u32>>;
var<immediate> params: Params;

var<workgroup> at_one: array<vec4<u32>, 256>;
var<workgroup> at_two: array<vec4<u32>, 256>;

/// Element i of F' and K'.
fn element(i: u32, u: Ext) -> array<vec4<u32>, 2> {
    if params.fold == 0u {
        return array<vec4<u32>, 2>(values[i], weights[i]);
    }
    let value = e_fold(values[2u * i], values[2u * i + 1u], u);
    let weight = e_fold(weights[2u * i], weights[2u * i + 1u], u);
    next_values[i] = value;
    next_weights[i] = weight;
    return array<vec4<u32>, 2>(value, weight);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let group = linear_workgroup(workgroup_id, num_workgroups);
    var one = E_ZERO;
    var two = E_ZERO;
    if group < params.workgroups {
        let u = tape_ext(params.u_word);
        for (var i = group * 256u + local; 2u * i < params.len; i += params.workgroups * 256u) {
            let low = element(2u * i, u);
            if 2u * i + 1u < params.len {
                let high = element(2u * i + 1u, u);
                if 2u * i < params.paired {
                    one = e_add(one, e_mul(high[0], high[1]));
                    two = e_add(two, e_mul(e_sub(e_double(high[0]), low[0]), e_sub(e_double(high[1]), low[1])));
                }
            }
        }
    }
    at_one[local] = one;
    at_two[local] = two;
    workgroupBarrier();
    for (var s = 128u; s > 0u; s >>= 1u) {
        if local < s {
            at_one[local] = e_add(at_one[local], at_one[local + s]);
            at_two[local] = e_add(at_two[local], at_two[local + s]);
        }
        workgroupBarrier();
    }
    if local == 0u && group < params.workgroups {
        partials[2u * (params.partial_at + group)] = at_one[local];
        partials[2u * (params.partial_at + group) + 1u] = at_two[local];
    }
}
