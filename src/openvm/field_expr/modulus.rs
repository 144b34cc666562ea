//! Arithmetic modulo a number that is known when the machine is built, in Montgomery's form.

use crypto_bigint::{modular::montgomery_reduction, Limb, NonZero, Uint};

/// An odd number of at most 64 `L` bits; R is 2^(64 L).
pub(super) struct Modulus<const L: usize> {
    p: Uint<L>,
    /// -1 / p mod 2^64.
    negative_inverse: Limb,
    /// R^2 mod p.
    r_squared: Uint<L>,
}

impl<const L: usize> Modulus<L> {
    /// The modulus with these bytes, the lowest first; nothing if it is even, 1, or too large.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        let p = number(bytes)?;
        if p.as_words()[0].is_multiple_of(2) || p == Uint::ONE {
            return None;
        }
        let divisor: NonZero<Uint<L>> = Option::from(NonZero::new(p))?;
        // R - 1 mod p, which is one less than R mod p
        let r = Uint::MAX.rem(&divisor).add_mod(&Uint::ONE, &p);
        let r_squared = (0..64 * L).fold(r, |power, _| power.add_mod(&power, &p));
        let inverse = p.inv_mod2k(64).as_limbs()[0];
        Some(Self { p, negative_inverse: Limb::ZERO.wrapping_sub(inverse), r_squared })
    }

    /// Whether `x` is less than the modulus.
    pub(super) fn has(&self, x: &Uint<L>) -> bool {
        *x < self.p
    }

    /// x R mod p, for any x below R.
    pub(super) fn enter(&self, x: &Uint<L>) -> Uint<L> {
        self.mul(x, &self.r_squared)
    }

    /// x / R mod p.
    pub(super) fn leave(&self, x: &Uint<L>) -> Uint<L> {
        montgomery_reduction(&(*x, Uint::ZERO), &self.p, self.negative_inverse)
    }

    pub(super) fn add(&self, a: &Uint<L>, b: &Uint<L>) -> Uint<L> {
        a.add_mod(b, &self.p)
    }

    pub(super) fn sub(&self, a: &Uint<L>, b: &Uint<L>) -> Uint<L> {
        a.sub_mod(b, &self.p)
    }

    /// a b / R mod p, where one of both is below p.
    pub(super) fn mul(&self, a: &Uint<L>, b: &Uint<L>) -> Uint<L> {
        montgomery_reduction(&a.mul_wide(b), &self.p, self.negative_inverse)
    }

    /// Replaces all by their inverses, in Montgomery's form both, with a single inversion.
    ///
    /// # Panics
    ///
    /// If one has no inverse, as upstream.
    pub(super) fn invert_all(&self, values: &mut [Uint<L>]) {
        let Some(first) = values.first() else { return };
        let mut products = vec![*first];
        for value in &values[1..] {
            products.push(self.mul(&products[products.len() - 1], value));
        }
        let all = self.leave(&products[products.len() - 1]);
        let (inverse, exists) = all.inv_odd_mod(&self.p);
        assert!(bool::from(exists), "a division by what has no inverse");
        let mut inverse = self.enter(&inverse);
        for i in (1..values.len()).rev() {
            let next = self.mul(&inverse, &values[i]);
            values[i] = self.mul(&inverse, &products[i - 1]);
            inverse = next;
        }
        values[0] = inverse;
    }
}

/// The number with these bytes, the lowest first; nothing if it is too large.
pub(super) fn number<const L: usize>(bytes: &[u8]) -> Option<Uint<L>> {
    let mut words = [0; L];
    for (i, byte) in bytes.iter().enumerate().filter(|(_, byte)| **byte != 0) {
        *words.get_mut(i / 8)? |= u64::from(*byte) << (8 * (i % 8));
    }
    Some(Uint::from_words(words))
}
