// Adding up what the threads of a workgroup have, in workgroup memory: a tree with a barrier a level.
//
// The importer declares THREADS (of the workgroup, a power of two), SUMS (values of a thread) and, in workgroup memory, `sums: array<vec4<u32>, ..>`,
// where value k of thread t is at k THREADS + t.
#import field/ext

/// Within every `team` neighbouring threads, the value of thread t < `classes` becomes the sum of those of the threads t, t + `classes`, ..
/// Both are powers of two.
fn reduce(local: u32, team: u32, classes: u32) {
    let member = local & (team - 1u);
    workgroupBarrier();
    for (var s = team >> 1u; s >= classes; s >>= 1u) {
        if member < s {
            for (var k = 0u; k < SUMS; k++) {
                let at = k * THREADS + local;
                sums[at] = e_add(sums[at], sums[at + s]);
            }
        }
        workgroupBarrier();
    }
}
