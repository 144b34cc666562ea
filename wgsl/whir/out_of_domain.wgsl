// g(z) = sum_{b < len} z^b g_b(z^len) from the inner products g_b = dots[at + b] (wgsl/whir/dots.wgsl), z at word `word` of the tape.
//
// One thread, len <= 256 products (Horner).
// Host reference: evaluation of g at pow(z).
#import transcript/tape

struct Params {
    word: u32,
    at: u32,
    len: u32,
}

@group(0) @binding(0) var<storage, read> tape: array<u32>;
@group(0) @binding(1) var<storage, read> dots: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> value: array<vec4<u32>>;
var<immediate> params: Params;

@compute @workgroup_size(1)
fn main() {
    let z = tape_ext(params.word);
    var sum = E_ZERO;
    for (var b = params.len; b > 0u; b--) {
        sum = e_add(e_mul(sum, z), dots[params.at + b - 1u]);
    }
    value[0] = sum;
}
