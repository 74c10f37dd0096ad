//! Streams, buckets and consumers, with the operator's rights. Everything is described as the JSON that the broker itself
//! speaks and compared field by field with what is there: equal is left alone, different is updated, missing is made.
//!
//! Buckets are NATS object stores with one difference: roll-ups are off, so that nobody who gets a single message into a
//! bucket can wipe it. Readers do not notice; only this crate writes.

use serde_json::{Value, json};

use orion_protocol::Name;
use orion_protocol::subjects;

use crate::connection::Broker;
use crate::error::Error;

/// How much each stream may hold, in bytes unless the name says otherwise. The broker reserves it, so the sum over all
/// providers must stay under its `max_file_store`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Leases waiting, a provider.
    pub work_bytes: u64,
    /// Leases waiting, a provider, in messages.
    pub work_messages: u64,
    /// Answers not yet in the ledger, a provider.
    pub commit_bytes: u64,
    /// Answers not yet in the ledger, a provider, in messages.
    pub commit_messages: u64,
    /// Bucket `in`: models of several jobs, and what the jobs themselves need.
    pub in_bytes: u64,
    /// Bucket `held`.
    pub held_bytes: u64,
    /// Bucket `results`.
    pub results_bytes: u64,
    /// Bucket `out_<provider>`, each.
    pub out_bytes: u64,
    /// How long leases and answers are kept at most, in seconds; longer than any escrow.
    pub message_age_s: u64,
    /// How long a provider's outputs are kept at most, in seconds: they are copied right after the commitment.
    pub out_age_s: u64,
}

impl Default for Bounds {
    fn default() -> Bounds {
        const MIB: u64 = 1 << 20;
        Bounds {
            work_bytes: 16 * MIB,
            work_messages: 10_000,
            commit_bytes: 64 * MIB,
            commit_messages: 100_000,
            in_bytes: 3072 * MIB,
            held_bytes: 1024 * MIB,
            results_bytes: 1024 * MIB,
            out_bytes: 512 * MIB,
            message_age_s: 72 * 3600,
            out_age_s: 2 * 3600,
        }
    }
}

/// What identifies one life of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFacts {
    /// Its name.
    pub name: String,
    /// When it was created, in the broker's words. A stream that is gone or has another time than before lost its
    /// messages: all leases are void.
    pub created: String,
    /// Messages in it.
    pub messages: u64,
    /// The last sequence that it gave out.
    pub last_sequence: u64,
}

/// What the broker says about a stream; also the answer to its creation.
#[derive(serde::Deserialize)]
struct StreamInfo {
    config: Value,
    created: String,
    state: StreamState,
}

#[derive(serde::Deserialize)]
struct StreamState {
    messages: u64,
    bytes: u64,
    last_seq: u64,
}

impl StreamInfo {
    fn facts(self, name: &str) -> StreamFacts {
        let StreamState { messages, last_seq, bytes: _ } = self.state;
        StreamFacts { name: name.to_owned(), created: self.created, messages, last_sequence: last_seq }
    }
}

/// Answer to a deletion or purge.
#[derive(serde::Deserialize)]
struct Done {
    #[serde(default)]
    purged: u64,
}

/// How long a consumer outlives its worker's last pull.
const CONSUMER_INACTIVE_S: u64 = 600;
/// How soon an unclaimed lease is delivered again.
const ACK_WAIT_S: u64 = 5;
/// Leases delivered to one worker and not yet claimed.
const CONSUMER_UNCLAIMED: u64 = 32;

fn nanos(seconds: u64) -> u64 {
    seconds.saturating_mul(1_000_000_000)
}

fn work_config(provider: &Name, bounds: &Bounds) -> Value {
    json!({
        "name": subjects::work_stream(provider),
        "subjects": [subjects::work_all(provider)],
        "retention": "workqueue",
        "storage": "file",
        "discard": "new",
        "max_msgs": bounds.work_messages,
        "max_bytes": bounds.work_bytes,
        "max_age": nanos(bounds.message_age_s),
        "num_replicas": 1,
        "duplicate_window": nanos(120),
    })
}

fn commit_config(provider: &Name, bounds: &Bounds) -> Value {
    json!({
        "name": subjects::commit_stream(provider),
        "subjects": [subjects::commit_all(provider)],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "discard_new_per_subject": true,
        "max_msgs_per_subject": 1,
        "max_msgs": bounds.commit_messages,
        "max_bytes": bounds.commit_bytes,
        "max_age": nanos(bounds.message_age_s),
        "allow_direct": true,
        "num_replicas": 1,
    })
}

/// A bucket that refuses what does not fit: what is in it is somebody's only copy.
fn bucket_config(bucket: &str, max_bytes: u64) -> Value {
    object_store(bucket, max_bytes, 0, "new")
}

/// A provider's bucket: nobody deletes from it, so the oldest goes, which was ingested long ago or never will be.
fn out_config(provider: &Name, bounds: &Bounds) -> Value {
    object_store(&subjects::bucket_out(provider), bounds.out_bytes, bounds.out_age_s, "old")
}

fn object_store(bucket: &str, max_bytes: u64, max_age_s: u64, discard: &str) -> Value {
    json!({
        "name": subjects::bucket_stream(bucket),
        "subjects": [format!("$O.{bucket}.C.>"), format!("$O.{bucket}.M.>")],
        "retention": "limits",
        "storage": "file",
        "discard": discard,
        "max_bytes": max_bytes,
        "max_age": nanos(max_age_s),
        "allow_direct": true,
        "num_replicas": 1,
    })
}

/// Whether every field that we ask for is as we ask.
fn satisfies(have: &Value, want: &Value) -> bool {
    let Some(want) = want.as_object() else { return false };
    want.iter().all(|(field, value)| have.get(field) == Some(value))
}

impl Broker {
    /// The platform's own: buckets `in`, `held`, `results` and the streams of its worker.
    pub async fn ensure_platform(&self, bounds: &Bounds) -> Result<Vec<StreamFacts>, Error> {
        let platform = platform();
        let wanted = [
            bucket_config(subjects::BUCKET_IN, bounds.in_bytes),
            bucket_config(subjects::BUCKET_HELD, bounds.held_bytes),
            bucket_config(subjects::BUCKET_RESULTS, bounds.results_bytes),
            work_config(&platform, bounds),
            commit_config(&platform, bounds),
        ];
        self.ensure_streams(&wanted).await
    }

    /// A provider's streams and its bucket.
    pub async fn ensure_provider(&self, provider: &Name, bounds: &Bounds) -> Result<Vec<StreamFacts>, Error> {
        let wanted = [work_config(provider, bounds), commit_config(provider, bounds), out_config(provider, bounds)];
        self.ensure_streams(&wanted).await
    }

    /// Removes what [`Broker::ensure_provider`] made, with all that is in it.
    pub async fn delete_provider(&self, provider: &Name) -> Result<(), Error> {
        let bucket = subjects::bucket_stream(&subjects::bucket_out(provider));
        for stream in [subjects::work_stream(provider), subjects::commit_stream(provider), bucket] {
            let deleted: Result<Done, Error> = self.api(&format!("$JS.API.STREAM.DELETE.{stream}"), &json!({})).await;
            absent_is_fine(deleted)?;
        }
        Ok(())
    }

    /// What a stream is now; `None` when there is none of that name.
    pub async fn stream_facts(&self, stream: &str) -> Result<Option<StreamFacts>, Error> {
        Ok(self.stream_info(stream).await?.map(|info| info.facts(stream)))
    }

    /// How many more bytes a bucket takes.
    pub async fn room(&self, bucket: &str) -> Result<u64, Error> {
        let subject = format!("$JS.API.STREAM.INFO.{}", subjects::bucket_stream(bucket));
        let info: StreamInfo = self.api(&subject, &json!({})).await?;
        let max = info.config["max_bytes"].as_u64().unwrap_or(u64::MAX);
        Ok(max.saturating_sub(info.state.bytes))
    }

    async fn stream_info(&self, stream: &str) -> Result<Option<StreamInfo>, Error> {
        match self.api(&format!("$JS.API.STREAM.INFO.{stream}"), &json!({})).await {
            Ok(info) => Ok(Some(info)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn ensure_streams(&self, wanted: &[Value]) -> Result<Vec<StreamFacts>, Error> {
        let mut facts = Vec::with_capacity(wanted.len());
        for want in wanted {
            let name = want["name"].as_str().unwrap_or_default();
            let info = match self.stream_info(name).await? {
                Some(info) if satisfies(&info.config, want) => info,
                Some(_) => self.api(&format!("$JS.API.STREAM.UPDATE.{name}"), want).await?,
                None => self.api(&format!("$JS.API.STREAM.CREATE.{name}"), want).await?,
            };
            facts.push(info.facts(name));
        }
        Ok(facts)
    }

    /// The consumer through which a worker pulls its leases; made at its first heartbeat, harmless to repeat.
    pub async fn ensure_consumer(&self, provider: &Name, worker: &Name) -> Result<(), Error> {
        let stream = subjects::work_stream(provider);
        let filter = subjects::work(provider, worker);
        let body = json!({
            "stream_name": stream,
            "config": {
                "durable_name": worker,
                "name": worker,
                "deliver_policy": "all",
                "ack_policy": "explicit",
                "ack_wait": nanos(ACK_WAIT_S),
                "max_deliver": -1,
                "max_ack_pending": CONSUMER_UNCLAIMED,
                "replay_policy": "instant",
                "filter_subject": filter,
                "inactive_threshold": nanos(CONSUMER_INACTIVE_S),
            },
        });
        let made: Value = self.api(&format!("$JS.API.CONSUMER.CREATE.{stream}.{worker}.{filter}"), &body).await?;
        tracing::debug!(%provider, %worker, created = %made["created"], "consumer is there");
        Ok(())
    }

    /// Removes a worker's consumer; leases that it did not claim stay until purged.
    pub async fn delete_consumer(&self, provider: &Name, worker: &Name) -> Result<(), Error> {
        let stream = subjects::work_stream(provider);
        absent_is_fine(self.api(&format!("$JS.API.CONSUMER.DELETE.{stream}.{worker}"), &json!({})).await)
    }

    /// Purges what a stream holds under `filter` (wildcards allowed); gives how many messages went.
    pub(crate) async fn purge(&self, stream: &str, filter: &str) -> Result<u64, Error> {
        self.purged(stream, json!({ "filter": filter })).await
    }

    /// The same, but only what is older than the message with this sequence.
    pub(crate) async fn purge_before(&self, stream: &str, filter: &str, sequence: u64) -> Result<u64, Error> {
        self.purged(stream, json!({ "filter": filter, "seq": sequence })).await
    }

    async fn purged(&self, stream: &str, body: Value) -> Result<u64, Error> {
        match self.api::<Done>(&format!("$JS.API.STREAM.PURGE.{stream}"), &body).await {
            Ok(done) => Ok(done.purged),
            Err(error) if error.is_not_found() => Ok(0),
            Err(error) => Err(error),
        }
    }
}

fn absent_is_fine(result: Result<Done, Error>) -> Result<(), Error> {
    match result {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// The platform's name among providers.
pub fn platform() -> Name {
    // A constant of the protocol that is a valid label; its own test says so.
    subjects::PLATFORM.parse().unwrap_or_else(|_| unreachable!("{:?} is no name", subjects::PLATFORM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_left_alone_only_when_every_wanted_field_is_equal() {
        let want = work_config(&platform(), &Bounds::default());
        let mut have = want.clone();
        have["server_says_more"] = json!(true);
        assert!(satisfies(&have, &want));
        have["max_msgs"] = json!(1);
        assert!(!satisfies(&have, &want));
    }
}
