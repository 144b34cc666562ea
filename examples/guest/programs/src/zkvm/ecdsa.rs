//! ECDSA on the curve secp256k1 by the instructions of extensions modular and ecc.

extern crate alloc; // for the macros, as are `Neg` and `Group`

use core::ops::Neg;

use guest_programs::work::checksum::{Checksum, Random};
use openvm_algebra_guest::{moduli_macros::moduli_declare, DivUnsafe, IntMod};
use openvm_ecc_guest::{
    sw_macros::sw_declare,
    weierstrass::{CachedMulTable, IntrinsicCurve, WeierstrassPoint},
    Group,
};

moduli_declare! {
    Secp256k1Coord { modulus = "0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f" },
    Secp256k1Scalar { modulus = "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141" },
}

const CURVE_B: Secp256k1Coord = Secp256k1Coord::from_const_u8(7);

sw_declare! {
    Secp256k1Point { mod_type = Secp256k1Coord, b = CURVE_B },
}

struct Secp256k1;

impl IntrinsicCurve for Secp256k1 {
    type Scalar = Secp256k1Scalar;
    type Point = Secp256k1Point;

    fn msm(coefficients: &[Self::Scalar], bases: &[Self::Point]) -> Self::Point {
        CachedMulTable::<Self>::new_with_prime_order(bases, 4).windowed_mul(coefficients)
    }
}

/// The generator's coordinates (SEC 2), big-endian.
const GENERATOR: [[u8; 32]; 2] = [
    *b"\x79\xbe\x66\x7e\xf9\xdc\xbb\xac\x55\xa0\x62\x95\xce\x87\x0b\x07\x02\x9b\xfc\xdb\x2d\xce\x28\xd9\x59\xf2\x81\x5b\x16\xf8\x17\x98",
    *b"\x48\x3a\xda\x77\x26\xa3\xc4\x65\x5d\xa4\xfb\xfc\x0e\x11\x08\xa8\xfd\x17\xb4\x48\xa6\x85\x54\x19\x9c\x47\xd0\x8f\xfb\x10\xd4\xb8",
];

/// Signs and verifies `size` pseudorandom messages with as many keys; adds up public keys and signatures.
pub fn ecdsa(size: u64, checksum: &mut Checksum) {
    let [x, y] = GENERATOR.map(|bytes| Secp256k1Coord::from_be_bytes_unchecked(&bytes));
    // SAFETY: the generator is on the curve, and of prime order
    let generator = unsafe { Secp256k1Point::from_xy(x, y) }.expect("the generator is on the curve");
    let mut random = Random::new(8);
    for _ in 0..size {
        let [key, nonce, message] = [(); 3].map(|()| Secp256k1Scalar::from_le_bytes_unchecked(&random.number()));
        let public = Secp256k1::msm(core::slice::from_ref(&key), core::slice::from_ref(&generator));
        let point = Secp256k1::msm(core::slice::from_ref(&nonce), core::slice::from_ref(&generator));
        let r = to_scalar(point.x());
        let s = (message.clone() + &r * &key).div_unsafe(&nonce);
        let verified =
            Secp256k1::msm(&[(&message).div_unsafe(&s), (&r).div_unsafe(&s)], &[generator.clone(), public.clone()]);
        assert!(to_scalar(verified.x()) == r, "the signature is valid");
        checksum.add_bytes(public.as_le_bytes());
        checksum.add_bytes(r.as_le_bytes());
        checksum.add_bytes(s.as_le_bytes());
    }
}

/// A coordinate modulo the group's order.
fn to_scalar(coordinate: &Secp256k1Coord) -> Secp256k1Scalar {
    let scalar = Secp256k1Scalar::from_le_bytes_unchecked(coordinate.as_le_bytes());
    // the product is reduced
    &scalar * &Secp256k1Scalar::ONE
}
