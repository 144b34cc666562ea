// The WHIR point: u_cube = (u_0, u_0^2, u_0^4, .., u_0^(2^(l_skip - 1)), u_1, .., u_n).
//
// words[i] is the place of u_i on the tape. One thread an element, at most 27 of them.
// Host reference: `prove_openings` of upstream's reference device.
#import transcript/tape

#interface

@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    if i >= params.len {
        return;
    }
    if i >= params.l_skip {
        u_cube[i] = tape_ext(words[i - params.l_skip + 1u]);
        return;
    }
    var power = tape_ext(words[0]);
    for (var k = 0u; k < i; k++) {
        power = e_square(power);
    }
    u_cube[i] = power;
}
