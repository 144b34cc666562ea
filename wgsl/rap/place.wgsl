// target_values[at] = the challenge at word `challenge` of the transcript's tape. EF, one thread.
#import transcript/tape

struct Params {
    at: u32,
    challenge: u32,
}

@group(0) @binding(0) var<storage, read> tape: array<u32>;
@group(0) @binding(1) var<storage, read_write> target_values: array<vec4<u32>>;
var<immediate> params: Params;

@compute @workgroup_size(1)
fn main() {
    target_values[params.at] = tape_ext(params.challenge);
}
