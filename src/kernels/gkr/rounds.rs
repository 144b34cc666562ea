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
    pub struct RoundsKernel("gkr/rounds.wgsl", workgroup = 128) {
        buffers {
            write heap: EF, read table_p: u32 as vec4<u32>, read table_q: EF, read partials: EF, write state: EF,
            write sponge: F, write tape: F, read round_constants: F as vec4<u32>
        }
        params {
            task, slots, first, vars, layer, last_layer,
            /// Levels of the whole tree below the root.
            levels,
            /// The heap's lowest level.
            top,
            absorb_index, sample_index, tape_at,
            /// Fractions of the table in memory that are stored.
            real,
            /// 0: no leaves are padding.
            padded,
        }
    }
}

/// What the kernel's invocations share.
pub(crate) struct Rounds {
    pub heap: Heap,
    pub state: GkrState,
}

/// What a dispatch does: the constants of these names in `wgsl/gkr/rounds.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Task {
    /// The heap, the root, and the layers that are proved from the heap.
    Start,
    /// Two rounds.
    Window,
    /// The rest of a layer.
    Tail,
}

/// A dispatch.
struct Invocation<'a> {
    task: Task,
    sums: Option<&'a PartialSums>,
    /// One piece, with numerators of the extension.
    table: &'a Fractions,
    first: usize,
    vars: usize,
    layer: usize,
    last_layer: usize,
}

impl Rounds {
    /// Variables up to which a whole layer is proved from the heap.
    pub(crate) const SMALL_LAYER: usize = 8;

    /// Variables of a table up to which [`Rounds::tail`] takes it.
    pub(crate) const TAIL: usize = 10;

    /// Builds the heap, observes the root's denominator and layer 1's claims, and proves the layers 1 ..= `last_layer`.
    ///
    /// # Errors
    ///
    /// As [`round_constants`].
    pub(crate) fn start(&self, rec: &mut Recorder, last_layer: usize, sponge: &KernelSponge) -> Result<()> {
        assert!(last_layer <= Self::SMALL_LAYER && last_layer < self.heap.top(), "layer {last_layer} not in the heap");
        let table = &self.heap.level;
        let start = Invocation { task: Task::Start, sums: None, table, first: 0, vars: 0, layer: 0, last_layer };
        self.record(rec, start, sponge)
    }

    /// The two rounds of variables `first`, `first + 1` of a layer.
    ///
    /// # Errors
    ///
    /// As [`round_constants`].
    pub(crate) fn window(
        &self,
        rec: &mut Recorder,
        (layer, first): (usize, usize),
        sums: &PartialSums,
        sponge: &KernelSponge,
    ) -> Result<()> {
        let vars = layer - first;
        // no table is read
        let (task, sums, table) = (Task::Window, Some(sums), &self.heap.level);
        self.record(rec, Invocation { task, sums, table, first, vars, layer, last_layer: layer }, sponge)
    }

    /// All rounds of a layer from variable `first` on, and its claims. `sums` are those of the first window, `table` the folded table.
    ///
    /// # Errors
    ///
    /// As [`round_constants`].
    pub(crate) fn tail(
        &self,
        rec: &mut Recorder,
        (layer, first): (usize, usize),
        (sums, table): (&PartialSums, &LayerTable),
        sponge: &KernelSponge,
    ) -> Result<()> {
        let vars = table.vars();
        assert!((2..=Self::TAIL).contains(&vars) && vars == layer - first && !table.raw, "tail of {vars} variables");
        let (task, sums, table) = (Task::Tail, Some(sums), &table.fractions);
        self.record(rec, Invocation { task, sums, table, first, vars, layer, last_layer: layer }, sponge)
    }

    fn record(&self, rec: &mut Recorder, invocation: Invocation<'_>, sponge: &KernelSponge) -> Result<()> {
        let Invocation { task, sums, table, first, vars, layer, last_layer } = invocation;
        assert!(table.numer.len() == 1 && !table.base_numerators, "a table is one piece of sums");
        let kernel = RoundsKernel {
            heap: &self.heap.nodes,
            table_p: &table.numer[0],
            table_q: &table.denom[0],
            // the start has none
            partials: sums.map_or(&table.denom[0], |s| &s.buffer),
            state: &self.state.buffer,
            sponge: &sponge.state,
            tape: &sponge.tape,
            round_constants: &round_constants(rec.gpu())?,
            task: task as u32,
            slots: sums.map_or(0, |s| s.slots) as u32,
            first: first as u32,
            vars: vars as u32,
            layer: layer as u32,
            last_layer: last_layer as u32,
            levels: self.state.levels as u32,
            top: self.heap.top() as u32,
            absorb_index: sponge.absorb_index,
            sample_index: sponge.sample_index,
            tape_at: sponge.tape_at,
            real: table.real_len as u32,
            padded: self.state.padded as u32,
        };
        rec.dispatch(&kernel, Grid::workgroups(1));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::wgsl_constant;

    #[test]
    fn tasks_have_their_numbers() {
        let constant = |name| wgsl_constant(include_str!("../../../wgsl/gkr/rounds.wgsl"), name);
        let tasks = [("START", Task::Start), ("WINDOW", Task::Window), ("TAIL", Task::Tail)];
        assert_eq!(tasks.map(|(name, _)| constant(name)), tasks.map(|(_, task)| task as u32));
    }
}
