// The trace of upstream's Poseidon2 AIR: a permutation a row, with the cubes that its S-boxes keep if there are `registers` for them, and behind
// it how often it is looked up.
//
// One thread a row. Rows behind the inputs permute zeros. Host reference: `Poseidon2SubChip::generate_trace`.
#import grid
#import poseidon2
#import openvm/columns

#interface

fn cube(x: u32) -> u32 {
    return f_mul(f_mul(x, x), x);
}

fn cube4(x: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(cube(x.x), cube(x.y), cube(x.z), cube(x.w));
}

fn put4(row: u32, column: u32, x: vec4<u32>) {
    put(row, column, x.x);
    put(row, column + 1u, x.y);
    put(row, column + 2u, x.z);
    put(row, column + 3u, x.w);
}

fn put_state(row: u32, column: u32, s: Poseidon2State) {
    put4(row, column, s.a);
    put4(row, column + 4u, s.b);
    put4(row, column + 8u, s.c);
    put4(row, column + 12u, s.d);
}

/// The cubes of all words, and the state behind the round.
fn full_round(s: Poseidon2State, round: u32, row: u32, column: u32) -> Poseidon2State {
    if params.registers > 0u {
        let k = round * 4u;
        let a = cube4(f_add4(s.a, round_constants[k]));
        let b = cube4(f_add4(s.b, round_constants[k + 1u]));
        let c = cube4(f_add4(s.c, round_constants[k + 2u]));
        let d = cube4(f_add4(s.d, round_constants[k + 3u]));
        put_state(row, column, Poseidon2State(a, b, c, d));
    }
    let next = p2_external_round(s, round);
    put_state(row, column + 16u * params.registers, next);
    return next;
}

/// The cube of word 0, and its S-box.
fn partial_round(s: Poseidon2State, round: u32, row: u32, column: u32) -> Poseidon2State {
    let x = f_add(s.a.x, round_constants[32u + round].x);
    if params.registers > 0u {
        put(row, column, cube(x));
    }
    put(row, column + params.registers, p2_sbox(x));
    return p2_internal_round(s, round);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = linear_workgroup(workgroup, workgroups) * 256u + local;
    if row >= params.height {
        return;
    }
    let is_input = row < params.permuted;
    var s = Poseidon2State(vec4<u32>(0u), vec4<u32>(0u), vec4<u32>(0u), vec4<u32>(0u));
    if is_input {
        s = Poseidon2State(inputs[4u * row], inputs[4u * row + 1u], inputs[4u * row + 2u], inputs[4u * row + 3u]);
    }
    put(row, 0u, F_ONE);
    put_state(row, 1u, s);
    s = p2_external(s);
    let cells = 1u + params.registers;
    var column = 17u;
    for (var round = 0u; round < 4u; round++) {
        s = full_round(s, round, row, column);
        column += 16u * cells;
    }
    for (var round = 0u; round < 13u; round++) {
        s = partial_round(s, round, row, column);
        column += cells;
    }
    for (var round = 4u; round < 8u; round++) {
        s = full_round(s, round, row, column);
        column += 16u * cells;
    }
    for (var i = 0u; i < params.lookups; i++) {
        var count = 0u;
        if is_input {
            count = times[row * params.lookups + i] % P;
        }
        put(row, column + i, f_from_u32(count));
    }
}
