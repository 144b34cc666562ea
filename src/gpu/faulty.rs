//! Devices that fail where a test says.
//!
//! A [`Rig`] has an open device underneath, and its compiled kernels. Each [`Rig::open`] makes a device of it that counts the places where one
//! can fail, and fails at one of them. Its memory and its losses are its own: the device underneath goes on, so that the next one costs next to
//! nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        Arc, Mutex, MutexGuard, PoisonError,
    },
};

use super::{
    adapter::GpuOptions,
    device::{Gpu, Parts},
    executor::{Command, Executor, KernelId, LinkedKernel, Look, MemoryId, Part, Readback},
    faults::Faults,
    memory::Limits,
    open,
    warm::Warm,
};
use crate::error::{fault, Error, Fault, Result};

/// What a device is asked for, and can fail in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    /// New memory.
    Create,
    /// An upload.
    Write,
    /// A kernel.
    Compile,
    /// Recorded work.
    Submit,
    /// The end of submitted work.
    Wait,
    /// What was read back.
    Read,
}

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// The device is lost, and says so.
    Lost,
    /// From here on it does nothing any more, and says nothing.
    Silent,
    /// There is no memory left, nor after what is kept was given back.
    OutOfMemory,
    /// An error.
    Error,
    /// An error that is reported aside, as wgpu's are; the work is not done.
    Refused,
    /// This one submission does nothing but read, and nobody says so.
    LeftOut,
    /// One bit of what is read back, by its number modulo how many there are.
    Flipped(u64),
    /// The counter of submissions is the one before.
    Stale,
}

impl Site {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Create, Self::Write, Self::Compile, Self::Submit, Self::Wait, Self::Read];

    /// The ways to fail there; `seed` chooses bits.
    pub fn failures(self, seed: u64) -> Vec<Failure> {
        match self {
            Self::Create => vec![Failure::OutOfMemory, Failure::Lost],
            Self::Write | Self::Compile => vec![Failure::Error, Failure::Refused, Failure::Lost],
            Self::Submit => {
                vec![Failure::Error, Failure::Refused, Failure::LeftOut, Failure::Silent, Failure::Lost]
            }
            Self::Wait => vec![Failure::Error, Failure::Stale, Failure::Lost],
            Self::Read => vec![Failure::Error, Failure::Flipped(seed)],
        }
    }
}

/// The one place of a device where it fails: the how manieth of its kind, from zero on.
pub type FaultPlan = Option<(Site, usize, Failure)>;

/// A device underneath others.
pub struct Rig {
    parts: Parts,
    kernels: Arc<Mutex<HashMap<LinkedKernel, KernelId>>>,
    opened: AtomicU64,
}

/// What happened on a device.
#[derive(Default)]
pub struct Log {
    places: Mutex<BTreeMap<Site, usize>>,
    struck: AtomicBool,
    memory: Mutex<BTreeSet<MemoryId>>,
    closed: AtomicBool,
}

impl Rig {
    /// Opens the device underneath.
    ///
    /// # Errors
    ///
    /// As [`Gpu::new`].
    pub fn new(options: &GpuOptions) -> Result<Self> {
        Ok(Self { parts: open::parts(options)?, kernels: Arc::default(), opened: AtomicU64::new(0) })
    }

    /// A device that fails as planned.
    pub fn open(&self, plan: FaultPlan) -> (Gpu, Arc<Log>) {
        let Parts { executor, adapter, capabilities, limits, .. } = &self.parts;
        let (log, faults) = (Arc::new(Log::default()), Arc::<Faults>::default());
        let faulty = Faulty {
            inner: executor.clone(),
            kernels: self.kernels.clone(),
            log: log.clone(),
            faults: faults.clone(),
            plan,
            gone: Arc::default(),
        };
        let first = (self.opened.fetch_add(1, Ordering::Relaxed) + 1) << 32;
        let parts = Parts {
            executor: Arc::new(faulty),
            adapter: adapter.clone(),
            capabilities: capabilities.clone(),
            faults,
            limits: Limits { first, ..*limits },
            warm: Warm::new(Some(false), adapter.kind).expect("an option needs no environment"),
        };
        (Gpu::of(parts), log)
    }

    /// Whether the device underneath is well.
    ///
    /// # Errors
    ///
    /// What it reported.
    pub fn check(&self) -> Result<()> {
        self.parts.faults.check("the device underneath", 0)
    }
}

impl Log {
    /// Places of a kind so far.
    pub fn places(&self, site: Site) -> usize {
        lock(&self.places).get(&site).copied().unwrap_or(0)
    }

    /// Whether the place that was planned was reached.
    pub fn struck(&self) -> bool {
        self.struck.load(Ordering::Relaxed)
    }

    /// Buffers that were created and not destroyed.
    pub fn buffers(&self) -> usize {
        lock(&self.memory).len()
    }

    /// Whether the device is closed: no thread and no handle holds it.
    pub fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

/// An executor that fails as planned.
struct Faulty {
    inner: Arc<dyn Executor>,
    /// Those of the device underneath, which keeps them.
    kernels: Arc<Mutex<HashMap<LinkedKernel, KernelId>>>,
    log: Arc<Log>,
    faults: Arc<Faults>,
    plan: FaultPlan,
    /// Nothing is done any more.
    gone: Arc<AtomicBool>,
}

/// A readback of a [`Faulty`] device.
struct FaultyReadback {
    inner: Option<Box<dyn Readback>>,
    device: Watch,
    bytes: u64,
    stale: AtomicBool,
}

/// What executor and readbacks share.
#[derive(Clone)]
struct Watch {
    log: Arc<Log>,
    faults: Arc<Faults>,
    plan: FaultPlan,
    gone: Arc<AtomicBool>,
}

impl Watch {
    /// Counts a place; says how it fails, if it does. A loss is noted.
    fn pass(&self, site: Site) -> Option<Failure> {
        let mut places = lock(&self.log.places);
        let count = places.entry(site).or_default();
        let here = *count;
        *count += 1;
        drop(places);
        let struck = |(at, number, failure): &(Site, usize, Failure)| {
            // who is refused memory asks once more
            *at == site && (*number == here || *failure == Failure::OutOfMemory && *number + 1 == here)
        };
        let failure = self.plan.filter(struck)?.2;
        self.log.struck.store(true, Ordering::Relaxed);
        if matches!(failure, Failure::Lost | Failure::Silent) {
            self.gone.store(true, Ordering::Relaxed);
        }
        match failure {
            Failure::Lost => self.faults.record_lost("as planned".into()),
            Failure::Refused => self.faults.record(planned()),
            _ => {}
        }
        Some(failure)
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }
}

fn planned() -> Fault {
    fault("a planned error")
}

impl Faulty {
    fn watch(&self) -> Watch {
        let Self { log, faults, plan, gone, .. } = self;
        Watch { log: log.clone(), faults: faults.clone(), plan: *plan, gone: gone.clone() }
    }
}

impl Executor for Faulty {
    fn create(&self, memory: MemoryId, bytes: u64, what: &str) -> bool {
        if self.watch().pass(Site::Create) == Some(Failure::OutOfMemory) {
            return false;
        }
        // a device that is gone gives memory as one that is not
        let created = self.inner.create(memory, bytes, what);
        if created {
            lock(&self.log.memory).insert(memory);
        }
        created
    }

    fn destroy(&self, memory: MemoryId) {
        assert!(lock(&self.log.memory).remove(&memory), "memory is destroyed once");
        self.inner.destroy(memory);
    }

    fn write(&self, memory: MemoryId, bytes: &[u8], look: Look<'_>) -> Result<(), Fault> {
        let watch = self.watch();
        let failure = watch.pass(Site::Write);
        look(bytes);
        match failure {
            Some(Failure::Error) => Err(planned()),
            _ if failure == Some(Failure::Refused) || watch.is_gone() => Ok(()),
            _ => self.inner.write(memory, bytes, &|_| ()),
        }
    }

    fn compile(&self, kernel: LinkedKernel) -> Result<KernelId, Fault> {
        if self.watch().pass(Site::Compile) == Some(Failure::Error) {
            return Err(planned());
        }
        let mut kernels = lock(&self.kernels);
        if let Some(id) = kernels.get(&kernel) {
            return Ok(*id);
        }
        let id = self.inner.compile(kernel.clone())?;
        Ok(*kernels.entry(kernel).or_insert(id))
    }

    fn submit(&self, stage: &'static str, part: &Part) -> Result<Option<Box<dyn Readback>>, Fault> {
        let (device, bytes) = (self.watch(), part.read_bytes);
        let failure = device.pass(Site::Submit);
        let inner = match failure {
            Some(Failure::Error) => return Err(planned()),
            _ if device.is_gone() || failure == Some(Failure::Refused) => None,
            Some(Failure::LeftOut) => {
                let mut reads = Part { read_bytes: bytes, ..Part::default() };
                let is_read = |command: &&Command| matches!(command, Command::Read { .. });
                reads.commands.extend(part.commands.iter().filter(is_read).cloned());
                self.inner.submit(stage, &reads)?
            }
            _ => self.inner.submit(stage, part)?,
        };
        let readback = || FaultyReadback { inner, device, bytes, stale: AtomicBool::new(false) };
        Ok((bytes > 0).then(|| Box::new(readback()) as Box<dyn Readback>))
    }

    fn lose(&self) {
        self.gone.store(true, Ordering::Relaxed);
        self.faults.record_lost("by a test".into());
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        for memory in std::mem::take(&mut *lock(&self.log.memory)) {
            self.inner.destroy(memory);
        }
        self.log.closed.store(true, Ordering::Relaxed);
    }
}

impl Readback for FaultyReadback {
    fn wait(&self) -> Result<(), Fault> {
        match self.device.pass(Site::Wait) {
            Some(Failure::Error) => return Err(planned()),
            Some(Failure::Stale) => self.stale.store(true, Ordering::Relaxed),
            _ => {}
        }
        self.inner.as_ref().map_or(Ok(()), |inner| inner.wait())
    }

    /// A device that is gone leaves zeros.
    fn read(&self, range: Range<u64>, take: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
        let failure = self.device.pass(Site::Read);
        let mut bytes = vec![0; (range.end - range.start) as usize];
        if let Some(inner) = self.inner.as_ref().filter(|_| !self.device.is_gone()) {
            inner.read(range.clone(), &mut |found| bytes.copy_from_slice(found))?;
        }
        match failure {
            Some(Failure::Error) => return Err(planned()),
            Some(Failure::Flipped(bit)) => {
                let bit = (bit % (8 * bytes.len() as u64)) as usize;
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            _ => {}
        }
        // the counter is the last that a recording reads
        if range.end == self.bytes && self.stale.load(Ordering::Relaxed) {
            let found = u32::from_le_bytes(std::array::from_fn(|byte| bytes[byte]));
            bytes[..4].copy_from_slice(&found.wrapping_sub(1).to_le_bytes());
        }
        take(&bytes);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether an error says that nothing more is to be expected of the device.
pub fn ends_device(error: &Error) -> bool {
    match error {
        Error::DeviceLost(_) | Error::StaleSequence { .. } => true,
        Error::Deferred(cause) => ends_device(cause),
        _ => false,
    }
}
