use std::{
    ffi::c_void,
    ptr,
    sync::{RwLockReadGuard, RwLockWriteGuard},
};

use crate::{
    buffer::Buffer,
    check::{self, Memory, Region},
    emit::Metal,
    execute::{self, image, image::Image, Dispatch, Divergence},
    price::{self, Price},
    Error, Finding, FindingKind,
};

/// One kernel as text, with its interface.
#[derive(Clone, Copy, Debug)]
pub struct Kernel<'a> {
    /// Name in findings and errors: the path of the WGSL file.
    pub name: &'a str,
    /// WGSL that is linked for a Metal device, with the entry point `main`.
    pub wgsl: &'a str,
    /// Values of WGSL `override`s.
    pub overrides: &'a [(&'static str, u32)],
    /// For each storage binding of group 0, in order: whether the kernel writes it.
    pub writable: &'a [bool],
    /// Words of parameters.
    pub params: usize,
    /// Parameters are immediates; else a uniform buffer behind the storage bindings.
    pub immediates: bool,
    /// Threads per workgroup.
    pub workgroup: u32,
}

/// How a kernel is translated and compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// wgpu's runtime checks: clamped indices, zeroed workgroup memory, bounded loops, guarded integer division.
    pub bounds_checks: bool,
    /// What running it does.
    pub mode: Mode,
}

/// What running a kernel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Runs workgroups on several threads.
    Fast,
    /// Checks every access; one thread, 10 to 100 times slower.
    Check,
    /// Counts what the instructions would cost a GPU; see [`Program::price`].
    Price,
}

/// The order in which threads take turns and workgroups follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// By index.
    Ascending,
    /// From the last index.
    Descending,
    /// Shuffled anew at each barrier, by this seed; weak compare-exchanges fail now and then.
    Random(u64),
}

/// A compiled kernel.
pub struct Program {
    name: String,
    metal: Metal,
    image: Image,
    mode: Mode,
    writable: Vec<bool>,
    params: usize,
}

impl Program {
    /// Translates and compiles a kernel, or finds it in the cache (`$METAL_ON_CPU_CACHE`, or `metal-on-cpu` in the user's cache
    /// directory). May be called from several threads at once.
    ///
    /// # Errors
    ///
    /// What naga or clang++ reject; [`Error::NoCompiler`] where there is no clang++.
    pub fn build(kernel: &Kernel<'_>, options: Options) -> Result<Self, Error> {
        let metal = Metal::emit(kernel, options.bounds_checks)?;
        let runtime = match options.mode {
            Mode::Fast => &image::FAST,
            Mode::Check => &check::RUNTIME,
            Mode::Price => &price::RUNTIME,
        };
        let image = execute::load(kernel.name, &metal, options.mode, runtime)?;
        let (name, writable, params) = (kernel.name.to_owned(), kernel.writable.to_vec(), kernel.params);
        Ok(Self { name, metal, image, mode: options.mode, writable, params })
    }

    /// Runs the kernel on `grid` workgroups. The same buffer may be bound several times if no binding of it is writable.
    ///
    /// Returns what check mode found; fast mode only finds barriers and subgroup operations that not all threads reach. A stray access
    /// in fast mode, without bounds checks, is one of this process.
    ///
    /// # Errors
    ///
    /// [`Error::Arguments`] when the number of buffers or parameters is not the kernel's, or a writable buffer is bound twice.
    pub fn run(
        &self,
        bindings: &[&Buffer],
        params: &[u32],
        grid: [u32; 3],
        order: Order,
    ) -> Result<Vec<Finding>, Error> {
        self.check_arguments(bindings, params)?;
        let _locks = self.lock(bindings);
        let arguments = Arguments::new(&self.metal, bindings, params);
        let buffers = arguments.by_slot(self.metal.slots.count());
        let dispatch = Dispatch { image: &self.image, metal: &self.metal, buffers: &buffers, grid, order };
        Ok(match self.mode {
            Mode::Check => check::run(&dispatch, arguments.regions(), &self.name),
            Mode::Price => {
                price::run(&dispatch, &[], &dispatch.groups());
                vec![]
            }
            Mode::Fast => dispatch.run().into_iter().map(|divergence| self.finding(divergence)).collect(),
        })
    }

    /// Runs some workgroups of a dispatch, by their numbers in the grid, x fastest, and returns what each would cost an Apple GPU. Only of
    /// programs that are built for [`Mode::Price`].
    ///
    /// # Errors
    ///
    /// As [`Program::run`].
    pub fn price(
        &self,
        bindings: &[&Buffer],
        params: &[u32],
        grid: [u32; 3],
        groups: &[u32],
    ) -> Result<Vec<Price>, Error> {
        self.check_arguments(bindings, params)?;
        let _locks = self.lock(bindings);
        let arguments = Arguments::new(&self.metal, bindings, params);
        let buffers = arguments.by_slot(self.metal.slots.count());
        let order = Order::Ascending;
        let dispatch = Dispatch { image: &self.image, metal: &self.metal, buffers: &buffers, grid, order };
        let bytes = |buffer: &&Buffer| (buffer.pointer() as usize)..(buffer.pointer() as usize + buffer.len());
        Ok(price::run(&dispatch, &bindings.iter().map(bytes).collect::<Vec<_>>(), groups))
    }

    /// The Metal text, as naga wrote it.
    pub fn msl(&self) -> &str {
        &self.metal.text
    }

    fn check_arguments(&self, bindings: &[&Buffer], params: &[u32]) -> Result<(), Error> {
        let fail = |message| Err(Error::Arguments { kernel: self.name.clone(), message });
        if bindings.len() != self.writable.len() {
            return fail(format!("{} buffers for {} bindings", bindings.len(), self.writable.len()));
        }
        if params.len() != self.params {
            return fail(format!("{} words of parameters, {} declared", params.len(), self.params));
        }
        for (i, written) in bindings.iter().enumerate().filter(|(i, _)| self.writable[*i]) {
            let other = bindings.iter().enumerate().find(|(j, other)| *j != i && ptr::eq(*written, **other));
            if let Some((j, _)) = other {
                return fail(format!("bindings {i}, which is written, and {j} are the same buffer"));
            }
        }
        Ok(())
    }

    /// Waits for whoever else uses the buffers; by address, so that no two runs wait for each other.
    fn lock<'a>(&self, bindings: &[&'a Buffer]) -> Vec<Lock<'a>> {
        let mut buffers: Vec<_> = bindings.iter().copied().zip(self.writable.iter().copied()).collect();
        buffers.sort_by_key(|(buffer, _)| ptr::from_ref(*buffer));
        buffers.dedup_by_key(|(buffer, _)| ptr::from_ref(*buffer));
        let lock = |(buffer, writes): (&'a Buffer, bool)| {
            if writes {
                Lock::Write(buffer.lock_mut())
            } else {
                Lock::Read(buffer.lock())
            }
        };
        buffers.into_iter().map(lock).collect()
    }

    fn finding(&self, divergence: Divergence) -> Finding {
        let Divergence { simdgroup, line, message } = divergence;
        let kind = if simdgroup { FindingKind::DivergentSubgroup } else { FindingKind::DivergentBarrier };
        Finding::new(kind, &self.name, &self.metal.text, line, message)
    }
}

/// Held while a kernel uses a buffer.
#[allow(dead_code)]
enum Lock<'a> {
    Read(RwLockReadGuard<'a, ()>),
    Write(RwLockWriteGuard<'a, ()>),
}

/// What a kernel is given, by slot of Metal's argument table.
struct Arguments {
    places: Vec<(u8, Memory, *mut c_void, usize)>,
    /// The parameters and the sizes of runtime-sized arrays, which some of the places are.
    _words: [Vec<u128>; 2],
}

impl Arguments {
    fn new(metal: &Metal, bindings: &[&Buffer], params: &[u32]) -> Self {
        let slots = &metal.slots;
        let buffer =
            |(i, (slot, buffer)): (usize, (&u8, &&Buffer))| (*slot, Memory::Binding(i), buffer.pointer(), buffer.len());
        let mut places: Vec<_> = slots.storage.iter().zip(bindings).enumerate().map(buffer).collect();
        let size = |binding: &usize| u32::try_from(bindings[*binding].len()).unwrap_or(u32::MAX);
        let sizes: Vec<u32> = metal.sized.iter().map(size).collect();
        let mut words = [aligned(params), aligned(&sizes)];
        let (params_at, sizes_at) = (words[0].as_mut_ptr().cast(), words[1].as_mut_ptr().cast());
        let params_slot = slots.immediates.or(slots.uniform);
        places.extend(params_slot.map(|slot| (slot, Memory::Params, params_at, 4 * params.len())));
        places.extend(slots.sizes.map(|slot| (slot, Memory::Sizes, sizes_at, 4 * sizes.len())));
        Self { places, _words: words }
    }

    fn by_slot(&self, count: usize) -> Vec<*mut c_void> {
        let mut buffers = vec![ptr::null_mut(); count];
        for (slot, _, at, _) in &self.places {
            buffers[*slot as usize] = *at;
        }
        buffers
    }

    fn regions(&self) -> Vec<Region> {
        self.places.iter().map(|(_, memory, at, bytes)| Region::new(*memory, *at as usize, *bytes)).collect()
    }
}

/// The words, aligned as vectors of four.
fn aligned(words: &[u32]) -> Vec<u128> {
    let four = |chunk: &[u32]| {
        let mut bytes = [0; 16];
        for (place, word) in bytes.chunks_exact_mut(4).zip(chunk) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        u128::from_ne_bytes(bytes)
    };
    words.chunks(4).map(four).collect()
}
