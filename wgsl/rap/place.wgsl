// target_values[at] = the challenge at word `challenge` of the transcript's tape. EF, one thread.
#import transcript/tape

#interface

@compute @workgroup_size(1)
fn main() {
    target_values[params.at] = tape_ext(params.challenge);
}
