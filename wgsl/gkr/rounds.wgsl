// The sequential part of the fractional sumcheck: what follows the sums of a window (window.wgsl) - two round polynomials, each
// observed and answered by a challenge - and everything that is too small to fill the device: the upper levels of the fraction tree, the
// first layers, and the last variables of the others. One workgroup, which does one of three things (`task`, kernels::gkr::rounds::Task):
//
//   START:  sums the levels above the table in memory, level `top` of the fraction tree, up to the root; observes q of the root and layer 1's
//           claims, samples mu; then proves the layers 1 ..= `last_layer` wholly here, each from its level in the heap.
//   WINDOW: adds up the partial sums (and the part of the padding) of variables `first`, `first` + 1 and does their two rounds.
//   TAIL:   the same, then folds the table in memory (of 2^`vars` points, `vars` <= 10, with p0' = p0 + lambda q0) into workgroup memory, does the
//           remaining rounds, observes the claims, and samples mu and the next layer's lambda.
//
// A task is a sequence of transcript steps, and what a step is about is its phase:
//
//   START   ROOT ROUND CLAIMS ROUND ROUND CLAIMS ..        of layers 0 (no rounds), 1, 2, .. `last_layer`
//   WINDOW  ROUND ROUND
//   TAIL    ROUND ROUND .. ROUND CLAIMS                    `vars` rounds
//
// A phase has a part before the step, which makes the message (`messages`), and one behind it, which takes the challenge (`after_*`); when a window's
// variables are used up, the sums of the next window are made from the table in workgroup memory (round_table.wgsl).
//
// Layout: heap: fraction i of level k at node 2^k + i: p at 2 node, q at 2 node + 1; state: see state.wgsl.
// 128 threads: the permutation of the sponge is done by every subgroup alike, and of more than four an H200 does two in turn; 31 KiB of
// workgroup memory. Latency bound: per window about two transcript steps and eight barriers.
// Host reference: upstream's fractional_sumcheck.
#import gkr/fraction
#import gkr/state
#import gkr/round_poly
#import gkr/round_table
#import transcript/duplex

#interface

const THREADS: u32 = 128u;

/// `task`.
const START: u32 = 0u;
const WINDOW: u32 = 1u;
const TAIL: u32 = 2u;

/// `Prover::phase`.
const ROOT: u32 = 0u;
const ROUND: u32 = 1u;
const CLAIMS: u32 = 2u;

/// Where the proof stands.
struct Place {
    phase: u32,
    layer: u32,
    /// The window: its first variable, the variables from there on, how many of them are its own, and which of those is next.
    first: u32,
    vars: u32,
    width: u32,
    k: u32,
}

/// The layer's challenges: lambda, the product of eq(xi_i, r_i) over the rounds before, and the window's r.
struct Challenges {
    lambda: Ext,
    prefix: Ext,
    r0: Ext,
    r1: Ext,
}

var<workgroup> scratch: array<vec4<u32>, 640>;
/// What all threads read, words of extension elements: the state, then the sums of a window (round_poly.wgsl).
var<workgroup> shared_words: array<atomic<u32>, 444>;

fn shared_ext(i: u32) -> Ext {
    let at = 4u * i;
    return vec4<u32>(
        atomicLoad(&shared_words[at]),
        atomicLoad(&shared_words[at + 1u]),
        atomicLoad(&shared_words[at + 2u]),
        atomicLoad(&shared_words[at + 3u]),
    );
}

fn share_ext(i: u32, value: Ext) {
    let at = 4u * i;
    atomicStore(&shared_words[at], value.x);
    atomicStore(&shared_words[at + 1u], value.y);
    atomicStore(&shared_words[at + 2u], value.z);
    atomicStore(&shared_words[at + 3u], value.w);
}

fn node(i: u32) -> Fraction {
    return Fraction(heap[2u * i], heap[2u * i + 1u]);
}

fn store_node(i: u32, value: Fraction) {
    heap[2u * i] = value.p;
    heap[2u * i + 1u] = value.q;
}

/// Node i below the level that is summed; those of level `top` come from the table in memory.
fn child(i: u32, lowest: bool) -> Fraction {
    if !lowest {
        return node(i);
    }
    let at = i - (1u << params.top);
    let value = Fraction(table_p[at], table_q[at]);
    store_node(i, value);
    return value;
}

/// The heap from level `top` up to the root.
fn build_heap(local: u32) {
    for (var level = params.top; level > 0u; level--) {
        let nodes = 1u << (level - 1u);
        for (var i = nodes + local; i < 2u * nodes; i += THREADS) {
            let left = child(2u * i, level == params.top);
            store_node(i, fraction_sum(left, child(2u * i + 1u, level == params.top)));
        }
        storageBarrier();
        workgroupBarrier();
    }
}

/// What the task does before its first transcript step.
fn begin(local: u32) {
    if params.task == START {
        build_heap(local);
    } else {
        add_partials(local);
        reduce_sums(local);
        add_padding(local, shared_ext(LAMBDA));
    }
}

/// Transcript steps of the task: of a window two rounds, of a tail all rounds and the claims, at the start the root and the same for each layer.
fn count_steps() -> u32 {
    if params.task == START {
        return 1u + params.last_layer * (params.last_layer + 3u) / 2u;
    }
    return select(2u, params.vars + 1u, params.task == TAIL);
}

/// The message of a step, and how many words it has.
fn messages(local: u32, at: Place, c: Challenges) -> u32 {
    if at.phase == ROUND {
        if local < 3u {
            set_message_ext(local, round_value(local, at, c));
        }
        return 12u;
    }
    if at.phase == ROOT {
        if local < 5u {
            // q of the root, then p and q of its two children
            let i = 1u + ((local + 1u) >> 1u);
            set_message_ext(local, heap[2u * i + ((local + 1u) & 1u)]);
        }
        return 20u;
    }
    if local < 4u {
        set_message_ext(local, claim(local, c.lambda));
    }
    return 16u;
}

/// Behind a round: the challenge is a coordinate of the next layer's point.
fn after_round(local: u32, at: Place, before: Challenges) -> Challenges {
    var c = before;
    let challenge = sampled_ext(0u);
    let variable = at.first + at.k;
    let xi = shared_ext(point_at(at.layer) + variable);
    let both = e_mul(xi, challenge);
    c.prefix = e_mul(c.prefix, e_add(e_sub(e_sub(E_ONE, xi), challenge), e_double(both)));
    if local == 0u {
        share_ext(point_at(at.layer + 1u) + 1u + variable, challenge);
    }
    if at.k == 0u {
        c.r0 = challenge;
    } else {
        c.r1 = challenge;
    }
    return c;
}

/// Behind the claims: mu is the first coordinate of the next layer's point, and lambda is sampled if there is one.
fn after_claims(local: u32, at: Place, before: Challenges, batched: bool) -> Challenges {
    var c = before;
    if local == 0u {
        share_ext(point_at(at.layer + 1u), sampled_ext(0u));
    }
    if batched {
        c.lambda = sampled_ext(1u);
    }
    return c;
}

/// Behind a window of `width` variables: the table folded to the `at.vars` that follow.
fn fold(local: u32, at: Place, width: u32, c: Challenges) {
    if params.task == TAIL && at.first == params.first + 2u {
        load_folded(local, at.vars, c);
        fill_suffix_eq(local, at.layer);
    } else {
        fold_table(local, at.vars, width, c);
    }
}

/// The table and the weights of a layer that is proved from the heap.
fn load_layer(local: u32, layer: u32, lambda: Ext) {
    load_level(local, layer, lambda);
    workgroupBarrier();
    fill_suffix_eq(local, layer);
}

/// Leaves the state for the next dispatch; the next layer starts with an empty product.
fn store_state(local: u32, phase: u32, c: Challenges) {
    if local == 0u {
        share_ext(LAMBDA, c.lambda);
        share_ext(PREFIX, select(E_ONE, c.prefix, vec4<bool>(phase == ROUND)));
        share_ext(R_0, c.r0);
        share_ext(R_1, c.r1);
    }
    workgroupBarrier();
    if local < PADDING {
        state[local] = shared_ext(local);
    }
}

@compute @workgroup_size(THREADS)
fn main(thread: DuplexThread) {
    let local = thread.workgroup_thread;
    if local < STATE {
        share_ext(local, state[local]);
    }
    duplex_open(thread, params.absorb_index, params.sample_index, params.tape_at);
    begin(local);
    var at = Place(select(ROUND, ROOT, params.task == START), params.layer, params.first, params.vars, 2u, 0u);
    var c = Challenges(shared_ext(LAMBDA), shared_ext(PREFIX), E_ZERO, E_ZERO);
    let steps = count_steps();
    for (var step = 1u; step <= steps; step++) {
        let observe = messages(local, at, c);
        // behind the last layer there is no other to batch
        let batched = at.phase != ROUND && at.layer + 1u < params.levels;
        duplex_step(local, observe, select(4u, 8u, batched));
        if at.phase == ROUND {
            c = after_round(local, at, c);
            at.k += 1u;
            if at.k == at.width && params.task != WINDOW {
                let rest = at.vars - at.width;
                let next = Place(select(ROUND, CLAIMS, rest == 0u), at.layer, at.first + at.width, rest, at.width, 0u);
                fold(local, next, at.width, c);
                at = next;
            }
        } else {
            c = after_claims(local, at, c, batched);
            if step < steps {
                c.prefix = E_ONE;
                at = Place(ROUND, at.layer + 1u, 0u, at.layer + 1u, 2u, 0u);
                load_layer(local, at.layer, c.lambda);
            }
        }
        if at.k == 0u && step < steps {
            workgroupBarrier();
            if at.phase == ROUND {
                at.width = 2u - (at.vars & 1u);
                window_sums(local, at.vars, at.width);
                reduce_sums(local);
            }
        }
    }
    duplex_close(local);
    store_state(local, at.phase, c);
}
