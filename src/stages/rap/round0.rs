//! Round 0: the univariate variable. Constraints and interactions on cosets of the skip domain, summed over the hypercube.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
};

use openvm_stark_backend::SystemParams;
use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};
use p3_field::PrimeCharacteristicRing;

use super::{
    algebra::{interpolate_cosets, zerocheck_poly, Round0Polys},
    input::{AirInput, RapInput},
    listed_round0::ListedRound0,
    listing::Listing,
    scratch::{all_partials_bytes, partials_bytes, partials_len, rows_per_base_tile, Pace, Scratch, ROUND0_TILE_BYTES},
};
use crate::{
    constraints::LogupWeights,
    error::Result,
    gpu::{DeviceBuffer, Gpu, Recorder},
    kernels::{
        constraints::{fill_logup_weights, tile_stride, LogupWeightsFill, SumEvaluation},
        rap::{eq_3b, eq_trees, powers, CosetTile, EqTree, TileSource},
    },
    stages::{transcript::Challenge, ProofShape},
};

/// Weights that round 0 and the MLE rounds share.
pub(super) struct Weights {
    /// Powers of lambda: the weights of constraints.
    pub lambda: DeviceBuffer<EF>,
    /// `eq_3b` times powers of beta: the weights of the interactions of all AIRs.
    pub logup: DeviceBuffer<EF>,
    /// First weight of each AIR there.
    pub logup_at: Vec<usize>,
    /// The weights of those AIRs that were asked for by themselves.
    own_logup: Vec<OnceCell<DeviceBuffer<EF>>>,
    /// `eq_3b` of all interactions.
    eq_3b: DeviceBuffer<EF>,
    beta_powers: DeviceBuffer<EF>,
    /// `eq(xi, .)` on hypercubes, by `n_lift`; all in one buffer.
    pub eq_xi: BTreeMap<usize, EqTree>,
}

/// The challenges that [`Weights`] depend on.
pub(super) struct WeightArgs<'a> {
    /// The AIRs.
    pub input: &'a RapInput<'a>,
    /// The point of the logup claim, `l_skip + n_global` coordinates.
    pub xi: &'a DeviceBuffer<EF>,
    /// Batches constraints.
    pub lambda: &'a Challenge,
    /// Powers of the challenge that compresses messages.
    pub beta_powers: &'a DeviceBuffer<EF>,
}

impl Weights {
    /// Computes the weights.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub(super) fn new(rec: &mut Recorder, args: WeightArgs<'_>) -> Result<Self> {
        let input = args.input;
        let max_constraints = input.airs.iter().map(|air| air.evaluator.num_constraints()).max().unwrap_or(0);
        let lambda = powers(rec, args.lambda, max_constraints)?;
        let (eq_3b, logup, logup_at) = logup_weights(rec, &args)?;
        let n_lifts: BTreeSet<usize> = input.airs.iter().map(|air| input.n_lift(air)).collect();
        let points: Vec<_> = n_lifts.iter().map(|n_lift| input.l_skip..input.l_skip + n_lift).collect();
        let eq_xi = n_lifts.into_iter().zip(eq_trees(rec, args.xi, &points)?).collect();
        let own_logup = vec![OnceCell::new(); input.airs.len()];
        let beta_powers = args.beta_powers.clone();
        Ok(Self { lambda, logup, logup_at, own_logup, eq_3b, beta_powers, eq_xi })
    }

    /// The weights of one AIR's interactions in a buffer of their own, for an AIR that is evaluated by itself.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub(super) fn logup_of(&self, rec: &mut Recorder, input: &RapInput<'_>, air: usize) -> Result<&DeviceBuffer<EF>> {
        if let Some(weights) = self.own_logup[air].get() {
            return Ok(weights);
        }
        let first = input.airs[..air].iter().map(|air| air.evaluator.num_interactions()).sum();
        let evaluator = input.airs[air].evaluator;
        let weights = rec.gpu().alloc(evaluator.logup_weights().len(), "interaction weights")?;
        evaluator.fill_summed_weights(rec, (&self.eq_3b, first), &self.beta_powers, &weights);
        Ok(self.own_logup[air].get_or_init(|| weights))
    }
}

/// `eq_3b` of all interactions, the weights of all AIRs, and where each AIR's begin there.
type LogupWeightsOfAirs = (DeviceBuffer<EF>, DeviceBuffer<EF>, Vec<usize>);

/// For each interaction of each AIR `eq_3b` (the weight of its place in the fraction tree) times the powers of beta.
fn logup_weights(rec: &mut Recorder, args: &WeightArgs<'_>) -> Result<LogupWeightsOfAirs> {
    let input = args.input;
    let entries: Vec<[u32; 2]> = input
        .airs
        .iter()
        .zip(&input.leaf_offsets)
        .flat_map(|(air, offsets)| {
            let log_len = input.l_skip + input.n_lift(air);
            offsets.iter().map(move |offset| [offset >> log_len, log_len as u32])
        })
        .collect();
    let entries = rec.gpu().upload(entries.as_flattened(), "interaction places")?;
    let eq_3b = eq_3b(rec, args.xi, input.l_skip + input.n_logup, &entries)?;
    let layouts = || input.airs.iter().map(|air| air.evaluator.logup_weights());
    let layout = LogupWeights::joined(layouts());
    let starts = layouts().scan(0, |at, layout| Some(std::mem::replace(at, *at + layout.len()))).collect();
    let weights = rec.gpu().alloc(layout.len(), "interaction weights")?;
    if !layout.is_empty() {
        let entries = &rec.gpu().upload(layout.entries().as_flattened(), "logup weights")?;
        let (layout, beta_powers, eq_3b, weights) = (&layout, args.beta_powers, Some((&eq_3b, 0)), &weights);
        fill_logup_weights(rec, &LogupWeightsFill { layout, entries, beta_powers, eq_3b, weights });
    }
    Ok((eq_3b, weights, starts))
}

/// Bytes of the trees of `eq` over hypercubes, one for each height, at most.
pub(super) fn eq_bytes(params: &SystemParams) -> u64 {
    (64 << params.log_stacked_height()) >> params.l_skip
}

/// Bytes that round 0 holds at most: trees of `eq`, a tile and partial sums.
pub(super) fn peak_bytes(params: &SystemParams, shape: &ProofShape) -> u64 {
    let most = ROUND0_TILE_BYTES as u64;
    let tile = 4 * params.max_constraint_degree as u64 * shape.tile_cells();
    eq_bytes(params) + most.min(tile) + most.min(all_partials_bytes(params, shape))
}

/// Where the sums of round 0 lie: per AIR numerator, denominator and zerocheck, `points` values each.
pub(super) struct Round0Sums {
    sums: DeviceBuffer<EF>,
    offsets: Vec<usize>,
}

/// Evaluates constraints and interactions of all AIRs on their cosets, weighs them with `eq_xi` and sums over the hypercube.
///
/// # Errors
///
/// As [`Gpu::alloc`].
pub(super) fn evaluate_round0(
    rec: &mut Recorder,
    input: &RapInput<'_>,
    (sources, listing): (&[TileSource], &Listing),
    weights: &Weights,
) -> Result<Round0Sums> {
    let gpu = rec.gpu().clone();
    let mut offsets = vec![0];
    for air in &input.airs {
        offsets.push(offsets[offsets.len() - 1] + ((3 * air.cosets()) << input.l_skip));
    }
    let sums = gpu.alloc(offsets[offsets.len() - 1], "round 0 sums")?;
    rec.clear(&sums);
    let shapes: Vec<_> = input.airs.iter().zip(sources).map(|(air, s)| CosetTiling::new(&gpu, input, air, s)).collect();
    let listed = ListedRound0::plan(&gpu, (input, listing, weights), &shapes, &offsets)?;
    let alone = || shapes.iter().enumerate().filter(|(a, shape)| shape.points > 0 && !listed.has(*a));
    let needs = alone().map(|(_, shape)| (shape.tile_len, shape.partials_len));
    let scratch = Scratch::new(&gpu, needs.chain([(listed.tile_len(), 0)]))?;
    let mut pace = Pace::default();
    listed.add(rec, (input, sources), listing.tables(weights), (&scratch.tile, &sums), &mut pace)?;
    for (a, shape) in alone() {
        let (source, scratch, points) = (&sources[a], &scratch, shape.points);
        let air = AirRound0 { input, air: a, source, listing, weights, scratch, points };
        let n = 1 << input.n_lift(&input.airs[a]);
        for start in (0..n).step_by(shape.xs) {
            air.add_tile(rec, start..(start + shape.xs).min(n), (&sums, offsets[a]))?;
            pace.step(rec, shape.tile_len * size_of::<F>())?;
        }
    }
    Ok(Round0Sums { sums, offsets })
}

/// How an AIR's evaluations are cut into tiles.
pub(super) struct CosetTiling {
    /// Points of the cosets.
    pub points: usize,
    /// Hypercube points per tile.
    pub xs: usize,
    /// Words of a tile.
    pub tile_len: usize,
    partials_len: usize,
}

impl CosetTiling {
    fn new(gpu: &Gpu, input: &RapInput<'_>, air: &AirInput<'_>, source: &TileSource) -> Self {
        let points = air.cosets() << input.l_skip;
        let programs = [&air.evaluator.round0_zerocheck, &air.evaluator.round0_logup];
        // of many, since a workgroup may leave one partial sum for several
        let partials_bytes = partials_bytes(programs, 256 * points, points) / 256;
        let bytes_per_point = source.columns() * size_of::<F>() + partials_bytes.div_ceil(points.max(1));
        let xs = rows_per_base_tile(gpu, ROUND0_TILE_BYTES, 1 << input.n_lift(air), (points, bytes_per_point));
        let tile_len = source.columns() * tile_stride(points * xs);
        Self { points, xs, tile_len, partials_len: partials_len(programs, points * xs, points) }
    }
}

/// One AIR in round 0.
struct AirRound0<'a> {
    input: &'a RapInput<'a>,
    air: usize,
    source: &'a TileSource,
    listing: &'a Listing,
    weights: &'a Weights,
    scratch: &'a Scratch,
    points: usize,
}

impl AirRound0<'_> {
    /// Adds the hypercube points `xs` to the AIR's sums.
    fn add_tile(
        &self,
        rec: &mut Recorder,
        xs: std::ops::Range<usize>,
        (sums, offset): (&DeviceBuffer<EF>, usize),
    ) -> Result<()> {
        let air = &self.input.airs[self.air];
        let (l_skip, tile) = (self.input.l_skip, &self.scratch.tile);
        let stride = tile_stride(xs.len() * self.points);
        let (source, points, cosets) = (self.source, xs.clone(), air.cosets());
        CosetTile { source, points, l_skip, cosets, tile, tile_at: 0, stride }.record(rec)?;
        let n_lift = self.input.n_lift(air);
        let eq_xi = &self.weights.eq_xi[&n_lift];
        let logup = SumEvaluation {
            tile,
            stride,
            rows: xs.len(),
            points: self.points,
            last: false,
            constants: self.listing.constants_of(rec.gpu(), self.input, self.air)?,
            weights: self.weights.logup_of(rec, self.input, self.air)?,
            eq: eq_xi.buffer(),
            eq_offset: eq_xi.level(n_lift) + xs.start,
            partials: &self.scratch.partials,
            sums,
            sums_offset: offset,
        };
        if air.logup_cosets > 0 {
            air.evaluator.round0_logup.add_sums(rec, &logup);
        }
        if air.zerocheck_cosets > 0 {
            let sums_offset = offset + 2 * self.points;
            let zerocheck = SumEvaluation { weights: &self.weights.lambda, sums_offset, ..logup };
            air.evaluator.round0_zerocheck.add_sums(rec, &zerocheck);
        }
        Ok(())
    }
}

impl Round0Sums {
    /// The sums on the device.
    pub(super) fn buffer(&self) -> &DeviceBuffer<EF> {
        &self.sums
    }

    /// The polynomials `s'_0` of all AIRs, from the values of the sums.
    pub(super) fn interpolate(&self, input: &RapInput<'_>, sums: &[EF]) -> Vec<Round0Polys> {
        let l_skip = input.l_skip;
        let polys = |(air, range): (&AirInput<'_>, &[usize])| {
            let sums = &sums[range[0]..range[1]];
            let points = sums.len() / 3;
            let values = |k: usize, cosets: usize| &sums[k * points..][..cosets << l_skip];
            let logup = |k: usize| interpolate_cosets(l_skip, values(k, air.logup_cosets), air.logup_cosets);
            let norm = F::ONE.div_2exp_u64(input.log_lift(air) as u64);
            Round0Polys {
                numerator: logup(0).into_iter().map(|c| c * norm).collect(),
                denominator: logup(1),
                zerocheck: zerocheck_poly(l_skip, values(2, air.zerocheck_cosets), air.zerocheck_cosets),
            }
        };
        input.airs.iter().zip(self.offsets.windows(2)).map(polys).collect()
    }
}
