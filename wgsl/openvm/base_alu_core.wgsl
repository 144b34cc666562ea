// Sums, differences and bitwise operations: ADD, SUB, XOR, OR, AND.
//
// Host reference: `BaseAluFiller`.
#import openvm/operands

const ADD: u32 = 0u;
const SUB: u32 = 1u;
const XOR: u32 = 2u;
const OR: u32 = 3u;
const AND: u32 = 4u;

struct Sum {
    value: u32,
    carry: u32,
}

fn add_with_carry(x: u32, y: u32, carry: u32) -> Sum {
    let sum = x + y;
    let value = sum + carry;
    return Sum(value, select(0u, 1u, sum < x || value < sum));
}

/// A word of the result; a difference is b + !c + 1, whose 1 is the first carry.
fn result(opcode: u32, b: u32, c: u32, carry: u32) -> Sum {
    switch opcode {
        case ADD: { return add_with_carry(b, c, carry); }
        case SUB: { return add_with_carry(b, ~c, carry); }
        case XOR: { return Sum(b ^ c, 0u); }
        case OR: { return Sum(b | c, 0u); }
        default: { return Sum(b & c, 0u); }
    }
}

/// Columns from `column` on, with the operands at words `b_at` and `c_at` of the records.
fn put_base_alu(row: u32, column: u32, b_at: u32, c_at: u32, opcode: u32) {
    put_bytes(row, column + LIMBS, b_at, WORDS);
    put_bytes(row, column + 2u * LIMBS, c_at, WORDS);
    put_marker(row, column + 3u * LIMBS, 5u, opcode);
    let is_sum = opcode <= SUB;
    var carry = select(0u, 1u, opcode == SUB);
    for (var i = 0u; i < WORDS; i++) {
        let b = records[b_at + i];
        let c = records[c_at + i];
        let a = result(opcode, b, c, carry);
        carry = a.carry;
        put_limbs(row, column + 4u * i, a.value);
        for (var j = 0u; j < 4u; j++) {
            count_xor(limb(select(b, a.value, is_sum), j), limb(select(c, a.value, is_sum), j));
        }
    }
}
