//! What a peer driver says of its runs: JSON lines on standard output, of which those with `"event":"proof"` count.

use eyre::{ensure, eyre, Result, WrapErr};
use serde_json::Value;

use super::super::record::median;

/// The proofs of one run.
#[derive(Debug)]
pub struct PeerRun {
    /// Milliseconds each, without the warm-up.
    pub prove_ms: Vec<f64>,
    /// Device memory after the proofs, bytes; a pool that is sized in advance shows in full.
    pub device_bytes: Option<u64>,
}

impl PeerRun {
    /// Parses the driver's output.
    ///
    /// # Errors
    ///
    /// When a line is no JSON, a proof was not verified, or there is none.
    pub fn parse(output: &str) -> Result<Self> {
        let mut run = Self { prove_ms: vec![], device_bytes: None };
        for line in output.lines().filter(|line| line.starts_with('{')) {
            let value: Value = serde_json::from_str(line).wrap_err_with(|| format!("not JSON: {line}"))?;
            if value["event"] != "proof" || value["warmup"] == true {
                continue;
            }
            ensure!(value["verified"] == true, "a proof of the peer was not verified: {line}");
            run.prove_ms.push(value["prove_ms"].as_f64().ok_or_else(|| eyre!("no `prove_ms` in {line}"))?);
            let mib = value["dev_mem_after_mb"].as_f64().filter(|mib| *mib > 0.0);
            run.device_bytes = run.device_bytes.max(mib.map(|mib| (mib * f64::from(1 << 20)) as u64));
        }
        ensure!(!run.prove_ms.is_empty(), "the peer made no proof");
        Ok(run)
    }

    /// Milliseconds.
    pub fn median_ms(&self) -> f64 {
        median(self.prove_ms.clone()).expect("there are proofs")
    }
}
