//! What a proof holds at most, so that several can share a memory budget: each stage says what it takes (`peak_bytes`), here it is put
//! together.

use openvm_stark_backend::{
    memory_metering::ProvingMemoryCounts,
    prover::{DeviceMultiStarkProvingKey, DeviceStarkProvingKey, ProvingContext},
    SystemParams,
};

pub(crate) use crate::stages::ProofShape;
use crate::{
    backend::WgpuBackend,
    device::WgpuDevice,
    gpu::Admission,
    stages::{pcs, rap, stacked_reduction, transcript::TAPE_BYTES, whir},
};

/// Buffers that no term counts: programs' constants, weights, openings, views of columns.
const SMALL_BUFFERS: u64 = 16 << 20;

/// A column of cells beside each AIR's own ones, three of them, for AIRs of this width: what [`ProvingMemoryCounts`] do not tell.
const TYPICAL_WIDTH: u64 = 8;

/// Counts above this are no proof's; they only must not overflow.
const MAX_COUNT: u64 = 1 << 48;

impl From<ProvingMemoryCounts> for ProofShape {
    fn from(counts: ProvingMemoryCounts) -> Self {
        let count = |count: usize| (count as u64).min(MAX_COUNT);
        Self {
            cells_with_rot: count(counts.main_cells_with_rot),
            cells_without_rot: count(counts.main_cells_without_rot),
            interactions: count(counts.interaction_cells),
            rows: count(counts.main_cells()) / TYPICAL_WIDTH,
        }
    }
}

impl ProofShape {
    /// The shape of a context that fits its key.
    pub fn of_context(
        params: &SystemParams,
        mpk: &DeviceMultiStarkProvingKey<WgpuBackend>,
        ctx: &ProvingContext<WgpuBackend>,
    ) -> Self {
        let traces = ctx.per_trace.iter();
        Self::new(params, traces.map(|(air, trace)| (&mpk.per_air[*air], trace.common_main.height())))
    }

    /// The shape of traces of these heights, each with its AIR's key.
    pub fn new<'a>(
        params: &SystemParams,
        traces: impl IntoIterator<Item = (&'a DeviceStarkProvingKey<WgpuBackend>, usize)>,
    ) -> Self {
        let mut shape = Self::default();
        for (air, height) in traces {
            let rows = height.max(1 << params.l_skip) as u64;
            let cells = rows * air.vk.params.width.total_width() as u64;
            shape.rows += rows;
            shape.interactions += rows * air.vk.symbolic_constraints.interactions.len() as u64;
            match air.vk.params.need_rot {
                true => shape.cells_with_rot += cells,
                false => shape.cells_without_rot += cells,
            }
        }
        shape
    }
}

/// What buffers of `bytes` take in the pool's size classes.
fn pooled(bytes: u64) -> u64 {
    bytes + bytes / 8
}

impl WgpuDevice {
    /// Waits until `bytes` fit this device's memory budget beside the other proofs that run on it; see [`Gpu::admit`](crate::gpu::Gpu::admit).
    ///
    /// `StarkEngine::prove` takes an admission by itself. Who wants one for more than that, for the traces of a segment and its proof, takes
    /// it before the first trace is uploaded, uploads and proves with [`WgpuDevice::under`], and drops it behind the proof:
    ///
    /// ```no_run
    /// # use openvm_stark_backend::{prover::*, memory_metering::ProvingMemoryCounts, proof::Proof, StarkEngine};
    /// # use openvm_stark_sdk::config::baby_bear_poseidon2::BabyBearPoseidon2Config as SC;
    /// # use openvm_wgpu_backend::*;
    /// # fn prove(
    /// #     device: &WgpuDevice, pk: &DeviceMultiStarkProvingKey<WgpuBackend>, counts: ProvingMemoryCounts,
    /// #     traces: impl Fn() -> ProvingContext<CpuColMajorBackend<SC>>,
    /// # ) -> Result<Proof<SC>> {
    /// let admission = device.admit(device.proof_bytes(counts));
    /// let engine = BabyBearPoseidon2WgpuEngine::from_device(device.under(&admission));
    /// let context = engine.device().transport_proving_ctx_to_device(&traces());
    /// engine.prove(pk, context)
    /// # }
    /// ```
    pub fn admit(&self, bytes: u64) -> Admission {
        self.gpu().admit(bytes)
    }

    /// What a proof with these counts holds at most, bytes, with its traces but without proving keys and cached commitments.
    ///
    /// `counts` are those of upstream's metering; `constraint_eval_cells` does not matter here. Supposes that AIRs, weighed by their rows, are at
    /// least eight columns wide (narrower ones need a little more). For a context that is on the device, `StarkEngine::prove`
    /// counts by itself.
    pub fn proof_bytes(&self, counts: ProvingMemoryCounts) -> u64 {
        self.shape_bytes(ProofShape::from(counts))
    }

    /// [`WgpuDevice::proof_bytes`] by the shape of the traces.
    pub(crate) fn shape_bytes(&self, shape: ProofShape) -> u64 {
        pooled(4 * shape.cells()) + self.working_bytes(shape)
    }

    /// What a proof takes at most beside its traces, bytes.
    pub(crate) fn working_bytes(&self, shape: ProofShape) -> u64 {
        let (gpu, params, shape) = (self.gpu(), self.params(), &shape);
        let stages = [
            pcs::peak_bytes(gpu, params, shape),
            rap::peak_bytes(params, shape),
            stacked_reduction::peak_bytes(params, shape),
            whir::peak_bytes(gpu, params, shape),
        ];
        let most = stages.into_iter().max().unwrap_or(0);
        let kept = pcs::kept_bytes(params, shape, self.options().cache_rs_code_matrix);
        pooled(kept + TAPE_BYTES + most) + SMALL_BUFFERS
    }
}
