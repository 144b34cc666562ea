//! Constraint evaluation of keccak: arithmetic nodes per second of the interpreter and of generated kernels.
//!
//! `cargo bench --bench constraints`; generated kernels only on a GPU, since a software driver compiles them for minutes.

mod support;

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use openvm_stark_backend::keygen::MultiStarkKeygenBuilder;
use openvm_stark_sdk::config::{
    app_params_with_100_bits_security,
    baby_bear_poseidon2::{BabyBearPoseidon2Config, EF, F},
};
use openvm_wgpu_backend::internals::{
    constraints::{compile, AirPrograms, PartWidths},
    gpu::{DeviceBuffer, Element, Gpu},
    kernels::constraints::{AirEvaluator, DeviceProgram, EvaluatorPolicy, SumEvaluation},
};
use openvm_wgpu_testing::workloads::{Workload, WorkloadKind};
use p3_field::PrimeCharacteristicRing;

/// Evaluations of a tile: round 0 of 2^10 permutations has 2^16 in all, the first MLE round 3 * 2^10.
struct Sizes {
    round0_rows: usize,
    lines: usize,
}

const ROUND0_POINTS: usize = 32;
const LINE_POINTS: usize = 3;

fn keccak() -> AirPrograms {
    let config = BabyBearPoseidon2Config::default_from_params(app_params_with_100_bits_security(21));
    let mut keygen = MultiStarkKeygenBuilder::new(config);
    for air in (Workload { kind: WorkloadKind::Keccak, log_n: 0 }).airs() {
        keygen.add_air(air);
    }
    let pk = keygen.generate_pk().expect("keccak has a key");
    let vk = &pk.per_air[0].vk;
    compile(&vk.symbolic_constraints, &PartWidths::from(&vk.params), 0).expect("keygen's DAG compiles")
}

/// Everything that one summed evaluation binds.
struct Inputs<T> {
    tile: DeviceBuffer<T>,
    stride: usize,
    constants: DeviceBuffer<F>,
    weights: DeviceBuffer<EF>,
    eq: DeviceBuffer<EF>,
    partials: DeviceBuffer<EF>,
    sums: DeviceBuffer<EF>,
}

impl<T: Element> Inputs<T> {
    /// `rows` row weights over tiles of `tile_rows` rows.
    fn new(gpu: &Gpu, evaluator: &AirEvaluator, program: &DeviceProgram, shape: [usize; 3], value: T) -> Self {
        let [rows, points, stride] = shape;
        let columns = program.layout().num_columns();
        let ext = |len| gpu.upload(&vec![EF::TWO; len], "bench").expect("memory");
        Self {
            tile: gpu.upload(&vec![value; columns * stride], "tile").expect("memory"),
            stride,
            constants: evaluator.constants(gpu, &[]).expect("no public values"),
            weights: ext(evaluator.num_constraints()),
            eq: ext(rows),
            partials: gpu.alloc(program.partials_len(rows * points, points), "partials").expect("memory"),
            sums: ext(points),
        }
    }

    fn run(&self, gpu: &Gpu, program: &DeviceProgram, rows: usize, points: usize) {
        let mut rec = gpu.recorder("bench");
        let evaluation = SumEvaluation {
            tile: &self.tile,
            stride: self.stride,
            rows,
            points,
            last: false,
            constants: &self.constants,
            weights: &self.weights,
            eq: &self.eq,
            eq_offset: 0,
            partials: &self.partials,
            sums: &self.sums,
            sums_offset: 0,
        };
        program.add_sums(&mut rec, &evaluation);
        rec.wait().expect("the device works");
    }
}

fn evaluators(c: &mut Criterion) {
    let gpu = support::gpu();
    let software = gpu.capabilities().software;
    let sizes = if software { Sizes { round0_rows: 64, lines: 32 } } else { Sizes { round0_rows: 2048, lines: 1024 } };
    let programs = keccak();
    let mut group = c.benchmark_group("constraints/keccak");
    group.sample_size(10);
    for policy in [EvaluatorPolicy::Interpreter, EvaluatorPolicy::Generated] {
        if software && policy == EvaluatorPolicy::Generated {
            eprintln!("software adapter: generated kernels are not compiled");
            continue;
        }
        let Sizes { round0_rows, lines } = sizes;
        let nodes = |program: &DeviceProgram, evaluations: usize| {
            Throughput::Elements((program.program().num_operations() * evaluations) as u64)
        };
        let evaluator = AirEvaluator::new(&gpu, &programs, policy, "keccak").expect("compiles");

        let program = &evaluator.round0_zerocheck;
        let shape = [round0_rows, ROUND0_POINTS, round0_rows * ROUND0_POINTS];
        let inputs = Inputs::new(&gpu, &evaluator, program, shape, F::TWO);
        group.throughput(nodes(program, round0_rows * ROUND0_POINTS));
        group.bench_function(format!("round 0/{policy:?}"), |b| {
            b.iter(|| inputs.run(&gpu, program, round0_rows, ROUND0_POINTS))
        });

        let program = &evaluator.mle_zerocheck;
        let inputs = Inputs::new(&gpu, &evaluator, program, [lines, LINE_POINTS, 2 * lines], EF::TWO);
        for lines in [lines, lines / 8, 1] {
            group.throughput(nodes(program, lines * LINE_POINTS));
            group.bench_function(format!("MLE round, {lines} lines/{policy:?}"), |b| {
                b.iter(|| inputs.run(&gpu, program, lines, LINE_POINTS))
            });
        }
    }
    group.finish();
}

criterion_group!(benches, evaluators);
criterion_main!(benches);
