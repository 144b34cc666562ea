// f[row] += sum_s mu^s q(row, s) over the cells of one block of the stacked matrix q, the algebraic batching of WHIR.
//
// The block is `cells` consecutive cells in column-major order of q (height 2^log_height), the first in row `first_row` of column
// `first_column`. Cell c of the block is source[c >> log_stride] where 2^log_stride divides c, else zero (traces lower than 2^l_skip are
// strided). The block may be many columns high: thread i < min(cells, height) takes the cells i, i + height, .., which
// all lie in one row, so no two threads meet.
// mu: powers of mu, one a column of q. f: 2^log_height extension elements.
// Reads the block once (4 bytes a cell), reads and writes 16 bytes a row.
// Host reference: the sum, from the cells of upstream's stacked matrix.
#import grid
#import field/ext

struct Params {
    start: u32,
    cells: u32,
    threads: u32,
    first_row: u32,
    first_column: u32,
    log_height: u32,
    log_stride: u32,
}

@group(0) @binding(0) var<storage, read> source: array<u32>;
@group(0) @binding(1) var<storage, read> mu: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> f: array<vec4<u32>>;
var<immediate> params: Params;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_workgroup(workgroup, workgroups) * 256u + lane;
    if i >= params.threads || (i & ((1u << params.log_stride) - 1u)) != 0u {
        return;
    }
    let height = 1u << params.log_height;
    let row = (params.first_row + i) & (height - 1u);
    var column = params.first_column + ((params.first_row + i) >> params.log_height);
    var sum = f[row];
    for (var cell = i; cell < params.cells; cell += height) {
        sum = e_add(sum, e_scale(mu[column], source[params.start + (cell >> params.log_stride)]));
        column++;
    }
    f[row] = sum;
}
