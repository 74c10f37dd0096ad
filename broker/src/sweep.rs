//! What lies in a bucket: its objects, and clearing it of chunks that no description names, which broken uploads leave
//! behind. The operator's right. Which objects somebody still needs is not known here.
//!
//! A running upload looks just like a broken one, so chunks go only when two sweeps in a row found them unnamed: the time
//! between two sweeps must be longer than any upload.

use std::collections::{BTreeMap, BTreeSet};

use async_nats::Message;
use jiff::Timestamp;
use serde_json::json;

use orion_protocol::{Digest, subjects};

use crate::connection::Broker;
use crate::error::Error;
use crate::objects::{ObjectError, sequence};
use crate::wire::{self, ObjectInfo};

/// An object of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub digest: Digest,
    /// When the broker stored it.
    pub stored: Timestamp,
}

/// At most so many suspects are remembered; the rest is found next time.
const SUSPECTS_MAX: usize = 100_000;

/// The sweeps of one bucket.
pub struct Sweep {
    bucket: String,
    suspects: BTreeSet<String>,
}

#[derive(serde::Deserialize)]
struct Page {
    state: Subjects,
    #[serde(default)]
    total: u64,
}

#[derive(serde::Deserialize)]
struct Subjects {
    #[serde(default)]
    subjects: BTreeMap<String, u64>,
}

impl Sweep {
    /// Of this bucket; the first sweep only looks.
    pub fn new(bucket: &str) -> Sweep {
        Sweep { bucket: bucket.to_owned(), suspects: BTreeSet::new() }
    }

    /// Removes what was unnamed at the last sweep and still is; gives how many chunks went.
    pub async fn sweep(&mut self, broker: &Broker) -> Result<u64, ObjectError> {
        let failed = ObjectError::broker(&self.bucket);
        // Chunks first: an upload that ends in between is named by the time descriptions are read.
        let mut unnamed = self.chunks(broker).await.map_err(&failed)?;
        self.keep_named(broker, &mut unnamed).await.map_err(&failed)?;
        let stream = subjects::bucket_stream(&self.bucket);
        let mut removed = 0;
        for subject in unnamed.intersection(&self.suspects) {
            removed += broker.purge(&stream, subject).await.map_err(&failed)?;
        }
        self.suspects = unnamed.difference(&self.suspects).take(SUSPECTS_MAX).cloned().collect();
        Ok(removed)
    }

    /// The subjects of all chunks.
    async fn chunks(&self, broker: &Broker) -> Result<BTreeSet<String>, Error> {
        let subject = format!("$JS.API.STREAM.INFO.{}", subjects::bucket_stream(&self.bucket));
        let filter = wire::chunk_subject(&self.bucket, ">");
        let mut found = BTreeSet::new();
        let mut offset = 0;
        loop {
            let page: Page = broker.api(&subject, &json!({ "subjects_filter": filter, "offset": offset })).await?;
            let count = page.state.subjects.len() as u64;
            found.extend(page.state.subjects.into_keys());
            offset += count;
            if count == 0 || offset >= page.total {
                return Ok(found);
            }
        }
    }

    /// Takes out of `unnamed` what a description names.
    async fn keep_named(&self, broker: &Broker, unnamed: &mut BTreeSet<String>) -> Result<(), Error> {
        broker
            .descriptions(&self.bucket, |info, _| {
                unnamed.remove(&wire::chunk_subject(&self.bucket, &info.nuid));
            })
            .await
    }
}

impl Broker {
    /// All objects of a bucket, as their descriptions say; what is named by no digest is left out.
    pub async fn list(&self, bucket: &str) -> Result<Vec<Listed>, ObjectError> {
        let mut found = Vec::new();
        let add = |info: ObjectInfo, message: &Message| {
            if let (Ok(digest), Some(stored)) = (info.name.parse(), stored(message)) {
                found.push(Listed { digest, stored });
            }
        };
        self.descriptions(bucket, add).await.map_err(ObjectError::broker(bucket))?;
        Ok(found)
    }

    /// Shows every description of a bucket that can be read.
    async fn descriptions(&self, bucket: &str, mut show: impl FnMut(ObjectInfo, &Message)) -> Result<(), Error> {
        let descriptions = format!("$O.{bucket}.M.>");
        let mut next = 1;
        loop {
            let batch = self.batch(bucket, &descriptions, next).await?;
            for message in &batch {
                if let Ok(info) = serde_json::from_slice(&message.payload) {
                    show(info, message);
                }
            }
            match batch.last().and_then(sequence) {
                Some(last) => next = last + 1,
                None => return Ok(()),
            }
        }
    }
}

/// When the broker stored a message that came by direct get.
fn stored(message: &Message) -> Option<Timestamp> {
    message.headers.as_ref()?.get("Nats-Time-Stamp")?.as_str().parse().ok()
}
