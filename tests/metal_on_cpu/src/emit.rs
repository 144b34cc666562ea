//! WGSL to Metal Shading Language, with the options of wgpu-hal's Metal backend (`metal/device.rs`, `load_shader` and
//! `create_pipeline_layout`).

use naga::{
    back::{msl, pipeline_constants::process_overrides, PipelineConstants},
    proc::{BoundsCheckPolicies, BoundsCheckPolicy},
    valid::{Capabilities, GlobalUse, ModuleInfo, ValidationFlags, Validator},
    AddressSpace, Module, ResourceBinding, ShaderStage,
};

use crate::{Error, Kernel};

/// The entry point of every kernel.
const ENTRY: &str = "main";
/// The newest Metal that wgpu-hal asks for; the text of compute kernels is the same for all since 2.4.
const VERSION: (u8, u8) = (4, 0);

/// What a kernel binds.
#[derive(Clone, Copy, Debug)]
pub struct Interface<'a> {
    /// For each storage binding of group 0, in order: whether the kernel writes it.
    pub writable: &'a [bool],
    /// The kernel has parameters.
    pub has_params: bool,
    /// Parameters are immediates; else a uniform buffer behind the storage bindings.
    pub immediates: bool,
}

/// The entries of Metal's buffer argument table that a kernel takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    /// The immediates.
    pub immediates: Option<u8>,
    /// The storage bindings of group 0.
    pub storage: Vec<u8>,
    /// The uniform buffer behind them.
    pub uniform: Option<u8>,
    /// The sizes of runtime-sized arrays.
    pub sizes: Option<u8>,
}

impl Slots {
    /// wgpu-hal's order: immediates first, then the bindings in order, the sizes last, for whoever binds storage.
    pub fn of(interface: &Interface<'_>) -> Self {
        let mut free = 0u8..;
        let mut take = || free.next().expect("fewer than 256 bindings");
        Self {
            immediates: (interface.has_params && interface.immediates).then(&mut take),
            storage: interface.writable.iter().map(|_| take()).collect(),
            uniform: (interface.has_params && !interface.immediates).then(&mut take),
            sizes: (!interface.writable.is_empty()).then(&mut take),
        }
    }

    /// How many entries are taken.
    pub fn count(&self) -> usize {
        let single = [self.immediates, self.uniform, self.sizes];
        self.storage.len() + single.iter().flatten().count()
    }

    fn resources(&self, writable: &[bool]) -> msl::EntryPointResources {
        let storage = self.storage.iter().copied().zip(writable.iter().copied());
        let buffers = storage.chain(self.uniform.map(|slot| (slot, false)));
        let target = |(binding, (slot, mutable))| {
            let target = msl::BindTarget { buffer: Some(slot), mutable, ..msl::BindTarget::default() };
            (ResourceBinding { group: 0, binding }, target)
        };
        msl::EntryPointResources {
            resources: (0..).zip(buffers).map(target).collect(),
            immediates_buffer: self.immediates,
            sizes_buffer: self.sizes,
        }
    }
}

/// A validated module as Metal text of language version `version`, and the entry point's name in it. Overrides are resolved before
/// ([`process_overrides`]); `checked` asks for wgpu's runtime checks and zeroed workgroup memory.
///
/// # Errors
///
/// What naga cannot translate.
pub fn to_msl(
    (module, info): (&Module, &ModuleInfo),
    interface: &Interface<'_>,
    version: (u8, u8),
    checked: bool,
) -> Result<(String, String), String> {
    let resources = Slots::of(interface).resources(interface.writable);
    let policy = if checked { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked };
    let options = msl::Options {
        lang_version: version,
        per_entry_point_map: [(ENTRY.to_owned(), resources)].into(),
        fake_missing_bindings: false,
        bounds_check_policies: BoundsCheckPolicies {
            index: policy,
            buffer: policy,
            image_load: policy,
            binding_array: BoundsCheckPolicy::Unchecked,
        },
        zero_initialize_workgroup_memory: checked,
        force_loop_bounding: checked,
        emit_int_div_checks: checked,
        ..msl::Options::default()
    };
    let pipeline = msl::PipelineOptions {
        entry_point: Some((ShaderStage::Compute, ENTRY.to_owned())),
        vertex_pulling_transform: true,
        ..msl::PipelineOptions::default()
    };
    let (text, translation) =
        msl::write_string(module, info, &options, &pipeline).map_err(|error| error.to_string())?;
    let entry = translation.entry_point_names.into_iter().next().ok_or("no entry point")?;
    Ok((text, entry.map_err(|error| error.to_string())?))
}

/// A kernel as Metal text, with what wgpu-hal has to know to launch it.
#[derive(Debug)]
pub(crate) struct Metal {
    /// naga's text.
    pub text: String,
    /// Name of the entry point in it.
    pub entry: String,
    /// Threads of a workgroup in x, y and z.
    pub workgroup: [u32; 3],
    /// Bytes of the workgroup variables, in the order of the entry point's arguments.
    pub workgroup_bytes: Vec<u32>,
    /// Storage bindings whose sizes the entry point is given, in order.
    pub sized: Vec<usize>,
    /// Where everything is bound.
    pub slots: Slots,
    /// Threads wait for each other.
    pub waits: bool,
}

impl Metal {
    /// Translates a kernel.
    pub fn emit(kernel: &Kernel<'_>, checked: bool) -> Result<Self, Error> {
        Self::translate(kernel, checked)
            .map_err(|message| Error::Translation { kernel: kernel.name.to_owned(), message })
    }

    fn translate(kernel: &Kernel<'_>, checked: bool) -> Result<Self, String> {
        let parsed = naga::front::wgsl::parse_str(kernel.wgsl).map_err(|error| error.emit_to_string(kernel.wgsl))?;
        let info = Validator::new(ValidationFlags::all(), Capabilities::all())
            .validate(&parsed)
            .map_err(|error| error.emit_to_string(kernel.wgsl))?;
        let constants: PipelineConstants =
            kernel.overrides.iter().map(|(name, value)| ((*name).to_owned(), f64::from(*value))).collect();
        let entry = Some((ShaderStage::Compute, ENTRY));
        let (module, info) = process_overrides(&parsed, &info, entry, &constants).map_err(|error| error.to_string())?;

        let interface =
            Interface { writable: kernel.writable, has_params: kernel.params > 0, immediates: kernel.immediates };
        let (text, entry) = to_msl((&module, &info), &interface, VERSION, checked)?;
        let waits =
            ["metal::threadgroup_barrier(", "metal::simd", "metal::quad_"].iter().any(|call| text.contains(call));
        let mut metal = Self {
            text,
            waits,
            entry,
            workgroup: module.entry_points[0].workgroup_size,
            workgroup_bytes: vec![],
            sized: vec![],
            slots: Slots::of(&interface),
        };
        metal.reflect(&module, |variable| info.get_entry_point(0)[variable]);
        let threads: u32 = metal.workgroup.iter().product();
        if threads != kernel.workgroup {
            return Err(format!("workgroups of {threads} threads, {} declared", kernel.workgroup));
        }
        Ok(metal)
    }

    /// The workgroup variables that the entry point uses, and the runtime-sized bindings, as `load_shader` collects them.
    fn reflect(&mut self, module: &Module, used: impl Fn(naga::Handle<naga::GlobalVariable>) -> GlobalUse) {
        for (handle, variable) in module.global_variables.iter() {
            let ty = &module.types[variable.ty].inner;
            match variable.space {
                AddressSpace::WorkGroup if !used(handle).is_empty() => {
                    self.workgroup_bytes.push(ty.size(module.to_ctx()));
                }
                AddressSpace::Storage { .. } if ty.needs_host_buffer_byte_size(&module.types) => {
                    self.sized.extend(variable.binding.map(|at| at.binding as usize));
                }
                _ => {}
            }
        }
    }
}
