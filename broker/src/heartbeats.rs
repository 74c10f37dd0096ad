//! Heartbeats: core NATS, never stored. What is lost is said again two seconds later.

use futures::StreamExt;

use orion_protocol::messages::{Beat, Message as _};
use orion_protocol::{Name, subjects};

use crate::connection::Broker;
use crate::error::Error;

/// A heartbeat as it came: who may publish under which name is the broker's permission, the content is unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The provider of the subject.
    pub provider: Name,
    /// The worker of the subject.
    pub worker: Name,
    /// Bytes of a [`Beat`].
    pub bytes: Vec<u8>,
}

/// A running subscription to all heartbeats; survives reconnects.
pub struct Heartbeats(async_nats::Subscriber);

impl Heartbeats {
    /// The next one; `None` only when the connection was closed for good. Safe to drop while it waits.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            let message = self.0.next().await?;
            // Workers send none. The broker does, on whatever it stored, when it is asked to answer to a heartbeat's subject:
            // so would a provider speak under another's name.
            if message.headers.is_some() {
                tracing::debug!(subject = %message.subject, "heartbeat has headers");
                continue;
            }
            if message.payload.len() > Beat::MAX_BYTES {
                tracing::debug!(subject = %message.subject, bytes = message.payload.len(), "heartbeat is too long");
                continue;
            }
            if let Some((provider, worker)) = subjects::parse_heartbeat(&message.subject) {
                return Some(Heard { provider, worker, bytes: message.payload.into() });
            }
        }
    }
}

impl Broker {
    /// Listens to every worker.
    pub async fn heartbeats(&self) -> Result<Heartbeats, Error> {
        self.subscribe(subjects::HEARTBEATS.to_owned()).await.map(Heartbeats)
    }

    /// Says that a worker lives, has started or got on.
    pub async fn publish_beat(&self, provider: &Name, worker: &Name, beat: &Beat) -> Result<(), Error> {
        self.send(subjects::heartbeat(provider, worker), beat.to_bytes()).await
    }
}
