//! See ../../../README.md.
#![no_std]
#![no_main]

use guest_programs::work::arithmetic::arithmetic;

openvm::entry!(main);

fn main() {
    openvm::io::reveal_bytes32(arithmetic(openvm::io::read()));
}
