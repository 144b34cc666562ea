//! What an adapter must have: each kernel stays within (`tests/translation.rs` checks them all), but for those of wide DFT passes, which
//! others stand in for.

/// Storage buffers that a kernel binds.
pub const STORAGE_BUFFERS: u32 = 8;
/// Bytes of workgroup memory.
pub const WORKGROUP_BYTES: u32 = 32 << 10;
/// Threads of a workgroup.
pub const WORKGROUP_THREADS: u32 = 256;
/// Bytes of a storage binding; larger matrices are segmented.
pub const BINDING_BYTES: u64 = 128 << 20;
