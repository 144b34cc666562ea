//! Recording: dispatches and copies become a list of commands, handed to the executor part by part.

use std::{collections::HashMap, marker::PhantomData, sync::atomic::Ordering};

use super::{
    buffer::{DeviceBuffer, RawBuffer},
    device::Gpu,
    element::{self, Element},
    executor::{Binding, Command, KernelId, Part, Pipeline, Place, Readback},
    kernel::{GeneratedForm, Grid, Kernel, KernelDecl, Variant},
    pipeline::CompiledKernel,
};
use crate::{
    error::{Error, Result},
    kernel,
};

kernel! {
    /// Advances the device's submission counter.
    struct AdvanceSequence("sequence.wgsl", workgroup = 1) {
        buffers { write word: u32 }
        params { number }
    }
}

/// Dispatches after which a part of the recording is handed over, so that the device works while the host records the rest. Recording takes
/// 4 to 5 us a dispatch, a submission 30 us.
const DISPATCHES_PER_SUBMIT: usize = 24;

/// The same for the first part, which an idle device waits for.
const FIRST_DISPATCHES: usize = 8;

/// Bytes that one part reads back at most, if it reads more than one thing.
const MOST_READ_BYTES: u64 = 16 << 20;

/// Records work for the device. Errors are kept and returned by [`Recorder::submit`] or [`Recorder::wait`], so that recording code
/// reads as a list of steps.
///
/// Buffers used in a recording stay alive until it is submitted, even when all handles are dropped before.
pub struct Recorder {
    gpu: Gpu,
    stage: &'static str,
    /// Since the last submission.
    part: Part,
    /// Dispatches of the part.
    dispatches: usize,
    /// With how many of them it is handed over.
    most_dispatches: usize,
    /// Buffers of the part, held back from the pool so that no other thread's recording can be given them before.
    used: Vec<RawBuffer>,
    /// Kernels of the part that might be released before.
    kernels: Vec<Pipeline>,
    /// Dispatches of the part whose kernels were not compiled yet.
    uncompiled: Vec<Uncompiled>,
    /// What the parts read back, of those that do.
    readbacks: Vec<Box<dyn Readback>>,
    error: Option<Error>,
    /// Errors of the device before this recording.
    faults: u64,
}

/// A dispatch whose kernel is compiled when the part is handed over, together with all others.
struct Uncompiled {
    /// Which command of the part it is.
    command: usize,
    decl: &'static KernelDecl,
    variant: Variant,
}

/// Stands for the kernel of an [`Uncompiled`] dispatch.
const UNCOMPILED: KernelId = KernelId::MAX;

/// A recording that the device has, of [`Recorder::hand_over`].
#[must_use]
pub struct Running {
    gpu: Gpu,
    stage: &'static str,
    faults: u64,
    /// The last submission's sequence number.
    number: u32,
    /// The device's sequence number behind it.
    word: Ticket<u32>,
    completed: Completed,
}

/// A promise of [`Recorder::download`], redeemed at [`Completed::take`].
#[must_use]
#[derive(Debug)]
pub struct Ticket<T> {
    /// Which of the recording's readbacks it is in.
    readback: usize,
    offset: u64,
    bytes: u64,
    element: PhantomData<T>,
}

/// The results of a recording that has run.
pub struct Completed {
    readbacks: Vec<Box<dyn Readback>>,
}

impl Gpu {
    /// Starts recording work; `stage` names it in errors.
    #[doc(hidden)]
    pub fn recorder(&self, stage: &'static str) -> Recorder {
        Recorder {
            faults: self.shared.faults.count(),
            gpu: self.clone(),
            stage,
            part: Part::default(),
            dispatches: 0,
            most_dispatches: FIRST_DISPATCHES,
            used: vec![],
            kernels: vec![],
            uncompiled: vec![],
            readbacks: vec![],
            error: None,
        }
    }

    /// Waits until everything that was submitted, uploads included, has run.
    ///
    /// # Errors
    ///
    /// What the device reports.
    pub fn synchronize(&self) -> Result<()> {
        self.recorder("synchronize").wait().map(|_| ())
    }

    /// The contents of a buffer. Waits; for tests and debugging.
    ///
    /// # Errors
    ///
    /// What the device reports.
    #[doc(hidden)]
    pub fn download<T: Element>(&self, buffer: &DeviceBuffer<T>) -> Result<Vec<T>> {
        let mut rec = self.recorder("download");
        let ticket = rec.download(buffer);
        rec.wait()?.take(ticket)
    }
}

impl Recorder {
    /// The device that this records for.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Records a kernel. A grid without threads records nothing.
    pub fn dispatch<K: Kernel>(&mut self, kernel: &K, grid: Grid) {
        let Some(size) = grid.dispatch(K::DECL.workgroup) else {
            return;
        };
        let (decl, variant) = (K::DECL, kernel.variant());
        let compiled = self.gpu.shared.kernels.compiled_pipeline(decl, &variant).map(|pipeline| pipeline.id());
        if compiled.is_none() {
            self.uncompiled.push(Uncompiled { command: self.part.commands.len(), decl, variant });
        }
        self.record(compiled.unwrap_or(UNCOMPILED), &kernel.bindings(), kernel.params(), size);
    }

    /// Records a generated kernel with the arguments of `kernel`, whose file it is in.
    ///
    /// # Panics
    ///
    /// When it is in another file.
    pub fn dispatch_generated<K: Kernel>(&mut self, compiled: &CompiledKernel, kernel: &K, grid: Grid) {
        let CompiledKernel { pipeline, decl } = compiled;
        assert_eq!(decl.path, K::DECL.path, "file of a generated kernel");
        let GeneratedForm { bindings, workgroup } = decl.generated.as_ref().expect("takes generated text");
        if let Some(size) = grid.dispatch(*workgroup) {
            self.kernels.push(pipeline.clone());
            self.record(pipeline.id(), &kernel.bindings()[..*bindings], kernel.params(), size);
        }
    }

    /// Sets `buffer` to zero.
    pub fn clear<T: Element>(&mut self, buffer: &DeviceBuffer<T>) {
        if !buffer.is_empty() {
            let Binding { memory, bytes } = self.bind(buffer.raw());
            self.part.commands.push(Command::Clear { memory, bytes });
        }
    }

    /// Copies `len` elements; for little data (kernels copy faster on some drivers).
    pub fn copy<T: Element>(
        &mut self,
        (source, from): (&DeviceBuffer<T>, usize),
        (target, to): (&DeviceBuffer<T>, usize),
        len: usize,
    ) {
        assert!(from + len <= source.len() && to + len <= target.len(), "copy past the end");
        if len > 0 {
            let (from, to) = (self.place(source, from), self.place(target, to));
            self.part.commands.push(Command::Copy { from, to, bytes: (len * T::WORDS * 4) as u64 });
        }
    }

    /// Asks for the contents of `buffer` as they are at this point of the recording.
    pub fn download<T: Element>(&mut self, buffer: &DeviceBuffer<T>) -> Ticket<T> {
        self.download_range(buffer, 0..buffer.len())
    }

    /// Asks for a range of elements of `buffer` as they are at this point of the recording.
    pub fn download_range<T: Element>(&mut self, buffer: &DeviceBuffer<T>, range: std::ops::Range<usize>) -> Ticket<T> {
        assert!(range.end <= buffer.len(), "download past the end");
        let bytes = (range.len() * T::WORDS * 4) as u64;
        // where this read would make the part's too large, what was recorded so far goes ahead
        if self.part.read_bytes > 0 && self.part.read_bytes + bytes > MOST_READ_BYTES {
            self.submit_part();
        }
        self.read(buffer, range.start, bytes)
    }

    /// Hands the recorded work to the device without waiting and leaves an empty recording.
    ///
    /// # Errors
    ///
    /// The first error of the recording, or what the device reported.
    pub fn submit(&mut self) -> Result<()> {
        self.finish(false).map(|_| ())
    }

    /// Hands the recorded work to the device and waits until it has run.
    ///
    /// # Errors
    ///
    /// As [`Recorder::submit`] and [`Running::wait`].
    pub fn wait(self) -> Result<Completed> {
        self.hand_over()?.wait()
    }

    /// Hands the recorded work to the device, to be waited for later: other recordings may follow.
    ///
    /// # Errors
    ///
    /// As [`Recorder::submit`].
    pub fn hand_over(mut self) -> Result<Running> {
        let (number, word) = self.finish(true)?;
        let word = word.expect("read back");
        let completed = Completed { readbacks: self.readbacks };
        Ok(Running { gpu: self.gpu, stage: self.stage, faults: self.faults, number, word, completed })
    }

    /// Closes the part with the next sequence number, which it returns, and submits it; who waits reads the number back.
    fn finish(&mut self, read_back: bool) -> Result<(u32, Option<Ticket<u32>>)> {
        let gpu = self.gpu.clone();
        gpu.check_process()?;
        // not under the lock, so that others can submit meanwhile
        self.compile();
        // held over the submission, so that numbers follow the order of the queue
        let mut sequence = gpu.shared.submissions.lock().unwrap_or_else(|p| p.into_inner());
        let word = sequence.word(&gpu)?;
        let number = sequence.submitted.wrapping_add(1);
        (self.dispatches, self.most_dispatches) = (0, DISPATCHES_PER_SUBMIT);
        self.dispatch(&AdvanceSequence { word: &word, number }, Grid::threads(1));
        self.compile();
        let ticket = read_back.then(|| self.read(&word, 0, 4));
        let error = match self.error.take() {
            Some(error) => Some(error),
            None => self.execute().err(),
        };
        self.part.clear();
        self.used.clear();
        self.kernels.clear();
        self.uncompiled.clear();
        if let Some(error) = error {
            self.readbacks.clear();
            // what fails on a lost device fails for that
            gpu.shared.faults.check_lost()?;
            return Err(error);
        }
        // of a submission that was refused the number is the next one's; should it have run all the same, that finds it
        gpu.shared.faults.check(self.stage, self.faults)?;
        sequence.submitted = number;
        Ok((number, ticket))
    }

    /// Compiles what the part needs and was not compiled when it was recorded.
    fn compile(&mut self) {
        let uncompiled = std::mem::take(&mut self.uncompiled);
        if uncompiled.is_empty() || self.error.is_some() {
            return;
        }
        let distinct: HashMap<_, _> = uncompiled.iter().map(|u| ((u.decl.path, &u.variant), u.decl)).collect();
        let wanted = distinct.into_iter().map(|((_, variant), decl)| (decl, variant.clone())).collect();
        let gpu = self.gpu.clone();
        gpu.shared.kernels.compile_all(wanted);
        for Uncompiled { command, decl, variant } in uncompiled {
            let id = match gpu.shared.kernels.pipeline(decl, variant) {
                Ok(pipeline) => pipeline.id(),
                Err(error) => return self.fail(error),
            };
            if let Command::Dispatch { kernel, .. } = &mut self.part.commands[command] {
                *kernel = id;
            }
        }
    }

    fn execute(&mut self) -> Result<()> {
        let submitted = self.gpu.shared.executor.submit(self.stage, &self.part);
        self.readbacks.extend(submitted.map_err(|error| Error::gpu(self.stage, error))?);
        Ok(())
    }

    /// Reads `bytes` bytes from element `from` on with this part.
    fn read<T: Element>(&mut self, buffer: &DeviceBuffer<T>, from: usize, bytes: u64) -> Ticket<T> {
        let mut offset = 0;
        if bytes > 0 {
            offset = self.part.reserve_read(bytes);
            let from = self.place(buffer, from);
            self.part.commands.push(Command::Read { from, to: offset, bytes });
        }
        Ticket { readback: self.readbacks.len(), offset, bytes, element: PhantomData }
    }

    fn submit_part(&mut self) {
        if let Err(error) = self.submit() {
            self.fail(error);
        }
    }

    /// Uses a buffer of this device; wgpu would report another one's with the submission, not with its reason.
    fn bind(&mut self, buffer: &RawBuffer) -> Binding {
        if !buffer.is_of(&self.gpu.shared.memory) {
            self.fail(Error::InvalidInput(format!("{}: a buffer of another device", self.stage)));
        }
        self.used.push(buffer.clone());
        Binding { memory: buffer.memory, bytes: buffer.bytes }
    }

    /// An element of a buffer.
    fn place<T: Element>(&mut self, buffer: &DeviceBuffer<T>, element: usize) -> Place {
        Place { memory: self.bind(buffer.raw()).memory, offset: (element * T::WORDS * 4) as u64 }
    }

    fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }

    fn record(&mut self, kernel: KernelId, buffers: &[&RawBuffer], params: Vec<u32>, grid: [u32; 3]) {
        let bindings = buffers.iter().map(|buffer| self.bind(buffer)).collect();
        if self.error.is_some() {
            return;
        }
        self.part.commands.push(Command::Dispatch { kernel, bindings, params, grid });
        self.dispatches += 1;
        // a part that waits for its kernels can as well wait for more of them, since they are compiled at once; but not for long, since it
        // holds memory
        let most = if self.uncompiled.is_empty() { self.most_dispatches } else { DISPATCHES_PER_SUBMIT };
        if self.dispatches >= most {
            self.submit_part();
        }
    }
}

impl Running {
    /// Waits until it has run.
    ///
    /// # Errors
    ///
    /// What the device reports; [`Error::StaleSequence`] when the device did not run it to its end.
    pub fn wait(self) -> Result<Completed> {
        let gpu = self.gpu.clone();
        gpu.shared.host_waits.fetch_add(1, Ordering::Relaxed);
        let _waiting = gpu.shared.warm.wait();
        self.wait_uncounted()
    }

    /// The same where the wait is nobody's but the runtime's.
    pub(super) fn wait_uncounted(self) -> Result<Completed> {
        let shared = &self.gpu.shared;
        // the last part's, which the ones before it are finished with
        let waited = self.completed.readbacks[self.word.readback].wait();
        shared.faults.check(self.stage, self.faults)?;
        waited.map_err(|error| Error::gpu(self.stage, error))?;
        match self.completed.take(self.word)?[0] {
            found if found == self.number => Ok(self.completed),
            found => {
                let error = Error::StaleSequence { expected: self.number, found };
                shared.faults.record_lost(error.to_string());
                Err(error)
            }
        }
    }
}

impl Completed {
    /// The values that a ticket of this recording asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Gpu`] when the memory cannot be read.
    ///
    /// # Panics
    ///
    /// When the ticket is of another recording.
    pub fn take<T: Element>(&self, ticket: Ticket<T>) -> Result<Vec<T>> {
        let mut values = vec![];
        if ticket.bytes > 0 {
            let range = ticket.offset..ticket.offset + ticket.bytes;
            let read = self.readbacks[ticket.readback].read(range, &mut |bytes| values = element::from_bytes(bytes));
            read.map_err(|error| Error::gpu("download", error))?;
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::testing;

    #[test]
    fn reads_that_do_not_fit_together_come_in_parts() {
        let gpu = testing::gpu();
        // two of them are more than a part reads back
        let len = (MOST_READ_BYTES / 16 * 3) as usize;
        let values: Vec<u32> = (0..len as u32).collect();
        let doubled: Vec<u32> = values.iter().map(|value| 2 * value).collect();
        let (first, second) = (gpu.upload(&values, "first").unwrap(), gpu.upload(&doubled, "second").unwrap());
        let small = gpu.upload(&[7u32, 8, 9], "small").unwrap();
        let mut rec = gpu.recorder("test");
        let tickets = [rec.download_range(&small, 1..2), rec.download(&first), rec.download(&second)];
        assert_eq!(tickets.each_ref().map(|ticket| ticket.readback), [0, 0, 1]);
        let (nothing, last) = (rec.download_range(&small, 3..3), rec.download_range(&small, 1..3));
        let done = rec.wait().unwrap();
        let [one, first, second] = tickets.map(|ticket| done.take(ticket).unwrap());
        assert!(one == [8] && first == values && second == doubled);
        assert!(done.take(nothing).unwrap().is_empty());
        assert_eq!(done.take(last).unwrap(), [8, 9]);
    }
}
