// DFTs of length N = 2^log_n <= 8 by their definition: dst[k] = sum_j w_N^(j k) src[j] for j < 2^log_in.
//
// Columns and elements of 2^log_ext words as in ntt/pass.wgsl; `inverse`: w_N^(-j k), divided by N. One thread a word, at most eight
// products each. Host reference: p3_dft::Radix2DitParallel.
#import grid
#import ntt/roots

#interface

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_workgroup(workgroup_id, num_workgroups) * 256u + local;
    if i >= params.words {
        return;
    }
    let coordinate = i & ((1u << params.log_ext) - 1u);
    let mask = (1u << params.log_n) - 1u;
    var k = (i >> params.log_ext) & mask;
    if params.inverse != 0u {
        k = (0u - k) & mask;
    }
    let column = i >> (params.log_ext + params.log_n);
    var sum = 0u;
    for (var j = 0u; j < (1u << params.log_in); j++) {
        let x = src[(((column << params.log_in) + j) << params.log_ext) + coordinate];
        sum = f_add(sum, f_mul(x, root(((j * k) & mask) << (27u - params.log_n))));
    }
    if params.inverse != 0u {
        sum = f_div_2exp(sum, params.log_n);
    }
    dst[i] = sum;
}
