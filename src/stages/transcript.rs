//! The Fiat-Shamir transcript as stages see it: a sponge on the device, checked by the caller's own.
//!
//! Stages observe ranges of device buffers and get challenges as places in a *log* on the device, so nothing waits. The log holds every
//! word that was observed or sampled. At [`Transcript::sync`] it is read back once, and the same observations are replayed into the
//! caller's transcript, which must give the same samples: host and device check each other on every proof. The values of the proof
//! are taken from the log, too.

use std::{marker::PhantomData, ops::Range};

use openvm_stark_backend::{transcript::duplex_sponge, FiatShamirTranscript};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, D_EF, EF, F};
use p3_baby_bear::Poseidon2BabyBear;
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing, PrimeField32};

use crate::{
    error::{Error, Result},
    gpu::{Completed, DeviceBuffer, Element, Gpu, Recorder},
    kernels::transcript::{gather, Absorb, DeviceSponge, DuplexPosition},
};

type SC = BabyBearPoseidon2Config;

/// Words of the log. Proofs observe 8 words per commitment, 4 per claim or coefficient and 8 per column opening with rotation, so this
/// has room for about 100,000 columns.
const LOG_WORDS: usize = 1 << 20;

/// A transcript whose sponge state can be reached, so that the device can continue it.
pub trait SpongeTranscript: FiatShamirTranscript<SC> {
    /// The state of the duplex sponge (width 16, rate 8, overwrite mode).
    fn sponge(&self) -> Sponge;
}

/// The state of upstream's `DuplexSponge`.
#[derive(Clone, Copy, Debug)]
pub struct Sponge {
    /// The permutation's words.
    pub state: [F; 16],
    /// Words absorbed since the last permutation, below 8.
    pub absorb_index: usize,
    /// Words of the rate still to be squeezed, at most 8.
    pub sample_index: usize,
}

impl SpongeTranscript for duplex_sponge::DuplexSponge<F, Poseidon2BabyBear<16>, 16, 8> {
    fn sponge(&self) -> Sponge {
        Sponge { state: *self.state(), absorb_index: self.absorb_idx(), sample_index: self.sample_idx() }
    }
}

impl SpongeTranscript for duplex_sponge::DuplexSpongeRecorder<F, Poseidon2BabyBear<16>, 16, 8> {
    fn sponge(&self) -> Sponge {
        self.inner.sponge()
    }
}

impl SpongeTranscript for duplex_sponge::DuplexSpongeValidator<F, Poseidon2BabyBear<16>, 16, 8> {
    fn sponge(&self) -> Sponge {
        self.inner.sponge()
    }
}

/// An extension element that was sampled, as a place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    word: usize,
}

/// Elements that were observed (or words that were sampled), as a place in the log.
#[derive(Debug, PartialEq, Eq)]
pub struct Observed<T> {
    word: usize,
    len: usize,
    element: PhantomData<T>,
}

impl<T> Clone for Observed<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Observed<T> {}

impl Challenge {
    /// Word offset in the log.
    pub fn word(self) -> u32 {
        self.word as u32
    }
}

impl<T> Observed<T> {
    /// Word offset in the log.
    pub fn word(self) -> u32 {
        self.word as u32
    }

    /// Number of elements.
    pub fn len(self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

impl Observed<EF> {
    /// The `i`-th element as a challenge, for kernels that read it from the log.
    pub fn at(self, i: usize) -> Challenge {
        assert!(i < self.len, "element {i} of {}", self.len);
        Challenge { word: self.word + i * D_EF }
    }
}

/// What happened, for the replay.
#[derive(Clone, Copy)]
enum Entry {
    Observe(usize),
    Sample(usize),
    Grind(usize),
}

/// A step that a kernel makes on its own: extension elements observed, then sampled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KernelStep {
    pub observe: usize,
    pub sample: usize,
}

/// The places of the steps of [`Transcript::in_kernel`].
pub(crate) struct KernelSteps {
    pub start: DuplexPosition,
    /// One for each step.
    pub observed: Vec<Observed<EF>>,
    /// One list for each step.
    pub sampled: Vec<Vec<Challenge>>,
}

/// The device twin of the caller's transcript.
pub struct Transcript<'a, TS> {
    gpu: Gpu,
    host: &'a mut TS,
    sponge: DeviceSponge,
    log: DeviceBuffer<F>,
    entries: Vec<Entry>,
    /// Words logged on the device.
    end: usize,
    /// The log as far as it was read back.
    known: Vec<F>,
}

impl<'a, TS: SpongeTranscript> Transcript<'a, TS> {
    /// Continues `host` on the device.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn new(gpu: &Gpu, host: &'a mut TS) -> Result<Self> {
        Ok(Self {
            sponge: upload_sponge(gpu, &host.sponge())?,
            log: gpu.alloc(LOG_WORDS, "transcript log")?,
            gpu: gpu.clone(),
            host,
            entries: vec![],
            end: 0,
            known: vec![],
        })
    }

    /// The device that this runs on.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The log, to bind as `transcript_log` (see `wgsl/transcript/log.wgsl`).
    pub fn log(&self) -> &DeviceBuffer<F> {
        &self.log
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
        self.step(rec, buffer, range, 0)
    }

    /// Observes values that the host knows.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn observe_values<T: Element>(&mut self, rec: &mut Recorder, values: &[T]) -> Result<Observed<T>> {
        if values.is_empty() {
            return Ok(Observed { word: self.end, len: 0, element: PhantomData });
        }
        let buffer = rec.upload(values, "observed values")?;
        self.observe(rec, &buffer, 0..values.len())
    }

    /// Observes values by the caller's transcript alone, whose state then moves to the device. Nothing of it is logged.
    ///
    /// For long lists right behind a [`Transcript::sync`]: hashing one list has no parallelism, and a permutation takes a host 1 us, a
    /// workgroup of an H200 10 us (measured on the 5,266 openings of keccak: 26 ms).
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    ///
    /// # Panics
    ///
    /// When something was recorded since the last [`Transcript::sync`].
    pub fn observe_on_host<T: Element>(&mut self, values: &[T]) -> Result<()> {
        assert!(self.entries.is_empty(), "observations since the last synchronisation");
        crate::gpu::to_words(values).into_iter().for_each(|word| self.host.observe(word));
        self.sponge = upload_sponge(&self.gpu, &self.host.sponge())?;
        Ok(())
    }

    /// Samples an extension element.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn sample_ext(&mut self, rec: &mut Recorder) -> Result<Challenge> {
        let words = self.sample_words(rec, D_EF)?;
        Ok(Challenge { word: words.word })
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
        let observed = self.step(rec, buffer, range, D_EF)?;
        Ok((observed, Challenge { word: self.end - D_EF }))
    }

    /// Samples `count` words, such as query indices (see `log_bits` in `wgsl/transcript/log.wgsl`).
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn sample_words(&mut self, rec: &mut Recorder, count: usize) -> Result<Observed<F>> {
        let nothing = self.gpu.table("nothing to absorb", || vec![0u32])?;
        self.step(rec, &nothing, 0..0, count)?;
        Ok(Observed { word: self.end - count, len: count, element: PhantomData })
    }

    /// Finds the smallest witness of `bits` bits of work on the device and observes it; nothing happens for 0 bits.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn grind(&mut self, rec: &mut Recorder, bits: usize) -> Result<Observed<F>> {
        if bits == 0 {
            return Ok(Observed { word: self.end, len: 0, element: PhantomData });
        }
        // no witness below 2^(bits + 6) has a chance of e^-64
        let limit = F::ORDER_U32.min(1u32.checked_shl(bits as u32 + 6).unwrap_or(u32::MAX));
        self.reserve(2)?;
        let witness = self.sponge.grind(rec, bits, limit)?;
        let word = self.end;
        let absorb = Absorb { source: &witness, from: 0, len: 1, integers: true };
        self.sponge.step(rec, absorb, 1, (&self.log, word))?;
        self.end += 2;
        self.entries.push(Entry::Grind(bits));
        Ok(Observed { word, len: 1, element: PhantomData })
    }

    /// Leaves the next observations and samples to a kernel of the caller's (see `wgsl/transcript/duplex.wgsl`), which must make exactly
    /// these: for each step, `observe` and then `sample` extension elements.
    ///
    /// # Errors
    ///
    /// When the log is full.
    pub(crate) fn in_kernel(&mut self, steps: &[KernelStep]) -> Result<KernelSteps> {
        let start = self.sponge.position(self.end);
        let mut planned = KernelSteps { start, observed: vec![], sampled: vec![] };
        for step in steps {
            let (observe, sample) = (step.observe * D_EF, step.sample * D_EF);
            self.reserve(observe + sample)?;
            planned.observed.push(Observed { word: self.end, len: step.observe, element: PhantomData });
            let first = self.end + observe;
            planned.sampled.push((0..step.sample).map(|i| Challenge { word: first + i * D_EF }).collect());
            self.sponge.advance(observe, sample);
            self.log_entries(observe, sample);
        }
        Ok(planned)
    }

    /// The sponge's state, to bind as `sponge` in a kernel that follows [`Transcript::in_kernel`].
    pub(crate) fn sponge_state(&self) -> &DeviceBuffer<F> {
        &self.sponge.state
    }

    /// Challenges as a dense vector on the device.
    ///
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn gather(&mut self, rec: &mut Recorder, challenges: &[Challenge]) -> Result<DeviceBuffer<EF>> {
        let words: Vec<u32> = challenges.iter().map(|c| c.word()).collect();
        gather(rec, &self.log, &words)
    }

    /// Runs the recording, waits, and replays everything since the last call into the caller's transcript. Afterwards
    /// [`Transcript::challenge`] and [`Transcript::values`] know everything so far.
    ///
    /// # Errors
    ///
    /// What the device reports; [`Error::TranscriptMismatch`] when host and device disagree.
    pub fn sync(&mut self, mut rec: Recorder) -> Result<Completed> {
        let ticket = rec.download_range(&self.log, self.known.len()..self.end);
        let completed = rec.wait()?;
        let start = self.known.len();
        self.known.extend(completed.take(ticket)?);
        self.replay(start)?;
        Ok(completed)
    }

    fn replay(&mut self, mut at: usize) -> Result<()> {
        for entry in std::mem::take(&mut self.entries) {
            let len = match entry {
                Entry::Observe(len) => {
                    self.known[at..at + len].iter().for_each(|word| self.host.observe(*word));
                    len
                }
                Entry::Sample(len) => {
                    for (i, word) in self.known[at..at + len].iter().enumerate() {
                        if self.host.sample() != *word {
                            return Err(Error::TranscriptMismatch { position: at + i });
                        }
                    }
                    len
                }
                Entry::Grind(bits) => {
                    if !self.host.check_witness(bits, self.known[at]) {
                        return Err(Error::TranscriptMismatch { position: at });
                    }
                    2
                }
            };
            at += len;
        }
        Ok(())
    }

    /// A challenge's value.
    ///
    /// # Panics
    ///
    /// When it was sampled after the last [`Transcript::sync`].
    pub fn challenge(&self, challenge: Challenge) -> EF {
        EF::from_basis_coefficients_slice(&self.known[challenge.word..challenge.word + D_EF]).expect("four words")
    }

    /// Observed values.
    ///
    /// # Panics
    ///
    /// When they were observed after the last [`Transcript::sync`].
    pub fn values<T: Element>(&self, observed: Observed<T>) -> Vec<T> {
        crate::gpu::from_words(&self.known[observed.word..observed.word + observed.len * T::WORDS])
    }

    /// A proof-of-work witness; 0 for 0 bits.
    pub fn witness(&self, observed: Observed<F>) -> F {
        self.values(observed).first().copied().unwrap_or(F::ZERO)
    }

    fn step<T: Element>(
        &mut self,
        rec: &mut Recorder,
        buffer: &DeviceBuffer<T>,
        range: Range<usize>,
        squeeze: usize,
    ) -> Result<Observed<T>> {
        let (word, len) = (self.end, range.len() * T::WORDS);
        self.reserve(len + squeeze)?;
        let absorb = Absorb { source: &buffer.cast(), from: range.start * T::WORDS, len, integers: false };
        self.sponge.step(rec, absorb, squeeze, (&self.log, word))?;
        self.log_entries(len, squeeze);
        Ok(Observed { word, len: range.len(), element: PhantomData })
    }

    fn reserve(&self, words: usize) -> Result<()> {
        if self.end + words > self.log.len() {
            return Err(Error::Unsupported(format!("a proof that observes more than {LOG_WORDS} words")));
        }
        Ok(())
    }

    fn log_entries(&mut self, observed: usize, sampled: usize) {
        self.end += observed + sampled;
        self.entries.extend((observed > 0).then_some(Entry::Observe(observed)));
        self.entries.extend((sampled > 0).then_some(Entry::Sample(sampled)));
    }
}

fn upload_sponge(gpu: &Gpu, sponge: &Sponge) -> Result<DeviceSponge> {
    Ok(DeviceSponge {
        state: gpu.upload(&sponge.state, "sponge")?,
        absorb_index: sponge.absorb_index,
        sample_index: sponge.sample_index,
    })
}

#[cfg(test)]
mod tests {
    use openvm_stark_sdk::config::baby_bear_poseidon2::{default_duplex_sponge, DuplexSponge};
    use rand::{rngs::StdRng, Rng, SeedableRng};

    use super::*;
    use crate::gpu::testing;

    fn sponges_agree(a: &DuplexSponge, b: &DuplexSponge) {
        assert_eq!(a.state(), b.state());
        assert_eq!((a.absorb_idx(), a.sample_idx()), (b.absorb_idx(), b.sample_idx()));
    }

    #[test]
    fn observations_and_samples_of_all_lengths_match_the_host() {
        let gpu = testing::gpu();
        let mut rng = StdRng::seed_from_u64(5);
        let values: Vec<F> = (0..20_200).map(|_| F::from_u32(rng.random())).collect();
        let buffer = gpu.upload(&values, "values").unwrap();
        let (mut host, mut expected) = (default_duplex_sponge(), default_duplex_sponge());
        let mut tx = Transcript::new(&gpu, &mut host).unwrap();
        let mut rec = gpu.recorder("test");
        let mut samples = vec![];
        for len in [1, 0, 3, 8, 5, 16, 17, 7, 0, 2, 100, 20_001] {
            for count in [0, 1, 4, 9, 8, 20] {
                let start = rng.random_range(0..100);
                let observed = tx.observe(&mut rec, &buffer, start..start + len).unwrap();
                values[start..start + len].iter().for_each(|v| FiatShamirTranscript::<SC>::observe(&mut expected, *v));
                let sampled = tx.sample_words(&mut rec, count).unwrap();
                let words: Vec<F> = (0..count).map(|_| FiatShamirTranscript::<SC>::sample(&mut expected)).collect();
                samples.push((observed, start, sampled, words));
            }
        }
        tx.sync(rec).unwrap();
        for (observed, start, sampled, words) in samples {
            assert_eq!(tx.values(observed), values[start..start + observed.len()]);
            assert_eq!(tx.values(sampled), words);
        }
        sponges_agree(&host, &expected);
    }

    #[test]
    fn long_observations_are_absorbed_to_their_end() {
        let gpu = testing::gpu();
        let values: Vec<F> = (0..50_001).map(F::from_u32).collect();
        let (mut host, mut expected) = (default_duplex_sponge(), default_duplex_sponge());
        let mut tx = Transcript::new(&gpu, &mut host).unwrap();
        let mut rec = gpu.recorder("test");
        let observed = tx.observe_values(&mut rec, &values).unwrap();
        tx.sync(rec).unwrap();
        values.iter().for_each(|v| FiatShamirTranscript::<SC>::observe(&mut expected, *v));
        assert_eq!(tx.values(observed), values);
        sponges_agree(&host, &expected);
    }

    #[test]
    fn the_host_may_observe_between_recordings() {
        let gpu = testing::gpu();
        let (mut host, mut expected) = (default_duplex_sponge(), default_duplex_sponge());
        let values: Vec<EF> = (0..101).map(EF::from_u32).collect();
        let mut tx = Transcript::new(&gpu, &mut host).unwrap();
        for len in [0, 1, 2, 5, 101] {
            tx.observe_on_host(&values[..len]).unwrap();
            let mut rec = gpu.recorder("test");
            let sampled = tx.sample_ext(&mut rec).unwrap();
            let observed = tx.observe_values(&mut rec, &values[..3]).unwrap();
            tx.sync(rec).unwrap();
            values[..len].iter().for_each(|v| FiatShamirTranscript::<SC>::observe_ext(&mut expected, *v));
            assert_eq!(tx.challenge(sampled), FiatShamirTranscript::<SC>::sample_ext(&mut expected));
            values[..3].iter().for_each(|v| FiatShamirTranscript::<SC>::observe_ext(&mut expected, *v));
            assert_eq!(tx.values(observed), values[..3]);
        }
        sponges_agree(&host, &expected);
    }

    #[test]
    fn extension_challenges_and_gathering() {
        let gpu = testing::gpu();
        let (mut host, mut expected) = (default_duplex_sponge(), default_duplex_sponge());
        let mut tx = Transcript::new(&gpu, &mut host).unwrap();
        let mut rec = gpu.recorder("test");
        let values = [EF::from_u32(3), EF::NEG_ONE];
        let first = tx.sample_ext(&mut rec).unwrap();
        tx.observe_values(&mut rec, &values).unwrap();
        let buffer = gpu.upload(&values, "values").unwrap();
        let (seen, second) = tx.observe_then_sample(&mut rec, &buffer, 1..2).unwrap();
        let gathered = tx.gather(&mut rec, &[second, first, second, seen.at(0)]).unwrap();
        let ticket = rec.download(&gathered);
        let done = tx.sync(rec).unwrap();
        let a: EF = FiatShamirTranscript::<SC>::sample_ext(&mut expected);
        for v in [values[0], values[1], values[1]] {
            FiatShamirTranscript::<SC>::observe_ext(&mut expected, v);
        }
        let b: EF = FiatShamirTranscript::<SC>::sample_ext(&mut expected);
        assert_eq!((tx.challenge(first), tx.challenge(second)), (a, b));
        assert_eq!(tx.values(seen), [values[1]]);
        assert_eq!(done.take(ticket).unwrap(), [b, a, b, values[1]]);
    }

    #[test]
    fn grinding_finds_the_smallest_witness() {
        let gpu = testing::gpu();
        for (absorbed, bits) in [(0, 0), (0, 1), (3, 5), (7, 8), (6, 11)] {
            let (mut host, mut expected) = (default_duplex_sponge(), default_duplex_sponge());
            let mut tx = Transcript::new(&gpu, &mut host).unwrap();
            let mut rec = gpu.recorder("test");
            let values: Vec<F> = (0..absorbed).map(F::from_u32).collect();
            tx.observe_values(&mut rec, &values).unwrap();
            values.iter().for_each(|v| FiatShamirTranscript::<SC>::observe(&mut expected, *v));
            let witness = tx.grind(&mut rec, bits).unwrap();
            tx.sync(rec).unwrap();
            let passes =
                |w: &F| bits == 0 || FiatShamirTranscript::<SC>::check_witness(&mut expected.clone(), bits, *w);
            let smallest = (0..).map(F::from_u32).find(passes).unwrap();
            assert_eq!(tx.witness(witness), smallest);
            assert!(FiatShamirTranscript::<SC>::check_witness(&mut expected, bits, smallest));
            sponges_agree(&host, &expected);
        }
    }
}
