//! What a thread does in a turn: mostly a proof.

use std::sync::{atomic::Ordering, OnceLock};

use eyre::{ensure, eyre, Result, WrapErr};
use openvm_stark_backend::{
    codec::Encode,
    keygen::types::{MultiStarkProvingKey, MultiStarkVerifyingKey},
    prover::{
        AirProvingContext, ColMajorMatrix, DeviceDataTransporter, DeviceMultiStarkProvingKey, ProvingContext,
        TraceCommitter,
    },
    test_utils::test_system_params_small,
    StarkEngine, SystemParams,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config as SC, F};
use openvm_wgpu_backend::{BabyBearPoseidon2WgpuEngine as Engine, Error, WgpuBackend, WgpuDeviceBuilder};
use p3_field::PrimeCharacteristicRing;
use rand::{rngs::StdRng, Rng, SeedableRng};

use super::{
    support::workloads::{seed_of_proof, Workload, WorkloadKind},
    watch::Counts,
};

pub type Proof = openvm_stark_backend::proof::Proof<SC>;

/// Inputs of each program.
const INPUTS: usize = 4;

/// Of no security, so that the host verifies as fast as the device proves.
pub fn params() -> SystemParams {
    test_system_params_small(2, 8, 3)
}

/// Two AIRs with a bus of every size, and forty.
pub fn programs(sizes: &[u64]) -> impl Iterator<Item = Workload> + '_ {
    let dummy = sizes.iter().map(|&log_n| Workload { kind: WorkloadKind::Dummy, log_n: log_n as usize });
    dummy.chain([Workload { kind: WorkloadKind::Many, log_n: 3 }])
}

/// A key and inputs.
pub struct Program {
    pk: MultiStarkProvingKey<SC>,
    vk: MultiStarkVerifyingKey<SC>,
    device_pk: DeviceMultiStarkProvingKey<WgpuBackend>,
    inputs: Vec<Input>,
    /// The first column of the first trace counts messages.
    has_bus: bool,
}

struct Input {
    traces: Vec<ColMajorMatrix<F>>,
    /// The proof of it, made first and compared ever after.
    proof: OnceLock<Vec<u8>>,
}

/// What is done with an input.
#[derive(Clone, Copy)]
pub enum Turn {
    Prove {
        input: usize,
    },
    /// A key of its own, which is dropped after the proof.
    NewKey {
        input: usize,
    },
    /// Messages that do not balance.
    Unbalanced {
        input: usize,
    },
    /// Traces that do not fit the key.
    Misfit {
        input: usize,
    },
    /// Traces are uploaded, and dropped.
    GiveUp {
        input: usize,
    },
    /// The commitment is made, and dropped.
    Commit {
        input: usize,
    },
}

/// The turns of a thread, from a seed.
pub struct Turns {
    rng: StdRng,
    trouble: u32,
}

impl Turns {
    pub fn new(seed: u64, number: usize, trouble: u32) -> Self {
        Self { rng: StdRng::seed_from_u64(seed_of_proof(seed, number)), trouble: trouble.max(1) }
    }

    /// The large one is one in sixteen.
    pub fn program(&mut self, programs: usize) -> usize {
        match self.rng.random_range(0..16) {
            0 => programs - 1,
            _ => self.rng.random_range(0..programs - 1),
        }
    }

    pub fn next_turn(&mut self) -> Turn {
        let input = self.rng.random_range(0..INPUTS);
        if self.rng.random_range(0..self.trouble) > 0 {
            return Turn::Prove { input };
        }
        match self.rng.random_range(0..5) {
            0 => Turn::NewKey { input },
            1 => Turn::Unbalanced { input },
            2 => Turn::Misfit { input },
            3 => Turn::GiveUp { input },
            _ => Turn::Commit { input },
        }
    }
}

impl Program {
    pub fn new(engine: &Engine, workload: Workload, seed: u64) -> Result<Self> {
        let (pk, vk) = engine.keygen(&workload.airs());
        let device_pk = engine.device().transport_pk_to_device(&pk);
        let input = |i| Input { traces: workload.traces(seed_of_proof(seed, i)), proof: OnceLock::new() };
        let has_bus = workload.kind == WorkloadKind::Dummy;
        let program = Self { pk, vk, device_pk, inputs: (0..INPUTS).map(input).collect(), has_bus };
        for input in &program.inputs {
            let proof = program.prove(engine, &program.device_pk, &input.traces)?;
            program.verify(engine, &proof)?;
            input.compare(&proof)?;
        }
        Ok(program)
    }

    /// A turn; the proof of one that makes any.
    pub fn take(&self, engine: &Engine, turn: Turn, counts: &Counts) -> Result<Option<Proof>> {
        match turn {
            Turn::Prove { input } => {
                let proof = self.compared(engine, &self.device_pk, input)?;
                counts.proofs.fetch_add(1, Ordering::Relaxed);
                return Ok(Some(proof));
            }
            Turn::NewKey { input } => {
                let key = engine.device().transport_pk_to_device(&self.pk);
                let proof = self.compared(engine, &key, input)?;
                counts.keys.fetch_add(1, Ordering::Relaxed);
                counts.proofs.fetch_add(1, Ordering::Relaxed);
                return Ok(Some(proof));
            }
            Turn::Unbalanced { input } => {
                let mut traces = self.inputs[input].traces.clone();
                // how often a message is sent, or a cell too many
                match self.has_bus {
                    true => traces[0].values[0] += F::ONE,
                    false => traces[0].values.push(F::ONE),
                }
                self.fails(engine, &traces, counts)?;
            }
            Turn::Misfit { input } => {
                let mut traces = self.inputs[input].traces.clone();
                traces[0].values.pop();
                self.fails(engine, &traces, counts)?;
            }
            Turn::GiveUp { input } => {
                let admission = engine.device().admit(1 << 20);
                drop((self.upload(engine, &self.inputs[input].traces), admission));
                counts.given_up.fetch_add(1, Ordering::Relaxed);
            }
            Turn::Commit { input } => {
                let traces = self.upload(engine, &self.inputs[input].traces).per_trace;
                let mut matrices: Vec<_> = traces.iter().map(|(_, trace)| &trace.common_main).collect();
                matrices.sort_by_key(|matrix| std::cmp::Reverse(matrix.height()));
                drop(engine.device().commit(&matrices).wrap_err("a commitment")?);
                counts.given_up.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(None)
    }

    pub fn verify(&self, engine: &Engine, proof: &Proof) -> Result<()> {
        engine.verify(&self.vk, proof).map_err(|error| eyre!("a proof does not verify: {error}"))
    }

    fn compared(&self, engine: &Engine, key: &DeviceMultiStarkProvingKey<WgpuBackend>, input: usize) -> Result<Proof> {
        let input = &self.inputs[input];
        let proof = self.prove(engine, key, &input.traces)?;
        input.compare(&proof)?;
        Ok(proof)
    }

    /// A proof that must not come to be, neither as one that verifies.
    fn fails(&self, engine: &Engine, traces: &[ColMajorMatrix<F>], counts: &Counts) -> Result<()> {
        match self.prove(engine, &self.device_pk, traces) {
            Err(Error::InvalidInput(_) | Error::UnbalancedInteractions | Error::Deferred(_)) => {}
            Err(error) => return Err(eyre!("another error than the one that was asked for: {error}")),
            Ok(proof) => ensure!(engine.verify(&self.vk, &proof).is_err(), "a false statement has a proof"),
        }
        counts.failures.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn prove(
        &self,
        engine: &Engine,
        key: &DeviceMultiStarkProvingKey<WgpuBackend>,
        traces: &[ColMajorMatrix<F>],
    ) -> Result<Proof, Error> {
        engine.prove(key, self.upload(engine, traces))
    }

    fn upload(&self, engine: &Engine, traces: &[ColMajorMatrix<F>]) -> ProvingContext<WgpuBackend> {
        let contexts = traces.iter().enumerate().map(|(air, trace)| {
            (air, AirProvingContext::simple_no_pis(engine.device().transport_matrix_to_device(trace)))
        });
        ProvingContext::new(contexts.collect())
    }
}

impl Input {
    fn compare(&self, proof: &Proof) -> Result<()> {
        let bytes = proof.encode_to_vec()?;
        ensure!(*self.proof.get_or_init(|| bytes.clone()) == bytes, "a proof differs from the first of its input");
        Ok(())
    }
}

/// A device beside the others: proves, and is lost or closed.
pub fn on_another_device(builder: WgpuDeviceBuilder, program: &Program, lose: bool) -> Result<()> {
    let engine = Engine::from_device(builder.build(params())?);
    let key = engine.device().transport_pk_to_device(&program.pk);
    for input in 0..INPUTS {
        program.compared(&engine, &key, input).wrap_err("on another device")?;
    }
    if lose {
        engine.device().gpu().lose();
        match program.prove(&engine, &key, &program.inputs[0].traces) {
            Err(Error::DeviceLost(_)) => {}
            Err(Error::Deferred(cause)) if matches!(*cause, Error::DeviceLost(_)) => {}
            Err(error) => return Err(eyre!("a lost device: {error}")),
            Ok(_) => return Err(eyre!("a lost device proves")),
        }
    }
    Ok(())
}
