// What adapters have in common whose registers point to memory.
#import openvm/row

/// The highest byte of a pointer, moved up so that it is a byte if the pointer has no more bits than it may have.
fn pointer_top(pointer: u32) -> u32 {
    return (pointer >> 24u) << (32u - params.pointer_bits);
}

/// Accesses at `timestamp` and after, one a tick, to what was accessed at the times from word `at` on.
fn put_accesses(row: u32, column: u32, at: u32, timestamp: u32, accesses: u32) {
    for (var i = 0u; i < accesses; i++) {
        put_access(row, column + 3u * i, records[at + i], timestamp + i);
    }
}
