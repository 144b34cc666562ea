//! What is kept of a proof run: JSON records, and tables for people.

use std::{
    fmt::Write as _,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    time::Duration,
};

use eyre::{bail, ensure, eyre, Result, WrapErr};
use serde_json::{json, Map, Value};

use super::spans::SpanTime;

/// One proof. In JSON: an object with the same names; `spans` maps each path to
/// `[milliseconds, count]`, which is the peer driver's form.
#[derive(Clone, Debug, PartialEq)]
pub struct ProofRecord {
    /// The GPU as its driver names it, or the engine where there is none.
    pub adapter: String,
    pub workload: String,
    pub log_n: usize,
    /// Wall time of `StarkEngine::prove`: trace upload and transport excluded.
    pub prove_ms: f64,
    /// Parents before children.
    pub spans: Vec<SpanTime>,
    pub verified: bool,
    pub proof_bytes: usize,
    /// How often the host waited for the device.
    pub host_waits: u64,
    /// Most device memory in use at once.
    pub peak_device_bytes: u64,
    /// keccak-f permutations proved per second; other workloads have none.
    pub permutations_per_s: Option<f64>,
}

impl ProofRecord {
    pub fn to_json(&self) -> Value {
        let spans: Map<String, Value> =
            self.spans.iter().map(|span| (span.path.clone(), json!([rounded(span.ms()), span.count]))).collect();
        json!({
            "adapter": self.adapter,
            "workload": self.workload,
            "log_n": self.log_n,
            "prove_ms": rounded(self.prove_ms),
            "spans": spans,
            "verified": self.verified,
            "proof_bytes": self.proof_bytes,
            "host_waits": self.host_waits,
            "peak_device_bytes": self.peak_device_bytes,
            "permutations_per_s": self.permutations_per_s.map(rounded),
        })
    }

    pub fn from_json(value: &Value) -> Result<Self> {
        let field = |name: &str| value.get(name).ok_or_else(|| eyre!("`{name}` is missing"));
        let number = |name: &str| field(name)?.as_f64().ok_or_else(|| eyre!("`{name}` is not a number"));
        let text = |name: &str| {
            let text = field(name)?.as_str().ok_or_else(|| eyre!("`{name}` is not a string"))?;
            Ok::<_, eyre::Report>(text.to_string())
        };
        let spans = field("spans")?.as_object().ok_or_else(|| eyre!("`spans` is not an object"))?;
        Ok(Self {
            adapter: text("adapter")?,
            workload: text("workload")?,
            log_n: number("log_n")? as usize,
            prove_ms: number("prove_ms")?,
            spans: spans.iter().map(span_from_json).collect::<Result<_>>()?,
            verified: field("verified")?.as_bool().ok_or_else(|| eyre!("`verified` is no bool"))?,
            proof_bytes: number("proof_bytes")? as usize,
            host_waits: number("host_waits")? as u64,
            peak_device_bytes: number("peak_device_bytes")? as u64,
            permutations_per_s: field("permutations_per_s")?.as_f64(),
        })
    }
}

fn span_from_json((path, value): (&String, &Value)) -> Result<SpanTime> {
    let ms = value.get(0).and_then(Value::as_f64).filter(|ms| *ms >= 0.0);
    let count = value.get(1).and_then(Value::as_u64);
    let (Some(ms), Some(count)) = (ms, count) else {
        bail!("span `{path}` is {value}, not [milliseconds, count]");
    };
    Ok(SpanTime {
        path: path.clone(),
        total: Duration::try_from_secs_f64(ms / 1e3).wrap_err_with(|| format!("span `{path}`"))?,
        count: u32::try_from(count).wrap_err_with(|| format!("span `{path}`"))?,
    })
}

/// Microseconds are enough.
fn rounded(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}

/// Appends records to a file, one object a line.
pub struct RecordFile(BufWriter<File>);

impl RecordFile {
    /// Creates or empties the file, so that an unwritable path fails before the work.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).wrap_err_with(|| format!("cannot write {}", path.display()))?;
        Ok(Self(BufWriter::new(file)))
    }

    pub fn write(&mut self, record: &ProofRecord) -> Result<()> {
        writeln!(self.0, "{}", record.to_json())?;
        self.0.flush()?;
        Ok(())
    }
}

/// Reads the records of a file that [`RecordFile`] wrote, or a JSON array of them.
pub fn read_records(path: &Path) -> Result<Vec<ProofRecord>> {
    let text = std::fs::read_to_string(path).wrap_err_with(|| format!("cannot read {}", path.display()))?;
    let values: Vec<Value> = serde_json::Deserializer::from_str(&text)
        .into_iter::<Value>()
        .collect::<Result<_, _>>()
        .wrap_err_with(|| format!("{} is not JSON", path.display()))?;
    let records = values
        .iter()
        .flat_map(|value| value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice))
        .map(ProofRecord::from_json)
        .collect::<Result<Vec<_>>>()
        .wrap_err_with(|| format!("{} holds something else than proofs", path.display()))?;
    ensure!(!records.is_empty(), "{} holds no proof", path.display());
    Ok(records)
}

/// The median; of an even number, the mean of the middle two.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    match n {
        0 => None,
        _ if n % 2 == 1 => Some(values[n / 2]),
        _ => Some((values[n / 2 - 1] + values[n / 2]) / 2.0),
    }
}

/// Medians over the proofs of one run, spans in the order of the first proof.
struct Medians {
    prove_ms: f64,
    spans: Vec<SpanTime>,
}

impl Medians {
    fn of(records: &[ProofRecord]) -> Option<Self> {
        let first = records.first()?;
        let spans = first
            .spans
            .iter()
            .map(|span| {
                let same = records.iter().flat_map(|r| &r.spans).filter(|s| s.path == span.path);
                let ms = median(same.map(SpanTime::ms).collect()).unwrap_or_default();
                SpanTime { total: Duration::from_secs_f64(ms / 1e3), ..span.clone() }
            })
            .collect();
        let prove_ms = median(records.iter().map(|record| record.prove_ms).collect())?;
        Some(Self { prove_ms, spans })
    }
}

/// The spans as an indented tree: medians over the proofs, and how often each span occurred.
pub fn span_tree(records: &[ProofRecord]) -> String {
    let mut text = String::new();
    let Some(medians) = Medians::of(records) else {
        return text;
    };
    for span in &medians.spans {
        let times = if span.count == 1 { String::new() } else { format!("  x{}", span.count) };
        let indent = 2 * span.depth();
        // writing to a string cannot fail
        let _ = writeln!(text, "{:>12.3} ms  {:indent$}{}{times}", span.ms(), "", span.name());
    }
    text
}

/// Each span before, after, and the difference: medians of two runs of one workload.
pub fn comparison(before: &[ProofRecord], after: &[ProofRecord]) -> Result<String> {
    let (Some(first), Some(second)) = (before.first(), after.first()) else {
        bail!("nothing to compare");
    };
    ensure!(
        (&first.workload, first.log_n) == (&second.workload, second.log_n),
        "the baseline is {} {}, this run is {} {}",
        first.workload,
        first.log_n,
        second.workload,
        second.log_n
    );
    let (Some(old), Some(new)) = (Medians::of(before), Medians::of(after)) else {
        bail!("nothing to compare");
    };
    let mut text = String::new();
    let _ = writeln!(text, "before: {}, after: {}", first.adapter, second.adapter);
    let _ = writeln!(text, "{:>12} {:>12} {:>12} {:>8}", "before ms", "after ms", "difference", "");
    let mut row = |label: &str, indent: usize, old: Option<f64>, new: Option<f64>| {
        let show = |ms: Option<f64>| ms.map_or("-".to_string(), |ms| format!("{ms:.3}"));
        let both = old.zip(new);
        let difference = both.map_or(String::new(), |(old, new)| format!("{:+.3}", new - old));
        let percent = both
            .filter(|(old, _)| *old > 0.0)
            .map_or(String::new(), |(old, new)| format!("{:+.1}%", (new / old - 1.0) * 100.0));
        let (old, new) = (show(old), show(new));
        let _ = writeln!(text, "{old:>12} {new:>12} {difference:>12} {percent:>8}  {:indent$}{label}", "");
    };
    row("prove", 0, Some(old.prove_ms), Some(new.prove_ms));
    let find = |spans: &[SpanTime], path: &str| spans.iter().find(|span| span.path == path).map(SpanTime::ms);
    for span in &new.spans {
        row(span.name(), 2 * span.depth() + 2, find(&old.spans, &span.path), Some(span.ms()));
    }
    for span in old.spans.iter().filter(|span| find(&new.spans, &span.path).is_none()) {
        row(&span.path, 2, Some(span.ms()), None);
    }
    Ok(text)
}

/// `1.5 GiB`, `12.0 MiB`, `100 B`
pub fn bytes(bytes: u64) -> String {
    let units = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) => format!("{:.2} {unit}", bytes as f64 / *size as f64),
        None => format!("{bytes} B"),
    }
}

/// Reads `4GiB`, `512 MiB`, `1.5G`, `1000000`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let size = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1u64,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        other => return Err(format!("unknown unit `{other}`: use KiB, MiB or GiB")),
    };
    let number: f64 = number.parse().map_err(|_| format!("`{text}` is not an amount of memory"))?;
    let bytes = number * size as f64;
    // 2^64
    if bytes >= 18_446_744_073_709_551_616.0 {
        return Err(format!("`{text}` is more memory than there can be"));
    }
    Ok(bytes as u64)
}
