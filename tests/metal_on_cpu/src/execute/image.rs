//! A compiled kernel in memory, and what it calls.

use std::{
    cell::Cell,
    ffi::{c_int, c_void},
    path::{Path, PathBuf},
    ptr,
};

use libloading::Library;

use super::{
    abi::{Exchange, RunGroup, RunThread, Runtime},
    fiber::{Call, Fiber, State},
};
use crate::Error;

/// The functions of a kernel.
pub struct Image {
    pub run_thread: RunThread,
    pub run_group: RunGroup,
    pub path: PathBuf,
    /// Holds the code in memory.
    _library: Library,
}

impl Image {
    /// Loads the shared object, and gives it what it calls.
    pub fn load(kernel: &str, path: &Path, runtime: &'static Runtime) -> Result<Self, Error> {
        let failed =
            |error: libloading::Error| Error::Compilation { kernel: kernel.to_owned(), message: error.to_string() };
        // SAFETY: the file is what clang++ made of `source::cpp`: nothing runs when it is loaded, and the symbols have these types
        unsafe {
            let library = Library::new(path).map_err(failed)?;
            let place = *library.get::<*mut *const Runtime>(b"metal_runtime\0").map_err(failed)?;
            // another thread that has loaded the same file writes the same
            place.write_volatile(runtime);
            let run_thread = *library.get(b"metal_thread\0").map_err(failed)?;
            let run_group = *library.get(b"metal_group\0").map_err(failed)?;
            Ok(Self { run_thread, run_group, path: path.to_owned(), _library: library })
        }
    }
}

thread_local! {
    /// Of weak compare-exchanges, every so many fail without reason; 0 for none.
    static SPURIOUS: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
}

/// Makes one in `every` weak compare-exchanges of this thread fail; 0 for none.
pub fn fail_spuriously(every: u32) {
    SPURIOUS.set((every, 0));
}

pub extern "C" fn threadgroup_barrier(flags: u32, line: u32) {
    Fiber::with_current(|fiber| fiber.wait(State::AtBarrier(Call { line, flags })));
}

pub extern "C" fn simdgroup_barrier(flags: u32, line: u32) {
    Fiber::with_current(|fiber| fiber.wait(State::AtSimdgroup(Call { line, flags })));
}

/// `value` points to `bytes` bytes, at most 16.
pub unsafe extern "C" fn simdgroup_exchange(value: *const u8, bytes: usize, line: u32) -> *const Exchange {
    let mut handed_in = [0; 16];
    // SAFETY: by this function's contract; the slice's bounds are checked
    handed_in[..bytes].copy_from_slice(unsafe { std::slice::from_raw_parts(value, bytes) });
    Fiber::with_current(|fiber| {
        fiber.handed_in.set(handed_in);
        fiber.wait(State::AtSimdgroup(Call { line, flags: 0 }));
        fiber.exchange.as_ptr().cast_const()
    })
}

pub extern "C" fn fails_spuriously() -> bool {
    let (every, count) = SPURIOUS.get();
    SPURIOUS.set((every, count.wrapping_add(1)));
    every != 0 && count % every == every - 1
}

/// As memmove.
pub unsafe extern "C" fn copy(to: *mut c_void, from: *const c_void, bytes: usize) -> *mut c_void {
    // SAFETY: by this function's contract
    unsafe { ptr::copy(from.cast::<u8>(), to.cast::<u8>(), bytes) };
    to
}

/// As memset.
pub unsafe extern "C" fn fill(to: *mut c_void, value: c_int, bytes: usize) -> *mut c_void {
    // SAFETY: by this function's contract
    unsafe { ptr::write_bytes(to.cast::<u8>(), value as u8, bytes) };
    to
}

pub extern "C" fn unchecked_access(_: *const c_void, _: usize, _: u32, _: *const c_void) {}
pub extern "C" fn unchecked_undefined(_: u32, _: u64, _: *const c_void) {}
pub extern "C" fn uncounted(_: u32, _: u32, _: u32, _: u64, _: u64) {}

/// What kernels of fast mode call.
pub static FAST: Runtime = Runtime {
    threadgroup_barrier,
    simdgroup_barrier,
    simdgroup_exchange,
    fails_spuriously,
    access: unchecked_access,
    copy,
    fill,
    undefined: unchecked_undefined,
    spend: uncounted,
};
