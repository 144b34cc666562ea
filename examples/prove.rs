//! A proof from scratch: an AIR, its trace, keys, a proof on the GPU, and upstream's verifier.
//!
//!     cargo run --release --example prove

use std::sync::Arc;

use openvm_stark_backend::{
    prover::{AirProvingContext, ColMajorMatrix, DeviceDataTransporter, ProvingContext},
    AirRef, PartitionedBaseAir, StarkEngine,
};
use openvm_stark_sdk::config::{
    app_params_with_100_bits_security,
    baby_bear_poseidon2::{BabyBearPoseidon2Config as SC, F},
};
use openvm_wgpu_backend::{BabyBearPoseidon2WgpuEngine, WgpuDeviceBuilder};
use p3_air::{Air, AirBuilder, AirBuilderWithPublicValues, BaseAir, BaseAirWithPublicValues};
use p3_field::PrimeCharacteristicRing;
use p3_matrix::{dense::RowMajorMatrix, Matrix};

/// Two columns: a row `(a, b)` is followed by `(b, a + b)`. Public: the first row, and the last row's `b`.
struct Fibonacci;

impl<T> PartitionedBaseAir<T> for Fibonacci {}
impl<T> BaseAir<T> for Fibonacci {
    fn width(&self) -> usize {
        2
    }
}
impl<T> BaseAirWithPublicValues<T> for Fibonacci {
    fn num_public_values(&self) -> usize {
        3
    }
}
impl<AB: AirBuilderWithPublicValues> Air<AB> for Fibonacci {
    fn eval(&self, builder: &mut AB) {
        let main = builder.main();
        let [first, second, last] = [0, 1, 2].map(|i| builder.public_values()[i]);
        let [row, next] = [0, 1].map(|i| main.row_slice(i).expect("a window has two rows").to_vec());
        builder.when_first_row().assert_eq(row[0].clone(), first);
        builder.when_first_row().assert_eq(row[1].clone(), second);
        builder.when_transition().assert_eq(next[0].clone(), row[1].clone());
        builder.when_transition().assert_eq(next[1].clone(), row[0].clone() + row[1].clone());
        builder.when_last_row().assert_eq(row[1].clone(), last);
    }
}

/// The trace, and its public values.
fn fibonacci(rows: usize) -> (ColMajorMatrix<F>, Vec<F>) {
    let values: Vec<F> =
        std::iter::successors(Some([F::ZERO, F::ONE]), |[a, b]| Some([*b, *a + *b])).take(rows).flatten().collect();
    let public = vec![values[0], values[1], values[2 * rows - 1]];
    (ColMajorMatrix::from_row_major(&RowMajorMatrix::new(values, 2)), public)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let params = app_params_with_100_bits_security(16); // traces of at most 2^16 rows
    let device = WgpuDeviceBuilder::new().build(params)?; // the best GPU, or an error that says what is missing
    let engine = BabyBearPoseidon2WgpuEngine::from_device(device);

    let airs: Vec<AirRef<SC>> = vec![Arc::new(Fibonacci)];
    let (pk, vk) = engine.keygen(&airs);
    let device_pk = engine.device().transport_pk_to_device(&pk);

    let (trace, public_values) = fibonacci(1 << 16);
    let trace = engine.device().transport_matrix_to_device(&trace);
    let context = ProvingContext::new(vec![(0, AirProvingContext::simple(trace, public_values.clone()))]);
    let proof = engine.prove(&device_pk, context)?;

    engine.verify(&vk, &proof)?;
    println!("{} proved, and verified: row 2^16 ends with {}", engine.device().adapter_info().name, public_values[2]);
    Ok(())
}
