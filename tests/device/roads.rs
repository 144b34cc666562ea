//! Proofs that together take every road, so that a device has compiled all kernels afterwards.

use std::sync::Arc;

use openvm_stark_backend::{
    interaction::InteractionBuilder,
    prover::{AirProvingContext, ColMajorMatrix, ProvingContext},
    test_utils::{CachedFixture11, FibFixture, MixtureFixture, PreprocessedAndCachedFixture},
    AirRef, BaseAirWithPublicValues, PartitionedBaseAir, StarkEngine, SystemParams,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config as SC, EF, F};
use openvm_wgpu_backend::{
    internals::{
        gpu::{Gpu, KernelDecl, Variant},
        kernels::{
            merkle::MerkleTree,
            ntt::{dft, DftShape},
        },
    },
    WgpuDevice,
};
use p3_air::{Air, AirBuilder, BaseAir};
use p3_field::{Field, PrimeCharacteristicRing};
use p3_matrix::{dense::RowMajorMatrix, Matrix};

use openvm_wgpu_testing::{
    params::SmallParams,
    parity::{assert_fixture_parity, check_parity},
    workloads::{Workload, WorkloadKind},
};

use super::Engine;

/// The kernels of `wgsl/` in every variant that proofs use, after proofs by engines that share a device, each equal to the reference's.
pub fn compiled_after_proofs(open: impl Fn(SystemParams) -> Engine) -> Vec<(&'static KernelDecl, Variant)> {
    for (l_skip, n_stack, log_height) in [(0, 7, 3), (2, 8, 9), (9, 1, 10)] {
        let engine = open(SmallParams::new(l_skip, n_stack).build());
        assert_fixture_parity(&engine, &MixtureFixture::standard(log_height, engine.config().clone()));
    }
    assert_fixture_parity(&open(SmallParams::new(0, 2).build()), &FibFixture::new(0, 1, 4));
    let engine = open(SmallParams::new(4, 10).build());
    assert_fixture_parity(&engine, &FibFixture::new(0, 1, 1 << 14));
    assert_fixture_parity(&engine, &CachedFixture11::new(engine.config().clone()));
    let alternating = (0..64).map(|row| row % 2 == 0).collect();
    assert_fixture_parity(&engine, &PreprocessedAndCachedFixture::new(alternating, engine.config().clone(), 2));
    let zeros = ColMajorMatrix::new(F::zero_vec(1024 * 3 * SUMS), 3 * SUMS);
    assert_parity(&engine, &[Arc::new(EntangledAir)], vec![zeros]);
    let keccak = Workload { kind: WorkloadKind::Keccak, log_n: 3 };
    assert_parity(&engine, &keccak.airs(), keccak.traces(0));
    transform_long_column(engine.device().gpu());
    hash_long_column(engine.device().gpu());
    upload_rows(engine.device());
    warm(engine.device().gpu());
    engine.device().gpu().compiled_kernels()
}

/// What keeps a card's clocks up before proofs.
fn warm(gpu: &Gpu) {
    let values = gpu.upload(&[3u32; 64], "values").expect("memory");
    gpu.warm_burst(&values).expect("the burst runs");
}

/// Columns of proofs with a million stacked rows or more have passes of their own.
fn transform_long_column(gpu: &Gpu) {
    let mut rec = gpu.recorder("long column");
    let column = gpu.alloc::<F>(1 << 20, "column").expect("memory");
    dft(&mut rec, &column, DftShape { columns: 1, log_in: 20, log_out: 21 }).expect("the passes are recorded");
    rec.wait().expect("the passes run");
}

/// Where 16 lanes compute a node of small layers, large layers have a kernel of their own.
fn hash_long_column(gpu: &Gpu) {
    let mut rec = gpu.recorder("long column");
    let column = gpu.upload(&vec![EF::ONE; 1 << 15], "column").expect("memory");
    MerkleTree::from_ext(&mut rec, &column, 1).expect("the layers are recorded");
    rec.wait().expect("the layers are computed");
}

/// Traces that come in rows are transposed.
fn upload_rows(device: &WgpuDevice) {
    let rows = RowMajorMatrix::new((0..3 * 64).map(F::from_u32).collect(), 3);
    let matrix = device.upload_row_major(&rows).expect("memory");
    let columns = matrix.download(device.gpu()).expect("memory can be read");
    assert_eq!(columns, ColMajorMatrix::from_row_major(&rows).values);
}

fn assert_parity(engine: &Engine, airs: &[AirRef<SC>], traces: Vec<ColMajorMatrix<F>>) {
    let (pk, _) = engine.keygen(airs);
    let contexts = traces.into_iter().map(AirProvingContext::simple_no_pis).enumerate();
    check_parity(engine, &pk, &ProvingContext::new(contexts.collect())).expect("the traces satisfy the constraints");
}

/// An AIR whose only value keeps more intermediates alive than the interpreter has registers: `(s_0 + s_1 + ..)(s_0 - s_1 - ..)` with
/// `s_i` the sum of three columns (those of two would be computed anew). It has to vanish, times each of some columns, and is a message
/// that nobody sends. Such programs are in no work list; each constraint is a chunk by itself, and their partial sums are many.
struct EntangledAir;

const ENTANGLED: usize = 9;

const SUMS: usize = 48;

impl<T> BaseAir<T> for EntangledAir {
    fn width(&self) -> usize {
        3 * SUMS
    }
}
impl<T: Field> BaseAirWithPublicValues<T> for EntangledAir {}
impl<T: Field> PartitionedBaseAir<T> for EntangledAir {}
impl<AB: AirBuilder + InteractionBuilder> Air<AB> for EntangledAir {
    fn eval(&self, builder: &mut AB) {
        let main = builder.main();
        let local = main.row_slice(0).expect("a window has two rows").to_vec();
        let sum = |three: &[AB::Var]| -> AB::Expr { three[0].into() + three[1].into() + three[2].into() };
        let sums: Vec<AB::Expr> = local.chunks(3).map(sum).collect();
        let all = sums.iter().cloned().reduce(|a, b| a + b).expect("there are sums");
        let other = sums.iter().cloned().reduce(|a, b| a - b).expect("there are sums");
        for factor in &local[..ENTANGLED] {
            let factor: AB::Expr = (*factor).into();
            builder.assert_zero(all.clone() * other.clone() * factor);
        }
        builder.push_interaction(0, [all * other], AB::Expr::ZERO, 0);
    }
}
