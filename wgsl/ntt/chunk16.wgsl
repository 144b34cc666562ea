// ntt/chunk.wgsl for chunks of sixteen that lie together in the trace: c[k] = sum_{j subset of k} iDFT(chunk)[j].
//
// A workgroup of 256 threads takes 256 chunks, each thread one of them in registers, as four vectors; workgroup memory brings the vectors of
// consecutive threads to consecutive places in memory. Vectors from `filled` on are zero. Bytes moved: 8 a word.
// Host reference: openvm_stark_backend::prover::poly::eval_to_coeff_rs_message.
#import grid
#import ntt/block

#interface

/// 256 chunks of four vectors.
var<workgroup> tile: array<vec4<u32>, 1024>;

/// The place of vector i % 4 of chunk i / 4, against bank conflicts.
fn place(i: u32) -> u32 {
    return i ^ ((i >> 3u) & 3u);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let start = 1024u * linear_workgroup(workgroup_id, num_workgroups);
    for (var i = local; i < 1024u; i += 256u) {
        var x = vec4<u32>();
        if start + i < params.filled {
            x = src[params.source + start + i];
        }
        tile[place(i)] = x;
    }
    workgroupBarrier();
    let a = place(4u * local);
    let b = place(4u * local + 1u);
    let c = place(4u * local + 2u);
    let d = place(4u * local + 3u);
    let x = block_zeta(block_div_2exp(dft16(Block(tile[a], tile[b], tile[c], tile[d])), 4u), 4u);
    tile[a] = x.a;
    tile[b] = x.b;
    tile[c] = x.c;
    tile[d] = x.d;
    workgroupBarrier();
    for (var i = local; i < 1024u; i += 256u) {
        if start + i < 4u * params.chunks {
            data[params.target_offset + start + i] = tile[place(i)];
        }
    }
}
