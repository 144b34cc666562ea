// out[i] = the extension element at word words[i] of the tape. One thread an element.
#import transcript/tape

#interface

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.len {
        out[id.x] = tape_ext(words[id.x]);
    }
}
