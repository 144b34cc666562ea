//! The memory of a dispatch, and what was found wrong with accesses to it.

use std::{collections::HashSet, fmt};

use super::{
    shadow::{Access, Clock, Shadow, Space},
    site, FindingKind,
};
use crate::execute::{
    abi::{ACCESS_ATOMIC, ACCESS_READ, ACCESS_WRITE},
    Divergence,
};

/// Of an access that changes what it finds.
const BOTH: u32 = ACCESS_READ | ACCESS_WRITE;

/// What a region of memory is to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// A storage binding of group 0.
    Binding(usize),
    /// Immediates or the uniform buffer.
    Params,
    /// Sizes of runtime-sized arrays.
    Sizes,
    /// A workgroup variable, in the order of the entry point's arguments.
    Variable(usize),
}

impl Memory {
    fn space(self) -> Space {
        match self {
            Self::Variable(_) => Space::Workgroup,
            Self::Binding(_) | Self::Params | Self::Sizes => Space::Storage,
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binding(binding) => write!(f, "binding {binding}"),
            Self::Params => write!(f, "the parameters"),
            Self::Sizes => write!(f, "the sizes of bindings"),
            Self::Variable(variable) => write!(f, "workgroup variable {variable}"),
        }
    }
}

/// Memory that a kernel may access.
pub struct Region {
    memory: Memory,
    base: usize,
    bytes: usize,
    shadow: Shadow,
}

impl Region {
    pub fn new(memory: Memory, base: usize, bytes: usize) -> Self {
        Self { memory, base, bytes, shadow: Shadow::new(bytes.div_ceil(4)) }
    }

    /// Whether all `bytes` bytes from `at` are in the region.
    fn holds(&self, at: usize, bytes: usize) -> bool {
        at >= self.base && at - self.base + bytes <= self.bytes
    }

    /// Bytes that an access misses the region by, negative before it.
    fn distance(&self, at: usize, bytes: usize) -> i64 {
        if at < self.base {
            at as i64 - self.base as i64
        } else {
            (at + bytes) as i64 - (self.base + self.bytes) as i64
        }
    }
}

/// Where something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Address of the code.
    Code(usize),
    /// Line of Metal.
    Line(u32),
}

/// Something found, before addresses are turned into lines.
#[derive(Clone, Debug)]
pub struct Observation {
    pub kind: FindingKind,
    pub place: Place,
    pub message: String,
    /// The access before it that it conflicts with.
    pub earlier: Option<(String, Place)>,
}

/// Follows the accesses of a dispatch.
pub struct Monitor {
    regions: Vec<Region>,
    /// The region of the last access, which the next one likely hits too.
    last: usize,
    /// An address of the kernel's code.
    code: usize,
    clock: Clock,
    group: u32,
    found: Vec<Observation>,
    seen: HashSet<(FindingKind, Place, Option<Place>)>,
}

impl Monitor {
    pub fn new(code: usize, regions: Vec<Region>) -> Self {
        let (found, seen) = (vec![], HashSet::new());
        Self { regions, last: 0, code, clock: Clock::default(), group: 0, found, seen }
    }

    pub fn into_found(self) -> Vec<Observation> {
        self.found
    }

    /// The next workgroup begins.
    pub fn begin(&mut self, group: u32) {
        self.group = group;
    }

    pub fn clock(&mut self) -> &mut Clock {
        &mut self.clock
    }

    pub fn diverged(&mut self, divergence: Divergence) {
        let kind = if divergence.simdgroup { FindingKind::DivergentSubgroup } else { FindingKind::DivergentBarrier };
        let message = format!("in workgroup {}, {}", self.group, divergence.message);
        self.observe(Observation { kind, place: Place::Line(divergence.line), message, earlier: None });
    }

    /// Something about the code itself.
    pub fn undefined(&mut self, kind: FindingKind, what: &str, thread: u32, site: usize) {
        let message = format!("{what}, by {}", self.name(thread, self.group));
        self.observe(Observation { kind, place: Place::Code(site), message, earlier: None });
    }

    /// An access of `bytes` bytes at `at`. Whether it may happen.
    pub fn access(&mut self, at: usize, bytes: usize, kinds: u32, thread: u32, site: usize) -> bool {
        if bytes == 0 {
            return true;
        }
        let Some(region) = self.find(at, bytes) else {
            // tables of constants are part of the code
            let constant = kinds & ACCESS_WRITE == 0 && site::same_image(at, self.code);
            if !constant {
                self.out_of_bounds(at, bytes, kinds, thread, site);
            }
            return constant;
        };
        // Loads and stores of workgroup memory are to be ordered all the same: they are atomic for the sake of Apple's compiler only
        // (wgpu #4500).
        let unordered = self.regions[region].memory.space() == Space::Storage || kinds & BOTH == BOTH;
        let atomic = kinds & ACCESS_ATOMIC != 0 && unordered;
        let access = Access { time: self.clock.now(), group: self.group, thread, atomic, site };
        let offset = at - self.regions[region].base;
        for word in offset / 4..=(offset + bytes - 1) / 4 {
            self.access_word(region, word, &access, kinds);
        }
        true
    }

    fn find(&mut self, at: usize, bytes: usize) -> Option<usize> {
        if !self.regions.get(self.last).is_some_and(|region| region.holds(at, bytes)) {
            self.last = self.regions.iter().position(|region| region.holds(at, bytes))?;
        }
        Some(self.last)
    }

    fn access_word(&mut self, index: usize, word: usize, access: &Access, kinds: u32) {
        let region = &mut self.regions[index];
        let (memory, space) = (region.memory, region.memory.space());
        let (reads, writes) = (kinds & ACCESS_READ != 0, kinds & ACCESS_WRITE != 0);
        let shadow = region.shadow.word(word);
        let conflict = shadow.conflict(access, writes, space, &self.clock);
        let uninitialized = reads && space == Space::Workgroup && !shadow.is_written_by(access.group);
        if reads {
            shadow.record_read(access, &self.clock);
        }
        if writes {
            shadow.record_write(access);
        }
        if let Some(conflict) = conflict {
            self.race((memory, word), conflict, (access, kinds));
        }
        if uninitialized {
            let thread = self.name(access.thread, access.group);
            let message = format!("{thread} reads byte {} of {memory}, which was never written", 4 * word);
            let kind = FindingKind::Uninitialized;
            self.observe(Observation { kind, place: Place::Code(access.site), message, earlier: None });
        }
    }

    fn race(
        &mut self,
        (memory, word): (Memory, usize),
        (earlier, wrote): (Access, bool),
        (access, kinds): (&Access, u32),
    ) {
        let unfenced =
            memory.space() == Space::Storage && earlier.group == access.group && self.clock.met_since(&earlier);
        let kind = if unfenced { FindingKind::MissingStorageBarrier } else { FindingKind::Race };
        let thread = self.name(access.thread, access.group);
        let what = verb(kinds);
        let between =
            if unfenced { "with only a barrier for workgroup memory between" } else { "with no barrier between" };
        let message = format!("{thread} {what} byte {} of {memory}, {between}", 4 * word);
        let before = format!(
            "{} {} it before",
            self.name(earlier.thread, earlier.group),
            verb(if wrote { ACCESS_WRITE } else { ACCESS_READ }),
        );
        let earlier = Some((before, Place::Code(earlier.site)));
        self.observe(Observation { kind, place: Place::Code(access.site), message, earlier });
    }

    fn out_of_bounds(&mut self, at: usize, bytes: usize, kinds: u32, thread: u32, site: usize) {
        let misses = self.regions.iter().map(|region| (region.distance(at, bytes), region));
        let nearest = misses.min_by_key(|(distance, _)| distance.unsigned_abs());
        let place = nearest.map_or(String::new(), |(distance, region)| {
            let (by, side) = (distance.unsigned_abs(), if distance < 0 { "before" } else { "past the end of" });
            format!(", {by} bytes {side} {} ({} bytes)", region.memory, region.bytes)
        });
        let message =
            format!("{} {} {bytes} bytes outside of all memory{place}", self.name(thread, self.group), verb(kinds));
        let kind = FindingKind::OutOfBounds;
        self.observe(Observation { kind, place: Place::Code(site), message, earlier: None });
    }

    fn name(&self, thread: u32, group: u32) -> String {
        format!("thread {thread} of workgroup {group}")
    }

    /// Keeps what was found, once per place.
    fn observe(&mut self, observation: Observation) {
        let earlier = observation.earlier.as_ref().map(|(_, place)| *place);
        if self.seen.insert((observation.kind, observation.place, earlier)) {
            self.found.push(observation);
        }
    }
}

fn verb(kinds: u32) -> &'static str {
    if kinds & ACCESS_WRITE == 0 {
        "reads"
    } else if kinds & ACCESS_READ == 0 {
        "writes"
    } else {
        "updates"
    }
}
