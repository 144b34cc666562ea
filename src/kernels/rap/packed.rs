//! Tiles of many AIRs at once: where the AIRs' traces are packed ([`crate::kernels::pack`]), they are one dispatch.

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use super::tile::{
    scales_16, CosetTile, Group, PleFold, TileSource, TraceTile, CHUNKS_16, COLUMNS_16, VALUES_PER_DISPATCH,
};
use crate::{
    error::Result,
    gpu::{DeviceBuffer, Grid, Recorder},
    kernel,
};

kernel! {
    /// tile[tile_from + tile_at(column, r)] = source(r)
    struct GatherPackedRows("rap/trace_tile.wgsl", workgroup = 256) {
        buffers { read segment: F, read entries: u32 as vec2<u32>, write tile: F, read jobs: u32 as vec4<u32> }
        params { jobs_len, l_skip }
        flags { PACKED }
    }
}

kernel! {
    /// tile[tile_at(column, (x, j, i))] = T(g^(j+1) omega^i, x)
    struct GatherPackedCosets16("rap/coset_tile16.wgsl", workgroup = 256) {
        buffers { read segment: F as vec4<u32>, read entries: u32 as vec2<u32>, read scales: F as vec4<u32>, write tile: F as vec4<u32>, read jobs: u32 as vec4<u32> }
        params { jobs_len, l_skip }
        flags { PACKED }
    }
}

kernel! {
    /// tile[column][offset + x] = sum_i lagrange[i] T[x 2^l_skip + i]
    struct FoldPackedPle("rap/fold_ple.wgsl", workgroup = 256) {
        buffers { read segment: F, read entries: u32 as vec2<u32>, read lagrange: EF, write tile: EF, read jobs: u32 as vec4<u32> }
        params { jobs_len, l_skip }
        flags { PACKED }
    }
}

/// The whole trace of an AIR as a tile among others.
#[derive(Clone, Copy)]
pub struct PlacedTile<'a> {
    /// The columns.
    pub source: &'a TileSource,
    /// First element of the tile; a multiple of 4 over F.
    pub tile_at: usize,
    /// Rows that the tile has room for: over F a multiple of 64, over EF elements from one tile column to the next.
    pub stride: usize,
    /// Cosets of the skip domain, for those.
    pub cosets: usize,
}

impl PlacedTile<'_> {
    /// Hypercube points of the lifted trace.
    fn points(&self, l_skip: usize) -> usize {
        (self.source.height() >> l_skip).max(1)
    }
}

/// The jobs of a dispatch (`wgsl/rap/tile_job.wgsl`).
#[derive(Default)]
struct TileJobs {
    words: Vec<[u32; 12]>,
    workgroups: usize,
    /// Values of the traces that are read.
    values: usize,
}

/// What a group adds to the jobs: rows, the word of the stride, workgroups and log2 of the columns of one.
struct JobShape {
    rows: usize,
    stride: usize,
    workgroups: usize,
    log_columns: u32,
}

impl TileJobs {
    fn add(&mut self, tile: &PlacedTile<'_>, group: &Group, shape: &JobShape) {
        let packed = group.packed.as_ref().expect("packed");
        let height = tile.source.height();
        let words = [self.workgroups, group.entries.start, group.entries.len(), height, 0, shape.rows, shape.stride];
        let more = [tile.tile_at, packed.at, packed.log_stride, tile.cosets, shape.log_columns as usize];
        let mut job = words.into_iter().chain(more).map(|word| word as u32);
        self.words.push(std::array::from_fn(|_| job.next().expect("twelve words")));
        self.workgroups += shape.workgroups;
        self.values += group.entries.len() * height;
    }
}

/// The jobs of all packed groups, with the buffers that they read: cells and entries.
type PackedDispatch<'a> = (&'a DeviceBuffer<F>, &'a DeviceBuffer<u32>, TileJobs);

/// One dispatch for each buffer of cells, and more where it would be long.
fn dispatches<'a>(
    tiles: &[PlacedTile<'a>],
    shape: impl Fn(&PlacedTile<'a>, &Group) -> JobShape,
) -> Vec<PackedDispatch<'a>> {
    let mut dispatches: Vec<PackedDispatch<'a>> = vec![];
    for tile in tiles {
        for group in tile.source.groups_by(true) {
            let cells = &group.packed.as_ref().expect("packed").cells;
            let entries = tile.source.entries();
            let values = group.entries.len() * tile.source.height();
            let of = |d: &PackedDispatch<'_>| {
                let fits = d.2.values + values <= VALUES_PER_DISPATCH;
                fits && d.0.shares_memory(cells) && d.1.shares_memory(entries)
            };
            let at = dispatches.iter().position(of).unwrap_or(dispatches.len());
            if at == dispatches.len() {
                dispatches.push((cells, entries, TileJobs::default()));
            }
            dispatches[at].2.add(tile, group, &shape(tile, group));
        }
    }
    dispatches
}

/// Traces as tiles of one buffer.
pub struct TraceTiles<'a> {
    /// The tiles.
    pub tiles: &'a [PlacedTile<'a>],
    /// Where they lie.
    pub tile: &'a DeviceBuffer<F>,
}

impl TraceTiles<'_> {
    /// Fills the tiles, each as [`TraceTile::record`] does.
    ///
    /// # Errors
    ///
    /// As [`crate::gpu::Gpu::alloc`].
    ///
    /// # Panics
    ///
    /// When a tile is too small.
    pub fn record(&self, rec: &mut Recorder) -> Result<()> {
        for &PlacedTile { source, tile_at, stride, .. } in self.tiles {
            TraceTile { source, rows: 0..source.height(), tile: self.tile, tile_at, stride }.record_from(rec, true);
        }
        let shape = |tile: &PlacedTile<'_>, group: &Group| {
            let rows = tile.source.height();
            let workgroups = (group.entries.len() * rows).div_ceil(256);
            JobShape { rows, stride: tile.source.columns(), workgroups, log_columns: 0 }
        };
        for (segment, entries, jobs) in dispatches(self.tiles, shape) {
            let words = &rec.gpu().upload(jobs.words.as_flattened(), "tiles of traces")?;
            let (tile, jobs_len) = (self.tile, jobs.words.len() as u32);
            let kernel = GatherPackedRows { segment, entries, tile, jobs: words, jobs_len, l_skip: 0, PACKED: true };
            rec.dispatch(&kernel, Grid::workgroups(jobs.workgroups));
        }
        Ok(())
    }
}

/// Traces on the cosets of the skip domain, as tiles of one buffer.
pub struct CosetTiles<'a> {
    /// The tiles.
    pub tiles: &'a [PlacedTile<'a>],
    /// Log of the size of the skip domain.
    pub l_skip: usize,
    /// Where they lie.
    pub tile: &'a DeviceBuffer<F>,
}

impl CosetTiles<'_> {
    /// Fills the tiles, each as [`CosetTile::record`] does. (Only for skip domains of 16 points at once.)
    ///
    /// # Errors
    ///
    /// As [`crate::gpu::Gpu::alloc`].
    ///
    /// # Panics
    ///
    /// As [`CosetTile::record`].
    pub fn record(&self, rec: &mut Recorder) -> Result<()> {
        let Self { tiles, l_skip, tile } = *self;
        for &PlacedTile { source, tile_at, stride, cosets } in tiles {
            let points = 0..(source.height() >> l_skip).max(1);
            CosetTile { source, points, l_skip, cosets, tile, tile_at, stride }.record_from(rec, l_skip == 4)?;
        }
        if l_skip != 4 {
            return Ok(());
        }
        let (most, shape) =
            (tiles.iter().map(|tile| tile.cosets).max().unwrap_or(0), |tile: &PlacedTile<'_>, group: &Group| {
                let (rows, columns) = (tile.points(l_skip), group.entries.len().next_power_of_two().min(COLUMNS_16));
                let workgroups = rows.div_ceil(CHUNKS_16 / columns) * group.entries.len().div_ceil(columns);
                JobShape { rows, stride: tile.source.columns(), workgroups, log_columns: columns.ilog2() }
            });
        // of as many cosets as any has: those of fewer come first in it
        let scales = &scales_16(rec.gpu(), most)?;
        for (segment, entries, jobs) in dispatches(tiles, shape) {
            let words = &rec.gpu().upload(jobs.words.as_flattened(), "tiles of traces")?;
            let (jobs_len, l_skip) = (jobs.words.len() as u32, l_skip as u32);
            let kernel =
                GatherPackedCosets16 { segment, entries, scales, tile, jobs: words, jobs_len, l_skip, PACKED: true };
            rec.dispatch(&kernel, Grid::workgroups(jobs.workgroups));
        }
        Ok(())
    }
}

/// Traces with the univariate variable folded, as tiles of one buffer.
pub struct PleFolds<'a> {
    /// The tiles.
    pub tiles: &'a [PlacedTile<'a>],
    /// Log of the size of the skip domain.
    pub l_skip: usize,
    /// The Lagrange basis of the skip domain at the challenge.
    pub lagrange: &'a DeviceBuffer<EF>,
    /// Where they lie.
    pub tile: &'a DeviceBuffer<EF>,
}

impl PleFolds<'_> {
    /// Fills the tiles, each as [`PleFold::record`] does.
    ///
    /// # Errors
    ///
    /// As [`crate::gpu::Gpu::alloc`].
    ///
    /// # Panics
    ///
    /// As [`PleFold::record`].
    pub fn record(&self, rec: &mut Recorder) -> Result<()> {
        let Self { tiles, l_skip, lagrange, tile } = *self;
        for placed in tiles {
            let (source, points) = (placed.source, 0..placed.points(l_skip));
            PleFold { source, points, l_skip, lagrange, tile, tile_at: placed.tile_at, stride: placed.stride }
                .record_from(rec, true);
        }
        let shape = |tile: &PlacedTile<'_>, group: &Group| {
            let rows = tile.points(l_skip);
            let workgroups = (group.entries.len() * rows).div_ceil(256);
            JobShape { rows, stride: tile.stride, workgroups, log_columns: 0 }
        };
        for (segment, entries, jobs) in dispatches(tiles, shape) {
            let words = &rec.gpu().upload(jobs.words.as_flattened(), "folds of traces")?;
            let (jobs_len, l_skip) = (jobs.words.len() as u32, l_skip as u32);
            let kernel =
                FoldPackedPle { segment, entries, lagrange, tile, jobs: words, jobs_len, l_skip, PACKED: true };
            rec.dispatch(&kernel, Grid::workgroups(jobs.workgroups));
        }
        Ok(())
    }
}
