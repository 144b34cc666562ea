//! Check mode: what clang's sanitizers report of a running kernel, against what is remembered of its memory.

mod finding;
mod monitor;
mod shadow;
mod site;

use std::{cell::RefCell, collections::HashSet, ffi::c_void};

use crate::execute::{
    abi::{Runtime, UNDEFINED_DIVISION, UNDEFINED_INDEX, UNDEFINED_SHIFT},
    image, Dispatch, Divergence, Fiber, Observer, State,
};

pub use self::{
    finding::{Finding, FindingKind},
    monitor::{Memory, Region},
};
use self::{
    monitor::{Monitor, Observation},
    site::Lines,
};

/// What workgroup memory holds before a kernel writes to it.
const POISON: u8 = 0xa5;
/// Bytes between workgroup variables, so that an index beyond one does not reach the next.
const GAP: usize = 4096;

/// What kernels of check mode call.
pub static RUNTIME: Runtime = Runtime {
    threadgroup_barrier: image::threadgroup_barrier,
    simdgroup_barrier: image::simdgroup_barrier,
    simdgroup_exchange: image::simdgroup_exchange,
    fails_spuriously: image::fails_spuriously,
    access,
    copy: image::copy,
    fill: image::fill,
    undefined,
    spend: image::uncounted,
};

thread_local! {
    /// Of the dispatch that this thread runs.
    static MONITOR: RefCell<Option<Monitor>> = const { RefCell::new(None) };
}

fn with_monitor<R>(f: impl FnOnce(&mut Monitor) -> R) -> R {
    MONITOR.with_borrow_mut(|monitor| f(monitor.as_mut().expect("a checked dispatch runs")))
}

extern "C" fn access(at: *const c_void, bytes: usize, kinds: u32, site: *const c_void) {
    Fiber::with_current(|fiber| {
        let may_happen = fiber.owns(at as usize)
            || with_monitor(|monitor| monitor.access(at as usize, bytes, kinds, fiber.index, site as usize));
        if !may_happen {
            fiber.wait(State::Stopped);
        }
    });
}

extern "C" fn undefined(kind: u32, operand: u64, site: *const c_void) {
    let (kind, what, goes_on) = match kind {
        UNDEFINED_INDEX => {
            let what = format!("index {} of an array of constant size", operand as i64);
            (FindingKind::ArrayOverrun, what, false)
        }
        UNDEFINED_DIVISION => (FindingKind::DivisionByZero, "division by zero".to_owned(), false),
        UNDEFINED_SHIFT => (FindingKind::WideShift, format!("shift by {}", operand as i64), true),
        _ => unreachable!("undefined_kind {kind} of shim/runtime.h"),
    };
    Fiber::with_current(|fiber| {
        with_monitor(|monitor| monitor.undefined(kind, &what, fiber.index, site as usize));
        if !goes_on {
            drop(what);
            fiber.wait(State::Stopped);
        }
    });
}

/// Tells the monitor of this thread.
struct Report;

impl Observer for Report {
    fn barrier(&mut self, flags: u32) {
        with_monitor(|monitor| monitor.clock().barrier(flags));
    }

    fn simdgroup_barrier(&mut self, simdgroup: usize, flags: u32) {
        with_monitor(|monitor| monitor.clock().simdgroup_barrier(simdgroup, flags));
    }

    fn diverged(&mut self, divergence: Divergence) {
        with_monitor(|monitor| monitor.diverged(divergence));
    }
}

/// Workgroup memory, its variables apart from each other.
struct Variables {
    memory: Vec<u128>,
    /// Offset and size of each, bytes.
    places: Vec<(usize, usize)>,
}

impl Variables {
    fn new(sizes: &[u32]) -> Self {
        let mut end = 0;
        let mut place = |bytes: &u32| {
            let offset = end + GAP;
            end = (offset + *bytes as usize).next_multiple_of(16);
            (offset, *bytes as usize)
        };
        let places = sizes.iter().map(&mut place).collect();
        Self { memory: vec![0; (end + GAP) / 16], places }
    }

    fn regions(&self) -> impl Iterator<Item = Region> + '_ {
        let base = self.memory.as_ptr() as usize;
        let region = move |(i, (offset, bytes)): (usize, &(usize, usize))| {
            Region::new(Memory::Variable(i), base + offset, *bytes)
        };
        self.places.iter().enumerate().map(region)
    }

    /// Overwrites what the last workgroup left; pointers to the variables.
    fn poison(&mut self) -> Vec<*mut c_void> {
        self.memory.fill(u128::from_ne_bytes([POISON; 16]));
        let base = self.memory.as_mut_ptr().cast::<u8>();
        self.places.iter().map(|(offset, _)| base.wrapping_add(*offset).cast()).collect()
    }
}

/// Runs all workgroups, one after the other, and returns what was found. `regions` is the memory behind the dispatch's buffers.
pub fn run(dispatch: &Dispatch<'_>, regions: Vec<Region>, kernel: &str) -> Vec<Finding> {
    let mut variables = Variables::new(&dispatch.metal.workgroup_bytes);
    let regions = regions.into_iter().chain(variables.regions()).collect();
    let code = dispatch.image.run_thread as *const () as usize;
    MONITOR.set(Some(Monitor::new(code, regions)));
    dispatch.run_in_turn(&dispatch.groups(), &mut Report, |group| {
        with_monitor(|monitor| monitor.begin(group));
        variables.poison()
    });
    let found = MONITOR.take().expect("set above").into_found();
    if found.is_empty() {
        return vec![];
    }
    let lines = Lines::new(&dispatch.image.path, code);
    let mut findings: Vec<Finding> = vec![];
    let mut seen = HashSet::new();
    for observation in found {
        let earlier = observation.earlier.as_ref().map(|(_, place)| lines.of(*place));
        // a line is compiled to several places
        if seen.insert((observation.kind, lines.of(observation.place), earlier)) {
            findings.push(finding(observation, kernel, &dispatch.metal.text, &lines));
        }
    }
    findings
}

fn finding(observation: Observation, kernel: &str, metal: &str, lines: &Lines) -> Finding {
    let mut message = observation.message;
    if let Some((earlier, place)) = observation.earlier {
        let line = lines.of(place);
        message = format!("{message}; {earlier}, at .metal:{line}: `{}`", finding::line_of(metal, line));
    }
    Finding::new(observation.kind, kernel, metal, lines.of(observation.place), message)
}
