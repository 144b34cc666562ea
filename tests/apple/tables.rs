//! The tables of `docs/metal.md` and `docs/performance.md`.

use std::collections::BTreeMap;

use metal_on_cpu::Work;

use super::{
    by_stage,
    chip::{bound_ms, bytes, Chip, Time},
    estimator::Sampled,
    STAGES,
};

/// Kernels that take less in all, milliseconds, are summed up in one row.
const HOT_MS: f64 = 0.5;

/// The longest dispatch of each kernel and the sum of all.
pub fn longest(chip: &Chip, dispatches: &[Sampled]) -> String {
    let row = |(name, of_kernel): (&str, Vec<&Sampled>)| {
        let times = || of_kernel.iter().map(|dispatch| (*dispatch, Time::new(chip, dispatch)));
        let all: f64 = times().map(|(_, time)| time.ms()).sum();
        let (longest, time) = times().max_by(|(_, a), (_, b)| a.ms().total_cmp(&b.ms())).expect("one at least");
        let Time { issue, latency, memory, .. } = time;
        let (count, workgroups, bound) = (of_kernel.len(), longest.workgroups, bound_ms(chip, longest));
        let row = format!(
            "| `{name}` | {count} | {all:.1} | {workgroups} | {issue:.2} | {latency:.2} | {memory:.2} | {bound:.2} |\n"
        );
        (time.ms(), row)
    };
    let mut rows: Vec<_> = by_kernel(dispatches).into_iter().map(row).collect();
    rows.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    rows.into_iter().map(|(_, row)| row).collect()
}

/// What the stages take, beside the peer where there is one; the last row has the sum, with this name.
pub fn stages(chip: &Chip, dispatches: &[Sampled], (name, has_peer): (&str, bool)) -> String {
    let mut out = String::from(
        "| span | dispatches | issue | memory | latency | launches | predicted, ms | peer, measured, ms |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let mut row = |name: &str, of_stage: &[&Sampled], peer: Option<f64>| {
        let (sum, ms) = total(chip, of_stage);
        let Time { issue, memory, latency, launch, .. } = sum;
        let peer = peer.filter(|_| has_peer).map_or("-".into(), |ms| format!("{ms:.0}"));
        let count = of_stage.len();
        out += &format!(
            "| {name} | {count} | {issue:.1} | {memory:.1} | {latency:.1} | {launch:.1} | {ms:.1} | {peer} |\n"
        );
    };
    for (stage, of_stage) in STAGES.iter().zip(by_stage(dispatches)) {
        row(stage.name, &of_stage, stage.peer_ms);
    }
    row(name, &dispatches.iter().collect::<Vec<_>>(), Some(STAGES.iter().filter_map(|stage| stage.peer_ms).sum()));
    out
}

/// What the kernels take, by the instructions of a thread.
pub fn kernels(chip: &Chip, dispatches: &[Sampled]) -> String {
    let mut out = String::from(
        "| kernel | dispatches | threads, M | products | adds, logic | shifts | loads | stores | barriers | cycles | GB | ms | bound by |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let rows = by_kernel(dispatches).into_iter().map(|(name, of_kernel)| {
        let (sum, ms) = total(chip, &of_kernel);
        (name, of_kernel, sum, ms)
    });
    let (mut hot, cold): (Vec<_>, Vec<_>) = rows.partition(|(_, _, _, ms)| *ms >= HOT_MS);
    hot.sort_by(|(_, _, _, a), (_, _, _, b)| b.total_cmp(a));
    for (name, of_kernel, sum, ms) in hot {
        out += &kernel_row(chip, name, &of_kernel, (sum, ms));
    }
    let (count, ms) = cold.iter().fold((0, 0.0), |(count, sum), (_, of, _, ms)| (count + of.len(), sum + ms));
    out + &format!("| {} others | {count} | | | | | | | | | | {ms:.1} | |\n", cold.len())
}

fn kernel_row(chip: &Chip, name: &str, of_kernel: &[&Sampled], (sum, ms): (Time, f64)) -> String {
    let all = |of: &dyn Fn(&Sampled) -> f64| of_kernel.iter().map(|d| f64::from(d.workgroups) * of(d)).sum::<f64>();
    let threads = all(&|d| f64::from(d.threads));
    let count = |of: fn(&Work) -> u64| all(&|d| of(&d.work) as f64 / f64::from(d.samples)) / threads;
    let counts: [fn(&Work) -> u64; 6] =
        [|w| w.multiplies, |w| w.simple, |w| w.shifts, |w| w.loads, |w| w.stores, |w| w.barriers];
    let counts: String = counts.into_iter().map(|of| format!(" {} |", short(count(of)))).collect();
    let cycles = short(all(&|d| d.lane_cycles) / threads);
    let gb: f64 = of_kernel.iter().map(|dispatch| bytes(chip, dispatch)).sum::<f64>() / 1e9;
    let (dispatches, bound) = (of_kernel.len(), sum.bound());
    format!("| `{name}` | {dispatches} | {:.2} |{counts} {cycles} | {gb:.2} | {ms:.1} | {bound} |\n", threads / 1e6)
}

/// Up to three digits.
fn short(x: f64) -> String {
    match x {
        0.0 => "0".into(),
        x if x < 10.0 => format!("{x:.1}"),
        x if x < 10_000.0 => format!("{x:.0}"),
        x => format!("{:.0} k", x / 1e3),
    }
}

/// The sum of these and what they take.
pub fn total(chip: &Chip, dispatches: &[&Sampled]) -> (Time, f64) {
    let times = || dispatches.iter().map(|dispatch| Time::new(chip, dispatch));
    let mut sum = Time::default();
    times().for_each(|time| sum += time);
    (sum, times().map(|time| time.ms()).sum())
}

fn by_kernel(dispatches: &[Sampled]) -> BTreeMap<&str, Vec<&Sampled>> {
    let mut kernels = BTreeMap::<&str, Vec<&Sampled>>::new();
    dispatches.iter().for_each(|dispatch| kernels.entry(&dispatch.kernel).or_default().push(dispatch));
    kernels
}
