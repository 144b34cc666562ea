// numerators[i] = 0, denominators[i] = the challenge at word `challenge` of the transcript's log, for start <= i < start + len: leaves of
// the fraction tree that no interaction fills.
//
// EF, one thread per leaf.
#import grid
#import transcript/log

struct Params {
    start: u32,
    len: u32,
    challenge: u32,
}

@group(0) @binding(0) var<storage, read> transcript_log: array<u32>;
@group(0) @binding(1) var<storage, read_write> numerators: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> denominators: array<vec4<u32>>;
var<immediate> params: Params;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(num_workgroups) num_workgroups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let i = linear_workgroup(workgroup_id, num_workgroups) * 256u + thread;
    if i < params.len {
        numerators[params.start + i] = E_ZERO;
        denominators[params.start + i] = log_ext(params.challenge);
    }
}
