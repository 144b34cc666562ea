//! From addresses of code to lines of Metal.

use std::ffi::c_void;

use crate::execute::FILE;

/// The line of Metal that the call before this return address belongs to; of inlined functions, the innermost that is Metal.
pub fn line(return_address: usize) -> Option<u32> {
    let mut line = None;
    backtrace::resolve((return_address - 1) as *mut c_void, |symbol| {
        let metal = symbol.filename().is_some_and(|file| file.file_name().is_some_and(|name| name == FILE));
        if metal && line.is_none() {
            line = symbol.lineno();
        }
    });
    line
}

/// Forgets which libraries were loaded when a line was last looked up.
pub fn refresh() {
    backtrace::clear_symbol_cache();
}

/// Whether two addresses belong to the same shared object.
#[cfg(unix)]
pub fn same_image(a: usize, b: usize) -> bool {
    let image = |address: usize| {
        let mut info = std::mem::MaybeUninit::<libc::Dl_info>::uninit();
        // SAFETY: dladdr takes any address, and fills in the structure if it returns another number than 0
        unsafe { (libc::dladdr(address as *const c_void, info.as_mut_ptr()) != 0).then(|| info.assume_init().dli_fbase) }
    };
    let (a, b) = (image(a), image(b));
    a.is_some() && a == b
}

#[cfg(not(unix))]
pub fn same_image(_: usize, _: usize) -> bool {
    false
}
