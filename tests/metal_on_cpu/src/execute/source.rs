//! The C++ file of a kernel: naga's text, line by line as it is but for four rewrites, and the functions that the runtime calls.

use crate::emit::Metal;

/// The file that lines of naga's text are reported in.
pub const FILE: &str = "kernel.metal";

/// The C++ text of a kernel.
///
/// # Errors
///
/// Names an argument of the entry point that this module does not know.
pub fn cpp(metal: &Metal) -> Result<String, String> {
    let arguments = arguments(metal)?.join(", ");
    let text = references(&arrays(&one_address_space(&metal.text)));
    let (entry, [x, y, z]) = (&metal.entry, metal.workgroup);
    // in a namespace without a name, what the entry point does not use is not compiled
    Ok(format!(
        r#"#include <metal_stdlib>
namespace {{
#line 1 "{FILE}"
{text}
#line 1 "entry"
constexpr metal::uint size[] = {{{x}, {y}, {z}}};
SHIM_RUNTIME void call(const metal_on_cpu::launch &launch, metal::uint3 at, metal::uint index) {{ {entry}({arguments}); }}
}}
extern "C" {{
#define EXPORT __attribute__((visibility("default")))
EXPORT const metal_on_cpu::runtime *metal_runtime = nullptr;
EXPORT void metal_thread(const metal_on_cpu::launch *launch, metal::uint i) {{
  call(*launch, metal::uint3(i % size[0], i / size[0] % size[1], i / (size[0] * size[1])), i);
}}
EXPORT void metal_group(const metal_on_cpu::launch *launch) {{
  metal::uint i = 0;
  for (metal::uint z = 0; z < size[2]; z++)
    for (metal::uint y = 0; y < size[1]; y++)
      for (metal::uint x = 0; x < size[0]; x++) call(*launch, metal::uint3(x, y, z), i++);
}}
}}
"#
    ))
}

/// Address spaces are all one here, so that the two overloads of naga's compare-exchange are the same: blanks the second.
fn one_address_space(text: &str) -> String {
    const SECOND: &str = "    threadgroup A *atomic_ptr";
    let mut text = text.to_owned();
    while let Some(at) = text.find(SECOND) {
        let start = text[..at].rfind("template").unwrap_or(at);
        let end = text[at..].find("\n}").map_or(text.len(), |close| at + close + 2);
        let lines = text[start..end].matches('\n').count();
        text.replace_range(start..end, &"\n".repeat(lines));
    }
    text
}

/// naga writes runtime-sized arrays as `typedef T name[1];`, of which C++ has element 0 only, and others as a struct with the member
/// `T inner[N];`, which the shim's `array` checks.
fn arrays(text: &str) -> String {
    let rewritten = |line: &str| {
        if let Some(array) = line.strip_suffix("[1];").filter(|line| line.starts_with("typedef ")) {
            return format!("{array}[];");
        }
        let member = line.strip_prefix("    ").and_then(|line| line.strip_suffix("];")?.split_once(" inner["));
        match member {
            Some((element, count)) => format!("    metal::array<{element}, {count}> inner;"),
            None => line.to_owned(),
        }
    };
    text.lines().map(rewritten).collect::<Vec<_>>().join("\n")
}

/// Marks the entry point's references, and the functions that get workgroup memory, for the compiler to treat as Apple's does.
fn references(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut header = None;
    for i in 0..lines.len() {
        if lines[i].ends_with('(') && !lines[i].starts_with(' ') {
            header = Some(i);
        } else if lines[i].starts_with(')') {
            header = None;
        }
        let Some(header) = header else { continue };
        if lines[header].contains("kernel void ") {
            lines[i] = lines[i].replacen("& ", "& METAL_UNSHARED ", 1);
        } else if lines[i].contains(" threadgroup ") && !lines[header].starts_with("METAL_PART ") {
            lines[header].insert_str(0, "METAL_PART ");
        }
    }
    lines.join("\n")
}

/// What `call` passes for the entry point's arguments, one of which naga writes per line.
fn arguments(metal: &Metal) -> Result<Vec<String>, String> {
    let after = metal.text.split_once(&format!("void {}(\n", metal.entry)).ok_or("the entry point is not found")?.1;
    let list = after.split_once("\n) {").ok_or("the entry point has no body")?.0;
    let mut variables = 0..metal.workgroup_bytes.len();
    list.lines().map(|line| argument(line.trim_start_matches([',', ' ']), &mut variables)).collect()
}

fn argument(declaration: &str, variables: &mut impl Iterator<Item = usize>) -> Result<String, String> {
    let unknown = || format!("unknown argument of the entry point: {declaration}");
    if declaration.starts_with("threadgroup ") {
        let variable = variables.next().ok_or_else(unknown)?;
        return Ok(format!("metal_on_cpu::argument{{launch.variables[{variable}]}}"));
    }
    let attribute = declaration.split_once("[[").and_then(|(_, rest)| rest.split_once("]]")).ok_or_else(unknown)?.0;
    if let Some(slot) = attribute.strip_prefix("buffer(").and_then(|rest| rest.strip_suffix(')')) {
        return Ok(format!("metal_on_cpu::argument{{launch.buffers[{slot}]}}"));
    }
    let value = match attribute {
        "thread_position_in_grid" => {
            "metal::uint3(launch.group[0], launch.group[1], launch.group[2]) * metal::uint3(size[0], size[1], size[2]) + at"
        }
        "thread_position_in_threadgroup" => "at",
        "thread_index_in_threadgroup" => "index",
        "threadgroup_position_in_grid" => "metal::uint3(launch.group[0], launch.group[1], launch.group[2])",
        "threadgroups_per_grid" => "metal::uint3(launch.grid[0], launch.grid[1], launch.grid[2])",
        "threads_per_simdgroup" => "32",
        "thread_index_in_simdgroup" => "index % 32",
        "simdgroup_index_in_threadgroup" => "index / 32",
        "simdgroups_per_threadgroup" => "(size[0] * size[1] * size[2] + 31) / 32",
        _ => return Err(unknown()),
    };
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewrites_keep_lines() {
        let text = "template <typename A>\nR f(\n    device A *atomic_ptr,\n) {\n}\ntemplate <typename A>\nR f(\n    threadgroup A \
                    *atomic_ptr,\n) {\n    x;\n}\ntypedef uint type_1[1];\nstruct S {\n    metal::uint4 inner[8];\n};";
        let rewritten = references(&arrays(&one_address_space(text)));
        assert_eq!(rewritten.lines().count(), text.lines().count());
        assert_eq!(rewritten.matches("atomic_ptr").count(), 1);
        assert_eq!(rewritten.lines().nth(11), Some("typedef uint type_1[];"));
        assert_eq!(rewritten.lines().nth(13), Some("    metal::array<metal::uint4, 8> inner;"));
    }

    #[test]
    fn unknown_arguments_are_named() {
        let error = argument("uint x [[color(0)]]", &mut (0..0)).unwrap_err();
        assert!(error.contains("color(0)"), "{error}");
        assert!(argument("threadgroup uint& x", &mut (0..0)).is_err());
    }
}
