//! `doctor`: adapters, drivers, what is missing and how to get it, and a proof that shows whether it works.

use std::{fmt::Write as _, time::Instant};

use clap::Args;
use openvm_stark_backend::{
    prover::{AirProvingContext, DeviceDataTransporter, ProvingContext},
    test_utils::test_system_params_small,
    StarkEngine,
};
use openvm_wgpu_backend::{
    adapters,
    report::{AdapterReport, Capabilities},
    BabyBearPoseidon2WgpuEngine,
};
use serde_json::{json, Value};

use crate::{
    failure::{Failure, Kind, Result},
    session::{caught, DeviceArgs, Speech},
    support::{
        record::bytes,
        workloads::{Workload, WorkloadKind},
    },
};

/// Options of `doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    #[command(flatten)]
    device: DeviceArgs,
    /// Look at the adapters alone, without a proof
    #[arg(long)]
    no_self_test: bool,
}

const INSTALL: &str = "install a driver: on Debian and Ubuntu `apt-get install mesa-vulkan-drivers libvulkan1` (software and most \
                       GPUs) or NVIDIA's own; on macOS Metal is part of the system; WGPU_BACKEND, where set, limits the search";

pub fn doctor(args: &DoctorArgs, speech: Speech) -> Result<()> {
    let reports = adapters()?;
    let mut text = String::new();
    reports.iter().for_each(|report| describe(report, &mut text));
    let found: Vec<Value> = reports.iter().map(to_json).collect();
    if !speech.json && !speech.quiet {
        print!("{text}");
    }
    if reports.iter().all(|report| report.missing.is_some()) {
        let what = if reports.is_empty() { "no GPU adapter found" } else { "the prover runs on none of the adapters" };
        return Err(Failure::new(Kind::Device, format!("{what}; {INSTALL}")));
    }
    let mut value = json!({ "ok": true, "command": "doctor", "adapters": found });
    let mut text = String::new();
    if !args.no_self_test {
        let test = self_test(args)?;
        value["self_test"] = json!({
            "adapter": test.adapter, "first_ms": test.first_ms, "ms": test.ms, "memory_budget": test.budget, "verified": true,
        });
        text = format!(
            "self-test on {}: proved and verified, {:.0} ms the first time, {:.0} ms the second; memory budget {}",
            test.adapter,
            test.first_ms,
            test.ms,
            if test.budget > 1 << 50 { "not limited (set --memory-budget)".to_owned() } else { bytes(test.budget) }
        );
    }
    speech.result(value, &text);
    Ok(())
}

struct SelfTest {
    adapter: String,
    /// With the compilation of kernels.
    first_ms: f64,
    ms: f64,
    budget: u64,
}

/// Proves a small statement twice, of two AIRs with interactions, and has upstream's verifier check both proofs.
fn self_test(args: &DoctorArgs) -> Result<SelfTest> {
    let device = args.device.builder().build(test_system_params_small(2, 8, 3))?;
    let budget = device.gpu().memory_budget();
    let adapter = device.adapter_info().to_string();
    let broken =
        "the self-test failed: the device or its driver computes something else than it should; try another --adapter";
    caught(Kind::Device, broken, || {
        let engine = BabyBearPoseidon2WgpuEngine::from_device(device);
        let workload = Workload { kind: WorkloadKind::Dummy, log_n: 6 };
        let (pk, vk) = engine.keygen(&workload.airs());
        let on_device = engine.device().transport_pk_to_device(&pk);
        let mut times = vec![];
        for seed in 0..2 {
            let start = Instant::now();
            let matrices = workload.traces(seed);
            let upload = |matrix| AirProvingContext::simple_no_pis(engine.device().transport_matrix_to_device(matrix));
            let context = ProvingContext::new(matrices.iter().map(upload).enumerate().collect());
            let proof = engine.prove(&on_device, context)?;
            engine.verify(&vk, &proof).map_err(|error| Failure::new(Kind::Device, format!("{broken}: {error}")))?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        Ok(SelfTest { adapter, first_ms: times[0], ms: times[1], budget })
    })
}

fn describe(report: &AdapterReport, text: &mut String) {
    let AdapterReport { summary, capabilities, missing, .. } = report;
    // writing to a string cannot fail
    let _ = writeln!(text, "#{} {} ({}, {})", summary.index, summary.name, summary.backend, summary.kind);
    let _ = writeln!(text, "  driver: {}", summary.driver);
    for (what, identifier) in [("PCI address", &summary.pci_address), ("UUID", &summary.uuid)] {
        let _ = identifier.as_ref().map_or(Ok(()), |identifier| writeln!(text, "  {what}: {identifier}"));
    }
    let _ = match missing {
        None => writeln!(text, "  the prover runs on it"),
        Some(missing) => writeln!(text, "  the prover does not run on it: {missing}"),
    };
    for (feature, present, without) in features(capabilities) {
        if !present {
            let _ = writeln!(text, "  without {feature}: {without}");
        }
    }
}

/// Each feature that the prover uses where it is there, and what it does without.
fn features(capabilities: &Capabilities) -> [(&'static str, bool, &'static str); 6] {
    [
        ("64-bit integers in shaders", capabilities.int64, "field products from 32-bit parts, about 2/3 the rate"),
        ("subgroup operations", capabilities.min_subgroup_size > 0, "reductions go through workgroup memory"),
        ("immediates", capabilities.immediates, "kernel parameters go through uniform buffers"),
        ("mappable storage buffers", capabilities.mappable_storage, "uploads go through staging buffers"),
        ("a pipeline cache", capabilities.pipeline_cache, "each process compiles its kernels again"),
        ("timestamps", capabilities.timestamps, "traces and reports have no device times"),
    ]
}

fn to_json(report: &AdapterReport) -> Value {
    let AdapterReport { summary, capabilities, missing, .. } = report;
    let features: serde_json::Map<String, Value> =
        features(capabilities).into_iter().map(|(name, present, _)| (name.to_owned(), present.into())).collect();
    json!({
        "index": summary.index, "name": summary.name, "backend": summary.backend, "driver": summary.driver, "kind": summary.kind,
        "pci_address": summary.pci_address, "uuid": summary.uuid, "missing": missing, "features": features,
        "max_buffer_bytes": capabilities.max_buffer_bytes, "unified_memory": capabilities.unified_memory,
    })
}
