//! One connection of one identity: nkey authentication, its own inbox prefix, reconnects for ever with a capped pause,
//! bounded channels. Requests end with an answer, a denial or a timeout, never silently.
//!
//! The broker reports a denied publish only as an event beside the request, so every request also listens for those.

use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::{Client, ConnectOptions, Event, HeaderMap, Message, Request, ServerError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::broadcast;

use crate::error::Error;

/// Longest pause between attempts to reconnect.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(4);
/// Messages waiting for the socket, and messages waiting for a subscriber: beyond it senders wait, slow readers lose.
const SEND_CAPACITY: usize = 1024;
const SUBSCRIPTION_CAPACITY: usize = 8192;
/// Denials are rare; whoever lags behind so many runs into its timeout instead.
const DENIALS_CAPACITY: usize = 64;
/// How long a request of the broker's own interface may take.
pub(crate) const REQUEST_WAIT: Duration = Duration::from_secs(5);

/// Who connects where.
#[derive(Clone)]
pub struct Settings {
    /// `nats://host:port`, several separated by commas.
    pub url: String,
    /// The seed of the identity's nkey (`SU...`).
    pub seed: String,
    /// Where its replies go; must be what its permissions name, see [`crate::permissions::inbox_prefix`].
    pub inbox_prefix: String,
    /// Name shown in the server's monitoring.
    pub name: String,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Settings({} as {}, inbox {})", self.url, self.name, self.inbox_prefix)
    }
}

/// A user's nkey: the seed for its holder, the public key for the server's configuration.
#[derive(Clone)]
pub struct UserKey {
    /// The secret, `SU...`.
    pub seed: String,
    /// The public key, `U...`.
    pub public: String,
}

impl UserKey {
    /// The key pair of 32 secret bytes.
    pub fn from_bytes(secret: [u8; 32]) -> Result<UserKey, Error> {
        let refused = |error: nkeys::error::Error| Error::Setup { why: error.to_string() };
        let pair = nkeys::KeyPair::new_from_raw(nkeys::KeyPairType::User, secret).map_err(refused)?;
        Ok(UserKey { seed: pair.seed().map_err(refused)?, public: pair.public_key() })
    }

    /// A fresh key pair.
    pub fn generate() -> Result<UserKey, Error> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| Error::Setup { why: error.to_string() })?;
        UserKey::from_bytes(secret)
    }

    /// The key pair of a seed as it is stored, white space around it ignored.
    pub fn from_seed(seed: &str) -> Result<UserKey, Error> {
        let seed = seed.trim();
        let pair = nkeys::KeyPair::from_seed(seed).map_err(|error| Error::Setup { why: error.to_string() })?;
        Ok(UserKey { seed: seed.to_owned(), public: pair.public_key() })
    }
}

/// A connection; clones share it.
#[derive(Clone)]
pub struct Broker {
    pub(crate) client: Client,
    denials: broadcast::Sender<String>,
}

/// Connects. Returns at once when the server is not there yet, and goes on trying for ever: see [`Broker::is_connected`].
pub async fn connect(settings: &Settings) -> Result<Broker, Error> {
    let (denials, _) = broadcast::channel(DENIALS_CAPACITY);
    let heard = denials.clone();
    let seed = UserKey::from_seed(&settings.seed)?.seed;
    let client = ConnectOptions::with_nkey(seed)
        .name(&settings.name)
        .custom_inbox_prefix(&settings.inbox_prefix)
        .retry_on_initial_connect()
        .max_reconnects(None)
        .reconnect_delay_callback(reconnect_pause)
        .ping_interval(Duration::from_secs(5))
        .connection_timeout(Duration::from_secs(5))
        .request_timeout(Some(REQUEST_WAIT))
        .client_capacity(SEND_CAPACITY)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .event_callback(move |event| {
            note(&event, &heard);
            std::future::ready(())
        })
        .connect(settings.url.as_str())
        .await
        .map_err(|error| Error::Setup { why: error.to_string() })?;
    Ok(Broker { client, denials })
}

fn reconnect_pause(attempts: usize) -> Duration {
    let doubled = u32::try_from(attempts.min(8)).unwrap_or(8);
    Duration::from_millis(25).saturating_mul(1 << doubled).min(RECONNECT_PAUSE_MAX)
}

/// Logs an event, and passes a denied subject on to the requests that wait.
fn note(event: &Event, denials: &broadcast::Sender<String>) {
    match event {
        Event::ServerError(ServerError::Other(text)) => {
            tracing::warn!(error = %text, "the broker reports an error");
            if let Some(subject) = denied_subject(text) {
                // Nobody may be waiting; that is fine.
                let _ = denials.send(subject.to_owned());
            }
        }
        Event::Connected | Event::Disconnected => tracing::info!(%event, "broker connection"),
        _ => tracing::warn!(%event, "broker connection"),
    }
}

/// `Permissions Violation for Publish to "subject"`, in the server's words.
fn denied_subject(text: &str) -> Option<&str> {
    let rest = text.trim_matches('\'');
    let rest =
        rest.get("Permissions Violation for ".len()..).filter(|_| rest.starts_with("Permissions Violation for "))?;
    rest.split('"').nth(1)
}

impl Broker {
    /// The bare client, for what Orion has no word for.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether the connection is up at this moment.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Sends what is buffered and waits until the server has it.
    pub async fn flush(&self) -> Result<(), Error> {
        let unsent = |why: String| Error::Unsent { subject: "flush".into(), why };
        match tokio::time::timeout(REQUEST_WAIT, self.client.flush()).await {
            Ok(result) => result.map_err(|error| unsent(error.to_string())),
            Err(_) => Err(Error::Timeout { subject: "flush".into() }),
        }
    }

    /// Denied subjects from now on.
    pub(crate) fn denials(&self) -> Denials {
        Denials(self.denials.subscribe())
    }

    /// One request, one answer.
    pub(crate) async fn request(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Vec<u8>,
        wait: Duration,
    ) -> Result<Message, Error> {
        let mut request = Request::new().payload(payload.into()).timeout(Some(wait));
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        self.ask(subject, request).await
    }

    /// A request whose answer keeps the subject under which it was stored, as pulled messages do: the client's shared inbox
    /// would not recognise it.
    pub(crate) async fn pull(&self, subject: &str, payload: Vec<u8>, wait: Duration) -> Result<Message, Error> {
        let inbox = self.client.new_inbox();
        self.ask(subject, Request::new().payload(payload.into()).inbox(inbox).timeout(Some(wait))).await
    }

    async fn ask(&self, subject: &str, request: Request) -> Result<Message, Error> {
        let mut denials = self.denials();
        let answer = tokio::select! {
            answer = self.client.send_request(subject.to_owned(), request) => answer,
            () = denials.of(subject) => return Err(Error::Denied { subject: subject.into() }),
        };
        answer.map_err(|error| match error.kind() {
            RequestErrorKind::TimedOut => Error::Timeout { subject: subject.into() },
            RequestErrorKind::NoResponders => Error::NoResponders { subject: subject.into() },
            _ => Error::Unsent { subject: subject.into(), why: error.to_string() },
        })
    }

    /// A request of the broker's JSON interface.
    pub(crate) async fn api<T: DeserializeOwned>(&self, subject: &str, body: &impl Serialize) -> Result<T, Error> {
        let unreadable = |why: serde_json::Error| Error::Unreadable { subject: subject.into(), why: why.to_string() };
        let body = serde_json::to_vec(body).map_err(unreadable)?;
        let answer = self.request(subject, None, body, REQUEST_WAIT).await?;
        read_answer(subject, &answer.payload)
    }

    /// Publishes into a stream and waits until it is stored; gives its sequence.
    pub(crate) async fn store(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Vec<u8>,
    ) -> Result<u64, Error> {
        let answer = self.request(subject, headers, payload, REQUEST_WAIT).await?;
        read_answer::<PubAck>(subject, &answer.payload).map(|ack| ack.seq)
    }

    /// Publishes without waiting for anybody.
    pub(crate) async fn send(&self, subject: String, payload: Vec<u8>) -> Result<(), Error> {
        let sent = self.client.publish(subject.clone(), payload.into()).await;
        sent.map_err(|error| Error::Unsent { subject, why: error.to_string() })
    }

    /// Subscribes; a denial shows only when nothing comes, or through [`Denials`].
    pub(crate) async fn subscribe(&self, subject: String) -> Result<async_nats::Subscriber, Error> {
        let subscribed = self.client.subscribe(subject.clone()).await;
        subscribed.map_err(|error| Error::Unsent { subject, why: error.to_string() })
    }
}

/// The denials that one request listens to.
pub(crate) struct Denials(broadcast::Receiver<String>);

impl Denials {
    /// Comes back when `subject` is denied, else never.
    pub(crate) async fn of(&mut self, subject: &str) {
        loop {
            match self.0.recv().await {
                Ok(denied) if denied == subject => return,
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

#[derive(serde::Deserialize)]
pub(crate) struct PubAck {
    pub(crate) seq: u64,
}

/// Reads an answer of the JSON interface: either an error or a `T`.
pub(crate) fn read_answer<T: DeserializeOwned>(subject: &str, payload: &[u8]) -> Result<T, Error> {
    #[derive(serde::Deserialize)]
    struct MaybeError {
        error: Option<ApiError>,
    }
    #[derive(serde::Deserialize)]
    struct ApiError {
        #[serde(default)]
        err_code: u64,
        #[serde(default)]
        description: String,
    }
    let unreadable = |why: serde_json::Error| Error::Unreadable { subject: subject.into(), why: why.to_string() };
    let read: MaybeError = serde_json::from_slice(payload).map_err(unreadable)?;
    if let Some(ApiError { err_code, description }) = read.error {
        return Err(Error::Refused { subject: subject.into(), code: err_code, description });
    }
    serde_json::from_slice(payload).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_subject_is_found_in_the_servers_words() {
        let text = "Permissions Violation for Publish to \"$O.in.M.x\"";
        assert_eq!(denied_subject(text), Some("$O.in.M.x"));
        assert_eq!(denied_subject("'Permissions Violation for Subscription to \"hb.*.*\"'"), Some("hb.*.*"));
        assert_eq!(denied_subject("Stale Connection"), None);
    }

    #[test]
    fn the_pause_between_reconnects_is_capped() {
        assert_eq!(reconnect_pause(0), Duration::from_millis(25));
        assert_eq!(reconnect_pause(usize::MAX), RECONNECT_PAUSE_MAX);
    }
}
