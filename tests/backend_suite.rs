//! Upstream's suite for engines, on the device.

use openvm_stark_sdk::config::baby_bear_poseidon2::DuplexSponge;
use openvm_wgpu_backend::BabyBearPoseidon2WgpuEngine;

type Engine = BabyBearPoseidon2WgpuEngine<DuplexSponge>;

openvm_backend_tests::backend_test_suite!(Engine);
