//! A small WGSL linker: `#import`, `#if` and nothing else.
//!
//! ```wgsl
//! #import field/ext        // the module wgsl/field/ext.wgsl, once, before this file
//! #if INT64                // lines kept when the flag is set; #else and #endif as usual, nesting allowed
//! ```
//!
//! The flags are the device's ([`Capabilities::flags`](super::Capabilities)) and the kernel variant's own.

use std::collections::BTreeSet;

/// Shared WGSL modules by import path.
const MODULES: &[(&str, &str)] = &[
    ("reduce", include_str!("../../wgsl/reduce.wgsl")),
    ("eq/tensor", include_str!("../../wgsl/eq/tensor.wgsl")),
    ("jobs", include_str!("../../wgsl/jobs.wgsl")),
    ("grid", include_str!("../../wgsl/grid.wgsl")),
    ("field/baby_bear", include_str!("../../wgsl/field/baby_bear.wgsl")),
    ("field/ext", include_str!("../../wgsl/field/ext.wgsl")),
    ("whir/weight", include_str!("../../wgsl/whir/weight.wgsl")),
    ("poseidon2", include_str!("../../wgsl/poseidon2.wgsl")),
    ("poseidon2_lanes", include_str!("../../wgsl/poseidon2_lanes.wgsl")),
    ("ntt/block", include_str!("../../wgsl/ntt/block.wgsl")),
    ("ntt/roots", include_str!("../../wgsl/ntt/roots.wgsl")),
    ("ntt/lazy", include_str!("../../wgsl/ntt/lazy.wgsl")),
    ("ntt/tile", include_str!("../../wgsl/ntt/tile.wgsl")),
    ("stacked_reduction/product_round", include_str!("../../wgsl/stacked_reduction/product_round.wgsl")),
    ("stacked_reduction/dot4", include_str!("../../wgsl/stacked_reduction/dot4.wgsl")),
    ("stacked_reduction/eq_cube", include_str!("../../wgsl/stacked_reduction/eq_cube.wgsl")),
    ("rap/columns", include_str!("../../wgsl/rap/columns.wgsl")),
    ("rap/tile_job", include_str!("../../wgsl/rap/tile_job.wgsl")),
    ("rap/tile_at", include_str!("../../wgsl/rap/tile_at.wgsl")),
    ("rap/eq_uni", include_str!("../../wgsl/rap/eq_uni.wgsl")),
    ("rap/round_sum", include_str!("../../wgsl/rap/round_sum.wgsl")),
    ("constraints/base_values", include_str!("../../wgsl/constraints/base_values.wgsl")),
    ("constraints/scalar_values", include_str!("../../wgsl/constraints/scalar_values.wgsl")),
    ("constraints/line_values", include_str!("../../wgsl/constraints/line_values.wgsl")),
    ("constraints/one", include_str!("../../wgsl/constraints/one.wgsl")),
    ("constraints/fractions", include_str!("../../wgsl/constraints/fractions.wgsl")),
    ("constraints/list", include_str!("../../wgsl/constraints/list.wgsl")),
    ("constraints/interpreter", include_str!("../../wgsl/constraints/interpreter.wgsl")),
    ("transcript/tape", include_str!("../../wgsl/transcript/tape.wgsl")),
    ("transcript/duplex", include_str!("../../wgsl/transcript/duplex.wgsl")),
    ("transcript/duplex_lanes", include_str!("../../wgsl/transcript/duplex_lanes.wgsl")),
    ("transcript/duplex_threads", include_str!("../../wgsl/transcript/duplex_threads.wgsl")),
    ("gkr/state", include_str!("../../wgsl/gkr/state.wgsl")),
    ("gkr/round_table", include_str!("../../wgsl/gkr/round_table.wgsl")),
    ("gkr/round_poly", include_str!("../../wgsl/gkr/round_poly.wgsl")),
    ("gkr/fraction", include_str!("../../wgsl/gkr/fraction.wgsl")),
    ("gkr/numerator", include_str!("../../wgsl/gkr/numerator.wgsl")),
    ("openvm/columns", include_str!("../../wgsl/openvm/columns.wgsl")),
    ("openvm/row", include_str!("../../wgsl/openvm/row.wgsl")),
    ("openvm/counts", include_str!("../../wgsl/openvm/counts.wgsl")),
    ("openvm/alu_adapter", include_str!("../../wgsl/openvm/alu_adapter.wgsl")),
    ("openvm/less_than_core", include_str!("../../wgsl/openvm/less_than_core.wgsl")),
    ("openvm/load_store_adapter", include_str!("../../wgsl/openvm/load_store_adapter.wgsl")),
    ("openvm/branch_adapter", include_str!("../../wgsl/openvm/branch_adapter.wgsl")),
    ("openvm/write_adapter", include_str!("../../wgsl/openvm/write_adapter.wgsl")),
    ("openvm/mul_adapter", include_str!("../../wgsl/openvm/mul_adapter.wgsl")),
    ("openvm/mul_core", include_str!("../../wgsl/openvm/mul_core.wgsl")),
    ("openvm/keccak/lanes", include_str!("../../wgsl/openvm/keccak/lanes.wgsl")),
    ("openvm/operands", include_str!("../../wgsl/openvm/operands.wgsl")),
    ("openvm/base_alu_core", include_str!("../../wgsl/openvm/base_alu_core.wgsl")),
    ("openvm/branch_equal_core", include_str!("../../wgsl/openvm/branch_equal_core.wgsl")),
    ("openvm/shift_core", include_str!("../../wgsl/openvm/shift_core.wgsl")),
    ("openvm/product_core", include_str!("../../wgsl/openvm/product_core.wgsl")),
    ("openvm/heap_adapter", include_str!("../../wgsl/openvm/heap_adapter.wgsl")),
    ("openvm/heap_branch_adapter", include_str!("../../wgsl/openvm/heap_branch_adapter.wgsl")),
    ("openvm/heap_reads", include_str!("../../wgsl/openvm/heap_reads.wgsl")),
    ("openvm/sha2/word32", include_str!("../../wgsl/openvm/sha2/word32.wgsl")),
    ("openvm/sha2/word64", include_str!("../../wgsl/openvm/sha2/word64.wgsl")),
    ("openvm/sha2/record", include_str!("../../wgsl/openvm/sha2/record.wgsl")),
    ("openvm/sha2/main_row", include_str!("../../wgsl/openvm/sha2/main_row.wgsl")),
    ("openvm/sha2/hasher_row", include_str!("../../wgsl/openvm/sha2/hasher_row.wgsl")),
    ("openvm/sha2/hasher_links", include_str!("../../wgsl/openvm/sha2/hasher_links.wgsl")),
];

/// Links `source` with all that it imports.
///
/// # Errors
///
/// Names the unknown import or the unbalanced conditional; both are bugs in a kernel file.
pub(super) fn link(source: &str, flags: &BTreeSet<&str>) -> Result<String, String> {
    let mut out = String::with_capacity(source.len() * 2);
    let mut done = BTreeSet::new();
    append(source, flags, &mut done, &mut out)?;
    Ok(out)
}

fn append<'m>(
    source: &'m str,
    flags: &BTreeSet<&str>,
    done: &mut BTreeSet<&'m str>,
    out: &mut String,
) -> Result<(), String> {
    // Whether the lines of each open conditional are kept.
    let mut open: Vec<bool> = vec![];
    for line in source.lines() {
        let directive = line.trim_start();
        let kept = open.iter().all(|k| *k);
        let mut words = directive.split_whitespace();
        match words.next() {
            Some("#import") if kept => {
                let path = words.next().unwrap_or_default();
                let (name, module) =
                    MODULES.iter().find(|(name, _)| *name == path).ok_or_else(|| format!("unknown import `{path}`"))?;
                if done.insert(name) {
                    append(module, flags, done, out)?;
                }
            }
            Some("#import") => {}
            Some("#if") => open.push(flags.contains(words.next().unwrap_or_default())),
            Some("#else") => {
                let last = open.last_mut().ok_or("#else without #if")?;
                *last = !*last;
            }
            Some("#endif") => {
                open.pop().ok_or("#endif without #if")?;
            }
            _ if kept => {
                out.push_str(line);
                out.push('\n');
            }
            _ => {}
        }
    }
    if open.is_empty() {
        Ok(())
    } else {
        Err("#if without #endif".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(names: &[&'static str]) -> BTreeSet<&'static str> {
        names.iter().copied().collect()
    }

    #[test]
    fn conditionals_nest_and_exclude() {
        let source = "a\n#if X\nb\n#if Y\nc\n#else\nd\n#endif\n#else\ne\n#endif\nf";
        assert_eq!(link(source, &flags(&[])).unwrap(), "a\ne\nf\n");
        assert_eq!(link(source, &flags(&["X"])).unwrap(), "a\nb\nd\nf\n");
        assert_eq!(link(source, &flags(&["X", "Y"])).unwrap(), "a\nb\nc\nf\n");
    }

    #[test]
    fn imports_come_once() {
        let text = link("#import field/ext\n#import field/baby_bear\n", &flags(&[])).unwrap();
        assert_eq!(text.matches("fn f_add(").count(), 1);
        assert_eq!(text.matches("fn e_add(").count(), 1);
    }

    #[test]
    fn mistakes_are_named() {
        assert!(link("#import nope", &flags(&[])).unwrap_err().contains("nope"));
        assert!(link("#if A\n", &flags(&[])).is_err());
        assert!(link("#endif\n", &flags(&[])).is_err());
        assert!(link("#else\n", &flags(&[])).is_err());
    }
}
