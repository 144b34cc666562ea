//! SHA-512 (`wgsl/openvm/sha2/sha512.wgsl`, `wgsl/openvm/sha2/sha512_hasher.wgsl`).

use openvm_sha2_air::{Sha2BlockHasherSubairConfig, Sha512Config};
use openvm_sha2_circuit::{Sha2BlockHasherVmConfig, Sha2MainChip, Sha2MainChipConfig};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::layout;
use crate::{
    gpu::Grid,
    kernels::openvm::{trace_kernel, Periphery},
};

trace_kernel! {
    /// Instructions of SHA-512.
    SHA512 = Sha512("openvm/sha2/sha512.wgsl") {
        chip: Sha2MainChip<F, Sha512Config>,
        columns: Sha512Config::MAIN_CHIP_WIDTH,
        layout: layout::<Sha512Config>(),
        periphery: Periphery { air: "Sha2BlockHasherVmAir<Sha512Config>", kernel: &rounds::ROUNDS },
        adapter_columns: 0,
        record: |random| random.sha2::<Sha512Config>(),
    }
}

mod rounds {
    use super::*;

    trace_kernel! {
        /// Rounds of SHA-512.
        ROUNDS = Sha512Hasher("openvm/sha2/sha512_hasher.wgsl", workgroup = 256) {
            columns: Sha512Config::BLOCK_HASHER_WIDTH,
            layout: layout::<Sha512Config>(),
            rows: Sha512Config::ROWS_PER_BLOCK,
            grid: Grid::threads,
        }
    }
}
