// Sum of one value per thread over a workgroup of 64 threads; thread 0 gets it.
#import field/ext

var<workgroup> round_values: array<vec4<u32>, 64>;

fn sum_over_threads(value: Ext, local: u32) -> Ext {
    workgroupBarrier();
    round_values[local] = value;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half >>= 1u) {
        if local < half {
            round_values[local] = e_add(round_values[local], round_values[local + half]);
        }
        workgroupBarrier();
    }
    return round_values[local];
}
