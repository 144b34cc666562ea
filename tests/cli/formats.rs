//! Upstream's own readers, those of its SDK, read what this program writes.

use openvm_circuit::arch::ContinuationVmProof;
use openvm_continuations::CommitBytes;
use openvm_sdk::{
    fs::{read_object_from_file, write_to_file_json},
    keygen::{AppProvingKey, AppVerifyingKey},
    prover::verify_app_proof,
    types::AppExecutionCommit,
    SC,
};
use openvm_sdk_config::SdkVmConfig;
use openvm_stark_sdk::config::baby_bear_poseidon2::BabyBearPoseidon2CpuEngine;

use super::*;

#[test]
fn upstream_reads_keys_and_proofs() {
    let (project, _turn) = (&*PROJECT, turn());
    let out = project.out("upstream-reads", 1);
    let said = project.ok(&refs(&prove_args("app", &out)));
    let pk: AppProvingKey<SdkVmConfig> = read_object_from_file(project.path("openvm/app.pk")).unwrap();
    let vk: AppVerifyingKey = read_object_from_file(project.path("openvm/app.vk")).unwrap();
    assert_eq!(pk.get_app_vk().vk.pre_hash, vk.vk.pre_hash);
    let proof: ContinuationVmProof<SC> = read_object_from_file(out.join("guest.app.proof")).unwrap();
    let commit = verify_app_proof::<BabyBearPoseidon2CpuEngine>(&vk, &proof).unwrap();
    assert_eq!(said["exe_commit"], CommitBytes::from(commit).to_string());
    assert_eq!(said["segments"], proof.per_segment.len());
    // the guest's public values, as an execution says
    let args = ["execute", "--config", "openvm.toml", "--input", "upstream-reads/input.json"];
    assert_eq!(said["public_values"], project.ok(&args)["public_values"]);
    // no parts are left
    assert!(!out.join("guest.parts").exists());
    // and this program, with the commitment in upstream's form and with another
    let commitment = |app_exe_commit| AppExecutionCommit { app_exe_commit, app_vm_commit: CommitBytes::from(commit) };
    write_to_file_json(out.join("right.commit.json"), commitment(CommitBytes::from(commit))).unwrap();
    let args = |commit| ["verify", "app", "--proof", "upstream-reads/guest.app.proof", "--app-commit", commit];
    assert_eq!(project.ok(&args("upstream-reads/right.commit.json"))["exe_commit"], said["exe_commit"]);
    let mut other = commit;
    other.rotate_left(1);
    write_to_file_json(out.join("wrong.commit.json"), commitment(CommitBytes::from(other))).unwrap();
    let (code, line) = project.fails(&args("upstream-reads/wrong.commit.json"));
    assert!(code == 1 && line.contains("it proves the program"), "{code}: {line}");
}
