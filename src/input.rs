//! The proving context as the stages read it, checked against the proving key first, so that a mistake is an error with a name rather
//! than a panic or a bad proof.

use openvm_stark_backend::prover::{
    AirProvingContext, DeviceMultiStarkProvingKey, DeviceStarkProvingKey, ProvingContext,
};

use crate::{
    backend::WgpuBackend,
    error::{Error, Result},
    stages::rap::{AirInput, AirTraces, RapInput, RapParams},
};

/// The AIRs that are present with their traces; `ctx` is sorted by descending height.
///
/// # Errors
///
/// [`Error::InvalidInput`] that names the AIR and what is wrong with it; what made a transport fail.
pub(crate) fn rap_input<'a>(
    mpk: &'a DeviceMultiStarkProvingKey<WgpuBackend>,
    ctx: &'a ProvingContext<WgpuBackend>,
) -> Result<RapInput<'a>> {
    check(mpk, ctx)?;
    let airs = ctx.per_trace.iter().map(|(air, trace)| {
        let pk = &mpk.per_air[*air];
        let traces = AirTraces {
            preprocessed: pk.preprocessed_data.as_ref().map(|data| &data.trace),
            cached: trace.cached_mains.iter().map(|data| &data.trace).collect(),
            common: &trace.common_main,
            public_values: &trace.public_values,
        };
        AirInput::new(*air, &pk.vk, pk.other_data.evaluator()?, traces)
    });
    let params = RapParams {
        l_skip: mpk.params.l_skip,
        max_constraint_degree: mpk.max_constraint_degree,
        logup_pow_bits: mpk.params.logup.pow_bits,
    };
    RapInput::new(params, airs.collect::<Result<_>>()?)
}

/// Checks what upstream's prover takes for granted.
///
/// # Errors
///
/// [`Error::InvalidInput`] that names the AIR and what is wrong with it.
fn check(mpk: &DeviceMultiStarkProvingKey<WgpuBackend>, ctx: &ProvingContext<WgpuBackend>) -> Result<()> {
    let invalid = |message: String| Err(Error::InvalidInput(message));
    if ctx.per_trace.is_empty() {
        return invalid("no AIR has a trace".into());
    }
    let mut present = vec![false; mpk.per_air.len()];
    for (air, trace) in &ctx.per_trace {
        let Some(pk) = mpk.per_air.get(*air) else {
            return invalid(format!("AIR {air} is not in the proving key, which has {} AIRs", mpk.per_air.len()));
        };
        if std::mem::replace(&mut present[*air], true) {
            return invalid(format!("AIR {air} ({}) has two traces", pk.air_name));
        }
        check_air(pk, trace).or_else(|message| invalid(format!("AIR {air} ({}): {message}", pk.air_name)))?;
    }
    match mpk.per_air.iter().zip(&present).position(|(pk, present)| pk.vk.is_required && !present) {
        Some(air) => invalid(format!("AIR {air} ({}) is required but has no trace", mpk.per_air[air].air_name)),
        None => Ok(()),
    }
}

fn check_air(pk: &DeviceStarkProvingKey<WgpuBackend>, trace: &AirProvingContext<WgpuBackend>) -> Result<(), String> {
    let (params, height) = (&pk.vk.params, trace.common_main.height());
    expect("columns in the common main trace", trace.common_main.width(), params.width.common_main)?;
    expect("cached mains", trace.cached_mains.len(), params.width.cached_mains.len())?;
    expect("public values", trace.public_values.len(), params.num_public_values)?;
    for (i, (cached, width)) in trace.cached_mains.iter().zip(&params.width.cached_mains).enumerate() {
        cached.trace.check().map_err(|error| error.to_string())?;
        expect(&format!("columns in cached main {i}"), cached.trace.width(), *width)?;
        expect(&format!("rows in cached main {i} (as in the common main trace)"), cached.trace.height(), height)?;
    }
    if let Some(preprocessed) = &pk.preprocessed_data {
        preprocessed.trace.check().map_err(|error| error.to_string())?;
        expect("rows in the trace (as in the preprocessed trace)", height, preprocessed.trace.height())?;
    }
    Ok(())
}

fn expect(what: &str, found: usize, expected: usize) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{expected} {what} expected, {found} found"))
    }
}
