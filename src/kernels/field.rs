//! Tests of the shared WGSL field and hash modules against p3.

use openvm_stark_backend::p3_symmetric::Permutation;
use openvm_stark_sdk::config::baby_bear_poseidon2::{poseidon2_perm, EF, F};
use p3_field::{BasedVectorSpace, Field, PrimeCharacteristicRing, PrimeField32};
use rand::{rngs::StdRng, Rng, SeedableRng};

use crate::{
    gpu::{element_type, testing, Element, GeneratedKernel, Grid, Kernel},
    kernel,
    kernels::poseidon2::round_constants,
};

kernel! {
    /// What [`map`] runs.
    struct Map("kernels::field" = MAP, workgroup = 64) generated(workgroup = 64) {
        buffers { read a: u32 as A, read b: u32 as B, write out: u32 as O, read round_constants: u32 as vec4<u32> }
        params { len }
    }
}

const MAP: &str = "
#interface
#generated
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.len {
        evaluate(id.x);
    }
}
";

/// Runs `body` (a WGSL statement list over `i`, `a[i]`, `b[i]`, `out[i]`) for each of the inputs.
fn map<A: Element, B: Element, O: Element>(imports: &str, body: &str, a: &[A], b: &[B]) -> Vec<O> {
    let gpu = testing::gpu();
    let [a_type, b_type, out_type] = [A::WORDS, B::WORDS, O::WORDS].map(element_type);
    let text = format!(
        "{imports}
         alias A = {a_type};
         alias B = {b_type};
         alias O = {out_type};
         fn evaluate(i: u32) {{
             {body}
         }}
        "
    );
    let kernel = gpu.compile_generated(&GeneratedKernel::new("field test".into(), Map::DECL, &text)).unwrap();
    let (len, out) = (a.len(), gpu.alloc::<O>(a.len(), "out").unwrap());
    let (a, b) = (gpu.upload(a, "a").unwrap(), gpu.upload(b, "b").unwrap());
    let constants = round_constants(&gpu).unwrap();
    let map = Map { a: &a.cast(), b: &b.cast(), out: &out.cast(), round_constants: &constants.cast(), len: len as u32 };
    let mut rec = gpu.recorder("test");
    rec.dispatch_generated(&kernel, &map, Grid::threads(len));
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
