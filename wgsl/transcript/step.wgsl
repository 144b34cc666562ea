// A step of the duplex sponge: absorb `absorb` words of `source` at `start`, then squeeze `squeeze` words; write all of them to the tape at `tape_at`.
//
// One workgroup; duplex.wgsl does the work. Long observations are several dispatches (see the launcher). 32 threads would do, but Metal's
// compiler may lose the barriers of so few (docs/metal.md).
// Host reference: upstream's DuplexSponge.
#import transcript/duplex

#interface

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
