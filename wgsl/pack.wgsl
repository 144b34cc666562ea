// Cells of several traces behind one another: cells[at + i] = source_k[i >> log_stride], 0 between the multiples of 2^log_stride, for
// i < len, with (first workgroup, at, len, log_stride) = runs[first + k], k < count.
//
// A workgroup of 256 takes 1,024 cells of one run, four a thread, which lie 256 apart. Reads and writes 4 bytes a cell.
// Host reference: `kernels::pack::tests`.
#import grid

#interface

fn source_cell(k: u32, i: u32) -> u32 {
    switch k {
        case 0u: {
            return source_0[i];
        }
        case 1u: {
            return source_1[i];
        }
        case 2u: {
            return source_2[i];
        }
        case 3u: {
            return source_3[i];
        }
        case 4u: {
            return source_4[i];
        }
        default: {
            return source_5[i];
        }
    }
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = linear_workgroup(workgroup_id, num_workgroups);
    var k = 0u;
    while k + 1u < params.count && runs[params.first + k + 1u].x <= workgroup {
        k++;
    }
    let run = runs[params.first + k];
    let start = (workgroup - run.x) * 1024u + local;
    for (var i = start; i < min(start + 1024u, run.z); i += 256u) {
        var cell = 0u;
        if (i & ((1u << run.w) - 1u)) == 0u {
            cell = source_cell(k, i >> run.w);
        }
        cells[run.y + i] = cell;
    }
}
