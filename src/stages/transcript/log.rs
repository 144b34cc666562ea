//! The log of a transcript: every word that was observed or sampled, on the device and, once read back, on the host.

use std::{marker::PhantomData, ops::Range};

use openvm_stark_backend::FiatShamirTranscript;
use openvm_stark_sdk::config::baby_bear_poseidon2::{D_EF, EF, F};
use p3_field::BasedVectorSpace;

use super::SC;
use crate::{
    error::{Error, Result},
    gpu::{DeviceBuffer, Element, Gpu},
};

/// Words of the log. Proofs observe 8 words per commitment, 4 per claim or coefficient and 8 per column opening with rotation, so this
/// has room for about 100,000 columns.
const LOG_WORDS: usize = 1 << 20;

/// Bytes of the log.
pub const LOG_BYTES: u64 = 4 * LOG_WORDS as u64;

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
    fn new(word: usize, len: usize) -> Self {
        Self { word, len, element: PhantomData }
    }

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

impl Observed<F> {
    /// The first `len` words, and the others.
    pub fn split_at(self, len: usize) -> (Self, Self) {
        assert!(len <= self.len, "{len} of {} words", self.len);
        (Self::new(self.word, len), Self::new(self.word + len, self.len - len))
    }

    /// Words `4 i..4 i + 4` as a challenge.
    pub fn challenge(self, i: usize) -> Challenge {
        assert!((i + 1) * D_EF <= self.len, "challenge {i} in {} words", self.len);
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

impl Entry {
    /// What it takes of the log.
    fn words(self) -> usize {
        match self {
            Self::Observe(words) | Self::Sample(words) => words,
            Self::Grind(_) => 2,
        }
    }
}

/// Observations and samples that were read back and that the caller's transcript has not seen.
pub(super) struct Replay {
    entries: Vec<Entry>,
    words: Vec<F>,
    /// Place of the first of the words.
    start: usize,
}

/// Which word means what, and what is known of them. Kernels write the words.
pub(super) struct Log {
    words: DeviceBuffer<F>,
    /// Words so far.
    end: usize,
    /// What happened since the last [`Log::replay`].
    entries: Vec<Entry>,
    /// The words that were read back.
    known: Vec<F>,
    /// Words that were given out for a replay.
    replayed: usize,
}

impl Log {
    /// # Errors
    ///
    /// As [`Gpu::alloc`].
    pub fn new(gpu: &Gpu) -> Result<Self> {
        Ok(Self { words: gpu.alloc(LOG_WORDS, "transcript log")?, end: 0, entries: vec![], known: vec![], replayed: 0 })
    }

    /// The words on the device.
    pub fn words(&self) -> &DeviceBuffer<F> {
        &self.words
    }

    /// Where the next word goes.
    pub fn end(&self) -> usize {
        self.end
    }

    /// The place of nothing.
    pub fn nothing<T>(&self) -> Observed<T> {
        Observed::new(self.end, 0)
    }

    /// Appends elements that are observed and, behind them, words that are sampled.
    ///
    /// # Errors
    ///
    /// When the log is full.
    pub fn append<T: Element>(&mut self, observed: usize, sampled: usize) -> Result<(Observed<T>, Observed<F>)> {
        let observed_words = observed * T::WORDS;
        let word = self.reserve(observed_words + sampled)?;
        self.entries.extend((observed_words > 0).then_some(Entry::Observe(observed_words)));
        self.entries.extend((sampled > 0).then_some(Entry::Sample(sampled)));
        Ok((Observed::new(word, observed), Observed::new(word + observed_words, sampled)))
    }

    /// Appends a witness of `bits` bits of work with the word that is sampled to check it and, behind them, words that are sampled.
    ///
    /// # Errors
    ///
    /// When the log is full.
    pub fn append_witness(&mut self, bits: usize, sampled: usize) -> Result<(Observed<F>, Observed<F>)> {
        let witness = Entry::Grind(bits);
        let word = self.reserve(witness.words() + sampled)?;
        self.entries.push(witness);
        self.entries.extend((sampled > 0).then_some(Entry::Sample(sampled)));
        Ok((Observed::new(word, 1), Observed::new(word + witness.words(), sampled)))
    }

    fn reserve(&mut self, words: usize) -> Result<usize> {
        let start = self.end;
        if start + words > self.words.len() {
            return Err(Error::Unsupported(format!("a proof that observes more than {LOG_WORDS} words")));
        }
        self.end += words;
        Ok(start)
    }

    /// Words that were not read back so far.
    pub fn unread(&self) -> Range<usize> {
        self.known.len()..self.end
    }

    /// Takes the first of the unread words.
    pub fn receive(&mut self, words: Vec<F>) {
        self.known.extend(words);
    }

    /// What was read back since the last call.
    pub fn replay(&mut self) -> Replay {
        let (start, mut end, mut count) = (self.replayed, self.replayed, 0);
        while end < self.known.len() {
            end += self.entries[count].words();
            count += 1;
        }
        self.replayed = end;
        Replay { entries: self.entries.drain(..count).collect(), words: self.known[start..end].to_vec(), start }
    }

    /// A challenge's value; panics when it was not read back.
    pub fn challenge(&self, challenge: Challenge) -> EF {
        EF::from_basis_coefficients_slice(&self.known[challenge.word..challenge.word + D_EF]).expect("four words")
    }

    /// Observed values; panics when they were not read back.
    pub fn values<T: Element>(&self, observed: Observed<T>) -> Vec<T> {
        crate::gpu::from_words(&self.known[observed.word..observed.word + observed.len * T::WORDS])
    }
}

impl Replay {
    /// Repeats everything on `host`.
    ///
    /// # Errors
    ///
    /// [`Error::TranscriptMismatch`] when it samples something else.
    pub fn run(self, host: &mut impl FiatShamirTranscript<SC>) -> Result<()> {
        let mut at = 0;
        for entry in self.entries {
            let words = &self.words[at..at + entry.words()];
            let differing = match entry {
                Entry::Observe(_) => {
                    words.iter().for_each(|word| host.observe(*word));
                    None
                }
                Entry::Sample(_) => words.iter().position(|word| host.sample() != *word),
                Entry::Grind(bits) => (!host.check_witness(bits, words[0])).then_some(0),
            };
            if let Some(word) = differing {
                return Err(Error::TranscriptMismatch { position: self.start + at + word });
            }
            at += words.len();
        }
        Ok(())
    }
}
