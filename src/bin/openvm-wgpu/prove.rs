//! `prove app` and `prove stark`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, Subcommand};
use openvm_circuit::arch::ContinuationVmProof;
use openvm_continuations::CommitBytes;
use openvm_sdk::{
    config::{AggregationSystemParams, AggregationTreeConfig, MAX_NUM_CHILDREN_INTERNAL, MAX_NUM_CHILDREN_LEAF},
    keygen::{AggPrefixProvingKey, AppProvingKey, AppVerifyingKey},
    prover::verify_app_proof,
    types::{ExecutableFormat, VerificationBaselineJson, VersionedVmStarkProof},
    StdIn, SC,
};
use openvm_sdk_config::SdkVmConfig;
use openvm_stark_backend::keygen::types::MultiStarkProvingKey;
use openvm_stark_sdk::config::baby_bear_poseidon2::BabyBearPoseidon2CpuEngine;
use openvm_wgpu_backend::{
    openvm::{fit_segments, AggregationProver, AppProver, WgpuSdk},
    Gpu,
};
use serde_json::{json, Value};

use crate::{
    devices::{Devices, DevicesArgs},
    failure::{Failure, Kind, Result},
    files, metrics,
    project::{self, Project, ProjectArgs},
    recording::{Record, Recorder},
    session::{caught, Speech},
    stop::Stop,
    store::{hex, Store},
    support::record::parse_bytes,
    trace,
    watch::Watch,
};

/// What is to be proved.
#[derive(Subcommand, Debug)]
pub enum ProveCommand {
    /// A proof for each segment of the execution, in one file (.app.proof)
    App(AppArgs),
    /// One proof of the whole execution (.stark.proof)
    Stark(StarkArgs),
    /// Not in this program, nor in `cargo openvm`: the BN254 proof inside an EVM proof; `cargo openvm prove evm` makes both
    Root,
}

/// Options of `prove app`.
#[derive(Args, Debug)]
#[command(after_help = crate::usage::PROVE_APP)]
pub struct AppArgs {
    /// Where the proof goes, by default GUEST.app.proof here
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    /// The app's proving key, by default the project's app.pk
    #[arg(long, value_name = "FILE")]
    app_pk: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
}

/// Options of `prove stark`.
#[derive(Args, Debug)]
#[command(after_help = crate::usage::PROVE_STARK)]
pub struct StarkArgs {
    /// Where the proof goes, by default GUEST.stark.proof here
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    tree: AggregationTreeConfig,
}

/// What is executed, and how it is proved.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The guest: a program of OpenVM (.vmexe) or its ELF; by default the project's only one
    #[arg(long, value_name = "FILE")]
    pub exe: Option<PathBuf>,
    /// What the guest reads: hexadecimal digits (01 and bytes), or a JSON file {"input": ["01.."]}
    #[arg(long, value_name = "INPUT")]
    pub input: Option<String>,
    #[command(flatten)]
    pub project: ProjectArgs,
    #[command(flatten)]
    device: DevicesArgs,
    /// Most memory for a segment's proof by OpenVM's estimate, as in 4GiB; by default what fits the device
    #[arg(long, value_parser = parse_bytes, value_name = "AMOUNT", help_heading = "Proving")]
    pub segment_max_memory: Option<u64>,
    /// How many segments to prove at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64), help_heading = "Proving")]
    parallel: Option<u64>,
    /// How many segments to execute and trace at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64), help_heading = "Proving")]
    traces: Option<u64>,
    /// Keep the proofs of segments when the proof is made, so that another one can begin with them
    #[arg(long, help_heading = "Proving")]
    keep_parts: bool,
    /// Forget the proofs of segments that an earlier run left
    #[arg(long, help_heading = "Proving")]
    fresh: bool,
    /// Record the run for `report`
    #[arg(long, value_name = "FILE", help_heading = "Pictures")]
    record: Option<PathBuf>,
    /// Write a trace for Perfetto, with the device's kernels; slows the proof down
    #[arg(long, value_name = "FILE", help_heading = "Pictures")]
    trace: Option<PathBuf>,
    #[command(flatten)]
    metrics: metrics::MetricsArgs,
}

/// Which keys, by upstream's names.
#[derive(Args, Debug, Default)]
pub struct KeyArgs {
    /// The app's proving key, by default the project's app.pk
    #[arg(long, value_name = "FILE", help_heading = "Keys")]
    app_pk: Option<PathBuf>,
    /// The key of the aggregation's first two levels, by default the project's agg_prefix.pk; generated if it is not there
    #[arg(long, value_name = "FILE", help_heading = "Keys")]
    agg_prefix_pk: Option<PathBuf>,
    /// The key of its recursive level, by default ~/.openvm/internal_recursive.pk; generated if it is not there
    #[arg(long, value_name = "FILE", help_heading = "Keys")]
    agg_pk: Option<PathBuf>,
}

/// The keys that were read.
pub struct Keys {
    pub app: AppProvingKey<SdkVmConfig>,
    prefix: Option<AggPrefixProvingKey>,
    recursive: Option<Arc<MultiStarkProvingKey<SC>>>,
}

const KEYGEN: &str = "generate it with `openvm-wgpu keygen`, or name it with --app-pk";

impl Keys {
    pub fn of_app(path: &Path) -> Result<Self> {
        Ok(Self { app: files::read_object(path, "app proving key", KEYGEN)?, prefix: None, recursive: None })
    }

    pub fn read(args: &KeyArgs, project: &Project) -> Result<Self> {
        let app = project.key(&args.app_pk, project::APP_PK);
        let prefix = project.key(&args.agg_prefix_pk, project::AGG_PREFIX_PK);
        let recursive = args.agg_pk.clone().map_or_else(|| project::home("internal_recursive.pk"), Ok)?;
        let mut keys = Self::of_app(&app)?;
        if args.agg_prefix_pk.is_some() || prefix.exists() {
            let advice = "generate it with `openvm-wgpu keygen`";
            keys.prefix = Some(files::read_object(&prefix, "proving key of the aggregation's first levels", advice)?);
        }
        if args.agg_pk.is_some() || recursive.exists() {
            let advice = "generate it with `openvm-wgpu setup`";
            let key = files::read_object(&recursive, "proving key of the recursive level", advice)?;
            keys.recursive = Some(key);
        }
        Ok(keys)
    }

    /// Segments that fit the device, so many at once.
    pub fn fit(&mut self, gpu: &Gpu, proofs_at_once: usize) {
        let pk = Arc::get_mut(&mut self.app.app_vm_pk).expect("nobody else has the key that was just read");
        fit_segments(&mut pk.vm_config, gpu, proofs_at_once);
    }

    /// A prover of the guest on the default device, and the key that verifies what it makes.
    pub fn app_prover(&self, guest: ExecutableFormat, watch: &Watch) -> Result<(AppVerifyingKey, AppProver)> {
        let what = "the app proving key does not fit this program; run `openvm-wgpu keygen` again";
        caught(Kind::Usage, what, || {
            let builder = WgpuSdk::builder().app_pk(self.app.clone());
            let sdk = builder.agg_params(AggregationSystemParams::default()).build()?;
            let prover = watch.step("program and proving key to the device", || AppProver::new(&sdk, guest))?;
            Ok((sdk.app_vk(), prover))
        })
    }

    /// A prover of the aggregation on the default device.
    pub fn aggregation(&self, tree: AggregationTreeConfig, watch: &Watch) -> Result<AggregationProver> {
        let what = match (&self.prefix, &self.recursive) {
            (Some(_), Some(_)) => "the aggregation's keys to the device",
            _ => "generating the aggregation's keys that are not there (`keygen` and `setup` keep them)",
        };
        let (prefix, recursive) = (self.prefix.clone(), self.recursive.clone());
        let vk = Arc::new(self.app.app_vm_pk.vm_pk.get_vk());
        let make = || AggregationProver::with_keys(vk, &AggregationSystemParams::default(), tree, prefix, recursive);
        let broken = "the aggregation's keys do not fit the app's; run `openvm-wgpu keygen` and `setup` again";
        caught(Kind::Usage, broken, || Ok(watch.step(what, make)))
    }
}

pub fn prove(command: &ProveCommand, speech: Speech) -> Result<()> {
    // from the beginning, so that no Ctrl-C is lost
    let stop = Stop::listen()?;
    match command {
        ProveCommand::App(args) => {
            let keys = |project: &Project| Keys::of_app(&project.key(&args.app_pk, project::APP_PK));
            Run::new(&args.run, &args.proof, project::APP_PROOF, keys, speech)?.app(&stop)
        }
        ProveCommand::Stark(args) => {
            fits(args.tree)?;
            let keys = |project: &Project| Keys::read(&args.keys, project);
            Run::new(&args.run, &args.proof, project::STARK_PROOF, keys, speech)?.stark(args.tree, &stop)
        }
        ProveCommand::Root => Err(Failure::usage(
            "a root proof, the step between `prove stark` and Ethereum's verifier, hashes with Poseidon2 over BN254, which this program \
             does not; run `cargo openvm prove evm` with the same guest, keys and --input, or give the .stark.proof to `RootProver` of \
             the crate openvm-sdk (feature root-prover)",
        )),
    }
}

/// Before hours of work: that nodes have as many children as upstream's circuits have room for.
fn fits(tree: AggregationTreeConfig) -> Result<()> {
    let leaf = ("--num-children-leaf", tree.num_children_leaf, 1..=MAX_NUM_CHILDREN_LEAF);
    let internal = ("--num-children-internal", tree.num_children_internal, 2..=MAX_NUM_CHILDREN_INTERNAL);
    for (option, children, allowed) in [leaf, internal] {
        if !allowed.contains(&children) {
            let (least, most) = (allowed.start(), allowed.end());
            return Err(Failure::usage(format!("{option} {children} is not possible: give {least} to {most}")));
        }
    }
    Ok(())
}

/// A proof that is to be made, with all that was read for it.
struct Run<'a> {
    args: &'a RunArgs,
    speech: Speech,
    project: Project,
    exe: PathBuf,
    proof: PathBuf,
    keys: Keys,
    /// Until the prover has it.
    guest: Option<ExecutableFormat>,
    input: StdIn,
    devices: Devices,
    watch: Watch,
}

impl<'a> Run<'a> {
    /// Reads all files and opens the device.
    fn new(
        args: &'a RunArgs,
        proof: &Option<PathBuf>,
        extension: &str,
        keys: impl FnOnce(&Project) -> Result<Keys>,
        speech: Speech,
    ) -> Result<Self> {
        let recorder = Recorder::new(args.trace.is_some());
        args.metrics.install(&recorder)?;
        let project = args.project.find()?;
        let exe = project.program(&args.exe)?;
        let name = exe.file_stem().unwrap_or_default();
        let proof = proof.clone().unwrap_or_else(|| Path::new(name).with_extension(extension));
        for path in [Some(&proof), args.record.as_ref(), args.trace.as_ref()].into_iter().flatten() {
            files::writable(path)?;
        }
        let guest = Some(files::read_guest(&exe)?);
        let input = files::read_input(args.input.as_deref())?;
        let watch = Watch::new(speech, recorder);
        let mut keys = watch.step("reading the keys", || keys(&project))?;
        let devices = args.device.open(args.trace.is_some(), &watch)?;
        watch.devices(devices.gpus());
        keys.fit(&devices.smallest(), args.parallel.unwrap_or(1) as usize);
        Ok(Self { args, speech, project, exe, proof, keys, guest, input, devices, watch })
    }

    /// A prover of the guest, with the options.
    fn prover(&mut self) -> Result<(AppVerifyingKey, AppProver)> {
        let guest = self.guest.take().expect("taken once");
        let (vk, mut prover) = self.keys.app_prover(guest, &self.watch)?;
        for device in &self.devices.others {
            let also = || prover.also_on(device);
            prover = self.watch.step("the same to another device", also)?;
        }
        Ok((vk, self.options(prover)))
    }

    fn app(mut self, stop: &Stop) -> Result<()> {
        let (vk, mut prover) = self.prover()?;
        let store = self.store(&vk, &prover, stop)?;
        let proof = prover.prove_keeping(self.input.clone(), &store, |report| self.watch.segment(report))?;
        self.check(&vk, &prover, &proof, &store)?;
        files::write_object(&self.proof, &proof)?;
        self.end(&store, json!({ "command": "prove app" }), &prover, &proof)
    }

    fn stark(mut self, tree: AggregationTreeConfig, stop: &Stop) -> Result<()> {
        let (vk, mut prover) = self.prover()?;
        let mut aggregation = self.keys.aggregation(tree, &self.watch)?;
        for device in &self.devices.others {
            let also = || aggregation.also_on(device);
            aggregation = self.watch.step("the aggregation's keys to another device", also)?;
        }
        let store = self.store(&vk, &prover, stop)?;
        let prove = || {
            let (segment, node) = (|report: &_| self.watch.segment(report), |step: &_| self.watch.node(step));
            Ok(aggregation.prove_program_keeping(&mut prover, self.input.clone(), &store, segment, node)?)
        };
        let (app, proof) = caught(Kind::Rejected, "the aggregation failed; are its keys those of this app?", prove)?;
        let baseline = aggregation.baseline(&prover);
        let agg_vk = aggregation.verifying_key().as_ref().clone();
        let verify = || WgpuSdk::verify_proof(agg_vk, baseline.clone(), &proof);
        self.watch.step("verifying", verify).map_err(|error| self.broken(&store, &error))?;
        let baseline_path = self.project.commitment(&self.exe, project::BASELINE);
        files::write_json(&baseline_path, &VerificationBaselineJson::from(baseline))?;
        let versioned = VersionedVmStarkProof::new(proof)?;
        files::write_json(&self.proof, &versioned)?;
        let vm_commit = CommitBytes::from(aggregation.app_vm_commit()).to_string();
        let value =
            json!({ "command": "prove stark", "vm_commit": vm_commit, "baseline": baseline_path.to_string_lossy() });
        self.end(&store, value, &prover, &app)
    }

    fn options(&self, mut prover: AppProver) -> AppProver {
        if let Some(proofs) = self.args.parallel {
            prover = prover.proofs_at_once(proofs as usize);
        }
        if let Some(segments) = self.args.traces {
            prover = prover.traces_at_once(segments as usize);
        }
        match self.args.segment_max_memory {
            Some(bytes) => prover.segment_memory(bytes as usize),
            None => prover,
        }
    }

    fn store<'b>(&'b self, vk: &'b AppVerifyingKey, prover: &AppProver, stop: &'b Stop) -> Result<Store<'b>> {
        let statement = (prover.exe_commit(), &self.input);
        if self.args.fresh {
            // what is not there is forgotten
            let _ = fs::remove_dir_all(Store::folder_of(&self.proof));
        }
        Store::open(&self.proof, &vk.vk, statement, stop, |segments| self.watch.begin(segments))
    }

    /// Has upstream's verifier check an app proof before it is written.
    fn check(
        &self,
        vk: &AppVerifyingKey,
        prover: &AppProver,
        proof: &ContinuationVmProof<SC>,
        store: &Store<'_>,
    ) -> Result<()> {
        let verify = || verify_app_proof::<BabyBearPoseidon2CpuEngine>(vk, proof);
        let commit = self.watch.step("verifying", verify).map_err(|error| self.broken(store, &error))?;
        match commit == prover.exe_commit() {
            true => Ok(()),
            false => Err(self.broken(store, &"it is one of another program")),
        }
    }

    /// A proof that does not verify: parts of it may be to blame, and are not used again.
    fn broken(&self, store: &Store<'_>, reason: &dyn std::fmt::Display) -> Failure {
        let kept = store.taken();
        store.clear();
        let advice = match kept {
            0 => "this is a fault of the device, its driver or this program: `openvm-wgpu doctor` looks for it"
                .to_owned(),
            kept => format!("{kept} proofs of an earlier run were in it and are deleted: run the same command again"),
        };
        Failure::rejected(format!("the proof that was made is rejected ({reason}); {advice}"))
    }

    /// Writes the pictures and says what came of it.
    fn end(
        &self,
        store: &Store<'_>,
        mut value: Value,
        prover: &AppProver,
        proof: &ContinuationVmProof<SC>,
    ) -> Result<()> {
        if !self.args.keep_parts {
            store.clear();
        }
        let trouble = store.trouble();
        let record = self.watch.recorder().finish();
        write_pictures(self.args, &record)?;
        let exe_commit = CommitBytes::from(prover.exe_commit()).to_string();
        let values: Vec<u8> = files::bytes_of(&proof.user_public_values.public_values);
        let mut text = format!("exe commit: {exe_commit}\n");
        if let Some(commit) = value["vm_commit"].as_str() {
            text += &format!("vm commit: {commit}\n");
        }
        text += &format!("public values: {}\n", hex(&values));
        text += &format!("wrote {}, verified, in {:.2} s", self.proof.display(), record.seconds);
        let fields = json!({
            "ok": true, "proof": self.proof.to_string_lossy(), "exe_commit": exe_commit, "public_values": hex(&values),
            "segments": proof.per_segment.len(), "kept": store.taken(), "seconds": record.seconds,
            "instructions": record.segments.iter().map(|segment| segment.instructions).sum::<u64>(),
            "peak_device_bytes": record.peak_bytes, "adapter": record.adapter, "devices": record.devices, "warning": trouble,
        });
        if let (Some(value), Value::Object(fields)) = (value.as_object_mut(), fields) {
            value.extend(fields);
        }
        self.args.metrics.count(&self.keys.app.app_vm_pk.vm_pk, proof);
        self.args.metrics.finish(&record)?;
        self.watch.end_bars();
        trouble.iter().for_each(|trouble| self.speech.note(&format!("warning: {trouble}")));
        self.speech.result(value, &text)?;
        self.watch.waits_for_kernels();
        Ok(())
    }
}

fn write_pictures(args: &RunArgs, record: &Record) -> Result<()> {
    if let Some(path) = &args.record {
        files::write_json(path, record)?;
    }
    match &args.trace {
        Some(path) => files::write_json(path, &trace::perfetto(record)),
        None => Ok(()),
    }
}
