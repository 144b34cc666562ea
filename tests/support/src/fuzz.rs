//! Input that nobody made by hand: mutants of a corpus, as many as there is time for.
//!
//! cargo-fuzz wants a nightly compiler; this runs on stable, from a fixed seed. `OPENVM_WGPU_FUZZ_SECONDS` is how long a target goes on; without
//! it, it tries a fixed number of mutants. What fails is printed, and belongs into the target's corpus: a file below `tests/corpus`.

use std::{
    panic::{catch_unwind, AssertUnwindSafe},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rand::{rngs::StdRng, Rng, SeedableRng};

/// How long each target goes on.
pub const VARIABLE: &str = "OPENVM_WGPU_FUZZ_SECONDS";

/// When a target ends.
pub enum End {
    /// After so many cases.
    Cases(usize),
    /// At this time.
    Time(Instant),
}

impl End {
    /// As the environment says, else after so many cases.
    ///
    /// # Panics
    ///
    /// At a value that is no number of seconds.
    pub fn from_env(cases: usize) -> Self {
        match std::env::var(VARIABLE) {
            Ok(text) => {
                let seconds: f64 = text.parse().unwrap_or_else(|_| panic!("{VARIABLE} is `{text}`, expected seconds"));
                Self::Time(Instant::now() + Duration::from_secs_f64(seconds))
            }
            Err(_) => Self::Cases(cases),
        }
    }

    /// Whether there is another case after so many.
    pub fn goes_on(&self, tried: usize) -> bool {
        match self {
            Self::Cases(cases) => tried < *cases,
            Self::Time(end) => Instant::now() < *end,
        }
    }
}

/// Tries every file below `corpus/<target>` and `seeds`, and mutants of them. A panic is a failure; what else must hold `check` asserts.
///
/// # Panics
///
/// When a case does, with its bytes.
pub fn bytes(corpus: &Path, target: &str, seeds: &[&[u8]], cases: usize, check: impl Fn(&[u8])) {
    let mut inputs: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.to_vec()).collect();
    let files = corpus_files(&corpus.join(target));
    inputs.extend(files.iter().map(|path| std::fs::read(path).expect("a file of the corpus")));
    assert!(!inputs.is_empty(), "{target} has no corpus");
    let tried = |input: &[u8]| {
        let result = catch_unwind(AssertUnwindSafe(|| check(input)));
        assert!(
            result.is_ok(),
            "{target}: {:?} ({} bytes: {:02x?})",
            String::from_utf8_lossy(input),
            input.len(),
            input
        );
    };
    inputs.iter().for_each(|input| tried(input));
    let (mut rng, mut count) = (StdRng::seed_from_u64(13), 0);
    let end = End::from_env(cases);
    while end.goes_on(count) {
        tried(&mutant(&inputs, &mut rng));
        count += 1;
    }
    println!("{target}: {} of the corpus, {count} mutants", inputs.len());
}

fn corpus_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// Words that code has cases for.
const WORDS: [u32; 8] = [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0x7800_0001, 0xffff, 0x2000_0000];

/// Texts that parsers have cases for.
const TOKENS: [&str; 22] = [
    "",
    " ",
    "\n",
    "\"",
    "[",
    "]",
    "{",
    "}",
    "=",
    ",",
    ".",
    "-1",
    "1e999",
    "0x",
    "1e-7",
    "null",
    "true",
    "18446744073709551616",
    "\u{0}",
    "é",
    "[[",
    "99999999999999999999999999999999999999999999",
];

/// One of the inputs with up to six changes.
fn mutant(inputs: &[Vec<u8>], rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = inputs[rng.random_range(0..inputs.len())].clone();
    for _ in 0..rng.random_range(1..=6) {
        let at = rng.random_range(0..=bytes.len());
        let len = rng.random_range(0..=16usize).min(bytes.len() - at);
        match rng.random_range(0..8) {
            0 => bytes[at..at + len].iter_mut().for_each(|byte| *byte = rng.random()),
            1 => bytes[at..at + len].iter_mut().take(1).for_each(|byte| *byte ^= 1 << rng.random_range(0..8)),
            2 => _ = bytes.drain(at..at + len),
            3 => {
                let other = &inputs[rng.random_range(0..inputs.len())];
                let from = rng.random_range(0..=other.len());
                let part = other[from..(from + 4 * len).min(other.len())].to_vec();
                _ = bytes.splice(at..at, part);
            }
            4 => {
                let token = TOKENS[rng.random_range(0..TOKENS.len())].bytes();
                _ = bytes.splice(at..at + len.min(1), token);
            }
            5 => {
                let (at, word) = (at & !3, WORDS[rng.random_range(0..WORDS.len())].to_le_bytes());
                bytes.iter_mut().skip(at).zip(word).for_each(|(byte, word)| *byte = word);
            }
            6 if rng.random_range(0..4) == 0 => bytes.truncate(at),
            _ => {
                let from = rng.random_range(0..=bytes.len() - len);
                bytes.copy_within(from..from + len, at);
            }
        }
    }
    bytes
}
