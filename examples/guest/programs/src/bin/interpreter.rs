//! See ../../../README.md.
#![no_std]
#![no_main]

use guest_programs::work::interpreter::interpreter;

openvm::entry!(main);

fn main() {
    openvm::io::reveal_bytes32(interpreter(openvm::io::read()));
}
