//! From addresses of code to lines of Metal.

use std::path::Path;

use addr2line::Loader;

use super::monitor::Place;
use crate::execute::FILE;

/// The lines of a kernel's code.
pub struct Lines {
    /// None where the debug information cannot be read.
    debug: Option<Loader>,
    base: usize,
}

impl Lines {
    /// Of the shared object at `path`, in which `code` is an address.
    pub fn new(path: &Path, code: usize) -> Self {
        Self { debug: Loader::new(path).ok(), base: image(code).unwrap_or(0) }
    }

    /// The line of Metal of a place, 0 where it is not known.
    pub fn of(&self, place: Place) -> u32 {
        match place {
            Place::Code(address) => self.line(address).unwrap_or(0),
            Place::Line(line) => line,
        }
    }

    /// The line of Metal that the call before this return address belongs to; of inlined functions, the innermost that is Metal.
    fn line(&self, return_address: usize) -> Option<u32> {
        let loader = self.debug.as_ref()?;
        let address = loader.relative_address_base() + (return_address - 1 - self.base) as u64;
        let mut frames = loader.find_frames(address).ok()?;
        while let Ok(Some(frame)) = frames.next() {
            match frame.location {
                Some(location) if location.file.is_some_and(|file| file.ends_with(FILE)) => return location.line,
                _ => {}
            }
        }
        None
    }
}

/// Whether two addresses belong to the same shared object.
pub fn same_image(a: usize, b: usize) -> bool {
    let (a, b) = (image(a), image(b));
    a.is_some() && a == b
}

/// Where the shared object that an address belongs to is loaded.
#[cfg(unix)]
fn image(address: usize) -> Option<usize> {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: dladdr takes any address, and fills in the structure if it returns another number than 0
    let found = unsafe { (libc::dladdr(address as *const _, info.as_mut_ptr()) != 0).then(|| info.assume_init()) };
    found.map(|info| info.dli_fbase as usize)
}

#[cfg(not(unix))]
fn image(_: usize) -> Option<usize> {
    None
}
