//! Sponge and proof of work on the device, and places on the transcript's tape (`wgsl/transcript/*`).

mod place;

pub(crate) use place::{gather, tape_and_words};
pub use place::{Challenge, Observed};

use openvm_stark_sdk::config::baby_bear_poseidon2::F;
use p3_field::PrimeField32;

use crate::{
    error::Result,
    gpu::{DeviceBuffer, Gpu, Grid, Recorder},
    kernel,
    kernels::poseidon2::{round_constants, RATE},
};

kernel! {
    /// Absorbs a range of words, then squeezes some; see the WGSL header.
    pub struct StepKernel("transcript/step.wgsl", workgroup = 64) {
        buffers { read source: u32, write sponge: F, write tape: F, read round_constants: F as vec4<u32> }
        params {
            start, absorb, squeeze, tape_at, absorb_index, sample_index,
            /// The words of `source` are integers to be brought into Montgomery form first (a proof-of-work witness).
            integers,
        }
    }
}

kernel! {
    /// The smallest proof-of-work witness.
    struct Grind("transcript/grind.wgsl", workgroup = 64) {
        buffers { read sponge: F, write witnesses: u32 as atomic<u32>, read round_constants: F as vec4<u32> }
        params { absorb_index, bits, limit, threads, witness }
    }
}

kernel! {
    /// A step with proof of work of few bits; see the WGSL header.
    struct Work("transcript/work.wgsl", workgroup = 128) {
        buffers { read source: u32, write sponge: F, write tape: F, read round_constants: F as vec4<u32> }
        params { start, absorb, bits, limit, squeeze, tape_at, absorb_index, sample_index }
    }
}

/// The sponge's state on the device with the positions in its rate, which depend only on counts and so are known here.
pub struct DeviceSponge {
    /// The words of the permutation.
    pub state: DeviceBuffer<F>,
    /// Words absorbed since the last permutation.
    pub absorb_index: usize,
    /// Words of the rate that are still to be given out.
    pub sample_index: usize,
}

/// What one [`DeviceSponge::step`] absorbs.
pub struct Absorption<'a> {
    pub source: &'a DeviceBuffer<u32>,
    pub from: usize,
    pub len: usize,
    /// `source` holds integers rather than field elements.
    pub integers: bool,
}

/// The sponge that a kernel continues on its own, with the tape: bindings and parameters of `duplex_open` in
/// `wgsl/transcript/duplex.wgsl`.
#[derive(Clone)]
pub struct KernelSponge {
    pub state: DeviceBuffer<F>,
    pub tape: DeviceBuffer<F>,
    pub absorb_index: u32,
    pub sample_index: u32,
    /// The word of the tape where the kernel's first observation goes.
    pub tape_at: u32,
}

/// Words that one dispatch absorbs. lavapipe leaves every loop of an invocation after 65,535 iterations in total, and a permutation takes
/// up to 60 of them.
const STEP_WORDS: usize = 4096;

/// Bits of a proof of work that one workgroup does: some turns of its 128 threads.
const SMALL_BITS: usize = 8;

/// Words that duplex.wgsl observes at once.
const MESSAGE_WORDS: usize = 20;

/// Threads that search for a witness: enough to fill a large GPU, few enough that little is tried beyond the witness.
const GRIND_THREADS: usize = 1 << 15;

impl DeviceSponge {
    /// Absorbs, then squeezes `squeeze` words; all of them go to `tape` from word `tape_at`.
    ///
    /// # Errors
    ///
    /// As [`round_constants`].
    pub fn step(
        &mut self,
        rec: &mut Recorder,
        absorb: Absorption<'_>,
        squeeze: usize,
        (tape, tape_at): (&DeviceBuffer<F>, usize),
    ) -> Result<()> {
        assert!(absorb.from + absorb.len <= absorb.source.len(), "observation past the end of its buffer");
        assert!(tape_at + absorb.len + squeeze <= tape.len(), "transcript tape is full");
        let round_constants = round_constants(rec.gpu())?;
        let mut done = 0;
        loop {
            let count = (absorb.len - done).min(STEP_WORDS);
            let last = done + count == absorb.len;
            let squeeze = if last { squeeze } else { 0 };
            let step = StepKernel {
                source: absorb.source,
                sponge: &self.state,
                tape,
                round_constants: &round_constants,
                start: (absorb.from + done) as u32,
                absorb: count as u32,
                squeeze: squeeze as u32,
                tape_at: (tape_at + done) as u32,
                absorb_index: self.absorb_index as u32,
                sample_index: self.sample_index as u32,
                integers: absorb.integers as u32,
            };
            rec.dispatch(&step, Grid::workgroups(1));
            self.advance(count, squeeze);
            done += count;
            if last {
                return Ok(());
            }
        }
    }

    /// For a kernel that continues from here, with the tape from word `tape_at`.
    pub fn in_kernel(&self, tape: &DeviceBuffer<F>, tape_at: usize) -> KernelSponge {
        KernelSponge {
            state: self.state.clone(),
            tape: tape.clone(),
            absorb_index: self.absorb_index as u32,
            sample_index: self.sample_index as u32,
            tape_at: tape_at as u32,
        }
    }

    /// Follows upstream's `DuplexSponge::{absorb, squeeze}` in the positions.
    pub fn advance(&mut self, absorb: usize, squeeze: usize) {
        let absorbed = self.absorb_index + absorb;
        if absorbed >= RATE {
            self.sample_index = RATE;
        }
        self.absorb_index = absorbed % RATE;
        for _ in 0..squeeze {
            if self.absorb_index != 0 || self.sample_index == 0 {
                self.absorb_index = 0;
                self.sample_index = RATE;
            }
            self.sample_index -= 1;
        }
    }

    /// Absorbs; finds and absorbs the smallest witness, by one workgroup; squeezes the word that is checked and others; all of them go to
    /// `tape` from word `tape_at`. Without a witness `u32::MAX` stands for it.
    ///
    /// # Errors
    ///
    /// As [`round_constants`].
    ///
    /// # Panics
    ///
    /// When it is not [small](WorkStep::is_small).
    pub fn work(
        &mut self,
        rec: &mut Recorder,
        work: WorkStep<'_>,
        (tape, tape_at): (&DeviceBuffer<F>, usize),
    ) -> Result<()> {
        assert!(work.is_small(), "proof of work for one workgroup");
        assert!(work.from + work.absorb <= work.source.len(), "observation past the end of its buffer");
        assert!(tape_at + work.absorb + 2 + work.squeeze <= tape.len(), "transcript tape is full");
        let kernel = Work {
            source: work.source,
            sponge: &self.state,
            tape,
            round_constants: &round_constants(rec.gpu())?,
            start: work.from as u32,
            absorb: work.absorb as u32,
            bits: work.bits as u32,
            limit: grind_limit(work.bits),
            squeeze: work.squeeze as u32,
            tape_at: tape_at as u32,
            absorb_index: self.absorb_index as u32,
            sample_index: self.sample_index as u32,
        };
        rec.dispatch(&kernel, Grid::workgroups(1));
        self.advance(work.absorb, 0);
        self.advance(1, 1 + work.squeeze);
        Ok(())
    }

    /// Searches the smallest integer below `limit` that passes `bits` bits of proof of work; the place of the word keeps `u32::MAX` when
    /// there is none.
    ///
    /// # Errors
    ///
    /// As [`round_constants`].
    pub fn grind(
        &self,
        rec: &mut Recorder,
        bits: usize,
        limit: u32,
        (witnesses, at): (&DeviceBuffer<u32>, usize),
    ) -> Result<()> {
        assert!(at < witnesses.len(), "no place for a witness");
        let threads = GRIND_THREADS.min((limit as usize).next_multiple_of(64));
        let grind = Grind {
            sponge: &self.state,
            witnesses,
            round_constants: &round_constants(rec.gpu())?,
            absorb_index: self.absorb_index as u32,
            bits: bits as u32,
            limit,
            threads: threads as u32,
            witness: at as u32,
        };
        rec.dispatch(&grind, Grid::threads(threads));
        Ok(())
    }
}

/// What [`DeviceSponge::work`] does.
pub struct WorkStep<'a> {
    pub source: &'a DeviceBuffer<u32>,
    pub from: usize,
    /// Words to absorb.
    pub absorb: usize,
    /// Bits of the proof of work.
    pub bits: usize,
    /// Words to squeeze behind the one that is checked.
    pub squeeze: usize,
}

impl WorkStep<'_> {
    /// Whether one workgroup should do this.
    pub fn is_small(&self) -> bool {
        (1..=SMALL_BITS).contains(&self.bits) && self.absorb <= MESSAGE_WORDS && self.squeeze < RATE
    }
}

/// Where a search ends: no witness of `bits` bits below 2^(bits + 6) has a chance of e^-64.
pub fn grind_limit(bits: usize) -> u32 {
    F::ORDER_U32.min(1u32.checked_shl(bits as u32 + 6).unwrap_or(u32::MAX))
}

/// Places for witnesses, each `u32::MAX` until [`DeviceSponge::grind`] finds one.
#[derive(Default)]
pub struct Witnesses {
    words: Option<DeviceBuffer<u32>>,
    used: usize,
}

/// More than a proof needs: WHIR has about five a round.
const WITNESSES: usize = 64;

impl Witnesses {
    /// The next place.
    ///
    /// # Errors
    ///
    /// As [`Gpu::upload`].
    pub fn place(&mut self, gpu: &Gpu) -> Result<(DeviceBuffer<u32>, usize)> {
        let words = match &self.words {
            Some(words) if self.used < words.len() => words.clone(),
            _ => {
                self.used = 0;
                self.words.insert(gpu.upload(&[u32::MAX; WITNESSES], "proof-of-work witnesses")?).clone()
            }
        };
        self.used += 1;
        Ok((words, self.used - 1))
    }
}
