//! Threads that make traces side by side, each with chips of its own.
//!
//! Upstream's chips count what they look up in tables that all threads of a machine share, so sixteen threads are hardly faster than
//! eight, with twice the work. Here each thread makes whole traces with its own machine and adds its counts to those of the segment's machine
//! when a trace is done. That is for chips that share nothing but such tables: those of RV32IM. All others are left to the segment's machine.

use std::{
    any::Any,
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    panic::{catch_unwind, resume_unwind, AssertUnwindSafe},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::{channel, Receiver, Sender},
        Arc, Condvar, Mutex, MutexGuard,
    },
    thread::{self, JoinHandle},
};

use openvm_circuit::{
    arch::{ChipInventory, VmBuilder, VmCircuitConfig},
    primitives::{
        bitwise_op_lookup::SharedBitwiseOperationLookupChip, range_tuple::SharedRangeTupleCheckerChip,
        var_range::SharedVariableRangeCheckerChip,
    },
};
use openvm_cpu_backend::CpuBackend;
use openvm_rv32im_circuit::{
    Rv32AuipcChip, Rv32BaseAluChip, Rv32BranchEqualChip, Rv32BranchLessThanChip, Rv32DivRemChip, Rv32HintStoreChip,
    Rv32JalLuiChip, Rv32JalrChip, Rv32LessThanChip, Rv32LoadSignExtendChip, Rv32LoadStoreChip, Rv32MulHChip,
    Rv32MultiplicationChip, Rv32ShiftChip,
};
use openvm_stark_backend::prover::AirProvingContext;
use openvm_stark_sdk::config::baby_bear_poseidon2::{BabyBearPoseidon2Config, F};
use rayon::ThreadPoolBuilder;

use super::{builder::upload, HostEngine};
use crate::{gpu::Gpu, WgpuBackend};

type Inventory<RA> = ChipInventory<BabyBearPoseidon2Config, RA, CpuBackend<BabyBearPoseidon2Config>>;

/// A trace on the device, or what the chip's panic said.
type Outcome = thread::Result<AirProvingContext<WgpuBackend>>;

/// Whether a chip shares nothing with others but tables of [`Tables`].
fn is_independent(chip: &dyn Any) -> bool {
    macro_rules! is_any {
        ($($chip:ident)*) => { $(chip.is::<$chip<F>>())||* };
    }
    is_any!(
        Rv32BaseAluChip Rv32LessThanChip Rv32ShiftChip Rv32LoadStoreChip Rv32LoadSignExtendChip
        Rv32BranchEqualChip Rv32BranchLessThanChip Rv32JalLuiChip Rv32JalrChip Rv32AuipcChip
        Rv32MultiplicationChip Rv32MulHChip Rv32DivRemChip Rv32HintStoreChip
    )
}

/// A machine's tables of lookups, by the numbers of their chips.
#[derive(Clone, Default)]
struct Tables(Vec<(usize, Table)>);

#[derive(Clone)]
enum Table {
    Ranges(SharedVariableRangeCheckerChip),
    Bitwise(SharedBitwiseOperationLookupChip<8>),
    Tuples(SharedRangeTupleCheckerChip<2>),
}

impl Tables {
    fn of<RA>(chips: &Inventory<RA>) -> Self {
        let table = |chip: &dyn Any| {
            let ranges = chip.downcast_ref().map(|table: &SharedVariableRangeCheckerChip| Table::Ranges(table.clone()));
            let bitwise =
                || chip.downcast_ref().map(|table: &SharedBitwiseOperationLookupChip<8>| Table::Bitwise(table.clone()));
            let tuples =
                || chip.downcast_ref().map(|table: &SharedRangeTupleCheckerChip<2>| Table::Tuples(table.clone()));
            ranges.or_else(bitwise).or_else(tuples)
        };
        let tables = chips.chips().iter().enumerate();
        Self(tables.filter_map(|(index, chip)| Some((index, table(chip.as_any())?))).collect())
    }

    /// Moves all counts to another machine's tables.
    fn move_to(&self, others: &Self) {
        for ((index, from), (other_index, to)) in self.0.iter().zip(&others.0) {
            assert_eq!(index, other_index, "machines of one configuration have the same tables");
            match (from, to) {
                (Table::Ranges(from), Table::Ranges(to)) => from.count.iter().zip(&to.count).for_each(move_count),
                (Table::Tuples(from), Table::Tuples(to)) => {
                    from.count.iter().zip(&to.count).for_each(|(from, to)| move_count((from, to)));
                }
                (Table::Bitwise(from), Table::Bitwise(to)) => {
                    from.count_range.iter().zip(&to.count_range).for_each(move_count);
                    from.count_xor.iter().zip(&to.count_xor).for_each(move_count);
                }
                _ => unreachable!("machines of one configuration have the same tables"),
            }
        }
    }
}

fn move_count((from, to): (&AtomicU32, &AtomicU32)) {
    // no other thread has `from`
    let count = from.load(Ordering::Relaxed);
    if count > 0 {
        from.store(0, Ordering::Relaxed);
        to.fetch_add(count, Ordering::Relaxed);
    }
}

/// What a machine has given to a team, and what it needs to do so.
#[derive(Default)]
pub(super) struct Shared {
    /// Chips whose traces others can make.
    independent: Vec<usize>,
    tables: Tables,
    outcomes: Mutex<HashMap<usize, Receiver<Outcome>>>,
}

impl Shared {
    pub(super) fn new<RA>(chips: &Inventory<RA>) -> Self {
        let independent = chips.chips().iter().enumerate().filter(|(_, chip)| is_independent(chip.as_any()));
        let independent = independent.map(|(index, _)| index).collect();
        Self { independent, tables: Tables::of(chips), outcomes: Mutex::default() }
    }

    /// The numbers of the chips whose traces others can make.
    pub(super) fn independent(&self) -> &[usize] {
        &self.independent
    }

    /// The trace of a chip that was given to a team, when it is done. Its counts are in this machine's tables then.
    pub(super) fn take(&self, chip: usize) -> Option<AirProvingContext<WgpuBackend>> {
        let outcome = lock(&self.outcomes).remove(&chip)?;
        let outcome = outcome.recv().expect("a team does what it was given");
        Some(outcome.unwrap_or_else(|panic| resume_unwind(panic)))
    }
}

/// The records of one chip in a segment.
pub(super) struct Records<RA> {
    pub segment: usize,
    pub chip: usize,
    pub arena: RA,
    /// As far as it is known, so that large traces are begun first.
    pub cells: usize,
    pub gpu: Gpu,
}

struct Work<RA> {
    records: Records<RA>,
    tables: Tables,
    reply: Sender<Outcome>,
}

/// See the module.
pub(super) struct Team<RA> {
    queue: Mutex<Queue<RA>>,
    changed: Condvar,
}

struct Queue<RA> {
    /// Segments that are first come first, and of them the largest traces.
    work: BTreeMap<(usize, Reverse<usize>, usize), Work<RA>>,
    closed: bool,
}

impl<RA: Send> Team<RA> {
    fn new() -> Self {
        Self { queue: Mutex::new(Queue { work: BTreeMap::new(), closed: false }), changed: Condvar::new() }
    }

    /// Has a trace made, which the machine then [takes](Shared::take).
    pub(super) fn give(&self, machine: &Shared, records: Records<RA>) {
        let (reply, outcome) = channel();
        lock(&machine.outcomes).insert(records.chip, outcome);
        let key = (records.segment, Reverse(records.cells), records.chip);
        let work = Work { records, tables: machine.tables.clone(), reply };
        lock(&self.queue).work.insert(key, work);
        self.changed.notify_one();
    }

    /// Makes traces with a machine of its own until the team is closed.
    fn work<B>(&self, host: &B, config: &B::VmConfig)
    where
        B: VmBuilder<HostEngine, RecordArena = RA>,
        RA: 'static,
    {
        // what chips do in parallel is done by this thread alone
        let alone = ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
        let mut member = Some(Member::new(host, config));
        while let Some(Work { records, tables, reply }) = self.next() {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                member.get_or_insert_with(|| Member::new(host, config)).make(records, &tables)
            }));
            if outcome.is_err() {
                // its tables have counts of a trace that is none
                member = None;
            }
            // nobody waits for it if something else has failed
            let _ = reply.send(outcome);
        }
        drop(alone);
    }

    fn next(&self) -> Option<Work<RA>> {
        let mut queue = lock(&self.queue);
        loop {
            if let Some((_, work)) = queue.work.pop_first() {
                return Some(work);
            }
            if queue.closed {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }
}

/// A team with its threads, which end with this.
pub(super) struct Threads<RA: Send> {
    team: Arc<Team<RA>>,
    threads: Vec<JoinHandle<()>>,
}

impl<RA: Send + 'static> Threads<RA> {
    /// Starts `threads` threads for machines that `host` builds; nothing is waited for.
    pub(super) fn start<B>(threads: usize, host: &B, config: &B::VmConfig) -> Self
    where
        B: VmBuilder<HostEngine, RecordArena = RA> + Clone + Send + 'static,
        B::VmConfig: Send + 'static,
    {
        let team = Arc::new(Team::new());
        let start = |_| {
            let (team, host, config) = (team.clone(), host.clone(), config.clone());
            thread::spawn(move || team.work(&host, &config))
        };
        let threads = (0..threads).map(start).collect();
        Self { team, threads }
    }

    pub(super) fn team(&self) -> &Team<RA> {
        &self.team
    }
}

impl<RA: Send> Drop for Threads<RA> {
    fn drop(&mut self) {
        lock(&self.team.queue).closed = true;
        self.team.changed.notify_all();
        // chips' panics have been caught
        self.threads.drain(..).for_each(|thread| thread.join().expect("a team's thread ends"));
    }
}

/// A thread's machine.
struct Member<RA> {
    chips: Inventory<RA>,
    tables: Tables,
}

impl<RA> Member<RA> {
    fn new<B: VmBuilder<HostEngine, RecordArena = RA>>(host: &B, config: &B::VmConfig) -> Self {
        let airs = config.create_airs().expect("a VM has been made of this configuration");
        let machine = host.create_chip_complex(config, airs, &()).expect("a VM has been made of this configuration");
        let tables = Tables::of(&machine.inventory);
        Self { chips: machine.inventory, tables }
    }

    fn make(&self, records: Records<RA>, tables: &Tables) -> AirProvingContext<WgpuBackend> {
        let context = self.chips.chips()[records.chip].generate_proving_ctx(records.arena);
        self.tables.move_to(tables);
        let (context, rows) = upload(&records.gpu, context, vec![]);
        drop(rows);
        context
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use openvm_sdk_config::{SdkVmConfig, SdkVmCpuBuilder};

    use super::*;

    fn machine() -> Member<<SdkVmCpuBuilder as VmBuilder<HostEngine>>::RecordArena> {
        Member::new(&SdkVmCpuBuilder, &SdkVmConfig::riscv32())
    }

    #[test]
    fn all_chips_of_rv32im_are_shared() {
        let machine = machine();
        let shared = Shared::new(&machine.chips);
        assert_eq!(shared.independent().len(), 14);
        let kinds = |kind: fn(&Table) -> bool| shared.tables.0.iter().filter(|(_, table)| kind(table)).count();
        assert_eq!(kinds(|table| matches!(table, Table::Ranges(_))), 1);
        assert_eq!(kinds(|table| matches!(table, Table::Bitwise(_))), 1);
        assert_eq!(kinds(|table| matches!(table, Table::Tuples(_))), 1);
        assert!(shared.take(shared.independent()[0]).is_none(), "nothing was given");
    }

    #[test]
    fn counts_move_to_another_machine() {
        let [from, to] = [machine(), machine()];
        let counts = |machine: &Member<_>| -> Vec<u32> {
            let of_table = |(_, table): &(usize, Table)| -> Vec<u32> {
                let load = |count: &AtomicU32| count.load(Ordering::Relaxed);
                match table {
                    Table::Ranges(table) => table.count.iter().map(load).collect(),
                    Table::Bitwise(table) => table.count_range.iter().chain(&table.count_xor).map(load).collect(),
                    Table::Tuples(table) => table.count.iter().map(|count| load(count)).collect(),
                }
            };
            machine.tables.0.iter().flat_map(of_table).collect()
        };
        for machine in [&from, &to, &from] {
            for (_, table) in &machine.tables.0 {
                match table {
                    Table::Ranges(table) => table.add_count(5, 7),
                    Table::Bitwise(table) => {
                        table.request_range(1, 2);
                        table.request_xor(3, 4);
                    }
                    Table::Tuples(table) => table.add_count(&[1, 1]),
                }
            }
        }
        from.tables.move_to(&to.tables);
        assert!(counts(&from).iter().all(|count| *count == 0));
        let mut moved = counts(&to);
        moved.retain(|count| *count > 0);
        assert_eq!(moved, [3; 4]);
    }
}
