//! Discrete Fourier transforms of any length up to 2^27 (`wgsl/ntt/{pass,small}.wgsl`).

use openvm_stark_sdk::config::baby_bear_poseidon2::{EF, F};

use super::{log2_strict, log_words, roots, MAX_LOG_SIZE, TILE_WORDS};
use crate::{
    error::{Error, Result},
    gpu::{DeviceBuffer, Element, Grid, Recorder},
    kernel,
};

kernel! {
    /// 2^log_r of the stages of a DFT, natural order in and out over all passes
    struct Pass("ntt/pass.wgsl", workgroup = 256) {
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
pub struct Shape {
    /// Number of columns, one behind the other.
    pub columns: usize,
    /// log2 of the elements per column before; zeros are appended up to 2^log_out.
    pub log_in: usize,
    /// log2 of the elements per column after.
    pub log_out: usize,
}

impl Shape {
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

    /// log2 radices of the passes: as few passes as possible, as even as possible, since a smaller radix has longer runs.
    fn radices(&self) -> Vec<usize> {
        if self.log_out <= LOG_SMALL {
            return vec![self.log_out];
        }
        let passes = self.log_out.div_ceil(LOG_RADIX);
        (0..passes).map(|i| (self.log_out + passes - 1 - i) / passes).collect()
    }

    /// Which of the two work buffers of [`transform`] has the result.
    pub fn result_at(&self) -> usize {
        (self.radices().len() - 1) % 2
    }
}

/// Transforms the columns in `src` through `work`; the result is in `work[shape.result_at()]`, in natural order.
///
/// The passes go `src` -> `work[0]` -> `work[1]` -> `work[0]` ..; `work[1]` may be `src` itself, which is then overwritten when there is
/// more than one pass. Bit reversal is nowhere needed.
///
/// # Errors
///
/// [`Error::Unsupported`] beyond 2^27; as [`Gpu::alloc`](crate::gpu::Gpu::alloc) for the table of roots.
pub fn transform<T: Element>(
    rec: &mut Recorder,
    src: &DeviceBuffer<T>,
    work: [&DeviceBuffer<T>; 2],
    shape: Shape,
    direction: Direction,
) -> Result<()> {
    shape.check::<T>()?;
    assert!(shape.columns << shape.log_in <= src.len(), "DFT input");
    let radices = shape.radices();
    for buffer in &work[..radices.len().min(2)] {
        assert!(shape.columns << shape.log_out <= buffer.len(), "DFT output");
    }
    if shape.columns == 0 {
        return Ok(());
    }
    let roots = roots(rec.gpu())?;
    let inverse = |last: bool| (last && direction == Direction::Inverse) as u32;
    if shape.log_out <= LOG_SMALL {
        small(rec, [&src.cast(), &work[0].cast(), &roots.cast()], log_words::<T>(), shape, inverse(true));
        return Ok(());
    }
    let (mut from, mut log_l) = (src, 0);
    for (i, &log_r) in radices.iter().enumerate() {
        let to = work[i % 2];
        let pass = Pass {
            src: &from.cast(),
            dst: &to.cast(),
            roots: &roots,
            log_n: shape.log_out as u32,
            log_in: if i == 0 { shape.log_in } else { shape.log_out } as u32,
            log_ext: log_words::<T>() as u32,
            log_l,
            log_r: log_r as u32,
            columns: shape.columns as u32,
            repeat: 1,
            inverse: inverse(i + 1 == radices.len()),
        };
        dispatch_pass(rec, pass);
        from = to;
        log_l += log_r as u32;
    }
    Ok(())
}

/// Derives the grid and how many columns a workgroup takes one after the other.
fn dispatch_pass(rec: &mut Recorder, pass: Pass<'_>) {
    let column_words = 1usize << (pass.log_n + pass.log_ext);
    let tiles = (column_words / TILE_WORDS).max(1);
    let columns_per_tile = (TILE_WORDS / column_words).max(1);
    let column_groups = (pass.columns as usize).div_ceil(columns_per_tile);
    let repeat = (tiles * column_groups / ENOUGH_WORKGROUPS).clamp(1, MAX_REPEAT);
    let workgroups = tiles * column_groups.div_ceil(repeat);
    rec.dispatch(&Pass { repeat: repeat as u32, ..pass }, Grid::workgroups(workgroups));
}

fn small(rec: &mut Recorder, [src, dst, roots]: [&DeviceBuffer<u32>; 3], log_ext: usize, shape: Shape, inverse: u32) {
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
/// As [`transform`] and [`Gpu::alloc`](crate::gpu::Gpu::alloc).
pub fn dft<T: Element>(rec: &mut Recorder, src: &DeviceBuffer<T>, shape: Shape) -> Result<DeviceBuffer<T>> {
    transformed(rec, src, shape, Direction::Forward)
}

/// The inverse of [`dft`].
///
/// # Errors
///
/// As [`dft`].
pub fn inverse_dft<T: Element>(rec: &mut Recorder, src: &DeviceBuffer<T>, shape: Shape) -> Result<DeviceBuffer<T>> {
    transformed(rec, src, shape, Direction::Inverse)
}

fn transformed<T: Element>(
    rec: &mut Recorder,
    src: &DeviceBuffer<T>,
    shape: Shape,
    direction: Direction,
) -> Result<DeviceBuffer<T>> {
    shape.check::<T>()?;
    let len = shape.columns << shape.log_out;
    let first = rec.gpu().alloc(len, "DFT")?;
    let second = if shape.radices().len() > 1 { rec.gpu().alloc(len, "DFT")? } else { first.clone() };
    transform(rec, src, [&first, &second], shape, direction)?;
    Ok(if shape.result_at() == 0 { first } else { second })
}

/// The values of one polynomial over the extension on the subgroup of order 2^log_out, in natural order.
///
/// # Errors
///
/// As [`dft`].
pub fn dft_ext(rec: &mut Recorder, coeffs: &DeviceBuffer<EF>, log_out: usize) -> Result<DeviceBuffer<EF>> {
    dft(rec, coeffs, Shape { columns: 1, log_in: log2_strict(coeffs.len()), log_out })
}
