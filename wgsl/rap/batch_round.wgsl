// The batched polynomial of MLE round `round` (1, 2, ..) of all AIRs, from the sums of each:
//
//   s(X) = eq(xi_cur, X) * head(X) + tail * X,   observed at X = 1..=degree + 1, upon which the round's challenge is sampled,
//   head(X) = eq * sum_a mu[2 T + a] zerocheck_a(X) + eq_sharp * sum_a (mu[2 a] 2^-shift_a numerator_a(X) + mu[2 a + 1] denominator_a(X))
//
// over the AIRs a with n_lift_a >= round, at X = 1..=degree; head(0) follows from s(0) + s(1) = claim. The same combination at the first
// point of the AIRs with n_lift_a + 1 == round, whose last variable is gone, joins the tail, which is multiplied by every later r.
// xi_cur = xi[xi_index]. T = airs.
//
// state (EF): eq, eq_sharp, tail, claim, then head(0..=degree) of this round. When `challenge` is not NONE it is first advanced over
// the round before, whose challenge r is at that word of the transcript's tape:
//   claim = s(r), eq and eq_sharp times eq(xi_before, r), tail times r.
// sums (EF): for AIR a at sums_offset + 3 degree a: numerator, denominator, zerocheck, `degree` values each (only the first where it ends this round).
// lifts: (n_lift, shift) per AIR; behind them 1 / prod_{k != i} (i - k) over k <= degree, for the interpolation of head.
// One workgroup of 64 threads, AIRs in strides; duplex.wgsl writes to the tape what is observed and sampled. Host reference: kernels::rap::rounds::tests (upstream's prove_zerocheck_and_logup).
#import field/ext
#import rap/round_sum
#import transcript/duplex
#import transcript/tape

const NONE: u32 = 0xffffffffu;

#interface

const HEAD: u32 = 4u;

/// eq and eq_sharp of this round, for all threads; only thread 0 touches the state.
var<workgroup> shared_eqs: array<atomic<u32>, 8>;

fn shared_eq(i: u32) -> Ext {
    let at = 4u * i;
    return vec4<u32>(
        atomicLoad(&shared_eqs[at]),
        atomicLoad(&shared_eqs[at + 1u]),
        atomicLoad(&shared_eqs[at + 2u]),
        atomicLoad(&shared_eqs[at + 3u]),
    );
}

fn share_eqs() {
    for (var i = 0u; i < 8u; i++) {
        atomicStore(&shared_eqs[i], state[i >> 2u][i & 3u]);
    }
}

/// eq(x, r) = 1 - x - r + 2 x r.
fn eq_1(x: Ext, r: Ext) -> Ext {
    return e_add(e_sub(e_sub(E_ONE, x), r), e_double(e_mul(x, r)));
}

/// head(x) from its values at 0..=degree.
fn head_at(x: Ext) -> Ext {
    var sum = E_ZERO;
    for (var i = 0u; i <= params.degree; i++) {
        var term = e_scale(state[HEAD + i], lifts[2u * params.airs + i]);
        for (var k = 0u; k <= params.degree; k++) {
            if k != i {
                term = e_mul(term, e_sub(x, e_from_base(f_from_u32(k))));
            }
        }
        sum = e_add(sum, term);
    }
    return sum;
}

/// s(x).
fn s_at(x: Ext, xi_cur: Ext) -> Ext {
    return e_add(e_mul(eq_1(xi_cur, x), head_at(x)), e_mul(state[2], x));
}

fn advance() {
    let r = tape_ext(params.challenge);
    let xi_before = xi[params.xi_index - 1u];
    state[3] = s_at(r, xi_before);
    let eq_r = eq_1(xi_before, r);
    state[0] = e_mul(state[0], eq_r);
    state[1] = e_mul(state[1], eq_r);
    state[2] = e_mul(state[2], r);
}

fn div_2exp(a: Ext, k: u32) -> Ext {
    return vec4<u32>(f_div_2exp(a.x, k), f_div_2exp(a.y, k), f_div_2exp(a.z, k), f_div_2exp(a.w, k));
}

/// The combination of the three sums of AIR a at X = x + 1.
fn combination(a: u32, x: u32) -> Ext {
    let at = params.sums_offset + 3u * params.degree * a + x;
    let numerator = div_2exp(e_mul(mu[2u * a], sums[at]), lifts[2u * a + 1u]);
    let denominator = e_mul(mu[2u * a + 1u], sums[at + params.degree]);
    let zerocheck = e_mul(mu[2u * params.airs + a], sums[at + 2u * params.degree]);
    return e_add(e_mul(shared_eq(0u), zerocheck), e_mul(shared_eq(1u), e_add(numerator, denominator)));
}

/// Sum over the AIRs with the given n_lift or more (exactly, for the tail).
fn combine(n_lift: u32, exactly: bool, x: u32, local: u32) -> Ext {
    var sum = E_ZERO;
    for (var a = local; a < params.airs; a += 64u) {
        let n = lifts[2u * a];
        if n == n_lift || (n > n_lift && !exactly) {
            sum = e_add(sum, combination(a, x));
        }
    }
    return sum_over_threads(sum, local);
}

@compute @workgroup_size(64)
fn main(thread: DuplexThread) {
    let local = thread.workgroup_thread;
    duplex_open(thread, params.absorb_index, params.sample_index, params.tape_at);
    if local == 0u {
        if params.challenge != NONE {
            advance();
        }
        share_eqs();
    }
    workgroupBarrier();
    let ended = combine(params.round - 1u, true, 0u, local);
    for (var x = 0u; x < params.degree; x++) {
        let head = combine(params.round, false, x, local);
        if local == 0u {
            state[HEAD + 1u + x] = head;
        }
    }
    let xi_cur = xi[params.xi_index];
    if local == 0u {
        let tail = e_add(state[2], ended);
        state[2] = tail;
        let rest = e_sub(e_sub(state[3], e_mul(xi_cur, state[HEAD + 1u])), tail);
        state[HEAD] = e_mul(rest, e_inverse(e_sub(E_ONE, xi_cur)));
    }
    for (var x = 1u; x <= params.degree + 1u; x++) {
        if local == 0u {
            set_message_ext(0u, s_at(e_from_base(f_from_u32(x)), xi_cur));
        }
        duplex_step(local, 4u, select(0u, 4u, x > params.degree));
    }
    duplex_close(local);
}
