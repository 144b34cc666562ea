//! What a finding says. Planted faults in real kernels are the business of `openvm-wgpu-backend`'s `tests/metal_faults.rs`.

use metal_on_cpu::{Buffer, Finding, FindingKind, Kernel, Mode, Options, Order, Program};

/// What is found in a kernel with this body, of two workgroups of 64 threads on 128 words; and its text.
fn found(body: &str, mode: Mode, order: Order) -> (Vec<Finding>, String) {
    let wgsl = format!(
        "@group(0) @binding(0) var<storage, read_write> words: array<u32>;
var<workgroup> shared_words: array<u32, 64>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) i: u32,
                                     @builtin(workgroup_id) group: vec3<u32>) {{ {body} }}"
    );
    let kernel = Kernel {
        name: "planted.wgsl",
        wgsl: &wgsl,
        overrides: &[],
        writable: &[true],
        params: 0,
        immediates: true,
        workgroup: 64,
    };
    let program =
        Program::build(&kernel, Options { bounds_checks: false, mode }).unwrap_or_else(|error| panic!("{error}"));
    let words = Buffer::from_words(&(0..128).collect::<Vec<_>>());
    (program.run(&[&words], &[], [2, 1, 1], order).unwrap(), program.msl().to_owned())
}

/// The line of the text that holds this, once.
fn line_of(msl: &str, text: &str) -> u32 {
    let lines: Vec<_> = (1..).zip(msl.lines()).filter(|(_, line)| line.contains(text)).collect();
    assert_eq!(lines.len(), 1, "`{text}` in\n{msl}");
    lines[0].0
}

#[test]
fn a_race_names_both_lines() {
    let body = "shared_words[i] = i; let x = shared_words[63u - i]; words[id.x] = x;";
    let (found, msl) = found(body, Mode::Check, Order::Ascending);
    // threads 0 to 31 read what was never written and 32 to 63 then write; these read what those have written
    let [unwritten, write, read] = &found[..] else { panic!("{found:?}") };
    let (writes, reads) = (line_of(&msl, "] = i"), line_of(&msl, "uint x = "));
    assert_eq!((unwritten.kind, unwritten.metal_line), (FindingKind::Uninitialized, reads));
    for (race, line, other) in [(write, writes, reads), (read, reads, writes)] {
        assert_eq!((race.kind, race.metal_line), (FindingKind::Race, line));
        assert!(race.message.contains("workgroup variable 0, with no barrier between; thread 31"), "{race}");
        assert!(race.message.contains(&format!("at .metal:{other}: ")), "{race}");
        let text = msl.lines().nth(line as usize - 1).unwrap().trim();
        assert!(race.to_string().starts_with(&format!("planted.wgsl, .metal:{line}: `{text}`: Race: ")), "{race}");
    }
}

#[test]
fn a_stray_access_names_the_nearest_memory() {
    let (found, msl) = found("if (id.x == 100u) { words[id.x + 30u] = 1u; }", Mode::Check, Order::Random(3));
    let [finding] = &found[..] else { panic!("{found:?}") };
    assert_eq!((finding.kind, finding.metal_line), (FindingKind::OutOfBounds, line_of(&msl, "] = 1u;")));
    let message =
        "thread 36 of workgroup 1 writes 4 bytes outside of all memory, 12 bytes past the end of binding 0 (512 bytes)";
    assert_eq!(finding.message, message);
}

#[test]
fn storage_needs_a_barrier_for_storage() {
    let body =
        |barrier| format!("words[id.x] = i; {barrier}(); let x = words[id.x ^ 1u]; storageBarrier(); words[id.x] = x;");
    for order in [Order::Ascending, Order::Descending, Order::Random(1)] {
        let (wrong, msl) = found(&body("workgroupBarrier"), Mode::Check, order);
        let [finding] = &wrong[..] else { panic!("{wrong:?}") };
        assert_eq!(
            (finding.kind, finding.metal_line),
            (FindingKind::MissingStorageBarrier, line_of(&msl, "uint x = "))
        );
        assert_eq!(found(&body("storageBarrier"), Mode::Check, order).0, []);
    }
}

#[test]
fn divergence_is_found_in_any_mode() {
    for mode in [Mode::Fast, Mode::Check] {
        let (barrier, msl) = found("if (words[id.x] < 100u) { workgroupBarrier(); }", mode, Order::Ascending);
        let [finding] = &barrier[..] else { panic!("{barrier:?}") };
        assert_eq!(
            (finding.kind, finding.metal_line),
            (FindingKind::DivergentBarrier, line_of(&msl, "threadgroup_barrier"))
        );
        assert!(finding.message.contains("36 of 64 threads wait, 28 returned, 0 wait at another barrier"), "{finding}");

        let (subgroup, msl) = found("if (i < 40u) { words[id.x] = subgroupAdd(i); }", mode, Order::Descending);
        let [finding] = &subgroup[..] else { panic!("{subgroup:?}") };
        assert_eq!((finding.kind, finding.metal_line), (FindingKind::DivergentSubgroup, line_of(&msl, "simd_sum")));
        assert!(finding.message.contains("of 32 threads of SIMD group 1, those of mask 0xff arrive"), "{finding}");
    }
}

/// A table of constants is copied from the code's own memory.
#[test]
fn constants_are_no_stray_accesses() {
    let entries: String = (0..70).map(|i| format!("{}u,", 3 * i)).collect();
    let body = format!("var table = array<u32, 70>({entries}); table[i] += i; words[id.x] = table[i + 5u];");
    assert_eq!(found(&body, Mode::Check, Order::Ascending).0, []);
    let (overrun, _) = found(&body.replace("i + 5u", "i + 7u"), Mode::Check, Order::Ascending);
    let [finding] = &overrun[..] else { panic!("{overrun:?}") };
    assert_eq!(finding.kind, FindingKind::ArrayOverrun);
    assert!(finding.message.starts_with("index 70 of an array"), "{finding}");
}
