// Advances the device's submission counter: word = number, if word is number - 1.
//
// One thread. A submission that was lost leaves the word behind for good, so every later readback shows it.

#interface

@compute @workgroup_size(1)
fn main() {
    if word[0] + 1u == params.number {
        word[0] = params.number;
    }
}
