//! `doctor`: adapters, drivers, what is missing and how to get it, and a proof that shows whether it works.

use std::{fmt::Write as _, fs, path::Path, time::Instant};

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
    session::{caught, print, DeviceArgs, Speech},
    support::{
        record::bytes,
        workloads::{Workload, WorkloadKind},
    },
};

/// Options of `doctor`.
#[derive(Args, Debug)]
#[command(after_help = crate::usage::DOCTOR)]
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
    let unseen = unseen_cards(Path::new("/sys/bus/pci/devices"), &reports);
    unseen.iter().for_each(|card| text += &format!("{}\n", card.line()));
    if !speech.json && !speech.quiet {
        print(text.as_bytes())?;
    }
    if reports.iter().all(|report| report.missing.is_some()) {
        let what = if reports.is_empty() { "no GPU adapter found" } else { "the prover runs on none of the adapters" };
        let advice = unseen.first().map_or_else(|| INSTALL.to_owned(), Card::line);
        return Err(Failure::new(Kind::Device, format!("{what}; {advice}")));
    }
    let mut value = json!({ "ok": true, "command": "doctor", "adapters": found });
    value["without_driver"] = unseen.iter().map(Card::to_json).collect();
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
    speech.result(value, &text)
}

/// A card on the PCI bus that no driver of the graphics interface shows.
#[derive(Debug, PartialEq)]
struct Card {
    address: String,
    vendor: &'static str,
    advice: &'static str,
}

/// Vendors by their PCI numbers, and how their cards come to be seen. Of others, cards draw the consoles of servers and virtual machines.
const VENDORS: [(&str, &str, &str); 3] = [
    (
        "0x10de",
        "NVIDIA",
        "install NVIDIA's driver with its Vulkan part (Ubuntu: libnvidia-gl of the driver's version); in a container, run it with \
         NVIDIA_DRIVER_CAPABILITIES=all",
    ),
    ("0x1002", "AMD", "install mesa-vulkan-drivers, and join the group render; in a container, run it with --device /dev/dri"),
    ("0x8086", "Intel", "install mesa-vulkan-drivers, and join the group render; in a container, run it with --device /dev/dri"),
];

impl Card {
    fn line(&self) -> String {
        let Self { address, vendor, advice } = self;
        format!("a GPU of {vendor} at {address} is there, but no driver shows it: {advice}")
    }

    fn to_json(&self) -> Value {
        json!({ "pci_address": self.address, "vendor": self.vendor, "advice": self.advice })
    }
}

/// Linux's list of cards, without those that are among the adapters. A driver may not say where its cards are: then all may be.
fn unseen_cards(devices: &Path, reports: &[AdapterReport]) -> Vec<Card> {
    let hardware: Vec<_> = reports.iter().filter(|report| report.summary.kind != "software").collect();
    let seen: Option<Vec<_>> = hardware.iter().map(|report| report.summary.pci_address.clone()).collect();
    let Some(seen) = seen else { return vec![] };
    let card = |folder: &Path| {
        let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
        // display controllers
        read("class").filter(|class| class.starts_with("0x03"))?;
        let number = read("vendor")?;
        let (_, vendor, advice) = VENDORS.iter().find(|(of, ..)| *of == number.trim())?;
        let address = folder.file_name()?.to_string_lossy().into_owned();
        Some(Card { address, vendor, advice })
    };
    let mut cards: Vec<_> =
        fs::read_dir(devices).into_iter().flatten().flatten().filter_map(|entry| card(&entry.path())).collect();
    cards.retain(|card| !seen.iter().any(|seen| seen.eq_ignore_ascii_case(&card.address)));
    cards.sort_by(|one, other| one.address.cmp(&other.address));
    cards
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_without_a_driver_are_named() {
        let devices = std::env::temp_dir().join(format!("openvm-wgpu-pci-{}", std::process::id()));
        // a card, a console of a server, a card's sound
        let found = [
            ("0000:41:00.0", "0x030200", "0x10de"),
            ("0000:02:00.0", "0x030000", "0x1a03"),
            ("0000:41:00.1", "0x040300", "0x10de"),
        ];
        for (address, class, vendor) in found {
            fs::create_dir_all(devices.join(address)).unwrap();
            fs::write(devices.join(address).join("class"), format!("{class}\n")).unwrap();
            fs::write(devices.join(address).join("vendor"), format!("{vendor}\n")).unwrap();
        }
        let cards = unseen_cards(&devices, &[]);
        assert_eq!(
            cards.iter().map(|card| (&card.address[..], card.vendor)).collect::<Vec<_>>(),
            [("0000:41:00.0", "NVIDIA")]
        );
        assert!(cards[0].line().contains("libnvidia-gl"), "{}", cards[0].line());
        assert_eq!(unseen_cards(&devices.join("none"), &[]), []);
        fs::remove_dir_all(&devices).unwrap();
    }
}
