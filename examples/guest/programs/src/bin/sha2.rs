//! See ../../../README.md.
#![no_std]
#![no_main]

use guest_programs::work::hashing::stretch;
use openvm_sha2::{Sha256, Sha512};

openvm::entry!(main);

fn main() {
    openvm::io::reveal_bytes32(stretch(openvm::io::read(), Sha256::digest, Sha512::digest));
}
