//! Objects by digest: an object's name is the hex of its bytes' SHA3-256, and no byte is handed on before that was checked
//! (a stream of chunks is worth something only once its end came).
//!
//! Reading creates no consumer: descriptions and chunks come by direct get, so that a provider needs no right to create
//! consumers. Sizes are bounded by the caller before anything is allocated.

use std::time::Duration;

use async_nats::Message;
use futures::StreamExt;
use serde_json::{Value, json};

use orion_protocol::digest::Hasher;
use orion_protocol::{Digest, subjects};

use crate::connection::{Broker, Denials, REQUEST_WAIT};
use crate::error::Error;
use crate::wire::{self, CHUNK_BYTES, MAX_INFO_BYTES, ObjectInfo};

/// Chunks asked for at a time: 2 MiB in flight.
const BATCH: u64 = 16;
/// How long the next chunk may take.
const CHUNK_WAIT: Duration = Duration::from_secs(5);

/// Why an object was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is no such object.
    #[error("there is no object {digest} in bucket {bucket}")]
    NotFound {
        /// The bucket.
        bucket: String,
        /// The object.
        digest: Digest,
    },
    /// Longer than the caller allows.
    #[error("object {digest} in bucket {bucket} is {have} bytes long, at most {max} are allowed")]
    TooLarge {
        /// The bucket.
        bucket: String,
        /// The object.
        digest: Digest,
        /// Its length as described.
        have: u64,
        /// The caller's bound.
        max: u64,
    },
    /// What is stored is not what the name says.
    #[error("object {digest} in bucket {bucket} is not what its name says: {why}")]
    Mismatch {
        /// The bucket.
        bucket: String,
        /// The object.
        digest: Digest,
        /// What is wrong with it.
        why: String,
    },
    /// The broker denied, was away or slow.
    #[error("bucket {bucket} cannot be used")]
    Broker {
        /// The bucket.
        bucket: String,
        /// What happened.
        #[source]
        source: Error,
    },
}

impl ObjectError {
    pub(crate) fn broker(bucket: &str) -> impl Fn(Error) -> ObjectError + '_ {
        move |source| ObjectError::Broker { bucket: bucket.to_owned(), source }
    }

    /// Whether trying the same again later can help.
    pub fn is_transient(&self) -> bool {
        matches!(self, ObjectError::Broker { source, .. } if source.is_transient())
    }

    /// Whether the bucket holds as much as it may.
    pub fn is_full(&self) -> bool {
        matches!(self, ObjectError::Broker { source, .. } if source.is_full())
    }

    /// Whether this says something about the object, and not about the broker.
    pub fn is_about_object(&self) -> bool {
        !matches!(self, ObjectError::Broker { .. })
    }
}

impl Broker {
    /// The whole object, checked; at most `max_bytes` long. Where the newest description leads to other bytes than the name
    /// says, older ones are tried: whoever gets a message into a bucket must not be able to hide what is there.
    pub async fn get(&self, bucket: &str, digest: &Digest, max_bytes: u64) -> Result<Vec<u8>, ObjectError> {
        let newest = match self.read(bucket, digest, max_bytes).await {
            Ok(reader) => reader.whole().await,
            Err(error) => Err(error),
        };
        let Err(error @ (ObjectError::Mismatch { .. } | ObjectError::TooLarge { .. })) = newest else { return newest };
        tracing::warn!(%error, "older descriptions are tried");
        let meta = wire::meta_subject(bucket, digest);
        for message in self.batch(bucket, &meta, 1).await.map_err(ObjectError::broker(bucket))? {
            let Ok(info) = read_info(bucket, digest, &message.payload) else { continue };
            let Ok(reader) = self.reader(bucket, digest, &info, max_bytes) else { continue };
            match reader.whole().await {
                Err(ObjectError::Mismatch { .. }) => {}
                done => return done,
            }
        }
        Err(error)
    }

    /// Starts reading an object of at most `max_bytes` in chunks, by its newest description.
    pub async fn read(&self, bucket: &str, digest: &Digest, max_bytes: u64) -> Result<ObjectReader, ObjectError> {
        match self.describe(bucket, digest).await? {
            Some(info) => self.reader(bucket, digest, &info, max_bytes),
            None => Err(ObjectError::NotFound { bucket: bucket.to_owned(), digest: *digest }),
        }
    }

    pub(crate) fn reader(
        &self,
        bucket: &str,
        digest: &Digest,
        info: &ObjectInfo,
        max_bytes: u64,
    ) -> Result<ObjectReader, ObjectError> {
        let (bucket, digest) = (bucket.to_owned(), *digest);
        if info.size > max_bytes {
            return Err(ObjectError::TooLarge { bucket, digest, have: info.size, max: max_bytes });
        }
        let reader = ObjectReader::new(self.clone(), bucket, digest, info);
        if reader.chunks > reader.size.div_ceil(CHUNK_BYTES as u64) + 1 {
            return Err(reader.mismatch("it is cut into more chunks than its size takes"));
        }
        Ok(reader)
    }

    /// The size of an object as described, which is not checked; `None` when there is none.
    pub async fn exists(&self, bucket: &str, digest: &Digest) -> Result<Option<u64>, ObjectError> {
        match self.describe(bucket, digest).await {
            Ok(info) => Ok(info.map(|info| info.size)),
            Err(ObjectError::Mismatch { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores bytes under their digest. An object of that name and size is left as it is ([`Broker::hold`] keeps it from being swept);
    /// a small one is read before that is believed, a large one is not: readers check it anyway.
    pub async fn put(&self, bucket: &str, bytes: &[u8]) -> Result<Digest, ObjectError> {
        let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
        let small = bytes.len() <= CHUNK_BYTES;
        if self.exists(bucket, &digest).await? == Some(size)
            && !(small && matches!(self.get(bucket, &digest, size).await, Err(ObjectError::Mismatch { .. })))
        {
            return Ok(digest);
        }
        let mut upload = self.upload(bucket).await?;
        upload.write(bytes).await?;
        upload.finish().await.map(|(digest, _)| digest)
    }

    /// Removes an object with every version of it. The operator's right.
    pub async fn delete(&self, bucket: &str, digest: &Digest) -> Result<(), ObjectError> {
        let failed = ObjectError::broker(bucket);
        let (stream, meta) = (subjects::bucket_stream(bucket), wire::meta_subject(bucket, digest));
        // Whatever happens in between, the descriptions go last: a repeated delete still finds the chunks.
        let mut next = 1;
        loop {
            let batch = self.batch(bucket, &meta, next).await.map_err(&failed)?;
            let Some(last) = batch.last().and_then(sequence) else { break };
            for message in &batch {
                let info: Option<ObjectInfo> = serde_json::from_slice(&message.payload).ok();
                if let Some(info) = info.filter(|info| wire::is_plain(&info.nuid)) {
                    self.purge(&stream, &wire::chunk_subject(bucket, &info.nuid)).await.map_err(&failed)?;
                }
            }
            next = last + 1;
        }
        self.purge(&stream, &meta).await.map_err(&failed)?;
        Ok(())
    }

    /// The first bytes of an object, at most a chunk: enough for a header. Only who reads all of it knows that they are right.
    pub async fn head(&self, bucket: &str, digest: &Digest) -> Result<Vec<u8>, ObjectError> {
        let info = self.describe(bucket, digest).await?;
        let info = info.ok_or_else(|| ObjectError::NotFound { bucket: bucket.to_owned(), digest: *digest })?;
        if info.size == 0 {
            return Ok(Vec::new());
        }
        let first = json!({ "seq": 1, "next_by_subj": wire::chunk_subject(bucket, &info.nuid) });
        let chunk = self.direct(bucket, &first).await.map_err(ObjectError::broker(bucket))?;
        chunk.map(|chunk| chunk.payload.into()).ok_or_else(|| mismatch(bucket, digest, "chunks are missing"))
    }

    /// The newest description of an object.
    async fn describe(&self, bucket: &str, digest: &Digest) -> Result<Option<ObjectInfo>, ObjectError> {
        let newest =
            self.newest(bucket, &wire::meta_subject(bucket, digest)).await.map_err(ObjectError::broker(bucket))?;
        newest.map(|message| read_info(bucket, digest, &message.payload)).transpose()
    }

    /// The newest message of a subject.
    pub(crate) async fn newest(&self, bucket: &str, subject: &str) -> Result<Option<Message>, Error> {
        self.direct(bucket, &json!({ "last_by_subj": subject })).await
    }

    /// One message, by direct get.
    async fn direct(&self, bucket: &str, which: &Value) -> Result<Option<Message>, Error> {
        let subject = direct_get(bucket);
        let answer = self.request(&subject, None, which.to_string().into_bytes(), REQUEST_WAIT).await?;
        match answer.status.map(|status| status.as_u16()) {
            None => Ok(Some(answer)),
            Some(404) => Ok(None),
            Some(code) => Err(refused(&subject, code, answer.description)),
        }
    }

    /// Up to [`BATCH`] messages of one subject from `next` on.
    pub(crate) async fn batch(&self, bucket: &str, of: &str, next: u64) -> Result<Vec<Message>, Error> {
        let mut batch = Batch::ask(self, bucket, of, next).await?;
        let mut messages = Vec::new();
        while let Some(message) = batch.next().await? {
            messages.push(message);
        }
        Ok(messages)
    }
}

/// Reads a description that must be of this object.
pub(crate) fn read_info(bucket: &str, digest: &Digest, bytes: &[u8]) -> Result<ObjectInfo, ObjectError> {
    let mismatch = |why: &str| mismatch(bucket, digest, why);
    if bytes.len() > MAX_INFO_BYTES {
        return Err(mismatch("its description is too long"));
    }
    let info: ObjectInfo =
        serde_json::from_slice(bytes).map_err(|error| mismatch(&format!("its description: {error}")))?;
    if info.name != subjects::object(digest) || !wire::is_plain(&info.nuid) {
        return Err(mismatch("its description is of another object"));
    }
    // Orion deletes by purging; nobody who may delete leaves this mark.
    if info.deleted {
        return Err(mismatch("its description says that it was deleted"));
    }
    Ok(info)
}

pub(crate) fn mismatch(bucket: &str, digest: &Digest, why: &str) -> ObjectError {
    ObjectError::Mismatch { bucket: bucket.to_owned(), digest: *digest, why: why.into() }
}

fn direct_get(bucket: &str) -> String {
    format!("$JS.API.DIRECT.GET.{}", subjects::bucket_stream(bucket))
}

fn refused(subject: &str, code: u16, description: Option<String>) -> Error {
    Error::Refused { subject: subject.into(), code: code.into(), description: description.unwrap_or_default() }
}

/// The stream sequence of a message that came by direct get.
pub(crate) fn sequence(message: &Message) -> Option<u64> {
    message.headers.as_ref()?.get("Nats-Sequence")?.as_str().parse().ok()
}

/// One batched direct get (ADR-31) under way.
struct Batch {
    messages: async_nats::Subscriber,
    denials: Denials,
    subject: String,
    any: bool,
    done: bool,
}

impl Batch {
    async fn ask(broker: &Broker, bucket: &str, of: &str, next: u64) -> Result<Batch, Error> {
        let (subject, inbox) = (direct_get(bucket), broker.client.new_inbox());
        let denials = broker.denials();
        let messages = broker.subscribe(inbox.clone()).await?;
        let body = json!({ "seq": next, "next_by_subj": of, "batch": BATCH }).to_string();
        let sent = broker.client.publish_with_reply(subject.clone(), inbox, body.into()).await;
        sent.map_err(|error| Error::Unsent { subject: subject.clone(), why: error.to_string() })?;
        Ok(Batch { messages, denials, subject, any: false, done: false })
    }

    /// The next message; `None` at the end of the batch.
    async fn next(&mut self) -> Result<Option<Message>, Error> {
        if self.done {
            return Ok(None);
        }
        let message = tokio::select! {
            message = tokio::time::timeout(CHUNK_WAIT, self.messages.next()) => message,
            () = self.denials.of(&self.subject) => return Err(Error::Denied { subject: self.subject.clone() }),
        };
        let Ok(Some(message)) = message else { return Err(Error::Timeout { subject: self.subject.clone() }) };
        match message.status.map(|status| status.as_u16()) {
            None => {
                self.any = true;
                Ok(Some(message))
            }
            Some(204 | 404) => {
                self.done = true;
                Ok(None)
            }
            Some(503) => Err(Error::NoResponders { subject: self.subject.clone() }),
            Some(code) => Err(refused(&self.subject, code, message.description)),
        }
    }
}

/// An object being read. Its bytes are right only once [`ObjectReader::next`] has given `None`.
pub struct ObjectReader {
    broker: Broker,
    bucket: String,
    digest: Digest,
    chunk_subject: String,
    size: u64,
    chunks: u64,
    read_bytes: u64,
    read_chunks: u64,
    /// Sequence from which the next batch is asked for.
    next: u64,
    hasher: Hasher,
    batch: Option<Batch>,
}

impl ObjectReader {
    fn new(broker: Broker, bucket: String, digest: Digest, info: &ObjectInfo) -> ObjectReader {
        let chunk_subject = wire::chunk_subject(&bucket, &info.nuid);
        let ObjectInfo { size, chunks, .. } = *info;
        let (read_bytes, read_chunks, next, hasher, batch) = (0, 0, 1, Hasher::default(), None);
        ObjectReader {
            broker,
            bucket,
            digest,
            chunk_subject,
            size,
            chunks,
            read_bytes,
            read_chunks,
            next,
            hasher,
            batch,
        }
    }

    /// Its length in bytes as described; never more will come.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// All of it.
    async fn whole(mut self) -> Result<Vec<u8>, ObjectError> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.size).unwrap_or_default());
        while let Some(chunk) = self.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// The next chunk; `None` once all bytes came and hash to the name.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ObjectError> {
        while self.read_chunks < self.chunks {
            if let Some(message) = self.message().await? {
                return self.take(message).map(Some);
            }
            // The batch is over: with nothing in it, nothing more is there.
            if self.batch.take().is_none_or(|batch| !batch.any) {
                return Err(self.mismatch("chunks are missing"));
            }
        }
        if self.read_bytes != self.size {
            return Err(self.mismatch("it is shorter than described"));
        }
        if std::mem::take(&mut self.hasher).finish() != self.digest {
            return Err(self.mismatch("its bytes hash to another digest"));
        }
        Ok(None)
    }

    async fn message(&mut self) -> Result<Option<Message>, ObjectError> {
        let failed = ObjectError::broker(&self.bucket);
        if self.batch.is_none() {
            self.batch =
                Some(Batch::ask(&self.broker, &self.bucket, &self.chunk_subject, self.next).await.map_err(&failed)?);
        }
        match &mut self.batch {
            Some(batch) => batch.next().await.map_err(&failed),
            None => Ok(None),
        }
    }

    fn take(&mut self, message: Message) -> Result<Vec<u8>, ObjectError> {
        let at = sequence(&message).filter(|at| *at >= self.next);
        let Some(at) = at else { return Err(self.mismatch("a chunk came without its place")) };
        self.next = at + 1;
        self.read_chunks += 1;
        self.read_bytes = self.read_bytes.saturating_add(message.payload.len() as u64);
        if self.read_bytes > self.size {
            return Err(self.mismatch("it is longer than described"));
        }
        self.hasher.update(&message.payload);
        Ok(message.payload.into())
    }

    fn mismatch(&self, why: &str) -> ObjectError {
        mismatch(&self.bucket, &self.digest, why)
    }
}
