//! See ../../../README.md.
#![no_std]
#![no_main]

use guest_programs::work::sorting::sorting;

openvm::entry!(main);

fn main() {
    openvm::io::reveal_bytes32(sorting(openvm::io::read()));
}
