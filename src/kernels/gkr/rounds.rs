//! The sequential part of the fractional sumcheck (`wgsl/gkr/rounds.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use super::{Fractions, GkrState, Heap, LayerTable, PartialSums};
use crate::{
    error::Result,
    gpu::{Grid, Recorder},
    kernel,
    kernels::{poseidon2::round_constants, transcript::KernelSponge},
};

kernel! {
    /// Rounds with their transcript steps, in one workgroup.
    struct RoundsKernel("gkr/rounds.wgsl", workgroup = 128) {
        buffers {
            write heap_p: EF, write heap_q: EF, read table_p: u32, read table_q: EF, read partials: EF,
            write state: EF, write sponge: F, write tape: F, read round_constants: F,
            read padding: EF
        }
        params { slots, tail, first, vars, layer, last_layer, levels, top, absorb_index, sample_index, tape_at, real, padded }
    }
}

/// What the kernel's invocations share.
pub(crate) struct Rounds {
    pub heap: Heap,
    pub state: GkrState,
}

/// What one invocation does.
struct Invocation<'a> {
    sums: Option<&'a PartialSums>,
    table: Option<&'a Fractions>,
    first: usize,
    vars: usize,
    layer: usize,
    last_layer: usize,
}

impl Rounds {
    /// Variables up to which a whole layer is proved from the heap.
    pub const SMALL_LAYER: usize = 8;

    /// Variables of a table up to which [`Rounds::tail`] takes it.
    pub const TAIL: usize = 10;

    /// Builds the heap, observes the root's denominator and layer 1's claims, and proves the layers 1 ..= `last_layer`.
    ///
    /// # Errors
    ///
    /// As [`round_constants`].
    pub fn start(&self, rec: &mut Recorder, last_layer: usize, sponge: &KernelSponge) -> Result<()> {
        assert!(last_layer <= Self::SMALL_LAYER && last_layer < self.heap.top, "layer {last_layer} not in the heap");
        let start = Invocation { sums: None, table: None, first: 0, vars: 0, layer: 0, last_layer };
        self.record(rec, start, sponge)
    }

    /// The two rounds of variables `first`, `first + 1` of a layer.
    ///
    /// # Errors
    ///
    /// As [`round_constants`].
    pub fn window(
        &self,
        rec: &mut Recorder,
        (layer, first): (usize, usize),
        sums: &PartialSums,
        sponge: &KernelSponge,
    ) -> Result<()> {
        let vars = layer - first;
        let window = Invocation { sums: Some(sums), table: None, first, vars, layer, last_layer: layer };
        self.record(rec, window, sponge)
    }

    /// All rounds of a layer from variable `first` on, and its claims. `sums` are those of the first window, `table` the folded table.
    ///
    /// # Errors
    ///
    /// As [`round_constants`].
    pub fn tail(
        &self,
        rec: &mut Recorder,
        (layer, first): (usize, usize),
        (sums, table): (&PartialSums, &LayerTable),
        sponge: &KernelSponge,
    ) -> Result<()> {
        let vars = table.vars();
        assert!((2..=Self::TAIL).contains(&vars) && vars == layer - first && !table.raw, "tail of {vars} variables");
        let table = Some(&table.fractions);
        let tail = Invocation { sums: Some(sums), table, first, vars, layer, last_layer: layer };
        self.record(rec, tail, sponge)
    }

    fn record(&self, rec: &mut Recorder, invocation: Invocation<'_>, sponge: &KernelSponge) -> Result<()> {
        let unused = rec.gpu().table("unused fractions", || vec![EF::default()])?;
        let unused_numerator = unused.cast();
        let table = invocation.table;
        assert!(table.is_none_or(|t| t.numer.len() == 1 && !t.base_numerators), "the last table is one folded piece");
        let kernel = RoundsKernel {
            heap_p: &self.heap.numer,
            heap_q: &self.heap.denom,
            table_p: table.map_or(&unused_numerator, |t| &t.numer[0]),
            table_q: table.map_or(&unused, |t| &t.denom[0]),
            partials: invocation.sums.map_or(&unused, |s| &s.buffer),
            state: &self.state.buffer,
            sponge: &sponge.state,
            tape: &sponge.tape,
            round_constants: &round_constants(rec.gpu())?,
            padding: &self.state.padding.denom,
            slots: invocation.sums.map_or(0, |s| s.slots) as u32,
            tail: table.is_some() as u32,
            first: invocation.first as u32,
            vars: invocation.vars as u32,
            layer: invocation.layer as u32,
            last_layer: invocation.last_layer as u32,
            levels: self.state.padding.levels as u32,
            top: self.heap.top as u32,
            absorb_index: sponge.absorb_index,
            sample_index: sponge.sample_index,
            tape_at: sponge.tape_at,
            real: table.map_or(0, |t| t.real_len) as u32,
            padded: self.state.padding.exists as u32,
        };
        rec.dispatch(&kernel, Grid::workgroups(1));
        Ok(())
    }
}
