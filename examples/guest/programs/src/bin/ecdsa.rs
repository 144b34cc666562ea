//! See ../../../README.md.
#![no_std]
#![no_main]

#[path = "../zkvm/ecdsa.rs"]
mod ecdsa;

use guest_programs::work::checksum::Checksum;

// what ../../../ecdsa.toml supports, in its order
openvm_algebra_guest::moduli_macros::moduli_init! {
    "0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f",
    "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
}
openvm_ecc_guest::sw_macros::sw_init! { "Secp256k1Point" }

openvm::entry!(main);

fn main() {
    let mut checksum = Checksum::new();
    ecdsa::ecdsa(openvm::io::read(), &mut checksum);
    openvm::io::reveal_bytes32(checksum.bytes());
}
