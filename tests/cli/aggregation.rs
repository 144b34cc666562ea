//! One proof of it all: upstream's keys of the aggregation, runs that are killed between its levels, files both ways.

use std::fs;

use openvm_circuit::arch::instructions::exe::VmExe;
use openvm_continuations::CommitBytes;
use openvm_sdk::{
    config::AggregationSystemParams,
    fs::{read_from_file_json, read_object_from_file, write_object_to_file},
    keygen::{AggProvingKey, AppProvingKey},
    types::{AppExecutionCommit, VerificationBaselineJson, VersionedVmStarkProof},
    F, SC,
};
use openvm_stark_backend::keygen::types::MultiStarkVerifyingKey;
use openvm_verify_stark_host::VmStarkProof;

use super::{
    resume::{damage, halve, kill, parts, until},
    *,
};

/// Upstream's keys for the project's app key. The parameters are small, since each run commits to
/// the keys of all levels.
fn keys(project: &Project) -> (AppProvingKey<SdkVmConfig>, AggProvingKey, MultiStarkVerifyingKey<SC>) {
    let params = AggregationSystemParams {
        leaf: SmallParams { log_blowup: 2, max_constraint_degree: 4, ..SmallParams::new(4, 13) }.build(),
        internal: SmallParams { log_blowup: 3, max_constraint_degree: 4, ..SmallParams::new(2, 14) }.build(),
    };
    let app_pk: AppProvingKey<SdkVmConfig> = read_object_from_file(project.path("openvm/app.pk")).unwrap();
    let sdk = CpuSdk::builder().app_pk(app_pk.clone()).agg_params(params).build().unwrap();
    let (pk, vk) = sdk.agg_keygen();
    (app_pk, pk, vk)
}

/// The options that name the keys.
const KEYS: [&str; 4] = ["--agg-prefix-pk", "stark/agg_prefix.pk", "--agg-pk", "stark/internal_recursive.pk"];

/// What is there when each stage has ended: a segment with its public values, the leaf above it, and the node above that.
const STAGES: [usize; 3] = [2, 3, 4];

#[test]
fn an_aggregation_that_is_killed_after_each_stage_goes_on_and_upstream_verifies_it() {
    let (project, _turn) = (&*PROJECT, turn());
    let out = project.out("stark", 1);
    let (app_pk, pk, vk) = keys(project);
    write_object_to_file(out.join("agg_prefix.pk"), &pk.prefix).unwrap();
    write_object_to_file(out.join("internal_recursive.pk"), &pk.internal_recursive).unwrap();
    write_object_to_file(out.join("internal_recursive.vk"), &vk).unwrap();
    let mut args = prove_args("stark", &out);
    args.extend(KEYS.map(String::from));
    let mut before = parts(&out);
    for count in STAGES {
        let (status, said) = until(project, &args, &out, count, kill);
        let now = parts(&out);
        assert!(!status.success() && now.len() >= count, "it ended before it was killed: {said}");
        assert!(before.iter().all(|(path, written)| now.get(path) == Some(written)), "{before:?}, {now:?}: {said}");
        // of segments, the public values stand behind the last one
        assert_eq!(said.matches("was there").count(), before.len().saturating_sub(1), "{said}");
        before = now;
    }
    // the last one, which no other was made from, is made again
    let last = before.iter().max_by_key(|(_, written)| **written).unwrap();
    damage(last.0);
    let said = project.ok(&refs(&args));
    assert_eq!(said["kept"], before.len() - 1, "{said}");
    assert!(!out.join("guest.parts").exists());
    upstream_verifies(project, &out, &said);
    upstream_knows_it_by_the_same(project, app_pk, pk);
    wrong_files_are_told(project, &out);
}

/// `commit` writes what upstream's does.
fn upstream_knows_it_by_the_same(project: &Project, app_pk: AppProvingKey<SdkVmConfig>, agg_pk: AggProvingKey) {
    let said = project.ok(&[&["commit", "--output-dir", "stark/commit"][..], &KEYS].concat());
    let sdk = CpuSdk::builder().app_pk(app_pk).agg_pk(agg_pk).build().unwrap();
    let exe: VmExe<F> = read_object_from_file(project.path("openvm/release/guest.vmexe")).unwrap();
    let prover = sdk.prover(exe).unwrap();
    let baseline = prover.generate_baseline();
    let (exe_commit, vm_commit) =
        (CommitBytes::from(baseline.app_exe_commit), CommitBytes::from(prover.app_vm_commit()));
    assert!(said["exe_commit"] == exe_commit.to_string() && said["vm_commit"] == vm_commit.to_string(), "{said}");
    let baseline = serde_json::to_value(VerificationBaselineJson::from(baseline)).unwrap();
    for folder in ["openvm/release", "stark/commit"] {
        let path = |name: &str| project.path(folder).join(name);
        let commit: AppExecutionCommit = read_from_file_json(path("guest.commit.json")).unwrap();
        assert!(commit.app_exe_commit == exe_commit && commit.app_vm_commit == vm_commit);
        let ours: VerificationBaselineJson = read_from_file_json(path("guest.baseline.json")).unwrap();
        assert_eq!(serde_json::to_value(ours).unwrap(), baseline);
    }
}

/// With upstream's own readers.
fn upstream_verifies(project: &Project, out: &Path, said: &Value) {
    let vk: MultiStarkVerifyingKey<SC> = read_object_from_file(out.join("internal_recursive.vk")).unwrap();
    let baseline: VerificationBaselineJson =
        read_from_file_json(project.path("openvm/release/guest.baseline.json")).unwrap();
    assert_eq!(said["exe_commit"], baseline.app_exe_commit.to_string());
    let proof: VersionedVmStarkProof = read_from_file_json(out.join("guest.stark.proof")).unwrap();
    CpuSdk::verify_proof(vk, baseline.into(), &VmStarkProof::try_from(proof).unwrap()).unwrap();
    let verified = verify(project, "stark/guest.stark.proof", &[]);
    assert_eq!(verified["public_values"], said["public_values"]);
}

fn verify(project: &Project, proof: &str, more: &[&str]) -> Value {
    let args = ["verify", "stark", "--agg-vk", "stark/internal_recursive.vk", "--proof", proof];
    project.ok(&[&args[..], more].concat())
}

/// Another program's baseline, half a proof, keys of another app and of another level.
fn wrong_files_are_told(project: &Project, out: &Path) {
    let baseline = fs::read_to_string(project.path("openvm/release/guest.baseline.json")).unwrap();
    let mut baseline: Value = serde_json::from_str(&baseline).unwrap();
    baseline["app_exe_commit"] = baseline["app_vk_commit"]["vk_pre_hash"].clone();
    fs::write(out.join("other.baseline.json"), baseline.to_string()).unwrap();
    let args = ["verify", "stark", "--agg-vk", "stark/internal_recursive.vk", "--proof"];
    let fails = |more: &[&str]| project.fails(&[&args[..], more].concat());
    let (code, line) = fails(&["stark/guest.stark.proof", "--app-baseline", "stark/other.baseline.json"]);
    assert!(code == 1 && line.contains("is rejected"), "{code}: {line}");
    fs::copy(out.join("guest.stark.proof"), out.join("half.stark.proof")).unwrap();
    halve(&out.join("half.stark.proof"));
    let (code, line) = fails(&["stark/half.stark.proof"]);
    assert!(code == 2 && line.contains("only a part of one"), "{code}: {line}");
    let (code, line) =
        project.fails(&["verify", "stark", "--agg-vk", "openvm/app.vk", "--proof", "stark/guest.stark.proof"]);
    assert!(code == 1 || code == 2, "{code}: {line}");
    let wrong = ["prove", "stark", "--exe", "guest.elf", "--agg-prefix-pk", "stark/internal_recursive.pk"];
    let (code, line) = project.fails(&wrong);
    assert!(code == 2 && line.contains("keygen"), "{code}: {line}");
}
