//! The tape of a transcript: every word that was observed or sampled, on the device and, once read back, on the host.

use std::ops::Range;

use openvm_stark_sdk::config::baby_bear_poseidon2::{D_EF, EF, F};
use p3_field::BasedVectorSpace;

use super::host::Replay;
use crate::{
    error::{Error, Result},
    gpu::{DeviceBuffer, Element, Gpu},
    kernels::transcript::{Challenge, Observed},
};

/// Words of the tape. Proofs observe 8 words per commitment, 4 per claim or coefficient and 8 per column opening with rotation, so this
/// has room for about 100,000 columns.
const TAPE_WORDS: usize = 1 << 20;

/// Bytes of the tape.
pub const TAPE_BYTES: u64 = 4 * TAPE_WORDS as u64;

/// What happened, for the replay.
#[derive(Clone, Copy)]
enum Entry {
    Observe(usize),
    Sample(usize),
    Grind(usize),
}

impl Entry {
    /// What it takes of the tape.
    fn words(self) -> usize {
        match self {
            Self::Observe(words) | Self::Sample(words) => words,
            Self::Grind(_) => 2,
        }
    }

    /// Repeats it on `host`; the word that `host` does not give.
    fn first_difference(self, words: &[F], host: &mut dyn Replay) -> Option<usize> {
        match self {
            Self::Observe(_) => {
                host.observe(words);
                None
            }
            Self::Sample(_) => host.first_other_sample(words),
            Self::Grind(bits) => (!host.check_witness(bits, words[0])).then_some(0),
        }
    }
}

/// Which word means what, and what is known of them. Kernels write the words.
pub(super) struct Tape {
    words: DeviceBuffer<F>,
    /// Words so far.
    end: usize,
    /// Of these the ones that are read back or on their way.
    requested: usize,
    /// What happened and was not replayed.
    entries: Vec<Entry>,
    /// The words that were read back.
    known: Vec<F>,
    /// Words that were replayed.
    replayed: usize,
}

impl Tape {
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub(super) fn new(gpu: &Gpu) -> Result<Self> {
        Ok(Self {
            words: gpu.alloc(TAPE_WORDS, "transcript tape")?,
            end: 0,
            requested: 0,
            entries: vec![],
            known: vec![],
            replayed: 0,
        })
    }

    /// The words on the device.
    pub(super) fn words(&self) -> &DeviceBuffer<F> {
        &self.words
    }

    /// Where the next word goes.
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// The place of nothing.
    pub(super) fn nothing<T: Element>(&self) -> Observed<T> {
        Observed::new(&self.words, self.end, 0)
    }

    /// Appends elements that are observed and, behind them, words that are sampled.
    ///
    /// # Errors
    ///
    /// When the tape is full.
    pub(super) fn append<T: Element>(&mut self, observed: usize, sampled: usize) -> Result<(Observed<T>, Observed<F>)> {
        let observed_words = observed * T::WORDS;
        let word = self.reserve(observed_words + sampled)?;
        self.entries.extend((observed_words > 0).then_some(Entry::Observe(observed_words)));
        self.entries.extend((sampled > 0).then_some(Entry::Sample(sampled)));
        Ok((Observed::new(&self.words, word, observed), Observed::new(&self.words, word + observed_words, sampled)))
    }

    /// Appends a witness of `bits` bits of work with the word that is sampled to check it and, behind them, words that are sampled.
    ///
    /// # Errors
    ///
    /// When the tape is full.
    pub(super) fn append_witness(&mut self, bits: usize, sampled: usize) -> Result<(Observed<F>, Observed<F>)> {
        let witness = Entry::Grind(bits);
        let word = self.reserve(witness.words() + sampled)?;
        self.entries.push(witness);
        self.entries.extend((sampled > 0).then_some(Entry::Sample(sampled)));
        Ok((Observed::new(&self.words, word, 1), Observed::new(&self.words, word + witness.words(), sampled)))
    }

    fn reserve(&mut self, words: usize) -> Result<usize> {
        let start = self.end;
        if start + words > self.words.len() {
            return Err(Error::Unsupported(format!("a proof that observes more than {TAPE_WORDS} words")));
        }
        self.end += words;
        Ok(start)
    }

    /// Words that nobody has asked for; the caller will read them back.
    pub(super) fn request(&mut self) -> Range<usize> {
        std::mem::replace(&mut self.requested, self.end)..self.end
    }

    /// Takes the words of the oldest request that is open.
    pub(super) fn receive(&mut self, words: Vec<F>) {
        self.known.extend(words);
    }

    /// Whether all words were read back.
    pub(super) fn is_known(&self) -> bool {
        self.known.len() == self.end
    }

    /// Repeats on `host` what was read back since the last call.
    ///
    /// # Errors
    ///
    /// [`Error::TranscriptMismatch`] when it samples something else.
    pub(super) fn replay(&mut self, host: &mut dyn Replay) -> Result<()> {
        let mut count = 0;
        for entry in &self.entries {
            let end = self.replayed + entry.words();
            if end > self.known.len() {
                break;
            }
            if let Some(word) = entry.first_difference(&self.known[self.replayed..end], host) {
                return Err(Error::TranscriptMismatch { position: self.replayed + word });
            }
            self.replayed = end;
            count += 1;
        }
        self.entries.drain(..count);
        Ok(())
    }

    /// A challenge's value; panics when it was not read back.
    pub(super) fn challenge(&self, challenge: &Challenge) -> EF {
        let word = self.own(challenge.tape(), challenge.word());
        EF::from_basis_coefficients_slice(&self.known[word..word + D_EF]).expect("four words")
    }

    /// Observed values; panics when they were not read back.
    pub(super) fn values<T: Element>(&self, observed: &Observed<T>) -> Vec<T> {
        let word = self.own(observed.tape(), observed.word());
        crate::gpu::from_words(&self.known[word..word + observed.len() * T::WORDS])
    }

    /// A word of a tape that must be this one.
    fn own(&self, tape: &DeviceBuffer<F>, word: u32) -> usize {
        assert!(tape.shares_memory(&self.words), "a place on another transcript's tape");
        word as usize
    }
}
