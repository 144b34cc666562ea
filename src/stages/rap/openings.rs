//! The openings of all columns at the end, in upstream's order.

use openvm_stark_sdk::config::baby_bear_poseidon2::EF;

use super::{input::RapInput, mle::MleRounds};
use crate::{
    constraints::{PartWidths, TileColumn},
    error::Result,
    gpu::{DeviceBuffer, Recorder},
    kernels::rap::gather_openings,
};

/// A part's columns in the tile of all columns: where they start, how many there are.
struct TilePart {
    start: u32,
    width: u32,
}

/// Parts in the order of the proof: the common main, then the others. Each takes `width` columns of the tile, and as many rotated ones
/// behind them if there are any ([`crate::constraints::TileLayout::full`]).
fn parts_in_proof_order(widths: &PartWidths) -> Vec<TilePart> {
    let mut start = TileColumn::SELECTORS.len() as u32;
    let mut parts = vec![];
    for (_, width) in widths.parts() {
        let width = width as u32;
        parts.push(TilePart { start, width });
        start += width << u32::from(widths.need_rot);
    }
    parts.rotate_right(1);
    parts
}

/// All openings as the transcript observes them, two a column (zero in place of the next row's where no constraint reads it): the common
/// mains of all AIRs, then all other parts.
///
/// # Errors
///
/// As [`crate::gpu::Gpu::alloc`].
pub(super) fn column_openings(
    rec: &mut Recorder,
    input: &RapInput<'_>,
    rounds: &MleRounds<'_>,
) -> Result<DeviceBuffer<EF>> {
    let mut lists = vec![];
    for others in [false, true] {
        for (a, air) in input.airs.iter().enumerate() {
            let (row, at) = rounds.last_row(a);
            let widths = air.evaluator.widths();
            let parts = parts_in_proof_order(widths);
            let parts = if others { &parts[1..] } else { &parts[..1] };
            let opened = |part: &TilePart| {
                let TilePart { start, width } = *part;
                let rotated = move |local: u32| widths.need_rot.then_some(local + width);
                let pairs = (start..start + width).flat_map(move |local| [Some(local), rotated(local)]);
                pairs.map(|column| column.map(|column| at as u32 + column))
            };
            lists.push((row, parts.iter().flat_map(opened).collect()));
        }
    }
    gather_openings(rec, &lists)
}

/// The proof's openings `[air][part][column (and its rotation)]` from the values that were observed.
pub(super) fn proof_openings(input: &RapInput<'_>, observed: &[EF]) -> Vec<Vec<Vec<EF>>> {
    let mut pairs = observed.chunks_exact(2);
    let mut part = |part: &TilePart, need_rot: bool| -> Vec<EF> {
        pairs
            .by_ref()
            .take(part.width as usize)
            .flat_map(|pair| pair[..1 + usize::from(need_rot)].iter().copied())
            .collect()
    };
    let airs = || input.airs.iter().map(|air| air.evaluator.widths());
    let common: Vec<_> = airs().map(|widths| part(&parts_in_proof_order(widths)[0], widths.need_rot)).collect();
    let others = airs().map(|widths| -> Vec<_> {
        let parts = parts_in_proof_order(widths);
        parts[1..].iter().map(|other| part(other, widths.need_rot)).collect()
    });
    common.into_iter().zip(others.collect::<Vec<_>>()).map(|(common, others)| [vec![common], others].concat()).collect()
}
