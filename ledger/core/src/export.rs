//! The log as one file, for whoever wants to check it without the ledger:
//!
//! ```text
//! "orion-ledger-export 1\n"
//! u32 big endian: length of the checkpoint, then the checkpoint (a signed note)
//! for each leaf, in order, as many as the checkpoint's size says:
//!     u32 big endian: length of the leaf, then the leaf's bytes
//! ```
//!
//! Nothing follows the last leaf. The reader holds one leaf at a time and believes nothing: see [`crate::verify`].

use std::io::{self, Read, Write};

use orion_protocol::ledger::tx::MAX_LEAF_BYTES;

use crate::log::note::MAX_NOTE_BYTES;

/// The first line.
pub const MAGIC: &[u8] = b"orion-ledger-export 1\n";

/// Why bytes are no export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The source failed.
    #[error("cannot read the export")]
    Read(#[source] io::Error),
    /// Another format, or another version.
    #[error("this is not an export of the ledger, version 1")]
    Magic,
    /// A length is out of its bounds.
    #[error("{what} of {have} bytes: between 1 and {max} are allowed")]
    Length {
        /// What.
        what: &'static str,
        /// Its length in bytes.
        have: usize,
        /// The bound in bytes.
        max: usize,
    },
    /// The file ends too early.
    #[error("the export ends within {0}")]
    Truncated(&'static str),
    /// Something follows the last leaf.
    #[error("something follows the last leaf")]
    Trailing,
}

/// Writes what comes before the leaves.
pub fn write_start(to: &mut impl Write, checkpoint: &str) -> io::Result<()> {
    to.write_all(MAGIC)?;
    write_leaf(to, checkpoint.as_bytes())
}

/// Writes a leaf.
pub fn write_leaf(to: &mut impl Write, leaf: &[u8]) -> io::Result<()> {
    let length = u32::try_from(leaf.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    to.write_all(&length.to_be_bytes())?;
    to.write_all(leaf)
}

/// Writes a whole export.
pub fn write<'l>(to: &mut impl Write, checkpoint: &str, leaves: impl IntoIterator<Item = &'l [u8]>) -> io::Result<()> {
    write_start(to, checkpoint)?;
    leaves.into_iter().try_for_each(|leaf| write_leaf(to, leaf))
}

/// Reads an export, piece by piece. It says nothing about what the pieces say.
pub struct Reader<R> {
    from: R,
}

impl<R: Read> Reader<R> {
    /// Starts; gives the checkpoint's bytes.
    pub fn start(from: R) -> Result<(Reader<R>, Vec<u8>), ExportError> {
        let mut reader = Reader { from };
        let mut magic = [0; MAGIC.len()];
        reader.fill("the first line", &mut magic)?;
        if magic != MAGIC {
            return Err(ExportError::Magic);
        }
        let note = reader.piece("the checkpoint", MAX_NOTE_BYTES)?;
        Ok((reader, note))
    }

    /// The next leaf.
    pub fn leaf(&mut self) -> Result<Vec<u8>, ExportError> {
        self.piece("a leaf", MAX_LEAF_BYTES)
    }

    /// Checks that nothing is left.
    pub fn end(mut self) -> Result<(), ExportError> {
        let mut byte = [0];
        match self.from.read_exact(&mut byte) {
            Ok(()) => Err(ExportError::Trailing),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Err(error) => Err(ExportError::Read(error)),
        }
    }

    fn piece(&mut self, what: &'static str, max: usize) -> Result<Vec<u8>, ExportError> {
        let mut length = [0; 4];
        self.fill(what, &mut length)?;
        let have = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if have == 0 || have > max {
            return Err(ExportError::Length { what, have, max });
        }
        let mut bytes = vec![0; have];
        self.fill(what, &mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, what: &'static str, bytes: &mut [u8]) -> Result<(), ExportError> {
        self.from.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ExportError::Truncated(what),
            _ => ExportError::Read(error),
        })
    }
}
