//! The segments of a proof, on the devices of a prover.

use std::{
    panic::{catch_unwind, AssertUnwindSafe},
    sync::{
        atomic::{AtomicUsize, Ordering},
        Arc, OnceLock,
    },
    thread::{self, Scope},
    time::Instant,
};

use openvm_circuit::arch::{execution_mode::metered::segment_ctx::Segment, ContinuationVmProof, Streams};
use openvm_sdk::StdIn;
use openvm_stark_backend::{proof::Proof, StarkEngine};
use openvm_stark_sdk::config::baby_bear_poseidon2::F;

use super::{ahead::Ahead, AppProver, ProveError, SegmentReport, SC};
use crate::{
    fleet::{Cancellation, Plan, PlannedSegment, Proved, SegmentPlace, State, Task},
    gpu::Gpu,
    openvm::{
        kept::{places, KeptProofs},
        lanes::{Execution, Job, Lanes},
        metered::Metered,
        segments::{available_memory, room, Options, Threads},
        tasks::{self, Ended, Failure, Made, PublicValues, Tree, Turn, Turns, Work},
        Engine, HostVmBuilder,
    },
    WgpuDevice,
};

#[cfg(feature = "fleet")]
pub(in crate::openvm) mod desk;

/// What all devices need of a proof's segments.
struct Segments<'a> {
    /// Known when the execution is metered.
    places: OnceLock<Places>,
    ahead: Ahead<(SegmentReport, Made)>,
    kept: &'a dyn KeptProofs,
    progress: &'a (dyn Fn(&SegmentReport) + Sync),
    /// How many are there by now.
    proved: AtomicUsize,
}

struct Places {
    all: Vec<SegmentPlace>,
    /// Those that are there already.
    given: Vec<Option<tasks::Result>>,
}

/// One device's part.
struct SegmentWork<'a, B: HostVmBuilder> {
    execution: Execution<'a, B>,
    segments: &'a Segments<'a>,
    lanes: Lanes,
    /// At proving.
    turns: Turns,
    slots: AtomicUsize,
}

/// All devices' parts, until nobody works on them any more.
struct Working<'a, 'b, B: HostVmBuilder>(&'b [SegmentWork<'a, B>]);

impl<B: HostVmBuilder> Drop for Working<'_, '_, B> {
    fn drop(&mut self) {
        for work in self.0 {
            work.execution.segments.end();
            work.segments.ahead.end();
            work.lanes.close();
        }
    }
}

impl<B: HostVmBuilder> AppProver<B> {
    /// Proves an execution, and aggregates it if there is a `tree`: a node as soon as its own children are there.
    pub(in crate::openvm) fn prove_tasks(
        &self,
        input: StdIn,
        kept: &dyn KeptProofs,
        progress: &(dyn Fn(&SegmentReport) + Sync),
        tree: Option<&Tree<'_>>,
    ) -> eyre::Result<(ContinuationVmProof<SC>, Option<Proof<SC>>)> {
        // the first proof comes after executions and traces, which take longer than a card keeps its clocks
        let _warm: Vec<_> = self.devices().map(WgpuDevice::keep_warm).collect();
        let input: Streams<F> = input.into();
        let (metered, segments) = (Metered::default(), Segments::new(kept, progress));
        let work = |number| SegmentWork::new(self.execution(number, &input, &metered, kept), &segments);
        let works: Vec<_> = (0..self.devices.len()).map(work).collect();
        let outcome = thread::scope(|scope| {
            let working = Working(&works);
            self.meter_ahead(&works, input.clone(), scope)?;
            segments.begin(&metered.all());
            let plan = self.plan(&works, tree);
            self.start(&works, &plan, scope);
            let program = self.devices[0].program.commitment;
            let works: Vec<&dyn Work> = working.0.iter().map(|work| work as &dyn Work).collect();
            Ok::<_, ProveError>(tasks::run(&plan, program, &works, tree.map_or(&[], |tree| &tree.nodes)))
        })?;
        drop(works);
        segments.outcome(outcome)
    }

    /// Executes the program to find its segments, and begins with the first ones meanwhile.
    fn meter_ahead<'scope, 'a>(
        &self,
        works: &'scope [SegmentWork<'a, B>],
        input: Streams<F>,
        scope: &'scope Scope<'scope, '_>,
    ) -> Result<(), ProveError> {
        let (metered, segments) = (works[0].execution.segments, works[0].segments);
        let devices = works.len();
        let threads = rayon::current_num_threads() / devices;
        let is_ahead = segments.kept.is_empty() && self.options.is_ahead(threads);
        // VMs are made, and the first segment is executed, beside this
        for work in works {
            work.lanes.start(&work.execution, is_ahead && work.is_first(), scope);
        }
        self.find_segments(input, |segment, goes_on| {
            metered.push(segment);
            if segments.ahead.found() == 1 && is_ahead {
                let works = works.iter().filter(|work| goes_on || work.is_first());
                works.for_each(|work| work.go_ahead(&self.options, (threads, devices), goes_on, scope));
            }
        })?;
        segments.ahead.end();
        Ok(())
    }

    fn plan(&self, works: &[SegmentWork<'_, B>], tree: Option<&Tree<'_>>) -> Plan {
        let largest = self.devices().map(|device| room(device.gpu())).max().unwrap_or(0);
        // what is too large for all of them is tried on the largest, whose error says what does not fit
        let bytes = |segment: &Segment| {
            let most = works.iter().map(|work| work.execution.metered(segment).device_bytes).max();
            most.unwrap_or(0).min(largest)
        };
        let segments = works[0].segments.places().all.iter().zip(works[0].execution.segments());
        let segment = |(place, segment): (&SegmentPlace, Arc<Segment>)| PlannedSegment {
            place: *place,
            device_bytes: bytes(&segment),
        };
        let start = State { pc: self.exe.pc_start, root: Default::default() };
        tasks::plan(start, segments.map(segment).collect(), tree)
    }

    /// Starts the lanes of all devices.
    fn start<'scope, 'a>(&self, works: &'scope [SegmentWork<'a, B>], plan: &Plan, scope: &'scope Scope<'scope, '_>) {
        let given = &works[0].segments.places().given;
        let missing: Vec<_> = (0..given.len()).filter(|index| given[*index].is_none()).collect();
        // devices that are too small for all that is missing have no share
        let least = missing.iter().map(|index| plan.segments[*index].device_bytes).min().unwrap_or(0);
        let shares = works.iter().filter(|work| room(work.gpu()) >= least).count().max(1);
        let share = missing.len().div_ceil(shares);
        for work in works {
            let threads = work.threads(&self.options, share, rayon::current_num_threads() / shares, shares);
            work.grow(threads, share, scope);
            if !missing.is_empty() {
                work.compile_ahead(scope);
            }
        }
    }
}

impl<'a, B: HostVmBuilder> SegmentWork<'a, B> {
    fn new(execution: Execution<'a, B>, segments: &'a Segments<'a>) -> Self {
        let (lanes, turns, slots) = (Lanes::default(), Turns::default(), AtomicUsize::new(0));
        Self { execution, segments, lanes, turns, slots }
    }

    /// Threads for `share` segments, as far as segments are known, if there are `threads` and `shares` devices share the host's memory.
    fn threads(&self, options: &Options, share: usize, threads: usize, shares: usize) -> Threads {
        let memory = available_memory(self.gpu()).map(|memory| memory / shares as u64);
        options.threads(share, self.execution.most_host_bytes(), memory, threads)
    }

    fn grow<'scope>(&'scope self, threads: Threads, share: usize, scope: &'scope Scope<'scope, '_>) {
        self.turns.allow(threads.workers);
        self.lanes.grow(&self.execution, threads.lanes, scope);
        self.slots.store((threads.lanes + threads.workers).min(share).max(1), Ordering::Relaxed);
    }

    /// Compiles what makes the traces, beside the first segments' executions.
    fn compile_ahead<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        let kernels = self.execution.kernels();
        scope.spawn(move || self.gpu().compile_ahead(kernels));
    }

    /// Whether this device begins.
    fn is_first(&self) -> bool {
        self.execution.number == 0
    }

    /// Begins with the segments that are known: two at a time are prepared while others are still to be found, and one is proved. The first one
    /// was executed before by the lane that begins.
    fn go_ahead<'scope>(
        &'scope self,
        options: &Options,
        (threads, shares): (usize, usize),
        goes_on: bool,
        scope: &'scope Scope<'scope, '_>,
    ) {
        let segments = if goes_on { 2 } else { 1 };
        self.compile_ahead(scope);
        let threads = Threads { workers: 1, ..self.threads(options, segments, threads, shares) };
        self.grow(threads, segments + 1, scope);
        let ahead = &self.segments.ahead;
        let mut first = self.is_first().then(|| ahead.next(|segment| self.fits(segment))).flatten();
        if first.is_none() {
            self.lanes.let_go();
        }
        for _ in 0..threads.lanes + threads.workers {
            let first = first.take();
            scope.spawn(move || {
                let mut next = first.or_else(|| ahead.next(|segment| self.fits(segment)));
                while let Some(segment) = next {
                    // whatever goes wrong: the segment's task tries again, and knows what to do
                    let made = catch_unwind(AssertUnwindSafe(|| self.make(segment, &Cancellation::default())));
                    ahead.put(segment, made.ok().and_then(Result::ok));
                    next = ahead.next(|segment| self.fits(segment));
                }
            });
        }
    }

    /// Whether the device has the memory for a segment.
    fn fits(&self, segment: usize) -> bool {
        let bytes = self.execution.metered(&self.execution.segments()[segment]).device_bytes;
        bytes <= room(self.gpu())
    }
}

impl<'a> Segments<'a> {
    fn new(kept: &'a dyn KeptProofs, progress: &'a (dyn Fn(&SegmentReport) + Sync)) -> Self {
        let (places, ahead, proved) = (OnceLock::new(), Ahead::default(), AtomicUsize::new(0));
        Self { places, ahead, kept, progress, proved }
    }

    /// All segments are known.
    fn begin(&self, segments: &[Arc<Segment>]) {
        let all = places(segments);
        self.kept.begin(&all);
        let public_values = self.kept.public_values();
        let given = |place: &SegmentPlace| {
            // the last one's traces have the tree that public values are opened in
            let is_last = place.segment + 1 == all.len();
            let public_values = public_values.clone().filter(|_| is_last);
            if is_last && public_values.is_none() {
                return None;
            }
            let proof = self.kept.segment(place)?;
            (self.progress)(&SegmentReport::of_kept(place));
            Some(Arc::new(Made { proof, public_values }))
        };
        let given: Vec<_> = all.iter().map(given).collect();
        self.proved.store(given.iter().flatten().count(), Ordering::Relaxed);
        assert!(self.places.set(Places { all, given }).is_ok(), "segments are found once");
    }

    /// # Panics
    ///
    /// Before all are known.
    fn places(&self) -> &Places {
        self.places.get().expect("the execution is metered")
    }

    fn keep(&self, report: &SegmentReport, proof: &Proof<SC>, public_values: Option<&PublicValues>) {
        let places = &self.places().all;
        self.kept.keep_segment(&places[report.segment], proof);
        public_values.iter().for_each(|values| self.kept.keep_public_values(values));
        self.proved.fetch_add(1, Ordering::Relaxed);
        (self.progress)(&SegmentReport { segments: places.len(), ..*report });
    }

    fn outcome(
        self,
        outcome: Result<Proved<tasks::Result>, Ended>,
    ) -> eyre::Result<(ContinuationVmProof<SC>, Option<Proof<SC>>)> {
        // what was given is dropped here, so that results have no other owner
        let segments = self.places.into_inner().expect("the execution is metered").all.len();
        let proved = self.proved.into_inner();
        match outcome {
            Ok(Proved { segments, root, .. }) => {
                let mut segments: Vec<_> = segments.into_iter().map(Arc::unwrap_or_clone).collect();
                let end = segments.last_mut().and_then(|last| last.public_values.take());
                let user_public_values = end.expect("opened behind the last segment, or kept");
                let per_segment = segments.into_iter().map(|made| made.proof).collect();
                let root = root.map(|made| Arc::unwrap_or_clone(made).proof);
                Ok((ContinuationVmProof { per_segment, user_public_values }, root))
            }
            Err(Ended::Failure(failure)) => Err(failure.into_report()),
            Err(Ended::Stopped) if proved < segments => Err(ProveError::Stopped { proved, segments }.into()),
            Err(Ended::Stopped) => Err(ProveError::StoppedAggregation.into()),
            Err(Ended::Other(text)) => Err(ProveError::NoDevice(text).into()),
        }
    }
}

impl<B: HostVmBuilder> Work for SegmentWork<'_, B> {
    fn gpu(&self) -> &Gpu {
        self.execution.device.gpu()
    }

    fn slots(&self) -> usize {
        self.slots.load(Ordering::Relaxed)
    }

    fn run(&self, task: &Task, _: &[tasks::Result], cancelled: &Cancellation) -> Result<tasks::Result, Failure> {
        let segments = self.segments;
        if let Some(given) = &segments.places().given[task.index] {
            return Ok(given.clone());
        }
        let (report, made) = match segments.ahead.take(task.index) {
            Some(made) => made,
            None if segments.kept.stops() => return Err(Failure::Cancelled),
            None => self.make(task.index, cancelled)?,
        };
        segments.keep(&report, &made.proof, made.public_values.as_ref());
        Ok(Arc::new(made))
    }
}

impl<B: HostVmBuilder> SegmentWork<'_, B> {
    /// Executes a segment and proves it.
    fn make(&self, segment: usize, cancelled: &Cancellation) -> Result<(SegmentReport, Made), Failure> {
        let job = self.lanes.prepare(segment, cancelled)?;
        let turn = self.turns.take(segment);
        if cancelled.is_cancelled() || self.segments.kept.stops() {
            return Err(Failure::Cancelled);
        }
        Ok(self.prove(job, turn)?)
    }

    /// Proves a segment that is ready.
    fn prove(&self, job: Job, turn: Turn<'_>) -> Result<(SegmentReport, Made), ProveError> {
        let Job { context, admission, mut report, ready, public_values } = job;
        report.waiting += ready.elapsed();
        let start = Instant::now();
        let engine: Engine = Engine::from_device(self.execution.device.under(&admission));
        let proof = engine.prove(self.execution.pk, context);
        drop(turn);
        let proof = proof.map_err(|error| ProveError::Segment { segment: report.segment, error })?;
        report.proving = start.elapsed();
        Ok((report, Made { proof, public_values }))
    }
}

#[cfg(test)]
mod tests;
