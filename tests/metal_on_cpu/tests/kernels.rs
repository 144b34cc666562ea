//! Kernels on executed Metal text against what Rust computes, with and without wgpu's runtime checks, fast and checked, in every order.

use metal_on_cpu::{Buffer, Error, Kernel, Mode, Options, Order, Program};

const ORDERS: [Order; 4] = [Order::Ascending, Order::Descending, Order::Random(1), Order::Random(2)];

/// A kernel with its arguments; the last binding is the result.
struct Case<'a> {
    wgsl: &'a str,
    overrides: &'a [(&'static str, u32)],
    workgroup: u32,
    grid: [u32; 3],
    params: &'a [u32],
    immediates: bool,
    /// Contents before, and whether the kernel writes.
    buffers: &'a [(&'a [u32], bool)],
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self { wgsl: "", overrides: &[], workgroup: 64, grid: [1; 3], params: &[], immediates: true, buffers: &[] }
    }
}

impl Case<'_> {
    fn build(&self, options: Options) -> Result<Program, Error> {
        let writable: Vec<bool> = self.buffers.iter().map(|(_, writable)| *writable).collect();
        let kernel = Kernel {
            name: "test.wgsl",
            wgsl: self.wgsl,
            overrides: self.overrides,
            writable: &writable,
            params: self.params.len(),
            immediates: self.immediates,
            workgroup: self.workgroup,
        };
        Program::build(&kernel, options)
    }

    /// Runs in all modes and orders; nothing is found, and every time the last buffer is as expected.
    fn expect(&self, expected: &[u32]) {
        for mode in [Mode::Fast, Mode::Check] {
            for bounds_checks in [false, true] {
                let program = self.build(Options { bounds_checks, mode }).unwrap_or_else(|error| panic!("{error}"));
                for order in ORDERS {
                    let buffers: Vec<_> = self.buffers.iter().map(|(words, _)| Buffer::from_words(words)).collect();
                    let bindings: Vec<_> = buffers.iter().collect();
                    let found = program.run(&bindings, self.params, self.grid, order).expect("the arguments fit");
                    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
                    assert!(found.is_empty(), "{mode:?} {order:?}:\n{}", found.join("\n"));
                    let result = buffers.last().expect("a result").words();
                    assert_eq!(
                        result,
                        expected,
                        "{mode:?}, bounds checks {bounds_checks}, {order:?}\n{}",
                        program.msl()
                    );
                }
            }
        }
    }
}

/// Numbers that look random.
fn words(count: u32, seed: u32) -> Vec<u32> {
    (0..count).map(|i| (i ^ seed).wrapping_mul(0x9e37_79b9).rotate_left(15).wrapping_mul(0x85eb_ca6b)).collect()
}

#[test]
fn vectors() {
    let input = words(4 * 64, 1);
    let expected: Vec<u32> = input
        .chunks_exact(4)
        .flat_map(|v| {
            let [x, y, z, w] = [v[0], v[1], v[2], v[3]];
            let shifted = [x << (y & 7), y << (z & 7), z << (w & 7), w << (x & 7)];
            let low = [x.min(w), y.min(z), z.min(y), w.min(x)];
            let less = [x < 1 << 31, y < 1 << 31, z < 1 << 31, w < 1 << 31];
            let all = u32::from(less.iter().all(|b| *b)) + 2 * u32::from(less.iter().any(|b| *b));
            let dot = x.wrapping_mul(y).wrapping_add(z.wrapping_mul(w));
            let a = (0..4).map(|i| shifted[i] ^ low[i]).collect::<Vec<_>>();
            let b = (0..4).map(|i| if less[i] { v[i] } else { !v[i] }).collect::<Vec<_>>();
            [
                a[0].wrapping_add(b[0]),
                a[1].wrapping_sub(b[1]),
                (a[2] | b[2]).wrapping_add(all),
                a[3].wrapping_add(dot) / (b[3] | 1),
            ]
        })
        .collect();
    let wgsl = "
@group(0) @binding(0) var<storage, read> src: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> dst: array<vec4<u32>>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let v = src[id.x];
    let a = (v << (v.yzwx & vec4<u32>(7u))) ^ min(v, v.wzyx);
    let less = v < vec4<u32>(0x80000000u);
    let b = select(~v, v, less);
    let all_any = vec2<u32>(vec2<bool>(all(less), any(less)));
    var r = vec4<u32>(a.xy, a.zw | b.zz);
    r.x += b.x;
    r.y -= b.y;
    r.z += dot(all_any, vec2<u32>(1u, 2u));
    r[3] = (a.w + dot(v.xz, v.yw)) / (b.w | 1u);
    dst[id.x] = r;
}";
    Case { wgsl, buffers: &[(&input, false), (&vec![0; 4 * 64], true)], ..Case::default() }.expect(&expected);
}

#[test]
fn narrow_vectors_and_packed_members() {
    let input: Vec<u32> = (0..64 * 4).map(|i| 7 * i + 3).collect();
    let expected: Vec<u32> = input
        .chunks_exact(4)
        .flat_map(|p| {
            let q = [p[2] * p[3], p[0] + p[3], p[1] / 3];
            [q[0], q[1], q[2], p[0].pow(2) + p[1] % 5 + u32::from(p[2] == 7 * 2 + 3)]
        })
        .collect();
    let wgsl = "
struct Point { xyz: vec3<u32>, w: u32 }
@group(0) @binding(0) var<storage, read> src: array<Point>;
@group(0) @binding(1) var<storage, read_write> dst: array<Point>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let p = src[id.x];
    var q = p.xyz.zxy;
    q[0] *= p.w;
    q.y += p.w;
    q.z = q.z / 3u;
    let is = p.xyz == vec3<u32>(17u);
    let square = p.xyz.xy * vec2<u32>(p.xyz.x, 1u);
    dst[id.x] = Point(q, square.x + square.y % 5u + u32(is.z));
}";
    Case { wgsl, buffers: &[(&input, false), (&vec![0; 64 * 4], true)], ..Case::default() }.expect(&expected);
}

#[test]
fn integers() {
    let input = words(3 * 64, 5);
    let expected: Vec<u32> = input
        .chunks_exact(3)
        .flat_map(|v| {
            let (x, i, j) = (v[0], v[1] as i32, v[2] as i32);
            let bits = x.count_ones() + x.leading_zeros() * 64 + x.trailing_zeros() * 4096;
            let bits = bits.wrapping_add(x.reverse_bits()).wrapping_add((31 - x.leading_zeros()) << 20);
            let field = (x >> 5 & 0x1ff) ^ (x & !(0xf << 9) | (v[1] & 0xf) << 9);
            let signed =
                (i / 7) ^ (i % 1000) ^ i.min(j) ^ i.clamp(-50, 60) ^ (i >> 3) ^ i.wrapping_neg() ^ i.wrapping_abs();
            let signed = signed ^ i.signum() ^ (i << 11 >> 25);
            let product = u64::from(x) * u64::from(v[1]) + 0xff_ffff_fff1;
            let wide = product ^ (product >> 9).wrapping_mul(1_000_003) ^ (product << 3);
            [bits, field, signed as u32, wide as u32, (wide >> 32) as u32]
        })
        .collect();
    let wgsl = "
@group(0) @binding(0) var<storage, read> src: array<u32>;
@group(0) @binding(1) var<storage, read_write> dst: array<u32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let x = src[3u * id.x];
    let y = src[3u * id.x + 1u];
    let i = bitcast<i32>(y);
    let j = bitcast<i32>(src[3u * id.x + 2u]);
    var bits = countOneBits(x) + countLeadingZeros(x) * 64u + countTrailingZeros(x) * 4096u;
    bits += reverseBits(x) + (firstLeadingBit(x) << 20u);
    let product = u64(x) * u64(y) + 0xfffffffff1lu;
    let wide = product ^ (product >> 9u) * 1000003lu ^ (product << 3u);
    let signed = (i / 7) ^ (i % 1000) ^ min(i, j) ^ clamp(i, -50, 60) ^ (i >> 3u) ^ -i ^ abs(i);
    dst[5u * id.x] = bits;
    dst[5u * id.x + 1u] = extractBits(x, 5u, 9u) ^ insertBits(x, y, 9u, 4u);
    dst[5u * id.x + 2u] = bitcast<u32>(signed ^ sign(i) ^ extractBits(i, 14u, 7u));
    dst[5u * id.x + 3u] = u32(wide);
    dst[5u * id.x + 4u] = u32(wide >> 32u);
}";
    Case { wgsl, buffers: &[(&input, false), (&vec![0; 5 * 64], true)], ..Case::default() }.expect(&expected);
}

#[test]
fn workgroup_memory_and_functions() {
    // each workgroup reverses its words and adds them up; a private variable counts, a table of constants is indexed
    let input = words(128 * 3, 9);
    let table = [3, 1, 4, 1, 5, 9, 2, 6];
    let expected: Vec<u32> = (0..128 * 3)
        .map(|i| {
            let (group, local) = (i / 128, i % 128);
            let words = &input[group * 128..][..128];
            let sum = words.iter().fold(0, |a: u32, b| a.wrapping_add(*b));
            sum.wrapping_add(words[127 - local]).wrapping_add(table[local % 8] + 7)
        })
        .collect();
    let wgsl = "
const TABLE = array<u32, 8>(3u, 1u, 4u, 1u, 5u, 9u, 2u, 6u);
@group(0) @binding(0) var<storage, read> src: array<u32>;
@group(0) @binding(1) var<storage, read_write> dst: array<u32>;
var<workgroup> sums: array<u32, 128>;
var<workgroup> mirror: array<vec4<u32>, 32>;
var<private> levels: u32;
fn fold(local: u32) {
    for (var half = 64u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if (local < half) { sums[local] += sums[local + half]; }
        levels += 1u;
    }
}
fn pick(row: ptr<function, array<u32, 8>>, i: u32) -> u32 { return (*row)[i]; }
@compute @workgroup_size(128) fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let word = src[id.x];
    sums[local] = word;
    mirror[(127u - local) / 4u][(127u - local) % 4u] = word;
    fold(local);
    workgroupBarrier();
    var table = TABLE;
    dst[id.x] = sums[0] + mirror[local / 4u][local % 4u] + pick(&table, local % 8u) + levels;
}";
    let buffers: &[(&[u32], bool)] = &[(&input, false), (&vec![0; 128 * 3], true)];
    Case { wgsl, workgroup: 128, grid: [3, 1, 1], buffers, ..Case::default() }.expect(&expected);
}

/// In each step thread `step` has a word for all; thread i's result is the sum of what it saw.
fn broadcast(variable: &str, store: &str, load: &str) -> Vec<Vec<u32>> {
    let wgsl = format!(
        "
struct Params {{ steps: u32 }}
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> src: array<u32>;
@group(0) @binding(1) var<storage, read_write> dst: array<u32>;
var<workgroup> passed: {variable};
@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) local: u32) {{
    var sum = 0u;
    for (var step = 0u; step < params.steps; step++) {{
        if local == step {{ {store} }}
        workgroupBarrier();
        sum += {load};
        workgroupBarrier();
    }}
    dst[local] = sum;
}}"
    );
    let buffers: &[(&[u32], bool)] = &[(&words(64, 5), false), (&[0; 64], true)];
    let case = Case { wgsl: &wgsl, params: &[9], buffers, ..Case::default() };
    let program =
        case.build(Options { bounds_checks: false, mode: Mode::Fast }).unwrap_or_else(|error| panic!("{error}"));
    let run = |order| {
        let buffers: Vec<_> = buffers.iter().map(|(words, _)| Buffer::from_words(words)).collect();
        program.run(&buffers.iter().collect::<Vec<_>>(), &[9], [1; 3], order).expect("the arguments fit");
        buffers[1].words()
    };
    ORDERS.into_iter().map(run).collect()
}

/// Broadcasts through plain memory get lost here as they do on Metal (wgpu #4500, #3181), and those through atomics do not.
#[test]
fn plain_broadcasts_are_lost() {
    let expected = vec![words(64, 5)[..9].iter().fold(0, |a: u32, b| a.wrapping_add(*b)); 64];
    let is_lost = |results: Vec<Vec<u32>>| results.into_iter().any(|result| result != expected);
    assert!(is_lost(broadcast("u32", "passed = src[step];", "passed")));
    assert!(is_lost(broadcast("array<u32, 8>", "passed[3] = src[step];", "passed[3]")));
    let (store, load) = ("atomicStore(&passed[3], src[step]);", "atomicLoad(&passed[3])");
    assert!(!is_lost(broadcast("array<atomic<u32>, 8>", store, load)));
}

#[test]
fn atomics() {
    let input = words(64 * 5, 3);
    let mut expected = vec![0u32; 32];
    for word in &input {
        expected[(word & 15) as usize] += 1;
        expected[16] = expected[16].max(*word);
        expected[17] ^= *word;
        expected[18] = expected[18].wrapping_add(*word & 3);
        expected[19] = expected[19].wrapping_sub(*word);
        expected[20] |= *word & 0xf0f0;
    }
    expected[21] = 64 * 5;
    let wgsl = "
struct Stats { bins: array<atomic<u32>, 16>, most: atomic<u32>, parity: atomic<u32>, sum: atomic<u32>, less: atomic<u32>, bits: atomic<u32>,
               tickets: atomic<u32>, rest: array<u32, 10> }
@group(0) @binding(0) var<storage, read> src: array<u32>;
@group(0) @binding(1) var<storage, read_write> stats: Stats;
var<workgroup> ticket: atomic<u32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let word = src[id.x];
    atomicAdd(&stats.bins[word & 15u], 1u);
    atomicMax(&stats.most, word);
    atomicXor(&stats.parity, word);
    atomicSub(&stats.less, word);
    atomicOr(&stats.bits, word & 0xf0f0u);
    var seen = atomicLoad(&stats.sum);
    loop {
        let r = atomicCompareExchangeWeak(&stats.sum, seen, seen + (word & 3u));
        if (r.exchanged) { break; }
        seen = r.old_value;
    }
    if (local == 0u) { atomicStore(&ticket, 0u); }
    workgroupBarrier();
    atomicAdd(&ticket, 1u);
    workgroupBarrier();
    if (local == 0u) { atomicAdd(&stats.tickets, atomicLoad(&ticket)); }
}";
    let buffers: &[(&[u32], bool)] = &[(&input, false), (&[0; 32], true)];
    Case { wgsl, grid: [5, 1, 1], buffers, ..Case::default() }.expect(&expected);
}

#[test]
fn subgroup_operations() {
    // 80 threads: the third subgroup has 16
    let input = words(80 * 2, 11);
    let expected: Vec<u32> = (0..160)
        .flat_map(|i| {
            let (group, local) = (i / 80, i % 80);
            let lanes = &input[group * 80..][..80][local / 32 * 32..];
            let lanes = &lanes[..lanes.len().min(32)];
            let lane = local % 32;
            let sum = |words: &[u32]| words.iter().fold(0, |a: u32, b| a.wrapping_add(*b));
            let ballot = lanes.iter().enumerate().fold(0, |a, (j, word)| a | (word & 1) << j);
            let reduced = lanes.iter().copied().max().unwrap() ^ lanes.iter().copied().min().unwrap();
            let shuffled = lanes[lane ^ 5]
                .wrapping_add(lanes[3])
                .wrapping_add(lanes[(lane * 7) % 16])
                .wrapping_add(lanes[lane ^ 1]);
            let votes = u32::from(lanes.iter().any(|word| word & 0xff == 7))
                + 2 * u32::from(lanes.iter().all(|word| *word > 9));
            let pair = sum(&lanes.iter().map(|word| word & 0xff).collect::<Vec<_>>()) + lanes.len() as u32;
            [sum(lanes) ^ sum(&lanes[..lane]), reduced ^ ballot, shuffled, pair * 4 + votes]
        })
        .collect();
    let wgsl = "
@group(0) @binding(0) var<storage, read> src: array<u32>;
@group(0) @binding(1) var<storage, read_write> dst: array<vec4<u32>>;
@compute @workgroup_size(80) fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let v = src[id.x];
    let sums = subgroupAdd(v) ^ subgroupExclusiveAdd(v);
    let reduced = subgroupMax(v) ^ subgroupMin(v) ^ subgroupBallot((v & 1u) == 1u).x;
    let shuffled = subgroupShuffleXor(v, 5u) + subgroupBroadcast(v, 3u) + subgroupShuffle(v, lane * 7u % 16u) + quadSwapX(v);
    let votes = u32(subgroupAny((v & 0xffu) == 7u)) + 2u * u32(subgroupAll(v > 9u));
    let pair = subgroupAdd(vec2<u32>(v & 0xffu, 1u));
    dst[id.x] = vec4<u32>(sums, reduced, shuffled, (pair.x + pair.y) * 4u + votes);
}";
    let buffers: &[(&[u32], bool)] = &[(&input, false), (&vec![0; 160 * 4], true)];
    Case { wgsl, workgroup: 80, grid: [2, 1, 1], buffers, ..Case::default() }.expect(&expected);
}

/// Parameters with members of several sizes, overrides in types and values, a grid of two dimensions.
const TRANSPOSE: &str = "
struct Params { rows: u32, cols: u32, offset: vec3<u32>, factor: u64 }
override TILE: u32 = 4u;
override SCALE: u32;
override FLIP: bool = false;
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> src: array<u32>;
@group(0) @binding(1) var<storage, read_write> dst: array<u32>;
var<workgroup> tile: array<array<u32, 9>, TILE>;
@compute @workgroup_size(8, TILE) fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>,
                                          @builtin(num_workgroups) groups: vec3<u32>) {
    let at = group.xy * 8u + local.xy;
    if (all(at < vec2<u32>(params.cols, params.rows))) { tile[local.y][local.x] = src[at.y * params.cols + at.x]; }
    workgroupBarrier();
    let to = group.yx * 8u + local.xy;
    if (to.x < params.rows && to.y < params.cols) {
        let product = u64(tile[local.x][local.y]) * params.factor;
        let word = (u32(product >> 32u) ^ u32(product)) * SCALE + params.offset.y + groups.x * 16u + groups.y;
        dst[to.y * params.rows + to.x] = select(word, ~word, FLIP);
    }
}";

#[test]
fn immediates_overrides_and_grids() {
    let (rows, cols) = (13, 21);
    let (input, factor, offset) = (words(rows * cols, 21), 0x1234_5678_9abc_def1u64, 99);
    let expected: Vec<u32> = (0..rows * cols)
        .map(|i| {
            let product = u64::from(input[(i % rows * cols + i / rows) as usize]).wrapping_mul(factor);
            let word = ((product >> 32) as u32 ^ product as u32).wrapping_mul(77).wrapping_add(offset + 3 * 16 + 2);
            !word
        })
        .collect();
    let params = [rows, cols, 0, 0, 1, offset, 2, 0, factor as u32, (factor >> 32) as u32, 0, 0];
    let case = Case {
        wgsl: TRANSPOSE,
        overrides: &[("TILE", 8), ("SCALE", 77), ("FLIP", 1)],
        grid: [3, 2, 1],
        params: &params,
        buffers: &[(&input, false), (&vec![0; (rows * cols) as usize], true)],
        ..Case::default()
    };
    case.expect(&expected);
    let uniform = TRANSPOSE.replace("var<immediate>", "@group(0) @binding(2) var<uniform>");
    Case { wgsl: &uniform, immediates: false, ..case }.expect(&expected);
}

#[test]
fn grids_of_three_dimensions() {
    let expected: Vec<u32> = (0..2 * 3 * 5 * 8)
        .map(|i| {
            let (x, y, z) = (i % 4, i / 4 % 6, i / 24);
            100 * x + 10 * y + z + 1000 * (x % 2 + 2 * (y % 2) + 4 * (z % 2))
        })
        .collect();
    let wgsl = "
@group(0) @binding(0) var<storage, read_write> dst: array<u32>;
@compute @workgroup_size(2, 2, 2) fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    dst[id.x + 4u * (id.y + 6u * id.z)] = 100u * id.x + 10u * id.y + id.z + 1000u * local;
}";
    let buffers: &[(&[u32], bool)] = &[(&vec![0; 240], true)];
    Case { wgsl, workgroup: 8, grid: [2, 3, 5], buffers, ..Case::default() }.expect(&expected);
}

#[test]
fn the_number_of_elements_is_the_bindings() {
    let wgsl = "
struct Rows { count: u32, rows: array<vec4<u32>> }
@group(0) @binding(0) var<storage, read> words: array<u32>;
@group(0) @binding(1) var<storage, read> rows: Rows;
@group(0) @binding(2) var<storage, read_write> dst: array<u32>;
@compute @workgroup_size(1) fn main() { dst[0] = arrayLength(&words) * 1000u + arrayLength(&rows.rows); }";
    let buffers: &[(&[u32], bool)] = &[(&[0; 37], false), (&[0; 4 + 4 * 5], false), (&[0], true)];
    Case { wgsl, workgroup: 1, buffers, ..Case::default() }.expect(&[37 * 1000 + 5]);
}

#[test]
fn a_buffer_may_be_read_twice_and_written_once() {
    let wgsl = "
@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read> b: array<u32>;
@group(0) @binding(2) var<storage, read_write> dst: array<u32>;
@compute @workgroup_size(4) fn main(@builtin(local_invocation_index) i: u32) { dst[i] = a[i] + b[3u - i]; }";
    let case = Case { wgsl, workgroup: 4, buffers: &[(&[], false), (&[], false), (&[], true)], ..Case::default() };
    for mode in [Mode::Fast, Mode::Check] {
        let program = case.build(Options { bounds_checks: false, mode }).unwrap();
        let (source, target) = (Buffer::from_words(&[1, 2, 3, 4]), Buffer::new(16));
        assert_eq!(program.run(&[&source, &source, &target], &[], [1; 3], Order::Ascending).unwrap(), []);
        assert_eq!(target.words(), [5; 4]);
        let twice = program.run(&[&source, &target, &target], &[], [1; 3], Order::Ascending).unwrap_err();
        assert!(twice.to_string().contains("bindings 2, which is written, and 1"), "{twice}");
        assert!(program.run(&[&source, &target], &[], [1; 3], Order::Ascending).is_err());
        assert!(program.run(&[&source, &source, &target], &[1], [1; 3], Order::Ascending).is_err());
    }
}

#[test]
fn many_workgroups_on_several_threads() {
    let wgsl = "
@group(0) @binding(0) var<storage, read_write> dst: array<u32>;
var<workgroup> turn: array<u32, 64>;
@compute @workgroup_size(64) fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    turn[local] = group.x;
    workgroupBarrier();
    dst[64u * group.x + local] = 64u * turn[63u - local] + local;
}";
    let expected: Vec<u32> = (0..64 * 1000).collect();
    let program = Case { wgsl, buffers: &[(&[], true)], ..Case::default() }
        .build(Options { bounds_checks: false, mode: Mode::Fast })
        .unwrap();
    for order in ORDERS {
        let buffer = Buffer::new(4 * 64 * 1000);
        assert_eq!(program.run(&[&buffer], &[], [1000, 1, 1], order).unwrap(), []);
        assert!(buffer.words() == expected);
    }
    program.run(&[&Buffer::new(0)], &[], [0, 5, 1], Order::Ascending).unwrap();
}

#[test]
fn what_metal_rejects_is_rejected() {
    let kernel = |body: &str| {
        format!(
            "@group(0) @binding(0) var<storage, read_write> dst: array<u32>;
@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) {{ dst[i] = u32({body}); }}"
        )
    };
    for (body, reason) in [
        ("u64(i) / u64(i + 1u)", "no matching function for call to 'select'"),
        ("subgroupAdd(u64(i))", "no 64-bit SIMD-group functions"),
        ("nonsense(i)", "nonsense"),
    ] {
        let case = Case { wgsl: &kernel(body), buffers: &[(&[0; 64], true)], ..Case::default() };
        let error = case.build(Options { bounds_checks: true, mode: Mode::Fast }).err().expect(body).to_string();
        assert!(error.starts_with("test.wgsl: ") && error.contains(reason), "{error}");
    }
}

/// A product modulo p costs what is published for its instructions, once for each of the loop's iterations and lanes.
#[test]
fn prices_follow_the_instructions() {
    const WGSL: &str = "
        struct Params { count: u32 }
        @group(0) @binding(0) var<storage, read_write> x: array<u32>;
        var<immediate> params: Params;
        @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            var v = x[id.x];
            for (var i = 0u; i < params.count; i++) {
                let t = u64(v) * u64(v);
                let m = u32(t) * 0x88000001u;
                let d = u32(t >> 32u) - u32((u64(m) * 0x78000001lu) >> 32u);
                v = min(d, d + 0x78000001u);
            }
            x[id.x] = v;
        }";
    let kernel = Kernel {
        name: "price.wgsl",
        wgsl: WGSL,
        overrides: &[],
        writable: &[true],
        params: 1,
        immediates: true,
        workgroup: 64,
    };
    let program = Program::build(&kernel, Options { bounds_checks: false, mode: Mode::Price }).unwrap();
    let buffer = Buffer::from_words(&[5; 64 * 3]);
    let price = |count| program.price(&[&buffer], &[count], [3, 1, 1], &[0, 2]).unwrap();
    let (few, many) = (price(10), price(110));
    assert_eq!(few.len(), 2);
    assert_eq!(few[0], few[1]);
    let per_product = (many[0].lane_cycles - few[0].lane_cycles) as f64 / 6400.0;
    // 23 cycles, the loop's counter and branch
    assert!((23.0..32.0).contains(&per_product), "{per_product}");
    let latency = (many[0].latency - few[0].latency) as f64 / 100.0;
    assert!((33.0..45.0).contains(&latency), "{latency}");
    // the value and the parameter
    let work = |price: &metal_on_cpu::Price| (price.work.multiplies, price.work.loads, price.work.stores);
    assert_eq!(work(&many[0]), (64 * 3 * 110, 2 * 64, 64));
    // 64 words
    assert_eq!(many[0].lines, [metal_on_cpu::Lines { read: 2, written: 2 }]);
}
