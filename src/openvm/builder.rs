//! A virtual machine that generates its traces on the host and proves them on the device.
//!
//! Every chip of the CPU machine stands behind a chip that hands the traces on, so any machine that the CPU backend can build, extensions
//! of users included, proves here without a change.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use openvm_circuit::{
    arch::{
        AirInventory, ChipInventory, ChipInventoryError, VmBuilder, VmChipComplex, PROGRAM_AIR_ID,
        PROGRAM_CACHED_TRACE_INDEX,
    },
    primitives::Chip,
    system::{
        memory::{online::GuestMemory, CHUNK},
        SystemChipComplex, SystemRecords, SystemWithFixedTraceHeights,
    },
};
use openvm_cpu_backend::{CpuBackend, CpuDevice};
use openvm_stark_backend::{
    p3_matrix::dense::RowMajorMatrix,
    prover::{AirProvingContext, CommittedTraceData, MatrixDimensions, ProverBackend, TraceCommitter},
    SystemParams,
};
use openvm_stark_sdk::config::{
    app_params_with_100_bits_security,
    baby_bear_poseidon2::{BabyBearPoseidon2Config, F},
    MAX_APP_LOG_STACKED_HEIGHT,
};
use p3_baby_bear::Poseidon2BabyBear;
use p3_field::PrimeCharacteristicRing;

use super::{
    guest_memory::{copy_used, extend_to_touched},
    HostEngine,
};
use crate::{
    gpu::{DeviceMatrix, Gpu},
    kernels::transpose::upload_row_major,
    transcript::SpongeTranscript,
    WgpuBackend, WgpuEngine,
};

type SC = BabyBearPoseidon2Config;
type HostBackend = CpuBackend<SC>;
type HostCommitment = CommittedTraceData<HostBackend>;

/// A `VmBuilder` for [`WgpuEngine`], made of one for the CPU engine.
///
/// Machines of clones of one builder upload under the same admission.
#[derive(Clone, Default)]
pub struct WgpuVmBuilder<B> {
    host: B,
    uploads: Uploads,
}

impl<B> WgpuVmBuilder<B> {
    /// A builder of machines that generate their traces as `host`'s do.
    pub fn new(host: B) -> Self {
        Self { host, uploads: Uploads::default() }
    }

    /// The builder for the CPU engine.
    pub fn host(&self) -> &B {
        &self.host
    }

    /// How the machines upload their traces.
    pub(super) fn uploads(&self) -> &Uploads {
        &self.uploads
    }
}

/// What traces are charged to: chips get no more than the machine's GPU, long before there is a segment.
#[derive(Clone, Default)]
pub(super) struct Uploads(Arc<Mutex<Option<Gpu>>>);

impl Uploads {
    /// Does `work` with uploads through `gpu`.
    pub(super) fn through<T>(&self, gpu: Gpu, work: impl FnOnce() -> T) -> T {
        *self.lock() = Some(gpu);
        let result = work();
        *self.lock() = None;
        result
    }

    fn lock(&self) -> MutexGuard<'_, Option<Gpu>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl<TS, B> VmBuilder<WgpuEngine<TS>> for WgpuVmBuilder<B>
where
    TS: SpongeTranscript + From<Poseidon2BabyBear<16>>,
    B: VmBuilder<HostEngine>,
    B::RecordArena: 'static,
{
    type VmConfig = B::VmConfig;
    type RecordArena = B::RecordArena;
    type SystemChipInventory = DeviceSystem<B::SystemChipInventory>;

    fn create_chip_complex(
        &self,
        config: &Self::VmConfig,
        circuit: AirInventory<SC>,
        gpu: &Gpu,
    ) -> Result<VmChipComplex<SC, Self::RecordArena, WgpuBackend, Self::SystemChipInventory>, ChipInventoryError> {
        let host = self.host.create_chip_complex(config, circuit.clone(), &())?;
        let target = Target { uploads: self.uploads.clone(), gpu: gpu.clone() };
        let mut inventory = ChipInventory::new(circuit);
        inventory.executor_idx_to_insertion_idx = host.inventory.executor_idx_to_insertion_idx.clone();
        let chips = Arc::new(host.inventory);
        for index in 0..chips.chips().len() {
            inventory.add_periphery_chip(DeviceChip { chips: chips.clone(), index, target: target.clone() });
        }
        let system = DeviceSystem { host: host.system, program: None, initial_memory: None, target };
        Ok(VmChipComplex { system, inventory })
    }
}

/// Where a machine's traces go.
#[derive(Clone)]
struct Target {
    uploads: Uploads,
    gpu: Gpu,
}

impl Target {
    fn gpu(&self) -> Gpu {
        self.uploads.lock().as_ref().unwrap_or(&self.gpu).clone()
    }
}

/// A chip of the CPU machine, with its traces on the device.
struct DeviceChip<RA> {
    chips: Arc<ChipInventory<SC, RA, HostBackend>>,
    index: usize,
    target: Target,
}

impl<RA> Chip<RA, WgpuBackend> for DeviceChip<RA> {
    fn generate_proving_ctx(&self, records: RA) -> AirProvingContext<WgpuBackend> {
        let context = self.chips.chips()[self.index].generate_proving_ctx(records);
        to_device(&self.target.gpu(), context, vec![])
    }

    fn constant_trace_height(&self) -> Option<usize> {
        self.chips.chips()[self.index].constant_trace_height()
    }
}

/// The system chips of the CPU machine, with their traces on the device and the program committed there.
pub struct DeviceSystem<S> {
    host: S,
    program: Option<CommittedTraceData<WgpuBackend>>,
    /// What the segment starts from, until the host's chips get it.
    initial_memory: Option<GuestMemory>,
    target: Target,
}

impl<RA, S: SystemChipComplex<RA, HostBackend>> SystemChipComplex<RA, WgpuBackend> for DeviceSystem<S> {
    fn load_program(&mut self, program: CommittedTraceData<WgpuBackend>) {
        // of what it is given, the host's chip reads only the height
        self.host.load_program(committed_elsewhere(program.commitment, program.height()));
        self.program = Some(program);
    }

    fn transport_init_memory_to_device(&mut self, memory: &GuestMemory) {
        // what the segment will touch is not known yet
        self.initial_memory = Some(copy_used(memory));
    }

    /// # Panics
    ///
    /// When no program was loaded.
    fn generate_proving_ctx(
        &mut self,
        records: SystemRecords<F>,
        arenas: Vec<RA>,
    ) -> Vec<AirProvingContext<WgpuBackend>> {
        const { assert!(PROGRAM_CACHED_TRACE_INDEX == 0) };
        if let Some(mut memory) = self.initial_memory.take() {
            extend_to_touched(&mut memory, &records.touched_memory);
            self.host.transport_init_memory_to_device(&memory);
        }
        let program = self.program.as_ref().expect("a program is loaded before it is proved");
        let contexts = self.host.generate_proving_ctx(records, arenas).into_iter().enumerate();
        let cached = |air| if air == PROGRAM_AIR_ID { vec![program.clone()] } else { vec![] };
        let gpu = self.target.gpu();
        contexts.map(|(air, context)| to_device(&gpu, context, cached(air))).collect()
    }

    fn memory_top_tree(&self) -> Option<&[[F; CHUNK]]> {
        self.host.memory_top_tree()
    }
}

impl<S: SystemWithFixedTraceHeights> SystemWithFixedTraceHeights for DeviceSystem<S> {
    fn override_trace_heights(&mut self, heights: &[u32]) {
        self.host.override_trace_heights(heights);
    }
}

/// Uploads a trace, transposing it on the device; `cached_mains` take the place of the host's.
///
/// What cannot be uploaded is reported by the proof ([`DeviceMatrix::failed`]), since callers have no way to return an error.
pub(super) fn to_device(
    gpu: &Gpu,
    context: AirProvingContext<HostBackend>,
    cached_mains: Vec<CommittedTraceData<WgpuBackend>>,
) -> AirProvingContext<WgpuBackend> {
    assert_eq!(context.cached_mains.len(), cached_mains.len(), "cached mains of an AIR");
    let height = context.common_main.height();
    let RowMajorMatrix { values: trace, width, .. } = context.common_main;
    let common_main = upload_row_major(gpu, &trace, width, "trace")
        .unwrap_or_else(|error| DeviceMatrix::failed(height, width, error));
    // gigabytes in all, which the system takes its time to take back: 60 ms each
    rayon::spawn(|| drop(trace));
    AirProvingContext { cached_mains, common_main, public_values: context.public_values }
}

/// What host trace generation gets in place of a trace that is committed on the device: a trace of zeros of the same height, with the
/// commitment and some prover data that nothing opens.
pub(super) fn committed_elsewhere(
    commitment: <WgpuBackend as ProverBackend>::Commitment,
    height: usize,
) -> HostCommitment {
    static UNUSED: LazyLock<Arc<<HostBackend as ProverBackend>::PcsData>> = LazyLock::new(|| {
        let params = SystemParams { n_stack: 0, ..app_params_with_100_bits_security(MAX_APP_LOG_STACKED_HEIGHT) };
        let device = CpuDevice::new(SC::default_from_params(params));
        let (_, data) = device.commit(&[&zeros(1)]).expect("one cell can be committed");
        Arc::new(data)
    });
    CommittedTraceData { commitment, trace: zeros(height), data: UNUSED.clone() }
}

fn zeros(height: usize) -> RowMajorMatrix<F> {
    RowMajorMatrix::new(F::zero_vec(height), 1)
}
