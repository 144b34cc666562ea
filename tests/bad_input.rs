//! Input that cannot be proved, and devices that cannot prove it, get an error that names what is wrong, and the engine proves on.

mod device;

use std::sync::Arc;

use openvm_stark_backend::{
    interaction::InteractionBuilder,
    keygen::{types::MultiStarkProvingKey, MultiStarkKeygenBuilder},
    prover::{
        AirProvingContext, ColMajorMatrix, CpuColMajorBackend, DeviceDataTransporter, ProvingContext, TraceCommitter,
    },
    test_utils::{
        dummy_airs::fib_air::air::FibonacciAir, CachedFixture11, FibFixture, InteractionsFixture11,
        PreprocessedFibFixture, SelfInteractionFixture, TestFixture,
    },
    AirRef, BaseAirWithPublicValues, PartitionedBaseAir, StarkEngine, SystemParams,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config as SC, F};
use openvm_wgpu_backend::{
    internals::gpu::{as_words_mut, Gpu, GpuOptions},
    Error, WgpuDeviceBuilder,
};
use p3_air::{Air, BaseAir};
use p3_field::{PrimeCharacteristicRing, PrimeField32};
use p3_matrix::{dense::RowMajorMatrix, Matrix};

use device::{engine, Engine};
use openvm_wgpu_testing::{params::SmallParams, parity::prove_on, random_airs::commit_cached};

type Context = ProvingContext<CpuColMajorBackend<SC>>;

/// Traces of up to 2^6 rows.
fn params() -> SystemParams {
    SmallParams::new(2, 4).build()
}

fn fibonacci(rows: usize) -> FibFixture {
    FibFixture::new(0, 1, rows)
}

/// A key for a fixture of the engine's parameters, and its traces.
fn fixture<X: TestFixture<SC>>(engine: &Engine, fixture: &X) -> (MultiStarkProvingKey<SC>, Context) {
    (fixture.keygen(engine).0, fixture.generate_proving_ctx())
}

/// `prove` refuses, its error contains each of `words`, and the engine still proves.
fn assert_refused(engine: &Engine, pk: &MultiStarkProvingKey<SC>, ctx: &Context, words: &[&str]) {
    let Err(error) = prove_on(engine, pk, ctx) else { panic!("bad input is proved: {words:?}") };
    assert_names(&error, words);
    assert_usable(engine);
}

fn assert_names(error: &str, words: &[&str]) {
    for word in words {
        assert!(error.contains(word), "`{word}` is not in the error: {error}");
    }
}

fn assert_usable(engine: &Engine) {
    let (pk, ctx) = fixture(engine, &fibonacci(16));
    let proof = prove_on(engine, &pk, &ctx).expect("proves after an error");
    engine.verify(&pk.get_vk(), &proof).expect("the proof after an error verifies");
}

/// A matrix of any height, zero everywhere.
fn zeros(height: usize, width: usize) -> ColMajorMatrix<F> {
    // this constructor does not insist on a power of two
    ColMajorMatrix::from_row_major(&RowMajorMatrix::new(vec![F::ZERO; height * width], width))
}

// ---- traces ----

#[test]
fn height_that_is_no_power_of_two() {
    let engine = engine(params());
    let (pk, mut ctx) = fixture(&engine, &fibonacci(4));
    ctx.per_trace[0].1.common_main = zeros(12, 2);
    assert_refused(&engine, &pk, &ctx, &["AIR 0", "Fibonacci", "12 rows", "not a power of two"]);
}

#[test]
fn trace_without_rows() {
    let engine = engine(params());
    let (pk, mut ctx) = fixture(&engine, &fibonacci(4));
    ctx.per_trace[0].1.common_main = zeros(0, 2);
    assert_refused(&engine, &pk, &ctx, &["Fibonacci", "0 rows"]);
}

#[test]
fn height_above_the_stacked_height() {
    let engine = engine(params());
    let (pk, ctx) = fixture(&engine, &fibonacci(128));
    assert_refused(&engine, &pk, &ctx, &["Fibonacci", "128 rows", "stacked matrix only 64"]);
}

#[test]
fn width_that_contradicts_the_key() {
    let engine = engine(params());
    let (pk, mut ctx) = fixture(&engine, &fibonacci(4));
    ctx.per_trace[0].1.common_main = zeros(4, 3);
    assert_refused(&engine, &pk, &ctx, &["Fibonacci", "2 columns in the common main trace expected, 3 found"]);
}

#[test]
fn matrix_that_contradicts_itself() {
    let engine = engine(params());
    let (pk, mut ctx) = fixture(&engine, &fibonacci(4));
    ctx.per_trace[0].1.common_main.values.pop();
    assert_refused(&engine, &pk, &ctx, &["4 rows and 2 columns has 7 cells"]);
}

#[test]
fn more_columns_than_the_parameters_allow() {
    let engine = engine(SystemParams { w_stack: 1, ..params() });
    let (pk, ctx) = fixture(&engine, &fibonacci(64));
    let Err(error) = prove_on(&engine, &pk, &ctx) else { panic!("the verifier would refuse the proof") };
    assert_names(&error, &["2 stacked columns", "allow 1"]);
    assert_usable(&engine);
}

#[test]
fn wrong_number_of_public_values() {
    let engine = engine(params());
    let (pk, mut ctx) = fixture(&engine, &fibonacci(4));
    ctx.per_trace[0].1.public_values.pop();
    assert_refused(&engine, &pk, &ctx, &["Fibonacci", "3 public values expected, 2 found"]);
}

#[test]
fn public_values_that_are_not_below_p() {
    let engine = engine(params());
    for value in 0..3 {
        let (pk, mut ctx) = fixture(&engine, &fibonacci(4));
        let words = as_words_mut(&mut ctx.per_trace[0].1.public_values);
        words[value] += F::ORDER_U32;
        let word = words[value].to_string();
        assert_refused(&engine, &pk, &ctx, &["Fibonacci", &format!("public value {value}"), &word, "not below p"]);
    }
}

/// Safe code cannot make such words. For upstream's arithmetic they are a second form of the element, which proofs must not have.
#[test]
fn cells_that_are_not_below_p() {
    let engine = engine(params());
    for (cell, place) in [(0, "row 0 of column 0"), (5, "row 5 of column 0"), (17, "row 1 of column 1")] {
        for word in [F::ORDER_U32, 1 << 31, u32::MAX] {
            let (pk, mut ctx) = fixture(&engine, &fibonacci(16));
            as_words_mut(&mut ctx.per_trace[0].1.common_main.values)[cell] = word;
            assert_refused(
                &engine,
                &pk,
                &ctx,
                &["AIR 0", "Fibonacci", "trace", place, &word.to_string(), "not below p"],
            );
        }
    }
}

#[test]
fn cells_by_rows_that_are_not_below_p() {
    let engine = engine(params());
    let mut rows = RowMajorMatrix::new(F::zero_vec(16 * 3), 3);
    assert!(engine.device().upload_row_major(&rows).is_ok());
    as_words_mut(&mut rows.values)[22] = F::ORDER_U32 + 7;
    let error = engine.device().upload_row_major(&rows).map(|_| ()).expect_err("no word of a field element");
    assert!(matches!(error, Error::InvalidInput(_)));
    assert_names(&error.to_string(), &["row 7 of column 1", "2013265928", "not below p"]);
}

/// More than what is copied at a time, by several threads.
#[test]
fn one_cell_of_millions_that_is_not_below_p() {
    let engine = engine(params());
    let mut matrix = zeros(1 << 20, 9);
    for cell in [0, (4 << 20) - 1, 4 << 20, (9 << 20) - 1] {
        as_words_mut(&mut matrix.values)[cell] = F::ORDER_U32;
        let error = engine.device().upload_matrix(&matrix).map(|_| ()).expect_err("no word of a field element");
        let (row, column) = (cell % (1 << 20), cell >> 20);
        assert_names(&error.to_string(), &[&format!("row {row} of column {column}"), "not below p"]);
        matrix.values[cell] = F::ONE;
    }
    engine.device().upload_matrix(&matrix).expect("all are below");
}

#[test]
fn committed_cells_that_are_not_below_p() {
    let engine = engine(params());
    let (pk, mut ctx) = cached(&engine);
    as_words_mut(&mut ctx.per_trace[1].1.cached_mains[0].trace.values)[2] += F::ORDER_U32;
    assert_refused(&engine, &pk, &ctx, &["AIR 1", "row 2 of column 0", "not below p"]);
    let (pk, mut ctx) = cached(&engine);
    as_words_mut(&mut ctx.per_trace[1].1.cached_mains[0].commitment)[3] += F::ORDER_U32;
    assert_refused(&engine, &pk, &ctx, &["AIR 1", "commitment to cached main 0, word 3", "not below p"]);
    let preprocessed = PreprocessedFibFixture::new(0, 1, vec![true; 8]);
    let (mut pk, ctx) = fixture(&engine, &preprocessed);
    let data = pk.per_air[0].preprocessed_data.as_mut().expect("it has one");
    as_words_mut(&mut Arc::make_mut(data).matrix.values)[4] += F::ORDER_U32;
    assert_refused(&engine, &pk, &ctx, &["AIR 0", "row 4 of column 0", "not below p"]);
}

/// A commitment by itself, without a key.
#[test]
fn commitments_to_bad_traces() {
    let engine = engine(params());
    let commit = |matrix: &ColMajorMatrix<F>| {
        let matrix = engine.device().transport_matrix_to_device(matrix);
        engine.device().commit(&[&matrix]).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_names(&commit(&zeros(3, 1)).unwrap_err(), &["3 rows", "not a power of two"]);
    assert_names(&commit(&zeros(128, 1)).unwrap_err(), &["128 rows", "stacked matrix only 64"]);
    commit(&zeros(32, 3)).expect("the engine commits after an error");
}

// ---- AIRs ----

#[test]
fn missing_required_air() {
    let engine = engine(params());
    let mut builder = MultiStarkKeygenBuilder::new(engine.config().clone());
    let air: AirRef<SC> = Arc::new(FibonacciAir);
    builder.add_air(air.clone());
    builder.add_required_air(air);
    let pk = builder.generate_pk().unwrap();
    let ctx = fibonacci(4).generate_proving_ctx();
    assert_refused(&engine, &pk, &ctx, &["AIR 1", "Fibonacci", "required but has no trace"]);
}

#[test]
fn no_trace_at_all() {
    let engine = engine(params());
    let (pk, _) = fibonacci(4).keygen(&engine);
    assert_refused(&engine, &pk, &ProvingContext::new(vec![]), &["no AIR has a trace"]);
}

#[test]
fn unknown_air() {
    let engine = engine(params());
    let (pk, mut ctx) = fixture(&engine, &fibonacci(4));
    ctx.per_trace[0].0 = 7;
    assert_refused(&engine, &pk, &ctx, &["no AIR 7 in the proving key", "which has 1"]);
}

#[test]
fn air_with_two_traces() {
    let engine = engine(params());
    let (pk, mut ctx) = fixture(&engine, &fibonacci(4));
    ctx.per_trace.extend(fixture(&engine, &fibonacci(4)).1.per_trace);
    assert_refused(&engine, &pk, &ctx, &["AIR 0", "Fibonacci", "two traces"]);
}

#[test]
fn key_for_other_parameters() {
    let (pk, ctx) = fixture(&engine(SmallParams::new(3, 4).build()), &fibonacci(4));
    assert_refused(&engine(params()), &pk, &ctx, &["proving key", "other parameters", "l_skip"]);
}

/// One row, no interactions and no univariate skip leave nothing to sum over; upstream's prover panics.
#[test]
fn nothing_to_sum_over() {
    let engine = engine(SmallParams::new(0, 4).build());
    let (pk, ctx) = fixture(&engine, &fibonacci(1));
    assert_refused(&engine, &pk, &ctx, &["one row", "no variable", "l_skip"]);
}

/// An AIR whose one interaction counts `weight` times.
struct Weighted(u32);

impl<T> BaseAir<T> for Weighted {
    fn width(&self) -> usize {
        2
    }
}

impl<T> BaseAirWithPublicValues<T> for Weighted {}

impl<T> PartitionedBaseAir<T> for Weighted {}

impl<AB: InteractionBuilder> Air<AB> for Weighted {
    fn eval(&self, builder: &mut AB) {
        let main = builder.main();
        let row = main.row_slice(0).expect("a row");
        let (count, value) = (row[0], row[1]);
        builder.push_interaction(0, [value], count, self.0);
    }
}

/// The verifier refuses proofs of so many messages that they could wrap around the field's modulus.
#[test]
fn heights_that_the_key_forbids() {
    let engine = engine(params());
    let prove = |weight: u32, rows: usize| {
        let airs: [AirRef<SC>; 2] = [Arc::new(FibonacciAir), Arc::new(Weighted(weight))];
        let (pk, vk) = engine.keygen(&airs);
        let weighted = AirProvingContext::simple_no_pis(zeros(rows, 2));
        let ctx = ProvingContext::new(vec![(1, weighted)]);
        (prove_on(&engine, &pk, &ctx).map(|proof| engine.verify(&vk, &proof).expect("verifies")), pk, ctx)
    };
    for (weight, rows) in [(1 << 28, 64), (1 << 30, 2), (u32::MAX, 1), (1 << 25, 64)] {
        let (result, pk, ctx) = prove(weight, rows);
        assert!(result.is_err(), "weight {weight}, {rows} rows");
        let sum = u64::from(weight) * rows.max(4) as u64;
        assert_refused(&engine, &pk, &ctx, &["trace height constraint", &sum.to_string(), "AIR 1", "Weighted"]);
    }
    prove(1 << 24, 64).0.expect("2^30 messages are not too many");
}

/// `prove` refuses what upstream refuses; `tampering.rs` has more of it.
#[test]
fn unbalanced_bus() {
    let engine = engine(params());
    let (pk, mut ctx) = fixture(&engine, &InteractionsFixture11);
    ctx.per_trace[0].1 = AirProvingContext::simple_no_pis(zeros(4, 2));
    assert_refused(&engine, &pk, &ctx, &["interactions do not balance"]);
}

// ---- cached mains and preprocessed traces ----

/// Two AIRs with a cached main each, of four and eight rows.
fn cached(engine: &Engine) -> (MultiStarkProvingKey<SC>, Context) {
    fixture(engine, &CachedFixture11::new(engine.config().clone()))
}

#[test]
fn missing_cached_main() {
    let engine = engine(params());
    let (pk, mut ctx) = cached(&engine);
    ctx.per_trace[1].1.cached_mains.clear();
    assert_refused(&engine, &pk, &ctx, &["AIR 1", "DummyInteractionAir", "1 cached mains expected, 0 found"]);
}

#[test]
fn cached_main_of_another_height() {
    let engine = engine(params());
    let (pk, mut ctx) = cached(&engine);
    ctx.per_trace[0].1.cached_mains[0] = commit_cached(engine.config(), zeros(32, 1));
    assert_refused(&engine, &pk, &ctx, &["AIR 0", "DummyInteractionAir", "4 rows in cached main 0", "32 found"]);
}

#[test]
fn cached_main_of_another_width() {
    let engine = engine(params());
    let (pk, mut ctx) = cached(&engine);
    ctx.per_trace[0].1.cached_mains[0] = commit_cached(engine.config(), zeros(4, 3));
    assert_refused(&engine, &pk, &ctx, &["AIR 0", "1 columns in cached main 0 expected, 3 found"]);
}

#[test]
fn cached_main_of_other_parameters() {
    let engine = engine(params());
    let (pk, mut ctx) = cached(&engine);
    let other = Engine::new(SmallParams::new(2, 5).build());
    ctx.per_trace[0].1.cached_mains[0] = commit_cached(other.config(), zeros(4, 1));
    assert_refused(&engine, &pk, &ctx, &["64 stacked rows in the commitment to cached main 0 expected, 128 found"]);
}

/// A preprocessed trace fixes the height of its AIR.
#[test]
fn height_that_differs_from_the_preprocessed() {
    let engine = engine(params());
    let (pk, _) = PreprocessedFibFixture::new(0, 1, vec![true; 8]).keygen(&engine);
    let ctx = PreprocessedFibFixture::new(0, 1, vec![true; 16]).generate_proving_ctx();
    assert_refused(&engine, &pk, &ctx, &["8 rows, as in the preprocessed trace, expected, 16 found"]);
}

// ---- devices ----

fn build_error(builder: WgpuDeviceBuilder, params: SystemParams) -> Error {
    builder.build(params).err().expect("the device is not built")
}

#[test]
fn no_adapter() {
    let error = build_error(WgpuDeviceBuilder::new().adapter("no such adapter"), params());
    assert!(matches!(error, Error::NoAdapter { .. }));
    assert_names(&error.to_string(), &["no such adapter", "VULKAN", "install"]);
    assert_usable(&engine(params()));
}

#[test]
fn adapter_without_what_is_required() {
    let options = GpuOptions { storage_buffers: Some(4), ..GpuOptions::default() };
    let error = Gpu::new(&options).err().expect("four storage buffers are too few");
    assert!(matches!(error, Error::UnsupportedAdapter { .. }));
    let adapter = engine(params()).device().adapter_info().name.clone();
    assert_names(&error.to_string(), &[&adapter, "4 storage buffers per stage, at least"]);
    assert_usable(&engine(params()));
}

#[test]
fn parameters_out_of_range() {
    let error = build_error(WgpuDeviceBuilder::new(), SystemParams { l_skip: 10, ..params() });
    assert!(matches!(error, Error::Unsupported(_)));
    assert_names(&error.to_string(), &["l_skip 10", "at most 9"]);
    let error = build_error(WgpuDeviceBuilder::new(), SystemParams { n_stack: 26, ..params() });
    assert_names(&error.to_string(), &["2^29 rows", "2^27"]);
}

/// Neither keys and traces that were on the device nor new ones are proved on it.
#[test]
fn lost_device() {
    let engine = engine_with(GpuOptions::default(), params());
    let (pk, ctx) = fixture(&engine, &fibonacci(16));
    let device = engine.device();
    let (device_pk, device_ctx) = (device.transport_pk_to_device(&pk), device.transport_proving_ctx_to_device(&ctx));
    device.gpu().lose();
    let error = engine.prove(&device_pk, device_ctx).expect_err("a lost device proves nothing");
    assert_names(&error.to_string(), &["the GPU device was lost"]);
    assert_names(&prove_on(&engine, &pk, &ctx).unwrap_err(), &["the GPU device was lost"]);
}

// ---- memory ----

const MIB: u64 = 1 << 20;

/// Half of a megabyte of traces per AIR, 8 MiB in all, under parameters of 2^11 rows.
fn wide() -> (SystemParams, SelfInteractionFixture) {
    let widths = vec![64; 16];
    (SmallParams::new(2, 9).build(), SelfInteractionFixture { widths, log_height: 11, bus_index: 1 })
}

/// An engine with a memory of its own; it keeps codewords, 16 MiB of them for [`wide`].
fn engine_with(options: GpuOptions, params: SystemParams) -> Engine {
    let gpu = Gpu::new(&options).expect("the test device opens");
    let device = WgpuDeviceBuilder::new().cache_rs_code_matrix(true).build_on(gpu, params);
    Engine::from_device(device.expect("the parameters are supported"))
}

/// The budget ends within the proof.
#[test]
fn memory_budget_too_small() {
    let (params, wide) = wide();
    let engine = engine_with(GpuOptions { memory_budget: Some(16 * MIB), ..GpuOptions::default() }, params);
    let (pk, ctx) = fixture(&engine, &wide);
    assert_refused(&engine, &pk, &ctx, &["memory budget too small", "the budget is 16.0 MiB", "at least", "needed"]);
    // the traces do not fit
    let tall = SelfInteractionFixture { widths: vec![64; 40], ..wide };
    let (pk, ctx) = fixture(&engine, &tall);
    assert_refused(&engine, &pk, &ctx, &["memory budget too small: trace needs 512.0 KiB", "the budget is 16.0 MiB"]);
}

/// The driver has less memory than the budget says.
#[test]
fn device_out_of_memory() {
    let (params, wide) = wide();
    let engine = engine_with(GpuOptions { device_memory: Some(16 * MIB), ..GpuOptions::default() }, params);
    let (pk, ctx) = fixture(&engine, &wide);
    assert_refused(&engine, &pk, &ctx, &["device out of memory", "needs", "in use"]);
    let tall = SelfInteractionFixture { widths: vec![64; 40], ..wide };
    let (pk, ctx) = fixture(&engine, &tall);
    assert_refused(&engine, &pk, &ctx, &["device out of memory: trace needs 512.0 KiB"]);
}
