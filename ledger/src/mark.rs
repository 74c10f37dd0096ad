//! The mark outside of the volume: what was signed last. Restoring an old volume does not restore it, so a ledger whose log is
//! shorter than its mark knows that entries are missing, and signs nothing that contradicts them.
//!
//! It is moved before a signature exists, under the version that was seen: of two ledgers with one key only one goes on.

use std::path::Path;
use std::time::Duration;

use orion_protocol::Digest;
use orion_protocol::ledger::mark::{MarkTextError, Marked};
use tokio::runtime::Handle;

pub use file::FileMark;
pub use socket::SocketMark;

mod file;
mod socket;

/// A start waits so long for its mark: whoever keeps it may start at the same time,
const START_WAIT: Duration = Duration::from_mins(1);
/// and asks so often.
const START_PAUSE: Duration = Duration::from_millis(250);

/// Why a mark was not read or moved.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// It is somewhere else than was seen.
    #[error("the mark was moved by somebody else")]
    Moved,
    /// A file.
    #[error("cannot {doing} the mark in {path}")]
    File {
        /// What was attempted.
        doing: &'static str,
        /// Where.
        path: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// Whoever keeps the mark does not answer, or not with a mark.
    #[error("the keeper of the mark at {path}: {why}")]
    Keeper {
        /// The socket.
        path: String,
        /// What happened.
        why: String,
    },
    /// What is kept cannot be read.
    #[error("what is kept at {path} is no mark")]
    Text {
        /// Where.
        path: String,
        /// What is wrong with it.
        #[source]
        source: MarkTextError,
    },
    /// A mark in the volume that it is about.
    #[error(
        "the mark must not lie in {0}, the ledger's own directory: whoever restores that restores the mark with it"
    )]
    Inside(String),
}

/// Keeps what was signed last. Calls block.
pub trait Mark: Send {
    /// What it says now.
    fn read(&self) -> Result<Marked, MarkError>;
    /// Moves it to a size and root, if it still is at this version; gives the new version. Durable when it returns.
    fn advance(&self, version: &str, size: u64, root: &Digest) -> Result<String, MarkError>;
}

/// The mark that a flag names: `unix:` and the socket of a keeper, or a directory. `data` is the ledger's own.
pub fn named(name: &str, data: &Path, runtime: &Handle) -> Result<Box<dyn Mark>, MarkError> {
    match name.strip_prefix("unix:") {
        Some(socket) => Ok(Box::new(SocketMark::new(Path::new(socket), runtime.clone()))),
        None => Ok(Box::new(FileMark::open(Path::new(name), data)?)),
    }
}

/// A mark, and what it said last.
pub(crate) struct Held {
    mark: Box<dyn Mark>,
    seen: Marked,
}

impl Held {
    /// Waits until the mark can be read. Without it nobody knows whether the volume is an old one. Must be called within a
    /// tokio runtime, off its async threads.
    pub(crate) fn wait(mark: Box<dyn Mark>) -> Result<Held, MarkError> {
        let deadline = std::time::Instant::now() + START_WAIT;
        let mut told = false;
        loop {
            match mark.read() {
                Ok(seen) => return Ok(Held { mark, seen }),
                Err(error) if std::time::Instant::now() >= deadline => return Err(error),
                Err(error) if !told => {
                    told = true;
                    tracing::warn!(error = &error as &dyn std::error::Error, "the start waits for the mark");
                }
                Err(_) => {}
            }
            Handle::current().block_on(tokio::time::sleep(START_PAUSE));
        }
    }

    /// What it says, as far as is known.
    pub(crate) fn signed(&self) -> Option<(u64, Digest)> {
        self.seen.signed
    }

    /// Asks again.
    pub(crate) fn read(&mut self) -> Result<Option<(u64, Digest)>, MarkError> {
        self.seen = self.mark.read()?;
        Ok(self.seen.signed)
    }

    /// Moves it. It may have been moved even if this fails.
    pub(crate) fn advance(&mut self, size: u64, root: &Digest) -> Result<(), MarkError> {
        let to = Some((size, *root));
        if self.seen.signed != to {
            let version = self.mark.advance(&self.seen.version, size, root)?;
            self.seen = Marked { version, signed: to };
        }
        Ok(())
    }
}
