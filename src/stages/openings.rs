//! Openings of all committed traces: the stacked reduction, then WHIR at the point that it leaves.

use openvm_stark_backend::{
    proof::{StackingProof, WhirProof},
    SystemParams,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, EF};

use super::{pcs::PcsData, stacked_reduction::StackedReduction, transcript::Transcript, whir};
use crate::{error::Result, kernels::openings::u_cube};

type SC = BabyBearPoseidon2Config;

/// Proves the openings of all columns at `r` (`1 + n` elements, n the most variables of a trace beyond the skip domain's). Waits three
/// times.
///
/// `commits` are the common main commitment and then the others, `need_rot` says of each which of its matrices open rotations.
///
/// # Errors
///
/// As [`StackedReduction::record`] and [`whir::prove_whir`].
pub fn prove_openings(
    tx: &mut Transcript<'_>,
    params: &SystemParams,
    commits: &[&PcsData],
    need_rot: &[Vec<bool>],
    r: &[EF],
) -> Result<(StackingProof<SC>, WhirProof<SC>)> {
    let stacked: Vec<_> = commits.iter().map(|data| &data.stacked).collect();
    let mut rec = tx.gpu().recorder("openings");
    let reduction = StackedReduction::record(tx, &mut rec, params, &stacked, need_rot, r)?;
    let u_cube = u_cube(&mut rec, &reduction.u, params.l_skip)?;
    rec.submit()?;
    let whir_proof = whir::prove_whir(tx, params, commits, &u_cube)?;
    Ok((reduction.proof(tx), whir_proof))
}
