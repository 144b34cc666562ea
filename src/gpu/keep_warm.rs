//! Light work for a card that would lower its clocks while the host prepares a proof.
//!
//! An H200 that has idled for 400 ms proves two and a half times as slowly, and its driver takes small work without a gap for a reason to
//! keep clocks up. So while somebody holds a [`KeepWarm`], a thread keeps two bursts of one to two tenths of a millisecond queued. It makes way for
//! everybody else: it begins when nothing else was submitted for a while and nobody waits for the device, so within a proof it does nothing,
//! and the first submission of a proof finds at most two bursts before it.

use std::{
    collections::VecDeque,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    buffer::DeviceBuffer,
    device::Gpu,
    kernel::Grid,
    recorder::Running,
    warm::{Orders, LIMIT, VARIABLE},
};
use crate::{error::Result, kernel};

kernel! {
    /// values[i] = values[i]^(2^1600)
    struct WarmUp("warm.wgsl", workgroup = 64) {
        buffers { write values: u32 }
    }
}

/// How long nothing else may have been submitted before bursts begin: an H200 keeps its clocks for 100 ms.
const QUIET: Duration = Duration::from_millis(20);

/// Values that a burst works on, one a thread: some threads for each multiprocessor of the largest card.
const VALUES: usize = 64 * 64;

/// Dispatches of a burst at most, fewer where one takes longer than [`LONG`]. All fit into one submission, and take 25 us each on an H200.
const MOST_DISPATCHES: usize = 7;

/// A burst that others should not have to wait for.
const LONG: Duration = Duration::from_micros(250);

/// A wait that shows that the burst was over before: such bursts are too short to keep the device busy.
const NO_WAIT: Duration = Duration::from_micros(15);

/// How long the thread sleeps between two bursts: less than a burst takes, so that the other queued one lasts.
const NAP: Duration = Duration::from_micros(40);

/// While a clone of this lives, the device is kept busy when it has nothing else to do; see [`Gpu::keep_warm`].
#[must_use = "the device cools down when this is dropped"]
pub struct KeepWarm {
    /// `None` where keeping warm is off.
    gpu: Option<Gpu>,
}

impl KeepWarm {
    /// Environment variable that decides where no option does: `0` is off, `1` on.
    pub const VARIABLE: &str = VARIABLE;

    /// Whether there is work beside the proofs: the device is to be kept warm, and could be.
    pub fn is_on(&self) -> bool {
        self.gpu.is_some()
    }
}

impl std::fmt::Debug for KeepWarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeepWarm").field("on", &self.is_on()).finish()
    }
}

impl Drop for KeepWarm {
    fn drop(&mut self) {
        // in a child of a fork there is no thread to wait for
        let Some(gpu) = self.gpu.as_ref().filter(|gpu| gpu.check_process().is_ok()) else { return };
        let mut state = gpu.shared.warm.lock();
        state.guards -= 1;
        let ended = if state.guards == 0 { state.thread.take() } else { None };
        drop(state);
        if let Some((orders, thread)) = ended {
            orders.give(None);
            // a process must not exit while a thread is in the driver
            let _ = thread.join();
        }
    }
}

impl Gpu {
    /// Keeps the device's clocks up for a proof that is being prepared, until the result is dropped, but no longer than five seconds after the
    /// last call and the last work of somebody else.
    ///
    /// Does nothing unless the device is a discrete card, no battery is discharged, and neither the option
    /// [`keep_warm`](super::GpuOptions::keep_warm) nor the variable [`KeepWarm::VARIABLE`] says something else. Dropping the last guard
    /// waits for the end of its work: a fraction of a millisecond.
    pub fn keep_warm(&self) -> KeepWarm {
        let warm = &self.shared.warm;
        if !warm.is_enabled() || self.is_lost() || self.check_process().is_err() {
            return KeepWarm { gpu: None };
        }
        let gpu = Gpu { shared: self.shared.clone(), admission: None };
        let mut state = warm.lock();
        if let Some((orders, _)) = &state.thread {
            orders.give(Some(Instant::now() + LIMIT));
        } else {
            let (orders, gpu) = (Arc::new(Orders::new()), gpu.clone());
            let told = orders.clone();
            let thread = thread::Builder::new().name("keep-warm".into()).spawn(move || keep_warm(&gpu, &told));
            // without a thread the device cools down, which costs time only
            let Ok(thread) = thread else { return KeepWarm { gpu: None } };
            state.thread = Some((orders, thread));
        }
        state.guards += 1;
        drop(state);
        KeepWarm { gpu: Some(gpu) }
    }

    /// What a device is kept warm with, once; for tests.
    #[doc(hidden)]
    pub fn warm_burst(&self, values: &DeviceBuffer<u32>) -> Result<()> {
        burst(self, values, 1)?.wait().map(|_| ())
    }

    /// Submissions so far.
    fn submitted(&self) -> u32 {
        self.shared.submissions.lock().unwrap_or_else(|p| p.into_inner()).submitted
    }
}

/// Hands a burst over. The number of values is a multiple of 64.
fn burst(gpu: &Gpu, values: &DeviceBuffer<u32>, dispatches: usize) -> Result<Running> {
    assert!(values.len().is_multiple_of(64), "whole workgroups");
    let mut rec = gpu.recorder("keep warm");
    for _ in 0..dispatches {
        rec.dispatch(&WarmUp { values }, Grid::threads(values.len()));
    }
    rec.hand_over()
}

/// The thread: until it is told to end, or the device fails.
fn keep_warm(gpu: &Gpu, orders: &Orders) {
    let worked = gpu.table("keep warm", || vec![3u32; VALUES]).and_then(|values| Worker::new(gpu, values).run(orders));
    if let Err(error) = worked {
        tracing::debug!(%error, "the device is not kept warm any more");
    }
}

struct Worker<'a> {
    gpu: &'a Gpu,
    values: DeviceBuffer<u32>,
    dispatches: usize,
    queued: VecDeque<Running>,
    /// When the last burst ended.
    ended: Instant,
    /// Own submissions.
    own: u32,
    /// Those of others, when there was the last one, if any.
    others: u32,
    last: Option<Instant>,
}

impl<'a> Worker<'a> {
    fn new(gpu: &'a Gpu, values: DeviceBuffer<u32>) -> Self {
        let others = gpu.submitted();
        let (queued, ended) = (VecDeque::new(), Instant::now());
        Self { gpu, values, dispatches: 1, queued, ended, own: 0, others, last: None }
    }

    fn run(&mut self, orders: &Orders) -> Result<()> {
        while let Some(until) = orders.until() {
            let now = Instant::now();
            if self.others_work(now) {
                self.drain()?;
                orders.sleep(QUIET / 4);
            } else if now > until.max(self.last.map_or(until, |last| last + LIMIT)) {
                self.drain()?;
                orders.sleep(5 * QUIET);
            } else {
                self.queue_one()?;
                thread::sleep(NAP);
            }
        }
        self.drain()
    }

    /// Whether somebody else has given the device work a short time ago, or waits for it.
    fn others_work(&mut self, now: Instant) -> bool {
        let others = self.gpu.submitted().wrapping_sub(self.own);
        if others != self.others || self.gpu.shared.warm.is_waited_for() {
            (self.others, self.last) = (others, Some(now));
        }
        self.last.is_some_and(|last| now - last < QUIET)
    }

    /// Adds a burst to the one that runs, and waits until only the new one is left.
    fn queue_one(&mut self) -> Result<()> {
        self.queued.push_back(burst(self.gpu, &self.values, self.dispatches)?);
        self.own = self.own.wrapping_add(1);
        if self.queued.len() == 1 {
            self.ended = Instant::now();
            return Ok(());
        }
        let waiting = Instant::now();
        self.end_one()?;
        let (waited, took) = (waiting.elapsed(), self.ended.elapsed());
        self.ended = Instant::now();
        if waited < NO_WAIT {
            self.dispatches = (self.dispatches + 1).min(MOST_DISPATCHES);
        } else if took > LONG {
            self.dispatches = (self.dispatches / 2).max(1);
        }
        Ok(())
    }

    fn end_one(&mut self) -> Result<()> {
        self.queued.pop_front().map_or(Ok(()), |running| running.wait_uncounted().map(|_| ()))
    }

    fn drain(&mut self) -> Result<()> {
        while !self.queued.is_empty() {
            self.end_one()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use openvm_stark_sdk::config::baby_bear_poseidon2::F;
    use p3_field::PrimeCharacteristicRing;

    use super::*;
    use crate::gpu::{testing, GpuOptions};

    fn device(keep_warm: bool) -> Gpu {
        Gpu::new(&GpuOptions { keep_warm: Some(keep_warm), ..GpuOptions::default() }).unwrap()
    }

    /// Waits until `holds`, for a minute at most.
    fn soon(mut holds: impl FnMut() -> bool) -> bool {
        let start = Instant::now();
        while !holds() && start.elapsed() < Duration::from_secs(60) {
            thread::sleep(Duration::from_millis(2));
        }
        holds()
    }

    fn is_quiet(gpu: &Gpu) -> bool {
        let before = gpu.submitted();
        thread::sleep(3 * QUIET);
        gpu.submitted() == before
    }

    #[test]
    fn a_burst_is_repeated_squaring() {
        let gpu = testing::gpu();
        let values: Vec<F> = (0..128).map(F::from_u32).collect();
        let device = gpu.upload(&values, "values").unwrap();
        gpu.warm_burst(&device.cast()).unwrap();
        let expected: Vec<F> = values.iter().map(|x| x.exp_power_of_2(1600)).collect();
        assert_eq!(gpu.download(&device).unwrap(), expected);
    }

    #[test]
    fn bursts_come_while_a_guard_lives_and_make_way() {
        let gpu = device(true);
        let start = gpu.submitted();
        let (guard, other) = (gpu.keep_warm(), gpu.keep_warm());
        assert!(guard.is_on() && soon(|| gpu.submitted() > start + 3), "no bursts");
        drop(guard);
        let before = gpu.submitted();
        assert!(soon(|| gpu.submitted() > before + 3), "the other guard lives");
        // somebody waits: bursts that were queued end, and none follow
        let waiting = gpu.shared.warm.wait();
        assert!(soon(|| is_quiet(&gpu)), "bursts while somebody waits");
        let before = gpu.submitted();
        drop(waiting);
        assert!(soon(|| gpu.submitted() > before), "no bursts afterwards");
        assert_eq!(gpu.metrics().host_waits, 0, "bursts are nobody's waits");
        drop(other);
        assert!(is_quiet(&gpu), "bursts without a guard");
        assert!(gpu.shared.warm.lock().thread.is_none());
    }

    #[test]
    fn proofs_at_once_take_guards_in_any_order() {
        let gpu = device(true);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..20).for_each(|_| drop(gpu.keep_warm())));
            }
        });
        let state = gpu.shared.warm.lock();
        assert!(state.guards == 0 && state.thread.is_none());
    }

    #[test]
    fn a_lost_device_is_left_alone() {
        let gpu = device(true);
        let guard = gpu.keep_warm();
        gpu.lose();
        let ended = |gpu: &Gpu| gpu.shared.warm.lock().thread.as_ref().is_some_and(|(_, thread)| thread.is_finished());
        assert!(soon(|| ended(&gpu)), "the thread goes on");
        drop(guard);
        // the thread may have ended by an error, before the loss was reported
        assert!(soon(|| gpu.is_lost()), "the loss is not reported");
        assert!(!gpu.keep_warm().is_on());
    }

    #[test]
    fn nothing_happens_where_it_is_off() {
        let gpu = device(false);
        let guard = gpu.keep_warm();
        assert!(!guard.is_on() && gpu.shared.warm.lock().thread.is_none());
    }
}
