//! Every kernel, in every variant that proofs use, through naga to MSL, SPIR-V and HLSL with the options that wgpu-hal uses, and its
//! interface against what the host declares.
//!
//! The kernels are those that a device has compiled after proofs that together take every road, and all that can be generated from
//! keccak's constraints; each is linked for devices with and without 64-bit integers, subgroups and immediates. A kernel file that no
//! proof uses fails the test.

mod device;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use metal_on_cpu::emit::{self, Interface, Slots};
use naga::{
    back::{hlsl::ShaderModel, pipeline_constants::process_overrides, spv, PipelineConstants},
    proc::{BoundsCheckPolicies, BoundsCheckPolicy},
    valid::{Capabilities as Naga, ModuleInfo, ValidationFlags, Validator},
    AddressSpace, Barrier, Expression, Function, Module, ResourceBinding, Scalar, ShaderStage, StorageAccess,
    TypeInner,
};
use openvm_wgpu_backend::internals::gpu::{required, testing::gpu, Access, Capabilities};
use rayon::prelude::*;

use device::broadcasts::{broadcasts, waits};
use device::hlsl;
use device::kernels::{generated_sources, sources_after_proofs, Source};
use openvm_wgpu_testing::workloads::WorkloadKind;

/// Metal's argument table has 31 buffers; wgpu-hal keeps two for vertex data.
const METAL_BUFFERS: usize = 29;
/// The oldest Metal with 64-bit integers on all Apple GPUs that wgpu runs on, and the newest one that wgpu-hal asks for.
const METAL_VERSIONS: [(u8, u8); 2] = [(2, 4), (4, 0)];
/// Vulkan 1.1 and 1.3.
const SPIRV_VERSIONS: [(u8, u8); 2] = [(1, 3), (1, 6)];
/// Direct3D 12 with the old compiler, and the oldest and newest models of the one that knows 64-bit integers and subgroups.
const SHADER_MODELS: [ShaderModel; 3] = [ShaderModel::V5_1, ShaderModel::V6_0, ShaderModel::V6_7];
/// Bytes of parameters that every device with immediates takes.
const IMMEDIATE_BYTES: u32 = 128;

/// Threads of a subgroup on Apple GPUs.
const APPLE_SUBGROUP: u32 = 32;

/// What is wrong with a kernel.
type Check<T = ()> = Result<T, String>;

fn ensure(holds: bool, problem: impl FnOnce() -> String) -> Check {
    if holds {
        Ok(())
    } else {
        Err(problem())
    }
}

// ---- text for every device ----

/// Devices with and without what changes the text of kernels.
fn devices() -> Vec<Capabilities> {
    let device = |bits: u32| {
        let mut device = gpu().capabilities().clone();
        device.int64 = bits & 1 != 0;
        (device.min_subgroup_size, device.workgroup_threads) =
            if bits & 2 != 0 { (32, 1024) } else { (0, required::WORKGROUP_THREADS) };
        device.immediates = bits & 4 != 0;
        device
    };
    (0..8).map(device).collect()
}

/// A kernel linked for one device, after naga's front end.
struct Kernel<'a> {
    source: &'a Source,
    device: &'a Capabilities,
    module: Module,
    info: ModuleInfo,
}

/// The problems of a kernel on any device; devices that see the same text are one.
fn problems(source: &Source, devices: &[Capabilities]) -> Vec<String> {
    let mut texts = BTreeSet::new();
    let check = |device: &Capabilities| {
        let wgsl = device.link(&source.wgsl, &source.variant.flags, source.bindings.len())?;
        if !texts.insert(wgsl.clone()) {
            return Ok(());
        }
        let kernel = parse(source, device, &wgsl)?;
        kernel.check_interface()?;
        kernel.check_rules()?;
        kernel.check_translations()
    };
    let devices = devices.iter().filter(|device| source.is_for(device));
    let checked: Vec<_> = devices.clone().map(check).collect();
    let named = |(device, result): (&Capabilities, Check)| {
        let problem = result.err()?;
        Some(format!("{} {:?} on a device with {:?}: {problem}", source.name, source.variant.flags, device.flags()))
    };
    devices.zip(checked).filter_map(named).collect()
}

/// Parses and validates under the features that the device is opened with.
fn parse<'a>(source: &'a Source, device: &'a Capabilities, wgsl: &str) -> Check<Kernel<'a>> {
    let module = naga::front::wgsl::parse_str(wgsl).map_err(|error| error.emit_to_string(wgsl))?;
    let mut features = Naga::empty();
    features.set(Naga::SHADER_INT64, device.int64);
    features.set(Naga::SUBGROUP | Naga::SUBGROUP_BARRIER, device.min_subgroup_size > 0);
    features.set(Naga::IMMEDIATES, device.immediates);
    let info = Validator::new(ValidationFlags::all(), features)
        .validate(&module)
        .map_err(|error| error.emit_to_string(wgsl))?;
    Ok(Kernel { source, device, module, info })
}

// ---- the interface ----

impl Kernel<'_> {
    /// What naga reflects is what the host declares.
    fn check_interface(&self) -> Check {
        let source = self.source;
        let [entry] = &self.module.entry_points[..] else { return Err("not one entry point".into()) };
        ensure(entry.name == "main", || format!("entry point {}", entry.name))?;
        ensure(entry.workgroup_size == [source.workgroup, 1, 1], || {
            format!("workgroup of {:?}, {} declared", entry.workgroup_size, source.workgroup)
        })?;
        let bound = self.bound()?;
        ensure(bound == source.bindings, || format!("bindings {bound:?}, {:?} declared", source.bindings))?;
        for (_, variable) in self.module.global_variables.iter() {
            let ty = &self.module.types[variable.ty].inner;
            match variable.space {
                AddressSpace::Immediate => self.check_params(ty)?,
                AddressSpace::Uniform if !matches!(ty, TypeInner::Array { .. }) => {
                    self.check_params(ty)?;
                    let binding = ResourceBinding { group: 0, binding: source.bindings.len() as u32 };
                    let found = variable.binding;
                    ensure(found == Some(binding), || format!("parameters at {found:?}, not {binding:?}"))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Access of the bindings of group 0 in order, without the parameters.
    fn bound(&self) -> Check<Vec<Access>> {
        let mut bound = BTreeMap::new();
        for (_, variable) in self.module.global_variables.iter() {
            let is_array = matches!(self.module.types[variable.ty].inner, TypeInner::Array { .. });
            let access = match variable.space {
                AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => Access::ReadWrite,
                AddressSpace::Storage { .. } => Access::Read,
                AddressSpace::Uniform if is_array => Access::Constant,
                _ => continue,
            };
            let at = variable.binding.ok_or("not bound")?;
            bound.insert((at.group, at.binding), access);
        }
        let in_order = bound.keys().copied().eq((0..bound.len()).map(|i| (0, i as u32)));
        ensure(in_order, || format!("bindings {:?}", bound.keys()))?;
        Ok(bound.into_values().collect())
    }

    /// The parameter block is the host's words, in order and without padding.
    fn check_params(&self, ty: &TypeInner) -> Check {
        let TypeInner::Struct { members, span } = ty else { return Err("parameters are no struct".into()) };
        ensure(*span <= IMMEDIATE_BYTES, || format!("{span} bytes of parameters"))?;
        for (i, member) in members.iter().enumerate() {
            let is_word = self.module.types[member.ty].inner == TypeInner::Scalar(Scalar::U32);
            ensure(is_word && member.offset == 4 * i as u32, || {
                format!("parameter {:?} is not word {i}", member.name)
            })?;
        }
        let names: Vec<_> = members.iter().filter_map(|member| member.name.as_deref()).collect();
        let declared = self.source.params;
        ensure(names == declared, || format!("parameters {names:?}, {declared:?} declared"))
    }

    /// What holds for all kernels so that they run on every device, and that naga does not know.
    fn check_rules(&self) -> Check {
        let (source, mut bytes) = (self.source, 0);
        ensure(source.workgroup <= self.device.workgroup_threads, || format!("{} threads", source.workgroup))?;
        let bindings = source.bindings.len();
        ensure(bindings <= required::STORAGE_BUFFERS as usize, || format!("{bindings} bindings"))?;
        for (_, variable) in self.module.global_variables.iter().filter(|(_, v)| v.space == AddressSpace::WorkGroup) {
            bytes += self.module.types[variable.ty].inner.size(self.module.to_ctx());
        }
        ensure(bytes <= required::WORKGROUP_BYTES, || format!("{bytes} bytes of workgroup memory"))?;
        check_exchange(&self.module)?;
        let functions = self.module.functions.iter().map(|(_, function)| function);
        let mut functions = functions.chain(self.module.entry_points.iter().map(|entry| &entry.function));
        // pool buffers are longer than what they hold
        ensure(!functions.any(asks_for_length), || "relies on arrayLength".into())
    }
}

/// What Apple's compiler needs for barriers to hold: no broadcasts through plain memory (wgpu #4500, #3181), and more threads than a
/// subgroup has (MoltenVK #2711).
fn check_exchange(module: &Module) -> Check {
    let broadcasts = Vec::from_iter(broadcasts(module));
    ensure(broadcasts.is_empty(), || broadcasts.join(", "))?;
    let threads = module.entry_points[0].workgroup_size[0];
    ensure(threads > APPLE_SUBGROUP || !waits(module, Barrier::all()), || format!("barriers for {threads} threads"))
}

fn asks_for_length(function: &Function) -> bool {
    function.expressions.iter().any(|(_, expression)| matches!(expression, Expression::ArrayLength(_)))
}

// ---- the back ends, as wgpu-hal runs them ----

impl Kernel<'_> {
    /// The module with its constants fixed.
    fn with_overrides(&self) -> Check<(Cow<'_, Module>, Cow<'_, ModuleInfo>)> {
        let overrides = self.source.variant.overrides.iter();
        let constants: PipelineConstants = overrides.map(|(name, v)| (name.to_string(), f64::from(*v))).collect();
        let entry = Some((ShaderStage::Compute, "main"));
        process_overrides(&self.module, &self.info, entry, &constants).map_err(|error| format!("overrides: {error}"))
    }

    fn check_translations(&self) -> Check {
        let (module, info) = self.with_overrides()?;
        for checked in [false, true] {
            for version in METAL_VERSIONS {
                let text = self.to_msl((&module, &info), version, checked);
                check_metal_rules(&text.map_err(|error| format!("to MSL {version:?}: {error}"))?)?;
            }
            for version in SPIRV_VERSIONS {
                self.to_spirv((&module, &info), version, checked)
                    .map_err(|error| format!("to SPIR-V {version:?}: {error}"))?;
            }
            for model in SHADER_MODELS.into_iter().filter(|model| self.is_for(*model)) {
                let text = self.to_hlsl((&module, &info), model, checked);
                hlsl::check_rules(&text.map_err(|error| format!("to HLSL {model:?}: {error}"))?, model)?;
            }
        }
        Ok(())
    }

    fn to_msl(&self, module: (&Module, &ModuleInfo), version: (u8, u8), checked: bool) -> Check<String> {
        let writable: Vec<bool> = self.source.bindings.iter().map(|access| *access == Access::ReadWrite).collect();
        let interface = Interface {
            writable: &writable,
            has_params: !self.source.params.is_empty(),
            immediates: self.device.immediates,
        };
        let slots = Slots::of(&interface);
        ensure(slots.count() <= METAL_BUFFERS, || format!("slots {slots:?}"))?;
        emit::to_msl(module, &interface, version, checked).map(|(text, _)| text)
    }

    fn to_spirv(&self, (module, info): (&Module, &ModuleInfo), version: (u8, u8), checked: bool) -> Check<Vec<u32>> {
        use spv::ZeroInitializeWorkgroupMemoryMode::{None, Polyfill};
        let options = spv::Options {
            lang_version: version,
            capabilities: Some(self.spirv_capabilities()),
            bounds_check_policies: bounds_checks(checked),
            zero_initialize_workgroup_memory: if checked { Polyfill } else { None },
            force_loop_bounding: checked,
            emit_int_div_checks: checked,
            ..spv::Options::default()
        };
        let pipeline = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".into() };
        spv::write_vec(module, info, &options, Some(&pipeline)).map_err(|error| error.to_string())
    }

    /// Whether a device of a shader model can have the features of this one.
    fn is_for(&self, model: ShaderModel) -> bool {
        model >= ShaderModel::V6_0 || !(self.device.int64 || self.device.min_subgroup_size > 0)
    }

    fn to_hlsl(&self, module: (&Module, &ModuleInfo), model: ShaderModel, checked: bool) -> Check<String> {
        let params = (!self.source.params.is_empty()).then_some(self.device.immediates);
        hlsl::to_hlsl(module, &hlsl::options(&self.source.bindings, params, model, checked))
    }

    /// What the features of the device allow.
    fn spirv_capabilities(&self) -> naga::FastHashSet<spv::Capability> {
        use spv::Capability::*;
        let mut capabilities = vec![Shader, Matrix];
        if self.device.int64 {
            capabilities.push(Int64);
        }
        if self.device.min_subgroup_size > 0 {
            capabilities.extend([
                GroupNonUniform,
                GroupNonUniformVote,
                GroupNonUniformArithmetic,
                GroupNonUniformBallot,
                GroupNonUniformShuffle,
                GroupNonUniformShuffleRelative,
                GroupNonUniformQuad,
            ]);
        }
        capabilities.into_iter().collect()
    }
}

fn bounds_checks(checked: bool) -> BoundsCheckPolicies {
    let policy = if checked { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked };
    let binding_array = BoundsCheckPolicy::Unchecked;
    BoundsCheckPolicies { index: policy, buffer: policy, image_load: policy, binding_array }
}

/// What Apple's compiler rejects, or is known to get wrong (wgpu #10277): 64-bit division, remainder and subgroup operations.
fn check_metal_rules(text: &str) -> Check {
    for line in text.lines().filter(|line| line.contains("ulong")) {
        ensure(!line.contains(" / ") && !line.contains(" % "), || format!("64-bit division in MSL: {line}"))?;
        ensure(!line.contains("simd_"), || format!("64-bit subgroup operation in MSL: {line}"))?;
    }
    let references = text.lines().filter_map(|line| line.split_once("threadgroup ")?.1.split_once("& "));
    for (ty, name) in references {
        // Apple's compiler can lose a barrier around other variables that are passed by reference (wgpu #4500, #3181)
        ensure(ty.starts_with("metal::atomic_") || is_array(text, ty), || {
            format!("plain workgroup variable in MSL: {ty}& {name}")
        })?;
    }
    Ok(())
}

/// Whether naga's struct is one around an array.
fn is_array(text: &str, ty: &str) -> bool {
    let body = text.split_once(&format!("struct {ty} {{\n")).and_then(|(_, rest)| rest.split_once('}'));
    body.is_some_and(|(member, _)| member.contains(" inner[") && member.matches(';').count() == 1)
}

// ---- tests ----

fn assert_sound(sources: &[Source]) {
    let devices = devices();
    let problems: Vec<_> = sources.par_iter().flat_map_iter(|source| problems(source, &devices)).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Kernel files (not shared modules: those have no interface) below `wgsl/`.
fn kernel_files(directory: &Path, root: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).expect("a directory of kernels");
    let paths = entries.map(|entry| entry.expect("a directory entry").path());
    let files = paths.flat_map(|path| {
        if path.is_dir() {
            return kernel_files(&path, root);
        }
        let is_kernel = std::fs::read_to_string(&path).expect("WGSL text").contains("#interface");
        let name = path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
        is_kernel.then_some(name).into_iter().collect()
    });
    files.collect()
}

#[test]
fn kernels_of_proofs() {
    let sources = sources_after_proofs();
    assert_sound(&sources);
    let used: BTreeSet<String> = sources.into_iter().map(|source| source.name).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("wgsl");
    let mut files = kernel_files(&root, &root);
    // those belong to a feature
    files.retain(|file| cfg!(feature = "openvm") || !file.starts_with("openvm/"));
    assert!(used.is_subset(&files), "kernels that are no files: {:?}", used.difference(&files));
    let unused: Vec<_> = files.difference(&used).collect();
    assert!(unused.is_empty(), "kernels that no proof uses: {unused:?}");
}

/// The rules over Metal text find what they are for.
#[test]
fn metal_rules() {
    let array = "struct type_2 {\n    uint inner[64];\n};\n";
    let plain = "struct Pair {\n    uint a;\n    uint b;\n};\n";
    let with = |text: &str| check_metal_rules(&format!("{array}{plain}{text}"));
    assert_eq!(with("void f(\n    threadgroup type_2& sums,\n    threadgroup metal::atomic_uint& best\n) {"), Ok(()));
    assert!(with("void f(\n    threadgroup uint& x\n) {").unwrap_err().contains("uint& x"));
    assert!(with(", threadgroup Pair& pair").unwrap_err().contains("plain workgroup variable"));
    assert!(with("ulong q = a / b;").unwrap_err().contains("division"));
    assert!(with("ulong q = a % b;").unwrap_err().contains("division"));
    assert!(with("ulong s = metal::simd_sum(a);").unwrap_err().contains("subgroup"));
    assert_eq!(with("uint q = a / b;"), Ok(()));
}

/// The broadcasts of a kernel whose threads pass words on through `passed`.
fn broadcasts_in(variable: &str, text: &str) -> Check {
    let wgsl = format!(
        "struct Params {{ place: u32 }}
        var<immediate> params: Params;
        var<workgroup> passed: {variable};
        @group(0) @binding(0) var<storage, read_write> state: array<u32>;
        fn fetch(place: u32) -> u32 {{ return passed[place]; }}
        @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3<u32>) {{
            var word = 0u;
            {text}
            state[64u * group.x + local] = word;
        }}"
    );
    check_exchange(
        &naga::front::wgsl::parse_str(&wgsl).unwrap_or_else(|error| panic!("{}", error.emit_to_string(&wgsl))),
    )
}

#[test]
fn broadcasts_are_found() {
    let one_stores = "if local == 0u { passed[3] = 7u; } workgroupBarrier();";
    let loads = [
        "word = passed[3];",
        "word = passed[params.place];",
        "word = passed[group.x & 7u];",
        "word = fetch(params.place + 1u);",
        "for (var i = 0u; i < 8u; i++) { word += passed[i]; }",
        "if local < 3u { word = passed[3]; }",
        "let wide = fetch(local); word = fetch(3u);",
        "var i = 1u; if params.place == 0u { i = 2u; } word = passed[i];",
    ];
    for load in loads {
        let found = broadcasts_in("array<u32, 64>", &format!("{one_stores} {load}"));
        assert!(found.is_err_and(|found| found.contains("`passed` is a broadcast")), "{load}");
    }
    let state = broadcasts_in("array<u32, 64>", "if local == 0u { state[3] = 7u; } storageBarrier(); word = state[3];");
    assert!(state.is_err_and(|found| found.contains("`state` is a broadcast in `main`")));
    let uniform = broadcasts_in("array<u32, 64>", "word = workgroupUniformLoad(&passed[3]);");
    assert!(uniform.is_err());
}

#[test]
fn exchanges_are_no_broadcasts() {
    let loads = [
        "passed[local] = 7u; workgroupBarrier(); word = passed[63u - local];",
        "passed[local] = 7u; workgroupBarrier(); if local == 0u { word = passed[local]; }",
        "passed[local] = 7u; workgroupBarrier(); word = fetch(local ^ params.place);",
        "for (var i = local; i < 128u; i += 64u) { word += passed[i & 63u]; }",
    ];
    for load in loads {
        assert_eq!(broadcasts_in("array<u32, 64>", load), Ok(()), "{load}");
    }
}

/// keccak's constraints, and those of an AIR with interactions.
#[test]
fn generated_kernels() {
    let keccak = generated_sources(&gpu(), WorkloadKind::Keccak);
    assert!(keccak.len() > 100);
    assert_sound(&keccak);
    assert_sound(&generated_sources(&gpu(), WorkloadKind::Vm));
}

// ---- AMD's compiler ----

/// Generated kernels of keccak that are compiled: one in so many, since they are alike and take a second each.
#[cfg(target_os = "linux")]
const KECCAK_STEP: usize = 12;

/// A kernel as RADV gets it on a device that can do everything.
#[cfg(target_os = "linux")]
fn shader(source: &Source) -> Check<device::radv::Shader> {
    let device = devices().pop().expect("the last one can do everything");
    let wgsl = device.link(&source.wgsl, &source.variant.flags, source.bindings.len())?;
    let kernel = parse(source, &device, &wgsl)?;
    let (module, info) = kernel.with_overrides()?;
    let words = kernel.to_spirv((&module, &info), SPIRV_VERSIONS[1], false)?;
    let flags = source.variant.flags.iter().map(|flag| format!(" {flag}")).collect::<String>();
    let overrides = source.variant.overrides.iter().map(|(name, value)| format!(" {name}={value}")).collect::<String>();
    let name = format!("{}{flags}{overrides}", source.name);
    Ok(device::radv::Shader { name, words, bindings: source.bindings.len(), params: source.params.len() })
}

/// Every kernel and the generated ones compile for five families and spill no register but where a comment says so; prints the table of
/// docs/hardware.md. Only with the variable `OPENVM_WGPU_RADV`, the file that names the driver for Vulkan's loader.
#[cfg(target_os = "linux")]
#[test]
fn amds_compiler() {
    use device::radv;
    if let Ok(folder) = std::env::var(radv::ROLE) {
        return radv::in_a_role(Path::new(&folder));
    }
    let Ok(driver) = std::env::var(radv::VARIABLE) else { return };
    let mut sources = sources_after_proofs();
    let files = sources.len();
    sources.extend(generated_sources(&gpu(), WorkloadKind::Vm));
    sources.extend(generated_sources(&gpu(), WorkloadKind::Keccak).into_iter().step_by(KECCAK_STEP));
    let shaders: Vec<_> = sources.par_iter().map(|source| shader(source).unwrap_or_else(|e| panic!("{e}"))).collect();
    let folder = std::env::temp_dir().join(format!("openvm-wgpu-radv-{}", std::process::id()));
    radv::write(&folder, &shaders);
    let families = radv::FAMILIES.par_iter().map(|family| radv::compile(&folder, &driver, family));
    let taken: Vec<_> = families.map(|taken| taken.unwrap_or_else(|error| panic!("{error}"))).collect();
    std::fs::remove_dir_all(&folder).expect("the folder is there");
    radv::print_table(&shaders[..files], &taken);
    radv::print_table(&shaders[files..], &taken.iter().map(|taken| taken[files..].to_vec()).collect::<Vec<_>>());
    let spilled = radv::spilled(&shaders, &taken);
    assert!(spilled.is_empty(), "{} kernels spill:\n{}", spilled.len(), spilled.join("\n"));
}
