//! Metal text, compiled as C++ and run on the CPU: a plain loop over the threads of a workgroup, or, where they wait for each other,
//! a fiber for each.

pub mod abi;
mod compile;
mod fiber;
pub mod image;
mod order;
mod simdgroup;
mod source;
mod workgroup;

use std::{
    cell::RefCell,
    ffi::c_void,
    sync::{
        atomic::{AtomicUsize, Ordering},
        Mutex,
    },
};

use rayon::prelude::*;

use self::{
    abi::{Launch, Runtime},
    image::Image,
    order::Turns,
    workgroup::Workgroup,
};
use crate::{emit::Metal, Error, Mode, Order};

pub use self::{
    fiber::{Fiber, State},
    source::FILE,
    workgroup::{Divergence, Observer},
};

/// Under a random order, one in so many weak compare-exchanges fails.
const SPURIOUS: u32 = 8;
/// Chunks of workgroups that each thread takes, so that none waits long for another.
const CHUNKS: usize = 8;

/// Compiles and loads a kernel.
pub fn load(kernel: &str, metal: &Metal, mode: Mode, runtime: &'static Runtime) -> Result<Image, Error> {
    let cpp = source::cpp(metal).map_err(|message| Error::Translation { kernel: kernel.to_owned(), message })?;
    let compiler = compile::Compiler::get()?;
    Image::load(kernel, &compiler.shared_object(kernel, &cpp, mode)?, runtime)
}

/// A kernel on its buffers.
pub struct Dispatch<'a> {
    pub image: &'a Image,
    pub metal: &'a Metal,
    /// By slot.
    pub buffers: &'a [*mut c_void],
    pub grid: [u32; 3],
    pub order: Order,
}

// SAFETY: the pointers are to memory that outlives the dispatch and that kernels may access from several threads, as on a GPU
unsafe impl Sync for Dispatch<'_> {}

/// What one thread of the host runs workgroups with.
#[derive(Default)]
struct Worker {
    workgroup: Workgroup,
    memory: Vec<u128>,
}

thread_local! {
    static WORKER: RefCell<Worker> = RefCell::default();
}

impl Dispatch<'_> {
    /// Runs all workgroups, on several threads. Returns where their threads diverged.
    pub fn run(&self) -> Vec<Divergence> {
        let groups = self.groups();
        let (next, found) = (AtomicUsize::new(0), Mutex::new(vec![]));
        let threads = rayon::current_num_threads().min(groups.len());
        let chunk = (groups.len() / (threads * CHUNKS).max(1)).max(1);
        let work = || {
            WORKER.with_borrow_mut(|worker| loop {
                let from = next.fetch_add(chunk, Ordering::Relaxed);
                if from >= groups.len() {
                    break;
                }
                self.run_groups(&groups[from..groups.len().min(from + chunk)], worker, &found);
            });
        };
        if threads > 1 {
            (0..threads).into_par_iter().with_max_len(1).for_each(|_| work());
        } else {
            work();
        }
        found.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn run_groups(&self, groups: &[u32], worker: &mut Worker, mut found: &Mutex<Vec<Divergence>>) {
        self.set_spurious();
        let words = |bytes: &u32| bytes.div_ceil(16) as usize;
        let total = self.metal.workgroup_bytes.iter().map(words).sum();
        worker.memory.resize(worker.memory.len().max(total), 0);
        let mut free = worker.memory.as_mut_ptr();
        let place = |bytes| {
            let variable = free;
            // within the memory, whose length is the sum of these
            free = free.wrapping_add(words(bytes));
            variable.cast()
        };
        let variables: Vec<*mut c_void> = self.metal.workgroup_bytes.iter().map(place).collect();
        for group in groups {
            if self.metal.waits {
                self.run_group(*group, &variables, &mut worker.workgroup, &mut found);
            } else {
                // SAFETY: the launch is complete, and the kernel is the caller's to vouch for
                unsafe { (self.image.run_group)(&self.launch(*group, &variables)) };
            }
        }
    }

    /// Runs workgroups, one after the other on fibers. `begin` is told which is next and returns its workgroup memory.
    pub fn run_in_turn(
        &self,
        groups: &[u32],
        observer: &mut dyn Observer,
        mut begin: impl FnMut(u32) -> Vec<*mut c_void>,
    ) {
        self.set_spurious();
        WORKER.with_borrow_mut(|worker| {
            for group in groups {
                self.run_group(*group, &begin(*group), &mut worker.workgroup, observer);
            }
        });
    }

    /// Runs one workgroup on fibers.
    fn run_group(&self, group: u32, variables: &[*mut c_void], workgroup: &mut Workgroup, observer: &mut dyn Observer) {
        let threads = self.metal.workgroup.iter().product::<u32>() as usize;
        let mut turns = Turns::new(self.order, u64::from(group) + 1);
        // SAFETY: the launch is complete, and the kernel is the caller's to vouch for
        unsafe {
            workgroup.run((self.image.run_thread, &self.launch(group, variables)), threads, &mut turns, observer)
        };
    }

    fn set_spurious(&self) {
        image::fail_spuriously(if let Order::Random(_) = self.order { SPURIOUS } else { 0 });
    }

    /// The numbers of all workgroups, in the order of the dispatch.
    pub fn groups(&self) -> Vec<u32> {
        let mut groups = vec![];
        Turns::new(self.order, 0).deal(self.grid.iter().map(|size| *size as usize).product(), &mut groups);
        groups
    }

    fn launch(&self, number: u32, variables: &[*mut c_void]) -> Launch {
        let [x, y, _] = self.grid;
        let group = [number % x, number / x % y, number / x / y];
        Launch { buffers: self.buffers.as_ptr(), variables: variables.as_ptr(), grid: self.grid, group }
    }
}

/// Collects divergences, each place once.
impl Observer for &Mutex<Vec<Divergence>> {
    fn barrier(&mut self, _flags: u32) {}

    fn simdgroup_barrier(&mut self, _simdgroup: usize, _flags: u32) {}

    fn diverged(&mut self, divergence: Divergence) {
        let mut found = self.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !found.iter().any(|other| other.line == divergence.line) {
            found.push(divergence);
        }
    }
}
