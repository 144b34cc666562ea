// Denominators of padding: alpha^(2^k) at PADDING + k of the state, k < len.
//
// One thread an entry, k products. Host reference: exp_power_of_2.
#import gkr/state
#import transcript/tape

#interface

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32) {
    if local < params.len {
        var q = tape_ext(params.alpha_at);
        for (var k = 0u; k < local; k++) {
            q = e_square(q);
        }
        state[PADDING + local] = q;
    }
}
