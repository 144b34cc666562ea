//! SHA-256 (`wgsl/openvm/sha2/sha256.wgsl`, `wgsl/openvm/sha2/sha256_hasher.wgsl`).

use openvm_sha2_air::{Sha256Config, Sha2BlockHasherSubairConfig};
use openvm_sha2_circuit::{Sha2BlockHasherVmConfig, Sha2MainChip, Sha2MainChipConfig};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::layout;
use crate::{
    gpu::Grid,
    kernels::openvm::{trace_kernel, Periphery},
};

trace_kernel! {
    /// Instructions of SHA-256.
    SHA256 = Sha256("openvm/sha2/sha256.wgsl") {
        chip: Sha2MainChip<F, Sha256Config>,
        columns: Sha256Config::MAIN_CHIP_WIDTH,
        layout: layout::<Sha256Config>(),
        periphery: Periphery { air: "Sha2BlockHasherVmAir<Sha256Config>", kernel: &rounds::ROUNDS },
        adapter_columns: 0,
        record: |random| random.sha2::<Sha256Config>(),
    }
}

mod rounds {
    use super::*;

    trace_kernel! {
        /// Rounds of SHA-256.
        ROUNDS = Sha256Hasher("openvm/sha2/sha256_hasher.wgsl", workgroup = 256) {
            columns: Sha256Config::BLOCK_HASHER_WIDTH,
            layout: layout::<Sha256Config>(),
            rows: Sha256Config::ROWS_PER_BLOCK,
            grid: Grid::threads,
        }
    }
}
