//! See ../../../README.md.
#![no_std]
#![no_main]

#[path = "../zkvm/pairings.rs"]
mod pairings;

use guest_programs::work::checksum::Checksum;

// what ../../../pairing.toml supports, in its order
openvm_algebra_guest::moduli_macros::moduli_init! {
    "21888242871839275222246405745257275088696311157297823662689037894645226208583",
    "21888242871839275222246405745257275088548364400416034343698204186575808495617"
}
openvm_algebra_guest::complex_macros::complex_init! { "Bn254Fp2" { mod_idx = 0 } }
openvm_ecc_guest::sw_macros::sw_init! { "Bn254G1Affine" }

openvm::entry!(main);

fn main() {
    let mut checksum = Checksum::new();
    pairings::pairings(openvm::io::read(), &mut checksum);
    openvm::io::reveal_bytes32(checksum.bytes());
}
