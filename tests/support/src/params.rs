//! Toy system parameters: every dial that changes the prover's control flow, and next to no
//! security, so that a proof takes milliseconds.

use openvm_stark_backend::{interaction::LogUpSecurityParameters, test_utils::test_whir_config_small, SystemParams};
use proptest::prelude::*;

/// The dials of [`SystemParams`] that a test sets; the rest follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmallParams {
    /// log2 of the univariate skip domain.
    pub l_skip: usize,
    /// Hypercube variables of a stacked column: traces have at most `2^(l_skip + n_stack)` rows.
    pub n_stack: usize,
    /// log2 of the inverse rate of the first Reed-Solomon code.
    pub log_blowup: usize,
    /// Variables folded per WHIR round.
    pub k_whir: usize,
    /// WHIR rounds, of `k_whir` folds each: `1 <= whir_rounds <= (l_skip + n_stack) / k_whir`.
    pub whir_rounds: usize,
    /// The largest constraint degree that key generation accepts.
    pub max_constraint_degree: usize,
}

impl SmallParams {
    /// Blowup 2, degree 3, `k_whir` 2 and as many WHIR rounds as fit.
    pub fn new(l_skip: usize, n_stack: usize) -> Self {
        let log_height = l_skip + n_stack;
        let k_whir = log_height.min(2);
        Self { l_skip, n_stack, log_blowup: 1, k_whir, whir_rounds: log_height / k_whir, max_constraint_degree: 3 }
    }

    /// log2 of the largest trace height.
    pub fn log_stacked_height(&self) -> usize {
        self.l_skip + self.n_stack
    }

    /// The upstream parameters. Proof-of-work bits are 1 to 3, queries a handful per round.
    pub fn build(&self) -> SystemParams {
        let log_height = self.log_stacked_height();
        assert!(self.whir_rounds >= 1 && self.whir_rounds * self.k_whir <= log_height, "{self:?}");
        let log_final_poly_len = log_height - self.whir_rounds * self.k_whir;
        SystemParams {
            l_skip: self.l_skip,
            n_stack: self.n_stack,
            w_stack: 1 << 12,
            log_blowup: self.log_blowup,
            whir: test_whir_config_small(self.log_blowup, log_height, self.k_whir, log_final_poly_len),
            logup: LogUpSecurityParameters { max_interaction_count: 1 << 30, log_max_message_length: 7, pow_bits: 2 },
            max_constraint_degree: self.max_constraint_degree,
        }
    }
}

/// `l_skip` 0 to 9, up to `2^max_log_height` rows, blowup 2 to 8, `k_whir` 1 to 4, degree 2 to 5.
/// Shrinks towards few rows and the least of everything.
pub fn small_params(max_log_height: usize) -> impl Strategy<Value = SmallParams> {
    let skip = 0..=max_log_height.min(9);
    let stack = 0..=max_log_height;
    (skip, stack, 1..=3usize, 1..=4usize, 1..=8usize, 2..=5usize).prop_map(
        move |(l_skip, n_stack, log_blowup, k_whir, whir_rounds, max_constraint_degree)| {
            let n_stack = n_stack.clamp(usize::from(l_skip == 0), max_log_height - l_skip);
            let k_whir = k_whir.min(l_skip + n_stack);
            SmallParams {
                l_skip,
                n_stack,
                log_blowup,
                k_whir,
                whir_rounds: whir_rounds.min((l_skip + n_stack) / k_whir),
                max_constraint_degree,
            }
        },
    )
}
