//! The LLVM IR of a kernel's Metal text, with the cycles of each basic block counted as it runs.
//!
//! clang's coverage instrumentation marks the basic blocks after optimization; here every mark becomes the sum of what the instructions
//! of its block cost a lane of an Apple GPU. The prices are published figures for the M1: one cycle for adds, logic, minima and
//! selections, 4 for 32-bit products and shifts, 8 for a product of 32 bits by 32 to 64. What moves registers or their halves around costs nothing,
//! a comparison belongs to the selection or branch that uses it. Loads and stores are priced as issued; bandwidth is the caller's business.

use std::collections::HashSet;

/// Marks that the instrumentation leaves in a block.
const MARK: &str = "call void @__sanitizer_cov_trace_pc_guard(";
/// What takes their place; `shim/metal/price.h` defines it.
const SPEND: &str = "metal_spend";

/// Cycles of a lane, by kind of instruction.
mod cycles {
    pub const SIMPLE: u64 = 1;
    pub const MULTIPLY: u64 = 4;
    pub const MULTIPLY_WIDE: u64 = 8;
    pub const SHIFT: u64 = 4;
    /// On 64 bits.
    pub const ADD_WIDE: u64 = 4;
    pub const SHIFT_WIDE: u64 = 8;
    pub const LOGIC_WIDE: u64 = 2;
    /// There is no integer division in hardware (an estimate).
    pub const DIVIDE: u64 = 100;
    /// Issue of a load or store of up to 16 bytes (an estimate).
    pub const MEMORY: u64 = 4;
    pub const ATOMIC: u64 = 16;
    /// A comparison and a jump.
    pub const BRANCH: u64 = 2;
    /// A shuffle, or another function of the SIMD group (an estimate).
    pub const SIMDGROUP: u64 = 8;
    /// A barrier, without the wait (an estimate).
    pub const BARRIER: u64 = 16;
    /// Counting bits, rotating, and other rare functions.
    pub const INTRINSIC: u64 = 4;
    pub const CALL: u64 = 2;
}

/// The IR with every mark replaced by a call of `metal_spend` with the cycles of its block.
///
/// # Errors
///
/// Names an instruction that has no price, or a block without a mark.
pub fn price_blocks(ir: &str) -> Result<String, String> {
    let mut out = String::with_capacity(ir.len());
    let mut function: Option<Vec<&str>> = None;
    for line in ir.lines() {
        if line.starts_with("define ") && !line.contains("@sancov.") {
            function = Some(vec![]);
        }
        match &mut function {
            Some(lines) => lines.push(line),
            None => push(&mut out, line),
        }
        if line == "}" {
            if let Some(lines) = function.take() {
                price_function(&lines, &mut out)?;
            }
        }
    }
    Ok(out)
}

fn push(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

/// Blocks begin at labels.
fn price_function(lines: &[&str], out: &mut String) -> Result<(), String> {
    let shim = is_shim(lines[0]);
    let halves = low_halves(lines);
    let is_label = |line: &str| !line.starts_with(' ') && line.contains(':');
    let mut at = 0;
    while at < lines.len() {
        let end = (at + 1..lines.len()).find(|i| is_label(lines[*i])).unwrap_or(lines.len());
        let block = &lines[at..end];
        let mut price = 0;
        if !shim {
            for line in block {
                price += instruction(line, &halves)?;
            }
        }
        let marks = block.iter().filter(|line| line.contains(MARK)).count();
        if marks == 0 && price > 0 {
            return Err(format!("no mark in the block of {}: {}", lines[0], block[0]));
        }
        let mut left = Some(price).filter(|price| *price > 0);
        for line in block {
            if !line.contains(MARK) {
                push(out, line);
            } else if let Some(price) = left.take() {
                push(out, &format!("  call void @{SPEND}(i32 {price})"));
            }
        }
        at = end;
    }
    Ok(())
}

/// Functions of the shim that stand for one instruction each.
fn is_shim(definition: &str) -> bool {
    definition.contains("@_ZN5metal") || definition.contains(&format!("@{SPEND}("))
}

/// 64-bit values of which only the lower half is used.
fn low_halves<'a>(lines: &[&'a str]) -> HashSet<&'a str> {
    let masked = |line: &&'a str| line.split_once("and i64 ")?.1.strip_suffix(", 4294967295");
    lines.iter().filter_map(masked).collect()
}

fn instruction(line: &str, low_halves: &HashSet<&str>) -> Result<u64, String> {
    let Some(text) = line.strip_prefix("  ").filter(|text| !text.starts_with([' ', ']'])) else { return Ok(0) };
    let (name, text) = text.split_once(" = ").unwrap_or(("", text));
    let text = ["tail ", "notail ", "musttail "].iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
    let opcode = text.split(' ').next().unwrap_or_default();
    let wide = text.contains(" i64 ") || text.contains(" x i64> ");
    let narrow_or_wide = |narrow, on_64| if wide { on_64 } else { narrow };
    let price = match opcode {
        "add" | "sub" => narrow_or_wide(cycles::SIMPLE, cycles::ADD_WIDE),
        // the mask of a lower half is no instruction
        "and" if wide && text.ends_with(", 4294967295") => 0,
        // halves put together
        "or" if wide => 0,
        "and" | "or" | "xor" => narrow_or_wide(cycles::SIMPLE, cycles::LOGIC_WIDE),
        "mul" if low_halves.contains(name) => cycles::MULTIPLY,
        "mul" => narrow_or_wide(cycles::MULTIPLY, cycles::MULTIPLY_WIDE),
        // the other half
        "shl" | "lshr" | "ashr" if wide && text.ends_with(", 32") => 0,
        "shl" | "lshr" | "ashr" => narrow_or_wide(cycles::SHIFT, cycles::SHIFT_WIDE),
        "udiv" | "sdiv" | "urem" | "srem" => narrow_or_wide(cycles::DIVIDE, 4 * cycles::DIVIDE),
        "select" | "fadd" | "fsub" | "fmul" | "fcmp" | "uitofp" | "sitofp" | "fptoui" | "fptosi" => cycles::SIMPLE,
        "load" | "store" => cycles::MEMORY,
        "atomicrmw" | "cmpxchg" => cycles::ATOMIC,
        // constant offsets are part of the access
        "getelementptr" if text.matches('%').count() > 1 => cycles::SIMPLE,
        "br" if text.starts_with("br i1 ") => cycles::BRANCH,
        "switch" => 2 * cycles::BRANCH,
        "call" => call(text),
        "icmp" | "br" | "ret" | "phi" | "getelementptr" | "alloca" | "unreachable" | "fence" | "freeze" => 0,
        "zext" | "sext" | "trunc" | "bitcast" | "ptrtoint" | "inttoptr" | "extractvalue" | "insertvalue" => 0,
        "extractelement" | "insertelement" | "shufflevector" => 0,
        _ => return Err(format!("no price for `{line}`")),
    };
    // loads and stores of up to 16 bytes are one
    Ok(if matches!(opcode, "load" | "store" | "call") { price } else { price * lanes(text) })
}

/// Components of the vectors that an instruction is on, which a GPU's lane takes one by one.
fn lanes(text: &str) -> u64 {
    let vector = text.split_once('<').and_then(|(_, rest)| rest.split_once(" x "));
    vector.and_then(|(count, _)| count.parse().ok()).unwrap_or(1)
}

fn call(text: &str) -> u64 {
    let callee = text.split_once('@').map_or("", |(_, callee)| callee);
    let is = |part: &str| callee.contains(part);
    if is("__sanitizer_cov") || is("llvm.lifetime") || is("llvm.assume") || is("llvm.dbg") || is("noalias") {
        0
    } else if is("llvm.umin") || is("llvm.umax") || is("llvm.smin") || is("llvm.smax") || is("llvm.abs") {
        cycles::SIMPLE
    } else if is("llvm.memcpy") || is("llvm.memset") || is("llvm.memmove") {
        // the length is the third argument
        let length = text.split("i64 ").nth(1).and_then(|rest| rest.split([',', ')']).next()?.parse::<u64>().ok());
        length.unwrap_or(16).div_ceil(16) * 2 * cycles::MEMORY
    } else if is("llvm.") {
        cycles::INTRINSIC
    } else if is("barrier") {
        cycles::BARRIER
    } else if is("_ZN5metal") {
        cycles::SIMDGROUP
    } else {
        cycles::CALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A product modulo p and a sum modulo p in a loop.
    const IR: &str = "\
define i32 @f(i32 %0, i32 %1) {
  call void @__sanitizer_cov_trace_pc_guard(i32* @g) #1
  %3 = zext i32 %0 to i64
  %4 = zext i32 %1 to i64
  %5 = mul nuw i64 %3, %4
  %6 = mul i64 %5, 2281701377
  %7 = and i64 %6, 4294967295
  %8 = mul nuw nsw i64 %7, 2013265921
  %9 = lshr i64 %5, 32
  %10 = trunc i64 %9 to i32
  %11 = lshr i64 %8, 32
  %12 = trunc i64 %11 to i32
  %13 = sub i32 %10, %12
  %14 = add i32 %13, 2013265921
  %15 = icmp ult i32 %14, %13
  %16 = select i1 %15, i32 %14, i32 %13
  br label %17

17:                                               ; preds = %2
  tail call void @__sanitizer_cov_trace_pc_guard(i32* @g) #1
  %18 = shl i32 %16, 3
  ret i32 %18
}
";

    #[test]
    fn a_product_costs_what_is_published() {
        let priced = price_blocks(IR).unwrap();
        // two wide products, one of which only the lower half is used, a difference and its correction
        assert!(priced.contains("call void @metal_spend(i32 23)"), "{priced}");
        assert!(priced.contains("call void @metal_spend(i32 4)"), "{priced}");
        assert!(!priced.contains("__sanitizer_cov"), "{priced}");
        assert_eq!(priced.lines().count(), IR.lines().count());
    }

    #[test]
    fn what_has_no_price_is_named() {
        let unknown = IR.replace("%18 = shl i32 %16, 3", "%18 = frobnicate i32 %16, 3");
        assert!(price_blocks(&unknown).unwrap_err().contains("frobnicate"));
        let unmarked = IR.replace("  tail call void @__sanitizer_cov_trace_pc_guard(i32* @g) #1\n", "");
        assert!(price_blocks(&unmarked).unwrap_err().contains("17:"));
    }
}
