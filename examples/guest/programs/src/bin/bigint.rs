//! See ../../../README.md.
#![no_std]
#![no_main]

#[path = "../zkvm/u256.rs"]
mod u256;

use guest_programs::work::wide::wide;

openvm::entry!(main);

fn main() {
    openvm::io::reveal_bytes32(wide::<u256::U256>(openvm::io::read()));
}
