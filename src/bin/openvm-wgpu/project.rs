//! Where upstream's `cargo openvm` keeps what belongs to a project.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::Args;
use serde_json::Value;

use crate::failure::{Failure, Result};

pub const CONFIG: &str = "openvm.toml";
pub const APP_PK: &str = "app.pk";
pub const APP_VK: &str = "app.vk";
pub const AGG_PREFIX_PK: &str = "agg_prefix.pk";
pub const EXE: &str = "vmexe";
pub const APP_PROOF: &str = "app.proof";
pub const STARK_PROOF: &str = "stark.proof";
pub const COMMIT: &str = "commit.json";
pub const BASELINE: &str = "baseline.json";

/// Which project, and which of its programs.
#[derive(Args, Clone, Debug, Default)]
pub struct ProjectArgs {
    /// Path to the Cargo.toml file, by default that of the current or a parent directory
    #[arg(long, value_name = "PATH", help_heading = "Project")]
    pub manifest_path: Option<PathBuf>,
    /// Cargo's target directory; keys and programs are in `openvm` beside it
    #[arg(long, value_name = "DIR", help_heading = "Project")]
    pub target_dir: Option<PathBuf>,
    /// The profile that the guest was built with
    #[arg(long, value_name = "NAME", default_value = "release", help_heading = "Project")]
    pub profile: String,
    /// The guest's binary, if there are several
    #[arg(long, value_name = "BIN", help_heading = "Project")]
    pub bin: Option<String>,
    /// The guest is an example of the project
    #[arg(long, value_name = "EXAMPLE", conflicts_with = "bin", help_heading = "Project")]
    pub example: Option<String>,
}

/// A project's folders.
#[derive(Clone, Debug)]
pub struct Project {
    /// Where openvm.toml is; the current folder where there is no Cargo.toml.
    pub folder: PathBuf,
    /// Where keys are.
    pub openvm: PathBuf,
    /// Where programs and commitments are.
    pub programs: PathBuf,
    target: Option<PathBuf>,
}

impl ProjectArgs {
    /// Finds the folders.
    pub fn find(&self) -> Result<Project> {
        let manifest = match &self.manifest_path {
            Some(path) if path.file_name() != Some(OsStr::new("Cargo.toml")) => {
                return Err(Failure::usage(format!("--manifest-path {} is no Cargo.toml", path.display())));
            }
            Some(path) if !path.is_file() => {
                return Err(Failure::usage(format!("--manifest-path {} is not there", path.display())));
            }
            Some(path) => Some(path.clone()),
            None => manifest_above(),
        };
        let folder = manifest.as_deref().and_then(Path::parent).map(Path::to_path_buf).unwrap_or_default();
        let target = self.target_dir.clone().or_else(|| manifest.as_deref().map(target_folder));
        // upstream's: beside the target folder
        let beside = target.as_deref().and_then(Path::parent).unwrap_or(&folder);
        let openvm = beside.join("openvm");
        let target = self.bin.as_ref().map(PathBuf::from);
        let target = target.or_else(|| self.example.as_ref().map(|example| Path::new("examples").join(example)));
        Ok(Project { programs: openvm.join(&self.profile), folder, openvm, target })
    }
}

impl Project {
    /// A key's file: the one named, else the project's.
    pub fn key(&self, named: &Option<PathBuf>, name: &str) -> PathBuf {
        named.clone().unwrap_or_else(|| self.openvm.join(name))
    }

    /// The program: the one named, else the only one of the project.
    pub fn program(&self, named: &Option<PathBuf>) -> Result<PathBuf> {
        if let Some(path) = named {
            return Ok(path.clone());
        }
        if let Some(target) = &self.target {
            return Ok(self.programs.join(target).with_extension(EXE));
        }
        let advice = "build the guest with `cargo openvm build`, or name one with --exe";
        match &files_with(&self.programs, EXE)[..] {
            [one] => Ok(one.clone()),
            [] => Err(Failure::usage(format!("no guest in {}; {advice}", self.programs.display()))),
            _ => Err(Failure::usage(format!("several guests in {}; choose with --bin", self.programs.display()))),
        }
    }

    /// A commitment's file of the program at `exe`.
    pub fn commitment(&self, exe: &Path, extension: &str) -> PathBuf {
        let stem = self.target.clone().unwrap_or_else(|| exe.file_stem().unwrap_or_default().into());
        self.programs.join(stem).with_extension(extension)
    }

    /// A commitment's file where no program is named: of the chosen target, else the only one there is.
    pub fn only_commitment(&self, extension: &str, option: &str) -> Result<PathBuf> {
        if let Some(target) = &self.target {
            return Ok(self.programs.join(target).with_extension(extension));
        }
        match &files_with(&self.programs, extension)[..] {
            [one] => Ok(one.clone()),
            found => Err(Failure::usage(format!(
                "{} files .{extension} in {}; {}name one with {option}",
                if found.is_empty() { "no" } else { "several" },
                self.programs.display(),
                if found.is_empty() { "make it with `openvm-wgpu commit`, or " } else { "" }
            ))),
        }
    }
}

/// The proof: the one named, else the only one in the current folder.
pub fn find_proof(named: &Option<PathBuf>, extension: &str) -> Result<PathBuf> {
    if let Some(path) = named {
        return Ok(path.clone());
    }
    match &files_with(Path::new("."), extension)[..] {
        [one] => Ok(one.clone()),
        [] => Err(Failure::usage(format!("no .{extension} file here; name one with --proof"))),
        _ => Err(Failure::usage(format!("several .{extension} files here; name one with --proof"))),
    }
}

/// Upstream's folder of keys that belong to no project.
pub fn home(name: &str) -> Result<PathBuf> {
    let home = std::env::var_os("HOME").or_else(|| std::env::var_os("USERPROFILE"));
    let home = home.ok_or_else(|| Failure::usage("HOME is not set; name the key's file with --agg-pk or --agg-vk"))?;
    Ok(Path::new(&home).join(".openvm").join(name))
}

fn files_with(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let suffix = format!(".{extension}");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<_> =
        entries.filter(|path| path.is_file() && path.to_string_lossy().ends_with(&suffix)).collect();
    found.sort();
    found
}

fn manifest_above() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    here.ancestors().map(|folder| folder.join("Cargo.toml")).find(|path| path.is_file())
}

/// As cargo says it, or where it is by default.
fn target_folder(manifest: &Path) -> PathBuf {
    let metadata = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
        .arg(manifest)
        .stderr(Stdio::null())
        .output();
    let metadata = metadata.ok().and_then(|output| serde_json::from_slice::<Value>(&output.stdout).ok());
    let folder = metadata.and_then(|metadata| Some(PathBuf::from(metadata.get("target_directory")?.as_str()?)));
    folder.unwrap_or_else(|| manifest.with_file_name("target"))
}
