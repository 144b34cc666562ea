//! Results as bytes, and what they have to be to count.

use std::sync::Arc;

use openvm_circuit::arch::{hasher::poseidon2::vm_poseidon2_hasher, ContinuationVmProof};
use openvm_stark_backend::{
    codec::{Decode, Encode},
    p3_field::PrimeCharacteristicRing,
    proof::Proof,
    StarkEngine,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{
    BabyBearPoseidon2Config, BabyBearPoseidon2CpuEngine, Digest, DuplexSponge, F,
};
use openvm_verify_stark_host::VmStarkProof;

use super::JobKeys;
use crate::{
    error::caught,
    fleet::{State, Statement, Task, TaskKind, TaskResult, Verifier},
    openvm::tasks::{of_node, of_segment, Made, PublicValues},
    WgpuDevice,
};

type SC = BabyBearPoseidon2Config;

impl Made {
    /// The proof, then a byte that says whether public values follow.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![];
        let written = self.proof.encode(&mut bytes).and_then(|()| {
            bytes.push(u8::from(self.public_values.is_some()));
            self.public_values.iter().try_for_each(|values| values.encode::<SC, _>(&mut bytes))
        });
        written.expect("memory can be written");
        bytes
    }

    pub(super) fn from_bytes(mut bytes: &[u8]) -> Result<Self, String> {
        let read = |bytes: &mut &[u8]| {
            let proof = Proof::<SC>::decode(bytes)?;
            let public_values = match u8::decode(bytes)? {
                0 => None,
                1 => Some(PublicValues::decode::<SC, _>(bytes)?),
                _ => return Err(std::io::Error::other("neither with public values nor without")),
            };
            Ok(Self { proof, public_values })
        };
        let made = caught(|| read(&mut bytes))?.map_err(|error| format!("no proof: {error}"))?;
        match bytes.is_empty() {
            true => Ok(made),
            false => Err("no proof: something follows".into()),
        }
    }
}

/// Verifies results of a job's tasks: proofs, under their keys, of this program.
pub struct JobVerifier {
    pub(super) keys: Arc<JobKeys>,
    pub(super) device: WgpuDevice,
    /// The commitment to the program.
    pub(super) program: Digest,
}

impl Verifier for JobVerifier {
    fn verify(&self, task: &Task, result: &TaskResult) -> Result<Statement, String> {
        let made = Made::from_bytes(result)?;
        // upstream's verifiers panic at some of what is no proof
        caught(|| self.check(task, &made))?
    }
}

impl JobVerifier {
    fn check(&self, task: &Task, made: &Made) -> Result<Statement, String> {
        let stated = match task.kind {
            TaskKind::Segment => {
                let vk = &self.keys.app_vk().vk;
                let engine = BabyBearPoseidon2CpuEngine::<DuplexSponge>::new(vk.inner.params.clone());
                engine.verify(vk, &made.proof).map_err(|error| error.to_string())?;
                of_segment(&made.proof)
            }
            kind => {
                let aggregation = self.keys.aggregation(&self.device).map_err(|error| error.to_string())?;
                aggregation.verify_node(kind, &made.proof)?;
                of_node(&made.proof)
            }
        };
        let (program, statement) = stated.ok_or("it has not the public values of a proof of its kind")?;
        if program != self.program {
            return Err("it is a proof of another program".into());
        }
        self.check_public_values(task, made, &statement.after)?;
        Ok(statement)
    }

    /// The last segment's result has the public values, opened in the memory with which the execution ends; no other has any.
    fn check_public_values(&self, task: &Task, made: &Made, end: &State) -> Result<(), String> {
        let is_last = task.segment.is_some_and(|segment| segment.place.segment + 1 == segment.place.segments);
        let values = match &made.public_values {
            None if !is_last => return Ok(()),
            Some(values) if is_last => values,
            _ => return Err("public values belong to the last segment".into()),
        };
        let vk = self.keys.app_vk();
        if values.public_values.len() != vk.num_user_pvs {
            return Err(format!("{} public values of {}", values.public_values.len(), vk.num_user_pvs));
        }
        let verified = values.verify(&vm_poseidon2_hasher(), vk.memory_dimensions, end.root.map(F::from_u32));
        verified.map_err(|error| error.to_string())
    }
}

/// Results of all segments, in order, as upstream's proof; verified by nobody yet.
///
/// # Errors
///
/// What is no proof among them.
pub fn app_proof(segments: &[Vec<u8>]) -> Result<ContinuationVmProof<SC>, String> {
    let mut made: Vec<Made> = segments.iter().map(|bytes| Made::from_bytes(bytes)).collect::<Result<_, _>>()?;
    let user_public_values = made.last_mut().and_then(|last| last.public_values.take());
    let user_public_values = user_public_values.ok_or("the last segment has no public values")?;
    Ok(ContinuationVmProof { per_segment: made.into_iter().map(|made| made.proof).collect(), user_public_values })
}

/// The root's result with the last segment's as upstream's proof; verified by nobody yet.
///
/// # Errors
///
/// What is no proof.
pub fn stark_proof(root: &[u8], last_segment: &[u8]) -> Result<VmStarkProof, String> {
    let user_pvs_proof = Made::from_bytes(last_segment)?.public_values;
    let user_pvs_proof = user_pvs_proof.ok_or("the last segment has no public values")?;
    Ok(VmStarkProof { inner: Made::from_bytes(root)?.proof, user_pvs_proof, deferral_merkle_proofs: None })
}
