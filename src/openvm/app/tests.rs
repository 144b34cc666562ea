//! Lanes against each other: what several prepare is what one prepares, and what is made on the device is what upstream's chips make.

use openvm_sdk::{
    config::{AggregationSystemParams, AppConfig},
    keygen::AppProvingKey,
};
use openvm_sdk_config::SdkVmConfig;
use openvm_stark_backend::prover::{ColMajorMatrix, ProvingContext};
use openvm_wgpu_testing::params::SmallParams;

use super::*;
use crate::{
    openvm::{decode_elf, pipeline::Threads, WgpuSdk},
    WgpuDeviceBuilder,
};

const ELF: &[u8] = include_bytes!("../../../examples/guest/hash_chain.elf");

fn prover() -> AppProver {
    let params = SmallParams { max_constraint_degree: 3, ..SmallParams::new(4, 15) }.build();
    let mut config = SdkVmConfig { keccak: Some(Default::default()), ..SdkVmConfig::riscv32() };
    AsMut::<SystemConfig>::as_mut(&mut config).set_segmentation_max_memory(700 << 20);
    let key = AppProvingKey::keygen(AppConfig::new(config, params.clone())).unwrap();
    let vm_pk = key.app_vm_pk.clone();
    let sdk = WgpuSdk::builder().app_pk(key).agg_params(AggregationSystemParams::default()).build().unwrap();
    let exe = sdk.convert_to_exe(decode_elf(ELF).unwrap()).unwrap();
    let device = WgpuDeviceBuilder::new().build(params).unwrap();
    AppProver::on_device(device, SdkVmCpuBuilder, &vm_pk, exe).unwrap()
}

/// An AIR's part of a segment: its public values and its columns.
type AirTrace = (usize, Vec<F>, Vec<F>);

fn to_host(device: &WgpuDevice, context: &ProvingContext<WgpuBackend>) -> Vec<AirTrace> {
    let traces = context.per_trace.iter().map(|(air, context)| {
        let trace: ColMajorMatrix<F> = device.transport_matrix_from_device_to_host(&context.common_main);
        (*air, context.public_values.clone(), trace.values)
    });
    traces.collect()
}

#[test]
fn lanes_generate_the_same_traces() {
    let mut prover = prover();
    let mut input = StdIn::default();
    input.write(&70u64);
    input.write_bytes(b"a message");
    let input: Streams<F> = input.into();
    // where codewords are not kept, a segment of the same memory is longer
    let segments = loop {
        let memory = prover.options.segment_memory(700 << 20, 1);
        assert!(memory > 200 << 20, "one segment after all");
        let segments = prover.segments(input.clone()).unwrap();
        if segments.len() > 2 {
            break segments;
        }
        prover = prover.segment_memory(memory / 8 * 7);
    };
    let (device, pk) = (&prover.device, &prover.pk);
    let all: Vec<usize> = (0..segments.len()).collect();
    let traces = |lanes, on_device: bool| {
        let mut execution = Execution { lanes, missing: &all, ..prover.execution(&input, &segments) };
        assert_eq!(execution.airs.iter().filter(|air| air.kernel.is_some()).count(), 14);
        if !on_device {
            execution.airs.iter_mut().for_each(|air| air.kernel = None);
        }
        let work = |job: Job| Ok::<_, ProveError>((job.report.segment, to_host(device, &job.context)));
        let threads = Threads { lanes, workers: 1 };
        let (ends, traces) = pipeline(threads, |lane, queue| execution.prepare(lane, &queue), work).unwrap();
        assert!(traces.iter().map(|(segment, _)| *segment).eq(0..segments.len()));
        let mut ends = ends.into_iter().flatten();
        let public_values = ends.next().expect("a lane has done the last segment");
        assert!(ends.next().is_none());
        (traces, public_values.public_values)
    };
    let expected = traces(1, false);
    for (lanes, on_device) in [(1, true), (2, false), (segments.len(), true)] {
        let found = traces(lanes, on_device);
        assert_eq!(found.1, expected.1);
        for ((segment, found), (_, expected)) in found.0.iter().zip(&expected.0) {
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                let name = &pk.per_air[expected.0].air_name;
                assert!(found == expected, "segment {segment}, {lanes} lanes: {name}");
            }
        }
    }
}
