//! The LLVM IR of a kernel's Metal text, with the cost of each basic block counted as it runs.
//!
//! clang's coverage instrumentation marks the basic blocks after optimization; here every mark becomes the sum of what the instructions
//! of its block cost a lane of an Apple GPU (`instruction`). Every load and store is preceded by a call that tells its address.

use std::collections::HashMap;

use super::{
    instruction::{split, values, Context, Cost, Kind},
    Work,
};

/// Marks that the instrumentation leaves in a block.
const MARK: &str = "call void @__sanitizer_cov_trace_pc_guard(";
/// What takes their place; `shim/metal/price.h` defines it.
const SPEND: &str = "metal_spend";
/// What comes before a load or store.
const TOUCH: &str = "metal_touch";

/// The IR with every mark replaced by a call of `metal_spend` with the cost of its block, and a call of `metal_touch` before every access.
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
    if is_shim(lines[0]) {
        lines.iter().filter(|line| !line.contains(MARK)).for_each(|line| push(out, line));
        return Ok(());
    }
    let context = Context::new(lines);
    let is_label = |line: &str| !line.starts_with(' ') && line.contains(':');
    let mut at = 0;
    while at < lines.len() {
        let end = (at + 1..lines.len()).find(|i| is_label(lines[*i])).unwrap_or(lines.len());
        let block = &lines[at..end];
        let mut price = Some(Block::new(block, &context)?).filter(|price| price.cycles > 0);
        if price.is_some() && !block.iter().any(|line| line.contains(MARK)) {
            return Err(format!("no mark in the block of {}: {}", lines[0], block[0]));
        }
        for (i, line) in block.iter().enumerate() {
            if !line.contains(MARK) {
                if let Some(touch) = touch(line, at + i) {
                    push(out, &touch);
                }
                push(out, line);
            } else if let Some(price) = price.take() {
                push(out, &price.call());
            }
        }
        at = end;
    }
    Ok(())
}

/// Functions of the shim that stand for one instruction each.
fn is_shim(definition: &str) -> bool {
    ["_ZN5metal", SPEND, TOUCH]
        .iter()
        .any(|name| definition.contains(&format!("@{name}")) && !definition.contains("@metal_thread"))
}

/// What a basic block costs.
#[derive(Default)]
struct Block {
    cycles: u32,
    complex: u32,
    /// From its first instruction to its last result, were the SIMD group alone.
    latency: u32,
    work: Work,
}

impl Block {
    fn new(lines: &[&str], context: &Context<'_>) -> Result<Self, String> {
        let mut block = Self::default();
        let (mut ready, mut barrier) = (HashMap::new(), 0);
        for line in lines {
            let cost = context.cost(line)?;
            block.cycles += cost.cycles;
            block.complex += if cost.is_complex() { cost.cycles } else { 0 };
            block.work.count(&cost);
            let Some((name, text)) = split(line).filter(|(_, text)| !text.starts_with("phi ")) else { continue };
            let inputs = values(text).filter_map(|value| ready.get(value).copied()).max().unwrap_or(0);
            let end = inputs.max(barrier) + cost.latency;
            block.latency = block.latency.max(end);
            if cost.kind == Kind::Barrier {
                barrier = block.latency;
            }
            ready.insert(name, end);
        }
        block.latency = block.latency.max(block.cycles);
        Ok(block)
    }

    fn call(&self) -> String {
        let Self { cycles, complex, latency, work } = self;
        let [arithmetic, memory] = work.pack();
        format!("  call void @{SPEND}(i32 {cycles}, i32 {complex}, i32 {latency}, i64 {arithmetic}, i64 {memory})")
    }
}

/// Bits of a count in a packed pair of words.
const PACKED: u32 = 21;

impl Work {
    fn count(&mut self, cost: &Cost) {
        let count = u64::from(cost.count);
        match cost.kind {
            Kind::Multiply => self.multiplies += count,
            Kind::Simple => self.simple += count,
            Kind::Shift => self.shifts += count,
            Kind::Load => self.loads += count,
            Kind::Store => self.stores += count,
            Kind::Barrier => self.barriers += count,
            Kind::Other => (),
        }
    }

    fn pack(&self) -> [u64; 2] {
        let pack = |counts: [u64; 3]| counts.into_iter().rev().fold(0, |packed, count| packed << PACKED | count);
        [pack([self.multiplies, self.simple, self.shifts]), pack([self.loads, self.stores, self.barriers])]
    }

    /// Adds what [`Work::pack`] packed.
    pub(super) fn add_packed(&mut self, [arithmetic, memory]: [u64; 2]) {
        let part = |packed: u64, i: u32| packed >> (i * PACKED) & ((1 << PACKED) - 1);
        self.multiplies += part(arithmetic, 0);
        self.simple += part(arithmetic, 1);
        self.shifts += part(arithmetic, 2);
        self.loads += part(memory, 0);
        self.stores += part(memory, 1);
        self.barriers += part(memory, 2);
    }
}

/// The call that tells the address of a load (kind 1, as `access_kind`) or store (2). Pointers are the kernel's arguments.
fn touch(line: &str, number: usize) -> Option<String> {
    let (_, text) = split(line)?;
    let (kind, ty, pointer) = if let Some(load) = text.strip_prefix("load ") {
        let (ty, rest) = load.trim_start_matches("volatile ").split_once(", ")?;
        (1, ty, rest)
    } else {
        let (stored, rest) = text.strip_prefix("store ")?.trim_start_matches("volatile ").split_once(", ")?;
        (2, stored.rsplit_once(' ')?.0, rest)
    };
    let bytes = bytes(ty)?;
    let pointer = pointer.split(", align").next()?;
    // typed pointers (up to LLVM 14) or opaque ones
    Some(if pointer.starts_with("ptr ") {
        format!("  call void @{TOUCH}({pointer}, i32 {bytes}, i32 {kind})")
    } else {
        format!("  %touch.{number} = bitcast {pointer} to i8*\n  call void @{TOUCH}(i8* %touch.{number}, i32 {bytes}, i32 {kind})")
    })
}

/// The size of an integer or a vector of integers.
fn bytes(ty: &str) -> Option<u32> {
    let bits = |ty: &str| ty.strip_prefix('i')?.parse::<u32>().ok();
    let Some(vector) = ty.strip_prefix('<').and_then(|ty| ty.strip_suffix('>')) else {
        return Some(bits(ty)?.div_ceil(8));
    };
    let (count, element) = vector.split_once(" x ")?;
    Some(count.parse::<u32>().ok()? * bits(element)?.div_ceil(8))
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
  %18 = shl i32 %16, 7
  store i32 %18, i32* %p, align 4
  ret i32 %18
}
";

    #[test]
    fn a_product_costs_what_is_published() {
        let priced = price_blocks(IR).unwrap();
        // two wide products, one of which only the lower half is used, a difference and its correction; one after the other
        let (cycles, complex, latency) = (23, 20, 10 + 4 + 10 + 2 + 2 + 5);
        let work = Work { multiplies: 3, simple: 3, ..Work::default() };
        let [arithmetic, memory] = work.pack();
        let call = format!("metal_spend(i32 {cycles}, i32 {complex}, i32 {latency}, i64 {arithmetic}, i64 {memory})");
        assert!(priced.contains(&call), "{priced}");
        assert!(
            priced.contains("call void @metal_spend(i32 8, i32 4, i32 8, i64 4398046511104, i64 2097152)"),
            "{priced}"
        );
        assert!(!priced.contains("__sanitizer_cov"), "{priced}");
        let mut unpacked = Work::default();
        unpacked.add_packed(work.pack());
        assert_eq!(unpacked, work);
    }

    #[test]
    fn accesses_tell_their_address() {
        let touch = |line| touch(line, 7);
        let typed = "  %touch.7 = bitcast i32* %p to i8*\n  call void @metal_touch(i8* %touch.7, i32 4, i32 2)";
        assert_eq!(touch("  store i32 %18, i32* %p, align 4").unwrap(), typed);
        let opaque = "  call void @metal_touch(ptr %2, i32 16, i32 1)";
        assert_eq!(touch("  %1 = load <4 x i32>, ptr %2, align 16").unwrap(), opaque);
        assert!(touch("  %1 = load [0 x i32]*, [0 x i32]** %2, align 8").is_none());
        assert!(touch("  %1 = load ptr, ptr %2, align 8").is_none());
        assert!(touch("  %1 = add i32 %2, %3").is_none());
    }

    #[test]
    fn what_has_no_price_is_named() {
        let unknown = IR.replace("%18 = shl i32 %16, 7", "%18 = frobnicate i32 %16, 3");
        assert!(price_blocks(&unknown).unwrap_err().contains("frobnicate"));
        let unmarked = IR.replace("  tail call void @__sanitizer_cov_trace_pc_guard(i32* @g) #1\n", "");
        assert!(price_blocks(&unmarked).unwrap_err().contains("17:"));
    }
}
