//! What one instruction of LLVM IR costs a lane of an Apple GPU.
//!
//! Published figures for the M1 (philipturner/metal-benchmarks): one cycle for adds, logic, minima and selections, 4 for 32-bit products and
//! shifts, 8 for a product of 32 bits by 32 to 64. A product takes an addend without extra cost, and 64 bits with a product of 32 by 32.
//! What moves registers or their halves around costs nothing, a comparison belongs to the selection or branch that uses it.
//! Products and shifts have a pipeline of their own, beside four for the rest, which overlap in part.

use std::collections::{HashMap, HashSet};

/// What an instruction is, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Multiply,
    /// Adds, logic, selections, address arithmetic.
    Simple,
    Shift,
    Load,
    Store,
    Barrier,
    /// Jumps, calls, functions of the SIMD group, atomics.
    Other,
}

/// What an instruction costs a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub kind: Kind,
    /// Instructions that it becomes.
    pub count: u32,
    /// Cycles of issue, of all pipelines together.
    pub cycles: u32,
    /// Cycles until what depends on it can start.
    pub latency: u32,
}

impl Cost {
    const FREE: Self = Self::new(Kind::Other, 0, 0);

    const fn new(kind: Kind, cycles: u32, latency: u32) -> Self {
        Self { kind, count: (cycles > 0) as u32, cycles, latency }
    }

    fn times(self, lanes: u32) -> Self {
        Self { count: self.count * lanes, cycles: self.cycles * lanes, ..self }
    }

    /// Whether it takes the pipeline of products and shifts.
    pub fn is_complex(&self) -> bool {
        matches!(self.kind, Kind::Multiply | Kind::Shift)
    }
}

/// Cycles and latencies.
mod costs {
    use super::{Cost, Kind};

    pub const ADD: Cost = Cost::new(Kind::Simple, 1, 2);
    /// With the comparison that it uses.
    pub const SELECT: Cost = Cost::new(Kind::Simple, 1, 5);
    pub const MULTIPLY: Cost = Cost::new(Kind::Multiply, 4, 4);
    pub const MULTIPLY_WIDE: Cost = Cost::new(Kind::Multiply, 8, 10);
    pub const SHIFT: Cost = Cost::new(Kind::Shift, 4, 4);
    /// On 64 bits.
    pub const ADD_WIDE: Cost = Cost::new(Kind::Simple, 4, 10);
    pub const SHIFT_WIDE: Cost = Cost::new(Kind::Shift, 8, 8);
    pub const LOGIC_WIDE: Cost = Cost::new(Kind::Simple, 2, 4);
    /// There is no integer division in hardware (an estimate).
    pub const DIVIDE: Cost = Cost::new(Kind::Other, 100, 150);
    pub const DIVIDE_WIDE: Cost = Cost::new(Kind::Other, 400, 600);
    /// Issue of a load or store of up to 16 bytes, and the way to the first cache and back (estimates).
    pub const LOAD: Cost = Cost::new(Kind::Load, 4, 80);
    pub const STORE: Cost = Cost::new(Kind::Store, 4, 0);
    pub const ATOMIC: Cost = Cost::new(Kind::Other, 16, 100);
    /// A comparison and a jump.
    pub const BRANCH: Cost = Cost::new(Kind::Other, 2, 4);
    pub const SWITCH: Cost = Cost::new(Kind::Other, 4, 8);
    /// A shuffle (published: 2 to 28 cycles) or another function of the SIMD group (17).
    pub const SIMDGROUP: Cost = Cost::new(Kind::Other, 8, 30);
    /// A barrier, without the wait (an estimate).
    pub const BARRIER: Cost = Cost::new(Kind::Barrier, 16, 40);
    /// Counting bits, rotating, and other rare functions.
    pub const INTRINSIC: Cost = Cost::new(Kind::Shift, 4, 4);
    pub const CALL: Cost = Cost::new(Kind::Other, 2, 4);
}

/// A line of IR that is an instruction: its value, empty if it has none, and the text behind.
pub fn split(line: &str) -> Option<(&str, &str)> {
    let text = line.strip_prefix("  ").filter(|text| !text.starts_with([' ', ']']))?;
    let (name, text) = text.split_once(" = ").filter(|(name, _)| name.starts_with('%')).unwrap_or(("", text));
    Some((name, ["tail ", "notail ", "musttail "].iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text)))
}

/// The values that a text uses.
pub fn values(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '$');
    text.match_indices('%').map(move |(at, _)| {
        let rest = &text[at + 1..];
        &text[at..at + 1 + rest.find(|c| !is_name(c)).unwrap_or(rest.len())]
    })
}

/// What an instruction's neighbours make of it.
#[derive(Default)]
pub struct Context<'a> {
    /// 64-bit values of which only the lower half is used.
    low_halves: HashSet<&'a str>,
    /// Sums that are part of a product.
    fused: HashSet<&'a str>,
    /// 64-bit sums of halves, which clang for the CPU widens: Metal's integers are 32 bits wide by nature.
    narrow: HashSet<&'a str>,
    /// Where the runtime tells the number of the workgroup and the like, which a GPU has in registers.
    launch: HashSet<&'a str>,
}

impl<'a> Context<'a> {
    /// Of a function's lines.
    pub fn new(lines: &[&'a str]) -> Self {
        let masked = |line: &&'a str| line.split_once("and i64 ")?.1.strip_suffix(", 4294967295");
        let launch = |line: &&'a str| Some(split(line).filter(|(_, text)| is_launch(text))?.0);
        Self {
            low_halves: lines.iter().filter_map(masked).collect(),
            fused: fused(lines),
            narrow: narrow(lines),
            launch: lines.iter().filter_map(launch).collect(),
        }
    }

    /// What a line costs.
    ///
    /// # Errors
    ///
    /// Names an instruction that has no price.
    pub fn cost(&self, line: &str) -> Result<Cost, String> {
        let Some((name, text)) = split(line) else { return Ok(Cost::FREE) };
        if self.fused.contains(name) {
            return Ok(Cost::FREE);
        }
        let opcode = text.split(' ').next().unwrap_or_default();
        let wide = text.contains(" i64 ") || text.contains(" x i64> ");
        let by_width = |narrow, on_64| if wide { on_64 } else { narrow };
        let cost = match opcode {
            "add" | "sub" if self.narrow.contains(name) => costs::ADD,
            "add" | "sub" => by_width(costs::ADD, costs::ADD_WIDE),
            // the mask of a lower half is no instruction
            "and" if wide && text.ends_with(", 4294967295") => Cost::FREE,
            // halves put together
            "or" if wide => Cost::FREE,
            "and" | "or" | "xor" => by_width(costs::ADD, costs::LOGIC_WIDE),
            "mul" if self.low_halves.contains(name) => costs::MULTIPLY,
            "mul" => by_width(costs::MULTIPLY, costs::MULTIPLY_WIDE),
            // the other half
            "shl" | "lshr" | "ashr" if wide && text.ends_with(", 32") => Cost::FREE,
            // part of the sum that follows
            "shl" if !wide && shifts_little(text) => costs::ADD,
            "shl" | "lshr" | "ashr" => by_width(costs::SHIFT, costs::SHIFT_WIDE),
            "udiv" | "sdiv" | "urem" | "srem" => by_width(costs::DIVIDE, costs::DIVIDE_WIDE),
            "select" => costs::SELECT,
            "fadd" | "fsub" | "fmul" | "fcmp" | "uitofp" | "sitofp" | "fptoui" | "fptosi" => costs::ADD,
            // the arguments of the kernel, in registers
            "load" if loads_pointer(text) || values(text).any(|value| self.launch.contains(value)) => Cost::FREE,
            "load" => costs::LOAD,
            "store" => costs::STORE,
            "atomicrmw" | "cmpxchg" => costs::ATOMIC,
            // constant offsets are part of the access
            "getelementptr" if text.matches('%').count() > 1 => costs::ADD,
            "br" if text.starts_with("br i1 ") => costs::BRANCH,
            "switch" => costs::SWITCH,
            "call" => call(text),
            "icmp" | "br" | "ret" | "phi" | "getelementptr" | "alloca" | "unreachable" | "fence" | "freeze" => {
                Cost::FREE
            }
            "zext" | "sext" | "trunc" | "bitcast" | "ptrtoint" | "inttoptr" | "extractvalue" | "insertvalue" => {
                Cost::FREE
            }
            "extractelement" | "insertelement" | "shufflevector" => Cost::FREE,
            _ => return Err(format!("no price for `{line}`")),
        };
        // loads and stores of up to 16 bytes are one
        Ok(if matches!(opcode, "load" | "store" | "call") { cost } else { cost.times(lanes(text)) })
    }
}

/// Sums with a product that nothing else uses, one for each product.
fn fused<'a>(lines: &[&'a str]) -> HashSet<&'a str> {
    let mut uses = HashMap::<&str, usize>::new();
    let instructions = || lines.iter().filter_map(|line| split(line));
    instructions().flat_map(|(_, text)| values(text)).for_each(|value| *uses.entry(value).or_default() += 1);
    let mut products: HashSet<&str> = instructions()
        .filter(|(name, text)| text.starts_with("mul ") && uses.get(name) == Some(&1))
        .map(|(name, _)| name)
        .collect();
    let takes_product = |(name, text): (&'a str, &'a str)| {
        let product = text.starts_with("add ").then(|| values(text).find(|value| products.remove(value)))?;
        product.map(|_| name)
    };
    instructions().filter_map(takes_product).collect()
}

/// Sums of upper halves, lower halves and constants.
fn narrow<'a>(lines: &[&'a str]) -> HashSet<&'a str> {
    let (mut halves, mut sums) = (HashSet::new(), HashSet::new());
    for (name, text) in lines.iter().filter_map(|line| split(line)) {
        let is_upper = text.starts_with("lshr ") && text.ends_with(", 32");
        let is_lower = text.ends_with(", 4294967295") || text.starts_with("zext i32 ");
        let is_sum = (text.starts_with("add ") || text.starts_with("sub ")) && text.contains(" i64 ");
        let is_narrow_sum = is_sum && values(text).all(|value| halves.contains(value));
        if is_upper || is_lower || is_narrow_sum {
            halves.insert(name);
        }
        if is_narrow_sum {
            sums.insert(name);
        }
    }
    sums
}

/// By one to four bits.
fn shifts_little(text: &str) -> bool {
    let by = text.trim_end_matches('>').rsplit(' ').next().and_then(|by| by.parse::<u32>().ok());
    by.is_some_and(|by| (1..=4).contains(&by))
}

/// The place of a member of `struct launch` of the shim.
fn is_launch(text: &str) -> bool {
    text.starts_with("getelementptr ") && text.contains("struct.metal_on_cpu::launch")
}

fn loads_pointer(text: &str) -> bool {
    text.split_once(", ").is_some_and(|(loaded, _)| loaded.ends_with('*') || loaded.ends_with(" ptr"))
}

/// Components of the vectors that an instruction is on, which a GPU's lane takes one by one.
fn lanes(text: &str) -> u32 {
    let vector = text.split_once('<').and_then(|(_, rest)| rest.split_once(" x "));
    vector.and_then(|(count, _)| count.parse().ok()).unwrap_or(1)
}

fn call(text: &str) -> Cost {
    let callee = text.split_once('@').map_or("", |(_, callee)| callee);
    let is = |part: &str| callee.contains(part);
    if is("__sanitizer_cov") || is("llvm.lifetime") || is("llvm.assume") || is("llvm.dbg") || is("noalias") {
        Cost::FREE
    } else if is("llvm.umin") || is("llvm.umax") || is("llvm.smin") || is("llvm.smax") || is("llvm.abs") {
        costs::SELECT.times(lanes(text))
    } else if is("llvm.memcpy") || is("llvm.memset") || is("llvm.memmove") {
        // the length is the third argument
        let length = text.split("i64 ").nth(1).and_then(|rest| rest.split([',', ')']).next()?.parse::<u32>().ok());
        let pieces = length.unwrap_or(16).div_ceil(16);
        // a load and a store
        Cost {
            kind: Kind::Store,
            count: 2 * pieces,
            cycles: 2 * pieces * costs::STORE.cycles,
            latency: costs::LOAD.latency,
        }
    } else if is("llvm.") {
        costs::INTRINSIC.times(lanes(text))
    } else if is("barrier") {
        costs::BARRIER
    } else if is("_ZN5metal") {
        costs::SIMDGROUP
    } else {
        costs::CALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_takes_an_addend() {
        let lines = [
            "  %5 = mul nuw i64 %3, %4",
            "  %6 = mul nuw i64 %1, %2",
            "  %7 = add i64 %5, %6",
            "  %8 = add i64 %7, %9",
            "  %10 = mul i32 %11, %12",
            "  %13 = add i32 %10, %14",
            "  %15 = add i32 %10, %14",
        ];
        let context = Context::new(&lines);
        let cycles: Vec<_> = lines.iter().map(|line| context.cost(line).unwrap().cycles).collect();
        // the last product is used twice
        assert_eq!(cycles, [8, 8, 0, 4, 4, 1, 1]);
    }

    #[test]
    fn sums_of_halves_are_narrow() {
        let lines = [
            "  %3 = lshr i64 %1, 32",
            "  %4 = lshr i64 %2, 32",
            "  %5 = add nuw nsw i64 %3, 2013265921",
            "  %6 = sub i64 %5, %4",
            "  %7 = add i64 %6, %1",
        ];
        let context = Context::new(&lines);
        let cycles: Vec<_> = lines.iter().map(|line| context.cost(line).unwrap().cycles).collect();
        assert_eq!(cycles, [0, 0, 1, 1, 4]);
    }

    #[test]
    fn vectors_are_taken_apart_and_arguments_are_free() {
        let cost = |line| Context::default().cost(line).unwrap();
        assert_eq!(cost("  %1 = add <4 x i32> %2, %3").cycles, 4);
        assert_eq!(cost("  %1 = shl nuw i32 %2, 1").cycles, 1);
        assert_eq!(cost("  %1 = shl <2 x i32> %2, <i32 1, i32 1>").cycles, 2);
        assert_eq!(cost("  %1 = shl i32 %2, 14").cycles, 4);
        assert_eq!(cost("  %1 = tail call <4 x i32> @llvm.umin.v4i32(<4 x i32> %2, <4 x i32> %3)").cycles, 4);
        assert_eq!(cost("  %1 = load <4 x i32>, <4 x i32>* %2, align 16").cycles, 4);
        assert_eq!(cost("  %1 = load [0 x i32]*, [0 x i32]** %2, align 8").cycles, 0);
        assert_eq!(cost("  %1 = load ptr, ptr %2, align 8").cycles, 0);
        assert_eq!(cost("10:                ; preds = %2").cycles, 0);
    }
}
