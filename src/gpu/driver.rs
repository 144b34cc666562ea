//! What the driver says of an adapter and wgpu does not pass on: its identifier and its memory.

/// What is known beside wgpu's own information; `None` where the driver cannot be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DriverInfo {
    /// The device's identifier, which no two cards of a host share: hexadecimal digits in groups of 8, 4, 4, 4, 12.
    pub uuid: Option<String>,
    /// What this process can have, bytes: by Vulkan of the largest heap of the device's own memory, beside what others use of it at the time,
    /// by Metal of the memory that is shared.
    pub memory: Option<u64>,
}

/// Asks the driver once, when the device is opened.
pub(super) fn ask(adapter: &wgpu::Adapter) -> DriverInfo {
    DriverInfo { uuid: platform::uuid(adapter), memory: platform::memory(adapter) }
}

/// [`DriverInfo::memory`] as it is now: what other programs have taken since the device was opened is missing.
pub(super) fn memory(adapter: &wgpu::Adapter) -> Option<u64> {
    platform::memory(adapter)
}

/// Vulkan's drivers.
#[cfg(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd"))]
mod platform {
    use ash::vk;
    use wgpu::hal::{api::Vulkan, vulkan};

    use super::uuid_text;

    /// The instance and the device, if both know what Vulkan 1.1 has.
    fn new_enough(adapter: &vulkan::Adapter) -> Option<(&ash::Instance, vk::PhysicalDevice)> {
        let instance = adapter.shared_instance();
        let version = adapter.physical_device_capabilities().properties().api_version;
        let device = adapter.raw_physical_device();
        (instance.instance_api_version().min(version) >= vk::API_VERSION_1_1).then(|| (instance.raw_instance(), device))
    }

    pub(super) fn uuid(adapter: &wgpu::Adapter) -> Option<String> {
        // SAFETY: the handles are not used beyond this function, nor destroyed here.
        let adapter = unsafe { adapter.as_hal::<Vulkan>() }?;
        let (instance, device) = new_enough(&adapter)?;
        let mut id = vk::PhysicalDeviceIDProperties::default();
        let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut id);
        // SAFETY: the physical device is of this instance, whose version has the call, and the chain is of that version.
        unsafe { instance.get_physical_device_properties2(device, &mut properties) };
        (id.device_uuid != [0; 16]).then(|| uuid_text(id.device_uuid))
    }

    pub(super) fn memory(adapter: &wgpu::Adapter) -> Option<u64> {
        // SAFETY: the handles are not used beyond this function, nor destroyed here.
        let adapter = unsafe { adapter.as_hal::<Vulkan>() }?;
        let (instance, device) = new_enough(&adapter)?;
        let has_budget = adapter.physical_device_capabilities().supports_extension(ash::ext::memory_budget::NAME);
        let mut budget = vk::PhysicalDeviceMemoryBudgetPropertiesEXT::default();
        let mut memory = vk::PhysicalDeviceMemoryProperties2::default();
        if has_budget {
            memory = memory.push_next(&mut budget);
        }
        // SAFETY: as above; the budget is in the chain only where the device knows it.
        unsafe { instance.get_physical_device_memory_properties2(device, &mut memory) };
        let heaps = memory.memory_properties;
        let own = heaps.memory_heaps[..heaps.memory_heap_count as usize].iter().enumerate();
        let own = own.filter(|(_, heap)| heap.flags.contains(vk::MemoryHeapFlags::DEVICE_LOCAL));
        own.max_by_key(|(_, heap)| heap.size).map(|(i, heap)| match budget.heap_budget[i] {
            0 => heap.size,
            bytes => bytes.min(heap.size),
        })
    }
}

/// Metal's.
#[cfg(target_vendor = "apple")]
mod platform {
    use objc2_metal::MTLDevice;
    use wgpu::hal::api::Metal;

    /// Metal has numbers that change from start to start.
    pub(super) fn uuid(_adapter: &wgpu::Adapter) -> Option<String> {
        None
    }

    /// What a process should use at most; other programs' use is not told.
    pub(super) fn memory(adapter: &wgpu::Adapter) -> Option<u64> {
        // SAFETY: the handle is not used beyond this function, nor released here.
        let adapter = unsafe { adapter.as_hal::<Metal>() }?;
        Some(adapter.raw_device().recommendedMaxWorkingSetSize()).filter(|bytes| *bytes > 0)
    }
}

/// Nobody to ask.
#[cfg(not(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple")))]
mod platform {
    pub(super) fn uuid(_adapter: &wgpu::Adapter) -> Option<String> {
        None
    }

    pub(super) fn memory(_adapter: &wgpu::Adapter) -> Option<u64> {
        None
    }
}

/// As `nvidia-smi -L` and `vulkaninfo` print it.
#[cfg_attr(not(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd")), allow(dead_code))]
fn uuid_text(bytes: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text += &format!("{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_printed_as_other_tools_do() {
        let bytes = std::array::from_fn(|i| (i * 17) as u8);
        assert_eq!(uuid_text(bytes), "00112233-4455-6677-8899-aabbccddeeff");
    }
}
