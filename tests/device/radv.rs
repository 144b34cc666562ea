//! AMD's compiler without an AMD card: RADV has a device without hardware for every family that `RADV_FORCE_FAMILY` names. It makes pipelines and says
//! what they take; nothing is executed.
//!
//! wgpu cannot open such a device, so this talks to Vulkan itself. The driver reads its variables when it is loaded, so each family is a process.

use std::{collections::BTreeMap, ffi::CStr, path::Path, process::Command};

use ash::{khr, vk};
use serde_json::{json, Value};

/// The file that names RADV for Vulkan's loader; without it nothing is compiled.
pub const VARIABLE: &str = "OPENVM_WGPU_RADV";

/// What a child is to compile: a folder.
pub const ROLE: &str = "OPENVM_WGPU_RADV_KERNELS";

/// GCN 4 and 5, RDNA 1, 2 and 3.
pub const FAMILIES: [&str; 5] = ["polaris10", "vega20", "navi10", "navi21", "gfx1100"];

/// What a compiled kernel takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// Vector registers a thread.
    pub registers: u64,
    /// Vector registers that went to memory.
    pub spilled: u64,
    /// Bytes of memory a wave, for what is indexed or spilled.
    pub scratch: u64,
    /// Bytes.
    pub code: u64,
    /// Waves that share a SIMD.
    pub waves: u64,
}

/// A kernel for the compiler.
pub struct Shader {
    pub name: String,
    pub words: Vec<u32>,
    pub bindings: usize,
    pub params: usize,
}

/// Writes the kernels where [`in_a_role`] finds them.
pub fn write(folder: &Path, shaders: &[Shader]) {
    std::fs::create_dir_all(folder).expect("a folder");
    let entry = |(i, shader): (usize, &Shader)| {
        let bytes: Vec<u8> = shader.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        std::fs::write(folder.join(format!("{i}.spv")), bytes).expect("written");
        json!([shader.name, shader.bindings, shader.params])
    };
    let list: Vec<Value> = shaders.iter().enumerate().map(entry).collect();
    std::fs::write(folder.join("list.json"), Value::from(list).to_string()).expect("written");
}

/// What each kernel of the folder takes on a family, in order.
pub fn compile(folder: &Path, driver: &str, family: &str) -> Result<Vec<Taken>, String> {
    let mut command = Command::new(std::env::current_exe().expect("the test binary is a file"));
    command.args(["--exact", "amds_compiler", "--nocapture", "--test-threads=1"]).env(ROLE, folder);
    command.env("RADV_FORCE_FAMILY", family).env("VK_DRIVER_FILES", driver).env("VK_ICD_FILENAMES", driver);
    let output = command.env("MESA_SHADER_CACHE_DISABLE", "1").output().expect("the child runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let rows: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once("taken ")?.1)).collect();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{family}: {} after {} kernels: {errors}", output.status, rows.len()));
    }
    let number = |row: &Value, i: usize| row[i].as_u64().expect("a number");
    let taken = |row: &str| {
        let row: Value = serde_json::from_str(row).expect("the child's row");
        let [registers, spilled, scratch, code, waves] = [0, 1, 2, 3, 4].map(|i| number(&row, i));
        Taken { registers, spilled, scratch, code, waves }
    };
    Ok(rows.into_iter().map(taken).collect())
}

/// A row for each kernel, in the columns of docs/hardware.md: figures of each family, in the order of [`FAMILIES`].
pub fn print_table(shaders: &[Shader], taken: &[Vec<Taken>]) {
    println!("| kernel | registers | waves | scratch | code, KB |\n| --- | --- | --- | --- | --- |");
    for (i, Shader { name, .. }) in shaders.iter().enumerate() {
        let column = |of: fn(&Taken) -> u64| {
            let figures: Vec<_> = taken.iter().map(|family| of(&family[i]).to_string()).collect();
            // the same on all of them is one figure
            let same = figures.iter().all(|figure| *figure == figures[0]);
            if same {
                figures[0].clone()
            } else {
                figures.join(" / ")
            }
        };
        let columns = [column(|t| t.registers), column(|t| t.waves), column(|t| t.scratch), column(|t| t.code / 1000)];
        println!("| `{name}` | {} |", columns.join(" | "));
    }
}

/// Mesa 22.3 spills one register of this for RDNA 3: the rounds of SHA-512 have eight words of 64 bits and a schedule of sixteen.
const ONE_REGISTER: &str = "openvm/sha2/sha512_hasher.wgsl";

/// Kernels that spill, each with the family. Mesa 22.3 spills in generated kernels for RDNA 3 that Mesa 25 does not spill in (docs/hardware.md).
pub fn spilled(shaders: &[Shader], taken: &[Vec<Taken>]) -> Vec<String> {
    let of_family = |(family, taken): (&&str, &Vec<Taken>)| {
        let spills = |(shader, taken): (&Shader, &Taken)| {
            let generated = !shader.name.ends_with(".wgsl") && !shader.name.contains(".wgsl ");
            let few = shader.name == ONE_REGISTER && taken.spilled <= 1;
            let known = *family == "gfx1100" && (generated || few);
            let text = || format!("{} on {family}: {} of {} registers", shader.name, taken.spilled, taken.registers);
            (taken.spilled > 0 && !known).then(text)
        };
        shaders.iter().zip(taken).filter_map(spills).collect::<Vec<_>>()
    };
    FAMILIES.iter().zip(taken).flat_map(of_family).collect()
}

/// The child: compiles all kernels of the folder.
pub fn in_a_role(folder: &Path) {
    let list = std::fs::read_to_string(folder.join("list.json")).expect("the parent's list");
    let list: Vec<(String, usize, usize)> = serde_json::from_str(&list).expect("the parent's list");
    // SAFETY: handles are used while what they belong to lives, which is until the process ends.
    unsafe {
        let card = Card::open();
        for (i, (name, bindings, params)) in list.iter().enumerate() {
            let bytes = std::fs::read(folder.join(format!("{i}.spv"))).expect("the parent's kernel");
            let words: Vec<u32> =
                bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().expect("four bytes"))).collect();
            let numbers = card.compile(&words, *bindings, *params).unwrap_or_else(|error| panic!("{name}: {error}"));
            println!("taken {}", json!(numbers));
        }
    }
}

/// A device without hardware.
struct Card {
    device: ash::Device,
    statistics: khr::pipeline_executable_properties::Device,
    _instance: ash::Instance,
    _entry: ash::Entry,
}

impl Card {
    unsafe fn open() -> Self {
        let entry = ash::Entry::load().expect("Vulkan's loader");
        let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
        let instance = entry
            .create_instance(&vk::InstanceCreateInfo::default().application_info(&application), None)
            .expect("an instance");
        let card = *instance.enumerate_physical_devices().expect("devices").first().expect("RADV has a device");
        let name = instance.get_physical_device_properties(card).device_name;
        println!("on {}", CStr::from_ptr(name.as_ptr()).to_string_lossy());
        let features = vk::PhysicalDeviceFeatures::default().shader_int64(true).robust_buffer_access(true);
        let mut features13 = vk::PhysicalDeviceVulkan13Features::default()
            .subgroup_size_control(true)
            .compute_full_subgroups(true)
            .shader_zero_initialize_workgroup_memory(true);
        let mut executable =
            vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default().pipeline_executable_info(true);
        let queue = [vk::DeviceQueueCreateInfo::default().queue_family_index(0).queue_priorities(&[1.0])];
        let extensions = [khr::pipeline_executable_properties::NAME.as_ptr()];
        let info = vk::DeviceCreateInfo::default()
            .queue_create_infos(&queue)
            .enabled_extension_names(&extensions)
            .enabled_features(&features)
            .push_next(&mut features13)
            .push_next(&mut executable);
        let device = instance.create_device(card, &info, None).expect("a device");
        let statistics = khr::pipeline_executable_properties::Device::new(&instance, &device);
        Self { device, statistics, _instance: instance, _entry: entry }
    }

    /// Registers, spilled ones, scratch, code, waves; subgroups of any size, as wgpu asks for.
    unsafe fn compile(&self, words: &[u32], bindings: usize, params: usize) -> Result<[u64; 5], vk::Result> {
        let device = &self.device;
        let module = device.create_shader_module(&vk::ShaderModuleCreateInfo::default().code(words), None)?;
        let binding = |number: usize| {
            vk::DescriptorSetLayoutBinding::default()
                .binding(number as u32)
                .descriptor_count(1)
                .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                .stage_flags(vk::ShaderStageFlags::COMPUTE)
        };
        let bindings: Vec<_> = (0..bindings).map(binding).collect();
        let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
        let set = [device.create_descriptor_set_layout(&info, None)?];
        let bytes = 4 * params as u32;
        let push = [vk::PushConstantRange::default().stage_flags(vk::ShaderStageFlags::COMPUTE).size(bytes)];
        let push = if bytes > 0 { &push[..] } else { &[] };
        let info = vk::PipelineLayoutCreateInfo::default().set_layouts(&set).push_constant_ranges(push);
        let layout = device.create_pipeline_layout(&info, None)?;
        let stage = vk::PipelineShaderStageCreateInfo::default()
            .stage(vk::ShaderStageFlags::COMPUTE)
            .module(module)
            .name(c"main")
            .flags(vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE);
        let info = vk::ComputePipelineCreateInfo::default()
            .flags(vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR)
            .stage(stage)
            .layout(layout);
        let made = device.create_compute_pipelines(vk::PipelineCache::null(), &[info], None);
        let pipeline = made.map_err(|(_, error)| error)?[0];
        let found = self.statistics(pipeline)?;
        device.destroy_pipeline(pipeline, None);
        device.destroy_shader_module(module, None);
        let names = ["VGPRs", "Spilled VGPRs", "Scratch size", "Code size", "Subgroups per SIMD"];
        Ok(names.map(|name| *found.get(name).unwrap_or_else(|| panic!("no `{name}` in {found:?}"))))
    }

    unsafe fn statistics(&self, pipeline: vk::Pipeline) -> Result<BTreeMap<String, u64>, vk::Result> {
        let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
        let (functions, device) = (self.statistics.fp(), self.device.handle());
        let get = functions.get_pipeline_executable_statistics_khr;
        let mut count = 0;
        get(device, &info, &mut count, std::ptr::null_mut()).result()?;
        let mut found = vec![vk::PipelineExecutableStatisticKHR::default(); count as usize];
        get(device, &info, &mut count, found.as_mut_ptr()).result()?;
        let name = |text: &[std::ffi::c_char]| CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned();
        Ok(found.iter().map(|statistic| (name(&statistic.name), statistic.value.u64)).collect())
    }
}
