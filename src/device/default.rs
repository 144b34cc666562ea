//! The process-wide default device: what engines prove on that are made from parameters alone.

use std::{
    cell::RefCell,
    sync::{LazyLock, Mutex, MutexGuard},
};

use openvm_stark_backend::SystemParams;

use super::{builder::WgpuDeviceBuilder, WgpuDevice};
use crate::{error::Result, gpu::Gpu};

/// The process-wide default: how it is opened, and what was.
#[derive(Default)]
struct DefaultDevice {
    builder: WgpuDeviceBuilder,
    gpu: Option<Gpu>,
}

impl DefaultDevice {
    fn lock() -> MutexGuard<'static, Self> {
        static DEFAULT: LazyLock<Mutex<DefaultDevice>> = LazyLock::new(Mutex::default);
        DEFAULT.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl WgpuDeviceBuilder {
    /// Opens the adapter and makes it the default of the process, with these options: what engines prove on that are made from parameters alone
    /// (`StarkEngine::new`), as OpenVM's SDK makes them. Engines that exist keep theirs.
    ///
    /// # Errors
    ///
    /// [`NoAdapter`](crate::Error::NoAdapter), [`UnsupportedAdapter`](crate::Error::UnsupportedAdapter).
    pub fn set_default(self) -> Result<Gpu> {
        let gpu = self.open()?;
        *DefaultDevice::lock() = DefaultDevice { builder: self, gpu: Some(gpu.clone()) };
        Ok(gpu)
    }
}

thread_local! {
    /// What takes the place of the default on this thread.
    static OF_THREAD: RefCell<Option<WgpuDevice>> = const { RefCell::new(None) };
}

impl WgpuDevice {
    /// Does `work`, in which this device is the default of this thread: upstream's provers of an aggregation make engines from parameters alone,
    /// and have no other way to choose among several devices.
    #[cfg(feature = "openvm")]
    pub(crate) fn as_default<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Restore(Option<WgpuDevice>);
        impl Drop for Restore {
            fn drop(&mut self) {
                OF_THREAD.set(self.0.take());
            }
        }
        let _before = Restore(OF_THREAD.replace(Some(self.clone())));
        work()
    }

    /// The default GPU: this thread's within [`WgpuDevice::as_default`], else the process's, opened at the first call and again when it was lost.
    pub(crate) fn shared(params: SystemParams) -> Result<Self> {
        if let Some(device) = OF_THREAD.with_borrow(Clone::clone) {
            return device.with_params(params);
        }
        let mut default = DefaultDevice::lock();
        // a fresh one would not do: the child of a fork has no rayon either
        default.gpu.as_ref().map_or(Ok(()), Gpu::check_process)?;
        let gpu = match default.gpu.take_if(|gpu| !gpu.is_lost()) {
            Some(gpu) => gpu,
            None => default.builder.open()?,
        };
        default.gpu = Some(gpu.clone());
        default.builder.clone().build_on(gpu, params)
    }
}

#[cfg(test)]
mod tests {
    use openvm_stark_backend::{prover::TraceCommitter, test_utils::default_test_params_small};
    use openvm_stark_sdk::config::baby_bear_poseidon2::{Digest, F};
    use p3_field::PrimeCharacteristicRing;

    use super::*;
    use crate::{device::VerifyPolicy, error::Error, gpu::DeviceMatrix};

    /// The root of a small commitment.
    fn commit(device: &WgpuDevice) -> Result<Digest> {
        let matrix = DeviceMatrix::upload(device.gpu(), &[F::TWO; 8], 8, 1, "test")?;
        Ok(device.commit(&[&matrix])?.0)
    }

    #[test]
    fn a_lost_default_device_is_replaced_and_one_can_be_set() {
        let shared = || WgpuDevice::shared(default_test_params_small()).unwrap();
        let (device, other) = (shared(), shared());
        let root = commit(&device).unwrap();
        other.gpu().lose();
        assert!(device.gpu().is_lost(), "engines share a device");
        assert!(matches!(commit(&device), Err(Error::DeviceLost(_))));
        let fresh = shared();
        assert!(!fresh.gpu().is_lost() && device.gpu().is_lost());
        assert_eq!(commit(&fresh).unwrap(), root);
        fresh.gpu().lose();
        assert_eq!(commit(&shared()).unwrap(), root);

        // in the same test, since tests run at the same time
        let gpu = WgpuDeviceBuilder::new().memory_budget(64 << 20).verify_before_return(true).set_default().unwrap();
        let device = WgpuDevice::shared(default_test_params_small()).unwrap();
        assert_eq!((gpu.memory_budget(), device.gpu().memory_budget()), (64 << 20, 64 << 20));
        assert_eq!(device.options().verify_before_return, VerifyPolicy::Always);
    }
}
