//! Kernels of the batched zerocheck and logup sumcheck (`wgsl/rap/*`), apart from the constraints themselves.

mod packed;
mod rounds;
mod tables;
#[cfg(test)]
mod tests;
mod tile;

pub use packed::{CosetTiles, PlacedTile, PleFolds, TraceTiles};
pub use rounds::{
    begin_rounds, combine, fold_tile, gather_openings, BatchRound, BeginRounds, Lifts, MleFold, RoundState,
};
pub use tables::{eq_3b, eq_trees, lagrange_basis, place, EqTree};
pub use tile::{CosetTile, PleFold, TilePlanner, TileSource, TracePart, TraceTile};

pub(crate) use super::powers::powers;
