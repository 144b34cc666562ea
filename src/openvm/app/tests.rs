//! Lanes against each other: what several prepare is what one prepares, and what is made on the device is what upstream's chips make.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Condvar, Mutex, OnceLock},
    thread::{self, ThreadId},
    time::Duration,
};

use openvm_sdk::{
    config::{AggregationSystemParams, AppConfig},
    keygen::AppProvingKey,
};
use openvm_sdk_config::SdkVmConfig;
use openvm_stark_backend::prover::{ColMajorMatrix, ProvingContext};
use openvm_wgpu_testing::params::SmallParams;

use super::*;
use crate::{
    fleet::Cancellation,
    openvm::{
        decode_elf,
        lanes::{Job, Lanes},
        metered::Metered,
        WgpuSdk,
    },
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

fn job(lanes: &Lanes, segment: usize) -> Job {
    lanes.prepare(segment, &Cancellation::default()).unwrap_or_else(|failure| panic!("{:#}", failure.into_report()))
}

/// Metering that stops at each segment finds what upstream's finds at once.
fn segments_are_upstreams(prover: &AppProver, input: &Streams<F>, segments: &Metered) {
    let memory = prover.options.segment_memory(700 << 20, 1);
    let metering = prover.vm.build_metered_ctx(&prover.exe).with_max_memory(memory);
    let interpreter = prover.vm.metered_interpreter(&prover.exe).unwrap();
    let (expected, _) = interpreter.execute_metered(input.clone(), metering).unwrap();
    let values = |segment: &Segment| (segment.instret_start, segment.num_insns, segment.trace_heights.clone());
    assert!(segments.all().iter().map(|segment| values(segment)).eq(expected.iter().map(values)));
}

/// What the guest reads.
pub(super) fn input() -> StdIn {
    let mut input = StdIn::default();
    input.write(&70u64);
    input.write_bytes(b"a message");
    input
}

/// A prover that has three segments to prove or more.
pub(super) fn prover_of_segments() -> AppProver {
    let mut prover = prover();
    // where codewords are not kept, a segment of the same memory is longer
    while prover.meter(input()).unwrap().len() < 3 {
        let memory = prover.options.segment_memory(700 << 20, 1);
        assert!(memory > 200 << 20, "one segment after all");
        prover = prover.segment_memory(memory / 8 * 7);
    }
    prover
}

/// Somebody asks to stop when every segment has begun, and the first of them is about to be proved.
#[derive(Default)]
struct StopsBehindTheFirst {
    segments: OnceLock<usize>,
    /// The threads that have begun a segment, and whether one of them has had its turn.
    state: Mutex<(HashSet<ThreadId>, bool)>,
    begun: Condvar,
}

impl KeptProofs for StopsBehindTheFirst {
    fn begin(&self, segments: &[SegmentPlace]) {
        self.segments.set(segments.len()).unwrap();
    }

    fn stops(&self) -> bool {
        let all = *self.segments.get().unwrap();
        let mut state = self.state.lock().unwrap();
        let here = thread::current().id();
        match (state.0.contains(&here), state.0.len() == all) {
            // its turn
            (true, _) => std::mem::replace(&mut state.1, true),
            // a lane, which somebody has asked for traces
            (false, true) => state.1,
            (false, false) => {
                state.0.insert(here);
                self.begun.notify_all();
                // a failure of this test is better than one that waits
                let waits = |state: &mut (HashSet<ThreadId>, bool)| state.0.len() < all;
                let (_state, waited) = self.begun.wait_timeout_while(state, Duration::from_secs(300), waits).unwrap();
                assert!(!waited.timed_out(), "not all segments begin at once");
                false
            }
        }
    }
}

#[test]
fn segments_that_wait_for_their_turn_are_not_proved_once_it_stops() {
    let prover = prover_of_segments();
    let segments = prover.meter(input()).unwrap().len();
    let mut prover = prover.proofs_at_once(1).traces_at_once(segments);
    let kept = StopsBehindTheFirst::default();
    let proved = Mutex::new(vec![]);
    let result = prover.prove_keeping(input(), &kept, |report| proved.lock().unwrap().push(report.segment));
    let error = result.map(|_| ()).unwrap_err();
    assert!(matches!(error, ProveError::Stopped { proved: 1, segments: of } if of == segments), "{error}: {proved:?}");
    assert_eq!(proved.into_inner().unwrap().len(), 1);
}

#[test]
fn lanes_generate_the_same_traces() {
    let (prover, input) = (prover_of_segments(), Streams::<F>::from(input()));
    let segments = Metered::default();
    prover.find_segments(input.clone(), |segment, _| segments.push(segment)).unwrap();
    segments_are_upstreams(&prover, &input, &segments);
    let count = segments.all().len();
    let OnDevice { device, pk, .. } = &prover.devices[0];
    let traces = |lanes, on_device: bool| {
        let mut execution = prover.execution(0, &input, &segments, &NothingKept);
        assert_eq!(execution.airs.iter().filter(|air| air.kernel.is_some()).count(), 17);
        if !on_device {
            execution.airs.iter_mut().for_each(|air| air.kernel = None);
        }
        let traces = Mutex::new(BTreeMap::new());
        let prepare = |job: Job| {
            let mut traces = traces.lock().unwrap();
            traces.insert(job.report.segment, (to_host(device, &job.context), job.public_values));
        };
        thread::scope(|scope| {
            let prepared = Lanes::default();
            // with its memory for records growing
            if lanes == 2 {
                prepared.start(&execution, true, scope);
            }
            prepared.grow(&execution, lanes, scope);
            // the last one first, so that a single lane has to begin anew
            let all: Vec<usize> = [count - 1].into_iter().chain(0..count - 1).collect();
            thread::scope(|scope| {
                for number in 0..lanes {
                    let own: Vec<usize> = all.iter().copied().skip(number).step_by(lanes).collect();
                    let (prepared, prepare) = (&prepared, &prepare);
                    scope.spawn(move || own.into_iter().for_each(|segment| prepare(job(prepared, segment))));
                }
            });
        });
        let mut traces = traces.into_inner().unwrap();
        assert!(traces.keys().copied().eq(0..count));
        let public_values = traces.get_mut(&(count - 1)).and_then(|(_, values)| values.take()).unwrap();
        assert!(traces.values().all(|(_, values)| values.is_none()));
        let traces: Vec<_> = traces.into_iter().map(|(segment, (traces, _))| (segment, traces)).collect();
        (traces, public_values.public_values)
    };
    let expected = traces(1, false);
    for (lanes, on_device) in [(1, true), (2, false), (count, true)] {
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
