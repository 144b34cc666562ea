// A run of cells of the stacked matrix: dst[target + i] = src[source + i / stride] where stride divides i and the source has it, else 0.
//
// `len` cells of the panel from `target`; `filled` of them come from the source (times the stride), the rest is padding. A trace
// shorter than 2^l_skip is lifted by striding, all others have log_stride 0.
//
// A workgroup of 256 threads copies 2,048 consecutive cells, eight a thread, 256 apart. One pass: 8 bytes moved a cell.
// Host reference: openvm_stark_backend::prover::stacked_pcs::stacked_matrix.
#import grid

struct Params {
    source: u32,
    target_offset: u32,
    filled: u32,
    len: u32,
    log_stride: u32,
}

@group(0) @binding(0) var<storage, read> src: array<u32>;
@group(0) @binding(1) var<storage, read_write> dst: array<u32>;
var<immediate> params: Params;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let start = linear_workgroup(workgroup_id, num_workgroups) * 2048u + thread;
    let between = (1u << params.log_stride) - 1u;
    for (var k = 0u; k < 8u; k++) {
        let i = start + k * 256u;
        if i < params.len {
            var cell = 0u;
            if i < params.filled && (i & between) == 0u {
                cell = src[params.source + (i >> params.log_stride)];
            }
            dst[params.target_offset + i] = cell;
        }
    }
}
