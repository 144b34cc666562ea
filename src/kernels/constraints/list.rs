//! Work lists: the programs of many AIRs in one dispatch (`wgsl/constraints/{list_lines,list_points,list_sums}.wgsl`).
//!
//! A [`Job`] is a program on one AIR's tile; [`WorkLists`] cuts jobs into *items* (a chunk on some rows), each a workgroup's work, whose partial
//! sums one more dispatch adds up. What the lists hold depends on programs and heights only, so those of all rounds of a proof are one upload.

use std::ops::Range;

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use super::{listed::Form, program::MAX_DISPATCH_COST, RowKind};
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Gpu, Grid, Kernel, Recorder},
    kernel,
};

kernel! {
    /// partials[slot][a * points + X - 1] = sum over the item's lines of eq * acc_a
    struct ListLines("constraints/list_lines.wgsl", workgroup = 64) {
        buffers {
            read tile: EF, read constants: F, read lambda: EF, read logup: EF, read eq: EF, write partials: EF,
            read records: u32 as Record, read list: u32 as vec4<u32>,
        }
        params { slot_len, items, jobs, first }
        flags { EXTENSION }
    }
}

kernel! {
    /// partials[slot][a * points + p] = sum over the item's rows of eq * acc_a
    struct ListPoints("constraints/list_points.wgsl", workgroup = 64) {
        buffers {
            read tile: F as Tile, read constants: F, read lambda: EF, read logup: EF, read eq: EF, write partials: EF,
            read records: u32 as Record, read list: u32 as vec4<u32>,
        }
        params { slot_len, items, jobs, first }
    }
}

kernel! {
    /// out[sums_at + v] = sum over a job's slots of partials[slot][v]
    struct ListSums("constraints/list_sums.wgsl", workgroup = 64) {
        buffers { read partials: EF, read list: u32 as vec4<u32>, write out: EF }
        params { slot_len, entries }
    }
}

/// Threads of a workgroup, and the rows that they take in round 0.
const THREADS: usize = 64;
const ROWS: usize = 256;

/// Items of a list that MLE rounds aim not to exceed: beyond it an item takes more lines, so that few partial sums are left to add. More
/// than a large GPU runs at once.
const MAX_ITEMS: usize = 1 << 13;

/// Largest number of items of a dispatch: one dimension.
const MAX_DISPATCH_ITEMS: usize = 65_535;

/// Flags of a job, as `wgsl/constraints/list.wgsl` reads them.
const LAMBDA: u32 = 1;
const LAST: u32 = 2;
const TWO: u32 = 4;

/// A program to evaluate on the rows of a tile.
#[derive(Clone)]
pub struct Job<'a> {
    /// The program, and where its records begin in the table of all.
    pub form: &'a Form,
    /// Whether weights are powers of lambda; else they are the AIR's logup weights.
    pub lambda: bool,
    /// Number of row weights: hypercube points of the tile, or lines (a tile of one row counts as one line).
    pub rows: usize,
    /// Evaluations of each row weight: points of the cosets, or largest `X`.
    pub points: usize,
    /// MLE rounds only: the tile has one row, whose value every `X` takes.
    pub last: bool,
    /// First element of the AIR's constants.
    pub constants_at: usize,
    /// First element of the AIR's logup weights.
    pub weights_at: usize,
    /// First element of the tile.
    pub tile_at: usize,
    /// Over EF elements from one tile column to the next; over F columns.
    pub stride: usize,
    /// Element of `eq` that weighs the tile's first row.
    pub eq_at: usize,
    /// First element of the job's sums: `points` for each accumulator.
    pub sums_at: usize,
}

/// Whether a list's items can evaluate at so many points.
pub fn can_list(kind: RowKind, points: usize) -> bool {
    match kind {
        RowKind::Lines => (1..=THREADS).contains(&points),
        RowKind::Points => points > 0 && row_unit(points) <= ROWS,
        RowKind::Emit => false,
    }
}

/// Items of round 0 begin at multiples of this: whole hypercube points, and whole quads of rows.
fn row_unit(points: usize) -> usize {
    match points % 4 {
        0 => points,
        2 => 2 * points,
        _ => 4 * points,
    }
}

impl Job<'_> {
    fn words(&self) -> [u32; 8] {
        let flags = [(self.lambda, LAMBDA), (self.last, LAST), (self.form.accumulators == 2, TWO)];
        let flags: u32 = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum();
        let form = self.form.records_at();
        let words = [form, self.constants_at, self.weights_at, self.tile_at, self.stride, self.eq_at];
        let [records_at, constants_at, weights_at, tile_at, stride, eq_at] = words.map(|word| word as u32);
        [records_at, constants_at, weights_at, tile_at, stride, eq_at, flags, self.points as u32]
    }

    /// Rows (lines, or evaluations in round 0) of one pass of a workgroup, and all of them.
    fn pass(&self, kind: RowKind) -> (usize, usize) {
        match kind {
            RowKind::Lines => (THREADS / self.points, self.rows),
            _ => (ROWS / row_unit(self.points) * row_unit(self.points), self.rows * self.points),
        }
    }

    fn values(&self) -> usize {
        self.form.accumulators * self.points
    }
}

/// Where a list lies in [`WorkLists`].
pub struct WorkList {
    kind: RowKind,
    items_at: usize,
    jobs_at: usize,
    entries_at: usize,
    jobs: usize,
    /// Items of each dispatch.
    dispatches: Vec<Range<usize>>,
    /// Partial sums of an item.
    slot_len: usize,
    /// Largest number of sums of a job.
    values: usize,
    /// Least elements of sums.
    sums_end: usize,
}

/// Lists in the making.
#[derive(Default)]
pub struct WorkLists {
    words: Vec<[u32; 4]>,
    partials: usize,
}

/// Lists on the device, and room for their partial sums.
pub struct DeviceLists {
    list: DeviceBuffer<u32>,
    partials: DeviceBuffer<EF>,
}

/// What the programs of a list read.
#[derive(Clone, Copy)]
pub struct ListTables<'a> {
    /// Constants and public values of all AIRs.
    pub constants: &'a DeviceBuffer<F>,
    /// Powers of lambda.
    pub lambda: &'a DeviceBuffer<EF>,
    /// Logup weights of all AIRs.
    pub logup: &'a DeviceBuffer<EF>,
    /// Row weights of all AIRs.
    pub eq: &'a DeviceBuffer<EF>,
    /// Records of all programs.
    pub records: &'a DeviceBuffer<u32>,
}

impl WorkLists {
    /// Adds a list of jobs of one kind.
    ///
    /// # Panics
    ///
    /// When a job has more points than [`can_list`].
    pub fn add(&mut self, kind: RowKind, jobs: &[Job<'_>]) -> WorkList {
        assert!(jobs.iter().all(|job| can_list(kind, job.points)), "points of a listed evaluation");
        let jobs_at = self.words.len();
        for job in jobs {
            let words = job.words();
            self.words.extend([[words[0], words[1], words[2], words[3]], [words[4], words[5], words[6], words[7]]]);
        }
        let passes = |job: &Job<'_>| {
            let (step, rows) = job.pass(kind);
            job.form.costs().len() * rows.div_ceil(step)
        };
        let per_item = match kind {
            RowKind::Lines => jobs.iter().map(passes).sum::<usize>().div_ceil(MAX_ITEMS).max(1),
            _ => 1,
        };
        let (items_at, mut entries, mut costs) = (self.words.len(), vec![], vec![]);
        for (j, job) in jobs.iter().enumerate() {
            let first = costs.len();
            let (step, rows) = job.pass(kind);
            for (chunk, cost) in job.form.costs().iter().enumerate() {
                for start in (0..rows).step_by(step * per_item) {
                    let count = (rows - start).min(step * per_item);
                    self.words.push([j, chunk, start, count].map(|word| word as u32));
                    costs.push(count.div_ceil(step) as u64 * kind.workgroup_cost(*cost));
                }
            }
            entries.push([first, costs.len() - first, job.values(), job.sums_at].map(|word| word as u32));
        }
        let entries_at = self.words.len();
        self.words.extend(entries);
        let slot_len = jobs.iter().map(Job::values).max().unwrap_or(0);
        self.partials = self.partials.max(costs.len() * slot_len);
        WorkList {
            kind,
            items_at,
            jobs_at,
            entries_at,
            jobs: jobs.len(),
            dispatches: dispatches(&costs),
            slot_len,
            values: slot_len,
            sums_end: jobs.iter().map(|job| job.sums_at + job.values()).max().unwrap_or(0),
        }
    }

    /// Uploads all lists.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn finish(self, gpu: &Gpu) -> Result<DeviceLists> {
        let list = gpu.upload(self.words.as_flattened(), "work lists")?;
        Ok(DeviceLists { list, partials: gpu.alloc(self.partials, "partial sums")? })
    }
}

/// Packs items into dispatches of bounded length.
pub(super) fn dispatches(costs: &[u64]) -> Vec<Range<usize>> {
    let mut dispatches: Vec<Range<usize>> = vec![];
    let mut sum = 0;
    for (i, cost) in costs.iter().enumerate() {
        sum += cost;
        match dispatches.last_mut() {
            Some(last) if sum <= MAX_DISPATCH_COST && last.len() < MAX_DISPATCH_ITEMS => last.end = i + 1,
            _ => {
                dispatches.push(i..i + 1);
                sum = *cost;
            }
        }
    }
    dispatches
}

/// The kernel of a list's items from `first` on: both have the same interface but for the tile.
macro_rules! items {
    ($kernel:ident { $($flag:ident: $set:expr)? }, $lists:expr, $list:expr, $tile:expr, $tables:expr, $first:expr) => {
        $kernel {
            tile: $tile,
            constants: $tables.constants,
            lambda: $tables.lambda,
            logup: $tables.logup,
            eq: $tables.eq,
            partials: &$lists.partials,
            records: $tables.records,
            list: &$lists.list,
            slot_len: $list.slot_len as u32,
            items: $list.items_at as u32,
            jobs: $list.jobs_at as u32,
            first: $first,
            $($flag: $set,)?
        }
    };
}

impl DeviceLists {
    /// Evaluates the jobs of an MLE round, whose tiles lie in `tile`; stores their sums.
    ///
    /// # Panics
    ///
    /// When `sums` is too short.
    pub fn lines(
        &self,
        rec: &mut Recorder,
        list: &WorkList,
        tile: &DeviceBuffer<EF>,
        tables: ListTables<'_>,
        sums: &DeviceBuffer<EF>,
    ) {
        assert_eq!(list.kind, RowKind::Lines, "rows of a list");
        self.evaluate(rec, list, sums, |first| items!(ListLines { EXTENSION: true }, self, list, tile, tables, first));
    }

    /// The same for round 0.
    ///
    /// # Panics
    ///
    /// When `sums` is too short.
    pub fn points(
        &self,
        rec: &mut Recorder,
        list: &WorkList,
        tile: &DeviceBuffer<F>,
        tables: ListTables<'_>,
        sums: &DeviceBuffer<EF>,
    ) {
        assert_eq!(list.kind, RowKind::Points, "rows of a list");
        self.evaluate(rec, list, sums, |first| items!(ListPoints {}, self, list, tile, tables, first));
    }

    /// Records `kernel` from the first item of each dispatch on, and adds up what the items leave.
    fn evaluate<K: Kernel>(
        &self,
        rec: &mut Recorder,
        list: &WorkList,
        sums: &DeviceBuffer<EF>,
        kernel: impl Fn(u32) -> K,
    ) {
        assert!(sums.len() >= list.sums_end, "sums too short");
        for items in &list.dispatches {
            rec.dispatch(&kernel(items.start as u32), Grid::workgroups(items.len()));
        }
        let add_up = ListSums {
            partials: &self.partials,
            list: &self.list,
            out: sums,
            slot_len: list.slot_len as u32,
            entries: list.entries_at as u32,
        };
        rec.dispatch(&add_up, Grid::workgroups(list.values).batched(list.jobs));
    }
}
