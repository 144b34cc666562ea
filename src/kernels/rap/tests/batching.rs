//! The rounds of the batched sumcheck against one round of upstream's `prove_zerocheck_and_logup`, from the evaluations of each AIR on.

use super::*;

/// How many AIRs of which degree, over how many rounds.
#[derive(Clone, Copy)]
struct Shape {
    airs: usize,
    degree: usize,
    l_skip: usize,
    rounds: usize,
}

/// All that the rounds depend on, random.
struct Rounds {
    shape: Shape,
    /// `[n, shift]` of each AIR: variables, and by how much its rows are repeated.
    lifts: Vec<[u32; 2]>,
    xi: Vec<EF>,
    s_0: Vec<EF>,
    /// For each round and AIR the sums of numerator, denominator and zerocheck.
    sums: Vec<Vec<[Vec<EF>; 3]>>,
    /// mu, r_0, r_1, ..
    challenges: Vec<EF>,
}

impl Rounds {
    fn draw(shape: Shape, seed: u64) -> Self {
        let rng = &mut StdRng::seed_from_u64(seed);
        let Shape { airs, degree, l_skip, rounds } = shape;
        let n_max = rounds as u32;
        let lift = |a: usize, rng: &mut StdRng| match a {
            0 => [n_max, 0],
            _ => [rng.random_range(0..=n_max), rng.random_range(0..3)],
        };
        Self {
            lifts: (0..airs).map(|a| lift(a, rng)).collect(),
            xi: exts(rng, l_skip + rounds + 1),
            s_0: exts(rng, (degree + 1) * ((1 << l_skip) - 1) + 1),
            sums: (0..rounds)
                .map(|_| (0..airs).map(|_| std::array::from_fn(|_| exts(rng, degree))).collect())
                .collect(),
            challenges: exts(rng, rounds + 2),
            shape,
        }
    }

    /// For each round what the device observes, the evaluations of `s` at 1, 2, .., and the challenge that it samples.
    fn on_device(&self) -> Vec<EF> {
        let Shape { airs, degree, l_skip, rounds } = self.shape;
        with_challenges(&self.challenges, |gpu, rec, tape, at| {
            let upload = |values: &[EF], what| gpu.upload(values, what).unwrap();
            let (xi, s_0) = (upload(&self.xi, "xi"), upload(&self.s_0, "s_0"));
            let flat: Vec<EF> = self.sums.iter().flatten().flatten().flatten().copied().collect();
            let state = gpu.upload(&[F::ZERO; 16], "sponge").unwrap();
            let mut sponge = DeviceSponge { state, absorb_index: 0, sample_index: 0 };
            // behind the challenges, and where extension elements begin
            let first_word = 4 * self.challenges.len();
            let mut tape_at = first_word;
            let mu = powers(rec, &at[0], 3 * airs).unwrap();
            let lagrange = lagrange_basis(rec, &at[1], l_skip).unwrap();
            let begin = BeginRounds { l_skip, xi: &xi, lagrange: &lagrange, s_0: &s_0, r_0: &at[1], degree };
            let state = begin_rounds(rec, &begin).unwrap();
            for (round, r) in (1..=rounds).zip(&at[1..]) {
                let batch = BatchRound {
                    xi: &xi,
                    mu: &mu,
                    lifts: &Lifts::new(gpu, &self.lifts, degree).unwrap(),
                    sums: &upload(&flat, "sums"),
                    sums_offset: (round - 1) * 3 * airs * degree,
                    degree,
                    round,
                    xi_index: l_skip + round - 1,
                    r_before: (round > 1).then_some(r),
                    sponge: &sponge.in_kernel(tape, tape_at),
                };
                batch.record(rec, &state).unwrap();
                sponge.advance(4 * (degree + 1), 4);
                tape_at += 4 * (degree + 2);
            }
            rec.submit().unwrap();
            from_words::<EF>(&gpu.download(tape).unwrap()[first_word..tape_at])
        })
    }

    /// The same by upstream's formulas and sponge.
    fn on_host(&self) -> Vec<EF> {
        let Shape { degree, l_skip, .. } = self.shape;
        let [mu, r_0] = [self.challenges[0], self.challenges[1]];
        let omega_pows: Vec<F> = F::two_adic_generator(l_skip).powers().take(1 << l_skip).collect();
        let mut host = HostRounds {
            eq: eval_eq_uni(l_skip, self.xi[0], r_0),
            eq_sharp: eval_eq_sharp_uni(&omega_pows, &self.xi[..l_skip], r_0),
            tilde: vec![EF::ZERO; self.shape.airs],
            claim: horner_eval(&self.s_0, r_0),
        };
        let mut sponge = default_duplex_sponge();
        let mut written = vec![];
        for ((round, sums), r) in (1..).zip(&self.sums).zip(&self.challenges[2..]) {
            let xi = self.xi[l_skip + round - 1];
            let s = host.round(round, xi, mu, &self.lifts, sums);
            let evals: Vec<EF> = (1..=degree + 1).map(|x| s.eval_at_point(EF::from_usize(x))).collect();
            evals.iter().for_each(|value| FiatShamirTranscript::<SC>::observe_ext(&mut sponge, *value));
            written.extend(evals);
            written.push(FiatShamirTranscript::<SC>::sample_ext(&mut sponge));
            host.advance(xi, *r, &s);
        }
        written
    }
}

/// One round of upstream's `prove_zerocheck_and_logup`, from the evaluations of each AIR on.
struct HostRounds {
    eq: EF,
    eq_sharp: EF,
    tilde: Vec<EF>,
    claim: EF,
}

impl HostRounds {
    /// `sums[a] = [numerator, denominator, zerocheck]`; returns the coefficients of `s`.
    fn round(&mut self, round: usize, xi: EF, mu: EF, lifts: &[[u32; 2]], sums: &[[Vec<EF>; 3]]) -> UnivariatePoly<EF> {
        let airs = lifts.len();
        let mu: Vec<EF> = mu.powers().take(3 * airs).collect();
        let degree = sums[0][0].len();
        let mut head = vec![EF::ZERO; degree + 1];
        let mut tail = EF::ZERO;
        for (a, ([n, shift], [p, q, zerocheck])) in lifts.iter().zip(sums).enumerate() {
            let norm = F::from_usize(1 << shift).inverse();
            let at = |x: usize| {
                self.eq * mu[2 * airs + a] * zerocheck[x]
                    + self.eq_sharp * (mu[2 * a] * p[x] * norm + mu[2 * a + 1] * q[x])
            };
            if *n as usize >= round {
                (0..degree).for_each(|x| head[x + 1] += at(x));
            } else {
                if *n as usize + 1 == round {
                    self.tilde[a] = at(0);
                }
                tail += self.tilde[a];
            }
        }
        head[0] = (self.claim - xi * head[1] - tail) * (EF::ONE - xi).inverse();
        let points: Vec<F> = (0..=degree).map(F::from_usize).collect();
        let mut coeffs = UnivariatePoly::lagrange_interpolate(&points, &head).into_coeffs();
        coeffs.push(EF::ZERO);
        for i in (0..=degree).rev() {
            coeffs[i + 1] = (xi.double() - EF::ONE) * coeffs[i] + (EF::ONE - xi) * coeffs[i + 1];
        }
        coeffs[0] *= EF::ONE - xi;
        coeffs[1] += tail;
        UnivariatePoly::new(coeffs)
    }

    fn advance(&mut self, xi: EF, r: EF, s: &UnivariatePoly<EF>) {
        let eq_r: EF = eval_eq_mle(&[xi], &[r]);
        self.eq *= eq_r;
        self.eq_sharp *= eq_r;
        self.tilde.iter_mut().for_each(|t| *t *= r);
        self.claim = s.eval_at_point(r);
    }
}

fn check(shape: Shape, seed: u64) {
    let rounds = Rounds::draw(shape, seed);
    let (found, expected) = (rounds.on_device(), rounds.on_host());
    assert_eq!(found.len(), expected.len());
    let length = rounds.shape.degree + 2;
    for (round, (found, expected)) in found.chunks(length).zip(expected.chunks(length)).enumerate() {
        assert_eq!(found, expected, "round {}", round + 1);
    }
}

#[test]
fn one_air_without_a_skip_domain() {
    check(Shape { airs: 1, degree: 1, l_skip: 0, rounds: 2 }, 6);
}

#[test]
fn airs_of_different_heights() {
    check(Shape { airs: 3, degree: 3, l_skip: 2, rounds: 4 }, 7);
}

/// More AIRs than the workgroup has threads.
#[test]
fn more_airs_than_threads() {
    check(Shape { airs: 130, degree: 4, l_skip: 4, rounds: 3 }, 8);
}

#[test]
fn a_high_degree() {
    check(Shape { airs: 5, degree: 7, l_skip: 3, rounds: 3 }, 9);
}
