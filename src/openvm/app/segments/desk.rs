//! A job's segments on one device for whoever asks, for as long as somebody may: a fleet's worker.

use std::sync::mpsc::{channel, Receiver, Sender};

use openvm_circuit::{
    arch::hasher::poseidon2::vm_poseidon2_hasher,
    system::memory::{merkle::MerkleTree, AddressMap},
};
use openvm_stark_backend::p3_field::PrimeField32;
use openvm_stark_sdk::config::baby_bear_poseidon2::Digest;

use super::*;
use crate::{fleet::TaskError, openvm::kept::NothingKept};

/// A task that somebody waits for.
struct Request {
    task: Task,
    cancelled: Cancellation,
    reply: Sender<Result<tasks::Result, TaskError>>,
}

/// Where a job's segments are asked for. The prover has a thread of its own, since it borrows from itself; it ends with this.
pub(in crate::openvm) struct Desk {
    requests: Sender<Request>,
    /// The commitment to the program.
    pub program: Digest,
    /// What verifiers know it by.
    pub exe_commit: Digest,
}

impl Desk {
    /// Makes a prover by `prover`, for `segments` of the execution on `input`.
    ///
    /// # Errors
    ///
    /// What `prover` fails with.
    pub(in crate::openvm) fn open(
        prover: impl FnOnce() -> Result<AppProver, ProveError> + Send + 'static,
        input: StdIn,
        segments: Vec<Segment>,
    ) -> Result<Self, TaskError> {
        let (requests, received) = channel();
        let (ready, told) = channel();
        thread::spawn(move || {
            let prover = match catch_unwind(AssertUnwindSafe(prover)) {
                Ok(Ok(prover)) => prover,
                Ok(Err(error)) => return ready.send(Err(Failure::from(error).consequence())).unwrap_or(()),
                Err(panic) => return ready.send(Err(Failure::Panic(panic).consequence())).unwrap_or(()),
            };
            let _ = ready.send(Ok((prover.devices[0].program.commitment, prover.exe_commit())));
            prover.serve(input, segments, &received);
        });
        let gone = |_| TaskError::Device("the prover's thread has ended".into());
        let (program, exe_commit) = told.recv().map_err(gone)??;
        Ok(Self { requests, program, exe_commit })
    }

    /// Proves a segment. Blocks.
    pub(in crate::openvm) fn run(&self, task: &Task, cancelled: &Cancellation) -> Result<tasks::Result, TaskError> {
        let (reply, result) = channel();
        let gone = || TaskError::Device("the prover's thread has ended".into());
        let request = Request { task: task.clone(), cancelled: cancelled.clone(), reply };
        self.requests.send(request).map_err(|_| gone())?;
        result.recv().unwrap_or_else(|_| Err(gone()))
    }
}

impl AppProver {
    /// Proves segments that are asked for, one at a time, until nobody can ask any more.
    fn serve(&self, input: StdIn, segments: Vec<Segment>, requests: &Receiver<Request>) {
        let input: Streams<F> = input.into();
        let metered = Metered::default();
        segments.into_iter().for_each(|segment| metered.push(segment));
        metered.end();
        let all = Segments::new(&NothingKept, &|_| ());
        all.begin(&metered.all());
        let works = [SegmentWork::new(self.execution(0, &input, &metered, &NothingKept), &all)];
        thread::scope(|scope| {
            let _working = Working(&works);
            let [work] = &works;
            work.grow(Threads { lanes: 1, workers: 1 }, 1, scope);
            for Request { task, cancelled, reply } in requests {
                let _warm = work.execution.device.keep_warm();
                let made = catch_unwind(AssertUnwindSafe(|| work.run(&task, &[], &cancelled)));
                let made = made.unwrap_or_else(|panic| Err(Failure::Panic(panic)));
                // whoever does not wait any more has no use for it
                let _ = reply.send(made.map_err(|failure| failure.consequence()));
            }
        });
    }

    /// Executes the program on `input`: the plan of a proof, named `job`, and what workers need of the segments. What is not said about the
    /// tree is as for no aggregation.
    ///
    /// # Errors
    ///
    /// [`ProveError::Vm`] if the execution fails.
    pub(in crate::openvm) fn plan_job(&self, job: String, input: StdIn) -> Result<(Plan, Vec<Segment>), ProveError> {
        let input: Streams<F> = input.into();
        let (metered, all) = (Metered::default(), Segments::new(&NothingKept, &|_| ()));
        self.find_segments(input.clone(), |segment, _| metered.push(segment))?;
        all.begin(&metered.all());
        let work = SegmentWork::new(self.execution(0, &input, &metered, &NothingKept), &all);
        let plan = self.plan(std::slice::from_ref(&work), None);
        let start = State { root: self.first_root().map(|word| word.as_canonical_u32()), ..plan.start };
        let segments = metered.all().iter().map(|segment| (**segment).clone()).collect();
        Ok((Plan { job, start, ..plan }, segments))
    }

    /// The root of the memory with which the program begins.
    fn first_root(&self) -> Digest {
        let config = &self.system_config().memory_config;
        let mut memory = AddressMap::new(config.addr_spaces.clone());
        memory.set_from_sparse(&self.exe.init_memory);
        MerkleTree::from_memory(&memory, &config.memory_dimensions(), &vm_poseidon2_hasher()).root()
    }
}
