// g(z) = sum_{b < len} z^b g_b(z^len) from the inner products g_b = dots[at + b] (wgsl/whir/dots.wgsl), z at word `word` of the tape.
//
// One thread, len <= 256 products (Horner).
// Host reference: evaluation of g at pow(z).
#import transcript/tape

#interface

@compute @workgroup_size(1)
fn main() {
    let z = tape_ext(params.word);
    var sum = E_ZERO;
    for (var b = params.len; b > 0u; b--) {
        sum = e_add(e_mul(sum, z), dots[params.at + b - 1u]);
    }
    value[0] = sum;
}
