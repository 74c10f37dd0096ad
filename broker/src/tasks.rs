//! Leases on their way to workers: the operator stores them, a worker pulls one, and claims it before it does anything.
//!
//! Claimed means that the broker confirmed the acknowledgement: only then nobody else gets it again.

use std::time::Duration;

use async_nats::{HeaderMap, Message};
use serde_json::json;

use orion_protocol::messages::{Message as _, Task};
use orion_protocol::{Digest, Name, subjects};

use crate::connection::Broker;
use crate::error::Error;

/// Beyond the broker's own limit of a pull, until the client gives up on an answer.
const PULL_GRACE: Duration = Duration::from_secs(2);
/// Confirmations are quick; a lost one is asked for again.
const CLAIM_WAIT: Duration = Duration::from_secs(1);
const CLAIM_TRIES: u32 = 4;

/// A lease that was delivered and is not claimed yet; unclaimed it comes again after 5 s.
#[derive(Debug)]
pub struct Delivery {
    message: Message,
    reply: String,
}

impl Broker {
    /// Stores a lease for a worker. Harmless to repeat within two minutes: the lease's digest is the message's id.
    pub async fn publish_task(
        &self,
        provider: &Name,
        worker: &Name,
        lease: &Digest,
        task: &Task,
    ) -> Result<u64, Error> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", lease.to_string());
        self.store(&subjects::work(provider, worker), Some(headers), task.to_bytes()).await
    }

    /// Takes a lease back that nobody may have seen yet; a hint, never a proof.
    pub async fn recall(&self, provider: &Name, sequence: u64) -> Result<(), Error> {
        let subject = format!("$JS.API.STREAM.MSG.DELETE.{}", subjects::work_stream(provider));
        let body = json!({ "seq": sequence, "no_erase": true });
        match self.api::<serde_json::Value>(&subject, &body).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Drops all leases that wait for a worker.
    pub async fn purge_tasks(&self, provider: &Name, worker: &Name) -> Result<u64, Error> {
        self.purge(&subjects::work_stream(provider), &subjects::work(provider, worker)).await
    }

    /// Waits up to `wait` for one lease. `None`: there was none. [`Error::NoResponders`]: the operator has not made the
    /// worker's consumer yet.
    pub async fn next_task(&self, provider: &Name, worker: &Name, wait: Duration) -> Result<Option<Delivery>, Error> {
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{worker}", subjects::work_stream(provider));
        let expires = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        let body = serde_json::to_vec(&json!({ "batch": 1, "expires": expires })).unwrap_or_default();
        let message = match self.pull(&subject, body, wait + PULL_GRACE).await {
            Ok(message) => message,
            // The broker's own "nothing came" was lost.
            Err(Error::Timeout { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        read_pulled(&subject, message)
    }

    /// Claims a lease: returns once the broker has confirmed it. An error leaves it open whether it was claimed.
    pub async fn claim(&self, delivery: &Delivery) -> Result<(), Error> {
        let mut tries = 1;
        loop {
            match self.request(&delivery.reply, None, b"+ACK".to_vec(), CLAIM_WAIT).await {
                Ok(_) => return Ok(()),
                Err(error) if tries == CLAIM_TRIES || !error.is_transient() => return Err(error),
                Err(error) => tracing::debug!(%error, "claim is repeated"),
            }
            tries += 1;
        }
    }

    /// Tells the broker never to deliver this message again: it is malformed or not for us.
    pub async fn refuse(&self, delivery: &Delivery) -> Result<(), Error> {
        self.send(delivery.reply.clone(), b"+TERM".to_vec()).await
    }
}

impl Delivery {
    /// The bytes of the task, unchecked.
    pub fn bytes(&self) -> &[u8] {
        &self.message.payload
    }
}

/// Tells a lease from the broker's words about the pull.
fn read_pulled(subject: &str, message: Message) -> Result<Option<Delivery>, Error> {
    match (message.status.map(|status| status.as_u16()), &message.reply) {
        (None, Some(reply)) => {
            let reply = reply.to_string();
            Ok(Some(Delivery { message, reply }))
        }
        // No messages, or the pull expired.
        (Some(404 | 408), _) => Ok(None),
        (status, _) => Err(Error::Refused {
            subject: subject.into(),
            code: status.unwrap_or_default().into(),
            description: message.description.unwrap_or_default(),
        }),
    }
}
