// The row of a SHA-2 instruction: what it hashes, and its accesses to memory. `hasher_row` has the rounds.
//
// Host reference: `Sha2MainChip`.
#import openvm/row
#import openvm/heap_reads
#import openvm/sha2/record

const STATE_BYTES: u32 = 4u * STATE_WORDS;
/// Columns behind the bytes of the message and of both states.
const INSTRUCTION: u32 = 1u + 4u * STATE_BYTES;
const WIDTH: u32 = INSTRUCTION + 27u + 16u * STATE_WORDS;

fn fill(row: u32, before: u32) {
    let record = before + RECORD;
    let timestamp = records[record + 2u];
    put_u32(row, 0u, row);
    put_bytes(row, 1u, record + MESSAGE, MESSAGE_WORDS + 2u * STATE_WORDS);
    put(row, INSTRUCTION, F_ONE);
    put_words(row, INSTRUCTION + 1u, record + 1u, 5u);
    put_bytes(row, INSTRUCTION + 6u, record + 6u, 3u);
    let tops = vec3<u32>(
        pointer_top(records[record + 6u]),
        pointer_top(records[record + 7u]),
        pointer_top(records[record + 8u]),
    );
    count_bytes(tops.x, tops.y);
    count_bytes(tops.z, tops.z);
    put_accesses(row, INSTRUCTION + 18u, record + 9u, timestamp, 3u);
    put_accesses(row, INSTRUCTION + 27u, record + READS, timestamp + 3u, MESSAGE_WORDS + STATE_WORDS);
    let writes = INSTRUCTION + 27u + 3u * (MESSAGE_WORDS + STATE_WORDS);
    for (var i = 0u; i < STATE_WORDS; i++) {
        let write = record + WRITES + 2u * i;
        put_access(row, writes + 7u * i, records[write], timestamp + 3u + MESSAGE_WORDS + STATE_WORDS + i);
        put_limbs(row, writes + 7u * i + 3u, records[write + 1u]);
    }
}
