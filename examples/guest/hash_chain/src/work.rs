//! What the guest computes, as a pure function of its input and of a hash function: the guest passes the Keccak
//! intrinsics, a host that wants to know the public values beforehand passes any other Keccak-256. `no_std`, no
//! dependencies, so that a test can include this very file.

/// Words of the table that the rounds read and write.
const TABLE_WORDS: usize = 251;

/// Steps of the table walk in one round.
const WALK_STEPS: u32 = 48;

/// The hash that a round takes: state, round number and the words of the round's plain work. The alignment lets the
/// Keccak instructions read it in place.
#[repr(C, align(4))]
struct Preimage([u8; 72]);

/// The state after `rounds` rounds on `message`.
///
/// The state starts as the hash of the message. Round `i` (from 0) walks and rewrites a table, sorts the bytes of the
/// state, and replaces the state by the hash of `state ‖ i ‖ words`: 32 bytes, the round as 8 little-endian bytes, and
/// the 8 little-endian words that the walk and the sort left behind. `keccak256` is any function of that name: the
/// rounds do not look inside.
pub fn hash_chain(rounds: u64, message: &[u8], keccak256: impl Fn(&[u8]) -> [u8; 32]) -> [u8; 32] {
    let mut state = keccak256(message);
    let mut table = table_from(&state);
    for round in 0..rounds {
        let mut words = walk(&mut table, &state);
        words[0] ^= weigh_sorted(&state);
        let mut preimage = Preimage([0; 72]);
        preimage.0[..32].copy_from_slice(&state);
        preimage.0[32..40].copy_from_slice(&round.to_le_bytes());
        for (bytes, word) in preimage.0[40..].chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        state = keccak256(&preimage.0);
    }
    state
}

/// The eight little-endian words of a state.
fn words_of(state: &[u8; 32]) -> [u32; 8] {
    let mut words = [0; 8];
    for (word, bytes) in words.iter_mut().zip(state.chunks_exact(4)) {
        *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    words
}

/// One step of Marsaglia's xorshift generator with 32 bits of state (shifts 13, 17, 5).
fn xorshift(mut x: u32) -> u32 {
    x ^= x << 13;
    x ^= x >> 17;
    x ^ (x << 5)
}

/// A table of pseudorandom words, seeded by the first word of the state.
fn table_from(state: &[u8; 32]) -> [u32; TABLE_WORDS] {
    let mut x = words_of(state)[0] | 1;
    let mut table = [0; TABLE_WORDS];
    for word in &mut table {
        x = xorshift(x);
        *word = x;
    }
    table
}

/// A pseudorandom walk over the table that rewrites what it visits. Uses all of RV32M: the low and the three high
/// products, signed and unsigned quotients and remainders.
fn walk(table: &mut [u32; TABLE_WORDS], state: &[u8; 32]) -> [u32; 8] {
    let mut words = words_of(state);
    let mut x = words[7] | 1;
    for step in 0..WALK_STEPS {
        x = xorshift(x);
        let entry = &mut table[x as usize % TABLE_WORDS];
        let lane = &mut words[(step % 8) as usize];
        let unsigned = u64::from(*entry) * u64::from(x);
        let signed = i64::from(*entry as i32) * i64::from(x as i32);
        let mixed = i64::from(*lane as i32) * i64::from(*entry);
        // The divisors are positive: no division by zero, no overflow.
        let quotient = (*lane as i32) / ((x >> 9) as i32 | 1);
        let remainder = (*entry as i32) % ((*lane >> 5) as i32 | 1);
        *entry = (unsigned as u32) ^ ((signed >> 32) as u32) ^ (quotient as u32);
        *lane = lane.rotate_left(step).wrapping_add((unsigned >> 32) as u32).wrapping_sub((mixed >> 32) as u32)
            ^ (remainder as u32)
            ^ (*entry / (x >> 20 | 1))
            ^ (x % (*entry >> 12 | 1));
    }
    words
}

/// Sorts the bytes of a state as signed numbers by insertion (byte loads and stores, data-dependent branches) and
/// weighs each by its place.
fn weigh_sorted(state: &[u8; 32]) -> u32 {
    let mut bytes = *state;
    for end in 1..bytes.len() {
        let byte = bytes[end];
        let mut place = end;
        while place > 0 && (bytes[place - 1] as i8) > (byte as i8) {
            bytes[place] = bytes[place - 1];
            place -= 1;
        }
        bytes[place] = byte;
    }
    bytes.iter().fold(1, |weight: u32, &byte| weight.wrapping_mul(31).wrapping_add(byte as i8 as u32))
}
