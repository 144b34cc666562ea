//! How the prover works on a device.

pub use crate::kernels::constraints::EvaluatorPolicy;

/// How the prover works on a device.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ProverOptions {
    /// Which constraint evaluator runs.
    pub evaluator: EvaluatorPolicy,
    /// Run the host's verifier on every proof before it is returned. By default on Metal, where a failed command buffer can look like
    /// success (wgpu #9545), and on software drivers, where it takes less than a fiftieth of the proof's time.
    pub verify_before_return: bool,
    /// Keep codeword matrices between commitment and opening instead of encoding twice: twice the trace's memory for a few per cent of
    /// time.
    pub cache_rs_code_matrix: bool,
}
