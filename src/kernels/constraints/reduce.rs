//! Launchers of `wgsl/constraints/{sum_chunks,reduce,logup_weights}.wgsl`.

use openvm_stark_sdk::config::baby_bear_poseidon2::EF;

use super::{DeviceProgram, SumEvaluation};
use crate::{
    constraints::LogupWeights,
    gpu::{DeviceBuffer, Element, Grid, Recorder},
    kernel,
};

kernel! {
    /// partials[0][i] = sum_c partials[c][i]
    struct SumChunks("constraints/sum_chunks.wgsl", workgroup = 64) {
        buffers { write partials: EF }
        params { chunks, len }
    }
}

kernel! {
    /// out[a * points + p] += sum over c, x of partials[c][a][x * points + p]
    struct Reduce("constraints/reduce.wgsl", workgroup = 128) {
        buffers { read partials: EF, write out: EF }
        params { chunks, accumulators, evaluations, points, sums_offset }
    }
}

kernel! {
    /// weights[k] = eq_3b[i] * beta^e for (i, e) = entries[k]; with UNIT only beta^e
    struct FillLogupWeights("constraints/logup_weights.wgsl", workgroup = 64) {
        buffers { read entries: u32 as vec2<u32>, read beta_powers: EF, read eq_3b: EF, write weights: EF }
        params { len, eq_offset }
        flags { UNIT }
    }
}

/// Partial sums beyond which chunks are first summed evaluation by evaluation, by as many threads as there are evaluations:
/// [`Reduce`] has one workgroup per sum, too few for so much data.
const SUM_CHUNKS_FROM: usize = 1 << 14;

/// Adds the partial sums of an evaluation to its sums.
pub(super) fn add_partials<T: Element>(
    rec: &mut Recorder,
    program: &DeviceProgram,
    generated: bool,
    args: &SumEvaluation<'_, T>,
) {
    let partials = args.partials;
    let accumulators = program.program().num_accumulators as usize;
    let rows = args.partial_rows(program, generated);
    let len = accumulators * rows;
    let mut chunks = if generated { program.source.generated() } else { program.program() }.chunks.len();
    if chunks > 1 && chunks * len >= SUM_CHUNKS_FROM {
        rec.dispatch(&SumChunks { partials, chunks: chunks as u32, len: len as u32 }, Grid::threads(len));
        chunks = 1;
    }
    let reduce = Reduce {
        partials,
        out: args.sums,
        chunks: chunks as u32,
        accumulators: accumulators as u32,
        evaluations: rows as u32,
        points: args.points as u32,
        sums_offset: args.sums_offset as u32,
    };
    rec.dispatch(&reduce, Grid::workgroups(accumulators * args.points));
}

/// Arguments of [`fill_logup_weights`].
pub struct LogupWeightsFill<'a> {
    /// Layout of the weights.
    pub layout: &'a LogupWeights,
    /// `layout.entries()`, flattened, on the device.
    pub entries: &'a DeviceBuffer<u32>,
    /// `beta^e` for `e` up to `layout.max_message_len()`.
    pub beta_powers: &'a DeviceBuffer<EF>,
    /// `eq_3b` of each interaction from an element on: the summed form. `None`: the emitted form.
    pub eq_3b: Option<(&'a DeviceBuffer<EF>, usize)>,
    /// The table; `layout.len()` elements are written (the emitted form wants alpha behind them).
    pub weights: &'a DeviceBuffer<EF>,
}

/// Fills a table of logup weights: `eq_3b[i] * beta^e` (summed) or `beta^e` (emitted).
///
/// # Panics
///
/// If a buffer is too short.
pub fn fill_logup_weights(rec: &mut Recorder, args: &LogupWeightsFill<'_>) {
    let len = args.layout.len();
    assert!(args.entries.len() >= 2 * len && args.weights.len() >= len, "weights too short");
    assert!(args.beta_powers.len() > args.layout.max_message_len(), "too few powers of beta");
    if let Some((eq_3b, offset)) = args.eq_3b {
        assert!(eq_3b.len() >= offset + args.layout.num_interactions(), "eq_3b too short");
    }
    // the emitted form does not read eq_3b, but a binding must hold some buffer
    let (eq_3b, eq_offset) = args.eq_3b.unwrap_or((args.beta_powers, 0));
    let kernel = FillLogupWeights {
        entries: args.entries,
        beta_powers: args.beta_powers,
        eq_3b,
        weights: args.weights,
        len: len as u32,
        eq_offset: eq_offset as u32,
        UNIT: args.eq_3b.is_none(),
    };
    rec.dispatch(&kernel, Grid::threads(len));
}
