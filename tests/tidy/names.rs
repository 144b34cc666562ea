//! Documents name files that are there.

use crate::{markdown, File};

/// Code spans with one of these extensions name a file of this repository even without a folder.
const OURS: [&str; 6] = [".rs", ".md", ".wgsl", ".svg", ".elf", ".yml"];

/// Where documents may begin a path: the root, modules, kernels, and kernels without their extension.
const ROOTS: [&str; 3] = ["", "src/", "wgsl/"];

/// Links and code spans that look like paths of this repository and lead nowhere. `there` lists all files, with slashes, from the root.
pub fn missing(documents: &[File], there: &[String]) -> Vec<String> {
    let mut violations = Vec::new();
    for document in documents {
        let folder = document.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (line, kind, text) in markdown::lines(&document.text) {
            if kind == markdown::Kind::Code {
                continue;
            }
            let broken =
                markdown::link_targets(text).into_iter().filter(|target| !exists(&joined(folder, target), there));
            let named = markdown::code_spans(text).into_iter().filter(|span| names_nothing(span, folder, there));
            violations
                .extend(broken.chain(named).map(|name| format!("{}:{line}: `{name}` is not there", document.path)));
        }
    }
    violations
}

/// Whether a code span is a path that leads nowhere.
fn names_nothing(span: &str, folder: &str, there: &[String]) -> bool {
    let path = span.trim_end_matches('/');
    let plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let part = |part: &str| part.chars().any(|c| c.is_ascii_alphabetic());
    if !plain || path.starts_with('/') || path.contains("..") || !path.split('/').all(part) {
        return false;
    }
    let file_name = OURS.iter().any(|extension| path.ends_with(extension) && path != *extension);
    if !path.contains('/') {
        return file_name && !there.iter().any(|file| file == path || file.ends_with(&format!("/{path}")));
    }
    let begins = ROOTS.iter().map(|root| format!("{root}{path}")).chain([joined(folder, path)]);
    !begins.into_iter().any(|path| {
        exists(&path, there) || exists(&format!("{path}.wgsl"), there) || exists(&format!("{path}.rs"), there)
    })
}

/// A file, or a folder that has some.
fn exists(path: &str, there: &[String]) -> bool {
    let path = path.trim_end_matches('/');
    there.iter().any(|file| file == path || file.starts_with(&format!("{path}/")))
}

/// `target` as seen from `folder`, from the root.
fn joined(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let there = ["src/gpu/pool.rs", "wgsl/gkr/rounds.wgsl", "docs/memory.md", "README.md"].map(str::to_string);
        missing(&[File::new("docs/a.md", text)], &there)
    }

    #[test]
    fn planted_names_are_found() {
        let text = "[x](memory.md) [y](../README.md)\n[z](gone.md) `gpu/gone.rs` `gone.wgsl` `gkr/gone` `tests/none`\n";
        let names: Vec<String> = ["gone.md", "gpu/gone.rs", "gone.wgsl", "gkr/gone", "tests/none"]
            .iter()
            .map(|name| format!("docs/a.md:2: `{name}` is not there"))
            .collect();
        assert_eq!(found(text), names);
    }

    #[test]
    fn what_is_there_or_no_path_is_not() {
        let text = "`gpu/pool.rs` `pool.rs` `gkr/rounds` `gkr/rounds.wgsl` `src/gpu` `ntt/*` `p / q` `a::b` `x.y()` `--json` `report.json` `1/2`\n```\n`no/file.rs`\n```\n";
        assert_eq!(found(text), Vec::<String>::new());
    }
}
