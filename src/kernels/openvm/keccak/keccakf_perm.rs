//! Keccak-f's permutations (`wgsl/openvm/keccak/keccakf_perm.wgsl`).

use openvm_keccak256_circuit::keccakf_op::KeccakfRecord;

use crate::{
    gpu::Grid,
    kernels::openvm::{trace_kernel, Layout},
};

/// Rows that a workgroup fills.
const ROWS: usize = 96;

trace_kernel! {
    /// Keccak-f's permutations.
    KECCAKF_PERM = KeccakfPerm("openvm/keccak/keccakf_perm.wgsl", workgroup = 192) {
        columns: 2634,
        layout: Layout::Shared { bytes: size_of::<KeccakfRecord>() },
        rows: 24,
        grid: |rows: usize| Grid::workgroups(rows.div_ceil(ROWS)),
    }
}
