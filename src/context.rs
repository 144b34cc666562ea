//! The proving context checked against the proving key and the parameters, so that a mistake is an error with a name rather than a panic
//! or a bad proof; then as the stages read it.

use openvm_stark_backend::{
    prover::{
        AirProvingContext, CommittedTraceData, DeviceMultiStarkProvingKey, DeviceStarkProvingKey, ProvingContext,
    },
    SystemParams,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_field::PrimeField32;

use crate::{
    backend::WgpuBackend,
    error::{Error, Result},
    gpu::as_words,
    stages::{
        pcs::{checked_log_height, StackedMatrix},
        rap::{AirInput, AirTraces, RapInput, RapParams},
    },
};

/// The AIRs that are present with their traces, and where `common_mains` has packed them. Expects what [`check`] accepts, sorted by
/// descending height.
///
/// # Errors
///
/// What made the compilation of an AIR fail; as [`RapInput::new`].
pub(crate) fn rap_input<'a>(
    mpk: &'a DeviceMultiStarkProvingKey<WgpuBackend>,
    ctx: &'a ProvingContext<WgpuBackend>,
    common_mains: &'a StackedMatrix,
) -> Result<RapInput<'a>> {
    let airs = ctx.per_trace.iter().enumerate().map(|(t, (air, trace))| {
        let pk = &mpk.per_air[*air];
        let traces = AirTraces {
            preprocessed: pk.preprocessed_data.as_ref().map(|data| &data.trace),
            cached: trace.cached_mains.iter().map(|data| &data.trace).collect(),
            common: &trace.common_main,
            packed: common_mains.packed(t),
            public_values: &trace.public_values,
        };
        Ok(AirInput::new(&pk.vk, pk.other_data.evaluator()?, traces))
    });
    let params = RapParams {
        l_skip: mpk.params.l_skip,
        max_constraint_degree: mpk.max_constraint_degree,
        logup_pow_bits: mpk.params.logup.pow_bits,
    };
    RapInput::new(params, airs.collect::<Result<_>>()?)
}

/// Checks what upstream's prover takes for granted; `params` are the engine's.
///
/// # Errors
///
/// [`Error::InvalidInput`] that names the AIR and what is wrong with it; what made a transport fail.
pub(crate) fn check(
    params: &SystemParams,
    mpk: &DeviceMultiStarkProvingKey<WgpuBackend>,
    ctx: &ProvingContext<WgpuBackend>,
) -> Result<()> {
    check_params(params, &mpk.params)?;
    check_presence(mpk, ctx)?;
    for (air, trace) in &ctx.per_trace {
        let pk = &mpk.per_air[*air];
        let named = |message: &str| Error::InvalidInput(format!("{}: {message}", name(mpk, *air)));
        check_air(params, pk, trace).map_err(|error| match error {
            Error::InvalidInput(message) => named(&message),
            // of a transport
            Error::Deferred(error) => match &*error {
                Error::InvalidInput(message) => named(message),
                _ => Error::Deferred(error),
            },
            other => other,
        })?;
    }
    check_heights(params, mpk, ctx)?;
    let (width, limit) = (stacked_width(params, mpk, ctx), params.w_stack);
    check_that(width <= limit, || format!("the traces fill {width} stacked columns, the parameters allow {limit}"))
}

/// The heights satisfy the key's linear constraints, without which interactions could balance that should not: each bus, and all of them,
/// have fewer messages than the field has elements.
fn check_heights(
    params: &SystemParams,
    mpk: &DeviceMultiStarkProvingKey<WgpuBackend>,
    ctx: &ProvingContext<WgpuBackend>,
) -> Result<()> {
    for (number, constraint) in mpk.trace_height_constraints.iter().enumerate() {
        let terms = ctx.per_trace.iter().map(|(air, trace)| {
            let coefficient = u64::from(constraint.coefficients.get(*air).copied().unwrap_or(0));
            let rows = trace.common_main.height().max(1 << params.l_skip) as u64;
            (*air, rows, coefficient, u128::from(rows) * u128::from(coefficient))
        });
        let sum: u128 = terms.clone().map(|(.., term)| term).sum();
        let largest = terms.max_by_key(|(.., term)| *term);
        check_that(sum < u128::from(constraint.threshold), || {
            let most = largest.map_or_else(String::new, |(air, rows, coefficient, _)| {
                format!(", most of it by {}, {rows} rows times {coefficient}", name(mpk, air))
            });
            let threshold = constraint.threshold;
            format!("trace height constraint {number} of the proving key: the weighted sum of the heights is {sum}, not below {threshold}{most}")
        })?;
    }
    Ok(())
}

/// The key is for the engine's parameters.
fn check_params(engine: &SystemParams, key: &SystemParams) -> Result<()> {
    let fields = [
        ("l_skip", engine.l_skip == key.l_skip),
        ("n_stack", engine.n_stack == key.n_stack),
        ("w_stack", engine.w_stack == key.w_stack),
        ("log_blowup", engine.log_blowup == key.log_blowup),
        ("whir", engine.whir == key.whir),
        ("logup", engine.logup == key.logup),
        ("max_constraint_degree", engine.max_constraint_degree == key.max_constraint_degree),
    ];
    let different: Vec<_> = fields.iter().filter(|(_, equal)| !equal).map(|(name, _)| *name).collect();
    check_that(different.is_empty(), || {
        format!("the proving key was made for other parameters than the engine's: {} differ", different.join(", "))
    })
}

/// Every trace is of an AIR of the key, no AIR has two, and no required one is missing.
fn check_presence(mpk: &DeviceMultiStarkProvingKey<WgpuBackend>, ctx: &ProvingContext<WgpuBackend>) -> Result<()> {
    check_that(!ctx.per_trace.is_empty(), || "no AIR has a trace".into())?;
    let mut present = vec![false; mpk.per_air.len()];
    for (air, _) in &ctx.per_trace {
        let airs = mpk.per_air.len();
        check_that(*air < airs, || format!("there is no AIR {air} in the proving key, which has {airs}"))?;
        let twice = std::mem::replace(&mut present[*air], true);
        check_that(!twice, || format!("{} has two traces", name(mpk, *air)))?;
    }
    match mpk.per_air.iter().zip(&present).position(|(pk, present)| pk.vk.is_required && !present) {
        Some(air) => Err(Error::InvalidInput(format!("{} is required but has no trace", name(mpk, air)))),
        None => Ok(()),
    }
}

/// The traces of an AIR have the key's widths, one height, and are on the device.
fn check_air(
    params: &SystemParams,
    pk: &DeviceStarkProvingKey<WgpuBackend>,
    trace: &AirProvingContext<WgpuBackend>,
) -> Result<()> {
    let (widths, height) = (&pk.vk.params.width, trace.common_main.height());
    checked_log_height(&trace.common_main, params.log_stacked_height())?;
    expect("columns in the common main trace", trace.common_main.width(), widths.common_main)?;
    expect("public values", trace.public_values.len(), pk.vk.params.num_public_values)?;
    check_words("public value", &trace.public_values)?;
    expect("cached mains", trace.cached_mains.len(), widths.cached_mains.len())?;
    for (i, (cached, width)) in trace.cached_mains.iter().zip(&widths.cached_mains).enumerate() {
        let (found, part) = (cached.trace.height(), format!("cached main {i}"));
        expect(&format!("columns in {part}"), cached.trace.width(), *width)?;
        expect(&format!("rows in {part}, as in the common main trace,"), found, height)?;
        check_commitment(params, cached, &part)?;
    }
    expect("preprocessed traces", pk.preprocessed_data.iter().len(), widths.preprocessed.iter().len())?;
    for (preprocessed, width) in pk.preprocessed_data.iter().zip(&widths.preprocessed) {
        expect("columns in the preprocessed trace", preprocessed.trace.width(), *width)?;
        expect("rows, as in the preprocessed trace,", height, preprocessed.trace.height())?;
        check_commitment(params, preprocessed, "the preprocessed trace")?;
    }
    Ok(())
}

/// Field elements are words below p: others come from unsafe code, and stand for the same element as a second word.
fn check_words(what: &str, values: &[F]) -> Result<()> {
    let bad = as_words(values).iter().position(|&word| word >= F::ORDER_U32);
    let value =
        |at: usize| Err(Error::InvalidInput(format!("{what} {at} is the word {}, not below p", as_words(values)[at])));
    bad.map_or(Ok(()), value)
}

/// A part that was committed earlier is on the device, and was committed with these parameters.
fn check_commitment(params: &SystemParams, part: &CommittedTraceData<WgpuBackend>, name: &str) -> Result<()> {
    part.trace.check()?;
    check_words(&format!("the commitment to {name}, word"), &part.commitment)?;
    let data = part.data.get()?;
    let of = |what: &str| format!("{what} in the commitment to {name}");
    expect(&of("stacked rows"), data.stacked.height(), 1 << params.log_stacked_height())?;
    expect(&of("as log2 of the blowup"), data.log_blowup, params.log_blowup)?;
    expect(&of("rows per query"), data.tree.rows_per_query(), 1 << params.k_whir())
}

/// Columns of the stacked matrices of all commitments together.
fn stacked_width(
    params: &SystemParams,
    mpk: &DeviceMultiStarkProvingKey<WgpuBackend>,
    ctx: &ProvingContext<WgpuBackend>,
) -> usize {
    let cells: usize =
        ctx.per_trace.iter().map(|(_, t)| t.common_main.width() * t.common_main.height().max(1 << params.l_skip)).sum();
    let committed = ctx.per_trace.iter().flat_map(|(air, trace)| {
        mpk.per_air[*air].preprocessed_data.iter().chain(&trace.cached_mains).filter_map(|part| part.data.get().ok())
    });
    cells.div_ceil(1 << params.log_stacked_height()) + committed.map(|data| data.stacked.width()).sum::<usize>()
}

fn name(mpk: &DeviceMultiStarkProvingKey<WgpuBackend>, air: usize) -> String {
    format!("AIR {air} ({})", mpk.per_air[air].air_name)
}

fn expect(what: &str, found: usize, expected: usize) -> Result<()> {
    check_that(found == expected, || format!("{expected} {what} expected, {found} found"))
}

fn check_that(holds: bool, message: impl FnOnce() -> String) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(Error::InvalidInput(message()))
    }
}
