//! Arrows point one way: stages -> kernels -> gpu, and only `gpu` names wgpu.

use crate::{
    rust::{paths, without_tests},
    File,
};

/// What a layer may name of this crate, beside itself. Modules that are not listed (engine, device, transport ..) lie above all of these.
const LAYERS: [(&str, &[&str]); 5] = [
    ("error", &["gpu"]),
    ("gpu", &["error"]),
    ("constraints", &["error"]),
    ("kernels", &["error", "gpu", "constraints"]),
    ("stages", &["error", "gpu", "constraints", "kernels"]),
];

/// The macro that declares kernels stands in `gpu`.
const MACROS: [(&str, &str); 1] = [("kernel", "gpu")];

/// The module of `src/<module>/..` or `src/<module>.rs`.
fn module(path: &str) -> &str {
    let below = path.strip_prefix("src/").unwrap_or(path);
    below.split('/').next().unwrap_or(below).trim_end_matches(".rs")
}

/// Tests may look up: a kernel's test may meet it with the stage that uses it.
pub fn is_test(path: &str) -> bool {
    ["tests.rs", "testing.rs"].iter().any(|name| path.ends_with(name)) || path.contains("/tests/")
}

/// Files of a layer that name a module which the layer may not know.
pub fn arrows_upward(files: &[File]) -> Vec<String> {
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| !is_test(&file.path)) {
        let Some((layer, below)) = LAYERS.iter().find(|(name, _)| *name == module(&file.path)) else { continue };
        for path in paths(without_tests(&file.text)) {
            let Some(target) = target(&file.path, &path.segments) else { continue };
            if target != *layer && !below.contains(&target.as_str()) {
                violations.push(format!(
                    "{}:{}: `{}` names `{target}`",
                    file.path,
                    path.line,
                    path.segments.join("::")
                ));
            }
        }
    }
    violations
}

/// The module of this crate that a path leads to; none for other crates and for what is below the file's own module.
fn target(file: &str, segments: &[String]) -> Option<String> {
    let name = match segments[0].as_str() {
        // the layers' modules stand in one for tests and benches, and are known at the root as well
        "crate" => segments.get(1 + usize::from(segments.get(1)? == "internals"))?,
        "super" => {
            let depth = file.split('/').count() - 1 - usize::from(file.ends_with("/mod.rs"));
            let up = segments.iter().take_while(|segment| *segment == "super").count();
            // `src` itself is one of the folders: so many `super`s lead to the root
            (up >= depth).then(|| segments.get(up)).flatten()?
        }
        _ => return None,
    };
    let of_macro = MACROS.iter().find(|(macro_name, _)| macro_name == name);
    Some(of_macro.map_or_else(|| name.clone(), |(_, module)| module.to_string()))
}

/// Files outside of `src/gpu` that name wgpu.
pub fn names_wgpu(files: &[File]) -> Vec<String> {
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| module(&file.path) != "gpu") {
        let lines = paths(&file.text)
            .into_iter()
            .filter(|path| ["wgpu", "wgpu_hal", "wgpu_core"].contains(&path.segments[0].as_str()));
        violations.extend(lines.map(|path| format!("{}:{}: `{}`", file.path, path.line, path.segments.join("::"))));
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upward(path: &str, text: &str) -> usize {
        arrows_upward(&[File::new(path, text)]).len()
    }

    #[test]
    fn planted_arrows_are_found() {
        assert_eq!(upward("src/kernels/rap/rounds.rs", "use crate::{gpu::Gpu, stages::transcript::Challenge};"), 1);
        assert_eq!(upward("src/kernels/ntt.rs", "fn f(x: crate::stages::X) {}"), 1);
        assert_eq!(upward("src/kernels/ntt.rs", "use super::super::stages::X;"), 1);
        assert_eq!(upward("src/gpu/pool.rs", "use crate::kernels::{a, b};"), 2);
        assert_eq!(upward("src/gpu/pool.rs", "use crate::WgpuDevice;"), 1);
        assert_eq!(upward("src/gpu/pool.rs", "use crate::internals::{gpu::Gpu, stages::X};"), 1);
        assert_eq!(upward("src/constraints/chunk.rs", "use crate::gpu::Gpu;"), 1);
        assert_eq!(upward("src/stages/whir/mod.rs", "use crate::device::WgpuDevice;"), 1);
    }

    #[test]
    fn arrows_downward_are_not() {
        let text =
            "use super::fold::Fold; use super::super::ntt::X; use crate::{error::Result, gpu::Gpu, kernel}; kernel! {}";
        assert_eq!(upward("src/kernels/rap/rounds.rs", text), 0);
        assert_eq!(upward("src/engine.rs", "use crate::stages::X;"), 0);
        assert_eq!(upward("src/kernels/rap/tests.rs", "use crate::stages::X;"), 0);
        assert_eq!(
            upward("src/kernels/ntt.rs", "// crate::stages\n#[cfg(test)]\nmod tests {\n    use crate::stages::X;\n}"),
            0
        );
    }

    #[test]
    fn planted_names_of_wgpu_are_found() {
        let found = |path, text| names_wgpu(&[File::new(path, text)]).len();
        assert_eq!(found("src/kernels/ntt.rs", "fn f(x: &wgpu::Buffer) {}"), 1);
        assert_eq!(found("src/stages/mod.rs", "use wgpu::{Buffer, Device};"), 2);
        assert_eq!(found("src/gpu/device.rs", "use wgpu::Device;"), 0);
        assert_eq!(found("src/stages/mod.rs", "// wgpu::Device\nuse openvm_wgpu_backend::X;"), 0);
    }
}
