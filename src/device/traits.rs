//! Upstream's traits of a device: it commits, proves constraints, proves openings.

use std::sync::Arc;

use openvm_stark_backend::{
    proof::{BatchConstraintProof, GkrProof, StackingProof, WhirProof},
    prover::{DeviceMultiStarkProvingKey, MultiRapProver, OpeningProver, ProverDevice, ProvingContext, TraceCommitter},
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, Digest, EF, F};

use super::WgpuDevice;
use crate::{
    backend::{CommittedData, WgpuBackend},
    context,
    error::{Error, Result},
    gpu::{DeviceMatrix, Gpu},
    stages::{
        openings,
        pcs::{self, CommitParams, PcsData},
        rap,
        transcript::{SpongeTranscript, Transcript},
        whir,
    },
};

type SC = BabyBearPoseidon2Config;

impl<TS: SpongeTranscript> ProverDevice<WgpuBackend, TS> for WgpuDevice {
    type Error = Error;
    type DeviceCtx = Gpu;

    fn device_ctx(&self) -> &Gpu {
        &self.gpu
    }
}

impl TraceCommitter<WgpuBackend> for WgpuDevice {
    type Error = Error;

    fn commit(&self, traces: &[&DeviceMatrix<F>]) -> Result<(Digest, CommittedData)> {
        let cache_rs_code_matrix = self.options.cache_rs_code_matrix;
        let params = CommitParams { cache_rs_code_matrix, ..self.params().into() };
        let (root, data) = pcs::commit(&self.gpu, params, traces)?;
        Ok((root, CommittedData::new(Ok(data))))
    }
}

impl<TS: SpongeTranscript> MultiRapProver<WgpuBackend, TS> for WgpuDevice {
    type PartialProof = (GkrProof<SC>, BatchConstraintProof<SC>);
    type Artifacts = Vec<EF>;
    type Error = Error;

    fn prove_rap_constraints(
        &self,
        transcript: &mut TS,
        mpk: &DeviceMultiStarkProvingKey<WgpuBackend>,
        ctx: &ProvingContext<WgpuBackend>,
        common_main_pcs_data: &CommittedData,
    ) -> Result<(Self::PartialProof, Vec<EF>)> {
        // by who calls the stages himself
        if !self.context_is_checked {
            context::check(self.params(), mpk, ctx)?;
        }
        let common_mains = &common_main_pcs_data.get()?.stacked;
        let input = context::rap_input(mpk, ctx, common_mains)?;
        let mut tx = Transcript::new(&self.gpu, transcript)?;
        let (gkr, batch, r) = rap::prove_rap(&mut tx, &input, || {
            common_main_pcs_data.get()?.encode_ahead(&self.gpu, whir::bytes_until_opened(self.params()))
        })?;
        tx.finish()?;
        Ok(((gkr, batch), r))
    }
}

impl<TS: SpongeTranscript> OpeningProver<WgpuBackend, TS> for WgpuDevice {
    type OpeningProof = (StackingProof<SC>, WhirProof<SC>);
    type OpeningPoints = Vec<EF>;
    type Error = Error;

    fn prove_openings(
        &self,
        transcript: &mut TS,
        mpk: &DeviceMultiStarkProvingKey<WgpuBackend>,
        ctx: ProvingContext<WgpuBackend>,
        common_main_pcs_data: CommittedData,
        r: Vec<EF>,
    ) -> Result<Self::OpeningProof> {
        let (pre_cached, need_rot) = committed_parts(mpk, &ctx);
        let commits = std::iter::once(&common_main_pcs_data).chain(pre_cached.iter().map(Arc::as_ref));
        let commits: Vec<&PcsData> = commits.map(CommittedData::get).collect::<Result<_>>()?;
        let mut tx = Transcript::new(&self.gpu, transcript)?;
        let proofs = openings::prove_openings(&mut tx, self.params(), &commits, &need_rot, &r)?;
        tx.finish()?;
        Ok(proofs)
    }
}

/// The commitments beside the common main one, in upstream's order (per trace: preprocessed, then cached mains), and for each
/// commitment (the common main first) which of its matrices open rotations.
fn committed_parts(
    mpk: &DeviceMultiStarkProvingKey<WgpuBackend>,
    ctx: &ProvingContext<WgpuBackend>,
) -> (Vec<Arc<CommittedData>>, Vec<Vec<bool>>) {
    let needs_rot = |air: &usize| mpk.per_air[*air].vk.params.need_rot;
    let mut need_rot = vec![ctx.per_trace.iter().map(|(air, _)| needs_rot(air)).collect()];
    let mut data = vec![];
    for (air, trace) in &ctx.per_trace {
        for part in mpk.per_air[*air].preprocessed_data.iter().chain(&trace.cached_mains) {
            data.push(part.data.clone());
            need_rot.push(vec![needs_rot(air)]);
        }
    }
    (data, need_rot)
}
