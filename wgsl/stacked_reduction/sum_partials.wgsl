// out[out_at + e] = sum_(i < count) partials[2 i + e] for e = 0, 1: a round's evaluations at 1 and 2.
//
// One workgroup of 256 threads, even ones for e = 0. Host reference: `tests::cube_rounds`.
#import field/ext

struct Params {
    count: u32,
    out_at: u32,
}

@group(0) @binding(0) var<storage, read> partials: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<u32>>;
var<immediate> params: Params;

var<workgroup> sums: array<vec4<u32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) local: u32) {
    var sum = E_ZERO;
    for (var i = local; i < 2u * params.count; i += 256u) {
        sum = e_add(sum, partials[i]);
    }
    sums[local] = sum;
    workgroupBarrier();
    for (var s = 128u; s >= 2u; s >>= 1u) {
        if local < s {
            sums[local] = e_add(sums[local], sums[local + s]);
        }
        workgroupBarrier();
    }
    if local < 2u {
        out[params.out_at + local] = sums[local];
    }
}
