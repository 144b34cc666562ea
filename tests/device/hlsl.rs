//! WGSL to HLSL, with the options of wgpu-hal's Direct3D backend (`dx12/device.rs`, `load_shader` and `create_pipeline_layout`).

use naga::{
    back::hlsl::{BindTarget, Options, PipelineOptions, ShaderModel, Writer},
    valid::ModuleInfo,
    Module, ResourceBinding, ShaderStage,
};
use openvm_wgpu_backend::internals::gpu::Access;

/// The registers of one kind.
#[derive(Default)]
struct Registers(BindTarget);

impl Registers {
    fn next(&mut self) -> BindTarget {
        let target = self.0;
        self.0.register += 1;
        target
    }
}

/// What wgpu-hal tells naga about a kernel with these bindings and, if it has parameters, whether they are immediates.
///
/// Registers are numbered by kind: first the immediates, which leave their space to themselves, then the bindings in order, behind them the number of
/// workgroups.
pub fn options(bindings: &[Access], params: Option<bool>, shader_model: ShaderModel, checked: bool) -> Options {
    let (mut constants, mut views, mut unordered) = (Registers::default(), Registers::default(), Registers::default());
    let immediates_target = (params == Some(true)).then(|| {
        let target = constants.next();
        constants.0.space += 1;
        target
    });
    let register = |access: &Access| match access {
        Access::Read => views.next(),
        Access::ReadWrite => unordered.next(),
        Access::Constant => constants.next(),
    };
    let mut targets: Vec<_> = bindings.iter().map(register).collect();
    if params == Some(false) {
        targets.push(constants.next());
    }
    let bound = (0..).zip(targets).map(|(binding, target)| (ResourceBinding { group: 0, binding }, target));
    Options {
        shader_model,
        binding_map: bound.collect(),
        fake_missing_bindings: false,
        immediates_target,
        special_constants_binding: Some(constants.next()),
        zero_initialize_workgroup_memory: checked,
        restrict_indexing: checked,
        force_loop_bounding: checked,
        ..Options::default()
    }
}

/// The text, or why there is none.
pub fn to_hlsl((module, info): (&Module, &ModuleInfo), options: &Options) -> Result<String, String> {
    let pipeline = PipelineOptions { entry_point: Some((ShaderStage::Compute, "main".into())) };
    let mut text = String::new();
    let written = Writer::new(&mut text, options, &pipeline).write(module, info, None);
    let names = written.map_err(|error| error.to_string())?.entry_point_names;
    match &names[..] {
        [Ok(_)] => Ok(text),
        [Err(error)] => Err(error.to_string()),
        _ => Err(format!("entry points {names:?}")),
    }
}

/// What naga writes without an error and Direct3D's compilers reject.
pub fn check_rules(text: &str, model: ShaderModel) -> Result<(), String> {
    if !text.contains("[numthreads(") {
        return Err("no compute shader in HLSL".into());
    }
    let unknown = ["uint64_t", "Wave", "QuadRead"].into_iter().find(|word| text.contains(word));
    match unknown {
        Some(word) if model < ShaderModel::V6_0 => Err(format!("`{word}` in HLSL {model:?}")),
        _ => Ok(()),
    }
}
