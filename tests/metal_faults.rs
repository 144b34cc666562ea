//! Faults planted into copies of real kernels: check mode of `metal-on-cpu` has to find each, and nothing in the kernels as they are.
//!
//! The kernels are those with most to get wrong: workgroup memory passed between threads, subgroup operations, a sponge within a
//! sumcheck. Their inputs are random words: what is found depends on which words are accessed when, not on their values.

use std::fmt;

use metal_on_cpu::{Buffer, Finding, FindingKind, Kernel, Mode, Options, Order, Program};
use openvm_wgpu_backend::internals::{
    gpu::{Access, Capabilities, Kernel as _, KernelDecl},
    kernels::{
        gkr::RoundsKernel,
        merkle::{Layers, LayersByLanes},
        ntt::Narrow,
        sum_rows::SumRowsKernel,
        transcript::StepKernel,
    },
};
use rayon::prelude::*;

const ORDERS: [Order; 4] = [Order::Ascending, Order::Descending, Order::Random(1), Order::Random(2)];

/// A kernel of `wgsl/` on small buffers.
#[derive(Clone)]
struct Case {
    path: &'static str,
    wgsl: String,
    workgroup: u32,
    params: Vec<u32>,
    /// Words of each binding, and whether the kernel writes it.
    bindings: Vec<(usize, bool)>,
    grid: [u32; 3],
    bounds_checks: bool,
}

impl Case {
    /// `words`: of each binding.
    fn new(decl: &KernelDecl, params: &[u32], words: &[usize], workgroups: u32) -> Self {
        let wgsl = Capabilities::of_apple().link(&decl.wgsl(), &[], words.len()).expect("kernels link");
        assert_eq!(words.len(), decl.bindings.len(), "buffers of {}", decl.path);
        let writes = decl.bindings.iter().map(|binding| binding.access == Access::ReadWrite);
        let bindings = words.iter().copied().zip(writes).collect();
        let (path, workgroup, params, grid) = (decl.path, decl.workgroup, params.to_vec(), [workgroups, 1, 1]);
        Self { path, wgsl, workgroup, params, bindings, grid, bounds_checks: false }
    }

    /// Two workgroups of two groups of columns each, of length 2^8.
    fn ntt_pass() -> Self {
        let words = 64 << 8;
        Self::new(Narrow::DECL, &[8, 8, 0, 0, 8, 64, 2, 0], &[words, words, ROOTS], 2)
    }

    /// All layers above 1,024 leaves but the root, in two workgroups.
    fn merkle_tree() -> Self {
        let nodes = 1024 + 512 + 256 + 128 + 64 + 32 + 16 + 8 + 4 + 2;
        Self::new(Layers::DECL, &[0, 1024, 9], &[8 * nodes, 8, ROUND_CONSTANTS], 2)
    }

    /// All layers above 256 leaves but the root, in two workgroups.
    fn merkle_tree_lanes() -> Self {
        let nodes = 256 + 128 + 64 + 32 + 16 + 8 + 4 + 2;
        Self::new(LayersByLanes::DECL, &[0, 256, 7], &[8 * nodes, 8, ROUND_CONSTANTS], 2)
    }

    /// The layers of a sumcheck over 2^8 fractions that one workgroup proves.
    fn gkr_rounds() -> Self {
        let (levels, last_layer) = (8, 6);
        let (heap, level, unused, state, sponge, tape) = (16 << levels, 4 << levels, 4, 4 * 101, 16, 1000);
        let words = [heap, level, level, unused, state, sponge, tape, ROUND_CONSTANTS];
        Self::new(RoundsKernel::DECL, &[0, 0, 0, 0, 0, last_layer, levels, levels, 0, 0, 0, 0, 0], &words, 1)
    }

    /// 21 words absorbed, 11 squeezed, in the middle of a rate.
    fn transcript_step() -> Self {
        Self::new(StepKernel::DECL, &[3, 21, 11, 2, 5, 0, 1], &[50, 16, 40, ROUND_CONSTANTS], 1)
    }

    /// Sums of two rows of 333 elements.
    fn sum_rows() -> Self {
        Self::new(SumRowsKernel::DECL, &[2, 333], &[2 * 333 * 4, 2 * 4], 2)
    }

    fn all() -> Vec<Self> {
        let cases = [
            Self::ntt_pass(),
            Self::merkle_tree(),
            Self::merkle_tree_lanes(),
            Self::gkr_rounds(),
            Self::transcript_step(),
            Self::sum_rows(),
        ];
        let checked = cases.clone().map(|case| Self { bounds_checks: true, ..case });
        cases.into_iter().chain(checked).collect()
    }

    /// Replaces text that occurs once.
    fn edit(mut self, from: &str, to: &str) -> Self {
        assert_eq!(self.wgsl.matches(from).count(), 1, "`{from}` in {}", self.path);
        self.wgsl = self.wgsl.replace(from, to);
        self
    }

    fn build(&self) -> Program {
        let writable: Vec<bool> = self.bindings.iter().map(|(_, writable)| *writable).collect();
        let kernel = Kernel {
            name: self.path,
            wgsl: &self.wgsl,
            overrides: &[],
            writable: &writable,
            params: self.params.len(),
            immediates: true,
            workgroup: self.workgroup,
        };
        let options = Options { bounds_checks: self.bounds_checks, mode: Mode::Check };
        Program::build(&kernel, options).unwrap_or_else(|error| panic!("{error}"))
    }

    fn run(&self, program: &Program, order: Order) -> Vec<Finding> {
        let words = |(i, (len, _)): (usize, &(usize, bool))| {
            (0..*len as u32).map(|j| (j ^ (i as u32) << 20).wrapping_mul(0x9e37_79b9) % P).collect::<Vec<_>>()
        };
        let buffers: Vec<_> =
            self.bindings.iter().enumerate().map(|binding| Buffer::from_words(&words(binding))).collect();
        let bindings: Vec<_> = buffers.iter().collect();
        program.run(&bindings, &self.params, self.grid, order).expect("the arguments fit")
    }

    /// Checks that a fault of this kind is found in any order, and named by the kernel and its line of Metal.
    fn expect(&self, kind: FindingKind) {
        let program = self.build();
        for order in ORDERS {
            let found = self.run(&program, order);
            let meant = found.iter().find(|finding| finding.kind == kind);
            let meant =
                meant.unwrap_or_else(|| panic!("{}, {order:?}: {kind:?} not among {}", self.path, List(&found)));
            let line = program.msl().lines().nth(meant.metal_line as usize - 1).expect("a line of the text").trim();
            let named = format!("{}, .metal:{}: `{line}`", self.path, meant.metal_line);
            assert!(meant.to_string().starts_with(&named), "{meant}");
        }
    }
}

/// Montgomery forms are below BabyBear's modulus.
const P: u32 = 0x7800_0001;
/// Words of the two levels of roots of unity.
const ROOTS: usize = (1 << 14) + (1 << 13);
/// Words of Poseidon2's constants: 8 rounds of 16, then one in a vector each, of which hashing reads 13.
const ROUND_CONSTANTS: usize = 8 * 16 + 16 * 4 + 16 * 16;

struct List<'a>(&'a [Finding]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} findings", self.0.len())?;
        self.0.iter().try_for_each(|finding| write!(f, "\n{finding}"))
    }
}

#[test]
fn kernels_as_they_are_have_no_faults() {
    Case::all().par_iter().for_each(|case| {
        let program = case.build();
        for order in ORDERS {
            let found = case.run(&program, order);
            assert!(found.is_empty(), "{order:?}: {}", List(&found));
        }
    });
}

// ---- memory ----

#[test]
fn a_grid_one_workgroup_too_large() {
    let mut case = Case::merkle_tree();
    case.params = vec![0, 1024, 1];
    case.bindings[0].0 = 8 * (1024 + 512);
    assert!(case.run(&case.build(), Order::Ascending).is_empty());
    let unbounded = case.edit("&& node < len", "");
    let case = Case { grid: [3, 1, 1], ..unbounded };
    case.expect(FindingKind::OutOfBounds);
}

#[test]
fn a_table_one_short() {
    let mut case = Case::merkle_tree();
    case.bindings[2].0 = 8 * 16 + 12 * 4;
    case.expect(FindingKind::OutOfBounds);
}

#[test]
fn a_wild_index() {
    let case = Case::sum_rows().edit("params.len + i]", "params.len + i - 1u]");
    case.expect(FindingKind::OutOfBounds);
}

#[test]
fn an_output_past_the_end() {
    let mut case = Case::sum_rows();
    case.bindings[1].0 = 4;
    case.expect(FindingKind::OutOfBounds);
}

/// With bounds checks the index is clamped, so that several threads meet at the last word.
#[test]
fn clamped_indices_collide() {
    let mut case = Case::ntt_pass();
    case.bounds_checks = true;
    case.bindings[1].0 -= 100;
    case.expect(FindingKind::Race);
}

#[test]
fn a_private_array_overrun() {
    let case = Case::merkle_tree()
        .edit("p2_compress(children[0], children[1]", "p2_compress(children[(local >> 5u) + 1u], children[1]");
    case.expect(FindingKind::ArrayOverrun);
}

#[test]
fn a_workgroup_array_overrun() {
    let case = Case::sum_rows().edit("sums[local] = sum;", "sums[local + 1u] = sum;");
    case.expect(FindingKind::ArrayOverrun);
}

#[test]
fn workgroup_memory_that_nobody_wrote() {
    let case = Case::sum_rows().edit("sums[local] = sum;", "if local < 255u { sums[local] = sum; }");
    case.expect(FindingKind::Uninitialized);
    // wgpu's checks zero it
    let zeroed = Case { bounds_checks: true, ..case };
    assert!(zeroed.run(&zeroed.build(), Order::Ascending).is_empty());
}

// ---- races ----

#[test]
fn two_workgroups_write_a_word() {
    let case = Case::merkle_tree().edit("if len == 1u {", "if len <= 2u {");
    case.expect(FindingKind::Race);
}

#[test]
fn a_workgroup_reads_what_another_writes() {
    let case = Case::ntt_pass()
        .edit("return src[start + offset];", "return src[start + offset] + dst[16383u - start - offset];");
    case.expect(FindingKind::Race);
}

#[test]
fn two_threads_write_a_word() {
    let case = Case::merkle_tree().edit("below[2u * local] = digest[0];", "below[local] = digest[0];");
    case.expect(FindingKind::Race);
}

/// Metal's barrier for workgroup memory orders no storage.
#[test]
fn storage_passed_over_a_barrier_for_workgroup_memory() {
    let case = Case::gkr_rounds().edit("        storageBarrier();\n", "");
    case.expect(FindingKind::MissingStorageBarrier);
}

#[test]
fn a_step_that_starts_before_its_message_is_there() {
    let start = "    workgroupBarrier();\n    if local < observe {\n        tape";
    let case = Case::transcript_step().edit(start, "    if local < observe {\n        tape");
    case.expect(FindingKind::Race);
}

#[test]
fn a_step_that_ends_before_its_samples_are_there() {
    let end = "    duplex_tape += sample;\n    workgroupBarrier();";
    Case::gkr_rounds().edit(end, "    duplex_tape += sample;").expect(FindingKind::Race);
}

/// What a barrier of a kernel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Barrier {
    /// One thread's words for another.
    Writes,
    /// Keeping writes behind reads, which any barrier does, whatever memory it is for.
    Reads,
    /// Nothing that was found.
    Nothing,
}

/// Every barrier removed, and made one for storage only. `barriers`: what they are for, in the order of the text.
fn each_barrier(case: &Case, barriers: &[Barrier]) {
    const BARRIER: &str = "workgroupBarrier();";
    let races = [FindingKind::Race, FindingKind::MissingStorageBarrier, FindingKind::Uninitialized];
    let places: Vec<usize> = case.wgsl.match_indices(BARRIER).map(|(at, _)| at).collect();
    let is_missed = |at: usize, replacement| {
        let mut planted = case.clone();
        planted.wgsl.replace_range(at..at + BARRIER.len(), replacement);
        let found = planted.run(&planted.build(), Order::Ascending);
        assert!(found.iter().all(|finding| races.contains(&finding.kind)), "{}", List(&found));
        !found.is_empty()
    };
    let purpose = |at: &usize| match (is_missed(*at, ""), is_missed(*at, "storageBarrier();")) {
        (true, true) => Barrier::Writes,
        (true, false) => Barrier::Reads,
        (false, _) => Barrier::Nothing,
    };
    let found: Vec<Barrier> = places.par_iter().map(purpose).collect();
    assert_eq!(found, barriers, "{}", case.path);
}

#[test]
fn barriers_of_the_transform() {
    each_barrier(&Case::ntt_pass(), &[Barrier::Writes, Barrier::Reads]);
}

#[test]
fn barriers_of_the_merkle_tree() {
    each_barrier(&Case::merkle_tree(), &[Barrier::Reads, Barrier::Writes]);
    each_barrier(&Case::merkle_tree_lanes(), &[Barrier::Writes]);
}

#[test]
fn barriers_of_the_sum() {
    each_barrier(&Case::sum_rows(), &[Barrier::Writes, Barrier::Writes]);
}

// ---- control flow ----

#[test]
fn a_barrier_that_some_threads_skip() {
    let case = Case::merkle_tree().edit(
        "let node = per_workgroup * workgroup + local;",
        "let node = per_workgroup * workgroup + local; if node >= len { return; }",
    );
    case.expect(FindingKind::DivergentBarrier);
}

#[test]
fn threads_at_different_barriers() {
    let case = Case::sum_rows().edit(
        "sums[local] = sum;",
        "sums[local] = sum; if values[local].x > 1000000000u { workgroupBarrier(); } else { storageBarrier(); }",
    );
    case.expect(FindingKind::DivergentBarrier);
}

#[test]
fn a_subgroup_operation_that_some_threads_skip() {
    let case = Case::transcript_step()
        .edit("    duplex_close(local);", "if local < 5u { sponge[0] = subgroupAdd(local); } duplex_close(local);");
    case.expect(FindingKind::DivergentSubgroup);
}

// ---- arithmetic ----

#[test]
fn division_by_zero() {
    let case = Case::sum_rows().edit("sums[local] = sum;", "sums[local] = sum / (params.len >> (local & 15u));");
    case.expect(FindingKind::DivisionByZero);
}

#[test]
fn a_shift_by_the_width() {
    let case =
        Case::sum_rows().edit("sums[local] = sum;", "sums[local] = sum; sums[local].x = sum.x >> (local >> 2u);");
    case.expect(FindingKind::WideShift);
    let vector = Case::sum_rows().edit("sums[local] = sum;", "sums[local] = sum << vec4<u32>(local >> 2u);");
    vector.expect(FindingKind::WideShift);
}
