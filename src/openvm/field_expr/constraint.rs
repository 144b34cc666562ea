//! Integers of a row that are multiples of the modulus, of which the trace has the quotients and the carries.

use openvm_circuit::primitives::bigint::check_carry_to_zero::get_carry_max_abs_and_bits;
use openvm_mod_circuit_builder::SymbolicExpr;

use super::limbs;

/// Bits of a limb.
pub(super) const LIMB_BITS: usize = 8;

/// The most that a limb of any sum may reach, so that sums with carries fit 32 bits.
const MOST: u128 = 1 << 29;

/// Where an integer's limbs are among those of a row.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub start: usize,
    pub len: usize,
}

/// An operation of integers.
enum LimbOp {
    Add(Slot, Slot),
    Sub(Slot, Slot),
    Mul(Slot, Slot),
    AddInt(Slot, i32),
    MulInt(Slot, i32),
}

/// Where the limbs of a row's integers are.
pub(super) struct Places<'a> {
    pub inputs: usize,
    /// Limbs of an input or a variable.
    pub bytes: usize,
    pub constants: &'a [Slot],
    /// Behind the constants.
    pub free: usize,
    /// The modulus.
    pub prime: &'a [i32],
    pub prime_words: &'a [u64],
}

/// An integer that is a multiple of the modulus.
pub(super) struct Constraint {
    /// With the place of each result, which is behind those of the operands.
    ops: Vec<(LimbOp, Slot)>,
    expr: Slot,
    /// Limbs of the quotient.
    pub quotient: usize,
    /// Limbs of the integer less the quotient times the modulus, each of which has a carry.
    pub carries: usize,
    /// What is added to carries before they are checked to be of so many bits.
    pub carry_offset: i32,
    pub carry_bits: usize,
    /// 1 / p modulo 2^64 to the power of as many words as the quotient needs.
    inverse: Vec<u64>,
}

/// Memory for a constraint of a row.
#[derive(Default)]
pub(super) struct Rest {
    words: Vec<u64>,
    quotient_words: Vec<u64>,
    minus_quotient: Vec<i32>,
    limbs: Vec<i32>,
}

impl Constraint {
    /// The constraint whose columns are so many limbs of the quotient and so many carries; nothing if sums of it are too large.
    pub(super) fn new(
        expr: &SymbolicExpr,
        flags: &[bool],
        places: &Places<'_>,
        (quotient, carries): (usize, usize),
    ) -> Option<Self> {
        let (len, most) = places.shape(expr)?;
        let product = quotient.checked_sub(1)? + places.prime.len();
        if carries != len.max(product) {
            return None;
        }
        // upstream's bound of the difference
        let most = bounded(most + 256 * 255 * quotient.min(places.prime.len()) as u128)?;
        let overflow_bits = most.next_power_of_two().trailing_zeros() as usize;
        let (carry_offset, carry_bits) = get_carry_max_abs_and_bits(overflow_bits, LIMB_BITS);
        let (mut ops, mut free) = (vec![], places.free);
        let expr = places.emit(expr, flags, &mut ops, &mut free)?;
        let words = (LIMB_BITS * quotient + 1).div_ceil(64);
        let inverse = limbs::inverse(places.prime_words, words);
        Some(Self { ops, expr, quotient, carries, carry_offset: carry_offset as i32, carry_bits, inverse })
    }

    /// Limbs of a row that it needs.
    pub(super) fn end(&self) -> usize {
        self.ops.iter().map(|(_, slot)| slot.start + slot.len).max().unwrap_or(0)
    }

    /// Computes the quotient and the carries; false if the integer is no multiple of the modulus.
    pub(super) fn solve(
        &self,
        row: &mut [i32],
        prime: &[i32],
        (quotient, carries): (&mut [i32], &mut [i32]),
        rest: &mut Rest,
    ) -> bool {
        for (op, to) in &self.ops {
            op.run(row, *to);
        }
        let expr = &row[self.expr.start..self.expr.start + self.expr.len];
        // a division without a rest needs the lowest words only
        rest.words.resize(self.inverse.len(), 0);
        rest.quotient_words.resize(self.inverse.len(), 0);
        limbs::low_words(expr, &mut rest.words);
        limbs::low_product(&rest.words, &self.inverse, &mut rest.quotient_words);
        if !limbs::signed_limbs(&mut rest.quotient_words, quotient) {
            return false;
        }
        rest.minus_quotient.clear();
        rest.minus_quotient.extend(quotient.iter().map(|limb| -limb));
        rest.limbs.clear();
        rest.limbs.extend_from_slice(expr);
        rest.limbs.resize(self.carries, 0);
        limbs::add_product(&mut rest.limbs, &rest.minus_quotient, prime);
        limbs::carries_of_zero(&rest.limbs, carries)
    }
}

impl LimbOp {
    fn run(&self, row: &mut [i32], to: Slot) {
        let (row, result) = row.split_at_mut(to.start);
        let result = &mut result[..to.len];
        let of = |slot: Slot| &row[slot.start..slot.start + slot.len];
        match *self {
            Self::Add(a, b) => {
                copy(result, of(a));
                result.iter_mut().zip(of(b)).for_each(|(sum, limb)| *sum += limb);
            }
            Self::Sub(a, b) => {
                copy(result, of(a));
                result.iter_mut().zip(of(b)).for_each(|(sum, limb)| *sum -= limb);
            }
            Self::Mul(a, b) => {
                result.fill(0);
                limbs::add_product(result, of(a), of(b));
            }
            Self::AddInt(a, integer) => {
                copy(result, of(a));
                result[0] += integer;
            }
            Self::MulInt(a, integer) => {
                result.iter_mut().zip(of(a)).for_each(|(product, limb)| *product = limb * integer);
            }
        }
    }
}

fn copy(to: &mut [i32], from: &[i32]) {
    let (start, rest) = to.split_at_mut(from.len());
    start.copy_from_slice(from);
    rest.fill(0);
}

impl Places<'_> {
    /// Limbs of an integer, and the most that one of them can be, as upstream's `OverflowInt` has both.
    fn shape(&self, expr: &SymbolicExpr) -> Option<(usize, u128)> {
        let (len, most) = match expr {
            SymbolicExpr::Input(_) | SymbolicExpr::Var(_) => (self.bytes, 255),
            SymbolicExpr::Const(index, ..) => (self.constants.get(*index)?.len, 255),
            SymbolicExpr::Add(a, b) | SymbolicExpr::Sub(a, b) => {
                let ((a, most_a), (b, most_b)) = (self.shape(a)?, self.shape(b)?);
                (a.max(b), most_a + most_b)
            }
            SymbolicExpr::Mul(a, b) => {
                let ((a, most_a), (b, most_b)) = (self.shape(a)?, self.shape(b)?);
                ((a + b).checked_sub(1)?, most_a * most_b * a.min(b) as u128)
            }
            SymbolicExpr::IntAdd(a, integer) => {
                let (len, most) = self.shape(a)?;
                (len, most + integer.unsigned_abs() as u128)
            }
            SymbolicExpr::IntMul(a, integer) => {
                let (len, most) = self.shape(a)?;
                (len, most.checked_mul(integer.unsigned_abs() as u128)?)
            }
            SymbolicExpr::Select(_, a, b) => {
                let ((a, most_a), (b, most_b)) = (self.shape(a)?, self.shape(b)?);
                (Some(a).filter(|_| a == b)?, most_a.max(most_b))
            }
            SymbolicExpr::Div(..) => return None,
        };
        Some((len, bounded(most)?))
    }

    /// Adds what computes `expr`; the place of its result.
    fn emit(
        &self,
        expr: &SymbolicExpr,
        flags: &[bool],
        ops: &mut Vec<(LimbOp, Slot)>,
        free: &mut usize,
    ) -> Option<Slot> {
        let mut of = |expr: &SymbolicExpr| self.emit(expr, flags, ops, free);
        let op = match expr {
            SymbolicExpr::Input(input) => return Some(self.number(*input)),
            SymbolicExpr::Var(var) => return Some(self.number(self.inputs + var)),
            SymbolicExpr::Const(index, ..) => return self.constants.get(*index).copied(),
            SymbolicExpr::Select(flag, set, unset) => return of(if *flags.get(*flag)? { set } else { unset }),
            SymbolicExpr::Add(a, b) => LimbOp::Add(of(a)?, of(b)?),
            SymbolicExpr::Sub(a, b) => LimbOp::Sub(of(a)?, of(b)?),
            SymbolicExpr::Mul(a, b) => LimbOp::Mul(of(a)?, of(b)?),
            SymbolicExpr::IntAdd(a, integer) => LimbOp::AddInt(of(a)?, i32::try_from(*integer).ok()?),
            SymbolicExpr::IntMul(a, integer) => LimbOp::MulInt(of(a)?, i32::try_from(*integer).ok()?),
            SymbolicExpr::Div(..) => return None,
        };
        let len = match op {
            LimbOp::Add(a, b) | LimbOp::Sub(a, b) => a.len.max(b.len),
            LimbOp::Mul(a, b) => a.len + b.len - 1,
            LimbOp::AddInt(a, _) | LimbOp::MulInt(a, _) => a.len,
        };
        let to = Slot { start: *free, len };
        *free += len;
        ops.push((op, to));
        Some(to)
    }

    fn number(&self, index: usize) -> Slot {
        Slot { start: index * self.bytes, len: self.bytes }
    }
}

fn bounded(most: u128) -> Option<u128> {
    (most <= MOST).then_some(most)
}
