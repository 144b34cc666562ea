//! See ../../../README.md.
#![no_std]
#![no_main]

#[path = "../zkvm/ecdsa.rs"]
mod ecdsa;
#[path = "../zkvm/pairings.rs"]
mod pairings;
#[path = "../zkvm/u256.rs"]
mod u256;

use guest_programs::work::{
    arithmetic::arithmetic,
    checksum::Checksum,
    hashing::{stretch, tree},
    wide::wide,
};
use openvm_sha2::{Sha256, Sha512};

// what ../../../extensions.toml supports, in its order
openvm_algebra_guest::moduli_macros::moduli_init! {
    "21888242871839275222246405745257275088696311157297823662689037894645226208583",
    "21888242871839275222246405745257275088548364400416034343698204186575808495617",
    "115792089237316195423570985008687907853269984665640564039457584007908834671663",
    "115792089237316195423570985008687907852837564279074904382605163141518161494337"
}
openvm_algebra_guest::complex_macros::complex_init! { "Bn254Fp2" { mod_idx = 0 } }
openvm_ecc_guest::sw_macros::sw_init! { "Bn254G1Affine", "Secp256k1Point" }

openvm::entry!(main);

fn main() {
    let size: u64 = openvm::io::read();
    let mut checksum = Checksum::new();
    pairings::pairings(size, &mut checksum);
    ecdsa::ecdsa(size, &mut checksum);
    checksum.add_bytes(&wide::<u256::U256>(1_000 * size));
    checksum.add_bytes(&tree(100 * size, openvm_keccak256::keccak256));
    checksum.add_bytes(&stretch(100 * size, Sha256::digest, Sha512::digest));
    checksum.add_bytes(&arithmetic(20 * size));
    openvm::io::reveal_bytes32(checksum.bytes());
}
