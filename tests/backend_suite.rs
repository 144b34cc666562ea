//! Upstream's suite for engines, on the device.

use openvm_wgpu_backend::BabyBearPoseidon2WgpuEngine;

type Engine = BabyBearPoseidon2WgpuEngine;

openvm_backend_tests::backend_test_suite!(Engine);
