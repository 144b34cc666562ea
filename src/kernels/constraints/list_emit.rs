//! Launcher of `wgsl/constraints/list_emit.wgsl`: the fractions of many AIRs' interactions in one dispatch.

use std::ops::Range;

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use p3_field::{Field, PrimeCharacteristicRing};

use super::{list::dispatches, listed::Form, RowKind};
use crate::{
    error::Result,
    gpu::{as_words, DeviceBuffer, Gpu, Grid, Recorder},
    kernel,
    kernels::gkr::Fractions,
};

kernel! {
    /// numerators[j] = norm * count_i(r), denominators[j] = alpha + message_i(r), interpreted on trace rows
    struct ListEmit("constraints/list_emit.wgsl", workgroup = 64) {
        buffers {
            read tile: F as Tile, read constants: F, read logup: EF, read offsets: u32, write numerators: u32,
            write denominators: EF, read records: u32 as Record, read list: u32 as vec4<u32>,
        }
        params { alpha, window_start, window_len, items, jobs, first }
        flags { EMIT }
    }
}

/// Rows of an item: four for each thread of a workgroup.
const ROWS: usize = 256;

/// An AIR's interactions on its whole trace.
pub struct EmitJob<'a> {
    /// The program, and where its records begin in the table of all.
    pub form: &'a Form,
    /// First element of the AIR's constants.
    pub constants_at: usize,
    /// First element of the AIR's weights.
    pub weights_at: usize,
    /// First word of the AIR's tile.
    pub tile_at: usize,
    /// Columns of the tile.
    pub columns: usize,
    /// Position of each interaction's first fraction.
    pub offsets: &'a [u32],
    /// Where those begin among the offsets of all AIRs.
    pub offsets_at: usize,
    /// Rows of the trace.
    pub height: usize,
    /// How often the trace is repeated; numerators are divided by this.
    pub lift: usize,
}

impl EmitJob<'_> {
    fn words(&self) -> [[u32; 4]; 3] {
        let norm = as_words(&[F::from_usize(self.lift).inverse()])[0];
        let words =
            [self.form.records_at(), self.constants_at, self.weights_at, self.tile_at, self.columns, self.offsets_at];
        let [records_at, constants_at, weights_at, tile_at, columns, offsets_at] = words.map(|word| word as u32);
        let trace = [self.height as u32, self.lift as u32, norm, 0];
        [[records_at, constants_at, weights_at, tile_at], [columns, offsets_at, 0, 0], trace]
    }

    /// The positions that are written, and what is between them.
    fn positions(&self) -> Range<usize> {
        let start = self.offsets.iter().min().map_or(0, |offset| *offset as usize);
        let end = self.offsets.iter().max().map_or(0, |offset| *offset as usize + self.lift * self.height);
        start..end
    }
}

/// What the programs of a list read.
#[derive(Clone, Copy)]
pub struct EmitTables<'a> {
    /// Constants and public values of all AIRs.
    pub constants: &'a DeviceBuffer<F>,
    /// Weights of all AIRs in the emitted form, then alpha.
    pub weights: &'a DeviceBuffer<EF>,
    /// Which weight alpha is.
    pub alpha: usize,
    /// Offsets of all AIRs.
    pub offsets: &'a DeviceBuffer<u32>,
    /// Records of all programs.
    pub records: &'a DeviceBuffer<u32>,
}

/// Jobs on the device.
pub struct EmitList {
    list: DeviceBuffer<u32>,
    items_at: usize,
    /// Items of each dispatch.
    dispatches: Vec<Range<usize>>,
    positions: Range<usize>,
    tile_len: usize,
}

impl EmitList {
    /// Uploads the list of jobs whose tiles lie in one buffer.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn new(gpu: &Gpu, jobs: &[EmitJob<'_>]) -> Result<Self> {
        let mut words: Vec<[u32; 4]> = jobs.iter().flat_map(EmitJob::words).collect();
        let (items_at, mut costs) = (words.len(), vec![]);
        for (j, job) in jobs.iter().enumerate() {
            for (chunk, cost) in job.form.costs().iter().enumerate() {
                for start in (0..job.height).step_by(ROWS) {
                    words.push([j, chunk, start, ROWS.min(job.height - start)].map(|word| word as u32));
                    costs.push(RowKind::Emit.workgroup_cost(*cost));
                }
            }
        }
        let positions = jobs.iter().map(EmitJob::positions);
        let positions = positions.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).unwrap_or(0..0);
        let tile_len = |job: &EmitJob<'_>| job.tile_at + job.columns * job.height.next_multiple_of(64);
        Ok(Self {
            list: gpu.upload(words.as_flattened(), "work list")?,
            items_at,
            dispatches: dispatches(&costs),
            positions,
            tile_len: jobs.iter().map(tile_len).max().unwrap_or(0),
        })
    }

    /// Writes the fractions of all jobs into the leaves; the rest of them is left alone.
    ///
    /// # Panics
    ///
    /// When a buffer is too short.
    pub fn emit(&self, rec: &mut Recorder, tile: &DeviceBuffer<F>, tables: EmitTables<'_>, leaves: &Fractions) {
        assert!(tile.len() >= self.tile_len && tables.weights.len() > tables.alpha, "tile or weights too short");
        let piece_len = leaves.piece_len();
        assert!(self.positions.end <= piece_len * leaves.numer.len(), "layer too short");
        for (piece, (numerators, denominators)) in leaves.numer.iter().zip(&leaves.denom).enumerate() {
            let window = piece * piece_len..(piece + 1) * piece_len;
            if window.end <= self.positions.start || self.positions.end <= window.start {
                continue;
            }
            for items in &self.dispatches {
                let kernel = ListEmit {
                    tile,
                    constants: tables.constants,
                    logup: tables.weights,
                    offsets: tables.offsets,
                    numerators,
                    denominators,
                    records: tables.records,
                    list: &self.list,
                    alpha: tables.alpha as u32,
                    window_start: window.start as u32,
                    window_len: piece_len as u32,
                    items: self.items_at as u32,
                    jobs: 0,
                    first: items.start as u32,
                    EMIT: true,
                };
                rec.dispatch(&kernel, Grid::workgroups(items.len()));
            }
        }
    }
}
