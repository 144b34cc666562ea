//! Places on the transcript's tape: what kernels are told of challenges and observations (`wgsl/transcript/{tape,gather}.wgsl`).

use std::marker::PhantomData;

use openvm_stark_sdk::config::baby_bear_poseidon2::{D_EF, EF, F};

use crate::{
    error::Result,
    gpu::{DeviceBuffer, Element, Grid, Recorder},
    kernel,
};

kernel! {
    /// Elements of the tape as a dense vector.
    struct Gather("transcript/gather.wgsl", workgroup = 64) {
        buffers { read tape: F, read words: u32, write out: EF }
        params { len }
    }
}

/// An extension element on the transcript's tape, sampled or observed, which kernels read there. Clones are cheap; each keeps the tape.
#[derive(Clone)]
pub struct Challenge {
    tape: DeviceBuffer<F>,
    word: usize,
}

/// Elements that were observed (or words that were sampled), as a place on the transcript's tape. Clones are cheap; each keeps the tape.
pub struct Observed<T> {
    tape: DeviceBuffer<F>,
    word: usize,
    len: usize,
    element: PhantomData<T>,
}

impl<T> Clone for Observed<T> {
    fn clone(&self) -> Self {
        Self { tape: self.tape.clone(), word: self.word, len: self.len, element: PhantomData }
    }
}

impl Challenge {
    /// The extension element at `word` of a tape.
    ///
    /// # Panics
    ///
    /// When the tape ends before it.
    pub fn new(tape: &DeviceBuffer<F>, word: usize) -> Self {
        assert!(word + D_EF <= tape.len(), "a challenge at word {word} of a tape of {}", tape.len());
        Self { tape: tape.clone(), word }
    }

    /// What to bind as `tape` where it is read (see `wgsl/transcript/tape.wgsl`).
    pub(crate) fn tape(&self) -> &DeviceBuffer<F> {
        &self.tape
    }

    /// Word offset on the tape.
    pub(crate) fn word(&self) -> u32 {
        self.word as u32
    }

    /// Whether it is on this tape.
    pub(crate) fn is_on(&self, tape: &DeviceBuffer<F>) -> bool {
        self.tape.shares_memory(tape)
    }
}

impl<T: Element> Observed<T> {
    /// `len` elements from `word` of a tape on.
    ///
    /// # Panics
    ///
    /// When the tape ends before them.
    pub fn new(tape: &DeviceBuffer<F>, word: usize, len: usize) -> Self {
        assert!(word + len * T::WORDS <= tape.len(), "{len} elements at word {word} of a tape of {}", tape.len());
        Self { tape: tape.clone(), word, len, element: PhantomData }
    }

    /// What to bind as `tape` where they are read (see `wgsl/transcript/tape.wgsl`).
    pub(crate) fn tape(&self) -> &DeviceBuffer<F> {
        &self.tape
    }

    /// Word offset on the tape.
    pub(crate) fn word(&self) -> u32 {
        self.word as u32
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Observed<EF> {
    /// The `i`-th element as a challenge, for kernels that read it from the tape.
    ///
    /// # Panics
    ///
    /// When there is no such element.
    pub fn at(&self, i: usize) -> Challenge {
        assert!(i < self.len, "element {i} of {}", self.len);
        Challenge::new(&self.tape, self.word + i * D_EF)
    }
}

impl Observed<F> {
    /// The first `len` words, and the others.
    ///
    /// # Panics
    ///
    /// When there are fewer words.
    pub fn split_at(&self, len: usize) -> (Self, Self) {
        assert!(len <= self.len, "{len} of {} words", self.len);
        (Self::new(&self.tape, self.word, len), Self::new(&self.tape, self.word + len, self.len - len))
    }

    /// Words `4 i..4 i + 4` as a challenge.
    ///
    /// # Panics
    ///
    /// When there are fewer words.
    pub fn challenge(&self, i: usize) -> Challenge {
        assert!((i + 1) * D_EF <= self.len, "challenge {i} in {} words", self.len);
        Challenge::new(&self.tape, self.word + i * D_EF)
    }
}

/// Where challenges lie that a kernel reads together: their tape and the word of each; `None` without challenges.
///
/// # Panics
///
/// When they are on several tapes.
pub(crate) fn tape_and_words(challenges: &[Challenge]) -> Option<(&DeviceBuffer<F>, Vec<u32>)> {
    let tape = &challenges.first()?.tape;
    assert!(challenges.iter().all(|challenge| challenge.is_on(tape)), "challenges on one tape");
    Some((tape, challenges.iter().map(Challenge::word).collect()))
}

/// Challenges as a dense vector.
///
/// # Errors
///
/// As [`Gpu::upload`](crate::gpu::Gpu::upload).
pub(crate) fn gather(rec: &mut Recorder, challenges: &[Challenge]) -> Result<DeviceBuffer<EF>> {
    let out = rec.gpu().alloc(challenges.len(), "challenges")?;
    if let Some((tape, words)) = tape_and_words(challenges) {
        let words = rec.gpu().upload(&words, "challenge positions")?;
        let len = challenges.len();
        rec.dispatch(&Gather { tape, words: &words, out: &out, len: len as u32 }, Grid::threads(len));
    }
    Ok(out)
}
