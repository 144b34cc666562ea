// Counting lookups. A segment's counts lie one behind the other: those of the variable range checker (a value below 2^bits at
// 2^bits - 1 + value), from `bitwise_at` on the ranges and then the XORs of the bitwise table (x, y at 256 x + y), from `tuples_at` on those
// of the range tuple checker. `table.wgsl` makes the tables' traces of them.
//
// Most lookups go to few places: clocks differ by little, and high bytes are zero. Those are counted in workgroup memory first.

const LOW: u32 = 256u;
const HIGH: u32 = 64u;
/// Small differences of clocks, their high limbs, XORs of a byte with itself, ranges of two numbers below 8, the tuple (0, 0).
const HOT_HIGH: u32 = 256u;
const HOT_XOR: u32 = 320u;
const HOT_RANGE: u32 = 576u;
const HOT_TUPLE: u32 = 640u;
const HOT: u32 = 641u;
var<workgroup> hot: array<atomic<u32>, 641>;

fn clear_hot(local: u32) {
    for (var i = local; i < HOT; i += THREADS) {
        atomicStore(&hot[i], 0u);
    }
}

fn add_hot(local: u32) {
    for (var i = local; i < HOT; i += THREADS) {
        let count = atomicLoad(&hot[i]);
        if count > 0u {
            atomicAdd(&counts[hot_place(i)], count);
        }
    }
}

fn hot_place(i: u32) -> u32 {
    if i < HOT_HIGH {
        return range_place(i, low_bits());
    }
    if i < HOT_XOR {
        return range_place(i - HOT_HIGH, params.timestamp_bits - low_bits());
    }
    if i < HOT_RANGE {
        return xor_place(i - HOT_XOR, i - HOT_XOR);
    }
    if i < HOT_TUPLE {
        let pair = i - HOT_RANGE;
        return params.bitwise_at + 256u * (pair / 8u) + pair % 8u;
    }
    return params.tuples_at;
}

fn range_place(value: u32, bits: u32) -> u32 {
    return (1u << bits) - 1u + value;
}

fn xor_place(x: u32, y: u32) -> u32 {
    return params.bitwise_at + 0x10000u + 256u * x + y;
}

/// Bits of a clock's low limb.
fn low_bits() -> u32 {
    return min(params.range_bits, params.timestamp_bits);
}

fn is_counting() -> bool {
    return params.first_column == 0u;
}

fn count_at(place: u32) {
    count_times(place, 1u);
}

fn count_times(place: u32, times: u32) {
    if is_counting() {
        atomicAdd(&counts[place], times);
    }
}

fn count_hot(i: u32) {
    if is_counting() {
        atomicAdd(&hot[i], 1u);
    }
}

/// That `value` has `bits` bits.
fn count_range(value: u32, bits: u32) {
    count_at(range_place(value, bits));
}

/// That `x` and `y` are bytes.
fn count_bytes(x: u32, y: u32) {
    if (x | y) < 8u {
        count_hot(HOT_RANGE + 8u * x + y);
    } else {
        count_at(params.bitwise_at + 256u * x + y);
    }
}

/// The XOR of two bytes.
fn count_xor(x: u32, y: u32) {
    if x == y {
        count_hot(HOT_XOR + x);
    } else {
        count_at(xor_place(x, y));
    }
}

/// That `(x, y)` is in the table of tuples.
fn count_tuple(x: u32, y: u32) {
    if (x | y) == 0u {
        count_hot(HOT_TUPLE);
    } else {
        count_at(params.tuples_at + params.tuple_size * x + y);
    }
}

/// Columns of an access at time `now` to what was accessed at `before`: that time, and two limbs of `now - before - 1`.
fn put_access(row: u32, column: u32, before: u32, now: u32) {
    let difference = now - before - 1u;
    let low = difference & ((1u << low_bits()) - 1u);
    let high = difference >> low_bits();
    put_u32(row, column, before);
    put_u32(row, column + 1u, low);
    put_u32(row, column + 2u, high);
    if low < LOW {
        count_hot(low);
    } else {
        count_range(low, low_bits());
    }
    if high < HIGH {
        count_hot(HOT_HIGH + high);
    } else {
        count_range(high, params.timestamp_bits - low_bits());
    }
}
