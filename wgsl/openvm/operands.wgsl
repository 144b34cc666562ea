// Operands of WORDS words in the records, byte by byte. A core that imports this is RV32IM's with WORDS = 1, and that of 256-bit integers
// with WORDS = 8: the kernel defines it.
#import openvm/row

/// Bytes of an operand.
const LIMBS: u32 = 4u * WORDS;

/// Byte `i` of the operand at word `at` of the records.
fn operand_limb(at: u32, i: u32) -> u32 {
    return limb(records[at + i / 4u], i & 3u);
}
