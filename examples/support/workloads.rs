//! The four workloads that every OpenVM backend is compared on, from the same seeds everywhere.
//!
//! | workload | AIRs | rows |
//! | --- | --- | --- |
//! | `keccak n` | p3-keccak-air: 2,633 columns, 3,182 constraints of degree 3, no interactions | `2^n` permutations of 24 rows, rounded up to a power of two |
//! | `dummy n` | upstream's dummy interaction AIRs, a sender and a receiver of 8 columns | `2^n` each |
//! | `vm n` | [`VmAir`], 40 columns, and its [`RangeAir`] | `2^n`, and `2^16` for the range table |
//! | `many n` | 42 times [`ManyAir`], one of 300 columns, the others of 12 to 69 | `2^n`, the others `2` to `2^(n-1)` |

use std::sync::Arc;

use openvm_stark_backend::{
    interaction::InteractionBuilder, prover::ColMajorMatrix,
    test_utils::dummy_airs::interaction::dummy_interaction_air::DummyInteractionAir, AirRef, PartitionedBaseAir,
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config as SC, F};
use p3_air::{Air, AirBuilder, BaseAir, BaseAirWithPublicValues};
use p3_field::{Field, PrimeCharacteristicRing};
use p3_matrix::{dense::RowMajorMatrix, Matrix};
use rand::{rngs::StdRng, Rng, SeedableRng};
use rayon::prelude::*;

/// Spreads consecutive indices over the 64-bit numbers: 2^64 over the golden ratio.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Which AIRs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum WorkloadKind {
    /// 2^n keccak-f permutations
    Keccak,
    /// 2^n messages from one AIR to another
    Dummy,
    /// 2^n rows of a VM-like AIR with a 16-bit range table (needs a stacked height of 2^16)
    Vm,
    /// 42 AIRs, the highest of 2^n rows, most of them low: the shape of a recursion proof (n at least 2)
    Many,
}

/// Which AIRs, and how large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    pub kind: WorkloadKind,
    /// log2 of the permutations (`keccak`) or rows (`dummy`, `vm`; `many`: of the highest AIR).
    pub log_n: usize,
}

impl Workload {
    /// The name in records: `keccak`, `dummy`, `vm`, `many`.
    pub fn name(&self) -> &'static str {
        match self.kind {
            WorkloadKind::Keccak => "keccak",
            WorkloadKind::Dummy => "dummy",
            WorkloadKind::Vm => "vm",
            WorkloadKind::Many => "many",
        }
    }

    /// keccak-f permutations in one proof.
    pub fn permutations(&self) -> Option<u64> {
        (self.kind == WorkloadKind::Keccak).then(|| 1 << self.log_n)
    }

    /// The AIRs, in the order of the traces.
    pub fn airs(&self) -> Vec<AirRef<SC>> {
        match self.kind {
            WorkloadKind::Keccak => vec![Arc::new(KeccakAir(p3_keccak_air::KeccakAir {}))],
            WorkloadKind::Dummy => vec![
                Arc::new(DummyInteractionAir::new(DUMMY_FIELDS, true, 0)),
                Arc::new(DummyInteractionAir::new(DUMMY_FIELDS, false, 0)),
            ],
            WorkloadKind::Vm => vec![Arc::new(VmAir), Arc::new(RangeAir)],
            WorkloadKind::Many => many_airs().map(|air| Arc::new(air) as AirRef<SC>).collect(),
        }
    }

    /// Rows of the traces.
    pub fn heights(&self) -> Vec<usize> {
        match self.kind {
            WorkloadKind::Keccak => vec![(p3_keccak_air::NUM_ROUNDS << self.log_n).next_power_of_two()],
            WorkloadKind::Dummy => vec![1 << self.log_n; 2],
            WorkloadKind::Vm => vec![1 << self.log_n, 1 << 16],
            WorkloadKind::Many => (0..many_airs().count()).map(|air| 1 << many_log_height(air, self.log_n)).collect(),
        }
    }

    /// One trace per AIR. Each seed gives other random inputs.
    pub fn traces(&self, seed: u64) -> Vec<ColMajorMatrix<F>> {
        let row_major = match self.kind {
            WorkloadKind::Keccak => keccak_traces(self.log_n, seed),
            WorkloadKind::Dummy => dummy_traces(self.log_n, seed),
            WorkloadKind::Vm => vm_traces(self.log_n, seed),
            WorkloadKind::Many => many_traces(&self.heights(), seed),
        };
        // one after the other, each freed before the next is transposed
        row_major.into_iter().map(|trace| ColMajorMatrix::from_row_major(&trace)).collect()
    }
}

/// The seed of the `i`-th proof of a run, warm-up proofs counted.
pub fn seed_of_proof(seed: u64, i: usize) -> u64 {
    seed ^ (i as u64).wrapping_mul(GOLDEN)
}

/// The seed of the `i`-th independent piece of a trace.
fn seed_of_piece(seed: u64, i: usize) -> u64 {
    seed ^ (i as u64 + 1).wrapping_mul(GOLDEN)
}

/// A permutation of `0..n`, `n` a power of two: which row receives what row `i` sent.
fn partner(i: usize, n: usize) -> usize {
    (i.wrapping_mul(0x9E37_79B1) + 12345) & (n - 1)
}

// ---- keccak ----

/// p3-keccak-air, with the traits that OpenVM wants of an AIR.
pub struct KeccakAir(p3_keccak_air::KeccakAir);

impl<T> BaseAir<T> for KeccakAir {
    fn width(&self) -> usize {
        BaseAir::<T>::width(&self.0)
    }
}
impl<T: Field> BaseAirWithPublicValues<T> for KeccakAir {}
impl<T: Field> PartitionedBaseAir<T> for KeccakAir {}
impl<AB: AirBuilder> Air<AB> for KeccakAir {
    fn eval(&self, builder: &mut AB) {
        self.0.eval(builder);
    }
}

fn keccak_traces(log_n: usize, seed: u64) -> Vec<RowMajorMatrix<F>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let inputs = (0..1usize << log_n).map(|_| rng.random()).collect();
    vec![p3_keccak_air::generate_trace_rows::<F>(inputs, 0)]
}

// ---- dummy ----

/// Fields of a message; a row is a count and a message.
const DUMMY_FIELDS: usize = 7;

/// The sender's rows are random, with a count below 256; the receiver's are the same rows in
/// another order.
fn dummy_traces(log_n: usize, seed: u64) -> Vec<RowMajorMatrix<F>> {
    let n = 1usize << log_n;
    let width = DUMMY_FIELDS + 1;
    let mut sent = F::zero_vec(n * width);
    sent.par_chunks_mut(width).enumerate().for_each(|(i, row)| {
        let mut rng = StdRng::seed_from_u64(seed_of_piece(seed, i));
        row[0] = F::from_u32(rng.random::<u32>() & 0xff);
        row[1..].fill_with(|| F::from_u32(rng.random()));
    });
    let mut received = F::zero_vec(n * width);
    received.par_chunks_mut(width).enumerate().for_each(|(i, row)| {
        row.copy_from_slice(&sent[partner(i, n) * width..][..width]);
    });
    vec![RowMajorMatrix::new(sent, width), RowMajorMatrix::new(received, width)]
}

// ---- vm ----

/// The columns of [`VmAir`].
mod vm {
    /// Eight 16-bit values `x_k`, looked up in the range table.
    pub const X: usize = 0;
    /// `p_k = x_k * x_{k+1}`, indices modulo 8.
    pub const PRODUCT: usize = 8;
    /// `q_k = p_k * x_k + x_{k+2}`
    pub const QUADRATIC: usize = 16;
    /// Eight bits `b_k`.
    pub const BIT: usize = 24;
    /// Two received triples.
    pub const RECEIVED: usize = 32;
    /// Running sum of `b_0 * x_0` over the earlier rows.
    pub const SUM: usize = 38;
    /// `b_0 * b_1 * x_2`
    pub const GATED: usize = 39;
    pub const WIDTH: usize = 40;

    /// The columns of the `k`-th triple that a row sends: `(x_k, p_k, q_k)`.
    pub const fn sent(k: usize) -> [usize; 3] {
        [X + k, PRODUCT + k, QUADRATIC + k]
    }

    /// The columns of the `k`-th triple that a row receives.
    pub const fn received(k: usize) -> [usize; 3] {
        [RECEIVED + 3 * k, RECEIVED + 3 * k + 1, RECEIVED + 3 * k + 2]
    }
}

/// The bus of 16-bit values.
const RANGE_BUS: u16 = 0;
/// The bus of triples.
const TRIPLE_BUS: u16 = 1;

/// What a VM's chips look like to a prover: 40 columns, 27 constraints of degree up to 3, and 12
/// interactions a row (8 range checks, 2 triples sent, 2 received).
pub struct VmAir;

impl<T> BaseAir<T> for VmAir {
    fn width(&self) -> usize {
        vm::WIDTH
    }
}
impl<T: Field> BaseAirWithPublicValues<T> for VmAir {}
impl<T: Field> PartitionedBaseAir<T> for VmAir {}
impl<AB: AirBuilder + InteractionBuilder> Air<AB> for VmAir {
    fn eval(&self, builder: &mut AB) {
        let main = builder.main();
        let [local, next] =
            [0, 1].map(|row| -> Vec<AB::Var> { main.row_slice(row).expect("a window has two rows").to_vec() });
        let col = |index: usize| -> AB::Expr { local[index].into() };
        let x = |k: usize| col(vm::X + k % 8);
        for k in 0..8 {
            builder.assert_zero(col(vm::PRODUCT + k) - x(k) * x(k + 1));
            let quadratic = col(vm::PRODUCT + k) * x(k) + x(k + 2);
            builder.assert_zero(col(vm::QUADRATIC + k) - quadratic);
            builder.assert_bool(local[vm::BIT + k]);
        }
        builder.assert_zero(col(vm::GATED) - col(vm::BIT) * col(vm::BIT + 1) * x(2));
        builder.when_first_row().assert_zero(local[vm::SUM]);
        builder.when_transition().assert_zero(next[vm::SUM].into() - (col(vm::SUM) + col(vm::BIT) * x(0)));

        for k in 0..8 {
            builder.push_interaction(RANGE_BUS, [x(k)], AB::Expr::ONE, 1);
        }
        for k in 0..2 {
            builder.push_interaction(TRIPLE_BUS, vm::sent(k).map(col), AB::Expr::ONE, 1);
            builder.push_interaction(TRIPLE_BUS, vm::received(k).map(col), AB::Expr::NEG_ONE, 1);
        }
    }
}

/// The 16-bit values, in order, each with how often it is looked up.
pub struct RangeAir;

impl<T> BaseAir<T> for RangeAir {
    fn width(&self) -> usize {
        2
    }
}
impl<T: Field> BaseAirWithPublicValues<T> for RangeAir {}
impl<T: Field> PartitionedBaseAir<T> for RangeAir {}
impl<AB: AirBuilder + InteractionBuilder> Air<AB> for RangeAir {
    fn eval(&self, builder: &mut AB) {
        let main = builder.main();
        let (value, lookups, next_value) = {
            let local = main.row_slice(0).expect("a window has two rows");
            let next = main.row_slice(1).expect("a window has two rows");
            (local[0], local[1], next[0])
        };
        builder.when_first_row().assert_zero(value);
        builder.when_transition().assert_zero(next_value.into() - value.into() - AB::Expr::ONE);
        builder.push_interaction(RANGE_BUS, [value.into()], -lookups.into(), 0);
    }
}

/// Rows that share a generator, so that any number of threads draws the same trace.
const VM_ROWS_PER_PIECE: usize = 1 << 12;

fn vm_traces(log_n: usize, seed: u64) -> Vec<RowMajorMatrix<F>> {
    let n = 1usize << log_n;
    let mut trace = F::zero_vec(n * vm::WIDTH);
    let lookups = trace
        .par_chunks_mut(VM_ROWS_PER_PIECE * vm::WIDTH)
        .enumerate()
        .map(|(piece, rows)| draw_vm_rows(rows, seed_of_piece(seed, piece)))
        .reduce(
            || vec![0u32; 1 << 16],
            |mut total, counts| {
                total.iter_mut().zip(counts).for_each(|(t, c)| *t += c);
                total
            },
        );
    let mut sum = F::ZERO;
    for i in 0..n {
        let row = i * vm::WIDTH;
        trace[row + vm::SUM] = sum;
        sum += trace[row + vm::BIT] * trace[row + vm::X];
        let sender = partner(i, n) * vm::WIDTH;
        for k in 0..2 {
            for (to, from) in vm::received(k).into_iter().zip(vm::sent(k)) {
                trace[row + to] = trace[sender + from];
            }
        }
    }
    let range = (0..1u32 << 16).zip(lookups).flat_map(|(v, c)| [v, c].map(F::from_u32)).collect();
    vec![RowMajorMatrix::new(trace, vm::WIDTH), RowMajorMatrix::new(range, 2)]
}

/// Fills in what depends on a row alone; returns how often each 16-bit value occurs.
fn draw_vm_rows(rows: &mut [F], seed: u64) -> Vec<u32> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut counts = vec![0u32; 1 << 16];
    for row in rows.chunks_mut(vm::WIDTH) {
        for k in 0..8 {
            let value = rng.random::<u16>();
            counts[usize::from(value)] += 1;
            row[vm::X + k] = F::from_u16(value);
        }
        for k in 0..8 {
            row[vm::PRODUCT + k] = row[vm::X + k] * row[vm::X + (k + 1) % 8];
        }
        for k in 0..8 {
            row[vm::QUADRATIC + k] = row[vm::PRODUCT + k] * row[vm::X + k] + row[vm::X + (k + 2) % 8];
            row[vm::BIT + k] = F::from_bool(rng.random::<bool>());
        }
        row[vm::GATED] = row[vm::BIT] * row[vm::BIT + 1] * row[vm::X + 2];
    }
    counts
}

// ---- many ----

/// One of the 42 AIRs of `many`. Column 0 is zero and a factor of every constraint and every count, so any values satisfy it.
pub struct ManyAir {
    width: usize,
    constraints: usize,
    interactions: usize,
}

/// Buses of [`ManyAir`].
const MANY_BUSES: usize = 7;

impl<T> BaseAir<T> for ManyAir {
    fn width(&self) -> usize {
        self.width
    }
}
impl<T: Field> BaseAirWithPublicValues<T> for ManyAir {}
impl<T: Field> PartitionedBaseAir<T> for ManyAir {}
impl<AB: AirBuilder + InteractionBuilder> Air<AB> for ManyAir {
    fn eval(&self, builder: &mut AB) {
        let main = builder.main();
        let [local, next] =
            [0, 1].map(|row| -> Vec<AB::Var> { main.row_slice(row).expect("a window has two rows").to_vec() });
        // the columns behind column 0, in turn
        let free = |k: usize| 1 + k % (self.width - 1);
        for c in 0..self.constraints {
            let row = if c % 4 == 0 { &next } else { &local };
            let value: AB::Expr = local[free(c)].into() * row[free(3 * c + 1)].into() + AB::Expr::from_usize(c);
            builder.assert_zero(local[0].into() * value);
        }
        for i in 0..self.interactions {
            let message = (0..1 + i % 8).map(|j| -> AB::Expr { local[free(i + j)].into() });
            let count: AB::Expr = if i % 2 == 0 { local[0].into() } else { AB::Expr::NEG_ONE * local[0].into() };
            builder.push_interaction((i % MANY_BUSES) as u16, message.collect::<Vec<_>>(), count, 1);
        }
    }
}

/// The highest AIR, then the low ones.
fn many_airs() -> impl Iterator<Item = ManyAir> {
    let low =
        |i: usize| ManyAir { width: 12 + i * 17 % 58, constraints: 10 + i * 29 % 110, interactions: 2 + i * 13 % 40 };
    let highest = ManyAir { width: 300, constraints: 282, interactions: 2 };
    std::iter::once(highest).chain((0..41).map(low))
}

/// log2 of the height of the `air`-th AIR.
fn many_log_height(air: usize, log_n: usize) -> usize {
    match air {
        0 => log_n,
        low => 1 + (11 * (low - 1) + 3) % (log_n - 1),
    }
}

fn many_traces(heights: &[usize], seed: u64) -> Vec<RowMajorMatrix<F>> {
    let trace = |(i, air): (usize, ManyAir)| {
        let mut rng = StdRng::seed_from_u64(seed_of_piece(seed, i));
        let mut values = F::zero_vec(air.width * heights[i]);
        for row in values.chunks_mut(air.width) {
            row[1..].fill_with(|| F::from_u32(rng.random()));
        }
        RowMajorMatrix::new(values, air.width)
    };
    many_airs().enumerate().map(trace).collect()
}
