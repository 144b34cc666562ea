//! Proves a workload on any engine, step by step.

use std::{
    fmt,
    time::{Duration, Instant},
};

use eyre::{Report, Result, WrapErr};
use openvm_stark_backend::{
    codec::Encode,
    keygen::types::{MultiStarkProvingKey, MultiStarkVerifyingKey},
    prover::{AirProvingContext, ColMajorMatrix, DeviceDataTransporter, DeviceMultiStarkProvingKey, ProvingContext},
    StarkEngine,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config as SC, F};

use super::{
    spans::{Progress, SpanCollector, SpanTime},
    workloads::Workload,
};

/// The keys of a workload.
pub struct Keys {
    pub pk: MultiStarkProvingKey<SC>,
    pub vk: MultiStarkVerifyingKey<SC>,
}

/// Key generation, on the host.
pub fn generate_keys<E>(engine: &E, workload: &Workload, progress: &Progress) -> Keys
where
    E: StarkEngine<SC = SC>,
{
    let (pk, vk) = progress.step("key generation", || engine.keygen(&workload.airs()));
    Keys { pk, vk }
}

/// An engine that holds a workload's proving key.
pub struct Runner<'a, E: StarkEngine<SC = SC>> {
    engine: &'a E,
    vk: &'a MultiStarkVerifyingKey<SC>,
    device_pk: DeviceMultiStarkProvingKey<E::PB>,
    name: &'a str,
    progress: &'a Progress,
    spans: &'a SpanCollector,
}

/// Upstream's verifier does not accept a proof.
#[derive(Debug)]
pub struct Rejected(String);

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Rejected {}

/// What came of one proof.
pub struct Outcome {
    /// `StarkEngine::prove` alone.
    pub prove: Duration,
    /// Trace upload, which is not part of `prove`.
    pub upload: Duration,
    pub spans: Vec<SpanTime>,
    pub proof_bytes: usize,
    /// Upstream's verdict on the proof.
    pub verification: Result<()>,
}

impl<'a, E: StarkEngine<SC = SC>> Runner<'a, E> {
    /// Hands the proving key to the engine's device, which may compile kernels for its constraints.
    /// `name` is what the progress lines call the engine.
    pub fn new(engine: &'a E, keys: &'a Keys, name: &'a str, progress: &'a Progress, spans: &'a SpanCollector) -> Self {
        let device_pk = progress
            .step(format!("{name}: proving key to the device"), || engine.device().transport_pk_to_device(&keys.pk));
        Self { engine, vk: &keys.vk, device_pk, name, progress, spans }
    }

    /// Uploads the traces, proves, and has upstream's verifier check the proof. `uploaded` waits for the upload, so that its time does
    /// not count as the proof's; `ready` runs between the two.
    pub fn prove(
        &self,
        traces: &[ColMajorMatrix<F>],
        uploaded: impl FnOnce() -> Result<()>,
        ready: impl FnOnce() -> Result<()>,
    ) -> Result<Outcome> {
        let (engine, name) = (self.engine, self.name);
        let at = Instant::now();
        let ctx = self.progress.step(format!("{name}: trace upload"), || {
            let ctx = self.upload(traces);
            uploaded().map(|()| ctx)
        })?;
        let upload = at.elapsed();
        ready()?;

        self.spans.take();
        let at = Instant::now();
        let proof = self
            .progress
            .step(format!("{name}: proof"), || engine.prove(&self.device_pk, ctx))
            .map_err(Report::new)
            .wrap_err_with(|| name.to_owned())?;
        let prove = at.elapsed();
        let spans = self.spans.take();

        let proof_bytes = proof.encode_to_vec()?.len();
        let verification = self
            .progress
            .step(format!("{name}: verification"), || engine.verify(self.vk, &proof))
            .map_err(|error| Report::new(Rejected(format!("{name}: the verifier rejects the proof: {error}"))));
        Ok(Outcome { prove, upload, spans, proof_bytes, verification })
    }

    fn upload(&self, traces: &[ColMajorMatrix<F>]) -> ProvingContext<E::PB> {
        let contexts = traces.iter().enumerate().map(|(air_id, trace)| {
            let matrix = self.engine.device().transport_matrix_to_device(trace);
            (air_id, AirProvingContext::simple_no_pis(matrix))
        });
        ProvingContext::new(contexts.collect())
    }
}
