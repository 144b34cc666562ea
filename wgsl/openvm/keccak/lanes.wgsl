// Keccak's lanes of 64 bits as two words, the low one first; lane (x, y) of a state at x + 5 y.

const ROUNDS: u32 = 24u;
const LANES: u32 = 25u;

const ROUND_CONSTANTS = array<vec2<u32>, 24>(
    vec2<u32>(0x00000001u, 0x00000000u),
    vec2<u32>(0x00008082u, 0x00000000u),
    vec2<u32>(0x0000808au, 0x80000000u),
    vec2<u32>(0x80008000u, 0x80000000u),
    vec2<u32>(0x0000808bu, 0x00000000u),
    vec2<u32>(0x80000001u, 0x00000000u),
    vec2<u32>(0x80008081u, 0x80000000u),
    vec2<u32>(0x00008009u, 0x80000000u),
    vec2<u32>(0x0000008au, 0x00000000u),
    vec2<u32>(0x00000088u, 0x00000000u),
    vec2<u32>(0x80008009u, 0x00000000u),
    vec2<u32>(0x8000000au, 0x00000000u),
    vec2<u32>(0x8000808bu, 0x00000000u),
    vec2<u32>(0x0000008bu, 0x80000000u),
    vec2<u32>(0x00008089u, 0x80000000u),
    vec2<u32>(0x00008003u, 0x80000000u),
    vec2<u32>(0x00008002u, 0x80000000u),
    vec2<u32>(0x00000080u, 0x80000000u),
    vec2<u32>(0x0000800au, 0x00000000u),
    vec2<u32>(0x8000000au, 0x80000000u),
    vec2<u32>(0x80008081u, 0x80000000u),
    vec2<u32>(0x00008080u, 0x80000000u),
    vec2<u32>(0x80000001u, 0x00000000u),
    vec2<u32>(0x80008008u, 0x80000000u),
);

fn rotate(lane: vec2<u32>, bits: u32) -> vec2<u32> {
    let turned = select(lane, lane.yx, bits >= 32u);
    let carried = turned.yx;
    let rest = vec2<u32>(bits & 31u);
    return (turned << rest) | ((carried >> vec2<u32>(1u)) >> (vec2<u32>(31u) - rest));
}

/// Where a lane goes (pi).
fn moved_lane(lane: u32) -> u32 {
    let x = lane % 5u;
    let y = lane / 5u;
    return y + 5u * ((2u * x + 3u * y) % 5u);
}

/// By how much the lane rotates that is the i-th on the way from (1, 0) (rho).
fn rotation(i: u32) -> u32 {
    return ((i + 1u) * (i + 2u) / 2u) & 63u;
}
