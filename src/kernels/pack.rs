//! Small traces behind one another in one buffer (`wgsl/pack.wgsl`), so that one dispatch can read all of them.

use std::ops::Range;

use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use crate::{
    error::Result,
    gpu::{DeviceBuffer, Grid, Recorder},
    kernel,
};

kernel! {
    /// cells[at + i] = source_k[i >> log_stride] or 0
    struct PackKernel("pack.wgsl", workgroup = 256) {
        buffers {
            read source_0: F, read source_1: F, read source_2: F, read source_3: F, read source_4: F, read source_5: F,
            read runs: u32 as vec4<u32>, write cells: F,
        }
        params { first, count }
    }
}

/// Sources of a dispatch: as many as can be bound beside two more buffers.
const SOURCES: usize = 6;

/// Cells that a workgroup copies.
const WORKGROUP_CELLS: usize = 1024;

/// Cells of one dispatch at most: about 10 ms on an 8-core M1, by its bandwidth.
const MAX_CELLS: usize = 1 << 26;

/// A trace whose cells lie in a buffer with others', column by column.
#[derive(Clone)]
pub struct PackedTrace {
    /// The cells of all.
    pub cells: DeviceBuffer<F>,
    /// The trace's first one.
    pub at: usize,
    /// log2 of the distance of consecutive cells.
    pub log_stride: usize,
}

/// A source of [`Pack`].
pub struct PackedRun<'a> {
    /// The trace's cells.
    pub source: &'a DeviceBuffer<F>,
    /// Where they go, with what comes between them.
    pub cells: Range<usize>,
    /// log2 of the distance that they get; zeros come between them.
    pub log_stride: usize,
}

/// Copies traces into one buffer.
pub struct Pack<'a> {
    /// The traces.
    pub runs: &'a [PackedRun<'a>],
    /// Where they go.
    pub cells: &'a DeviceBuffer<F>,
}

impl Pack<'_> {
    /// Records it; a dispatch for six traces.
    ///
    /// # Errors
    ///
    /// As [`crate::gpu::Gpu::alloc`].
    ///
    /// # Panics
    ///
    /// When the buffer is too small.
    pub fn record(&self, rec: &mut Recorder) -> Result<()> {
        let Self { runs, cells } = *self;
        let fits = |run: &PackedRun<'_>| {
            run.cells.end <= cells.len() && run.cells.len().div_ceil(1 << run.log_stride) <= run.source.len()
        };
        assert!(runs.iter().all(fits), "room for the traces");
        let parts = parts(runs);
        let (mut words, mut grids) = (vec![], vec![]);
        for part in &parts {
            let mut first = 0;
            for run in *part {
                words.push([first, run.cells.start, run.cells.len(), run.log_stride].map(|word| word as u32));
                first += run.cells.len().div_ceil(WORKGROUP_CELLS);
            }
            grids.push(Grid::workgroups(first));
        }
        let words = rec.gpu().upload(words.as_flattened(), "packed traces")?;
        let mut first = 0;
        for (part, grid) in parts.into_iter().zip(grids) {
            // the places of sources that there are not hold some other
            let source = |k: usize| part.get(k).unwrap_or(&part[0]).source;
            let kernel = PackKernel {
                source_0: source(0),
                source_1: source(1),
                source_2: source(2),
                source_3: source(3),
                source_4: source(4),
                source_5: source(5),
                runs: &words,
                cells,
                first,
                count: part.len() as u32,
            };
            rec.dispatch(&kernel, grid);
            first += part.len() as u32;
        }
        Ok(())
    }
}

/// The runs of each dispatch.
fn parts<'a>(runs: &'a [PackedRun<'a>]) -> Vec<&'a [PackedRun<'a>]> {
    let (mut parts, mut start, mut sum) = (vec![], 0, 0);
    for (i, run) in runs.iter().enumerate() {
        if i > start && (i - start == SOURCES || sum + run.cells.len() > MAX_CELLS) {
            parts.push(&runs[start..i]);
            (start, sum) = (i, 0);
        }
        sum += run.cells.len();
    }
    parts.extend((start < runs.len()).then(|| &runs[start..]));
    parts
}

#[cfg(test)]
mod tests {
    use p3_field::PrimeCharacteristicRing;

    use super::*;
    use crate::gpu::testing;

    #[test]
    fn traces_lie_behind_one_another() {
        let gpu = testing::gpu();
        // cells and log_stride of each trace
        let cases: [&[(usize, usize)]; 4] = [
            &[(1, 0)],
            &[(5, 4), (1024, 0), (1025, 0), (1, 9)],
            &[(3000, 1), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 2), (7, 0), (1 << 15, 0)],
            &[(1, 0); 13],
        ];
        for case in cases {
            let traces: Vec<Vec<F>> = case
                .iter()
                .enumerate()
                .map(|(t, (len, _))| (0..*len).map(|i| F::from_usize((t + 1) * 1_000_003 + i)).collect())
                .collect();
            let sources: Vec<_> = traces.iter().map(|trace| gpu.upload(trace, "trace").unwrap()).collect();
            // from the second cell on, with a cell between two traces
            let mut expected = vec![F::TWO; 2];
            let mut runs = vec![];
            for ((trace, source), (_, log_stride)) in traces.iter().zip(&sources).zip(case) {
                let cells = expected.len()..expected.len() + (trace.len() << log_stride);
                runs.push(PackedRun { source, cells, log_stride: *log_stride });
                for cell in trace {
                    expected.push(*cell);
                    expected.extend(vec![F::ZERO; (1 << log_stride) - 1]);
                }
                expected.push(F::TWO);
            }
            let cells = gpu.upload(&vec![F::TWO; expected.len()], "cells").unwrap();
            let mut rec = gpu.recorder("test");
            Pack { runs: &runs, cells: &cells }.record(&mut rec).unwrap();
            rec.submit().unwrap();
            assert_eq!(gpu.download(&cells).unwrap(), expected, "{case:?}");
        }
    }
}
