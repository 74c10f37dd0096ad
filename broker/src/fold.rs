//! The ordered reading of a provider's answers: from the first stored to the last, then live, each once and in order,
//! over reconnects, server restarts and lost consumers.
//!
//! It acknowledges nothing. An ephemeral consumer is made where reading stopped whenever anything looks odd; a stream that
//! was made anew is read anew, and said so.

use std::time::Duration;

use async_nats::Message;
use futures::StreamExt;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use orion_protocol::{Name, subjects};

use crate::connection::Broker;
use crate::error::Error;

/// Answers that wait for the reader.
const BUFFER: usize = 256;
/// Messages asked for at a time, and the mark below which more are asked for.
const PULL: u64 = 256;
const PULL_MORE: u64 = 64;
const PULL_EXPIRES: Duration = Duration::from_secs(20);
const IDLE_HEARTBEAT: Duration = Duration::from_secs(2);
/// Silence after which the consumer is taken for lost: several idle heartbeats.
const SILENCE: Duration = Duration::from_secs(7);
const CONSUMER_INACTIVE: Duration = Duration::from_secs(30);
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// A stored answer, unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its sequence in the stream.
    pub sequence: u64,
    /// Its subject.
    pub subject: String,
    /// Bytes of an [`orion_protocol::messages::Answer`].
    pub bytes: Vec<u8>,
}

/// What the reader of answers is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoldEvent {
    /// The stream's creation time: first of all, and again whenever the stream was made anew, after which reading
    /// starts over at the first message.
    Opened {
        /// In the broker's words, as in [`crate::StreamFacts`].
        created: String,
    },
    /// One answer.
    Answer(Recorded),
    /// All that was stored when reading (re)started has been given.
    CaughtUp,
}

/// A running fold. Dropping it ends the reading.
pub struct Fold {
    events: mpsc::Receiver<FoldEvent>,
    task: JoinHandle<()>,
}

impl Fold {
    /// The next event; `None` never comes while the fold lives. Safe to drop while it waits.
    pub async fn next(&mut self) -> Option<FoldEvent> {
        self.events.recv().await
    }
}

impl Drop for Fold {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Broker {
    /// Reads a provider's answers from the first one and goes on for ever. Needs the right to create consumers.
    pub fn fold(&self, provider: &Name) -> Fold {
        let (sender, events) = mpsc::channel(BUFFER);
        let reader =
            Reader { broker: self.clone(), stream: subjects::commit_stream(provider), next: 1, created: None, sender };
        Fold { events, task: tokio::spawn(reader.run()) }
    }
}

/// Why one consumer's reading ended.
enum Ended {
    /// The [`Fold`] is gone.
    Unwanted,
    /// Something looks odd: make a new consumer.
    Odd(&'static str),
    Failed(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Ended {
        Ended::Failed(error)
    }
}

struct Reader {
    broker: Broker,
    stream: String,
    next: u64,
    created: Option<String>,
    sender: mpsc::Sender<FoldEvent>,
}

impl Reader {
    async fn run(mut self) {
        let mut pause = PAUSE_FIRST;
        loop {
            let from = self.next;
            match self.read().await {
                Ok(never) => match never {},
                Err(Ended::Unwanted) => return,
                Err(Ended::Odd(why)) => tracing::info!(stream = self.stream, why, "reading of answers starts over"),
                Err(Ended::Failed(error)) => {
                    tracing::warn!(stream = self.stream, %error, "answers cannot be read now");
                }
            }
            pause = if self.next > from { PAUSE_FIRST } else { (pause * 2).min(PAUSE_MAX) };
            tokio::time::sleep(pause).await;
        }
    }

    /// One consumer's life.
    async fn read(&mut self) -> Result<std::convert::Infallible, Ended> {
        self.open().await?;
        let (consumer, pending) = self.create_consumer().await?;
        if pending == 0 {
            self.tell(FoldEvent::CaughtUp).await?;
        }
        let inbox = self.broker.client.new_inbox();
        let mut messages = self.broker.subscribe(inbox.clone()).await?;
        let (mut asked, mut behind, mut delivered) = (0, pending > 0, 0);
        loop {
            if asked < PULL_MORE {
                self.pull(&consumer, &inbox).await?;
                asked += PULL;
            }
            let message = match tokio::time::timeout(SILENCE, messages.next()).await {
                Ok(Some(message)) => message,
                Ok(None) => return Err(Ended::Odd("the subscription ended")),
                Err(_) => return Err(Ended::Odd("the broker is silent")),
            };
            match message.status.map(|status| status.as_u16()) {
                None => {}
                Some(100) => continue,
                // The pull expired.
                Some(404 | 408) => {
                    asked = 0;
                    continue;
                }
                Some(_) => return Err(Ended::Odd("the consumer is gone")),
            }
            let place = Place::of(&message).ok_or(Ended::Odd("a message without its place"))?;
            if place.delivered != delivered + 1 || place.sequence < self.next {
                return Err(Ended::Odd("a message was lost on the way"));
            }
            delivered = place.delivered;
            asked = asked.saturating_sub(1);
            let (subject, bytes) = (message.subject.to_string(), message.payload.into());
            self.tell(FoldEvent::Answer(Recorded { sequence: place.sequence, subject, bytes })).await?;
            self.next = place.sequence + 1;
            if behind && place.pending == 0 {
                behind = false;
                self.tell(FoldEvent::CaughtUp).await?;
            }
        }
    }

    /// Looks whether it is still the same stream.
    async fn open(&mut self) -> Result<(), Ended> {
        let facts = self.broker.stream_facts(&self.stream).await?.ok_or(Ended::Odd("there is no such stream"))?;
        if self.created.as_ref() != Some(&facts.created) {
            self.next = 1;
            self.created = Some(facts.created.clone());
            self.tell(FoldEvent::Opened { created: facts.created }).await?;
        }
        Ok(())
    }

    /// Makes an ephemeral consumer that starts at the next sequence; gives its name and how many messages wait.
    async fn create_consumer(&self) -> Result<(String, u64), Ended> {
        #[derive(serde::Deserialize)]
        struct Made {
            num_pending: u64,
        }
        let inbox = self.broker.client.new_inbox();
        let name = format!("fold-{}", inbox.rsplit('.').next().unwrap_or_default());
        let body = json!({
            "stream_name": self.stream,
            "config": {
                "name": name,
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": self.next,
                "ack_policy": "none",
                "max_deliver": 1,
                "replay_policy": "instant",
                "mem_storage": true,
                "num_replicas": 1,
                "inactive_threshold": nanos(CONSUMER_INACTIVE),
            },
        });
        let subject = format!("$JS.API.CONSUMER.CREATE.{}.{name}", self.stream);
        let made: Made = self.broker.api(&subject, &body).await?;
        Ok((name, made.num_pending))
    }

    async fn pull(&self, consumer: &str, inbox: &str) -> Result<(), Error> {
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{consumer}", self.stream);
        let body = json!({ "batch": PULL, "expires": nanos(PULL_EXPIRES), "idle_heartbeat": nanos(IDLE_HEARTBEAT) })
            .to_string();
        let sent = self.broker.client.publish_with_reply(subject.clone(), inbox.to_owned(), body.into()).await;
        sent.map_err(|error| Error::Unsent { subject, why: error.to_string() })
    }

    async fn tell(&self, event: FoldEvent) -> Result<(), Ended> {
        self.sender.send(event).await.map_err(|_| Ended::Unwanted)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Where a delivered message stands, from its reply subject.
struct Place {
    sequence: u64,
    delivered: u64,
    pending: u64,
}

impl Place {
    /// `$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<delivered>.<time>.<pending>`, or the longer form with a domain
    /// and an account before the stream and a random token at the end.
    fn of(message: &Message) -> Option<Place> {
        let tokens: Vec<&str> = message.reply.as_ref()?.split('.').collect();
        let at = match tokens.len() {
            9 => 5,
            12.. => 7,
            _ => return None,
        };
        let number = |at: usize| tokens.get(at)?.parse().ok();
        Some(Place { sequence: number(at)?, delivered: number(at + 1)?, pending: number(at + 3)? })
    }
}
