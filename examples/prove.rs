//! An AIR, its keys, a proof on the GPU, and upstream's verifier: `cargo run --release --example prove`.

use openvm_stark_backend::p3_air::{Air, AirBuilder, BaseAir, BaseAirWithPublicValues};
use openvm_stark_backend::prover::{AirProvingContext, ColMajorMatrix, DeviceDataTransporter, ProvingContext};
use openvm_stark_backend::{p3_field::PrimeCharacteristicRing, p3_matrix::Matrix, PartitionedBaseAir, StarkEngine};
use openvm_stark_sdk::config::{app_params_with_100_bits_security, baby_bear_poseidon2::F};
use openvm_wgpu_backend::{BabyBearPoseidon2WgpuEngine, WgpuDeviceBuilder};
use std::{error::Error, iter::successors, sync::Arc};

/// Fibonacci's numbers in two columns: the first row is `(0, 1)`, and a row `(a, b)` is followed by `(b, a + b)`.
struct Fibonacci;
impl<T> PartitionedBaseAir<T> for Fibonacci {}
impl<T> BaseAirWithPublicValues<T> for Fibonacci {}
impl<T> BaseAir<T> for Fibonacci {
    fn width(&self) -> usize {
        2
    }
}
impl<AB: AirBuilder> Air<AB> for Fibonacci {
    fn eval(&self, builder: &mut AB) {
        let main = builder.main();
        let [row, next] = [0, 1].map(|i| main.row_slice(i).expect("a window has two rows").to_vec());
        builder.when_first_row().assert_zero(row[0].clone());
        builder.when_first_row().assert_one(row[1].clone());
        builder.when_transition().assert_eq(next[0].clone(), row[1].clone());
        builder.when_transition().assert_eq(next[1].clone(), row[0].clone() + row[1].clone());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let device = WgpuDeviceBuilder::new().build(app_params_with_100_bits_security(16))?; // for at most 2^16 rows
    let engine = BabyBearPoseidon2WgpuEngine::from_device(device);
    let (pk, vk) = engine.keygen(&[Arc::new(Fibonacci)]);
    let (a, b): (Vec<F>, Vec<F>) = successors(Some((F::ZERO, F::ONE)), |&(a, b)| Some((b, a + b))).take(65_536).unzip();
    let trace = engine.device().transport_matrix_to_device(&ColMajorMatrix::new([a, b].concat(), 2));
    let context = ProvingContext::new(vec![(0, AirProvingContext::simple_no_pis(trace))]);
    let proof = engine.prove(&engine.device().transport_pk_to_device(&pk), context)?;
    println!("{} proved 2^16 rows", engine.device().adapter_info().name);
    Ok(engine.verify(&vk, &proof)?)
}
