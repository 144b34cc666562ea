// Light work that keeps a card's clocks up: values[i] = values[i]^(2^1600), a chain of products that nothing reads.
//
// F; one value a thread, workgroups of 64. About 25 us on an H200, whatever the number of workgroups.
// Host reference: repeated squaring.
#import field/baby_bear

const SQUARINGS: u32 = 1600u;

#interface

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var x = values[id.x];
    for (var k = 0u; k < SQUARINGS; k++) {
        x = f_mul(x, x);
    }
    values[id.x] = x;
}
