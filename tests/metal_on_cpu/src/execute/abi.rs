//! What a compiled kernel and this runtime share: the other side of `shim/runtime.h`.

use std::ffi::{c_int, c_void};

/// Threads of a SIMD group, on all Apple GPUs.
pub const SIMDGROUP: u32 = 32;

/// Bits of `metal::mem_flags`.
pub const MEM_DEVICE: u32 = 1;
pub const MEM_THREADGROUP: u32 = 2;

/// Bits of `access_kind`.
pub const ACCESS_READ: u32 = 1;
pub const ACCESS_WRITE: u32 = 2;
pub const ACCESS_ATOMIC: u32 = 4;

/// Values of `undefined_kind`.
pub const UNDEFINED_INDEX: u32 = 0;
pub const UNDEFINED_DIVISION: u32 = 1;
pub const UNDEFINED_SHIFT: u32 = 2;

/// What one thread hands to its SIMD group.
pub type Value = [u8; 16];

/// What the threads of a SIMD group handed in.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Exchange {
    pub values: *const Value,
    pub active: u32,
    pub lane: u32,
}

/// What a kernel calls.
#[repr(C)]
pub struct Runtime {
    pub threadgroup_barrier: extern "C" fn(flags: u32, line: u32),
    pub simdgroup_barrier: extern "C" fn(flags: u32, line: u32),
    pub simdgroup_exchange: unsafe extern "C" fn(value: *const u8, bytes: usize, line: u32) -> *const Exchange,
    pub fails_spuriously: extern "C" fn() -> bool,
    pub access: extern "C" fn(at: *const c_void, bytes: usize, kinds: u32, site: *const c_void),
    pub copy: unsafe extern "C" fn(to: *mut c_void, from: *const c_void, bytes: usize) -> *mut c_void,
    pub fill: unsafe extern "C" fn(to: *mut c_void, value: c_int, bytes: usize) -> *mut c_void,
    pub undefined: extern "C" fn(kind: u32, operand: u64, site: *const c_void),
    pub spend: extern "C" fn(cycles: u32, complex: u32, latency: u32, arithmetic: u64, memory: u64),
}

/// One workgroup of a dispatch, as its threads see it.
#[repr(C)]
pub struct Launch {
    pub buffers: *const *mut c_void,
    pub variables: *const *mut c_void,
    pub grid: [u32; 3],
    pub group: [u32; 3],
}

/// Runs one thread of a workgroup.
pub type RunThread = unsafe extern "C" fn(launch: *const Launch, index: u32);
/// Runs all threads of a workgroup, one after the other.
pub type RunGroup = unsafe extern "C" fn(launch: *const Launch);
