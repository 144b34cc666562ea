//! One proof of it all: upstream's keys of the aggregation, a run that is killed between nodes, upstream's verifier.

use std::fs;

use openvm_sdk::{
    fs::{read_from_file_json, read_object_from_file, write_object_to_file},
    keygen::AppProvingKey,
    types::{VerificationBaselineJson, VersionedVmStarkProof},
    SC,
};
use openvm_stark_backend::keygen::types::MultiStarkVerifyingKey;
use openvm_verify_stark_host::VmStarkProof;

use super::{
    resume::{parts, until_parts},
    *,
};

/// Keys of an aggregation with small parameters, by upstream's SDK.
fn write_keys(project: &Project, out: &Path) {
    let params = AggregationSystemParams {
        leaf: SmallParams { log_blowup: 2, max_constraint_degree: 4, ..SmallParams::new(4, 17) }.build(),
        internal: SmallParams { log_blowup: 3, max_constraint_degree: 4, ..SmallParams::new(2, 17) }.build(),
    };
    let app_pk: AppProvingKey<SdkVmConfig> = read_object_from_file(project.path("openvm/app.pk")).unwrap();
    let sdk = CpuSdk::builder().app_pk(app_pk).agg_params(params).build().unwrap();
    let (pk, vk) = sdk.agg_keygen();
    write_object_to_file(out.join("agg_prefix.pk"), &pk.prefix).unwrap();
    write_object_to_file(out.join("internal_recursive.pk"), &pk.internal_recursive).unwrap();
    write_object_to_file(out.join("internal_recursive.vk"), &vk).unwrap();
}

#[test]
fn an_aggregation_that_is_killed_goes_on_and_upstream_verifies_it() {
    let (project, _turn) = (&*PROJECT, turn());
    let out = project.out("stark", 1);
    write_keys(project, &out);
    let file = |name: &str| out.join(name).display().to_string();
    let mut args = prove_args("stark", &out);
    args.extend([
        "--agg-prefix-pk".to_owned(),
        file("agg_prefix.pk"),
        "--agg-pk".to_owned(),
        file("internal_recursive.pk"),
    ]);
    // the segment, its public values and the leaf
    until_parts(project, &args, &out, 3, |child| child.kill().unwrap());
    let kept = parts(&out).len();
    assert!(kept >= 3, "{kept} parts");
    let said = project.ok(&refs(&args));
    assert!(said["kept"].as_u64().unwrap() as usize >= kept, "{said}");

    let vk: MultiStarkVerifyingKey<SC> = read_object_from_file(out.join("internal_recursive.vk")).unwrap();
    let baseline: VerificationBaselineJson =
        read_from_file_json(project.path("openvm/release/guest.baseline.json")).unwrap();
    assert_eq!(said["exe_commit"], baseline.app_exe_commit.to_string());
    let proof: VersionedVmStarkProof = read_from_file_json(out.join("guest.stark.proof")).unwrap();
    CpuSdk::verify_proof(vk, baseline.into(), &VmStarkProof::try_from(proof).unwrap()).unwrap();

    let vk = file("internal_recursive.vk");
    let proof = file("guest.stark.proof");
    let verified = project.ok(&["verify", "stark", "--agg-vk", &vk, "--proof", &proof]);
    assert_eq!(verified["public_values"], said["public_values"]);
    check_wrong(project, &out, &vk);
}

/// Another program's baseline, half a proof.
fn check_wrong(project: &Project, out: &Path, vk: &str) {
    let baseline = fs::read_to_string(project.path("openvm/release/guest.baseline.json")).unwrap();
    let mut baseline: Value = serde_json::from_str(&baseline).unwrap();
    baseline["app_exe_commit"] = baseline["app_vk_commit"]["vk_pre_hash"].clone();
    fs::write(out.join("other.baseline.json"), baseline.to_string()).unwrap();
    let proof = out.join("guest.stark.proof").display().to_string();
    let other = out.join("other.baseline.json").display().to_string();
    let (code, line) = project.fails(&["verify", "stark", "--agg-vk", vk, "--proof", &proof, "--app-baseline", &other]);
    assert!(code == 1 && line.contains("is rejected"), "{code}: {line}");
    let bytes = fs::read(&proof).unwrap();
    fs::write(out.join("half.stark.proof"), &bytes[..bytes.len() / 2]).unwrap();
    let half = out.join("half.stark.proof").display().to_string();
    let (code, line) = project.fails(&["verify", "stark", "--agg-vk", vk, "--proof", &half]);
    assert!(code == 2 && line.contains("only a part of one"), "{code}: {line}");
}
