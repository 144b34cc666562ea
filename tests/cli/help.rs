//! Help, completions, the manual page, and what the program says when all is well.

use super::*;

#[test]
fn help_has_examples_and_exit_codes() {
    let project = &*PROJECT;
    let help = text(&project.run(&["--help"]).stdout);
    for expected in ["Examples:", "Exit codes:", "doctor", "prove app", "verify"] {
        assert!(help.contains(expected), "{expected} is not in {help}");
    }
    let commands = ["doctor", "keygen", "setup", "commit", "execute", "run", "meter", "bench", "report", "completions"];
    let proofs = ["prove app", "prove stark", "verify app", "verify stark"];
    for command in commands.into_iter().chain(proofs) {
        let args: Vec<_> = command.split(' ').chain(["--help"]).collect();
        let help = text(&project.run(&args).stdout);
        assert!(help.contains("Examples:\n  openvm-wgpu ") && help.contains("--json"), "{command}: {help}");
    }
    let shown = project.run(&[]);
    assert_eq!(shown.status.code(), Some(2));
}

#[test]
fn completions_and_manual_are_made_from_the_options() {
    let project = &*PROJECT;
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let output = project.run(&["completions", shell]);
        assert!(output.status.success() && text(&output.stdout).contains("segment-max-memory"), "{shell}");
    }
    let page = text(&project.run(&["man"]).stdout);
    assert!(page.contains(".TH") && page.contains("segment\\-max\\-memory"), "{page}");
    assert_eq!(project.ok(&["man"])["text"], page);
    assert!(project.ok(&["completions", "zsh"])["text"].as_str().unwrap().contains("#compdef openvm-wgpu"));
}

#[test]
fn the_doctor_proves() {
    let (project, _turn) = (&*PROJECT, turn());
    let said = project.ok(&["doctor"]);
    assert!(said["self_test"]["verified"] == true && !said["adapters"].as_array().unwrap().is_empty(), "{said}");
    let (code, line) = project.fails(&["doctor", "--adapter", "no such card"]);
    assert!(code == 4 && line.contains("no such card") && line.contains("doctor"), "{code}: {line}");
}
