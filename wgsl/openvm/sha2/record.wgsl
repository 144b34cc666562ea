// The record of a SHA-2 instruction: a block is compressed into a state. Its words:
//
// - variant, pc, timestamp; the registers of destination, state and input; what is in these; when they were accessed before
// - the message, the state before and behind, as bytes
// - when each word of the message and of the state was read before; for each word of the new state when it was written and what was there
//
// What is uploaded begins with the record before the first one and ends with that behind the last, as if they lay in a circle.

/// Words of a state and of a message.
const STATE_WORDS: u32 = WORD_BITS / 4u;
const MESSAGE_WORDS: u32 = 2u * STATE_WORDS;

const MESSAGE: u32 = 12u;
const STATE: u32 = MESSAGE + MESSAGE_WORDS;
const NEW_STATE: u32 = STATE + STATE_WORDS;
const READS: u32 = NEW_STATE + STATE_WORDS;
const WRITES: u32 = READS + MESSAGE_WORDS + STATE_WORDS;
const RECORD: u32 = WRITES + 2u * STATE_WORDS;

fn swap_bytes(x: u32) -> u32 {
    return (x << 24u) | ((x & 0xff00u) << 8u) | ((x >> 8u) & 0xff00u) | (x >> 24u);
}
