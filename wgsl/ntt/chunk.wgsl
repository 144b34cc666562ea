// The map from evaluations to Reed-Solomon coefficients, chunk by chunk: the inverse DFT of each chunk of 2^l consecutive elements, then
// the sum over subsets of the index's bits: c[k] = sum_{j subset of k} iDFT(chunk)[j].
//
// Values come from `src`, a run of trace cells (strided when short) and then zeros, or from `data` itself with IN_PLACE. Elements are 2^log_ext words; l <= 9.
//
// A workgroup of 256 threads takes 4,096 consecutive words in workgroup memory, sixteen a thread. Up to four bits of the index from the
// top at a time: inverse DFT of those bits (decimation in frequency), the roots, the subset sums over them, which commute with all later
// steps. The order of the digits is undone when the values are stored. Bytes moved: 8 a word.
// Host reference: openvm_stark_backend::prover::poly::eval_to_coeff_rs_message.
#import grid
#import ntt/tile
#import ntt/roots

#interface

fn source_word(i: u32) -> u32 {
#if IN_PLACE
    return data[params.target_offset + i];
#else
    if i >= params.filled || (i & ((1u << params.log_stride) - 1u)) != 0u {
        return 0u;
    }
    return src[params.source + (i >> params.log_stride)];
#endif
}

/// Coefficient k of a chunk lies where its digits, lowest first, are the digits that were transformed first: the highest.
fn place(k: u32) -> u32 {
    if params.log_chunk <= 4u {
        return k;
    }
    if params.log_chunk <= 8u {
        return ((k & 15u) << (params.log_chunk - 4u)) | (k >> 4u);
    }
    return ((k & 15u) << 5u) | (((k >> 4u) & 15u) << 1u) | (k >> 8u);
}

/// The digit of log_radix bits at bit `low` of the element's index.
fn transform_digit(local: u32, low: u32, log_radix: u32) {
    let bit = low + params.log_ext;
    let base = digit_base(local, bit, log_radix);
    let slots = digit_slots(bit, log_radix);
    var x = block_dft(get_block(base, slots), log_radix);
    if low > 0u {
        let rest = (local & ((1u << bit) - 1u)) >> params.log_ext;
        x = block_mul(x, block_roots(log_radix, rest << (27u - low - log_radix), 0u));
    }
    put_block(base, slots, block_zeta(x, log_radix));
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let start = linear_workgroup(workgroup_id, num_workgroups) * 4096u;
    for (var k = 0u; k < 4096u; k += 256u) {
        let i = k + local;
        var x = 0u;
        if start + i < params.len {
            x = f_div_2exp(source_word(start + i), params.log_chunk);
        }
        tile[padded(i)] = x;
    }
    var bits = params.log_chunk;
    while bits > 0u {
        workgroupBarrier();
        let log_radix = min(bits, 4u);
        bits -= log_radix;
        transform_digit(local, bits, log_radix);
    }
    workgroupBarrier();
    let chunk_mask = (1u << params.log_chunk) - 1u;
    for (var j = 0u; j < 4096u; j += 256u) {
        let i = j + local;
        if start + i < params.len {
            let element = i >> params.log_ext;
            let place_of = (element & ~chunk_mask) | place(element & chunk_mask);
            data[params.target_offset + start + i] = tile[padded((place_of << params.log_ext) | (i & ((1u << params.log_ext) - 1u)))];
        }
    }
}
