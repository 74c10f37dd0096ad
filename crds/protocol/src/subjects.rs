//! Names on the broker: subjects, streams, consumers, buckets. One function a name, so that permissions and code agree.

use crate::bytes::{Name, hex};
use crate::digest::Digest;

/// The name under which the platform's own worker appears among providers.
pub const PLATFORM: &str = "platform";
/// Bucket that the platform fills: inputs, workloads, task specs, manifests.
pub const BUCKET_IN: &str = "in";
/// Bucket of ingested outputs, which providers cannot touch.
pub const BUCKET_HELD: &str = "held";
/// Bucket of final results.
pub const BUCKET_RESULTS: &str = "results";
/// Every worker's heartbeats.
pub const HEARTBEATS: &str = "hb.*.*";

/// The stream of a provider's leases.
pub fn work_stream(provider: &Name) -> String {
    format!("WORK_{provider}")
}

/// The subject of one worker's leases.
pub fn work(provider: &Name, worker: &Name) -> String {
    format!("work.{provider}.{worker}")
}

/// All subjects of a provider's leases.
pub fn work_all(provider: &Name) -> String {
    format!("work.{provider}.*")
}

/// The stream of a provider's answers.
pub fn commit_stream(provider: &Name) -> String {
    format!("COMMIT_{provider}")
}

/// All subjects of a provider's answers.
pub fn commit_all(provider: &Name) -> String {
    format!("commit.{provider}.*.*.*")
}

/// The subject of the answer to one lease.
pub fn commit(provider: &Name, worker: &Name, job_uid: &Name, lease: &Digest) -> String {
    format!("commit.{provider}.{worker}.{job_uid}.{}", hex(&lease.0[..16]))
}

/// All answers of a provider about one job: what is purged when the job is over.
pub fn commit_job(provider: &Name, job_uid: &Name) -> String {
    format!("commit.{provider}.*.{job_uid}.*")
}

/// The subject of a worker's heartbeats.
pub fn heartbeat(provider: &Name, worker: &Name) -> String {
    format!("hb.{provider}.{worker}")
}

/// Provider and worker of a heartbeat's subject.
pub fn parse_heartbeat(subject: &str) -> Option<(Name, Name)> {
    let mut tokens = subject.split('.');
    let (head, provider, worker) = (tokens.next()?, tokens.next()?, tokens.next()?);
    let names = (provider.parse().ok()?, worker.parse().ok()?);
    (head == "hb" && tokens.next().is_none()).then_some(names)
}

/// The bucket of a provider's outputs.
pub fn bucket_out(provider: &Name) -> String {
    format!("out_{provider}")
}

/// The stream behind a bucket.
pub fn bucket_stream(bucket: &str) -> String {
    format!("OBJ_{bucket}")
}

/// An object's name: the lower-case hex of its SHA3-256.
pub fn object(digest: &Digest) -> String {
    digest.to_string()
}

/// The job uid in the subject of an answer.
pub fn parse_commit(subject: &str) -> Option<Name> {
    let tokens: Vec<&str> = subject.split('.').collect();
    match tokens.as_slice() {
        ["commit", _, _, job, _] => job.parse().ok(),
        _ => None,
    }
}
