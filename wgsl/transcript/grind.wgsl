// Proof of work: witnesses[witness] = the smallest integer c < limit such that the sponge, after observing c, samples a word whose low `bits` bits are 0.
//
// A linear grid of threads walks the integers in stride; a thread stops at the first candidate that is not below the best so far, so
// about one stride beyond the witness is tried. Both the absorption that fills the rate and the squeeze after one that does not permute
// exactly once and read word 7, so one permutation decides. witnesses[witness] must be 0xffffffff before.
// Host reference: the smallest witness for upstream's `check_witness`.
#import grid
#import poseidon2

#interface

fn with_witness(first: u32, word: u32) -> vec4<u32> {
    let v = vec4<u32>(sponge[first], sponge[first + 1u], sponge[first + 2u], sponge[first + 3u]);
    let at = vec4<u32>(first, first + 1u, first + 2u, first + 3u) == vec4<u32>(params.absorb_index);
    return select(v, vec4<u32>(word), at);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let thread = linear_workgroup(workgroup_id, num_workgroups) * 64u + local;
    let c2 = vec4<u32>(sponge[8], sponge[9], sponge[10], sponge[11]);
    let c3 = vec4<u32>(sponge[12], sponge[13], sponge[14], sponge[15]);
    for (var c = thread; c < params.limit; c += params.threads) {
        if atomicLoad(&witnesses[params.witness]) <= c {
            break;
        }
        let word = f_from_u32(c);
        let s = poseidon2(Poseidon2State(with_witness(0u, word), with_witness(4u, word), c2, c3));
        if (f_to_u32(s.b.w) & ((1u << params.bits) - 1u)) == 0u {
            atomicMin(&witnesses[params.witness], c);
            break;
        }
    }
}
