//! The system's chips: the memory's traces are made here, from a tree that is kept from segment to segment; the others are the host machine's.

mod memory;
mod poseidon2;
mod tree;

use std::{
    any::Any,
    sync::{Arc, Mutex, MutexGuard},
};

use openvm_circuit::{
    arch::{MatrixRecordArena, BOUNDARY_AIR_ID, MERKLE_AIR_ID, PROGRAM_AIR_ID, PROGRAM_CACHED_TRACE_INDEX},
    primitives::Chip,
    system::{
        memory::{online::GuestMemory, CHUNK},
        poseidon2::Poseidon2PeripheryChip,
        SystemChipComplex, SystemChipInventory, SystemRecords, SystemWithFixedTraceHeights,
    },
};
use openvm_cpu_backend::CpuBackend;
use openvm_stark_backend::{
    p3_matrix::dense::RowMajorMatrix,
    prover::{AirProvingContext, CommittedTraceData},
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, F};
use p3_field::PrimeCharacteristicRing;
use rayon::prelude::*;

use self::{
    memory::{MemoryChips, MemoryTraces},
    tree::MemoryTree,
};
use super::{
    builder::{committed_elsewhere, to_device, Target},
    guest_memory::{copy_used, extend_to_touched},
    records::ChipRecords,
};
use crate::{
    kernels::openvm::{Permutations, Request},
    WgpuBackend,
};

type SC = BabyBearPoseidon2Config;
type HostBackend = CpuBackend<SC>;
type HostContexts = Vec<AirProvingContext<HostBackend>>;

/// The system chips of the CPU machine, with their traces on the device and the program committed there.
pub struct DeviceSystem<S> {
    host: S,
    program: Option<CommittedTraceData<WgpuBackend>>,
    /// What the segment starts from, until the chips get it.
    initial_memory: Option<GuestMemory>,
    /// Nothing where the host machine's chips are not upstream's.
    memory: Option<MemoryChips>,
    hashes: Hashes,
    target: Target,
}

/// What the memory's traces ask of the Poseidon2 chip.
#[derive(Clone, Default)]
pub(super) struct Hashes(Arc<Mutex<Vec<Request<1>>>>);

impl Hashes {
    fn lock(&self) -> MutexGuard<'_, Vec<Request<1>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// All that the chip permutes, for them and for others.
    pub(super) fn permutations(&self, chip: &Poseidon2PeripheryChip<F>) -> Permutations {
        poseidon2::permutations(chip, std::mem::take(&mut *self.lock()))
    }
}

impl<S: Any> DeviceSystem<S> {
    /// The system of a machine whose Poseidon2 chip makes its trace of [`Hashes::permutations`] if `has_hashes`.
    pub(super) fn new(host: S, target: Target, hashes: Hashes, has_hashes: bool) -> Self {
        let upstream = (&host as &dyn Any).downcast_ref::<SystemChipInventory<SC>>();
        let fits = |system: &SystemChipInventory<SC>| {
            has_hashes && MemoryTree::fits(&system.memory_controller.memory_config().memory_dimensions())
        };
        let memory = upstream.is_some_and(fits).then(MemoryChips::default);
        Self { host, program: None, initial_memory: None, memory, hashes, target }
    }

    /// The traces, with that of the connector by upstream's chip; nothing where the memory's are upstream's, too.
    fn generate_here(&mut self, records: &SystemRecords<F>, program_height: usize) -> Option<HostContexts> {
        let memory = self.memory.as_mut()?;
        let host = (&mut self.host as &mut dyn Any).downcast_mut::<SystemChipInventory<SC>>()?;
        let initial = self.initial_memory.take()?.memory;
        host.connector_chip.begin(records.from_state);
        host.connector_chip.end(records.to_state, records.exit_code);
        let connector = Chip::<(), HostBackend>::generate_proving_ctx(&host.connector_chip, ());
        let dimensions = host.memory_controller.memory_config().memory_dimensions();
        let MemoryTraces { boundary, merkle, requests } = memory.generate(dimensions, initial, &records.touched_memory);
        *self.hashes.lock() = requests;
        let program = program_context(&records.filtered_exec_frequencies, program_height);
        Some(vec![program, connector, boundary, merkle])
    }
}

impl<S> SystemChipComplex<ChipRecords, WgpuBackend> for DeviceSystem<S>
where
    S: SystemChipComplex<MatrixRecordArena<F>, HostBackend> + Any,
{
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
        arenas: Vec<ChipRecords>,
    ) -> Vec<AirProvingContext<WgpuBackend>> {
        const { assert!(PROGRAM_CACHED_TRACE_INDEX == 0) };
        let program = self.program.clone().expect("a program is loaded before it is proved");
        let mut contexts = match self.generate_here(&records, program.height()) {
            Some(contexts) => contexts,
            None => {
                if let Some(mut memory) = self.initial_memory.take() {
                    extend_to_touched(&mut memory, &records.touched_memory);
                    self.host.transport_init_memory_to_device(&memory);
                }
                let arenas = arenas.into_iter().map(ChipRecords::into_matrix).collect();
                self.host.generate_proving_ctx(records, arenas)
            }
        };
        contexts[PROGRAM_AIR_ID].cached_mains.clear();
        let gpu = self.target.gpu();
        let mut contexts: Vec<_> = contexts.into_iter().map(|context| to_device(&gpu, context, vec![])).collect();
        contexts[PROGRAM_AIR_ID].cached_mains.push(program);
        contexts
    }

    fn memory_top_tree(&self) -> Option<&[[F; CHUNK]]> {
        match &self.memory {
            Some(memory) if memory.top_tree().is_some() => memory.top_tree(),
            _ => self.host.memory_top_tree(),
        }
    }
}

impl<S: SystemWithFixedTraceHeights> SystemWithFixedTraceHeights for DeviceSystem<S> {
    fn override_trace_heights(&mut self, heights: &[u32]) {
        if let Some(memory) = &mut self.memory {
            memory.set_heights(heights[BOUNDARY_AIR_ID] as usize, heights[MERKLE_AIR_ID] as usize);
        }
        self.host.override_trace_heights(heights);
    }
}

/// How often each instruction was executed; the cached trace is the device's.
fn program_context(frequencies: &[u32], height: usize) -> AirProvingContext<HostBackend> {
    assert!(frequencies.len() <= height, "instructions of another program");
    let mut rows: Vec<F> = frequencies.par_iter().map(|frequency| F::from_u32(*frequency)).collect();
    rows.resize(height, F::ZERO);
    AirProvingContext::simple_no_pis(RowMajorMatrix::new(rows, 1))
}

#[cfg(test)]
mod tests;
