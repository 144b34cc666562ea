//! The openings of all columns at the end, in upstream's order.

use openvm_stark_sdk::config::baby_bear_poseidon2::EF;

use super::{input::RapInput, mle::MleTile};
use crate::{
    constraints::{PartSource, PartWidths, TileColumn},
    error::Result,
    gpu::{DeviceBuffer, Recorder},
    kernels::rap::gather_openings,
};

/// Parts in the order of the proof: the common main, then the others.
fn parts_in_proof_order(widths: &PartWidths) -> Vec<(PartSource, usize)> {
    let mut parts: Vec<_> = widths.parts().collect();
    parts.rotate_right(1);
    parts
}

fn column(part: PartSource, rot: bool, col: u32) -> TileColumn {
    match part {
        PartSource::Preprocessed => TileColumn::Preprocessed { rot, col },
        PartSource::Main(part) => TileColumn::Main { part, rot, col },
    }
}

/// All openings as the transcript observes them, two a column (zero in place of the next row's where no constraint reads it): the common
/// mains of all AIRs, then all other parts.
///
/// # Errors
///
/// As [`crate::gpu::Gpu::alloc`].
pub fn column_openings(rec: &mut Recorder, input: &RapInput<'_>, tiles: &[MleTile]) -> Result<DeviceBuffer<EF>> {
    let mut lists = vec![];
    for others in [false, true] {
        for (air, tile) in input.airs.iter().zip(tiles) {
            let (widths, layout) = (air.evaluator.widths(), air.evaluator.mle_layout());
            let parts = parts_in_proof_order(widths);
            let parts = if others { &parts[1..] } else { &parts[..1] };
            let columns = parts.iter().flat_map(|&(part, width)| {
                (0..width as u32).flat_map(move |col| [false, true].map(|rot| layout.index(column(part, rot, col))))
            });
            lists.push((tile.last_row(), columns.collect()));
        }
    }
    gather_openings(rec, &lists)
}

/// The proof's openings `[air][part][column (and its rotation)]` from the values that were observed.
pub fn proof_openings(input: &RapInput<'_>, observed: &[EF]) -> Vec<Vec<Vec<EF>>> {
    let mut pairs = observed.chunks_exact(2);
    let mut part = |width: usize, need_rot: bool| -> Vec<EF> {
        pairs.by_ref().take(width).flat_map(|pair| pair[..1 + usize::from(need_rot)].iter().copied()).collect()
    };
    let airs = || input.airs.iter().map(|air| air.evaluator.widths());
    let common: Vec<_> = airs().map(|widths| part(parts_in_proof_order(widths)[0].1, widths.need_rot)).collect();
    let others = airs().map(|widths| -> Vec<_> {
        let parts = parts_in_proof_order(widths);
        parts[1..].iter().map(|(_, width)| part(*width, widths.need_rot)).collect()
    });
    common.into_iter().zip(others.collect::<Vec<_>>()).map(|(common, others)| [vec![common], others].concat()).collect()
}
