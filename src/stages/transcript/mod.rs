//! The Fiat-Shamir transcript as stages see it: a sponge on the device, checked by the caller's own.
//!
//! Stages observe ranges of device buffers and get challenges as places on a *tape* on the device, so nothing waits. The tape holds every
//! word that was observed or sampled. At [`Transcript::sync`] it is read back once, and the same observations are replayed into the
//! caller's transcript, which must give the same samples: host and device check each other on every proof. The values of the proof
//! are taken from the tape, too.
//!
//! Here is what stages call. A place is a [`Challenge`] or an [`Observed`], which hold the tape, so that kernels need nothing beside them.
//! `tape` knows what lies where and replays it; `host` is what the caller's transcript has to offer.

use std::ops::Range;

use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, D_EF, EF, F};
use p3_field::PrimeCharacteristicRing;

use crate::{
    error::Result,
    gpu::{Completed, DeviceBuffer, Element, Gpu, Recorder, Running, Ticket},
    kernels::transcript::{grind_limit, Absorption, DeviceSponge, KernelSponge, Witnesses, WorkStep},
};

mod host;
mod permutation;
mod tape;

pub use crate::kernels::transcript::{Challenge, Observed};
use host::Replay;
pub use host::{HostTranscript, Sponge, SpongeTranscript};
pub use permutation::HostPoseidon2;
use tape::Tape;
pub use tape::TAPE_BYTES;

type SC = BabyBearPoseidon2Config;

/// A step that a kernel makes on its own: extension elements observed, then sampled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KernelStep {
    pub observe: usize,
    pub sample: usize,
}

/// What a kernel needs for the steps of [`Transcript::in_kernel`], and their places.
pub(crate) struct KernelSteps {
    pub sponge: KernelSponge,
    /// One for each step.
    pub observed: Vec<Observed<EF>>,
    /// One list for each step.
    pub sampled: Vec<Vec<Challenge>>,
}

/// A recording under way and the part of the tape that it brings.
#[must_use]
pub struct Reading {
    running: Running,
    words: Ticket<F>,
}

/// The device twin of the caller's transcript.
pub struct Transcript<'a> {
    gpu: Gpu,
    host: &'a mut dyn Replay,
    sponge: DeviceSponge,
    witnesses: Witnesses,
    tape: Tape,
}

impl<'a> Transcript<'a> {
    /// Continues `host` on the device.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn new<TS: SpongeTranscript>(gpu: &Gpu, host: &'a mut TS) -> Result<Self> {
        let (sponge, tape) = (host.sponge().upload(gpu)?, Tape::new(gpu)?);
        Ok(Self { gpu: gpu.clone(), host, sponge, witnesses: Witnesses::default(), tape })
    }

    /// The device that this runs on.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Observes a range of a device buffer as it is at this point of the recording.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn observe<T: Element>(
        &mut self,
        rec: &mut Recorder,
        buffer: &DeviceBuffer<T>,
        range: Range<usize>,
    ) -> Result<Observed<T>> {
        Ok(self.step(rec, buffer, range, 0)?.0)
    }

    /// Observes values that the host knows.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn observe_values<T: Element>(&mut self, rec: &mut Recorder, values: &[T]) -> Result<Observed<T>> {
        if values.is_empty() {
            return Ok(self.tape.nothing());
        }
        let buffer = rec.gpu().upload(values, "observed values")?;
        self.observe(rec, &buffer, 0..values.len())
    }

    /// Observes values by the caller's transcript alone, whose state then moves to the device. Nothing of it is on the tape.
    ///
    /// For long lists right behind a [`Transcript::sync`]: hashing one list has no parallelism, and a permutation takes a host about 1 us, a
    /// workgroup of an H200 2 to 3 us.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    ///
    /// # Panics
    ///
    /// When something was recorded since the last [`Transcript::sync`].
    pub fn observe_on_host<T: Element>(&mut self, values: &[T]) -> Result<()> {
        let host = self.replayed()?;
        host.observe(&crate::gpu::to_words(values));
        let sponge = host.state();
        self.sponge = sponge.upload(&self.gpu)?;
        Ok(())
    }

    /// Samples an extension element.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn sample_ext(&mut self, rec: &mut Recorder) -> Result<Challenge> {
        Ok(self.sample_words(rec, D_EF)?.challenge(0))
    }

    /// Observes a range, then samples an extension element, in one dispatch: the step between two rounds of a sumcheck.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn observe_then_sample<T: Element>(
        &mut self,
        rec: &mut Recorder,
        buffer: &DeviceBuffer<T>,
        range: Range<usize>,
    ) -> Result<(Observed<T>, Challenge)> {
        let (observed, sampled) = self.step(rec, buffer, range, D_EF)?;
        Ok((observed, sampled.challenge(0)))
    }

    /// Samples extension elements, in one dispatch.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn sample_exts(&mut self, rec: &mut Recorder, count: usize) -> Result<Vec<Challenge>> {
        let words = self.sample_words(rec, count * D_EF)?;
        Ok((0..count).map(|i| words.challenge(i)).collect())
    }

    /// Samples `count` words, such as query indices (see `log_bits` in `wgsl/transcript/tape.wgsl`).
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn sample_words(&mut self, rec: &mut Recorder, count: usize) -> Result<Observed<F>> {
        if count == 0 {
            return Ok(self.tape.nothing());
        }
        let nothing = self.gpu.table("nothing to absorb", || vec![0u32])?;
        Ok(self.step(rec, &nothing, 0..0, count)?.1)
    }

    /// Finds the smallest witness of `bits` bits of work on the device and observes it, then samples `count` words; the places of both. For
    /// 0 bits only samples.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn grind_then_sample(
        &mut self,
        rec: &mut Recorder,
        bits: usize,
        count: usize,
    ) -> Result<(Observed<F>, Observed<F>)> {
        if bits == 0 {
            return Ok((self.tape.nothing(), self.sample_words(rec, count)?));
        }
        let (witnesses, at) = self.witnesses.place(&self.gpu)?;
        self.sponge.grind(rec, bits, grind_limit(bits), (&witnesses, at))?;
        let (witness, sampled) = self.tape.append_witness(bits, count)?;
        let absorb = Absorption { source: &witnesses, from: at, len: 1, integers: true };
        self.sponge.step(rec, absorb, 1 + count, (self.tape.words(), witness.word() as usize))?;
        Ok((witness, sampled))
    }

    /// Observes a range, then works as [`Transcript::grind_then_sample`]; few bits are found in the same dispatch. The step between two rounds
    /// of a sumcheck with proof of work.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn observe_grind_then_sample<T: Element>(
        &mut self,
        rec: &mut Recorder,
        (buffer, range): (&DeviceBuffer<T>, Range<usize>),
        bits: usize,
        count: usize,
    ) -> Result<(Observed<T>, Observed<F>, Observed<F>)> {
        let (from, absorb) = (range.start * T::WORDS, range.len() * T::WORDS);
        let work = WorkStep { source: &buffer.cast(), from, absorb, bits, squeeze: count };
        if !work.is_small() {
            let observed = self.observe(rec, buffer, range)?;
            let (witness, sampled) = self.grind_then_sample(rec, bits, count)?;
            return Ok((observed, witness, sampled));
        }
        let observed = self.tape.append(range.len(), 0)?.0;
        let (witness, sampled) = self.tape.append_witness(bits, count)?;
        self.sponge.work(rec, work, (self.tape.words(), observed.word() as usize))?;
        Ok((observed, witness, sampled))
    }

    /// Leaves the next observations and samples to a kernel of the caller's (see `wgsl/transcript/duplex.wgsl`), which must make exactly
    /// these: for each step, `observe` and then `sample` extension elements.
    ///
    /// # Errors
    ///
    /// When the tape is full.
    pub(crate) fn in_kernel(&mut self, steps: &[KernelStep]) -> Result<KernelSteps> {
        let sponge = self.sponge.in_kernel(self.tape.words(), self.tape.end());
        let mut planned = KernelSteps { sponge, observed: vec![], sampled: vec![] };
        for step in steps {
            let (observe, sample) = (step.observe * D_EF, step.sample * D_EF);
            let (observed, sampled) = self.tape.append(step.observe, sample)?;
            planned.observed.push(observed);
            planned.sampled.push((0..step.sample).map(|i| sampled.challenge(i)).collect());
            self.sponge.advance(observe, sample);
        }
        Ok(planned)
    }

    /// Runs the recording and waits. Afterwards [`Transcript::challenge`] and [`Transcript::values`] know everything so far.
    ///
    /// # Errors
    ///
    /// What the device reports.
    pub fn sync(&mut self, rec: Recorder) -> Result<Completed> {
        let reading = self.hand_over(rec)?;
        self.receive(reading)
    }

    /// As [`Transcript::sync`], but the device may be given more to do before [`Transcript::receive`] waits.
    ///
    /// # Errors
    ///
    /// What the device reports.
    pub fn hand_over(&mut self, mut rec: Recorder) -> Result<Reading> {
        let unread = self.tape.request();
        let words = rec.download_range(self.tape.words(), unread);
        Ok(Reading { running: rec.hand_over()?, words })
    }

    /// Waits for what was handed over, in that order.
    ///
    /// # Errors
    ///
    /// What the device reports.
    pub fn receive(&mut self, reading: Reading) -> Result<Completed> {
        let completed = reading.running.wait()?;
        self.tape.receive(completed.take(reading.words)?);
        Ok(completed)
    }

    /// Replays what is known so far into the caller's transcript.
    ///
    /// # Errors
    ///
    /// [`Error::TranscriptMismatch`](crate::error::Error::TranscriptMismatch) when host and device disagree.
    pub fn replay(&mut self) -> Result<()> {
        self.tape.replay(self.host)
    }

    /// The caller's transcript where the device's is.
    fn replayed(&mut self) -> Result<&mut dyn Replay> {
        assert!(self.tape.is_known(), "observations since the last synchronisation");
        self.replay()?;
        Ok(self.host)
    }

    /// Ends with the caller's transcript where the device's is.
    ///
    /// # Errors
    ///
    /// [`Error::TranscriptMismatch`](crate::error::Error::TranscriptMismatch) when host and device disagree.
    ///
    /// # Panics
    ///
    /// When something was recorded since the last [`Transcript::sync`].
    pub fn finish(mut self) -> Result<()> {
        self.replayed().map(|_| ())
    }

    /// A challenge's value.
    ///
    /// # Panics
    ///
    /// When it was sampled after the last [`Transcript::sync`].
    pub fn challenge(&self, challenge: &Challenge) -> EF {
        self.tape.challenge(challenge)
    }

    /// Observed values.
    ///
    /// # Panics
    ///
    /// When they were observed after the last [`Transcript::sync`].
    pub fn values<T: Element>(&self, observed: &Observed<T>) -> Vec<T> {
        self.tape.values(observed)
    }

    /// A proof-of-work witness; 0 for 0 bits.
    pub fn witness(&self, observed: &Observed<F>) -> F {
        self.values(observed).first().copied().unwrap_or(F::ZERO)
    }

    /// Absorbs a range, then squeezes words; the places of both.
    fn step<T: Element>(
        &mut self,
        rec: &mut Recorder,
        buffer: &DeviceBuffer<T>,
        range: Range<usize>,
        squeeze: usize,
    ) -> Result<(Observed<T>, Observed<F>)> {
        let (observed, sampled) = self.tape.append(range.len(), squeeze)?;
        let (from, len) = (range.start * T::WORDS, range.len() * T::WORDS);
        let absorb = Absorption { source: &buffer.cast(), from, len, integers: false };
        self.sponge.step(rec, absorb, squeeze, (self.tape.words(), observed.word() as usize))?;
        Ok((observed, sampled))
    }
}

#[cfg(test)]
mod tests;
