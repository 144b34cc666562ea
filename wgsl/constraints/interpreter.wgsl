// The interpreter of constraint programs: `evaluate(chunk)` runs one chunk's instructions on the values of this thread.
//
// Instruction set and operand codes: src/constraints/encode.rs. All threads of a dispatch's z slice run the same instructions,
// so neither switch diverges. The frame that imports this declares `instrs`, `chunks`, `constants`, `Value`, `column`, the v_*
// arithmetic, `accumulate0/1` and `emit`, and, with SPILL (programs
// whose chunks need more registers than the file has), `spill`.

const REGISTERS: u32 = 32u;

var<private> registers: array<Value, REGISTERS>;

#if SPILL
/// This thread among those of the dispatch, and their number: register r >= 32 is at spill[(r - 32) * threads + thread].
var<private> spill_thread: u32;
var<private> spill_threads: u32;

fn read_register(r: u32) -> Value {
    if r < REGISTERS {
        return registers[r];
    }
    return spill[(r - REGISTERS) * spill_threads + spill_thread];
}

fn write_register(r: u32, value: Value) {
    if r < REGISTERS {
        registers[r] = value;
    } else {
        spill[(r - REGISTERS) * spill_threads + spill_thread] = value;
    }
}
#else
fn read_register(r: u32) -> Value {
    return registers[r];
}

fn write_register(r: u32, value: Value) {
    registers[r] = value;
}
#endif

/// Chooses where this thread's spilled registers lie.
fn prepare_registers(workgroup: u32, num_workgroups: vec3<u32>, thread: u32) {
#if SPILL
    spill_thread = workgroup * 64u + thread;
    spill_threads = num_workgroups.x * num_workgroups.y * 64u;
#endif
}

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
            return read_register(index);
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
                write_register(instr.y, v_add(a, operand(instr.w)));
            }
            case 1u: {
                write_register(instr.y, v_sub(a, operand(instr.w)));
            }
            case 2u: {
                write_register(instr.y, v_mul(a, operand(instr.w)));
            }
            case 3u: {
                write_register(instr.y, v_scale(a, constants[instr.w]));
            }
            case 4u: {
                write_register(instr.y, v_neg(a));
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
