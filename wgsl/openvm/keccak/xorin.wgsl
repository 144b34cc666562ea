// The trace of XORIN: up to 136 bytes of memory are XORed onto as many others.
//
// One thread a row (openvm/row.wgsl). A record has room for all bytes and accesses; what is behind its length is anything. Host reference:
// `XorinVmFiller`.
#import openvm/row

#interface

const RECORD: u32 = 215u;
const WIDTH: u32 = 914u;

/// The most words of four bytes.
const WORDS: u32 = 34u;

struct Xorin {
    pc: u32,
    timestamp: u32,
    buffer_register: u32,
    input_register: u32,
    len_register: u32,
    buffer: u32,
    input: u32,
    /// In bytes.
    len: u32,
    /// Where the words of both and the times of earlier accesses begin; writes have what was there, too.
    buffer_words: u32,
    input_words: u32,
    registers: u32,
    input_reads: u32,
    buffer_reads: u32,
    writes: u32,
}

fn fill(row: u32, record: u32) {
    let instruction = Xorin(
        records[record],
        records[record + 1u],
        records[record + 2u],
        records[record + 3u],
        records[record + 4u],
        records[record + 5u],
        records[record + 6u],
        records[record + 7u],
        record + 8u,
        record + 8u + WORDS,
        record + 8u + 2u * WORDS,
        record + 11u + 2u * WORDS,
        record + 11u + 3u * WORDS,
        record + 11u + 4u * WORDS,
    );
    put_buffers(row, instruction);
    put_instruction(row, instruction);
    put_accesses(row, instruction);
}

/// Which words are none, both operands and the result.
fn put_buffers(row: u32, instruction: Xorin) {
    for (var i = 0u; i < WORDS; i++) {
        put_bool(row, i, i >= instruction.len / 4u);
        let x = records[instruction.buffer_words + i];
        let y = records[instruction.input_words + i];
        for (var j = 0u; j < 4u; j++) {
            let is_byte = 4u * i + j < instruction.len;
            let b = select(0u, limb(x, j), is_byte);
            let c = select(0u, limb(y, j), is_byte);
            let column = WORDS + 4u * i + j;
            put_u32(row, column, b);
            put_u32(row, column + 4u * WORDS, c);
            put_u32(row, column + 8u * WORDS, b ^ c);
            if is_byte {
                count_xor(b, c);
            }
        }
    }
}

fn put_instruction(row: u32, instruction: Xorin) {
    let column = 13u * WORDS;
    put_u32(row, column, instruction.pc);
    put(row, column + 1u, F_ONE);
    put_u32(row, column + 2u, instruction.buffer_register);
    put_u32(row, column + 3u, instruction.input_register);
    put_u32(row, column + 4u, instruction.len_register);
    put_word(row, column + 5u, instruction.buffer);
    put_word(row, column + 10u, instruction.input);
    put_word(row, column + 15u, instruction.len);
    put_u32(row, column + 20u, instruction.timestamp);
    let shift = 32u - params.pointer_bits;
    count_bytes((instruction.buffer >> 24u) << shift, (instruction.input >> 24u) << shift);
    let high = (instruction.len >> 24u) << shift;
    count_bytes(high, high);
}

/// A word and its bytes.
fn put_word(row: u32, column: u32, word: u32) {
    put_u32(row, column, word);
    put_limbs(row, column + 1u, word);
}

/// In the order of their times: registers, reads of the buffer, of the input, writes.
fn put_accesses(row: u32, instruction: Xorin) {
    let column = 13u * WORDS + 21u;
    let words = (instruction.len + 3u) / 4u;
    let start = instruction.timestamp;
    for (var i = 0u; i < 3u; i++) {
        put_access(row, column + 3u * i, records[instruction.registers + i], start + i);
    }
    for (var i = 0u; i < WORDS; i++) {
        let of_input = column + 9u + 3u * i;
        let of_buffer = of_input + 3u * WORDS;
        let of_write = column + 9u + 6u * WORDS + 7u * i;
        if i < words {
            put_access(row, of_buffer, records[instruction.buffer_reads + i], start + 3u + i);
            put_access(row, of_input, records[instruction.input_reads + i], start + 3u + words + i);
            put_access(row, of_write, records[instruction.writes + 2u * i], start + 3u + 2u * words + i);
            put_limbs(row, of_write + 3u, records[instruction.writes + 2u * i + 1u]);
        } else {
            put_zeros(row, of_buffer, 3u);
            put_zeros(row, of_input, 3u);
            put_zeros(row, of_write, 7u);
        }
    }
}
