//! No circles of files: whoever reads a file of a folder can begin with what it names.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    rust::{paths, without_tests},
    File,
};

/// A module's path from the crate's root: `["gpu", "pool"]`.
type Module = Vec<String>;

/// Circles of files among `files`, which are those of one folder: each as the files that reach one another.
///
/// A name that a `mod.rs` hands on leads to the file that it comes from, so a `mod.rs` that only declares and hands on is in no circle.
pub fn circles(files: &[File]) -> Vec<String> {
    let modules: BTreeMap<Module, &File> = files.iter().map(|file| (module(&file.path), file)).collect();
    let mut edges: BTreeMap<&Module, BTreeSet<&Module>> = BTreeMap::new();
    for (from, file) in modules.iter().filter(|(_, file)| !crate::layers::is_test(&file.path)) {
        let named =
            paths(without_tests(&file.text)).into_iter().filter_map(|path| resolve(from, &path.segments, &modules));
        // a `mod.rs` hands on what its children have
        let up = |to: &&Module| *to != from && !(file.path.ends_with("/mod.rs") && to.starts_with(from));
        edges.insert(from, named.filter(up).collect());
    }
    let reached: BTreeMap<&Module, BTreeSet<&Module>> = edges.keys().map(|from| (*from, reach(from, &edges))).collect();
    let circle = |from: &Module| -> Vec<String> {
        let both = reached[from].iter().filter(|to| reached.get(**to).is_some_and(|back| back.contains(from)));
        both.map(|module| modules[*module].path.clone()).collect()
    };
    let circles: BTreeSet<Vec<String>> =
        edges.keys().map(|from| circle(from)).filter(|files| files.len() > 1).collect();
    circles.into_iter().map(|files| files.join(" <-> ")).collect()
}

fn reach<'a>(from: &'a Module, edges: &BTreeMap<&'a Module, BTreeSet<&'a Module>>) -> BTreeSet<&'a Module> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(module) = open.pop() {
        for next in edges.get(module).into_iter().flatten() {
            if reached.insert(*next) {
                open.push(next);
            }
        }
    }
    reached
}

/// `src/gpu/pool.rs` and `src/gpu/pool/mod.rs` are `gpu::pool`.
fn module(path: &str) -> Module {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs");
    path.trim_end_matches("/mod").split('/').map(str::to_string).collect()
}

/// The file that a path leads to, among `modules`.
fn resolve<'a>(from: &Module, segments: &[String], modules: &'a BTreeMap<Module, &File>) -> Option<&'a Module> {
    let mut absolute = match segments[0].as_str() {
        "crate" => Vec::new(),
        "self" | "super" => from.clone(),
        _ => return None,
    };
    for segment in segments {
        match segment.as_str() {
            "crate" | "self" | "internals" => {}
            "super" => drop(absolute.pop()),
            name => absolute.push(name.to_string()),
        }
    }
    let file = (1..=absolute.len()).rev().find_map(|length| modules.get_key_value(&absolute[..length]))?;
    // what lies behind the file's module is one of its items, or one that it hands on
    match absolute.get(file.0.len()) {
        Some(name) => handed_on(file.0, file.1, name, modules).or(Some(file.0)),
        None => Some(file.0),
    }
}

/// The child of a `mod.rs` from which it hands on `name`.
fn handed_on<'a>(of: &Module, file: &File, name: &str, modules: &'a BTreeMap<Module, &File>) -> Option<&'a Module> {
    let child = |path: crate::rust::NamedPath| {
        let segments: Vec<String> = path.segments.iter().filter(|segment| *segment != "self").cloned().collect();
        (segments.len() > 1 && segments.last().is_some_and(|last| last == name))
            .then(|| modules.get_key_value(&[of.clone(), segments[..1].to_vec()].concat()).map(|(module, _)| module))
            .flatten()
    };
    paths(without_tests(&file.text)).into_iter().find_map(child)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        circles(&files.iter().map(|(path, text)| File::new(path, text)).collect::<Vec<_>>())
    }

    #[test]
    fn planted_circles_are_found() {
        let direct = [("src/gpu/a.rs", "use super::b::B;"), ("src/gpu/b.rs", "use crate::gpu::a::A;")];
        assert_eq!(found(&direct), ["src/gpu/a.rs <-> src/gpu/b.rs"]);
        let through = [
            ("src/gpu/mod.rs", "mod a; mod b; mod c; pub use a::{A, X}; pub use b::B;"),
            ("src/gpu/a.rs", "use super::B;"),
            ("src/gpu/b.rs", "fn f(c: super::c::C) {}"),
            ("src/gpu/c.rs", "use super::{A, Unknown};"),
        ];
        assert_eq!(found(&through), ["src/gpu/a.rs <-> src/gpu/b.rs <-> src/gpu/c.rs"]);
        let with_root = [
            ("src/gpu/mod.rs", "use crate::error::E; fn f(x: a::X) {} struct Gpu;"),
            ("src/gpu/a.rs", "use super::Gpu;"),
        ];
        assert_eq!(found(&with_root), Vec::<String>::new(), "a mod.rs may have what its children use");
    }

    #[test]
    fn trees_are_none() {
        let files = [
            ("src/gpu/mod.rs", "pub mod a; mod b; pub use self::b::B;"),
            ("src/gpu/a.rs", "use super::B; use super::b::B2; use crate::{error::E, gpu::B};"),
            ("src/gpu/b.rs", "use crate::error::E;\n#[cfg(test)]\nmod tests {\n    use super::super::a::A;\n}"),
        ];
        assert_eq!(found(&files), Vec::<String>::new());
    }
}
