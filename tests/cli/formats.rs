//! Either tool reads what the other wrote: upstream's own readers and writers are those of its SDK.

use std::fs;

use openvm_circuit::arch::ContinuationVmProof;
use openvm_continuations::CommitBytes;
use openvm_sdk::{
    config::AggregationSystemParams,
    fs::{read_object_from_file, write_object_to_file, write_to_file_json},
    keygen::{AppProvingKey, AppVerifyingKey},
    prover::verify_app_proof,
    types::AppExecutionCommit,
    CpuSdk, StdIn, SC,
};
use openvm_sdk_config::SdkVmConfig;
use openvm_stark_sdk::config::baby_bear_poseidon2::BabyBearPoseidon2CpuEngine;

use super::*;

fn stdin(rounds: u64) -> StdIn {
    let mut input = StdIn::default();
    input.write(&rounds);
    input.write_bytes(b"a message");
    input
}

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

#[test]
fn upstreams_keys_and_proofs_are_read() {
    let (project, _turn) = (&*PROJECT, turn());
    let out = project.out("upstream-writes", 1);
    let config = AppConfig::new(vm_config(), app_params());
    let sdk = CpuSdk::new(config, AggregationSystemParams::default()).unwrap();
    let (pk, vk) = sdk.app_keygen();
    write_object_to_file(out.join("app.pk"), &pk).unwrap();
    write_object_to_file(out.join("app.vk"), &vk).unwrap();
    let exe = sdk.convert_to_exe(decode_elf(ELF).unwrap()).unwrap();
    let proof = sdk.app_prover(exe).unwrap().prove(stdin(1)).unwrap();
    write_object_to_file(out.join("cpu.app.proof"), &proof).unwrap();
    let verify = ["verify", "app", "--app-vk", "upstream-writes/app.vk", "--proof"];
    let said = project.ok(&[&verify[..], &["upstream-writes/cpu.app.proof"]].concat());
    // upstream's key, this program's proof: of an ELF, whose program is the same
    let mut args = prove_args("app", &out);
    args.extend(["--app-pk", "upstream-writes/app.pk", "--exe", "guest.elf"].map(String::from));
    let proved = project.ok(&refs(&args));
    assert_eq!(proved["exe_commit"], said["exe_commit"]);
    assert_eq!(proved["public_values"], said["public_values"]);
    // a proof that was changed is rejected; half of one is not read
    let bytes = fs::read(out.join("guest.app.proof")).unwrap();
    fs::write(out.join("half.app.proof"), &bytes[..bytes.len() / 2]).unwrap();
    let (code, line) = project.fails(&[&verify[..], &["upstream-writes/half.app.proof"]].concat());
    assert!(code == 2 && line.contains("only a part of one"), "{code}: {line}");
    let mut changed = bytes;
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(out.join("changed.app.proof"), &changed).unwrap();
    let (code, _) = project.fails(&[&verify[..], &["upstream-writes/changed.app.proof"]].concat());
    assert!(code == 1 || code == 2);
}

#[test]
fn metering_says_what_is_proved() {
    let (project, _turn) = (&*PROJECT, turn());
    let out = project.out("meter", 40);
    let input = out.join("input.json").display().to_string();
    let said = project.ok(&["meter", "--budget", "512MiB,8GiB", "--input", &input]);
    let budgets = said["budgets"].as_array().unwrap();
    let [small, large] = [&budgets[1], &budgets[2]];
    assert!(said["instructions"].as_u64().unwrap() > 10_000);
    assert!(small["segments"].as_u64() > large["segments"].as_u64(), "{said}");
    assert!(small["device_bytes"].as_u64() < large["device_bytes"].as_u64(), "{said}");
    assert!(small["device_bytes"].as_u64() < Some(512 << 20), "{said}");
}
