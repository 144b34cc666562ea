//! Recording: dispatches and copies in order, one compute pass for as long as nothing but dispatches comes.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::{
    machine::Command,
    pipeline::Pipeline,
    staging::{Completed, Downloads, Ticket},
    timing::Timer,
    CompiledKernel, DeviceBuffer, Element, Gpu, Grid, Kernel, RawBuffer,
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

/// Bytes of parameters in one uniform buffer, where there are no immediates; entries are 256 bytes apart.
const UNIFORM_BYTES: u64 = 64 << 10;
const UNIFORM_STRIDE: u64 = 256;

/// Dispatches after which a part of the recording is handed over, so that the device works while the host records the rest. Recording takes
/// 4 to 5 us a dispatch, a submission 30 us.
const DISPATCHES_PER_SUBMIT: usize = 24;

/// The same for the first part, which an idle device waits for.
const FIRST_DISPATCHES: usize = 8;

/// How long a wait spins.
const SPIN: Duration = Duration::from_millis(1);

/// Records work for the device. Errors are kept and returned by [`Recorder::submit`] or [`Recorder::wait`], so that recording code
/// reads as a list of steps.
///
/// Buffers used in a recording stay alive until it is submitted, even when all handles are dropped before.
pub struct Recorder {
    gpu: Gpu,
    stage: &'static str,
    encoder: Option<wgpu::CommandEncoder>,
    pass: Option<wgpu::ComputePass<'static>>,
    /// Since the last submission.
    dispatches: usize,
    /// With how many of them the recording is handed over.
    most_dispatches: usize,
    used: Vec<RawBuffer>,
    downloads: Downloads,
    uniforms: Uniforms,
    error: Option<Error>,
    /// Errors of wgpu before this recording.
    faults: u64,
    /// Only when kernels are timed.
    timer: Option<Timer>,
    /// Only where a machine stands in for the device: what is recorded, in place of the encoder.
    commands: Option<Vec<Command>>,
}

/// What a submission is known by.
struct Submission {
    /// Its sequence number.
    number: u32,
    index: wgpu::SubmissionIndex,
    /// The device's sequence number behind it.
    word: Option<Ticket<u32>>,
}

/// A recording that the device has, of [`Recorder::hand_over`].
#[must_use]
pub struct Running {
    gpu: Gpu,
    stage: &'static str,
    faults: u64,
    /// The last submission's sequence number.
    number: u32,
    index: wgpu::SubmissionIndex,
    /// The device's sequence number behind it.
    word: Ticket<u32>,
    completed: Completed,
}

#[derive(Default)]
struct Uniforms {
    buffers: Vec<(wgpu::Buffer, Vec<u8>)>,
}

impl Recorder {
    pub(super) fn new(gpu: Gpu, stage: &'static str) -> Self {
        let timer = gpu.shared.time_kernels.then(Timer::new);
        let commands = gpu.shared.machine.is_some().then(Vec::new);
        Self {
            timer,
            commands,
            faults: gpu.shared.faults.count(),
            gpu,
            stage,
            encoder: None,
            pass: None,
            dispatches: 0,
            most_dispatches: FIRST_DISPATCHES,
            used: vec![],
            downloads: Downloads::default(),
            uniforms: Uniforms::default(),
            error: None,
        }
    }

    /// The device that this records for.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Records a kernel. A grid without threads records nothing.
    pub fn dispatch<K: Kernel>(&mut self, kernel: &K, grid: Grid) {
        let decl = K::DECL;
        let Some(size) = grid.dispatch(decl.workgroup) else {
            return;
        };
        match self.gpu.pipeline(decl, kernel.variant()) {
            Ok(pipeline) => {
                self.record((decl.path, &pipeline), &kernel.bindings(), &kernel.params(), size);
            }
            Err(error) => self.fail(error),
        }
    }

    /// Records a generated kernel with its buffers in binding order.
    ///
    /// # Panics
    ///
    /// When the number of buffers or parameters is not what the kernel was compiled for.
    pub fn dispatch_generated(
        &mut self,
        kernel: &CompiledKernel,
        bindings: &[DeviceBuffer<u32>],
        params: &[u32],
        grid: Grid,
    ) {
        assert_eq!(bindings.len(), kernel.bindings, "bindings of a generated kernel");
        assert_eq!(params.len(), kernel.params, "parameters of a generated kernel");
        if let Some(size) = grid.dispatch(kernel.workgroup) {
            let buffers: Vec<_> = bindings.iter().map(DeviceBuffer::raw).collect();
            self.record((&kernel.pipeline.name, &kernel.pipeline), &buffers, params, size);
        }
    }

    /// Sets `buffer` to zero.
    pub fn clear<T: Element>(&mut self, buffer: &DeviceBuffer<T>) {
        if !buffer.is_empty() {
            let target = self.keep(buffer);
            if let Some(commands) = &mut self.commands {
                return commands.push(Command::Clear { target, bytes: buffer.bytes() });
            }
            self.encoder().clear_buffer(&target, 0, Some(buffer.bytes()));
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
            let size = (T::WORDS * 4) as u64;
            let (from, to, bytes) = (from as u64 * size, to as u64 * size, len as u64 * size);
            let (source, target) = (self.keep(source), self.keep(target));
            if let Some(commands) = &mut self.commands {
                return commands.push(Command::Copy { source: (source, from), target: (target, to), bytes });
            }
            self.encoder().copy_buffer_to_buffer(&source, from, &target, to, bytes);
        }
    }

    /// Asks for the contents of `buffer` as they are at this point of the recording.
    pub fn download<T: Element>(&mut self, buffer: &DeviceBuffer<T>) -> Ticket<T> {
        self.download_range(buffer, 0..buffer.len())
    }

    /// Asks for a range of elements of `buffer` as they are at this point of the recording.
    pub fn download_range<T: Element>(&mut self, buffer: &DeviceBuffer<T>, range: std::ops::Range<usize>) -> Ticket<T> {
        assert!(range.end <= buffer.len(), "download past the end");
        let size = (T::WORDS * 4) as u64;
        let bytes = range.len() as u64 * size;
        let (staging, ticket) = self.downloads.push(&self.gpu, bytes);
        if bytes > 0 {
            let source = self.keep(buffer);
            let from = range.start as u64 * size;
            let to = ticket.offset();
            match &mut self.commands {
                Some(commands) => {
                    commands.push(Command::Download { source: (source, from), staging: (staging, to), bytes })
                }
                None => self.encoder().copy_buffer_to_buffer(&source, from, &staging, to, bytes),
            }
        }
        ticket
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
        let Submission { number, index, word } = self.finish(true)?;
        let completed = self.downloads.map(&self.gpu);
        let word = word.expect("read back");
        Ok(Running { gpu: self.gpu, stage: self.stage, faults: self.faults, number, index, word, completed })
    }

    /// Closes the recording with the next sequence number and submits it; who waits reads the number back.
    fn finish(&mut self, read_back: bool) -> Result<Submission> {
        let gpu = self.gpu.clone();
        // held over the submission, so that numbers follow the order of the queue
        let mut sequence = gpu.shared.submissions.lock().unwrap_or_else(|p| p.into_inner());
        let word = sequence.word(&gpu)?;
        let number = sequence.submitted.wrapping_add(1);
        (self.dispatches, self.most_dispatches) = (0, DISPATCHES_PER_SUBMIT);
        self.dispatch(&AdvanceSequence { word: &word, number }, Grid::threads(1));
        let ticket = read_back.then(|| self.download(&word));
        self.execute_on_machine();
        if let Some(error) = self.error.take() {
            self.discard();
            // what fails on a lost device fails for that
            gpu.shared.faults.check_lost()?;
            return Err(error);
        }
        self.pass = None;
        let commands = self.encoder.take().map(wgpu::CommandEncoder::finish);
        for (buffer, bytes) in self.uniforms.buffers.drain(..) {
            gpu.queue().write_buffer(&buffer, 0, &bytes);
        }
        let index = gpu.queue().submit(commands);
        self.used.clear();
        sequence.submitted = number;
        if let Some(timer) = &mut self.timer {
            timer.collect(&gpu).map_err(|message| Error::Gpu { context: "kernel times".into(), message })?;
        }
        gpu.shared.faults.check(self.stage, self.faults)?;
        Ok(Submission { number, index, word: ticket })
    }

    /// Where a machine stands in for the device, submission is execution.
    fn execute_on_machine(&mut self) {
        if let (Some(machine), Some(commands), None) = (&self.gpu.shared.machine, &mut self.commands, &self.error) {
            let executed = machine.execute(&self.gpu, commands.drain(..));
            self.error = executed.map_err(|message| self.gpu_error(message)).err();
        }
    }

    fn discard(&mut self) {
        self.pass = None;
        self.encoder = None;
        self.downloads.clear();
        self.uniforms.buffers.clear();
        self.commands.iter_mut().for_each(Vec::clear);
        self.used.clear();
    }

    /// Holds a buffer back from the pool until submission, so that no other thread's recording can be given it before.
    fn keep<T: Element>(&mut self, buffer: &DeviceBuffer<T>) -> wgpu::Buffer {
        self.check(buffer.raw());
        self.used.push(buffer.raw().clone());
        buffer.raw().buffer.clone()
    }

    /// wgpu would report it with the submission, not with its reason.
    fn check(&mut self, buffer: &RawBuffer) {
        if !buffer.is_of(&self.gpu.shared) {
            self.fail(Error::InvalidInput(format!("{}: a buffer of another device", self.stage)));
        }
    }

    fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }

    fn gpu_error(&self, message: String) -> Error {
        Error::Gpu { context: self.stage.into(), message }
    }

    /// The encoder outside of a pass.
    fn encoder(&mut self) -> &mut wgpu::CommandEncoder {
        self.pass = None;
        let (gpu, stage) = (&self.gpu, self.stage);
        self.encoder.get_or_insert_with(|| {
            gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some(stage) })
        })
    }

    fn record(
        &mut self,
        (name, pipeline): (&str, &Pipeline),
        buffers: &[&RawBuffer],
        params: &[u32],
        [x, y, z]: [u32; 3],
    ) {
        buffers.iter().for_each(|buffer| self.check(buffer));
        if self.error.is_some() {
            return;
        }
        if let Some(commands) = &mut self.commands {
            return commands.push(Command::dispatch(pipeline, buffers, params, [x, y, z]));
        }
        let immediates = self.gpu.capabilities().immediates;
        let uniform = (!immediates && !params.is_empty()).then(|| self.uniforms.push(&self.gpu, params));
        let group = match &uniform {
            None => pipeline.bind_group(self.gpu.device(), buffers),
            Some((buffer, offset)) => {
                let size = std::num::NonZeroU64::new(UNIFORM_STRIDE);
                let params = wgpu::BufferBinding { buffer, offset: *offset, size };
                pipeline.bind_group_with(self.gpu.device(), buffers, params)
            }
        };
        self.used.extend(buffers.iter().map(|b| (*b).clone()));
        self.open_pass(name);
        let pass = self.pass.as_mut().expect("just begun");
        pass.set_pipeline(&pipeline.pipeline);
        pass.set_bind_group(0, &group, &[]);
        if immediates && !params.is_empty() {
            pass.set_immediates(0, bytemuck::cast_slice(params));
        }
        pass.dispatch_workgroups(x, y, z);
        self.dispatches += 1;
        if self.dispatches >= self.most_dispatches {
            if let Err(error) = self.submit() {
                self.fail(error);
            }
        }
    }

    /// Makes sure that a pass is open: the one of the dispatch before, or one with timestamps of its own.
    fn open_pass(&mut self, name: &str) {
        let gpu = self.gpu.clone();
        let stamps = self.timer.as_mut().map(|timer| timer.next(&gpu, name));
        if self.pass.is_none() || stamps.is_some() {
            let timestamp_writes = stamps.as_ref().map(|(query_set, first)| wgpu::ComputePassTimestampWrites {
                query_set,
                beginning_of_pass_write_index: Some(*first),
                end_of_pass_write_index: Some(first + 1),
            });
            let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
            let pass = self.encoder().begin_compute_pass(&descriptor);
            self.pass = Some(pass.forget_lifetime());
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
        let shared = &self.gpu.shared;
        shared.host_waits.fetch_add(1, Ordering::Relaxed);
        let waited = self.poll();
        shared.faults.check(self.stage, self.faults)?;
        waited.map_err(|error| Error::Gpu { context: self.stage.into(), message: error.to_string() })?;
        match self.completed.take(self.word)?[0] {
            found if found == self.number => Ok(self.completed),
            found => {
                let error = Error::StaleSequence { expected: self.number, found };
                shared.faults.record_lost(error.to_string());
                Err(error)
            }
        }
    }

    /// Spins for a moment before it sleeps: on an H200 a short wait takes 30 us spinning and 70 us sleeping.
    fn poll(&self) -> Result<(), wgpu::PollError> {
        let device = self.gpu.device();
        let start = Instant::now();
        while !self.gpu.capabilities().software && start.elapsed() < SPIN {
            device.poll(wgpu::PollType::Poll)?;
            if self.completed.is_mapped() {
                return Ok(());
            }
        }
        let submission_index = Some(self.index.clone());
        device.poll(wgpu::PollType::Wait { submission_index, timeout: None }).map(|_| ())
    }
}

impl Uniforms {
    /// A place for one kernel's parameters; written at submission.
    fn push(&mut self, gpu: &Gpu, params: &[u32]) -> (wgpu::Buffer, u64) {
        let full = |(_, bytes): &(_, Vec<u8>)| bytes.len() as u64 == UNIFORM_BYTES;
        if self.buffers.last().is_none_or(full) {
            let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some("parameters"),
                size: UNIFORM_BYTES,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            self.buffers.push((buffer, vec![]));
        }
        let (buffer, bytes) = self.buffers.last_mut().expect("just pushed");
        let offset = bytes.len();
        bytes.extend_from_slice(bytemuck::cast_slice(params));
        bytes.resize(offset + UNIFORM_STRIDE as usize, 0);
        (buffer.clone(), offset as u64)
    }
}
