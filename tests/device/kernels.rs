//! The kernels that proofs really use: what a device has compiled after proofs that together take every road.

use std::{borrow::Cow, sync::Arc};

use openvm_stark_backend::{
    interaction::InteractionBuilder,
    keygen::types::StarkProvingKey,
    prover::{AirProvingContext, ColMajorMatrix, ProvingContext},
    test_utils::{CachedFixture11, FibFixture, MixtureFixture, PreprocessedAndCachedFixture, TestFixture},
    AirRef, BaseAirWithPublicValues, PartitionedBaseAir, StarkEngine,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config as SC, F};
use openvm_wgpu_backend::{
    constraints::{self, PartWidths},
    gpu::{Access, GeneratedKernel, Gpu, KernelDecl, Variant},
    kernels::{
        constraints::{AirEvaluator, EvaluatorPolicy},
        ntt::{dft, Shape},
    },
};
use p3_air::{Air, AirBuilder, BaseAir};
use p3_field::{Field, PrimeCharacteristicRing};
use p3_matrix::Matrix;

use crate::{
    common::{params::SmallParams, parity::prove_on},
    device::{engine, Engine},
    workloads::{Workload, WorkloadKind},
};

/// A kernel as the host declares it, before it is linked for a device.
pub struct Source {
    pub name: String,
    pub wgsl: Cow<'static, str>,
    pub variant: Variant,
    pub bindings: Vec<Access>,
    pub params: Params,
    pub workgroup: u32,
}

/// The parameter words of a kernel.
#[derive(Debug)]
pub enum Params {
    Named(&'static [&'static str]),
    /// Generated kernels do not say more.
    Count(usize),
}

impl Params {
    /// Number of words.
    pub fn count(&self) -> usize {
        match self {
            Self::Named(names) => names.len(),
            Self::Count(count) => *count,
        }
    }
}

impl From<(&'static KernelDecl, Variant)> for Source {
    fn from((decl, variant): (&'static KernelDecl, Variant)) -> Self {
        Self {
            name: decl.path.into(),
            wgsl: decl.source.into(),
            variant,
            bindings: decl.bindings.iter().map(|(_, access)| *access).collect(),
            params: Params::Named(decl.params),
            workgroup: decl.workgroup,
        }
    }
}

impl From<GeneratedKernel> for Source {
    fn from(kernel: GeneratedKernel) -> Self {
        Self {
            name: kernel.name,
            wgsl: kernel.wgsl.into(),
            variant: Variant::default(),
            bindings: kernel.bindings,
            params: Params::Count(kernel.params),
            workgroup: kernel.workgroup,
        }
    }
}

/// The kernels of `wgsl/` in every variant that proofs use.
pub fn sources_after_proofs() -> Vec<Source> {
    for (l_skip, n_stack, log_height) in [(0, 7, 3), (2, 8, 9), (9, 1, 10)] {
        let engine = engine(SmallParams::new(l_skip, n_stack).build());
        prove_fixture(&engine, &MixtureFixture::standard(log_height, engine.config().clone()));
    }
    prove_fixture(&engine(SmallParams::new(0, 2).build()), &FibFixture::new(0, 1, 4));
    let engine = engine(SmallParams::new(4, 10).build());
    prove_fixture(&engine, &FibFixture::new(0, 1, 1 << 14));
    prove_fixture(&engine, &CachedFixture11::new(engine.config().clone()));
    let alternating = (0..64).map(|row| row % 2 == 0).collect();
    prove_fixture(&engine, &PreprocessedAndCachedFixture::new(alternating, engine.config().clone(), 2));
    prove_airs(&engine, &[Arc::new(EntangledAir)], vec![ColMajorMatrix::new(F::zero_vec(64 * 2 * SUMS), 2 * SUMS)]);
    let keccak = Workload { kind: WorkloadKind::Keccak, log_n: 3 };
    prove_airs(&engine, &keccak.airs(), keccak.traces(0));
    transform_long_column(engine.device().gpu());
    engine.device().gpu().compiled_kernels().into_iter().map(Source::from).collect()
}

/// Columns of proofs with a million stacked rows or more have passes of their own.
fn transform_long_column(gpu: &Gpu) {
    let mut rec = gpu.recorder("long column");
    let column = gpu.alloc::<F>(1 << 20, "column").expect("memory");
    dft(&mut rec, &column, Shape { columns: 1, log_in: 20, log_out: 21 }).expect("the passes are recorded");
    rec.wait().expect("the passes run");
}

/// Every kernel that can be generated from the AIRs of a workload.
pub fn generated_sources(gpu: &Gpu, kind: WorkloadKind) -> Vec<Source> {
    let engine = engine(SmallParams::new(4, 8).build());
    let (pk, _) = engine.keygen(&Workload { kind, log_n: 0 }.airs());
    let of_air = |StarkProvingKey { air_name, vk, .. }: &StarkProvingKey<SC>| {
        let widths = PartWidths::from(&vk.params);
        let programs = constraints::compile(&vk.symbolic_constraints, &widths, vk.params.num_public_values);
        let programs = programs.expect("keys of upstream have programs");
        let air = AirEvaluator::new(gpu, &programs, EvaluatorPolicy::Interpreter, air_name).expect("programs upload");
        let programs = [&air.round0_zerocheck, &air.round0_logup, &air.gkr_input, &air.mle_zerocheck, &air.mle_logup];
        programs.into_iter().flat_map(|program| program.generated_kernels()).map(Source::from).collect::<Vec<_>>()
    };
    pk.per_air.iter().flat_map(of_air).collect()
}

fn prove_fixture<X: TestFixture<SC>>(engine: &Engine, fixture: &X) {
    let (pk, _) = fixture.keygen(engine);
    prove_on(engine, &pk, &fixture.generate_proving_ctx()).expect("fixtures prove");
}

fn prove_airs(engine: &Engine, airs: &[AirRef<SC>], traces: Vec<ColMajorMatrix<F>>) {
    let (pk, _) = engine.keygen(airs);
    let contexts = traces.into_iter().map(AirProvingContext::simple_no_pis).enumerate();
    prove_on(engine, &pk, &ProvingContext::new(contexts.collect())).expect("the traces satisfy the constraints");
}

/// An AIR whose only value keeps more intermediates alive than the interpreter has registers: `(s_0 + s_1 + ..)(s_0 - s_1 - ..)` with
/// `s_i` the sum of two columns. It has to vanish, and is a message that nobody sends.
struct EntangledAir;

const SUMS: usize = 48;

impl<T> BaseAir<T> for EntangledAir {
    fn width(&self) -> usize {
        2 * SUMS
    }
}
impl<T: Field> BaseAirWithPublicValues<T> for EntangledAir {}
impl<T: Field> PartitionedBaseAir<T> for EntangledAir {}
impl<AB: AirBuilder + InteractionBuilder> Air<AB> for EntangledAir {
    fn eval(&self, builder: &mut AB) {
        let main = builder.main();
        let local = main.row_slice(0).expect("a window has two rows").to_vec();
        let sums: Vec<AB::Expr> = local.chunks(2).map(|pair| pair[0].into() + pair[1].into()).collect();
        let all = sums.iter().cloned().reduce(|a, b| a + b).expect("there are sums");
        let other = sums.iter().cloned().reduce(|a, b| a - b).expect("there are sums");
        builder.assert_zero(all.clone() * other.clone());
        builder.push_interaction(0, [all * other], AB::Expr::ZERO, 0);
    }
}
