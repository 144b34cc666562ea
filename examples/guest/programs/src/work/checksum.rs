//! What guests reveal, and where their numbers come from.

/// 32 bytes that depend on all words that went in and on their order. It is no hash to rely on: it is cheap.
pub struct Checksum {
    words: [u32; 8],
    next: usize,
}

impl Checksum {
    pub fn new() -> Self {
        Self { words: [0x811c_9dc5; 8], next: 0 }
    }

    pub fn add(&mut self, word: u32) {
        let last = self.words[(self.next + 7) % 8];
        let place = &mut self.words[self.next];
        *place = (*place ^ word).wrapping_mul(0x0100_0193).wrapping_add(last.rotate_left(13));
        self.next = (self.next + 1) % 8;
    }

    /// Whole words, little-endian; the rest is filled up with zeros.
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(4) {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u32::from_le_bytes(word));
        }
    }

    pub fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (bytes, word) in bytes.chunks_exact_mut(4).zip(self.words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

/// Marsaglia's xorshift generator with 32 bits of state (shifts 13, 17, 5).
pub struct Random(u32);

impl Random {
    pub fn new(seed: u32) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9) | 1)
    }

    pub fn word(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// 32 bytes, the last one zero: as a little-endian number it is less than 2^248.
    pub fn number(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_exact_mut(4) {
            chunk.copy_from_slice(&self.word().to_le_bytes());
        }
        bytes[31] = 0;
        bytes
    }
}
