// Row sponges absorb the columns of a panel: p3's PaddingFreeSponge (overwrite mode) over each row of a matrix that comes in panels.
//
// The word of (row, column) is panel[row * row_stride + column * column_stride]. A row's state between panels is two vectors of capacity
// (digests[2 row ..]) and, only where the next panel does not overwrite the whole rate, two of rate at rate_start. `position` words of the
// current block were absorbed before. A last block that is not full overwrites only its words. After the last panel the first eight words
// of the state, the row's digest, take the capacity's place.
//
// One thread a row, its state in registers: columns / RATE permutations. Bytes moved: 4 a word, 64 a row and panel.
// Host reference: MerkleHasher::hash_slice.
#import grid
#import poseidon2

#interface

const FIRST: u32 = 1u;
const LAST: u32 = 2u;
const LOAD_RATE: u32 = 4u;
const STORE_RATE: u32 = 8u;

/// Word i of the panel's words behind `position`, or what is in the state where the panel has none.
fn word(row: u32, i: u32, state: u32) -> u32 {
    // wraps around for words before the position
    let column = i - params.position;
    if column < params.columns {
        return panel[row + column * params.column_stride];
    }
    return state;
}

fn words(row: u32, i: u32, state: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(
        word(row, i, state.x),
        word(row, i + 1u, state.y),
        word(row, i + 2u, state.z),
        word(row, i + 3u, state.w),
    );
}

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_workgroup(workgroup_id, num_workgroups) * 128u + local;
    if i >= params.rows {
        return;
    }
    let row = (params.first_row + i) * params.row_stride;
    let at = 2u * (params.first_state + i);
    let zero = vec4<u32>(0u);
    var s = Poseidon2State(zero, zero, zero, zero);
    if (params.flags & FIRST) == 0u {
        s.c = digests[at];
        s.d = digests[at + 1u];
    }
    if (params.flags & LOAD_RATE) != 0u {
        s.a = digests[params.rate_start + at];
        s.b = digests[params.rate_start + at + 1u];
    }
    let last = (params.flags & LAST) != 0u;
    let end = params.position + params.columns;
    for (var block = 0u; block < end; block += RATE) {
        s.a = words(row, block, s.a);
        s.b = words(row, block + 4u, s.b);
        if last || block + RATE <= end {
            s = poseidon2(s);
        }
    }
    if last {
        digests[at] = s.a;
        digests[at + 1u] = s.b;
    } else {
        digests[at] = s.c;
        digests[at + 1u] = s.d;
    }
    if (params.flags & STORE_RATE) != 0u {
        digests[params.rate_start + at] = s.a;
        digests[params.rate_start + at + 1u] = s.b;
    }
}
