//! Writing an object in pieces, when its digest is known only at the end: chunks first, the description last, so that a
//! broken upload leaves nothing that a reader could find.
//!
//! Chunks are sent in order and each one is acknowledged; a few may be under way.

use std::time::Duration;

use async_nats::{HeaderMap, Message};
use futures::StreamExt;
use sha2::Digest as _;

use orion_protocol::digest::Hasher;
use orion_protocol::{Digest, subjects};

use crate::connection::{Broker, Denials, PubAck, read_answer};
use crate::error::Error;
use crate::objects::ObjectError;
use crate::wire::{self, CHUNK_BYTES, ObjectInfo, Options};

/// Chunks sent and not yet acknowledged.
const UNDER_WAY: u64 = 8;
/// How long an acknowledgement may take.
const ACK_WAIT: Duration = Duration::from_secs(10);

/// An object being written.
pub struct Upload {
    broker: Broker,
    bucket: String,
    nuid: String,
    subject: String,
    inbox: String,
    acks: async_nats::Subscriber,
    denials: Denials,
    buffer: Vec<u8>,
    sent: u64,
    acked: u64,
    last_sequence: u64,
    size: u64,
    name: Hasher,
    stock: sha2::Sha256,
}

impl Broker {
    /// Starts writing an object.
    pub async fn upload(&self, bucket: &str) -> Result<Upload, ObjectError> {
        let failed = ObjectError::broker(bucket);
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| failed(Error::Setup { why: error.to_string() }))?;
        let nuid = orion_protocol::bytes::hex(&random);
        let (denials, inbox) = (self.denials(), self.client.new_inbox());
        let acks = self.subscribe(inbox.clone()).await.map_err(&failed)?;
        Ok(Upload {
            broker: self.clone(),
            bucket: bucket.to_owned(),
            subject: wire::chunk_subject(bucket, &nuid),
            nuid,
            inbox,
            acks,
            denials,
            buffer: Vec::new(),
            sent: 0,
            acked: 0,
            last_sequence: 0,
            size: 0,
            name: Hasher::default(),
            stock: sha2::Sha256::new(),
        })
    }
}

impl Broker {
    /// Makes an object to be found; gives the sequence of its description.
    pub(crate) async fn put_description(
        &self,
        digest: &Digest,
        info: &ObjectInfo,
        headers: Option<HeaderMap>,
    ) -> Result<u64, Error> {
        let subject = wire::meta_subject(&info.bucket, digest);
        let info = serde_json::to_vec(info)
            .map_err(|error| Error::Unsent { subject: subject.clone(), why: error.to_string() })?;
        self.store(&subject, headers, info).await
    }
}

impl Upload {
    /// Adds bytes.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), ObjectError> {
        self.name.update(bytes);
        self.stock.update(bytes);
        self.size += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = CHUNK_BYTES - self.buffer.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == CHUNK_BYTES {
                self.send().await?;
            }
        }
        Ok(())
    }

    /// Ends the object; gives its digest and its length.
    pub async fn finish(mut self) -> Result<(Digest, u64), ObjectError> {
        if !self.buffer.is_empty() {
            self.send().await?;
        }
        while self.acked < self.sent {
            self.ack().await?;
        }
        let digest = std::mem::take(&mut self.name).finish();
        let info = ObjectInfo {
            name: subjects::object(&digest),
            bucket: self.bucket.clone(),
            nuid: self.nuid.clone(),
            size: self.size,
            chunks: self.sent,
            digest: Some(wire::stock_digest(&std::mem::take(&mut self.stock).finalize())),
            deleted: false,
            options: Options { max_chunk_size: Some(CHUNK_BYTES as u64) },
        };
        self.broker.put_description(&digest, &info, None).await.map_err(ObjectError::broker(&self.bucket))?;
        Ok((digest, self.size))
    }

    async fn send(&mut self) -> Result<(), ObjectError> {
        while self.sent - self.acked >= UNDER_WAY {
            self.ack().await?;
        }
        let chunk = std::mem::take(&mut self.buffer);
        let (subject, reply) = (self.subject.clone(), self.inbox.clone());
        let sent = self.broker.client.publish_with_reply(subject, reply, chunk.into()).await;
        let unsent = |why: String| self.failed(Error::Unsent { subject: self.subject.clone(), why });
        sent.map_err(|error| unsent(error.to_string()))?;
        self.sent += 1;
        Ok(())
    }

    /// Waits for one acknowledgement; they come in the order of the chunks, with rising sequences.
    async fn ack(&mut self) -> Result<(), ObjectError> {
        let subject = self.subject.clone();
        let answer = tokio::select! {
            answer = tokio::time::timeout(ACK_WAIT, self.acks.next()) => answer,
            () = self.denials.of(&subject) => return Err(self.failed(Error::Denied { subject })),
        };
        let Ok(Some(answer)) = answer else { return Err(self.failed(Error::Timeout { subject })) };
        let sequence = sequence_of(&subject, &answer).map_err(|error| self.failed(error))?;
        if sequence <= self.last_sequence {
            let why = "chunks were stored out of order".into();
            return Err(self.failed(Error::Unreadable { subject, why }));
        }
        (self.last_sequence, self.acked) = (sequence, self.acked + 1);
        Ok(())
    }

    fn failed(&self, source: Error) -> ObjectError {
        ObjectError::broker(&self.bucket)(source)
    }
}

fn sequence_of(subject: &str, answer: &Message) -> Result<u64, Error> {
    if answer.status.is_some_and(|status| status.as_u16() == 503) {
        return Err(Error::NoResponders { subject: subject.into() });
    }
    read_answer::<PubAck>(subject, &answer.payload).map(|ack| ack.seq)
}
