//! Jobs for workers on any number of machines (feature `fleet`): `worker`, `submit`, `status`, `watch`, `fetch`, `cancel`.
//! `docs/fleet.md` is their guide.

mod figures;
mod jobs;
mod submit;
mod usage;
mod worker;

use std::{future::Future, path::PathBuf};

use clap::{Args, Subcommand};
use openvm_wgpu_backend::fleet::{
    blobs::{BlobError, Blobs},
    temporal::{Client, FleetError, JobError, Server},
    TaskError,
};

use crate::{
    failure::{Failure, Kind, Result},
    session::Speech,
};

/// Commands of a fleet.
#[derive(Subcommand, Debug)]
pub enum FleetCommand {
    /// Prove on this machine's GPUs what others submit, until SIGTERM or Ctrl-C
    Worker(worker::WorkerArgs),
    /// Have an execution proved by workers
    Submit(Box<submit::SubmitArgs>),
    /// Say how far a job is
    Status(jobs::StatusArgs),
    /// Follow a job to its end
    Watch(jobs::WatchArgs),
    /// Wait for a job's proof, verify it and write it
    Fetch(jobs::FetchArgs),
    /// End a job
    Cancel(jobs::CancelArgs),
}

pub fn run(command: &FleetCommand, speech: Speech) -> Result<()> {
    match command {
        FleetCommand::Worker(args) => worker::worker(args, speech),
        FleetCommand::Submit(args) => submit::submit(args, speech),
        FleetCommand::Status(args) => jobs::status(args, speech),
        FleetCommand::Watch(args) => jobs::watch(args, speech),
        FleetCommand::Fetch(args) => jobs::fetch(args, speech),
        FleetCommand::Cancel(args) => jobs::cancel(args, speech),
    }
}

/// Where the server is.
#[derive(Args, Clone, Debug)]
pub struct ServerArgs {
    /// Temporal's server, as http://host:7233, or https:// for TLS; by default what OPENVM_WGPU_SERVER says
    #[arg(long, value_name = "URL", help_heading = "Fleet")]
    server: Option<String>,
    /// The server's namespace
    #[arg(long, value_name = "NAME", default_value = "default", help_heading = "Fleet")]
    namespace: String,
    /// TLS: the authority that signed the server's certificate (PEM), if it is none of the system's
    #[arg(long, value_name = "FILE", help_heading = "Fleet")]
    tls_ca: Option<PathBuf>,
    /// TLS: this machine's certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key", help_heading = "Fleet")]
    tls_cert: Option<PathBuf>,
    /// TLS: the key of this machine's certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = "Fleet")]
    tls_key: Option<PathBuf>,
    /// TLS: the name in the server's certificate, where the URL has another one
    #[arg(long, value_name = "NAME", help_heading = "Fleet")]
    tls_server_name: Option<String>,
}

impl ServerArgs {
    /// The server, with the key for its API from OPENVM_WGPU_API_KEY, which shows in no list of processes.
    fn server(&self) -> Result<Server> {
        let url = given(&self.server, "OPENVM_WGPU_SERVER", "--server")?;
        let mut server = Server::new(url);
        server.namespace = self.namespace.clone();
        server.ca = self.tls_ca.clone();
        server.identity = self.tls_cert.clone().zip(self.tls_key.clone());
        server.server_name = self.tls_server_name.clone();
        server.api_key = std::env::var("OPENVM_WGPU_API_KEY").ok();
        Ok(server)
    }

    async fn client(&self) -> Result<Client> {
        Ok(Client::connect(&self.server()?).await?)
    }
}

/// Where the blobs are.
#[derive(Args, Clone, Debug)]
pub struct BlobsArgs {
    /// The store of files: a folder, or s3://bucket/prefix?region=..; by default what OPENVM_WGPU_BLOBS says
    #[arg(long, value_name = "URL", help_heading = "Fleet")]
    blobs: Option<String>,
}

impl BlobsArgs {
    fn open(&self) -> Result<Blobs> {
        Ok(Blobs::open(&given(&self.blobs, "OPENVM_WGPU_BLOBS", "--blobs")?)?)
    }
}

fn given(option: &Option<String>, variable: &str, name: &str) -> Result<String> {
    let value = option.clone().or_else(|| std::env::var(variable).ok().filter(|value| !value.is_empty()));
    value.ok_or_else(|| Failure::usage(format!("give {name}, or set {variable}; docs/fleet.md says what to run")))
}

/// Waits for what a command does.
fn wait<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Kind::Internal, error))?;
    let value = runtime.block_on(work);
    // a task that does not end has been left to others
    runtime.shutdown_background();
    value
}

impl From<FleetError> for Failure {
    fn from(error: FleetError) -> Self {
        Self::usage(error)
    }
}

impl From<BlobError> for Failure {
    fn from(error: BlobError) -> Self {
        Self::usage(error)
    }
}

impl From<JobError> for Failure {
    fn from(error: JobError) -> Self {
        let kind = match &error {
            JobError::Guest(_) => Kind::Guest,
            JobError::Cancelled => Kind::Stopped,
            JobError::Unknown(_) | JobError::Server(_) => Kind::Usage,
            _ => Kind::Rejected,
        };
        Self::new(kind, error)
    }
}

impl From<TaskError> for Failure {
    fn from(error: TaskError) -> Self {
        let kind = match &error {
            TaskError::Guest(_) => Kind::Guest,
            TaskError::Device(_) => Kind::Device,
            TaskError::Rejected(_) | TaskError::Input { .. } => Kind::Rejected,
            TaskError::Cancelled => Kind::Stopped,
        };
        Self::new(kind, error)
    }
}
