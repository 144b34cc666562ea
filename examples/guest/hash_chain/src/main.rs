//! OpenVM guest: a chain of Keccak-256 hashes with plain RISC-V work between them.
//!
//! Reads the number of rounds (`u64`) and a byte message from the input stream and reveals the 32-byte state after
//! the last round as the first public values. Panics, so that the machine stops with exit code 1, when there are no
//! rounds or the message is empty.

#![no_std]
#![no_main]

mod work;

openvm::entry!(main);

fn main() {
    let rounds: u64 = openvm::io::read();
    assert!(rounds > 0, "the number of rounds must be at least 1");
    let message = openvm::io::read_vec();
    assert!(!message.is_empty(), "the message must not be empty");
    let state = work::hash_chain(rounds, &message, openvm_keccak256::keccak256);
    openvm::io::reveal_bytes32(state);
}
