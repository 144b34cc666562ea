// out[i] = the extension element at word words[i] of the tape. One thread an element.
#import transcript/tape

struct Params {
    len: u32,
}

@group(0) @binding(0) var<storage, read> tape: array<u32>;
@group(0) @binding(1) var<storage, read> words: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<u32>>;
var<immediate> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.len {
        out[id.x] = tape_ext(words[id.x]);
    }
}
