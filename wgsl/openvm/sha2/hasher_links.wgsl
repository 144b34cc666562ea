// Columns that link rows of a compression: sums for the schedule's words of later rows. Constraints hold on all pairs of rows that follow
// each other, the last and the first among them, so some cells have whatever makes them hold.
//
// A digest row has its hashes where others have four words of the schedule as bits. There, "words" are digits that are no bits.

/// The schedule's words of two rows, one behind the other.
var<private> pair: array<Word, 8>;
/// From which of them on four are those of a digest row, or NO_DIGEST, and the record of its block.
var<private> digest: u32;
var<private> digest_record: u32;

const NO_DIGEST: u32 = 8u;

fn byte_of(at: u32, i: u32) -> u32 {
    return (records[at + i / 4u] >> (8u * (i & 3u))) & 0xffu;
}

fn half_of(at: u32, i: u32) -> u32 {
    return (records[at + i / 2u] >> (16u * (i & 1u))) & 0xffffu;
}

/// Digit `i` of "word" `word` of the digest row.
fn digest_digit(word: u32, i: u32) -> u32 {
    if word == 0u {
        return byte_of(digest_record + NEW_STATE, i);
    }
    if word == 1u && i < 2u * STATE_WORDS {
        return half_of(digest_record + STATE, i);
    }
    return 0u;
}

/// Half `k` of word `i` of the pair, as a field element.
fn half_in_pair(i: u32, k: u32) -> u32 {
    if i - digest >= 4u {
        return f_from_u32(half(pair[i], k));
    }
    var sum = 0u;
    for (var digit = 0u; digit < 16u; digit++) {
        sum += digest_digit(i - digest, 16u * k + digit) << digit;
    }
    return f_from_u32(sum % P);
}

/// The same of a small sigma of the word.
fn sigma_in_pair(i: u32, k: u32, by: vec3<u32>) -> u32 {
    if i - digest >= 4u {
        return f_from_u32(half(small_sigma(pair[i], by), k));
    }
    var sum = 0u;
    for (var digit = 16u; digit > 0u; digit--) {
        let at = 16u * k + digit - 1u;
        let x = f_from_u32(digest_digit(i - digest, (at + by.x) % WORD_BITS));
        let y = f_from_u32(digest_digit(i - digest, (at + by.y) % WORD_BITS));
        var z = 0u;
        if at + by.z < WORD_BITS {
            z = f_from_u32(digest_digit(i - digest, at + by.z));
        }
        sum = f_add(f_double(sum), xor_digits(x, y, z));
    }
    return sum;
}

/// x + y + z - 2 (x y + y z + z x) + 4 x y z, the XOR of bits.
fn xor_digits(x: u32, y: u32, z: u32) -> u32 {
    let xy = f_mul(x, y);
    let products = f_add(xy, f_mul(f_add(x, y), z));
    return f_add(f_add(f_add(x, y), f_sub(z, f_double(products))), f_double(f_double(f_mul(xy, z))));
}

/// Words of the row of rounds `t` to `t + 3` as those from `first` on in the pair.
fn pair_rounds(first: u32, t: u32) {
    for (var j = 0u; j < 4u; j++) {
        pair[first + j] = schedule_word(t + j);
    }
}

fn pair_message(first: u32, at: u32, word: u32) {
    for (var j = 0u; j < 4u; j++) {
        pair[first + j] = message_word(at, word + j);
    }
}

fn pair_zeros(first: u32) {
    for (var j = 0u; j < 4u; j++) {
        pair[first + j] = Word();
    }
}

fn pair_digest(first: u32, record: u32) {
    digest = first;
    digest_record = record;
}

/// Four words w with the small sigma of the next one, four in all: from round `t` on.
fn put_sums(row: u32, column: u32, t: u32) {
    for (var j = 0u; j < 4u; j++) {
        let sigma = small_sigma(schedule_word(t + j + 1u), SMALL_0);
        for (var k = 0u; k < HALVES; k++) {
            put_u32(row, column + HALVES * j + k, half(schedule_word(t + j), k) + half(sigma, k));
        }
    }
}

/// The same for the first row of the pair.
fn put_sums_of_pair(row: u32, column: u32) {
    for (var j = 0u; j < 4u; j++) {
        for (var k = 0u; k < HALVES; k++) {
            put(row, column + HALVES * j + k, f_add(half_in_pair(j, k), sigma_in_pair(j + 1u, k, SMALL_0)));
        }
    }
}

/// What is missing so that words of the second row of the pair are those of the schedule without carries. `row` is the first one; its words
/// of three rounds ago are those before round `t`, or zeros.
fn put_missing(row: u32, t: u32, has_w_3: bool) {
    for (var j = 0u; j < 4u; j++) {
        for (var k = 0u; k < HALVES; k++) {
            var before = 0u;
            if j == 3u {
                before = half_in_pair(0u, k);
            } else if has_w_3 {
                before = f_from_u32(half(schedule_word(t + j - 3u), k));
            }
            let sum = f_add(sigma_in_pair(j + 2u, k, SMALL_1), before);
            put(row, INTERMED_12 + HALVES * j + k, f_sub(half_in_pair(j + 4u, k), sum));
        }
    }
}

/// Links of row `i` of the block whose record is at `record`.
fn put_links(row: u32, i: u32, record: u32, block: u32, is_last: bool) {
    let t = 4u * i;
    for (var j = 0u; j < 3u; j++) {
        for (var k = 0u; k < HALVES; k++) {
            put_u32(row, W_3 + HALVES * j + k, select(half(schedule_word(t + j - 3u), k), 0u, i == 0u));
        }
    }
    put_links_back(row, i, record, block);
    if i < 2u {
        put_zeros(row, INTERMED_8, 4u * HALVES);
    } else {
        put_sums(row, INTERMED_8, t - 8u);
    }
    if i >= 3u && i + 2u <= ROUND_ROWS {
        put_sums(row, INTERMED_12, t - 12u);
    } else {
        put_links_ahead(row, i, record, is_last);
    }
}

/// Sums of the row before and this one.
fn put_links_back(row: u32, i: u32, record: u32, block: u32) {
    let t = 4u * i;
    digest = NO_DIGEST;
    if i > 0u {
        pair_rounds(0u, t - 4u);
    } else if block > 0u {
        pair_digest(0u, record - RECORD);
    } else {
        // behind the last row, which pads
        pair_zeros(0u);
    }
    if i < ROUND_ROWS {
        pair_rounds(4u, t);
    } else {
        pair_digest(4u, record);
    }
    put_sums_of_pair(row, INTERMED_4);
}

/// What is missing between this row and the next one.
fn put_links_ahead(row: u32, i: u32, record: u32, is_last: bool) {
    let t = 4u * i;
    digest = NO_DIGEST;
    if i < ROUND_ROWS {
        pair_rounds(0u, t);
    } else {
        pair_digest(0u, record);
    }
    if i < 3u {
        pair_message(4u, record + MESSAGE, t + 4u);
    } else if i < ROUND_ROWS {
        pair_digest(4u, record);
    } else if is_last {
        pair_zeros(4u);
    } else {
        pair_message(4u, record + RECORD + MESSAGE, 0u);
    }
    put_missing(row, t, i > 0u);
}

/// Links of a row that pads: the first is behind the digest of the record at `last`, the last before the first row of all.
fn put_padding_links(row: u32, last: u32, is_first: bool, is_last: bool) {
    put_zeros(row, W_3, SCHEDULE - W_3);
    pair_zeros(0u);
    pair_zeros(4u);
    if is_first {
        pair_digest(0u, last);
        put_sums_of_pair(row, INTERMED_4);
    }
    if is_last {
        digest = NO_DIGEST;
        pair_message(4u, last + RECORD + MESSAGE, 0u);
        put_missing(row, 0u, false);
    }
}
