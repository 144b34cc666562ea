//! The devices of a proof: one, or several at once.

use clap::{builder::NonEmptyStringValueParser, Args};
use openvm_sdk::config::AppConfig;
use openvm_sdk_config::SdkVmConfig;
use openvm_wgpu_backend::{Gpu, WgpuDevice};

use crate::{
    failure::{Failure, Kind, Result},
    files,
    session::DeviceArgs,
    support::gpus,
    watch::Watch,
};

/// Which devices, and how much of each.
#[derive(Args, Clone, Debug, Default)]
pub struct DevicesArgs {
    #[command(flatten)]
    each: DeviceArgs,
    /// The GPUs to prove on at once, separated by commas: `all`, or numbers, PCI addresses, UUIDs or parts of names as `doctor` lists
    /// them; one that is named twice is opened twice
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    #[arg(conflicts_with = "adapter", help_heading = "Device")]
    gpus: Vec<String>,
}

/// Devices that are open. The first one is the default of all that is made afterwards.
pub struct Devices {
    pub first: Gpu,
    pub others: Vec<WgpuDevice>,
}

impl DevicesArgs {
    /// Opens them; `kernel_times`: to measure the kernels of each.
    pub fn open(&self, kernel_times: bool, watch: &Watch) -> Result<Devices> {
        if self.gpus.is_empty() {
            let first = watch.step("opening the device", || self.each.open(kernel_times))?;
            return Ok(Devices { first, others: vec![] });
        }
        let named = named(&self.gpus)?.into_iter();
        let mut named = named.map(|name| DeviceArgs { adapter: Some(name), ..self.each.clone() });
        let first = named.next().expect("there is one at least");
        let first = watch.step("opening the first device", || first.open(kernel_times))?;
        // whatever parameters: a proof's are those of its key
        let AppConfig::<SdkVmConfig> { system_params, .. } = files::default_config();
        let open = |args: DeviceArgs| args.builder().kernel_times(kernel_times).build(system_params.clone());
        let open = |args| Ok(watch.step("opening another device", || open(args))?);
        Ok(Devices { first, others: named.map(open).collect::<Result<_>>()? })
    }
}

/// The names by which the GPUs of a list are opened, one at least.
pub fn named(list: &[String]) -> Result<Vec<String>> {
    let names = gpus::names(list)?;
    match names.is_empty() {
        true => {
            Err(Failure::new(Kind::Device, "there is no GPU to prove on; `openvm-wgpu doctor` says what is missing"))
        }
        false => Ok(names),
    }
}

impl Devices {
    /// All of them, in the order of their numbers.
    pub fn gpus(&self) -> Vec<Gpu> {
        let others = self.others.iter().map(|device| device.gpu().clone());
        std::iter::once(self.first.clone()).chain(others).collect()
    }

    /// The one with the least memory, which every segment has to fit.
    pub fn smallest(&self) -> Gpu {
        self.gpus().into_iter().min_by_key(Gpu::memory_budget).expect("there is a first one")
    }
}
