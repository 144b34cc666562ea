// Poseidon2 over BabyBear, width 16: 4 + 13 + 4 rounds, x^7, the constants and matrices of p3's `default_babybear_poseidon2_16`.
//
// The state is four vec4 (word i is component i % 4 of vector i / 4), so that the external matrix is the same 4x4
// circulant inside every vector followed by a sum across vectors. Rounds are loops: unrolling them only grows the code.
// A kernel that imports this declares `round_constants`, as an `array<vec4<u32>>` in storage or as constants (kernels::poseidon2::round_constants):
// 8 external rounds of four vectors, then 13 internal constants, one in the x of a vector each (in the y: the internal diagonal).
// Host reference: p3_baby_bear::default_babybear_poseidon2_16.
#import field/baby_bear

/// Words of the state that a sponge absorbs or gives out with one permutation.
const RATE: u32 = 8u;

/// All that `kernels::poseidon2::round_constants` has.
alias RoundConstants = array<vec4<u32>, 112>;

struct Poseidon2State {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
}

fn f_add4(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    let s = a + b;
    return min(s, s - vec4<u32>(P));
}

fn p2_sbox(x: u32) -> u32 {
    // x2 < 1.47 p, x3 < 1.69 p and x4 < 1.02 p, so that the products stay below p * 2^32
    let x2 = f_mul_lazy(x, x);
    let x3 = f_mul_lazy(x2, x);
    let x4 = f_mul(x2, x2);
    return f_mul(x3, x4);
}

fn p2_sbox4(x: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(p2_sbox(x.x), p2_sbox(x.y), p2_sbox(x.z), p2_sbox(x.w));
}

/// The circulant (2 3 1 1) on one vector.
fn p2_mat4(x: vec4<u32>) -> vec4<u32> {
    let t01 = f_add(x.x, x.y);
    let t23 = f_add(x.z, x.w);
    let t = f_add(t01, t23);
    let t1 = f_add(t, x.y);
    let t3 = f_add(t, x.w);
    return vec4<u32>(f_add(t1, t01), f_add(t1, f_double(x.z)), f_add(t3, t23), f_add(t3, f_double(x.x)));
}

fn p2_external(s: Poseidon2State) -> Poseidon2State {
    let a = p2_mat4(s.a);
    let b = p2_mat4(s.b);
    let c = p2_mat4(s.c);
    let d = p2_mat4(s.d);
    let sum = f_add4(f_add4(a, b), f_add4(c, d));
    return Poseidon2State(f_add4(a, sum), f_add4(b, sum), f_add4(c, sum), f_add4(d, sum));
}

fn p2_external_round(s: Poseidon2State, round: u32) -> Poseidon2State {
    let k = round * 4u;
    return p2_external(Poseidon2State(
        p2_sbox4(f_add4(s.a, round_constants[k])),
        p2_sbox4(f_add4(s.b, round_constants[k + 1u])),
        p2_sbox4(f_add4(s.c, round_constants[k + 2u])),
        p2_sbox4(f_add4(s.d, round_constants[k + 3u])),
    ));
}

/// 1 + diag(-2, 1, 2, 1/2, 3, 4, -1/2, -3, -4, 1/2^8, 1/4, 1/8, 1/2^27, -1/2^8, -1/16, -1/2^27): all products are shifts and additions.
fn p2_internal_round(s: Poseidon2State, round: u32) -> Poseidon2State {
    let s0 = p2_sbox(f_add(s.a.x, round_constants[32u + round].x));
    let v = f_add4(f_add4(vec4<u32>(0u, s.a.yzw), s.b), f_add4(s.c, s.d));
    let rest = f_add(f_add(v.x, v.y), f_add(v.z, v.w));
    let sum = f_add(rest, s0);
    return Poseidon2State(
        vec4<u32>(f_sub(rest, s0), f_add(sum, s.a.y), f_add(sum, f_double(s.a.z)), f_add(sum, f_halve(s.a.w))),
        vec4<u32>(
            f_add(sum, f_add(f_double(s.b.x), s.b.x)),
            f_add(sum, f_double(f_double(s.b.y))),
            f_sub(sum, f_halve(s.b.z)),
            f_sub(sum, f_add(f_double(s.b.w), s.b.w)),
        ),
        vec4<u32>(
            f_sub(sum, f_double(f_double(s.c.x))),
            f_add(sum, f_div_2exp(s.c.y, 8u)),
            f_add(sum, f_div_2exp(s.c.z, 2u)),
            f_add(sum, f_div_2exp(s.c.w, 3u)),
        ),
        vec4<u32>(
            f_add(sum, f_div_2exp(s.d.x, 27u)),
            f_sub(sum, f_div_2exp(s.d.y, 8u)),
            f_sub(sum, f_div_2exp(s.d.z, 4u)),
            f_sub(sum, f_div_2exp(s.d.w, 27u)),
        ),
    );
}

/// The permutation.
fn poseidon2(state: Poseidon2State) -> Poseidon2State {
    var s = p2_external(state);
    for (var r = 0u; r < 4u; r++) {
        s = p2_external_round(s, r);
    }
    for (var r = 0u; r < 13u; r++) {
        s = p2_internal_round(s, r);
    }
    for (var r = 4u; r < 8u; r++) {
        s = p2_external_round(s, r);
    }
    return s;
}

/// The 2-to-1 compression: the first half of the permutation of left || right (eight words each).
fn p2_compress(l0: vec4<u32>, l1: vec4<u32>, r0: vec4<u32>, r1: vec4<u32>) -> array<vec4<u32>, 2> {
    let s = poseidon2(Poseidon2State(l0, l1, r0, r1));
    return array<vec4<u32>, 2>(s.a, s.b);
}
