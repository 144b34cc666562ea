//! Tests of the shared WGSL field and hash modules against p3.

use openvm_stark_backend::p3_symmetric::Permutation;
use openvm_stark_sdk::config::baby_bear_poseidon2::{poseidon2_perm, EF, F};
use p3_field::{BasedVectorSpace, Field, PrimeCharacteristicRing, PrimeField32};
use rand::{rngs::StdRng, Rng, SeedableRng};

use crate::{
    gpu::{testing, Access, Element, GeneratedKernel, Grid},
    kernels::poseidon2::round_constants,
};

/// Runs `body` (a WGSL statement list over `i`, `a[i]`, `b[i]`, `out[i]`) for each of the inputs.
fn map<A: Element, B: Element, O: Element>(imports: &str, body: &str, a: &[A], b: &[B]) -> Vec<O> {
    let gpu = testing::gpu();
    let ty = |words| if words == 1 { "u32" } else { "vec4<u32>" };
    let wgsl = format!(
        "{imports}
         struct Params {{ len: u32 }}
         @group(0) @binding(0) var<storage, read> a: array<{}>;
         @group(0) @binding(1) var<storage, read> b: array<{}>;
         @group(0) @binding(2) var<storage, read_write> out: array<{}>;
         @group(0) @binding(3) var<storage, read> round_constants: array<vec4<u32>>;
         var<immediate> params: Params;
         @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
            let i = id.x;
            if i >= params.len {{ return; }}
            {body}
         }}",
        ty(A::WORDS),
        ty(B::WORDS),
        ty(O::WORDS)
    );
    let kernel = gpu
        .compile_generated(&GeneratedKernel {
            name: "field test".into(),
            wgsl,
            bindings: vec![Access::Read, Access::Read, Access::ReadWrite, Access::Read],
            params: 1,
            workgroup: 64,
        })
        .unwrap();
    let (a, b) = (gpu.upload(a, "a").unwrap(), gpu.upload(b, "b").unwrap());
    let out = gpu.alloc::<O>(a.len(), "out").unwrap();
    let constants = round_constants(&gpu).unwrap();
    let mut rec = gpu.recorder("test");
    let bindings = [a.cast(), b.cast(), out.cast(), constants.cast()];
    rec.dispatch_generated(&kernel, &bindings, &[a.len() as u32], Grid::threads(a.len()));
    let ticket = rec.download(&out);
    rec.wait().unwrap().take(ticket).unwrap()
}

fn base_inputs() -> (Vec<F>, Vec<F>) {
    let mut rng = StdRng::seed_from_u64(1);
    let edge = [F::ZERO, F::ONE, F::NEG_ONE, F::TWO, F::from_u32(15 << 26), F::GENERATOR];
    let mut pairs: Vec<(F, F)> = edge.iter().flat_map(|a| edge.iter().map(|b| (*a, *b))).collect();
    pairs.extend((0..1001).map(|_| (F::from_u32(rng.random()), F::from_u32(rng.random()))));
    pairs.into_iter().unzip()
}

fn extension_inputs() -> (Vec<EF>, Vec<EF>) {
    let mut rng = StdRng::seed_from_u64(2);
    let mut random = || rng.random();
    let mut pairs: Vec<(EF, EF)> = (0..701).map(|_| (random(), random())).collect();
    let most = EF::from_basis_coefficients_fn(|_| F::NEG_ONE);
    pairs.extend([(EF::ZERO, EF::ONE), (most, most), (EF::NEG_ONE, most)]);
    pairs.into_iter().unzip()
}

#[test]
fn base_field_operations() {
    let (a, b) = base_inputs();
    let check = |body: &str, host: &dyn Fn(F, F) -> F| {
        let out: Vec<F> = map("#import field/baby_bear", body, &a, &b);
        for (i, o) in out.iter().enumerate() {
            assert_eq!(*o, host(a[i], b[i]), "{body} of {} and {}", a[i], b[i]);
        }
    };
    check("out[i] = f_add(a[i], b[i]);", &|x, y| x + y);
    check("out[i] = f_sub(a[i], b[i]);", &|x, y| x - y);
    check("out[i] = f_mul(a[i], b[i]);", &|x, y| x * y);
    check(
        "out[i] = f_add(f_add(f_neg(a[i]), f_halve(b[i])), f_add(f_div_2exp(a[i], 27u), f_div_2exp(b[i], 3u)));",
        &|x, y| -x + y.halve() + x.div_2exp_u64(27) + y.div_2exp_u64(3),
    );
    check("out[i] = f_add(f_inverse(a[i]), f_pow(b[i], 13u));", &|x, y| {
        x.try_inverse().unwrap_or_default() + y.exp_u64(13)
    });
    check("out[i] = f_from_u32(f_to_u32(a[i]) >> 3u);", &|x, _| F::from_u32(x.as_canonical_u32() >> 3));
}

#[test]
fn extension_field_operations() {
    let (a, b) = extension_inputs();
    let check = |body: &str, host: &dyn Fn(EF, EF) -> EF| {
        let out: Vec<EF> = map("#import field/ext", body, &a, &b);
        for (i, o) in out.iter().enumerate() {
            assert_eq!(*o, host(a[i], b[i]), "{body} of {} and {}", a[i], b[i]);
        }
    };
    check("out[i] = e_sub(e_add(e_double(a[i]), b[i]), e_neg(a[i]));", &|x, y| x.double() + y + x);
    check("out[i] = e_mul(a[i], b[i]);", &|x, y| x * y);
    check("out[i] = e_scale(a[i], b[i].z);", &|x, y| {
        let coefficient: &[F] = y.as_basis_coefficients_slice();
        x * coefficient[2]
    });
    check("out[i] = e_inverse(a[i]);", &|x, _| x.try_inverse().unwrap_or_default());
    check("out[i] = e_fold(a[i], b[i], E_ONE);", &|_, y| y);
}

#[test]
fn poseidon2_permutation() {
    let mut rng = StdRng::seed_from_u64(3);
    let mut states: Vec<[F; 16]> = (0..130).map(|_| std::array::from_fn(|_| F::from_u32(rng.random()))).collect();
    states.push([F::ZERO; 16]);
    states.push([F::NEG_ONE; 16]);
    let body = "
        if i % 4u == 0u {
            let s = poseidon2(Poseidon2State(a[i], a[i + 1u], a[i + 2u], a[i + 3u]));
            out[i] = s.a; out[i + 1u] = s.b; out[i + 2u] = s.c; out[i + 3u] = s.d;
        }";
    let words: Vec<EF> =
        states.as_flattened().chunks(4).map(|c| EF::from_basis_coefficients_slice(c).unwrap()).collect();
    let out: Vec<EF> = map("#import poseidon2", body, &words, &words[..1]);
    for (state, out) in states.iter().zip(out.chunks(4)) {
        let expected = poseidon2_perm().permute(*state);
        let found: Vec<F> = out.iter().flat_map(|e| e.as_basis_coefficients_slice().to_vec()).collect();
        assert_eq!(found, expected);
    }
}
