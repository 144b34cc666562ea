// The duplex sponge for kernels of one workgroup (at least 32 threads) that observe and sample on their own: overwrite mode (upstream's
// DuplexSponge). A full rate permutes at once; a squeeze permutes when words were absorbed since the last permutation or the rate is used
// up, and gives words from the end of the rate. Every word goes to the tape, too.
//
//   duplex_open(..); { fill `message`; duplex_step(local, observe, sample); read `sampled` } ...; duplex_close(..)
//
// There is one permutation in the code, since code that runs for the first time takes longer to fetch than to execute (docs/performance.md).
// All threads of the workgroup call all of it in uniform control flow. The positions in the rate depend only on counts.
// A kernel that imports this declares `sponge: array<u32>` (16 words) and `tape: array<u32>`, both read_write, and
// `round_constants` (see poseidon2.wgsl); its entry point takes a DuplexThread.
//
// The state and its permutation are of one of two modules: duplex_lanes.wgsl where subgroups have 16 lanes or more (SUBGROUP16), in registers;
// duplex_threads.wgsl elsewhere, in workgroup memory. Both declare
//
//   struct DuplexThread                          what a thread is told of itself, with its number `workgroup_thread`. The members' names are used
//                                                for nothing else: where naga 30 zeroes workgroup memory, its Metal text takes a member's name
//                                                for the argument's, which differs when another thing has that name, too
//   duplex_load(thread)                          the state out of `sponge`
//   duplex_state(i)                              its word i
//   duplex_own(local)                            its word `local` mod 16
//   duplex_absorb(local, read, count)            its words from `duplex_at` on become those of the message from `read` on
//   duplex_squeeze(local, given, count, tape_at)  its words below `duplex_left`, downwards, are sampled, from `given` on, and written to the tape
//   duplex_permute(local)
//   duplex_uniform(x)                            x, which is the same in all threads, so that a compiler sees it
//
// Words are passed on through atomics: Metal's compiler may keep what a thread knows of plain ones (docs/metal.md).
// Host reference: upstream's DuplexSponge.
#if SUBGROUP16
#import transcript/duplex_lanes
#else
#import transcript/duplex_threads
#endif

/// What is observed next.
var<workgroup> message: array<atomic<u32>, 20>;
/// What was sampled last.
var<workgroup> sampled: array<atomic<u32>, RATE>;

fn set_message_ext(element: u32, value: vec4<u32>) {
    let at = 4u * element;
    atomicStore(&message[at], value.x);
    atomicStore(&message[at + 1u], value.y);
    atomicStore(&message[at + 2u], value.z);
    atomicStore(&message[at + 3u], value.w);
}

fn sampled_ext(element: u32) -> vec4<u32> {
    let at = 4u * element;
    return vec4<u32>(
        atomicLoad(&sampled[at]),
        atomicLoad(&sampled[at + 1u]),
        atomicLoad(&sampled[at + 2u]),
        atomicLoad(&sampled[at + 3u]),
    );
}

var<private> duplex_at: u32;
var<private> duplex_left: u32;
var<private> duplex_tape: u32;

/// Continues the sponge in memory; `tape_at` is where its next word goes on the tape.
fn duplex_open(thread: DuplexThread, absorb_index: u32, sample_index: u32, tape_at: u32) {
    duplex_load(thread);
    duplex_at = absorb_index;
    duplex_left = sample_index;
    duplex_tape = tape_at;
}

/// Leaves the sponge in memory for the next kernel.
fn duplex_close(local: u32) {
    workgroupBarrier();
    if local < 16u {
        sponge[local] = duplex_own(local);
    }
}

/// Observes the first `observe_words` words of `message`, then samples `sample_words` words (at most RATE) into `sampled`, visible to all threads afterwards.
fn duplex_step(local: u32, observe_words: u32, sample_words: u32) {
    let observe = duplex_uniform(observe_words);
    let sample = duplex_uniform(sample_words);
    workgroupBarrier();
    if local < observe {
        tape[duplex_tape + local] = atomicLoad(&message[local]);
    }
    duplex_tape += observe;
    var read = 0u;
    var given = 0u;
    loop {
        var full = false;
        if read < observe {
            let taken = min(RATE - duplex_at, observe - read);
            duplex_absorb(local, read, taken);
            read += taken;
            duplex_at += taken;
            full = duplex_at == RATE;
        } else if given < sample {
            full = duplex_at != 0u || duplex_left == 0u;
            if !full {
                let taken = min(duplex_left, sample - given);
                duplex_squeeze(local, given, taken, duplex_tape + given);
                duplex_left -= taken;
                given += taken;
            }
        } else {
            break;
        }
        if full {
            duplex_permute(local);
            duplex_at = 0u;
            duplex_left = RATE;
        }
    }
    duplex_tape += sample;
    workgroupBarrier();
}
