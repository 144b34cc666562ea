//! How the prover works on a device.

use std::time::Duration;

pub use crate::kernels::constraints::EvaluatorPolicy;

/// How the prover works on a device.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ProverOptions {
    /// Which constraint evaluator runs.
    pub evaluator: EvaluatorPolicy,
    /// Which proofs the host verifies before they are returned. By default all on Metal, where a failed command buffer can look like
    /// success (wgpu #9545), and on software drivers.
    pub verify_before_return: VerifyPolicy,
    /// Keep codeword matrices between commitment and opening instead of encoding twice: twice the trace's memory for a few per cent of
    /// time.
    pub cache_rs_code_matrix: bool,
}

/// Which proofs the host verifies before they are returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyPolicy {
    /// Those that took fifty times as long as their verification will, or longer.
    #[default]
    WhereCheap,
    /// All.
    Always,
    /// None.
    Never,
}

/// What the verifier takes for a byte of a proof on one core, with room for slow ones: 70 ns on a server's, for proofs of 0.3 to 0.9 MB, most
/// of which it hashes.
const VERIFICATION_OF_A_BYTE: Duration = Duration::from_nanos(100);

impl VerifyPolicy {
    /// Whether a proof of so many bytes is verified, which took `proving`. The size is asked for only if it can matter.
    pub(crate) fn is_due(self, proving: Duration, bytes: impl FnOnce() -> usize) -> bool {
        /// Proofs of a few kilobytes.
        const LEAST: Duration = Duration::from_millis(10);
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::WhereCheap => proving > LEAST && proving > 50 * VERIFICATION_OF_A_BYTE * bytes() as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verification_is_due_where_it_takes_a_fiftieth() {
        let is_due = |policy: VerifyPolicy, proving, bytes| policy.is_due(Duration::from_millis(proving), || bytes);
        assert!(is_due(VerifyPolicy::Always, 0, usize::MAX) && !is_due(VerifyPolicy::Never, 1 << 30, 0));
        let where_cheap = |proving, bytes| is_due(VerifyPolicy::WhereCheap, proving, bytes);
        // 0.86 MB take 86 ms, whose fiftyfold is 4.3 s
        assert_eq!([27, 4299, 4301].map(|proving| where_cheap(proving, 860_000)), [false, false, true]);
        assert!(where_cheap(60, 10_000) && !where_cheap(40, 10_000));
        assert!(!VerifyPolicy::default().is_due(Duration::from_millis(9), || panic!("is not asked for")));
    }
}
