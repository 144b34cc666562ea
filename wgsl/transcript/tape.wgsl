// Reading the transcript's tape: every word that was observed or sampled, in order.
//
// A kernel that imports this declares `tape: array<u32>`.
#import field/ext

/// The extension element at word `at` (four words, coefficients in order).
fn tape_ext(at: u32) -> Ext {
    return vec4<u32>(tape[at], tape[at + 1u], tape[at + 2u], tape[at + 3u]);
}

/// The low `bits` bits of the sampled word at `at`, as upstream's `sample_bits`.
fn tape_bits(at: u32, bits: u32) -> u32 {
    return f_to_u32(tape[at]) & ((1u << bits) - 1u);
}
