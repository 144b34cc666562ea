//! Lists every GPU that wgpu finds, whether the prover runs on it, with which features and limits, and if it does not
//! run, why not.
//!
//!     cargo run --release --example adapters

use std::process::ExitCode;

use openvm_wgpu_backend::{
    adapters,
    report::{AdapterReport, Capabilities},
};

fn main() -> ExitCode {
    let reports = match adapters() {
        Ok(reports) => reports,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    reports.iter().for_each(print_report);
    let usable = reports.iter().filter(|report| report.missing.is_none()).count();
    println!("adapters found: {}; the prover runs on: {usable}", reports.len());
    if usable > 0 {
        return ExitCode::SUCCESS;
    }
    println!(
        "The prover needs a Vulkan or Metal driver. On Linux without a GPU, `scripts/with-gpu` installs Mesa's software driver.\n\
         The environment variable WGPU_BACKEND (vulkan, metal, dx12), where set, limits the search."
    );
    ExitCode::FAILURE
}

fn print_report(report: &AdapterReport) {
    let AdapterReport { summary, capabilities, missing, .. } = report;
    println!("#{} {}", summary.index, summary.name);
    for (what, identifier) in [("PCI address", &summary.pci_address), ("UUID", &summary.uuid)] {
        println!("  {what:<40} {}", identifier.as_deref().unwrap_or("unknown"));
    }
    println!("  {} ({}, driver {})", summary.kind, summary.backend, summary.driver);
    match missing {
        None => println!("  the prover runs on it"),
        Some(missing) => println!("  the prover does not run on it: {missing}"),
    }
    for (feature, present, without) in features(capabilities) {
        match present {
            true => println!("  {feature:<40} yes"),
            false => println!("  {feature:<40} no: {without}"),
        }
    }
    for (limit, value) in limits(capabilities) {
        println!("  {limit:<40} {value}");
    }
    println!();
}

/// Each feature that the prover uses where it is there, and what it does without.
fn features(capabilities: &Capabilities) -> [(&'static str, bool, &'static str); 6] {
    [
        ("64-bit integers in shaders", capabilities.int64, "field products from 32-bit parts, about 2/3 the rate"),
        ("subgroup operations", capabilities.min_subgroup_size > 0, "reductions go through workgroup memory"),
        ("immediates", capabilities.immediates, "kernel parameters go through uniform buffers"),
        ("mappable storage buffers", capabilities.mappable_storage, "uploads go through staging buffers"),
        ("pipeline cache", capabilities.pipeline_cache, "each process compiles its kernels again"),
        ("timestamps", capabilities.timestamps, "no device times"),
    ]
}

fn limits(capabilities: &Capabilities) -> [(&'static str, String); 5] {
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    [
        ("smallest subgroup", capabilities.min_subgroup_size.to_string()),
        ("largest buffer that a kernel can bind", mib(capabilities.max_buffer_bytes)),
        ("storage buffers a kernel can bind", capabilities.storage_buffers.to_string()),
        ("workgroup memory", format!("{} KiB", capabilities.workgroup_bytes >> 10)),
        ("memory shared with the host", if capabilities.unified_memory { "yes" } else { "no" }.to_string()),
    ]
}
