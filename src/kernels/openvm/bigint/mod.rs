//! Operations on 256-bit integers in memory (`wgsl/openvm/bigint`): the cores of RV32IM's chips with 32 bytes, behind adapters whose
//! registers are pointers.

pub(super) mod base_alu;
pub(super) mod branch_equal;
pub(super) mod branch_less_than;
pub(super) mod less_than;
pub(super) mod mul;
pub(super) mod shift;

use openvm_rv32_adapters::{Rv32VecHeapAdapterRecord, Rv32VecHeapBranchAdapterRecord};

/// Bytes of an integer.
const LIMBS: usize = 32;
/// Words of an integer.
const WORDS: usize = LIMBS / 4;
/// Columns of the adapter of operations, and of that of branches.
const COLUMNS: usize = 130;
const BRANCH_COLUMNS: usize = 66;

type Adapter = Rv32VecHeapAdapterRecord<2, WORDS, WORDS, 4, 4>;
type BranchAdapter = Rv32VecHeapBranchAdapterRecord<2, WORDS, 4>;
