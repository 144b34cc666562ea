// combined[row] (+)= sum_c lambda_powers[first_view + c] * source[offset + c * pitch + row * stride], c < views, row < rows.
//
// One pass over the cells of a run of equally tall columns. A workgroup takes 2^row_lanes_log consecutive rows (32, so that a warp
// reads 128 consecutive bytes) and spreads the columns over its other threads, four columns a step; their sums meet in workgroup memory.
// Reads 4 bytes and does 4 wide products per cell; writes 16 bytes per row (and reads them when it accumulates).
// Host reference: `tests::combinations_of_columns`.
#import grid
#import stacked_reduction/dot4

struct Params {
    offset: u32,
    pitch: u32,
    stride: u32,
    rows: u32,
    views: u32,
    first_view: u32,
    row_lanes_log: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<storage, read> source: array<u32>;
@group(0) @binding(1) var<storage, read> lambda_powers: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> combined: array<vec4<u32>>;
var<immediate> params: Params;

var<workgroup> sums: array<vec4<u32>, 256>;

/// The cell of view `c` in the row that begins at `at`; zero past the last view.
fn cell(at: u32, c: u32) -> u32 {
    let last = params.views - 1u;
    return select(0u, source[at + min(c, last) * params.pitch], c <= last);
}

fn weight(c: u32) -> Ext {
    return lambda_powers[params.first_view + min(c, params.views - 1u)];
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row_lanes = 1u << params.row_lanes_log;
    let row = linear_workgroup(workgroup_id, num_workgroups) * row_lanes + (local & (row_lanes - 1u));
    let step = 4u * (256u >> params.row_lanes_log);
    var sum = E_ZERO;
    if row < params.rows {
        let at = params.offset + row * params.stride;
        for (var c = 4u * (local >> params.row_lanes_log); c < params.views; c += step) {
            let values = vec4<u32>(cell(at, c), cell(at, c + 1u), cell(at, c + 2u), cell(at, c + 3u));
            sum = e_add(sum, e_dot4(weight(c), weight(c + 1u), weight(c + 2u), weight(c + 3u), values));
        }
    }
    sums[local] = sum;
    workgroupBarrier();
    for (var s = 128u; s >= row_lanes; s >>= 1u) {
        if local < s {
            sums[local] = e_add(sums[local], sums[local + s]);
        }
        workgroupBarrier();
    }
    if local < row_lanes && row < params.rows {
        var total = sums[local];
        if params.accumulate != 0u {
            total = e_add(total, combined[row]);
        }
        combined[row] = total;
    }
}
