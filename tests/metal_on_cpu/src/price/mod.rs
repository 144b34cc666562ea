//! Price mode: what workgroups would cost an Apple GPU, by the instructions of the basic blocks that their threads run and by the lines of
//! memory that they touch.

mod blocks;
mod instruction;
mod traffic;

use std::{cell::RefCell, ffi::c_void, ops::Range};

use self::traffic::Traffic;
pub use self::{
    blocks::price_blocks,
    traffic::{Lines, LINE},
};
use crate::execute::{
    abi::{Runtime, ACCESS_WRITE, SIMDGROUP},
    image, Dispatch, Divergence, Fiber, Observer,
};

/// What one workgroup costs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Cycles times lanes that are busy or idle in a SIMD group that is: each takes as long as its slowest thread.
    pub lane_cycles: u64,
    /// Those of them in the pipeline of products and shifts.
    pub complex_cycles: u64,
    /// Cycles of its slowest SIMD group, were it alone: the issue of its blocks' instructions, or their dependences, if those take longer.
    pub latency: u64,
    /// Instructions of all its threads.
    pub work: Work,
    /// Memory by binding, without the lines that workgroups before it touched.
    pub lines: Vec<Lines>,
}

/// Instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Integer products, of any width.
    pub multiplies: u64,
    /// Additions, logic, minima, selections, address arithmetic.
    pub simple: u64,
    /// Shifts and counts of bits.
    pub shifts: u64,
    /// Loads of up to 16 bytes, from bindings, workgroup memory and arrays.
    pub loads: u64,
    /// Stores of up to 16 bytes.
    pub stores: u64,
    /// Barriers.
    pub barriers: u64,
}

impl std::ops::AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.multiplies += other.multiplies;
        self.simple += other.simple;
        self.shifts += other.shifts;
        self.loads += other.loads;
        self.stores += other.stores;
        self.barriers += other.barriers;
    }
}

/// What kernels of price mode call.
pub static RUNTIME: Runtime = Runtime {
    threadgroup_barrier: image::threadgroup_barrier,
    simdgroup_barrier: image::simdgroup_barrier,
    simdgroup_exchange: image::simdgroup_exchange,
    fails_spuriously: image::fails_spuriously,
    access: touch,
    copy: image::copy,
    fill: image::fill,
    undefined: image::unchecked_undefined,
    spend,
};

/// What one thread has spent.
#[derive(Clone, Copy, Default)]
struct Spent {
    cycles: u64,
    complex: u64,
    latency: u64,
}

/// The workgroup that runs.
#[derive(Default)]
struct Bill {
    threads: Vec<Spent>,
    work: Work,
    traffic: Traffic,
}

thread_local! {
    /// Of this thread.
    static BILL: RefCell<Bill> = RefCell::default();
}

extern "C" fn spend(cycles: u32, complex: u32, latency: u32, arithmetic: u64, memory: u64) {
    let thread = Fiber::with_current(|fiber| fiber.index);
    BILL.with_borrow_mut(|bill| {
        let spent = &mut bill.threads[thread as usize];
        spent.cycles += u64::from(cycles);
        spent.complex += u64::from(complex);
        spent.latency += u64::from(latency);
        bill.work.add_packed([arithmetic, memory]);
    });
}

extern "C" fn touch(at: *const c_void, bytes: usize, kinds: u32, _: *const c_void) {
    BILL.with_borrow_mut(|bill| bill.traffic.touch(at as usize, bytes, kinds & ACCESS_WRITE != 0));
}

/// Barriers are priced as instructions, and check mode reports what diverges.
struct Nobody;

impl Observer for Nobody {
    fn barrier(&mut self, _flags: u32) {}

    fn simdgroup_barrier(&mut self, _simdgroup: usize, _flags: u32) {}

    fn diverged(&mut self, _divergence: Divergence) {}
}

/// Runs workgroups, by number, and returns what each costs. The bindings are at these addresses.
pub fn run(dispatch: &Dispatch<'_>, bindings: &[Range<usize>], groups: &[u32]) -> Vec<Price> {
    let threads = dispatch.metal.workgroup.iter().product::<u32>() as usize;
    let mut variables: Vec<Vec<u128>> =
        dispatch.metal.workgroup_bytes.iter().map(|bytes| vec![0; bytes.div_ceil(16) as usize]).collect();
    let pointers: Vec<*mut c_void> = variables.iter_mut().map(|words| words.as_mut_ptr().cast()).collect();
    BILL.with_borrow_mut(|bill| bill.traffic = Traffic::new(bindings));
    let price = |group: &u32| {
        BILL.with_borrow_mut(|bill| (bill.threads, bill.work) = (vec![Spent::default(); threads], Work::default()));
        dispatch.run_in_turn(&[*group], &mut Nobody, |_| pointers.clone());
        BILL.with_borrow_mut(|bill| Price { work: bill.work, lines: bill.traffic.take(), ..of_threads(&bill.threads) })
    };
    groups.iter().map(price).collect()
}

fn of_threads(threads: &[Spent]) -> Price {
    let slowest = |of: fn(&Spent) -> u64| {
        threads.chunks(SIMDGROUP as usize).map(move |lanes| lanes.iter().map(of).max().unwrap_or(0))
    };
    let width = u64::from(SIMDGROUP);
    Price {
        lane_cycles: slowest(|spent| spent.cycles).map(|cycles| cycles * width).sum(),
        complex_cycles: slowest(|spent| spent.complex).map(|cycles| cycles * width).sum(),
        latency: slowest(|spent| spent.latency).max().unwrap_or(0),
        ..Price::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simdgroup_takes_as_long_as_its_slowest_thread() {
        let mut threads = vec![Spent { cycles: 1, complex: 0, latency: 3 }; 40];
        threads[3] = Spent { cycles: 10, complex: 4, latency: 20 };
        let expected = Price { lane_cycles: 32 * 11, complex_cycles: 32 * 4, latency: 20, ..Price::default() };
        assert_eq!(of_threads(&threads), expected);
        assert_eq!(of_threads(&[]), Price::default());
    }
}
