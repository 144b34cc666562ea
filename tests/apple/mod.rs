//! What the dispatches of keccak 10 and many 17 would take on Apple GPUs: a model, by the instructions and the memory that their Metal text takes.
//!
//! Nothing but the transcript is computed here. The proofs are of traces of zeros, whose values are whatever memory holds, which changes no
//! dispatch: which ones there are, and how long they take, depends on the AIR, the parameters and the sizes alone. Of each dispatch
//! some workgroups run as Metal text in price mode (see the crate metal-on-cpu).

pub mod chip;
pub mod estimator;
pub mod tables;

use std::sync::{Arc, OnceLock};

use openvm_stark_backend::{
    prover::{AirProvingContext, ColMajorMatrix, ProvingContext},
    StarkEngine,
};
use openvm_stark_sdk::config::{app_params_with_100_bits_security, baby_bear_poseidon2::F};
use openvm_wgpu_backend::{
    internals::gpu::{Gpu, GpuOptions},
    options::EvaluatorPolicy,
    WgpuDeviceBuilder,
};
use p3_field::PrimeCharacteristicRing;

use openvm_wgpu_testing::{
    parity::prove_on,
    workloads::{Workload, WorkloadKind},
};

use self::estimator::{Estimator, Sampled};
use crate::device::Engine;

/// The dispatches of a proof of 1,024 keccak-f permutations under the application's parameters.
pub fn keccak_10() -> &'static [Sampled] {
    static DISPATCHES: OnceLock<Vec<Sampled>> = OnceLock::new();
    DISPATCHES.get_or_init(|| record(Workload { kind: WorkloadKind::Keccak, log_n: 10 }))
}

/// The dispatches of a proof of 42 AIRs, the highest of 2^17 rows, under the same parameters.
pub fn many_17() -> Vec<Sampled> {
    record(Workload { kind: WorkloadKind::Many, log_n: 17 })
}

fn record(workload: Workload) -> Vec<Sampled> {
    let machine = Arc::new(Estimator::default());
    let options = GpuOptions { machine: Some(machine.clone()), ..GpuOptions::default() };
    let gpu = Gpu::new(&options).expect("the machine opens");
    // the machine runs a part of each dispatch, so that no proof would verify
    let builder = WgpuDeviceBuilder::new().evaluator(EvaluatorPolicy::Interpreter).verify_before_return(false);
    let device = builder.build_on(gpu, app_params_with_100_bits_security(21)).expect("parameters in range");
    let engine = Engine::from_device(device);
    let (pk, _) = engine.keygen(&workload.airs());
    let trace = |(air, rows): (usize, usize)| {
        let columns = pk.per_air[air].vk.params.width.common_main;
        (air, AirProvingContext::simple_no_pis(ColMajorMatrix::new(F::zero_vec(rows * columns), columns)))
    };
    let ctx = ProvingContext::new(workload.heights().into_iter().enumerate().map(trace).collect());
    prove_on(&engine, &pk, &ctx).expect("zeros go through");
    machine.take()
}

/// The prover's spans, in order, each with the first kernel of it; peers' times are of `openvm-metal-backend` (see `docs/performance.md`).
pub const STAGES: [Stage; 6] = [
    Stage { name: "main_trace_commit: rs_code_matrix, rows", begins: |_| true, peer_ms: Some(660.0) },
    Stage { name: "main_trace_commit: merkle_tree", begins: |k| k == "merkle/bundle.wgsl", peer_ms: Some(244.0) },
    Stage {
        name: "rap_constraints.round0",
        begins: |k| !k.starts_with("merkle/") && k != SEQUENCE,
        peer_ms: Some(928.0),
    },
    Stage { name: "rap_constraints.mle_rounds", begins: |k| k == "rap/begin_rounds.wgsl", peer_ms: Some(162.0) },
    Stage { name: "openings.stacked_reduction", begins: |k| k.starts_with("stacked_reduction/"), peer_ms: Some(102.0) },
    Stage { name: "openings.whir", begins: |k| k == "openings/u_cube.wgsl", peer_ms: Some(323.0) },
];

/// The counter of submissions.
const SEQUENCE: &str = "sequence.wgsl";

/// A span of the prover.
pub struct Stage {
    pub name: &'static str,
    begins: fn(&str) -> bool,
    pub peer_ms: Option<f64>,
}

/// The dispatches of each stage. Codewords that are made ahead, after the MLE rounds, count for WHIR, which opens them.
pub fn by_stage(dispatches: &[Sampled]) -> [Vec<&Sampled>; STAGES.len()] {
    let mut stages = [const { vec![] }; STAGES.len()];
    let (mut stage, last) = (0, STAGES.len() - 1);
    for dispatch in dispatches {
        if STAGES.get(stage + 1).is_some_and(|next| (next.begins)(&dispatch.kernel)) {
            stage += 1;
        }
        let ahead = STAGES[stage].name.ends_with("mle_rounds") && dispatch.kernel.starts_with("ntt/");
        stages[if ahead { last } else { stage }].push(dispatch);
    }
    assert_eq!(stage, last, "a stage without its first kernel: {}", STAGES[(stage + 1).min(last)].name);
    stages
}
