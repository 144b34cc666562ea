//! An interpreter of a small stack machine, and its program: a sieve.

extern crate alloc;

use alloc::vec::Vec;

use super::checksum::{Checksum, Random};

/// Instructions. Operands lie on the stack, the topmost is the last one.
#[derive(Clone, Copy)]
enum Op {
    Push(u32),
    /// Reads or writes a register.
    Get(u8),
    Set(u8),
    /// Address -> word.
    Load,
    /// Address, word -> nothing.
    Store,
    Add,
    Subtract,
    Multiply,
    Xor,
    ShiftRight,
    /// 1 if the first of two is less, else 0.
    Less,
    /// Jumps if the topmost is zero.
    JumpIfZero(u16),
    Jump(u16),
    /// Word -> nothing: what the program puts out.
    Emit,
    Halt,
}

/// Marks the multiples of primes below register 0's value in memory, then puts out, for each prime, the sum so far of the primes' products
/// with what lay in memory.
const SIEVE: &[Op] = {
    use Op::*;
    &[
        // register 1: candidate, 2: multiple, 3: sum
        Push(2),
        Set(1),
        // 2: while candidate < limit
        Get(1),
        Get(0),
        Less,
        JumpIfZero(48),
        // 6: the highest bit of memory[candidate] marks it
        Get(1),
        Load,
        Push(31),
        ShiftRight,
        JumpIfZero(16),
        // 11: candidate += 1
        Get(1),
        Push(1),
        Add,
        Set(1),
        Jump(2),
        // 16: sum += (memory[candidate] ^ candidate) * candidate
        Get(1),
        Load,
        Get(1),
        Xor,
        Get(1),
        Multiply,
        Get(3),
        Add,
        Set(3),
        Get(3),
        Emit,
        // 27: multiple = candidate + candidate
        Get(1),
        Get(1),
        Add,
        Set(2),
        // 31: while multiple < limit
        Get(2),
        Get(0),
        Less,
        JumpIfZero(11),
        // 35: memory[multiple] = (memory[multiple] >> 1) - 2^31, which sets the highest bit
        Get(2),
        Get(2),
        Load,
        Push(1),
        ShiftRight,
        Push(1 << 31),
        Subtract,
        Store,
        // 43: multiple += candidate
        Get(2),
        Get(1),
        Add,
        Set(2),
        Jump(31),
        // 48
        Halt,
    ]
};

/// Runs the sieve below `size` on memory with pseudorandom words below 2^31.
pub fn interpreter(size: u64) -> [u8; 32] {
    let mut random = Random::new(5);
    let mut memory: Vec<u32> = (0..size).map(|_| random.word() >> 1).collect();
    let mut checksum = Checksum::new();
    let steps = run(SIEVE, size as u32, &mut memory, &mut checksum);
    checksum.add(steps);
    checksum.bytes()
}

/// Runs a program until it halts; returns how many instructions that took. A stack or a memory that is too small is a panic.
fn run(program: &[Op], argument: u32, memory: &mut [u32], output: &mut Checksum) -> u32 {
    let mut registers = [0; 8];
    registers[0] = argument;
    let mut stack = [0; 16];
    let mut depth = 0;
    let (mut counter, mut steps) = (0, 0u32);
    macro_rules! pop {
        () => {{
            depth -= 1;
            stack[depth]
        }};
    }
    macro_rules! push {
        ($word:expr) => {{
            stack[depth] = $word;
            depth += 1;
        }};
    }
    macro_rules! binary {
        ($left:ident, $right:ident => $word:expr) => {{
            let ($right, $left) = (pop!(), pop!());
            push!($word)
        }};
    }
    loop {
        let op = program[counter];
        counter += 1;
        steps = steps.wrapping_add(1);
        match op {
            Op::Push(word) => push!(word),
            Op::Get(register) => push!(registers[usize::from(register)]),
            Op::Set(register) => registers[usize::from(register)] = pop!(),
            Op::Load => push!(memory[pop!() as usize]),
            Op::Store => {
                let (word, address) = (pop!(), pop!());
                memory[address as usize] = word;
            }
            Op::Add => binary!(left, right => left.wrapping_add(right)),
            Op::Subtract => binary!(left, right => left.wrapping_sub(right)),
            Op::Multiply => binary!(left, right => left.wrapping_mul(right)),
            Op::Xor => binary!(left, right => left ^ right),
            Op::ShiftRight => binary!(left, right => left >> (right & 31)),
            Op::Less => binary!(left, right => u32::from(left < right)),
            Op::JumpIfZero(target) => {
                if pop!() == 0 {
                    counter = usize::from(target);
                }
            }
            Op::Jump(target) => counter = usize::from(target),
            Op::Emit => output.add(pop!()),
            Op::Halt => return steps,
        }
    }
}
