//! Objects that come in parts: an upload that was cut off goes on where it stopped, whoever serves it. All that is known of it
//! lies in the bucket: its chunks, under a subject that follows from its digest and size, each appended only right behind the one that the
//! writer has seen last. Nobody finds the object before all of it was hashed and described.
//!
//! Also holding objects: whoever wants one describes it anew, and a description that is newer than the one that a sweep has
//! seen is not removed ([`Broker::remove`]).

use async_nats::HeaderMap;
use jiff::Timestamp;
use sha2::Digest as _;

use orion_protocol::{Digest, subjects};

use crate::connection::Broker;
use crate::error::Error;
use crate::objects::{ObjectError, read_info, sequence};
use crate::sweep::stored;
use crate::wire::{self, CHUNK_BYTES, ObjectInfo, Options};

/// The broker stores a message only if the last one of its subject has this sequence; 0 is none.
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
/// The same of another subject.
const EXPECTED_OF: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
/// Where a chunk ends in its object, in bytes.
const END: &str = "Orion-End";
/// Others who hold the same object at the same time are few.
const HOLD_TRIES: usize = 5;

/// An object that comes in parts. Who says another size uploads something else, and is in nobody's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// What it hashes to.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

/// How far an upload is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// Bytes that are stored, from the beginning on.
    pub bytes: u64,
    sequence: u64,
    last: Option<Timestamp>,
}

fn expecting(sequence: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(EXPECTED, sequence.to_string());
    headers
}

impl Arrived {
    /// Whether something came, and all of it before this time.
    pub(crate) fn is_before(&self, time: Timestamp) -> bool {
        self.last.is_some_and(|last| last < time)
    }
}

impl Broker {
    /// How far an upload in parts is; an object that is complete, too.
    pub async fn arrived(&self, bucket: &str, upload: &Incoming) -> Result<Arrived, ObjectError> {
        let subject = wire::chunk_subject(bucket, &wire::parts_nuid(upload));
        let newest = self.newest(bucket, &subject).await.map_err(ObjectError::broker(bucket))?;
        let Some(message) = newest else { return Ok(Arrived::default()) };
        let end = message.headers.as_ref().and_then(|headers| headers.get(END)?.as_str().parse().ok());
        // A chunk that is not ours spoils what it is in, which shows when all is hashed.
        let (bytes, sequence) = (end.unwrap_or_default(), sequence(&message).unwrap_or_default());
        Ok(Arrived { bytes, sequence, last: stored(&message) })
    }

    /// Adds bytes behind those that have arrived: whole chunks, unless they are the last. `None` when somebody else has added some
    /// meanwhile.
    pub async fn append(
        &self,
        bucket: &str,
        upload: &Incoming,
        mut arrived: Arrived,
        bytes: &[u8],
    ) -> Result<Option<Arrived>, ObjectError> {
        let subject = wire::chunk_subject(bucket, &wire::parts_nuid(upload));
        for chunk in bytes.chunks(CHUNK_BYTES) {
            let end = arrived.bytes + chunk.len() as u64;
            let mut headers = expecting(arrived.sequence);
            headers.insert(END, end.to_string());
            match self.store(&subject, Some(headers), chunk.to_vec()).await {
                Ok(sequence) => arrived = Arrived { bytes: end, sequence, last: None },
                Err(error) if error.is_conflict() => return Ok(None),
                Err(source) => return Err(ObjectError::Broker { bucket: bucket.to_owned(), source }),
            }
        }
        Ok(Some(arrived))
    }

    /// Hashes an upload of which all has arrived, and makes an object of it that can be found. What does not hash to the digest is removed.
    pub async fn complete(&self, bucket: &str, upload: &Incoming) -> Result<(), ObjectError> {
        let Incoming { digest, size } = upload;
        let failed = ObjectError::broker(bucket);
        let stream = subjects::bucket_stream(bucket);
        let arrived = self.arrived(bucket, upload).await?;
        let mut info = ObjectInfo {
            name: subjects::object(digest),
            bucket: bucket.to_owned(),
            nuid: wire::parts_nuid(upload),
            size: *size,
            chunks: size.div_ceil(CHUNK_BYTES as u64),
            digest: None,
            deleted: false,
            options: Options { max_chunk_size: Some(CHUNK_BYTES as u64) },
        };
        let mut reader = self.reader(bucket, digest, &info, u64::MAX)?;
        let mut stock = sha2::Sha256::new();
        loop {
            match reader.next().await {
                Ok(Some(chunk)) => stock.update(&chunk),
                Ok(None) => break,
                Err(error @ ObjectError::Mismatch { .. }) => {
                    self.purge(&stream, &wire::chunk_subject(bucket, &info.nuid)).await.map_err(&failed)?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        }
        info.digest = Some(wire::stock_digest(&stock.finalize()));
        // Only what was hashed is described: the last chunk still has to be there.
        let mut headers = expecting(arrived.sequence);
        headers.insert(EXPECTED_OF, wire::chunk_subject(bucket, &info.nuid));
        let sequence = self.put_description(digest, &info, Some(headers)).await.map_err(&failed)?;
        let meta = wire::meta_subject(bucket, digest);
        self.purge_before(&stream, &meta, sequence).await.map_err(&failed)?;
        Ok(())
    }

    /// The size of an object that came in parts and is complete.
    pub async fn put_size(&self, bucket: &str, digest: &Digest) -> Result<Option<u64>, ObjectError> {
        let meta = wire::meta_subject(bucket, digest);
        let newest = self.newest(bucket, &meta).await.map_err(ObjectError::broker(bucket))?;
        let info = newest.and_then(|message| read_info(bucket, digest, &message.payload).ok());
        let Some(info) = info else { return Ok(None) };
        let Some(upload) = wire::of_parts(&info.nuid) else { return Ok(None) };
        let is_there = self.arrived(bucket, &upload).await?.bytes >= info.size;
        Ok(is_there.then_some(info.size))
    }

    /// The size of an object, if it is there: it was described at `since` or later, or is now described anew, and so stays for as
    /// long after it as objects are kept that nobody uses.
    pub async fn hold(&self, bucket: &str, digest: &Digest, since: Timestamp) -> Result<Option<u64>, ObjectError> {
        let failed = ObjectError::broker(bucket);
        let meta = wire::meta_subject(bucket, digest);
        for _ in 0..HOLD_TRIES {
            let Some(message) = self.newest(bucket, &meta).await.map_err(&failed)? else { return Ok(None) };
            let Ok(info) = read_info(bucket, digest, &message.payload) else { return Ok(None) };
            if let Some(upload) = wire::of_parts(&info.nuid)
                && self.arrived(bucket, &upload).await?.bytes < info.size
            {
                return Ok(None);
            }
            if stored(&message).is_some_and(|stored| stored >= since) {
                return Ok(Some(info.size));
            }
            let seen = expecting(sequence(&message).unwrap_or_default());
            match self.store(&meta, Some(seen), message.payload.into()).await {
                Ok(sequence) => {
                    let stream = subjects::bucket_stream(bucket);
                    self.purge_before(&stream, &meta, sequence).await.map_err(&failed)?;
                    return Ok(Some(info.size));
                }
                // Held by somebody else, or removed.
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(Error::Timeout { subject: meta }))
    }
}
