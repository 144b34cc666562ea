// The interpreter of constraint programs: `evaluate(chunk)` runs one chunk's instructions on the values of this thread.
//
// Records and operand codes: src/constraints/encode.rs. All threads of a dispatch's z slice run the same code, so neither switch
// diverges. The frame that imports this declares `record`, `constant`, `Value`, `column`, the v_* arithmetic, `accumulate` and (flag EMIT)
// `emit`, and, with SPILL (programs whose chunks need more registers than the file has), `spill`.

alias Record = vec4<u32>;

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
fn prepare_registers(workgroup: u32, num_workgroups: vec3<u32>, local: u32) {
#if SPILL
    spill_thread = workgroup * 64u + local;
    spill_threads = num_workgroups.x * num_workgroups.y * 64u;
#endif
}

fn operand(code: u32, immediate: u32) -> Value {
    let index = code & 0x3fffffffu;
    switch code >> 30u {
        case 0u: {
            return read_register(index);
        }
        case 1u: {
            return column(index);
        }
        default: {
            return lift(immediate);
        }
    }
}

/// Runs the instructions in [first, end).
fn run(first: u32, end: u32) {
    for (var k = first; k < end; k++) {
        let instr = record(k);
        let a = operand(instr.y, instr.w);
        var b = a;
        // the double of a column reads it once
        if instr.z != instr.y {
            b = operand(instr.z, instr.w);
        }
        var value: Value;
        switch instr.x & 7u {
            case 0u: {
                value = v_add(a, b);
            }
            case 1u: {
                value = v_sub(a, b);
            }
            case 2u: {
                value = v_mul(a, b);
            }
#if EXTENSION
            case 4u: {
                value = v_scale(a, instr.w);
            }
#endif
            default: {
                value = v_neg(a);
            }
        }
        write_register(instr.x >> 3u, value);
    }
}

/// Runs the terms in [first, end), whose instructions begin at `instrs`; returns where they ended.
fn run_terms(instrs: u32, first: u32, end: u32) -> u32 {
    var at = instrs;
    for (var k = first; k < end; k++) {
        let term = record(k);
        run(at, term.x);
        accumulate(term.y & 1u, term.y >> 1u, operand(term.z, term.w));
        at = term.x;
    }
    return at;
}

fn evaluate(chunk: u32) {
    let code = record(2u * chunk);
    let end = record(2u * chunk + 1u).x;
    for (var k = code.x; k < code.y; k++) {
        let preload = record(k);
        write_register(preload.x, lift(constant(preload.y)));
    }
#if EMIT
    var at = code.y;
    var term = code.z;
    for (var k = code.w; k < end; k += 2u) {
        let output = record(k);
        let numerator = record(k + 1u);
        at = run_terms(at, term, output.x);
        run(at, output.y);
        emit(output.z, operand(numerator.x, numerator.y));
        term = output.x;
        at = output.y;
    }
#else
    run_terms(code.y, code.z, end);
#endif
}
