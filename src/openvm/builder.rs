//! A virtual machine whose traces are proved on the device.
//!
//! Every chip of the CPU machine stands behind a chip that makes its trace on the device, where there is a kernel for that, or hands the
//! host's trace on. So any machine that the CPU backend can build, extensions of users included, proves here without a change.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{Arc, LazyLock, Mutex, MutexGuard},
};

use openvm_circuit::{
    arch::{
        AirInventory, ChipInventory, ChipInventoryError, Executor, MatrixRecordArena, MeteredExecutor,
        PreflightExecutor, VmBuilder, VmChipComplex, VmExecutionConfig,
    },
    primitives::Chip,
    system::poseidon2::Poseidon2PeripheryChip,
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
    field_expr::{field_traces, FieldTraces},
    machine::{take_counts, DeviceChips},
    records::{ChipRecords, DenseRecords},
    system::{DeviceSystem, Hashes},
    HostEngine,
};
use crate::{
    gpu::{DeviceMatrix, Gpu},
    kernels::{
        openvm::{fill_traces, Counts},
        transpose::upload_row_major,
    },
    transcript::SpongeTranscript,
    WgpuBackend, WgpuEngine,
};

type SC = BabyBearPoseidon2Config;
type HostBackend = CpuBackend<SC>;
type HostCommitment = CommittedTraceData<HostBackend>;

/// A builder of a VM for the CPU engine, whose executions [`AppProver`](super::AppProver) proves: a name for all that this takes. Upstream's
/// builders are such, and those of VMs with extensions of one's own.
pub trait HostVmBuilder:
    VmBuilder<
        HostEngine,
        VmConfig: VmExecutionConfig<
            F,
            Executor: Executor<F> + MeteredExecutor<F> + PreflightExecutor<F, ChipRecords>,
        > + Send
                      + Sync
                      + 'static,
        RecordArena = MatrixRecordArena<F>,
        SystemChipInventory: 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<B> HostVmBuilder for B
where
    B: VmBuilder<HostEngine, RecordArena = MatrixRecordArena<F>> + Clone + Send + Sync + 'static,
    B::VmConfig: Send + Sync + 'static,
    B::SystemChipInventory: 'static,
    <B::VmConfig as VmExecutionConfig<F>>::Executor:
        Executor<F> + MeteredExecutor<F> + PreflightExecutor<F, ChipRecords>,
{
}

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

/// A machine's link to who prepares segments with it.
#[derive(Clone, Default)]
pub(super) struct Uploads(Arc<Mutex<Link>>);

#[derive(Default)]
struct Link {
    /// What traces are charged to: chips get no more than the machine's GPU, long before there is a segment.
    gpu: Option<Gpu>,
    /// Where the segment's lookups are counted on the device.
    counts: Option<Arc<Counts>>,
    chips: Option<Arc<DeviceChips>>,
}

impl Uploads {
    /// Does `work` with uploads through `gpu` and lookups counted in `counts`.
    pub(super) fn through<T>(&self, gpu: Gpu, counts: Option<Counts>, work: impl FnOnce() -> T) -> T {
        {
            let mut link = self.lock();
            link.gpu = Some(gpu);
            link.counts = counts.map(Arc::new);
        }
        let result = work();
        let mut link = self.lock();
        link.gpu = None;
        link.counts = None;
        result
    }

    /// What the machine that was built last has on the device.
    pub(super) fn chips(&self) -> Option<Arc<DeviceChips>> {
        self.lock().chips.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Link> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl<TS, B> VmBuilder<WgpuEngine<TS>> for WgpuVmBuilder<B>
where
    TS: SpongeTranscript + From<Poseidon2BabyBear<16>>,
    B: VmBuilder<HostEngine, RecordArena = MatrixRecordArena<F>>,
    B::SystemChipInventory: 'static,
{
    type VmConfig = B::VmConfig;
    type RecordArena = ChipRecords;
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
        let chips = Rc::new(host.inventory);
        let hasher = chips.chips().iter().position(|chip| chip.as_any().is::<Arc<Poseidon2PeripheryChip<F>>>());
        let hashes = Hashes::default();
        let next_trace = NextTrace::default();
        let on_device = Arc::new(DeviceChips::of(&chips));
        self.uploads.lock().chips = Some(on_device.clone());
        for index in 0..chips.chips().len() {
            let hashes = (Some(index) == hasher).then(|| hashes.clone());
            inventory.add_periphery_chip(DeviceChip {
                chips: chips.clone(),
                on_device: on_device.clone(),
                index,
                hashes,
                field: field_traces(&chips, index),
                next_trace: next_trace.clone(),
                target: target.clone(),
            });
        }
        let system = DeviceSystem::new(host.system, target, hashes, hasher.is_some());
        Ok(VmChipComplex { system, inventory })
    }
}

/// Where a machine's traces go.
#[derive(Clone)]
pub(super) struct Target {
    uploads: Uploads,
    gpu: Gpu,
}

impl Target {
    pub(super) fn gpu(&self) -> Gpu {
        self.uploads.lock().gpu.as_ref().unwrap_or(&self.gpu).clone()
    }

    fn counts(&self) -> Option<Arc<Counts>> {
        self.uploads.lock().counts.clone()
    }
}

/// A trace that was made of the records of another chip, with the number of its own, which comes next.
type NextTrace = Rc<RefCell<Option<(usize, DeviceMatrix<F>)>>>;

/// A chip of the CPU machine, with its traces on the device.
struct DeviceChip {
    chips: Rc<ChipInventory<SC, MatrixRecordArena<F>, HostBackend>>,
    on_device: Arc<DeviceChips>,
    index: usize,
    /// What the memory asks of the chip, if it is that which hashes it.
    hashes: Option<Hashes>,
    /// What makes its trace in its place, if that is the host's.
    field: Option<Box<dyn FieldTraces>>,
    next_trace: NextTrace,
    target: Target,
}

impl DeviceChip {
    /// The trace that the host's chip makes.
    fn on_host(&self, records: MatrixRecordArena<F>) -> AirProvingContext<WgpuBackend> {
        let chip = &self.chips.chips()[self.index];
        let context = match &self.field {
            Some(field) => field.context(chip.as_any(), records),
            None => chip.generate_proving_ctx(records),
        };
        to_device(&self.target.gpu(), context, vec![])
    }

    /// The trace of a lookup table in which the device has counted.
    fn table(&self) -> Option<AirProvingContext<WgpuBackend>> {
        let (table, counts) = self.on_device.table(self.index).zip(self.target.counts())?;
        let host_counts = take_counts(self.chips.chips()[self.index].as_any(), table);
        let common_main = counts.trace(&self.target.gpu(), table, &host_counts);
        Some(only(common_main))
    }

    /// The trace of the chip that hashes the memory, of what it was asked for.
    fn hashes(&self) -> Option<AirProvingContext<WgpuBackend>> {
        let chip = self.chips.chips()[self.index].as_any();
        let (hashes, hasher) = self.hashes.as_ref().zip(chip.downcast_ref::<Arc<Poseidon2PeripheryChip<F>>>())?;
        Some(only(hashes.permutations(hasher).trace(&self.target.gpu())))
    }

    /// The trace that was made of another chip's records.
    fn of_others(&self) -> Option<AirProvingContext<WgpuBackend>> {
        let (_, trace) = self.next_trace.take().filter(|(chip, _)| *chip == self.index)?;
        Some(only(trace))
    }

    fn on_device(&self, records: &DenseRecords) -> AirProvingContext<WgpuBackend> {
        let (gpu, kernel) = (self.target.gpu(), records.kernel());
        let counts = self.target.counts().expect("lookups of chips on the device are counted");
        let mut traces = fill_traces(&gpu, kernel, &records.parts(), &counts).into_iter();
        let own = traces.next().expect("the chip's own");
        // chips come in the reverse order of their numbers
        self.next_trace.replace(traces.next().map(|trace| (self.index - 1, trace)));
        only(own)
    }
}

/// A context with nothing but a trace.
pub(super) fn only(common_main: DeviceMatrix<F>) -> AirProvingContext<WgpuBackend> {
    AirProvingContext { cached_mains: vec![], common_main, public_values: vec![] }
}

impl Chip<ChipRecords, WgpuBackend> for DeviceChip {
    fn generate_proving_ctx(&self, records: ChipRecords) -> AirProvingContext<WgpuBackend> {
        match records.into_parts() {
            Ok(records) => self.on_device(&records),
            Err(matrix) => {
                let on_device = self.of_others().or_else(|| self.table()).or_else(|| self.hashes());
                on_device.unwrap_or_else(|| self.on_host(matrix))
            }
        }
    }

    fn constant_trace_height(&self) -> Option<usize> {
        self.chips.chips()[self.index].constant_trace_height()
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
    let RowMajorMatrix { values: rows, width, .. } = context.common_main;
    let common_main =
        upload_row_major(gpu, &rows, width, "trace").unwrap_or_else(|error| DeviceMatrix::failed(height, width, error));
    // gigabytes in all, which the system takes its time to take back: 60 ms each
    rayon::spawn(|| drop(rows));
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
