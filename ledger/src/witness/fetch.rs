//! The log's files for threads that may block, until the witness ends.

use std::time::Duration;

use orion_ledger_core::log::note::Note;
use orion_ledger_core::log::tile::{HASH_BYTES, Tile};
use orion_ledger_core::{Checkpoint, VerifierKey};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::fetch::{Bundle, FetchError, Files};

/// A log that is asked over HTTP, from threads that may block.
pub(crate) struct Log {
    files: Files,
    runtime: Handle,
    end: watch::Receiver<bool>,
}

impl Log {
    /// The log at `url`. A file must come whole within `timeout`; nothing is waited for once `end` is true. Must be called
    /// within a tokio runtime.
    pub(crate) fn new(url: &str, timeout: Duration, end: watch::Receiver<bool>) -> Result<Log, FetchError> {
        Ok(Log { files: Files::new(url, timeout)?, runtime: Handle::current(), end })
    }

    /// As [`Files::checkpoint`].
    pub(crate) fn checkpoint(&self, key: &VerifierKey) -> Result<(Note, Checkpoint), FetchError> {
        self.wait(self.files.checkpoint(key))
    }

    /// As [`Files::tile`].
    pub(crate) fn tile(&self, tile: Tile) -> Result<Vec<[u8; HASH_BYTES]>, FetchError> {
        self.wait(self.files.tile(tile))
    }

    /// As [`Files::bundle`].
    pub(crate) fn bundle(&self, index: u64, width: u16) -> Result<Bundle, FetchError> {
        self.wait(self.files.bundle(index, width))
    }

    fn wait<T>(&self, got: impl Future<Output = Result<T, FetchError>>) -> Result<T, FetchError> {
        let mut end = self.end.clone();
        self.runtime.block_on(async {
            tokio::select! {
                got = got => got,
                // The sender's end is the witness's end too.
                _ = end.wait_for(|end| *end) => Err(FetchError::Ended),
            }
        })
    }
}
