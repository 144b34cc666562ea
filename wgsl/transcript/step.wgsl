// A step of the duplex sponge: absorb `absorb` words of `source` at `start`, then squeeze `squeeze` words; write all of them to the tape at `tape_at`.
//
// One workgroup; duplex.wgsl does the work. Long observations are several dispatches (see the launcher). 32 threads would do, but Metal's
// compiler may lose the barriers of so few (docs/metal.md).
// Host reference: upstream's DuplexSponge.
#import transcript/duplex

struct Params {
    start: u32,
    absorb: u32,
    squeeze: u32,
    tape_at: u32,
    absorb_index: u32,
    sample_index: u32,
    // the words of `source` are integers to be brought into Montgomery form first (a proof-of-work witness)
    integers: u32,
}

@group(0) @binding(0) var<storage, read> source: array<u32>;
@group(0) @binding(1) var<storage, read_write> sponge: array<u32>;
@group(0) @binding(2) var<storage, read_write> tape: array<u32>;
@group(0) @binding(3) var<storage, read> round_constants: array<vec4<u32>>;
var<immediate> params: Params;

@compute @workgroup_size(64)
fn main(thread: DuplexThread) {
    let local = thread.workgroup_thread;
    duplex_open(thread, params.absorb_index, params.sample_index, params.tape_at);
    var read = 0u;
    var given = 0u;
    while read < params.absorb || given < params.squeeze {
        let observe = min(2u * RATE, params.absorb - read);
        if local < observe {
            let word = source[params.start + read + local];
            atomicStore(&message[local], select(word, f_from_u32(word), params.integers != 0u));
        }
        read += observe;
        let sample = select(0u, min(RATE, params.squeeze - given), read == params.absorb);
        duplex_step(local, observe, sample);
        given += sample;
    }
    duplex_close(local);
}
