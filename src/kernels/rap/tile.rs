//! Tiles out of trace matrices: rows as they are, on the cosets of round 0, or with the univariate variable folded
//! (`wgsl/rap/{trace_tile,coset_tile,coset_tile16,fold_ple}.wgsl`).

use std::ops::Range;

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use p3_field::{Field, PrimeCharacteristicRing, TwoAdicField};

use crate::{
    constraints::{PartSource, TileColumn, TileLayout},
    error::Result,
    gpu::{DeviceBuffer, DeviceMatrix, Gpu, Grid, Recorder},
    kernel,
    kernels::{pack::PackedTrace, MAX_L_SKIP},
};

kernel! {
    /// tile[tile_at(column, r)] = source(first_row + r)
    struct GatherRows("rap/trace_tile.wgsl", workgroup = 256) {
        buffers { read segment: F, read entries: u32 as vec2<u32>, write tile: F }
        params { start, count, height, first, rows, columns, tile_from }
    }
}

kernel! {
    /// tile[tile_at(column, (x, j, i))] = T(g^(j+1) omega^i, first_x + x)
    struct GatherCosets("rap/coset_tile.wgsl", workgroup = 256) {
        buffers { read segment: F, read entries: u32 as vec2<u32>, read tables: F, write tile: F }
        params { start, count, height, first_x, xs, columns, l_skip, cosets, tile_at }
    }
}

kernel! {
    /// The same for l_skip = 4 and heights of at least four
    struct GatherCosets16("rap/coset_tile16.wgsl", workgroup = 256) {
        buffers { read segment: F as vec4<u32>, read entries: u32 as vec2<u32>, read scales: F as vec4<u32>, write tile: F as vec4<u32> }
        params { start, count, height, first_x, xs, columns, log_columns, cosets, tile_at }
    }
}

kernel! {
    /// tile[column][offset + x] = sum_i lagrange[i] T[(first_x + x) 2^l_skip + i]
    struct FoldPle("rap/fold_ple.wgsl", workgroup = 256) {
        buffers { read segment: F, read entries: u32 as vec2<u32>, read lagrange: EF, write tile: EF }
        params { start, count, height, first_x, xs, stride, offset, l_skip }
    }
}

/// Values that a workgroup of `wgsl/rap/coset_tile.wgsl` transforms.
const COSET_VALUES: usize = 512;

const _: () = assert!(1 << MAX_L_SKIP <= COSET_VALUES, "a workgroup takes whole chunks");

/// Chunks that a workgroup of `wgsl/rap/coset_tile16.wgsl` transforms, and of at most how many columns.
pub(super) const CHUNKS_16: usize = 256;
pub(super) const COLUMNS_16: usize = 16;

/// Kinds of a column's source, as `wgsl/rap/columns.wgsl` reads them.
fn kind(column: TileColumn) -> u32 {
    match column {
        TileColumn::Preprocessed { rot, .. } | TileColumn::Main { rot, .. } => rot.into(),
        TileColumn::IsFirstRow => 2,
        TileColumn::IsTransition => 3,
        TileColumn::IsLastRow => 4,
    }
}

/// Columns of a tile that one segment of a trace matrix holds.
pub(super) struct Group {
    segment: DeviceBuffer<F>,
    /// Where the trace's cells lie with others'.
    pub packed: Option<PackedTrace>,
    pub entries: Range<usize>,
}

/// Where a part of an AIR's traces is.
#[derive(Clone, Copy)]
pub struct TracePart<'a> {
    /// The part.
    pub matrix: &'a DeviceMatrix<F>,
    /// Where its cells lie with others', if they do.
    pub packed: Option<&'a PackedTrace>,
}

impl<'a> From<&'a DeviceMatrix<F>> for TracePart<'a> {
    fn from(matrix: &'a DeviceMatrix<F>) -> Self {
        Self { matrix, packed: None }
    }
}

struct TilePlan {
    groups: Vec<Group>,
    columns: usize,
    height: usize,
}

/// Where a tile's columns come from: segments of an AIR's trace matrices.
pub struct TileSource {
    entries: DeviceBuffer<u32>,
    plan: TilePlan,
}

/// Collects the sources of many tiles, so that their tables are one upload.
pub struct TilePlanner {
    no_trace: DeviceBuffer<F>,
    words: Vec<[u32; 2]>,
    plans: Vec<TilePlan>,
}

impl TilePlanner {
    /// An empty planner.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn new(gpu: &Gpu) -> Result<Self> {
        // a vector, as some kernels read traces
        let no_trace = gpu.table("no trace", || vec![F::ZERO; 4])?;
        Ok(Self { no_trace, words: vec![], plans: vec![] })
    }

    /// Adds a tile of `layout` over traces of `height` rows (a power of two).
    ///
    /// # Panics
    ///
    /// When a matrix is of another height or lacks a column.
    pub fn add<'m>(&mut self, layout: &TileLayout, height: usize, trace: impl Fn(PartSource) -> TracePart<'m>) {
        assert!(height.is_power_of_two(), "trace of {height} rows");
        let mut groups: Vec<Group> = vec![];
        let mut last = None;
        for (tile_column, &column) in layout.columns().iter().enumerate() {
            let (segment, packed, part, at) = match column.source() {
                // selectors need no trace: they go with whatever segment comes first
                None => (&self.no_trace, None, None, 0),
                Some((part, _, index)) => {
                    let TracePart { matrix, packed } = trace(part);
                    assert_eq!(matrix.height(), height, "height of {part:?}");
                    let segment = matrix.segment_of(index as usize);
                    let at = index as usize - segment.columns.start;
                    let packed = packed.filter(|_| matrix.segments().len() == 1).cloned();
                    (&segment.buffer, packed, Some((part, segment.columns.start)), at)
                }
            };
            match groups.last_mut() {
                Some(_) if last == part => {}
                // only selectors so far
                Some(group) if last.is_none() => (group.segment, group.packed) = (segment.clone(), packed),
                _ => {
                    let start = self.words.len();
                    groups.push(Group { segment: segment.clone(), packed, entries: start..start });
                }
            }
            last = part;
            self.words.push([kind(column) << 28 | at as u32, tile_column as u32]);
            groups.last_mut().expect("just pushed").entries.end += 1;
        }
        self.plans.push(TilePlan { groups, columns: layout.num_columns(), height });
    }

    /// The sources in the order in which they were added.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn finish(self, gpu: &Gpu) -> Result<Vec<TileSource>> {
        let entries = gpu.upload(self.words.as_flattened(), "tile columns")?;
        Ok(self.plans.into_iter().map(|plan| TileSource { entries: entries.clone(), plan }).collect())
    }
}

impl TileSource {
    /// Columns of the tile.
    pub fn columns(&self) -> usize {
        self.plan.columns
    }

    /// Rows of the trace.
    pub fn height(&self) -> usize {
        self.plan.height
    }

    /// The groups that are, or are not, packed.
    pub(super) fn groups_by(&self, packed: bool) -> impl Iterator<Item = &Group> {
        self.plan.groups.iter().filter(move |g| !g.entries.is_empty() && g.packed.is_some() == packed)
    }

    /// The words that the groups' entries are.
    pub(super) fn entries(&self) -> &DeviceBuffer<u32> {
        &self.entries
    }

    /// The segments of the groups, packed ones only if wanted; first entry and how many.
    fn groups(&self, unpacked_only: bool) -> impl Iterator<Item = (&DeviceBuffer<F>, u32, u32)> {
        let unwanted = move |g: &&Group| unpacked_only && g.packed.is_some();
        let groups = self.plan.groups.iter().filter(move |g| !g.entries.is_empty() && !unwanted(g));
        groups.map(|g| (&g.segment, g.entries.start as u32, g.entries.len() as u32))
    }

    pub(super) fn check_tile(&self, tile_len: usize, rows: usize, stride: usize) {
        assert!(rows <= stride, "{rows} rows with stride {stride}");
        assert!(tile_len >= self.plan.columns * stride, "tile too small");
        assert!(u32::try_from(self.plan.columns * stride).is_ok(), "tile of 2^32 elements");
    }
}

/// Rows of the trace as a tile.
pub struct TraceTile<'a> {
    /// The columns.
    pub source: &'a TileSource,
    /// Rows of the trace.
    pub rows: Range<usize>,
    /// Holds `source.columns()` columns of `stride` words each, in blocks of 64 rows (`wgsl/rap/tile_at.wgsl`).
    pub tile: &'a DeviceBuffer<F>,
    /// First word of the tile there, a multiple of 4.
    pub tile_at: usize,
    /// Rows that the tile has room for, a multiple of 64.
    pub stride: usize,
}

impl TraceTile<'_> {
    /// Fills the tile: row `r` holds the columns at `rows.start + r`.
    ///
    /// # Panics
    ///
    /// When the tile is too small.
    pub fn record(&self, rec: &mut Recorder) {
        self.record_from(rec, false);
    }

    /// The same, without what is packed if `unpacked_only`.
    pub(super) fn record_from(&self, rec: &mut Recorder, unpacked_only: bool) {
        let rows = self.rows.len();
        assert!(self.stride.is_multiple_of(64), "tile of {} rows", self.stride);
        assert!(self.tile_at.is_multiple_of(4), "tile at word {}", self.tile_at);
        self.source.check_tile(self.tile.len().saturating_sub(self.tile_at), rows, self.stride);
        for (segment, start, count) in self.source.groups(unpacked_only) {
            let kernel = GatherRows {
                segment,
                entries: &self.source.entries,
                tile: self.tile,
                start,
                count,
                height: self.source.height() as u32,
                first: self.rows.start as u32,
                rows: rows as u32,
                columns: self.source.columns() as u32,
                tile_from: self.tile_at as u32,
            };
            rec.dispatch(&kernel, Grid::threads(count as usize * rows));
        }
    }
}

/// Trace values that one dispatch takes to the cosets: about 30 ms on an eight-core M1, so that a display stays alive.
pub(super) const VALUES_PER_DISPATCH: usize = 1 << 25;

/// Columns that one dispatch takes: a dispatch dimension counts blocks of [`COLUMNS_16`].
const MAX_COLUMNS: usize = 1 << 19;

/// Hypercube points of the trace on the cosets `g^1 D, .., g^cosets D` of the skip domain, as a tile.
pub struct CosetTile<'a> {
    /// The columns.
    pub source: &'a TileSource,
    /// Hypercube points: chunks of `2^l_skip` rows of the lifted trace.
    pub points: Range<usize>,
    /// Log of the size of the skip domain D, at most [`MAX_L_SKIP`].
    pub l_skip: usize,
    /// Number of cosets.
    pub cosets: usize,
    /// Holds `source.columns()` columns of `stride` words each, in blocks of 64 rows (`wgsl/rap/tile_at.wgsl`).
    pub tile: &'a DeviceBuffer<F>,
    /// First word of the tile there, a multiple of 4.
    pub tile_at: usize,
    /// Rows that the tile has room for, a multiple of 64, at least `points.len() * cosets * 2^l_skip`.
    pub stride: usize,
}

impl CosetTile<'_> {
    /// Fills the tile: row `(x * cosets + j) * 2^l_skip + i` holds the columns at `(g^(j+1) omega^i, points.start + x)`.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`], at the first call with these cosets.
    ///
    /// # Panics
    ///
    /// When the tile is too small or `l_skip` too large.
    pub fn record(&self, rec: &mut Recorder) -> Result<()> {
        self.record_from(rec, false)
    }

    /// The same, without what is packed if `unpacked_only`.
    pub(super) fn record_from(&self, rec: &mut Recorder, unpacked_only: bool) -> Result<()> {
        assert!(self.l_skip <= MAX_L_SKIP, "l_skip {} exceeds {MAX_L_SKIP}", self.l_skip);
        let rows = (self.points.len() * self.cosets) << self.l_skip;
        assert!(self.stride.is_multiple_of(64), "tile of {} rows", self.stride);
        assert!(self.tile_at.is_multiple_of(4), "tile at word {}", self.tile_at);
        self.source.check_tile(self.tile.len().saturating_sub(self.tile_at), rows, self.stride);
        let column = self.points.len() << self.l_skip;
        let most = (VALUES_PER_DISPATCH / column).clamp(1, MAX_COLUMNS) as u32;
        let parts = self.source.groups(unpacked_only).flat_map(|(segment, start, count)| {
            (0..count).step_by(most as usize).map(move |at| (segment, start + at, most.min(count - at)))
        });
        let in_registers = self.l_skip == 4 && self.source.height() >= 4;
        let tables = match in_registers {
            true => scales_16(rec.gpu(), self.cosets)?,
            false => coset_tables(rec.gpu(), self.l_skip, self.cosets)?,
        };
        for (segment, start, count) in parts {
            match in_registers {
                true => self.record_16(rec, &tables, segment, start..start + count),
                false => self.record_any(rec, &tables, segment, start..start + count),
            }
        }
        Ok(())
    }

    fn record_any(&self, rec: &mut Recorder, tables: &DeviceBuffer<F>, segment: &DeviceBuffer<F>, entries: Range<u32>) {
        let values = (entries.len() * self.points.len()) << self.l_skip;
        let kernel = GatherCosets {
            segment,
            entries: &self.source.entries,
            tables,
            tile: self.tile,
            start: entries.start,
            count: entries.len() as u32,
            height: self.source.height() as u32,
            first_x: self.points.start as u32,
            xs: self.points.len() as u32,
            columns: self.source.columns() as u32,
            l_skip: self.l_skip as u32,
            cosets: self.cosets as u32,
            tile_at: self.tile_at as u32,
        };
        rec.dispatch(&kernel, Grid::workgroups(values.div_ceil(COSET_VALUES)));
    }

    fn record_16(&self, rec: &mut Recorder, scales: &DeviceBuffer<F>, segment: &DeviceBuffer<F>, entries: Range<u32>) {
        let columns = entries.len().next_power_of_two().min(COLUMNS_16);
        let kernel = GatherCosets16 {
            segment,
            entries: &self.source.entries,
            scales,
            tile: self.tile,
            start: entries.start,
            count: entries.len() as u32,
            height: self.source.height() as u32,
            first_x: self.points.start as u32,
            xs: self.points.len() as u32,
            columns: self.source.columns() as u32,
            log_columns: columns.ilog2(),
            cosets: self.cosets as u32,
            tile_at: self.tile_at as u32,
        };
        let grid = Grid::workgroups(self.points.len().div_ceil(CHUNKS_16 / columns));
        rec.dispatch(&kernel, grid.batched(entries.len().div_ceil(columns)));
    }
}

/// Twiddles of D, of its inverse transform, and the scale of each coefficient on each coset (see the WGSL header).
fn coset_tables(gpu: &Gpu, l_skip: usize, cosets: usize) -> Result<DeviceBuffer<F>> {
    gpu.table(&format!("cosets {l_skip} {cosets}"), || {
        let n = 1usize << l_skip;
        let omega = F::two_adic_generator(l_skip);
        let half = |base: F| base.powers().take(n / 2);
        let mut tables: Vec<F> = half(omega).chain(half(omega.inverse())).collect();
        // n words in front of the scales also for n = 1
        tables.resize(n, F::ONE);
        for shift in F::GENERATOR.powers().skip(1).take(cosets) {
            let scale = |place: usize| shift.exp_u64(reverse_bits(place, l_skip) as u64).div_2exp_u64(l_skip as u64);
            tables.extend((0..n).map(scale));
        }
        tables
    })
}

/// For each coset g^((j+1) k) / 16 in the slots -k mod 16.
pub(super) fn scales_16(gpu: &Gpu, cosets: usize) -> Result<DeviceBuffer<F>> {
    gpu.table(&format!("cosets of 16 {cosets}"), || {
        let scale = |shift: F, slot: u64| shift.exp_u64((16 - slot) % 16).div_2exp_u64(4);
        let shifts = F::GENERATOR.powers().skip(1).take(cosets);
        shifts.flat_map(|shift| (0..16).map(move |slot| scale(shift, slot))).collect()
    })
}

fn reverse_bits(i: usize, bits: usize) -> usize {
    match bits {
        0 => 0,
        bits => i.reverse_bits() >> (usize::BITS as usize - bits),
    }
}

/// Hypercube points of the trace with the univariate variable folded, into rows of a tile over the extension.
pub struct PleFold<'a> {
    /// The columns.
    pub source: &'a TileSource,
    /// Hypercube points: chunks of `2^l_skip` rows of the lifted trace.
    pub points: Range<usize>,
    /// Log of the size of the skip domain D.
    pub l_skip: usize,
    /// The Lagrange basis of D at the challenge ([`super::lagrange_basis`]).
    pub lagrange: &'a DeviceBuffer<EF>,
    /// Holds `source.columns()` columns of `stride` elements each.
    pub tile: &'a DeviceBuffer<EF>,
    /// First element of the tile there.
    pub tile_at: usize,
    /// Elements from one tile column to the next.
    pub stride: usize,
}

impl PleFold<'_> {
    /// Fills the tile: row `x` holds the columns at `(r_0, points.start + x)`.
    ///
    /// # Panics
    ///
    /// When the tile is too small.
    pub fn record(&self, rec: &mut Recorder) {
        self.record_from(rec, false);
    }

    /// The same, without what is packed if `unpacked_only`.
    pub(super) fn record_from(&self, rec: &mut Recorder, unpacked_only: bool) {
        let xs = self.points.len();
        self.source.check_tile(self.tile.len().saturating_sub(self.tile_at), xs, self.stride);
        assert!(self.lagrange.len() >= 1 << self.l_skip, "basis too short");
        for (segment, start, count) in self.source.groups(unpacked_only) {
            let kernel = FoldPle {
                segment,
                entries: &self.source.entries,
                lagrange: self.lagrange,
                tile: self.tile,
                start,
                count,
                height: self.source.height() as u32,
                first_x: self.points.start as u32,
                xs: xs as u32,
                stride: self.stride as u32,
                offset: self.tile_at as u32,
                l_skip: self.l_skip as u32,
            };
            rec.dispatch(&kernel, Grid::threads(count as usize * xs));
        }
    }
}
