//! Wrong input in every place: one line that says what is wrong and what to do.

use std::fs;

use super::*;

/// What is done with a wrong thing, the exit code, and what the line must have.
fn check(project: &Project, args: &[&str], code: i32, expected: &[&str]) {
    let (found, line) = project.fails(args);
    assert_eq!(found, code, "{args:?}: {line}");
    for expected in expected {
        assert!(line.contains(expected), "{args:?}: {expected} is not in: {line}");
    }
}

#[test]
fn options() {
    let project = &*PROJECT;
    check(project, &["prof"], 2, &["prof", "--help"]);
    check(project, &["prove", "app", "--parallel", "0"], 2, &["parallel", "--help"]);
    check(project, &["prove", "app", "--segment-max-memory", "4 bananas"], 2, &["bananas", "GiB"]);
    check(project, &["prove", "root"], 2, &["BN254", "cargo openvm prove evm", "RootProver"]);
    check(project, &["prove", "stark", "--num-children-leaf", "0"], 2, &["--num-children-leaf 0", "give 1 to"]);
    check(project, &["prove", "stark", "--num-children-internal", "99"], 2, &["internal 99", "give 2 to"]);
    check(project, &["prove", "app", "--metrics-listen", "localhost"], 2, &["--metrics-listen", "--help"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    check(project, &["prove", "app", "--metrics-listen", &address], 2, &[&address, "another --metrics-listen"]);
    check(project, &["prove", "app", "--gpus", "0,"], 2, &["--gpus <LIST>", "--help"]);
    check(project, &["prove", "app", "--gpus", "0", "--adapter", "a"], 2, &["--gpus <LIST>", "--adapter <NAME>"]);
    check(project, &["doctor", "--adapter", ""], 2, &["--adapter <NAME>", "--help"]);
    check(project, &["completions", "csh"], 2, &["csh", "zsh"]);
    check(project, &["keygen", "--manifest-path", "nowhere/Cargo.toml"], 2, &["nowhere/Cargo.toml", "not there"]);
    check(project, &["keygen", "--manifest-path", "openvm.toml"], 2, &["no Cargo.toml"]);
}

#[test]
fn what_only_upstreams_tool_has() {
    let project = &*PROJECT;
    check(project, &["build"], 2, &["no build", "cargo openvm build", "--exe"]);
    check(project, &["prove", "app", "--features", "std"], 2, &["no --features", "cargo openvm build", "--bin"]);
    check(project, &["prove", "stark", "-p", "guest"], 2, &["no -p", "cargo openvm build"]);
    check(project, &["prove", "app", "--config", "openvm.toml"], 2, &["no --config", "keygen --config"]);
    check(project, &["prove", "evm"], 2, &["no evm", "cargo openvm prove evm"]);
    check(project, &["setup", "--force"], 2, &["no --force", "always"]);
    check(project, &["setup", "--evm"], 2, &["no --evm", "cargo openvm setup --evm"]);
    check(project, &["run", "--mode", "meter"], 2, &["no --mode", "openvm-wgpu meter"]);
}

#[test]
fn what_cannot_be_measured() {
    let project = &*PROJECT;
    let bench = |args: &[&'static str]| [&["bench", "proofs"], args].concat();
    check(project, &bench(&["--log-perms", "40"]), 2, &["--log-perms 40", "--log-stacked-height"]);
    check(project, &bench(&["--log-stacked-height", "8", "--log-perms", "1"]), 2, &["--log-stacked-height 8", "WHIR"]);
    check(project, &bench(&["--records", "guest.elf/x"]), 2, &["cannot write guest.elf/x"]);
    check(project, &bench(&["--baseline", "none"]), 2, &["cannot read none"]);
    check(project, &bench(&["--adapter", "no such card"]), 4, &["no such card", "doctor"]);
    check(project, &["bench", "compare", "--peer", "none/peer"], 2, &["none/peer", "leave --peer out"]);
    check(project, &["bench", "compare", "--job", "dummy:5"], 2, &["NAME:N:HEIGHT:PROOFS"]);
    check(project, &["bench", "compare", "--no-run", "--out", "none"], 2, &["cannot read none"]);
    let unknown = ["bench", "compare", "--job", "none:5:15:1", "--out", "compared"];
    check(project, &unknown, 2, &["none 5", "keccak", "--help"]);
}

#[test]
fn an_empty_folder() {
    let project = &*PROJECT;
    let empty = project.path("empty");
    fs::create_dir_all(&empty).unwrap();
    let empty = Project { folder: empty };
    check(&empty, &["prove", "app"], 2, &["no guest in", "cargo openvm build", "--exe"]);
    check(&empty, &["prove", "app", "--exe", "../guest.elf"], 2, &["no app proving key at", "keygen"]);
    check(&empty, &["execute"], 2, &["no guest in", "--exe"]);
    check(&empty, &["meter"], 2, &["no guest in", "--exe"]);
    check(&empty, &["commit"], 2, &["no guest in", "--exe"]);
    check(&empty, &["verify", "app"], 2, &["no app verifying key at", "keygen"]);
    check(&empty, &["verify", "stark"], 2, &["internal_recursive.vk", "setup"]);
    check(&empty, &["keygen", "--config", "openvm.toml"], 2, &["no VM configuration at openvm.toml", "--config"]);
}

#[test]
fn files_that_are_something_else() {
    let project = &*PROJECT;
    let write = |name: &str, bytes: &[u8]| fs::write(project.path(name), bytes).unwrap();
    write("wrong.toml", b"[app_vm_config.rv32i]\n[app_vm_config.system.config]\nnum_public_values = \"many\"\n");
    check(project, &["keygen", "--config", "wrong.toml"], 2, &["wrong.toml, line 3", "many"]);
    write("broken.toml", b"[app_vm_config\n");
    check(project, &["execute", "--config", "broken.toml"], 2, &["broken.toml, line 1"]);
    let pk = fs::read(project.path("openvm/app.pk")).unwrap();
    write("half.pk", &pk[..pk.len() / 2]);
    check(project, &["prove", "app", "--app-pk", "half.pk"], 2, &["half.pk is no app proving key", "keygen"]);
    check(project, &["prove", "app", "--app-pk", "openvm"], 2, &["openvm is a folder", "keygen"]);
    let vk = fs::read(project.path("openvm/app.vk")).unwrap();
    write("half.vk", &vk[..vk.len() / 2]);
    check(project, &["verify", "app", "--app-vk", "half.vk"], 2, &["half.vk is no app verifying key", "keygen"]);
    check(project, &["verify", "app", "--proof", "guest.elf"], 2, &["guest.elf is no app proof"]);
    check(project, &["verify", "app", "--proof", "none"], 2, &["no app proof at none", "prove app"]);
    write("script.sh", b"#!/bin/sh\n");
    check(project, &["execute", "--config", "openvm.toml", "--exe", "script.sh"], 2, &["script.sh is no guest"]);
    write("half.elf", &ELF[..ELF.len() / 2]);
    check(project, &["execute", "--config", "openvm.toml", "--exe", "half.elf"], 2, &["half.elf", "ELF"]);
    check(project, &["prove", "app", "--proof", "openvm"], 2, &["openvm", "folder"]);
    check(project, &["prove", "app", "--proof", "guest.elf/x.proof"], 2, &["guest.elf"]);
    check(project, &["report", "openvm.toml"], 2, &["openvm.toml is no record"]);
}

#[test]
fn guests_and_their_input() {
    let (project, _turn) = (&*PROJECT, turn());
    let out = project.out("wrong-input", 0);
    let run = ["execute", "--config", "openvm.toml", "--input"];
    let of = |input: &'static str| [&run[..], &[input]].concat();
    check(project, &of("zz"), 2, &["--input zz", "hexadecimal"]);
    check(project, &of("03aa"), 2, &["01 (bytes) or 02"]);
    check(project, &of("openvm.toml"), 2, &["openvm.toml is no JSON input"]);
    fs::write(out.join("other.json"), r#"{"inputs": []}"#).unwrap();
    check(project, &of("wrong-input/other.json"), 2, &["no array `input`"]);
    // no rounds: the guest panics
    check(project, &of("wrong-input/input.json"), 3, &["exit code 1", "--input"]);
    check(project, &run[..3], 3, &["the guest failed", "--input"]);
    check(project, &refs(&prove_args("app", &out)), 3, &["exit code 1", "--input"]);
    // a VM without the guest's extension
    fs::write(project.path("plain.toml"), "[app_vm_config.rv32i]\n[app_vm_config.rv32m]\n[app_vm_config.io]\n")
        .unwrap();
    check(
        project,
        &["execute", "--config", "plain.toml", "--exe", "guest.elf"],
        3,
        &["openvm.toml", "lacks", "keygen"],
    );
    // less memory than a proof needs
    fs::write(out.join("input.json"), input(1)).unwrap();
    let mut args = prove_args("app", &out);
    args.extend(["--memory-budget".to_owned(), "96MiB".to_owned()]);
    check(project, &refs(&args), 4, &["budget", "--memory-budget"]);
}
