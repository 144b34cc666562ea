//! Trees and chains of hashes.

use super::checksum::{Checksum, Random};

/// Bytes that messages are cut from; the alignment lets instructions read most of them in place.
#[repr(C, align(4))]
struct Pool([u8; 320]);

#[repr(C, align(4))]
struct Pair([u8; 64]);

/// The root of a Merkle tree over the hashes of `size` messages of 0 to 255 bytes. A node's children are its two halves, the left of which
/// has as many leaves as the highest power of two below all.
pub fn tree(size: u64, hash: impl Fn(&[u8]) -> [u8; 32]) -> [u8; 32] {
    let mut random = Random::new(3);
    let mut pool = Pool([0; 320]);
    for chunk in pool.0.chunks_exact_mut(4) {
        chunk.copy_from_slice(&random.word().to_le_bytes());
    }
    // left halves that wait for their right ones, by height
    let mut waiting: [Option<[u8; 32]>; 40] = [None; 40];
    for index in 0..size {
        let word = random.word();
        pool.0[(index % 320) as usize] ^= word as u8;
        let start = ((word >> 8) & 60) as usize;
        let mut node = hash(&pool.0[start..start + (word >> 24) as usize]);
        let mut height = 0;
        while let Some(left) = waiting[height].take() {
            node = parent(left, node, &hash);
            height += 1;
        }
        waiting[height] = Some(node);
    }
    waiting.into_iter().flatten().reduce(|right, left| parent(left, right, &hash)).unwrap_or([0; 32])
}

fn parent(left: [u8; 32], right: [u8; 32], hash: impl Fn(&[u8]) -> [u8; 32]) -> [u8; 32] {
    let mut pair = Pair([0; 64]);
    pair.0[..32].copy_from_slice(&left);
    pair.0[32..].copy_from_slice(&right);
    hash(&pair.0)
}

/// Stretches a key: `size` rounds of HMAC with SHA-256 (RFC 2104), each message the code before, all of them summed as PBKDF2 does. Every 16th
/// code is also hashed with SHA-512.
pub fn stretch(size: u64, sha256: impl Fn(&[u8]) -> [u8; 32], sha512: impl Fn(&[u8]) -> [u8; 64]) -> [u8; 32] {
    #[repr(C, align(4))]
    struct Padded([u8; 96]);

    let mut random = Random::new(4);
    let (mut inner, mut outer) = (Padded([0x36; 96]), Padded([0x5c; 96]));
    for index in 0..32 {
        let byte = random.word() as u8;
        inner.0[index] ^= byte;
        outer.0[index] ^= byte;
    }
    let mut code = [7; 32];
    let mut sum = [0; 32];
    let mut checksum = Checksum::new();
    for round in 0..size {
        inner.0[64..].copy_from_slice(&code);
        outer.0[64..].copy_from_slice(&sha256(&inner.0));
        code = sha256(&outer.0);
        for (sum, byte) in sum.iter_mut().zip(code) {
            *sum ^= byte;
        }
        if round % 16 == 0 {
            checksum.add_bytes(&sha512(&code)[..32]);
        }
    }
    checksum.add_bytes(&sum);
    checksum.bytes()
}
