//! Price mode: what workgroups would cost an Apple GPU, by the cycles of the basic blocks that their threads run.

mod blocks;

use std::{cell::RefCell, ffi::c_void};

pub use self::blocks::price_blocks;
use crate::execute::{
    abi::{Runtime, SIMDGROUP},
    image, Dispatch, Divergence, Fiber, Observer,
};

/// What one workgroup costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Cycles times lanes that are busy or idle in a SIMD group that is: each takes as long as its slowest thread.
    pub lane_cycles: u64,
    /// Cycles of its slowest SIMD group.
    pub longest: u64,
}

/// What kernels of price mode call.
pub static RUNTIME: Runtime = Runtime {
    threadgroup_barrier: image::threadgroup_barrier,
    simdgroup_barrier: image::simdgroup_barrier,
    simdgroup_exchange: image::simdgroup_exchange,
    fails_spuriously: image::fails_spuriously,
    access: image::unchecked_access,
    copy: image::copy,
    fill: image::fill,
    undefined: image::unchecked_undefined,
    spend,
};

thread_local! {
    /// Cycles of each thread of the workgroup that runs on this thread.
    static CYCLES: RefCell<Vec<u64>> = const { RefCell::new(vec![]) };
}

extern "C" fn spend(cycles: u32) {
    let thread = Fiber::with_current(|fiber| fiber.index);
    CYCLES.with_borrow_mut(|spent| spent[thread as usize] += u64::from(cycles));
}

/// Barriers are priced as instructions, and check mode reports what diverges.
struct Nobody;

impl Observer for Nobody {
    fn barrier(&mut self, _flags: u32) {}

    fn simdgroup_barrier(&mut self, _simdgroup: usize, _flags: u32) {}

    fn diverged(&mut self, _divergence: Divergence) {}
}

/// Runs workgroups, by number, and returns what each costs.
pub fn run(dispatch: &Dispatch<'_>, groups: &[u32]) -> Vec<Price> {
    let threads = dispatch.metal.workgroup.iter().product::<u32>() as usize;
    let mut variables: Vec<Vec<u128>> =
        dispatch.metal.workgroup_bytes.iter().map(|bytes| vec![0; bytes.div_ceil(16) as usize]).collect();
    let pointers: Vec<*mut c_void> = variables.iter_mut().map(|words| words.as_mut_ptr().cast()).collect();
    let price = |group: &u32| {
        CYCLES.set(vec![0; threads]);
        dispatch.run_in_turn(&[*group], &mut Nobody, |_| pointers.clone());
        of_threads(&CYCLES.take())
    };
    groups.iter().map(price).collect()
}

fn of_threads(cycles: &[u64]) -> Price {
    let slowest = cycles.chunks(SIMDGROUP as usize).map(|lanes| lanes.iter().copied().max().unwrap_or(0));
    let longest = slowest.clone().max().unwrap_or(0);
    Price { lane_cycles: slowest.map(|cycles| cycles * u64::from(SIMDGROUP)).sum(), longest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simdgroup_takes_as_long_as_its_slowest_thread() {
        let mut cycles = vec![1; 40];
        cycles[3] = 10;
        assert_eq!(of_threads(&cycles), Price { lane_cycles: 32 * 11, longest: 10 });
        assert_eq!(of_threads(&[]), Price::default());
    }
}
