//! What lies in a bucket: its objects, and clearing it of chunks that no description names, which broken uploads leave
//! behind. The operator's right. Which objects somebody still needs is not known here.
//!
//! A running upload looks just like a broken one, so chunks go only when two sweeps in a row found them unnamed: the time
//! between two sweeps must be longer than any upload. One that comes in parts may go on much later, and goes by the age of its last part.

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
    /// When the broker stored it, or it was last held.
    pub stored: Timestamp,
    /// Of its description.
    sequence: u64,
    nuid: String,
}

impl Listed {
    /// Whether somebody put it there in parts, for jobs to come.
    pub fn came_in_parts(&self) -> bool {
        wire::of_parts(&self.nuid).is_some()
    }
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

    /// Removes what was unnamed at the last sweep and still is, and uploads in parts that got none since `before`; gives how many
    /// chunks went.
    pub async fn sweep(&mut self, broker: &Broker, before: Timestamp) -> Result<u64, ObjectError> {
        let failed = ObjectError::broker(&self.bucket);
        // Chunks first: an upload that ends in between is named by the time descriptions are read.
        let mut unnamed = broker.chunks(&self.bucket).await.map_err(&failed)?;
        let named = |info: ObjectInfo, _: &Message| {
            unnamed.remove(&info.nuid);
        };
        broker.descriptions(&self.bucket, named).await.map_err(&failed)?;
        let stream = subjects::bucket_stream(&self.bucket);
        let (mut gone, mut suspects, mut removed) = (Vec::new(), BTreeSet::new(), 0);
        for nuid in unnamed {
            if let Some(upload) = wire::of_parts(&nuid) {
                let last = broker.arrived(&self.bucket, &upload).await?;
                // It may have become an object since descriptions were read.
                let meta = wire::meta_subject(&self.bucket, &upload.digest);
                if last.is_before(before) && broker.newest(&self.bucket, &meta).await.map_err(&failed)?.is_none() {
                    removed +=
                        broker.purge(&stream, &wire::chunk_subject(&self.bucket, &nuid)).await.map_err(&failed)?;
                }
            } else if self.suspects.contains(&nuid) {
                gone.push(nuid);
            } else if suspects.len() < SUSPECTS_MAX {
                suspects.insert(nuid);
            }
        }
        for nuid in gone {
            removed += broker.purge(&stream, &wire::chunk_subject(&self.bucket, &nuid)).await.map_err(&failed)?;
        }
        self.suspects = suspects;
        Ok(removed)
    }
}

impl Broker {
    /// How many objects there are that came in parts, or are on their way.
    pub async fn count_in_parts(&self, bucket: &str) -> Result<usize, ObjectError> {
        let chunks = self.chunks(bucket).await.map_err(ObjectError::broker(bucket))?;
        Ok(chunks.iter().filter(|nuid| wire::of_parts(nuid).is_some()).count())
    }

    /// The nuids of all chunks.
    async fn chunks(&self, bucket: &str) -> Result<BTreeSet<String>, Error> {
        let subject = format!("$JS.API.STREAM.INFO.{}", subjects::bucket_stream(bucket));
        let (filter, prefix) = (wire::chunk_subject(bucket, ">"), wire::chunk_subject(bucket, ""));
        let mut found = BTreeSet::new();
        let mut offset = 0;
        loop {
            let page: Page = self.api(&subject, &json!({ "subjects_filter": filter, "offset": offset })).await?;
            let count = page.state.subjects.len() as u64;
            found.extend(
                page.state.subjects.into_keys().filter_map(|name| Some(name.strip_prefix(&prefix)?.to_owned())),
            );
            offset += count;
            if count == 0 || offset >= page.total {
                return Ok(found);
            }
        }
    }

    /// Removes an object as it was listed, and says whether it went: one that was described anew since stays, for somebody wants it.
    pub async fn remove(&self, bucket: &str, listed: &Listed) -> Result<bool, ObjectError> {
        let failed = ObjectError::broker(bucket);
        let (stream, meta) = (subjects::bucket_stream(bucket), wire::meta_subject(bucket, &listed.digest));
        self.purge_before(&stream, &meta, listed.sequence + 1).await.map_err(&failed)?;
        if self.newest(bucket, &meta).await.map_err(&failed)?.is_some() {
            return Ok(false);
        }
        // What is left behind by who dies here is swept.
        self.purge(&stream, &wire::chunk_subject(bucket, &listed.nuid)).await.map_err(&failed)?;
        Ok(true)
    }

    /// All objects of a bucket, as their descriptions say; what is named by no digest is left out.
    pub async fn list(&self, bucket: &str) -> Result<Vec<Listed>, ObjectError> {
        let mut found = Vec::new();
        let add = |info: ObjectInfo, message: &Message| {
            let known = (info.name.parse(), stored(message), sequence(message));
            if let (Ok(digest), Some(stored), Some(sequence)) = known
                && wire::is_plain(&info.nuid)
            {
                found.push(Listed { digest, stored, sequence, nuid: info.nuid });
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
pub(crate) fn stored(message: &Message) -> Option<Timestamp> {
    message.headers.as_ref()?.get("Nats-Time-Stamp")?.as_str().parse().ok()
}
