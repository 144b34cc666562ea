//! What the driver says of an adapter and wgpu does not pass on: its identifier and its memory.

/// What is known beside wgpu's own information; `None` where the driver cannot be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DriverInfo {
    /// The device's identifier, which no two cards of a host share: hexadecimal digits in groups of 8, 4, 4, 4, 12.
    pub uuid: Option<String>,
    /// What this process can have of the largest heap of the device's own memory, bytes, beside what others use of it now.
    pub memory: Option<u64>,
}

/// Asks the driver, where it is Vulkan's.
#[cfg(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(super) fn ask(adapter: &wgpu::Adapter) -> DriverInfo {
    use ash::vk;

    // SAFETY: the handles are not used beyond this function, nor destroyed here.
    let Some(vulkan) = (unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }) else { return DriverInfo::default() };
    let (instance, device) = (vulkan.shared_instance(), vulkan.raw_physical_device());
    let version = instance.instance_api_version().min(vulkan.physical_device_capabilities().properties().api_version);
    if version < vk::API_VERSION_1_1 {
        return DriverInfo::default();
    }
    let instance = instance.raw_instance();
    let mut id = vk::PhysicalDeviceIDProperties::default();
    let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut id);
    // SAFETY: the physical device is of this instance, whose version has the call, and the chain is of that version.
    unsafe { instance.get_physical_device_properties2(device, &mut properties) };
    // SAFETY: as above.
    let extensions = unsafe { instance.enumerate_device_extension_properties(device) }.unwrap_or_default();
    let has_budget = extensions.iter().any(|e| e.extension_name_as_c_str() == Ok(ash::ext::memory_budget::NAME));
    let mut budget = vk::PhysicalDeviceMemoryBudgetPropertiesEXT::default();
    let mut memory = vk::PhysicalDeviceMemoryProperties2::default();
    if has_budget {
        memory = memory.push_next(&mut budget);
    }
    // SAFETY: as above; the budget is in the chain only where the device knows it.
    unsafe { instance.get_physical_device_memory_properties2(device, &mut memory) };
    let heaps = memory.memory_properties;
    let own = heaps.memory_heaps[..heaps.memory_heap_count as usize].iter().enumerate();
    let largest =
        own.filter(|(_, heap)| heap.flags.contains(vk::MemoryHeapFlags::DEVICE_LOCAL)).max_by_key(|(_, h)| h.size);
    DriverInfo {
        uuid: (id.device_uuid != [0; 16]).then(|| uuid_text(id.device_uuid)),
        memory: largest.map(|(i, heap)| match budget.heap_budget[i] {
            0 => heap.size,
            bytes => bytes.min(heap.size),
        }),
    }
}

/// Metal and Direct3D are not asked.
#[cfg(not(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub(super) fn ask(_adapter: &wgpu::Adapter) -> DriverInfo {
    DriverInfo::default()
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
