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
                    assert_eq!(result, expected, "{mode:?}, bounds checks {bounds_checks}, {order:?}\n{}", program.msl());
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
            [a[0].wrapping_add(b[0]), a[1].wrapping_sub(b[1]), (a[2] | b[2]).wrapping_add(all), a[3].wrapping_add(dot) / (b[3] | 1)]
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
