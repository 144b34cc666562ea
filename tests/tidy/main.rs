//! The rules that hold by themselves: layers, and documents that stay true and can be read. No GPU, no dependency.
//!
//! Each checker takes texts and returns what is wrong with them, so that the tests beside it plant a violation and see it found. Here they
//! meet the repository.

mod circles;
mod figures;
mod kernel_rows;
mod layers;
mod markdown;
mod names;
mod rust;
mod sentences;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A file of the repository: its path from the root, with slashes, and its text.
pub struct File {
    pub path: String,
    pub text: String,
}

impl File {
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_string(), text: text.to_string() }
    }
}

/// Files with this extension below `folder`, sorted. What git ignores, and folders whose names begin with a dot (but `.github`), are left out.
fn files(folder: &str, extension: &str) -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    collect(&root.join(folder), &mut found);
    found.retain(|path| path.extension().is_some_and(|other| other == extension));
    found.sort();
    let file = |path: PathBuf| File {
        text: fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        path: path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/"),
    };
    found.into_iter().map(file).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a folder can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let left_out = ["target", "corpus", "proptest-regressions"].contains(&name.as_str());
        if left_out || (name.starts_with('.') && name != ".github") || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn documents() -> Vec<File> {
    files("", "md")
}

fn assert_none(rule: &str, violations: Vec<String>) {
    assert!(violations.is_empty(), "{rule} ({} violations):\n{}", violations.len(), violations.join("\n"));
}

#[test]
fn layers_point_one_way() {
    assert_none("layers: stages -> kernels -> gpu", layers::arrows_upward(&files("src", "rs")));
}

#[test]
fn only_gpu_names_wgpu() {
    assert_none("wgpu is named in src/gpu alone", layers::names_wgpu(&files("src", "rs")));
}

#[test]
fn files_of_gpu_form_no_circle() {
    assert_none("no circles of files within src/gpu", circles::circles(&files("src/gpu", "rs")));
}

#[test]
fn kernels_have_rows() {
    let table = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/kernels.md")).unwrap();
    assert_none("every WGSL file has a row in docs/kernels.md", kernel_rows::missing(&files("wgsl", "wgsl"), &table));
}

#[test]
fn figures_agree() {
    assert_none("a figure that stands in two documents is the same", figures::differences(&documents()));
}

#[test]
fn documents_name_what_is_there() {
    let mut there: Vec<PathBuf> = Vec::new();
    collect(Path::new(env!("CARGO_MANIFEST_DIR")), &mut there);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut there: Vec<String> =
        there.iter().map(|path| path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/")).collect();
    there.push(".ci/run".to_string());
    assert_none("documents name files that are there", names::missing(&documents(), &there));
}

#[test]
fn documents_have_short_lines() {
    assert_none("lines of at most 140 columns outside tables", sentences::long_lines(&documents()));
}

#[test]
fn documents_have_short_sentences() {
    assert_none("sentences of at most 30 words", sentences::long_sentences(&documents()));
}
