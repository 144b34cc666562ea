//! The examples of each command's help.

pub const WORKER: &str = "\
Examples:
  openvm-wgpu worker --server http://10.0.0.1:7233 --blobs s3://proofs/jobs?region=eu-1
  openvm-wgpu worker --gpus 0,1 --memory-budget 20GiB --blobs /srv/blobs      two of the GPUs, and a part of their memory
  openvm-wgpu worker --metrics-listen 127.0.0.1:9100 --blobs /srv/blobs       and figures for Prometheus

SIGTERM or Ctrl-C: no more tasks; those under way may finish within --grace.";

pub const SUBMIT: &str = "\
Examples:
  openvm-wgpu submit guest.elf --input input.json --blobs /srv/blobs          a proof for each segment
  openvm-wgpu submit guest.elf --aggregate --worker-memory 8GiB               one proof; workers with 8 GiB and more may take part
  openvm-wgpu submit guest.elf --id nightly --json                            under a name of one's own

This machine executes the guest once, to find the segments: it needs a device, which may be a software driver.";

pub const STATUS: &str = "\
Examples:
  openvm-wgpu status guest-app-0123456789ab
  openvm-wgpu status nightly --json | jq .workers                             tasks by worker";

pub const WATCH: &str = "\
Examples:
  openvm-wgpu watch nightly                                                   until it is done, or has failed";

pub const FETCH: &str = "\
Examples:
  openvm-wgpu fetch nightly --blobs /srv/blobs                                nightly.app.proof, verified
  openvm-wgpu fetch nightly --proof proofs/nightly.stark.proof                with the baseline beside it

It waits for the proof if that is not there yet.";

pub const CANCEL: &str = "\
Examples:
  openvm-wgpu cancel nightly                                                  its tasks end within seconds";
