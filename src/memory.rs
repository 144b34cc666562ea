//! What a proof holds at most, so that several can share a memory budget. `docs/memory.md` derives the terms, stage by stage.

use openvm_stark_backend::{
    memory_metering::ProvingMemoryCounts,
    prover::{DeviceMultiStarkProvingKey, DeviceStarkProvingKey, ProvingContext},
    SystemParams,
};

use crate::{
    backend::WgpuBackend,
    device::WgpuDevice,
    gpu::Admission,
    stages::{
        pcs::{opening_bytes, panel_width},
        rap::{ROUND0_TILE_BYTES, TILE_BYTES},
        transcript::TAPE_BYTES,
    },
};

/// Buffers that no term counts: programs' constants, weights, openings, views of columns.
const SMALL_BUFFERS: u64 = 16 << 20;

/// A column of cells beside each AIR's own ones, three of them, for AIRs of this width: what [`ProvingMemoryCounts`] do not tell.
const TYPICAL_WIDTH: u64 = 8;

/// Counts above this are no proof's; they only must not overflow.
const MAX_COUNT: u64 = 1 << 48;

/// The shapes that memory depends on, summed over AIRs. Traces lower than the skip domain count with its height.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProofShape {
    /// Cells of all parts of AIRs that open the next row.
    cells_with_rot: u64,
    /// Cells of all parts of the others.
    cells_without_rot: u64,
    /// Interactions, for each row.
    interactions: u64,
    /// Rows.
    rows: u64,
}

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

    /// Cells of all parts, preprocessed and cached ones included.
    pub fn cells(&self) -> u64 {
        self.cells_with_rot + self.cells_without_rot
    }

    /// Cells of the columns that constraints read: a rotation is one more, and each AIR has three selectors.
    fn tile_cells(&self) -> u64 {
        self.cells() + self.cells_with_rot + 3 * self.rows
    }

    /// Bytes of the traces.
    fn trace_bytes(&self) -> u64 {
        pooled(4 * self.cells())
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
    /// let engine: BabyBearPoseidon2WgpuEngine = BabyBearPoseidon2WgpuEngine::from_device(device.under(&admission));
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
        shape.trace_bytes() + self.working_bytes(shape)
    }

    /// What a proof takes at most beside its traces, bytes.
    pub(crate) fn working_bytes(&self, shape: ProofShape) -> u64 {
        let (gpu, params) = (self.gpu(), self.params());
        let height = 1 << params.log_stacked_height();
        let rs_height = height << params.log_blowup;
        let stacked_width = shape.cells().div_ceil(height).max(1);
        let panels = 2 * 4 * rs_height * stacked_width.min(panel_width(gpu, rs_height as usize) as u64);
        let codewords = 4 * rs_height * stacked_width * u64::from(self.options().cache_rs_code_matrix);
        let tree = (64 * rs_height) >> params.k_whir();
        let stages = [
            64 * rs_height + panels,
            rap_bytes(params, shape),
            // every group of columns that share height and rotation: fewer than columns, and two for a height
            (16 * shape.cells()).min(64 * height) / 2 * 3,
            opening_bytes(height, params.log_blowup).max(8 * rs_height + tree / 2 + panels),
        ];
        let most = stages.into_iter().max().unwrap_or(0);
        pooled(tree + codewords + TAPE_BYTES + most) + SMALL_BUFFERS
    }
}

/// Leaves and GKR, round 0, MLE rounds: the largest of the three.
fn rap_bytes(params: &SystemParams, shape: ProofShape) -> u64 {
    let (tile, round0_tile) = (TILE_BYTES as u64, ROUND0_TILE_BYTES as u64);
    let skip = 1 << params.l_skip;
    // numerators of the base field; the first folded table has a fourth as many fractions, all of the extension
    let (leaves, folded) = (20 * shape.interactions, 8 * shape.interactions);
    let trace_tile = tile.min(4 * shape.tile_cells());
    // trees over hypercubes, one for each height
    let eq = (64 << params.log_stacked_height()) / skip;
    let degree = params.max_constraint_degree as u64;
    // three accumulators for each chunk of a program, of which there is one for some tens of columns
    let partials = 48 * degree * (shape.rows + shape.cells() / 32);
    let round0 = round0_tile.min(4 * degree * shape.tile_cells()) + round0_tile.min(partials);
    let columns = 16 * shape.tile_cells() / skip;
    let mle = columns / 2 * 3 + tile.min(partials / skip);
    (leaves + folded.max(trace_tile)).max(eq + round0.max(mle))
}
