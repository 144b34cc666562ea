//! See ../../../README.md.
#![no_std]
#![no_main]

use guest_programs::work::hashing::tree;

openvm::entry!(main);

fn main() {
    openvm::io::reveal_bytes32(tree(openvm::io::read(), openvm_keccak256::keccak256));
}
