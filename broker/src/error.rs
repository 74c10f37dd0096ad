//! What can go wrong between a client and the broker, whatever it was about.

/// An operation on the broker that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The identity may not publish or subscribe there.
    #[error("the broker denies this identity the subject {subject}")]
    Denied {
        /// The subject.
        subject: String,
    },
    /// Nothing came back in time; it may or may not have happened.
    #[error("no answer from the broker on {subject} in time")]
    Timeout {
        /// The subject of the request.
        subject: String,
    },
    /// No stream, consumer or service is behind the subject.
    #[error("nobody answers on the broker for {subject}")]
    NoResponders {
        /// The subject of the request.
        subject: String,
    },
    /// The broker answered, with a refusal.
    #[error("the broker refused a request on {subject}: {description} (code {code})")]
    Refused {
        /// The subject of the request.
        subject: String,
        /// The broker's own error code; 0 where it gave none.
        code: u64,
        /// The broker's words.
        description: String,
    },
    /// The answer is not what the protocol says.
    #[error("the broker's answer on {subject} cannot be understood: {why}")]
    Unreadable {
        /// The subject of the request.
        subject: String,
        /// What was wrong with it.
        why: String,
    },
    /// The client could not send at all.
    #[error("cannot send to the broker on {subject}: {why}")]
    Unsent {
        /// The subject.
        subject: String,
        /// The client's words.
        why: String,
    },
    /// The connection's settings are unusable.
    #[error("cannot set up the connection to the broker: {why}")]
    Setup {
        /// What is wrong with them.
        why: String,
    },
}

const STREAM_NOT_FOUND: u64 = 10059;
const CONSUMER_NOT_FOUND: u64 = 10014;
const MESSAGE_NOT_FOUND: u64 = 10037;
/// Deleting a message failed; the words tell whether because it is not there.
const DELETE_FAILED: u64 = 10057;
/// Another message came before one that named what it expects; the second code has no sequence in its words.
const WRONG_LAST_SEQUENCE: [u64; 2] = [10071, 10164];
/// Storing failed; the words tell whether because a stream's bound is reached.
const STORE_FAILED: u64 = 10077;

impl Error {
    /// Whether the broker says that the stream, consumer or message is not there.
    pub fn is_not_found(&self) -> bool {
        let absent = [STREAM_NOT_FOUND, CONSUMER_NOT_FOUND, MESSAGE_NOT_FOUND];
        match self {
            Error::Refused { code: DELETE_FAILED, description, .. } => description.contains("no message found"),
            Error::Refused { code, .. } => absent.contains(code),
            _ => false,
        }
    }

    /// Whether somebody else wrote first.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Error::Refused { code, .. } if WRONG_LAST_SEQUENCE.contains(code))
    }

    /// Whether the stream holds as much as it may.
    pub fn is_full(&self) -> bool {
        matches!(self, Error::Refused { code: STORE_FAILED, description, .. } if description.contains("maximum"))
    }

    /// Whether trying the same again later can help: the broker was away, slow, or not laid out yet.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Timeout { .. } | Error::NoResponders { .. } | Error::Unsent { .. } => true,
            Error::Denied { .. } | Error::Refused { .. } | Error::Unreadable { .. } | Error::Setup { .. } => false,
        }
    }

    /// A word for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Error::Denied { .. } => "denied",
            Error::Timeout { .. } => "timeout",
            Error::NoResponders { .. } => "no_responders",
            Error::Refused { .. } => "refused",
            Error::Unreadable { .. } => "unreadable",
            Error::Unsent { .. } => "unsent",
            Error::Setup { .. } => "setup",
        }
    }
}
