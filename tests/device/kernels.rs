//! The kernels of this crate as text, before they are linked for a device.

use openvm_stark_backend::{keygen::types::StarkProvingKey, StarkEngine};
use openvm_stark_sdk::config::baby_bear_poseidon2::BabyBearPoseidon2Config as SC;
use openvm_wgpu_backend::internals::{
    constraints::{self, PartWidths},
    gpu::{Access, Capabilities, GeneratedKernel, Gpu, Kernel, KernelDecl, Variant},
    kernels::{
        constraints::{AirEvaluator, EvaluatorPolicy},
        merkle::LayersByLanes,
    },
};

use openvm_wgpu_testing::{
    params::SmallParams,
    workloads::{Workload, WorkloadKind},
};

use super::{engine, roads::compiled_after_proofs};

/// A kernel as the host declares it, before it is linked for a device.
pub struct Source {
    pub name: String,
    pub wgsl: String,
    pub variant: Variant,
    pub bindings: Vec<Access>,
    pub params: &'static [&'static str],
    pub workgroup: u32,
}

/// Some devices never get it: it takes subgroups of 16 lanes.
const BY_LANES: &KernelDecl = LayersByLanes::DECL;

impl Source {
    /// Whether such a device may get it.
    pub fn is_for(&self, device: &Capabilities) -> bool {
        self.workgroup <= device.workgroup_threads
            && (self.name != BY_LANES.path || device.flags().contains("SUBGROUP16"))
    }
}

impl From<(&'static KernelDecl, Variant)> for Source {
    fn from((decl, variant): (&'static KernelDecl, Variant)) -> Self {
        Self {
            name: decl.path.into(),
            wgsl: decl.wgsl(),
            variant,
            bindings: decl.bindings.iter().map(|binding| binding.access).collect(),
            params: decl.params,
            workgroup: decl.workgroup,
        }
    }
}

impl From<GeneratedKernel> for Source {
    fn from(GeneratedKernel { name, wgsl, decl }: GeneratedKernel) -> Self {
        Self {
            name,
            wgsl,
            variant: Variant::default(),
            bindings: decl.generated_bindings().iter().map(|binding| binding.access).collect(),
            params: decl.params,
            workgroup: decl.generated.as_ref().expect("takes generated text").workgroup,
        }
    }
}

/// The kernels of `wgsl/` in every variant that proofs use, on this device or on one with subgroups of 16 lanes.
pub fn sources_after_proofs() -> Vec<Source> {
    let by_lanes = (BY_LANES, Variant::default());
    compiled_after_proofs(engine).into_iter().chain([by_lanes]).chain(of_chips()).map(Source::from).collect()
}

/// The kernels that fill traces of OpenVM's chips: `tests/openvm.rs` has a proof that uses them.
fn of_chips() -> Vec<(&'static KernelDecl, Variant)> {
    #[cfg(feature = "openvm")]
    let kernels = openvm_wgpu_backend::internals::kernels::openvm::kernels();
    #[cfg(not(feature = "openvm"))]
    let kernels = vec![];
    kernels.into_iter().map(|kernel| (kernel, Variant::default())).collect()
}

/// Every kernel that can be generated from the AIRs of a workload.
pub fn generated_sources(gpu: &Gpu, kind: WorkloadKind) -> Vec<Source> {
    let engine = engine(SmallParams::new(4, 8).build());
    let (pk, _) = engine.keygen(&Workload { kind, log_n: 0 }.airs());
    let of_air = |StarkProvingKey { air_name, vk, .. }: &StarkProvingKey<SC>| {
        let widths = PartWidths::from(&vk.params);
        let programs = constraints::compile(&vk.symbolic_constraints, &widths, vk.params.num_public_values);
        let programs = programs.expect("keys of upstream have programs");
        let air = AirEvaluator::new(gpu, &programs, EvaluatorPolicy::Interpreter, air_name).expect("programs upload");
        let programs = [&air.round0_zerocheck, &air.round0_logup, &air.gkr_input, &air.mle_zerocheck, &air.mle_logup];
        programs.into_iter().flat_map(|program| program.generated_kernels()).map(Source::from).collect::<Vec<_>>()
    };
    pk.per_air.iter().flat_map(of_air).collect()
}
