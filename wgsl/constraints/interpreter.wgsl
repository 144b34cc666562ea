// The interpreter of constraint programs: `evaluate(chunk)` runs one chunk's instructions on the values of this thread.
//
// Instruction set and operand codes: src/constraints/encode.rs. All threads of a dispatch's z slice run the same instructions,
// so neither switch diverges. The frame that imports this declares `instrs`, `chunks`, `constants`, `Value`, `column`, the v_*
// arithmetic, `accumulate0/1` and `emit`, and its flags choose the register file.

#if REGISTERS_8192
const REGISTERS: u32 = 8192u;
#else
#if REGISTERS_2048
const REGISTERS: u32 = 2048u;
#else
#if REGISTERS_512
const REGISTERS: u32 = 512u;
#else
#if REGISTERS_128
const REGISTERS: u32 = 128u;
#else
const REGISTERS: u32 = 32u;
#endif
#endif
#endif
#endif

var<private> registers: array<Value, REGISTERS>;

fn operand(code: u32) -> Value {
    let index = code & 0x3fffffffu;
    switch code >> 30u {
        case 1u: {
            return column(index);
        }
        case 2u: {
            return lift(constants[index]);
        }
        default: {
            return registers[index];
        }
    }
}

fn evaluate(chunk: u32) {
    let range = chunks[chunk];
    for (var k = range.x; k < range.x + range.y; k++) {
        let instr = instrs[k];
        let a = operand(instr.z);
        switch instr.x {
            case 0u: {
                registers[instr.y] = v_add(a, operand(instr.w));
            }
            case 1u: {
                registers[instr.y] = v_sub(a, operand(instr.w));
            }
            case 2u: {
                registers[instr.y] = v_mul(a, operand(instr.w));
            }
            case 3u: {
                registers[instr.y] = v_scale(a, constants[instr.w]);
            }
            case 4u: {
                registers[instr.y] = v_neg(a);
            }
            case 5u: {
                accumulate0(instr.y, a);
            }
            case 6u: {
                accumulate1(instr.y, a);
            }
            default: {
                emit(instr.y, a);
            }
        }
    }
}
