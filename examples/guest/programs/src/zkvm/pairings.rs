//! Pairings on the curve BN254 by the instructions of extensions modular, fp2, ecc and pairing.

use guest_programs::work::checksum::{Checksum, Random};
use openvm_algebra_guest::IntMod;
use openvm_ecc_guest::{weierstrass::WeierstrassPoint, AffinePoint, CyclicGroup, Group};
use openvm_pairing::{
    bn254::{Bn254, Fp, Fp2, G1Affine, G2Affine},
    PairingCheck,
};

/// The generator of G2 (EIP-197), big-endian: real and imaginary part of x, then of y.
const GENERATOR_2: [[u8; 32]; 4] = [
    *b"\x18\x00\xde\xef\x12\x1f\x1e\x76\x42\x6a\x00\x66\x5e\x5c\x44\x79\x67\x43\x22\xd4\xf7\x5e\xda\xdd\x46\xde\xbd\x5c\xd9\x92\xf6\xed",
    *b"\x19\x8e\x93\x93\x92\x0d\x48\x3a\x72\x60\xbf\xb7\x31\xfb\x5d\x25\xf1\xaa\x49\x33\x35\xa9\xe7\x12\x97\xe4\x85\xb7\xae\xf3\x12\xc2",
    *b"\x12\xc8\x5e\xa5\xdb\x8c\x6d\xeb\x4a\xab\x71\x80\x8d\xcb\x40\x8f\xe3\xd1\xe7\x69\x0c\x43\xd3\x7b\x4c\xe6\xcc\x01\x66\xfa\x7d\xaa",
    *b"\x09\x06\x89\xd0\x58\x5f\xf0\x75\xec\x9e\x99\xad\x69\x0c\x33\x95\xbc\x4b\x31\x33\x70\xb3\x8e\xf3\x55\xac\xda\xdc\xd1\x22\x97\x5b",
];

/// For `size` pseudorandom factors f of 32 bits: e(f P, Q) e(-P, f Q) = 1 for the generators P and Q. Adds up the points.
pub fn pairings(size: u64, checksum: &mut Checksum) {
    let [x0, x1, y0, y1] = GENERATOR_2.map(|bytes| Fp::from_be_bytes_unchecked(&bytes));
    // SAFETY: the generator is on the curve, and of prime order
    let q = unsafe { G2Affine::from_xy(Fp2::new(x0, x1), Fp2::new(y0, y1)) }.expect("the generator is on the curve");
    let mut random = Random::new(9);
    for _ in 0..size {
        let factor = random.word() | 1;
        let fp = multiple(&G1Affine::GENERATOR, factor);
        let fq = multiple(&q, factor);
        let in_1 =
            [fp.clone(), G1Affine::NEG_GENERATOR].map(|point| AffinePoint::new(point.x().clone(), point.y().clone()));
        let in_2 = [q.clone(), fq.clone()].map(|point| AffinePoint::new(point.x().clone(), point.y().clone()));
        Bn254::pairing_check(&in_1, &in_2).expect("pairings are bilinear");
        checksum.add_bytes(fp.as_le_bytes());
        checksum.add_bytes(fq.as_le_bytes());
    }
}

/// `factor` times a point, by doubling and adding.
fn multiple<P: Group>(point: &P, factor: u32) -> P {
    let mut sum = P::IDENTITY;
    for bit in (0..32).rev() {
        sum.double_assign();
        if factor >> bit & 1 == 1 {
            sum += point;
        }
    }
    sum
}
