//! The executor of tests: a [`Machine`] in place of the device.
//!
//! A device of wgpu's `noop` backend with the features and limits of an Apple GPU lies beside it and validates every kernel.

use std::{ops::Range, sync::Arc};

use super::{
    executor::{Command, Executor, Look, Part, Pipeline, Place, Readback},
    machine::{Dispatch, KernelId, LinkedKernel, Machine, MemoryId},
};
use crate::error::{fault, Fault};

/// Executes recordings on a machine, at once.
pub(super) struct OnMachine {
    machine: Arc<dyn Machine>,
    /// Says what Metal's shader compiler would not accept.
    validator: Arc<dyn Executor>,
}

/// What was read, which is all there when a submission returns.
struct HostBytes(Vec<u8>);

impl OnMachine {
    pub(super) fn new(machine: Arc<dyn Machine>, validator: Arc<dyn Executor>) -> Self {
        Self { machine, validator }
    }

    fn read(&self, from: Place, bytes: u64) -> Vec<u8> {
        self.machine.read(from.memory, from.offset..from.offset + bytes)
    }

    fn execute(&self, command: &Command, arrived: &mut [u8]) -> Result<(), String> {
        match command {
            Command::Clear { memory, bytes } => self.machine.write(*memory, 0, &vec![0; *bytes as usize]),
            Command::Copy { from, to, bytes } => self.machine.write(to.memory, to.offset, &self.read(*from, *bytes)),
            Command::Read { from, to, bytes } => {
                arrived[*to as usize..][..*bytes as usize].copy_from_slice(&self.read(*from, *bytes));
            }
            Command::Dispatch { kernel, bindings, params, grid } => {
                self.machine.dispatch(&Dispatch { kernel: *kernel, buffers: bindings, params, grid: *grid })?;
            }
        }
        Ok(())
    }
}

impl Executor for OnMachine {
    fn create(&self, memory: MemoryId, bytes: u64, _what: &str) -> bool {
        self.machine.create(memory, bytes);
        true
    }

    fn destroy(&self, memory: MemoryId) {
        self.machine.destroy(memory);
    }

    fn write(&self, memory: MemoryId, bytes: &[u8], look: Look<'_>) -> Result<(), Fault> {
        look(bytes);
        self.machine.write(memory, 0, bytes);
        Ok(())
    }

    fn compile(&self, kernel: LinkedKernel) -> Result<KernelId, Fault> {
        drop(Pipeline::new(&self.validator, kernel.clone())?);
        self.machine.compile(kernel).map_err(fault)
    }

    fn submit(&self, _stage: &'static str, part: &Part) -> Result<Option<Box<dyn Readback>>, Fault> {
        let mut arrived = vec![0; part.read_bytes as usize];
        part.commands.iter().try_for_each(|command| self.execute(command, &mut arrived)).map_err(fault)?;
        Ok((part.read_bytes > 0).then(|| Box::new(HostBytes(arrived)) as Box<dyn Readback>))
    }

    fn lose(&self) {
        self.validator.lose();
    }
}

impl Readback for HostBytes {
    fn wait(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn read(&self, range: Range<u64>, take: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
        take(&self.0[range.start as usize..range.end as usize]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Mutex};

    use super::*;
    use crate::{
        error::Error,
        gpu::{
            machine::{Dispatch, KernelId, LinkedKernel, MemoryId},
            Gpu, GpuOptions, LimitProfile,
        },
        kernels::sum_rows::SumRows,
    };

    /// Memory, and a device that may fail silently: the only kernel it knows is the submission counter.
    #[derive(Debug, Default)]
    struct Counter {
        memory: Mutex<HashMap<MemoryId, Vec<u8>>>,
        idle: bool,
    }

    impl Machine for Counter {
        fn create(&self, memory: MemoryId, bytes: u64) {
            self.memory.lock().unwrap().insert(memory, vec![0xab; bytes as usize]);
        }

        fn destroy(&self, memory: MemoryId) {
            self.memory.lock().unwrap().remove(&memory).unwrap();
        }

        fn write(&self, memory: MemoryId, offset: u64, bytes: &[u8]) {
            let mut all = self.memory.lock().unwrap();
            all.get_mut(&memory).unwrap()[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        }

        fn read(&self, memory: MemoryId, range: Range<u64>) -> Vec<u8> {
            self.memory.lock().unwrap()[&memory][range.start as usize..range.end as usize].to_vec()
        }

        fn compile(&self, kernel: LinkedKernel) -> Result<KernelId, String> {
            Ok(usize::from(kernel.name == "sequence.wgsl"))
        }

        fn dispatch(&self, dispatch: &Dispatch<'_>) -> Result<(), String> {
            if dispatch.kernel == 0 {
                return Err("unknown kernel".into());
            }
            if !self.idle {
                assert_eq!(dispatch.buffers[0].bytes, 4);
                self.write(dispatch.buffers[0].memory, 0, &dispatch.params[0].to_le_bytes());
            }
            Ok(())
        }
    }

    fn open(machine: Arc<Counter>) -> Gpu {
        let profile = Some(LimitProfile::Native);
        let options =
            GpuOptions { machine: Some(machine), profile, memory_budget: Some(1 << 12), ..GpuOptions::default() };
        Gpu::new(&options).unwrap()
    }

    #[test]
    fn recordings_run_on_the_machine() {
        let machine = Arc::new(Counter::default());
        let gpu = open(machine.clone());
        assert_eq!(gpu.capabilities().storage_buffers, 29);
        assert_eq!(gpu.capabilities().min_subgroup_size, 32);
        let source = gpu.upload(&[1u32, 2, 3, 4, 5], "source").unwrap();
        let nine = gpu.upload(&[9u32], "nine").unwrap();
        let target = gpu.alloc::<u32>(5, "target").unwrap();
        let mut rec = gpu.recorder("test");
        rec.clear(&target);
        rec.copy((&source, 1), (&target, 2), 3);
        let before = rec.download(&target);
        rec.copy((&nine, 0), (&target, 4), 1);
        let after = rec.download_range(&target, 3..5);
        drop((source, nine));
        let done = rec.wait().unwrap();
        assert_eq!(done.take(before).unwrap(), [0, 0, 2, 3, 4]);
        assert_eq!(done.take(after).unwrap(), [3, 9]);
        gpu.trim_memory();
        assert_eq!(gpu.download(&target).unwrap(), [0, 0, 2, 3, 9]);
        // the two buffers in use: `target` and the counter
        assert_eq!(machine.memory.lock().unwrap().len(), 2);
    }

    #[test]
    fn what_a_machine_rejects_fails_the_recording() {
        let gpu = open(Arc::default());
        let values = gpu.alloc(2, "values").unwrap();
        let mut rec = gpu.recorder("test");
        let sum = gpu.alloc(1, "sum").unwrap();
        SumRows { values: &values, rows: 1, len: 2, out: &sum }.record(&mut rec);
        let error = rec.submit().unwrap_err().to_string();
        assert!(error.contains("unknown kernel"), "{error}");
        gpu.synchronize().unwrap();
    }

    /// The guard against wgpu #9545: work that never ran although nothing failed.
    #[test]
    fn work_that_did_not_run_is_noticed() {
        let gpu = open(Arc::new(Counter { idle: true, ..Counter::default() }));
        assert!(matches!(gpu.synchronize(), Err(Error::StaleSequence { expected: 1, found: 0 })));
    }
}
