//! Discrete Fourier transforms of any length up to 2^27 (`wgsl/ntt/{pass,wide,small}.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use std::ops::RangeInclusive;

use super::{
    log2_strict, log_words, roots,
    wide::{self, WidePass, WidePlace, LOG_ROWS, MAX_LOG_L},
    MAX_LOG_SIZE, TILE_WORDS,
};
use crate::{
    error::{Error, Result},
    gpu::{DeviceBuffer, Element, Gpu, Grid, Recorder},
    kernel,
};

kernel! {
    /// 2^log_r of the stages of a DFT, natural order in and out over all passes
    pub struct Narrow("ntt/pass.wgsl", workgroup = 256) {
        buffers { read src: u32, write dst: u32, read roots: F }
        params { log_n, log_in, log_ext, log_l, log_r, columns, repeat, inverse }
    }
}

kernel! {
    /// dst[k] = sum_j w^(j k) src[j], at most eight values
    struct Small("ntt/small.wgsl", workgroup = 256) {
        buffers { read src: u32, write dst: u32, read roots: F }
        params { log_n, log_in, log_ext, words, inverse }
    }
}

/// Below 2^4 values the definition is cheaper than a pass, which starts with radix 16.
const LOG_SMALL: usize = 3;

/// A pass does at most two digits of radix 16.
const LOG_RADIX: usize = 8;

/// log2 lengths of columns that two wide passes transform: ten bits each, and at most one more each while loading.
const WIDE_PAIRS: RangeInclusive<usize> = 2 * LOG_ROWS..=2 * LOG_ROWS + 2;

/// log2 lengths of transforms with a wide pass after narrow ones: where that makes two passes.
const LAST_WIDE: RangeInclusive<usize> = 15..=LOG_ROWS + LOG_RADIX;

/// A workgroup repeats its tile in several columns to compute its roots once, but not so many that fewer workgroups than this remain:
/// eight on each multiprocessor of the largest card.
const ENOUGH_WORKGROUPS: usize = 1024;
const MAX_REPEAT: usize = 8;

/// Which way a transform goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Coefficients to evaluations: `y[k] = sum_j w^(j k) x[j]`.
    Forward,
    /// Evaluations to coefficients.
    Inverse,
}

/// A batch of columns to transform.
#[derive(Clone, Copy, Debug)]
pub struct DftShape {
    /// Number of columns, one behind the other.
    pub columns: usize,
    /// log2 of the elements per column before; zeros are appended up to 2^log_out.
    pub log_in: usize,
    /// log2 of the elements per column after.
    pub log_out: usize,
}

impl DftShape {
    fn check<T: Element>(&self) -> Result<()> {
        let &Self { columns, log_in, log_out } = self;
        assert!(log_in <= log_out, "a DFT of 2^{log_out} values of 2^{log_in} coefficients");
        if log_out > MAX_LOG_SIZE {
            return Err(Error::Unsupported(format!("a DFT of length 2^{log_out}; the field has 2^{MAX_LOG_SIZE}")));
        }
        let words = (columns << log_out) * T::WORDS;
        assert!(words <= 1 << 32, "{columns} columns of 2^{log_out} exceed one buffer");
        Ok(())
    }

    /// The passes for elements of type `T` on a device.
    fn passes<T: Element>(&self, gpu: &Gpu) -> Vec<DftPass> {
        if self.log_out <= LOG_SMALL {
            return vec![DftPass::Narrow(self.log_out)];
        }
        let has_wide = T::WORDS == 1 && wide::fits(gpu);
        if has_wide && WIDE_PAIRS.contains(&self.log_in) && self.log_out - LOG_ROWS <= MAX_LOG_L {
            let folded = self.log_in - WIDE_PAIRS.start();
            let (fold, last_fold) = (folded > 0, folded > 1);
            let log_m = LOG_ROWS + last_fold as usize;
            let log_first_l = self.log_out - LOG_ROWS - log_m;
            return vec![
                DftPass::Wide { place: WidePlace::First { log_m }, fold },
                DftPass::Wide { place: WidePlace::Last { log_first_l }, fold: last_fold },
            ];
        }
        if has_wide && LAST_WIDE.contains(&self.log_out) {
            let mut passes = narrow(self.log_out - LOG_ROWS);
            passes.push(DftPass::Wide { place: WidePlace::LastNatural, fold: false });
            return passes;
        }
        narrow(self.log_out)
    }

    /// Which of the two work buffers of [`Transform`] has the result on a device.
    pub fn result_at<T: Element>(&self, gpu: &Gpu) -> usize {
        (self.passes::<T>(gpu).len() - 1) % 2
    }
}

/// A part of a transform: some bits of the index.
#[derive(Clone, Copy, Debug)]
enum DftPass {
    /// log2 of the radix.
    Narrow(usize),
    Wide {
        place: WidePlace,
        fold: bool,
    },
}

impl DftPass {
    /// Bits of the index that are transformed when a narrow pass follows.
    fn log_radix(self) -> usize {
        match self {
            Self::Narrow(log_r) => log_r,
            Self::Wide { fold, .. } => LOG_ROWS + fold as usize,
        }
    }
}

/// As few narrow passes as possible, as even as possible, since a smaller radix has longer runs.
fn narrow(log_len: usize) -> Vec<DftPass> {
    let passes = log_len.div_ceil(LOG_RADIX);
    (0..passes).map(|i| DftPass::Narrow((log_len + passes - 1 - i) / passes)).collect()
}

/// The DFT of the columns in `src` through `work`; the result is in `work[shape.result_at::<T>(gpu)]`, in natural order.
///
/// The passes go `src` -> `work[0]` -> `work[1]` -> `work[0]` ..; `work[1]` may be `src` itself, which is then overwritten when there is
/// more than one pass. Bit reversal is nowhere needed.
pub struct Transform<'a, T: Element> {
    /// Columns of 2^log_in elements.
    pub src: &'a DeviceBuffer<T>,
    /// Columns of 2^log_out elements each.
    pub work: [&'a DeviceBuffer<T>; 2],
    /// Sizes.
    pub shape: DftShape,
    /// Which way.
    pub direction: Direction,
}

impl<T: Element> Transform<'_, T> {
    /// Records the passes.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] beyond 2^27; as [`Gpu::alloc`] for the table of roots.
    pub fn record(&self, rec: &mut Recorder) -> Result<()> {
        let Self { src, work, shape, direction } = *self;
        shape.check::<T>()?;
        assert!(shape.columns << shape.log_in <= src.len(), "DFT input");
        let passes = shape.passes::<T>(rec.gpu());
        for buffer in &work[..passes.len().min(2)] {
            assert!(shape.columns << shape.log_out <= buffer.len(), "DFT output");
        }
        if shape.columns == 0 {
            return Ok(());
        }
        let inverse = |i: usize| i + 1 == passes.len() && direction == Direction::Inverse;
        if shape.log_out <= LOG_SMALL {
            let roots = roots(rec.gpu())?;
            small(rec, [&src.cast(), &work[0].cast(), &roots.cast()], log_words::<T>(), shape, inverse(0) as u32);
            return Ok(());
        }
        let (mut from, mut log_l) = (src, 0);
        for (i, &pass) in passes.iter().enumerate() {
            let to = work[i % 2];
            let (src, dst) = (&from.cast(), &to.cast());
            match pass {
                DftPass::Wide { place, fold } => {
                    let (columns, log_n, inverse) = (shape.columns, shape.log_out, inverse(i));
                    WidePass { src, dst, columns, log_n, place, fold, inverse }.record(rec)?;
                }
                DftPass::Narrow(log_r) => dispatch_narrow(
                    rec,
                    Narrow {
                        src,
                        dst,
                        roots: &roots(rec.gpu())?,
                        log_n: shape.log_out as u32,
                        log_in: if i == 0 { shape.log_in } else { shape.log_out } as u32,
                        log_ext: log_words::<T>() as u32,
                        log_l,
                        log_r: log_r as u32,
                        columns: shape.columns as u32,
                        repeat: 1,
                        inverse: inverse(i) as u32,
                    },
                ),
            }
            from = to;
            log_l += pass.log_radix() as u32;
        }
        Ok(())
    }
}

/// Derives the grid and how many columns a workgroup takes one after the other.
fn dispatch_narrow(rec: &mut Recorder, pass: Narrow<'_>) {
    let column_words = 1usize << (pass.log_n + pass.log_ext);
    let tiles = (column_words / TILE_WORDS).max(1);
    let columns_per_tile = (TILE_WORDS / column_words).max(1);
    let column_groups = (pass.columns as usize).div_ceil(columns_per_tile);
    let repeat = (tiles * column_groups / ENOUGH_WORKGROUPS).clamp(1, MAX_REPEAT);
    let workgroups = tiles * column_groups.div_ceil(repeat);
    rec.dispatch(&Narrow { repeat: repeat as u32, ..pass }, Grid::workgroups(workgroups));
}

fn small(
    rec: &mut Recorder,
    [src, dst, roots]: [&DeviceBuffer<u32>; 3],
    log_ext: usize,
    shape: DftShape,
    inverse: u32,
) {
    let words = shape.columns << (shape.log_out + log_ext);
    let kernel = Small {
        src,
        dst,
        roots: &roots.cast(),
        log_n: shape.log_out as u32,
        log_in: shape.log_in as u32,
        log_ext: log_ext as u32,
        words: words as u32,
        inverse,
    };
    rec.dispatch(&kernel, Grid::threads(words));
}

/// The DFT of columns of 2^log_in coefficients, as 2^log_out values each; `src` keeps its contents.
///
/// # Errors
///
/// As [`Transform::record`] and [`Gpu::alloc`].
pub fn dft<T: Element>(rec: &mut Recorder, src: &DeviceBuffer<T>, shape: DftShape) -> Result<DeviceBuffer<T>> {
    transformed(rec, src, shape, Direction::Forward)
}

/// The inverse of [`dft`].
///
/// # Errors
///
/// As [`dft`].
pub fn inverse_dft<T: Element>(rec: &mut Recorder, src: &DeviceBuffer<T>, shape: DftShape) -> Result<DeviceBuffer<T>> {
    transformed(rec, src, shape, Direction::Inverse)
}

fn transformed<T: Element>(
    rec: &mut Recorder,
    src: &DeviceBuffer<T>,
    shape: DftShape,
    direction: Direction,
) -> Result<DeviceBuffer<T>> {
    shape.check::<T>()?;
    let len = shape.columns << shape.log_out;
    let first = rec.gpu().alloc(len, "DFT")?;
    let second = if shape.passes::<T>(rec.gpu()).len() > 1 { rec.gpu().alloc(len, "DFT")? } else { first.clone() };
    Transform { src, work: [&first, &second], shape, direction }.record(rec)?;
    Ok(if shape.result_at::<T>(rec.gpu()) == 0 { first } else { second })
}

/// The values of one polynomial over the extension on the subgroup of order 2^log_out, in natural order.
///
/// # Errors
///
/// As [`dft`].
pub fn dft_ext(rec: &mut Recorder, coeffs: &DeviceBuffer<EF>, log_out: usize) -> Result<DeviceBuffer<EF>> {
    dft(rec, coeffs, DftShape { columns: 1, log_in: log2_strict(coeffs.len()), log_out })
}
