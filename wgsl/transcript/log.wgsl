// Reading the transcript's log: every word that was observed or sampled, in order.
//
// A kernel that imports this declares `transcript_log: array<u32>`.
#import field/ext

/// The extension element at word `at` (four words, coefficients in order).
fn log_ext(at: u32) -> Ext {
    return vec4<u32>(transcript_log[at], transcript_log[at + 1u], transcript_log[at + 2u], transcript_log[at + 3u]);
}

/// The low `bits` bits of the sampled word at `at`, as upstream's `sample_bits`.
fn log_bits(at: u32, bits: u32) -> u32 {
    return f_to_u32(transcript_log[at]) & ((1u << bits) - 1u);
}
