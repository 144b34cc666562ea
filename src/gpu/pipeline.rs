//! Compiled kernels by (kernel, variant), and generated ones.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use super::{
    executor::{Executor, LinkedKernel, Pipeline},
    kernel::{KernelDecl, Variant},
    profile::Capabilities,
};
use crate::error::{fault, Error, Result};

/// A kernel with text that was generated at run time, in the file of a declared one.
#[derive(Clone, Debug)]
pub struct GeneratedKernel {
    /// Name in errors and labels; with the text it identifies the pipeline.
    pub name: String,
    /// Unlinked WGSL.
    pub wgsl: String,
    /// The kernel whose file it is in.
    pub decl: &'static KernelDecl,
}

impl GeneratedKernel {
    /// `text` in the file of `decl`.
    ///
    /// # Panics
    ///
    /// If the file takes no generated text.
    pub fn new(name: String, decl: &'static KernelDecl, text: &str) -> Self {
        Self { name, wgsl: decl.generated_wgsl(text), decl }
    }
}

/// A compiled [`GeneratedKernel`].
#[derive(Clone)]
pub struct CompiledKernel {
    pub(super) pipeline: Pipeline,
    pub(super) decl: &'static KernelDecl,
}

type Key = (&'static str, Variant);

/// A kernel variant, empty until it is compiled, which happens under the lock: of several threads that want it one compiles it.
type Slot = Arc<Mutex<Option<Pipeline>>>;

/// The kernels of a device.
pub(super) struct Kernels {
    executor: Arc<dyn Executor>,
    capabilities: Capabilities,
    declared: Mutex<HashMap<Key, (&'static KernelDecl, Slot)>>,
}

impl Kernels {
    pub(super) fn new(executor: Arc<dyn Executor>, capabilities: Capabilities) -> Self {
        Self { executor, capabilities, declared: Mutex::default() }
    }

    /// The pipeline of a kernel variant, compiled at its first use.
    pub(super) fn pipeline(&self, decl: &'static KernelDecl, variant: Variant) -> Result<Pipeline> {
        let key = (decl.path, variant);
        let found = self.declared().get(&key).map(|(_, slot)| slot.clone());
        let slot =
            found.unwrap_or_else(|| self.declared().entry(key.clone()).or_insert((decl, Slot::default())).1.clone());
        let mut slot = slot.lock().unwrap_or_else(|p| p.into_inner());
        if let Some(pipeline) = &*slot {
            return Ok(pipeline.clone());
        }
        Ok(slot.insert(self.compile(decl, key.1)?).clone())
    }

    /// The pipeline of a kernel variant if it is compiled and nobody is about to compile it.
    pub(super) fn compiled_pipeline(&self, decl: &'static KernelDecl, variant: &Variant) -> Option<Pipeline> {
        let slot = self.declared().get(&(decl.path, variant.clone())).map(|(_, slot)| slot.clone())?;
        let slot = slot.try_lock().ok()?;
        slot.clone()
    }

    /// Compiles kernel variants, each by a thread of its own as far as there are cores. What cannot be compiled is an error for whoever asks
    /// for its pipeline.
    #[tracing::instrument(name = "compile_kernels", level = "info", skip_all, fields(kernels = kernels.len()))]
    pub(super) fn compile_all(&self, kernels: Vec<(&'static KernelDecl, Variant)>) {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads = cores.min(kernels.len());
        let kernels = Mutex::new(kernels);
        let next = || kernels.lock().unwrap_or_else(|p| p.into_inner()).pop();
        let work = || {
            while let Some((decl, variant)) = next() {
                let _ = self.pipeline(decl, variant);
            }
        };
        // threads end here: a process must not exit while one is in the driver
        thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
    }

    /// The declared kernels that were compiled so far, each with its variant.
    pub(super) fn compiled(&self) -> Vec<(&'static KernelDecl, Variant)> {
        let is_compiled = |slot: &Slot| slot.lock().unwrap_or_else(|p| p.into_inner()).is_some();
        let kernels: Vec<_> =
            self.declared().iter().map(|((_, variant), slot)| (slot.clone(), variant.clone())).collect();
        kernels
            .into_iter()
            .filter(|((_, slot), _)| is_compiled(slot))
            .map(|((decl, _), variant)| (decl, variant))
            .collect()
    }

    /// Compiles a generated kernel.
    ///
    /// # Errors
    ///
    /// What the shader compiler reports.
    pub(super) fn compile_generated(&self, kernel: &GeneratedKernel) -> Result<CompiledKernel> {
        let GeneratedKernel { name, wgsl, decl } = kernel.clone();
        let form = decl.generated.as_ref().expect("takes generated text");
        let pipeline = self.link(
            LinkedKernel {
                name,
                wgsl,
                overrides: vec![],
                bindings: decl.generated_bindings().iter().map(|binding| binding.access).collect(),
                params: decl.params.len(),
                workgroup: form.workgroup,
                runtime_checks: self.capabilities.runtime_checks,
            },
            &[],
        )?;
        Ok(CompiledKernel { pipeline, decl })
    }

    fn compile(&self, decl: &KernelDecl, variant: Variant) -> Result<Pipeline> {
        self.link(
            LinkedKernel {
                name: decl.path.into(),
                wgsl: decl.wgsl(),
                overrides: variant.overrides,
                bindings: decl.bindings.iter().map(|binding| binding.access).collect(),
                params: decl.params.len(),
                workgroup: decl.workgroup,
                runtime_checks: self.capabilities.runtime_checks,
            },
            &variant.flags,
        )
    }

    /// Links the kernel's text, and compiles it.
    fn link(&self, mut kernel: LinkedKernel, flags: &[&str]) -> Result<Pipeline> {
        let context = kernel.name.clone();
        let linked = self.capabilities.link(&kernel.wgsl, flags, kernel.bindings.len());
        kernel.wgsl = linked.map_err(|message| Error::gpu(&context, fault(message)))?;
        Pipeline::new(&self.executor, kernel).map_err(|error| Error::gpu(&context, error))
    }

    fn declared(&self) -> MutexGuard<'_, HashMap<Key, (&'static KernelDecl, Slot)>> {
        self.declared.lock().unwrap_or_else(|p| p.into_inner())
    }
}
