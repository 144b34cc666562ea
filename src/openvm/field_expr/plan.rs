//! What a chip's `FieldExpr` computes, as lists of operations: one for each set of flags, so that nothing is selected row by row.

use crypto_bigint::Uint;
use openvm_mod_circuit_builder::{FieldExpr, SymbolicExpr};

use super::{
    constraint::{Constraint, Places, Slot, LIMB_BITS},
    modulus::{number, Modulus},
};

/// An operation modulo the chip's modulus, whose operands are results of those before it.
#[derive(Clone, Copy)]
pub(super) enum ModOp<const L: usize> {
    /// Of the row, as it was read.
    Input(usize),
    /// In Montgomery's form.
    Constant(Uint<L>),
    Add(usize, usize),
    Sub(usize, usize),
    Mul(usize, usize),
    Div(usize, usize),
}

/// What rows with the same flags compute.
pub(super) struct Variant<const L: usize> {
    pub flags: Vec<bool>,
    pub ops: Vec<ModOp<L>>,
    /// The variables among the results.
    pub vars: Vec<usize>,
    pub constraints: Vec<Constraint>,
}

/// A chip's expression.
pub(super) struct Plan<const L: usize> {
    pub modulus: Modulus<L>,
    /// The modulus, limb by limb.
    pub prime: Vec<i32>,
    pub inputs: usize,
    pub vars: usize,
    opcodes: Vec<usize>,
    /// By opcode; others are as the last one.
    pub variants: Vec<Variant<L>>,
    /// A row's limbs: inputs, variables, constants, which are there already, and room for what is computed of them.
    pub row: Vec<i32>,
    constants: Vec<Slot>,
}

impl<const L: usize> Plan<L> {
    /// Bytes, which are limbs, of an input or a variable.
    pub(super) const BYTES: usize = 8 * L;

    /// Nothing for expressions that are not like those of upstream's chips.
    pub(super) fn new(expr: &FieldExpr, opcodes: &[usize], flag_of_opcode: &[usize]) -> Option<Self> {
        let builder = &expr.builder;
        let vars = builder.num_variables;
        let sizes =
            [builder.computes.len(), builder.constraints.len(), builder.q_limbs.len(), builder.carry_limbs.len()];
        let is_known = (builder.limb_bits, builder.num_limbs) == (LIMB_BITS, Self::BYTES) && sizes == [vars; 4];
        let prime = builder.prime.to_bytes_le();
        let modulus = Modulus::new(&prime).filter(|_| is_known)?;
        let prime = prime.into_iter().map(i32::from).collect();
        let (inputs, opcodes) = (builder.num_input, opcodes.to_vec());
        let row = vec![0; Self::BYTES * (inputs + vars)];
        let mut plan = Self { modulus, prime, inputs, vars, opcodes, variants: vec![], row, constants: vec![] };
        plan.place_constants(expr)?;
        let free = plan.row.len();
        // the last opcode has no flag
        let flags = flag_of_opcode.iter().map(|flag| Some(*flag)).chain([None]);
        for flag in flags.take(plan.opcodes.len()) {
            let mut flags = vec![false; builder.num_flags];
            if let Some(flag) = flag.filter(|_| expr.needs_setup()) {
                *flags.get_mut(flag)? = true;
            }
            let variant = plan.variant(expr, flags, free)?;
            let end = variant.constraints.iter().map(Constraint::end).max();
            plan.row.resize(plan.row.len().max(end?), 0);
            plan.variants.push(variant);
        }
        (plan.variants.len() == plan.opcodes.len()).then_some(plan)
    }

    /// The number of the variant of an opcode.
    pub(super) fn variant_of(&self, opcode: u8) -> usize {
        let place = self.opcodes.iter().position(|known| *known == usize::from(opcode));
        place.unwrap_or(self.variants.len() - 1)
    }

    fn place_constants(&mut self, expr: &FieldExpr) -> Option<()> {
        for (_, limbs) in &expr.builder.constants {
            self.constants.push(Slot { start: self.row.len(), len: limbs.len() });
            for limb in limbs {
                self.row.push(u8::try_from(*limb).ok()?.into());
            }
        }
        Some(())
    }

    fn variant(&self, expr: &FieldExpr, flags: Vec<bool>, free: usize) -> Option<Variant<L>> {
        let builder = &expr.builder;
        let mut variant = Variant { flags, ops: vec![], vars: vec![], constraints: vec![] };
        variant.ops.extend((0..self.inputs).map(ModOp::Input));
        for compute in &builder.computes {
            let var = self.emit(compute, &mut variant)?;
            variant.vars.push(var);
        }
        let prime = builder.prime.to_bytes_le();
        let prime = number::<L>(&prime)?;
        let (bytes, prime_words) = (Self::BYTES, prime.as_words());
        let places =
            Places { inputs: self.inputs, bytes, constants: &self.constants, free, prime: &self.prime, prime_words };
        for (i, constraint) in builder.constraints.iter().enumerate() {
            let sizes = (builder.q_limbs[i], builder.carry_limbs[i]);
            let constraint = Constraint::new(constraint, &variant.flags, &places, sizes)?;
            let is_checked = constraint.carry_bits.max(LIMB_BITS + 1) <= expr.range_bus.range_max_bits;
            variant.constraints.push(Some(constraint).filter(|_| is_checked)?);
        }
        Some(variant)
    }

    /// Adds what computes `expr`; the number of its result.
    fn emit(&self, expr: &SymbolicExpr, variant: &mut Variant<L>) -> Option<usize> {
        let op = match expr {
            SymbolicExpr::Input(input) => return (*input < self.inputs).then_some(*input),
            SymbolicExpr::Var(var) => return variant.vars.get(*var).copied(),
            SymbolicExpr::Select(flag, set, unset) => {
                let chosen = if *variant.flags.get(*flag)? { set } else { unset };
                return self.emit(chosen, variant);
            }
            SymbolicExpr::Const(_, value, _) => self.constant(number(&value.to_bytes_le())?)?,
            SymbolicExpr::Add(a, b) => ModOp::Add(self.emit(a, variant)?, self.emit(b, variant)?),
            SymbolicExpr::Sub(a, b) => ModOp::Sub(self.emit(a, variant)?, self.emit(b, variant)?),
            SymbolicExpr::Mul(a, b) => ModOp::Mul(self.emit(a, variant)?, self.emit(b, variant)?),
            SymbolicExpr::Div(a, b) => ModOp::Div(self.emit(a, variant)?, self.emit(b, variant)?),
            SymbolicExpr::IntAdd(a, integer) => ModOp::Add(self.emit(a, variant)?, self.integer(*integer, variant)?),
            SymbolicExpr::IntMul(a, integer) => ModOp::Mul(self.emit(a, variant)?, self.integer(*integer, variant)?),
        };
        variant.ops.push(op);
        Some(variant.ops.len() - 1)
    }

    fn integer(&self, integer: isize, variant: &mut Variant<L>) -> Option<usize> {
        let constant = self.constant(Uint::from_u64(integer.unsigned_abs() as u64))?;
        variant.ops.push(constant);
        let place = variant.ops.len() - 1;
        if integer >= 0 {
            return Some(place);
        }
        variant.ops.extend([ModOp::Constant(Uint::ZERO), ModOp::Sub(place + 1, place)]);
        Some(place + 2)
    }

    /// Nothing for what is not below the modulus, which upstream takes for an error.
    fn constant(&self, value: Uint<L>) -> Option<ModOp<L>> {
        self.modulus.has(&value).then(|| ModOp::Constant(self.modulus.enter(&value)))
    }
}
