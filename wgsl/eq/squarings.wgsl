// out[at + i] = x^(2^i) for i < len, x = the extension element at word `word` of the transcript tape: the point pow(x) of the hypercube,
// at which a multilinear polynomial with coefficients c takes the value sum_j c[j] x^j.
//
// One thread for all (len <= 32, each is the square of the one before).
// Host reference: exp_powers_of_2.
#import transcript/tape

#interface

@compute @workgroup_size(1)
fn main() {
    var x = tape_ext(params.word);
    for (var i = 0u; i < params.len; i++) {
        out[params.at + i] = x;
        x = e_square(x);
    }
}
