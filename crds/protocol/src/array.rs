//! Arrays in files: an npy file is one, a safetensors file has several, each by its key.

use crate::npy::{self, Header, NpyError};
use crate::safetensors::{self, SafetensorsError};

/// Where an array lies in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    /// Its type and shape.
    pub header: Header,
    /// Where its data begins in the file.
    pub at: u64,
    /// Bytes of data; within the file.
    pub bytes: u64,
}

/// Why there is no such array.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ArrayError {
    /// In an npy file.
    #[error(transparent)]
    Npy(#[from] NpyError),
    /// In a safetensors file.
    #[error(transparent)]
    Safetensors(#[from] SafetensorsError),
}

/// The array of an npy file or, with a key, one of a safetensors file of `file_length` bytes, by the file's first bytes: its first 128 KiB, or all of
/// it, are enough.
pub fn find(start: &[u8], file_length: u64, key: Option<&str>) -> Result<Array, ArrayError> {
    if let Some(key) = key {
        return Ok(safetensors::find(start, file_length, key)?);
    }
    let (header, at) = npy::parse_start(start, file_length)?;
    Ok(Array { header, at: at as u64, bytes: file_length.saturating_sub(at as u64) })
}

impl Array {
    /// Its data in its whole file.
    pub fn data<'f>(&self, file: &'f [u8]) -> &'f [u8] {
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        file.get(place(self.at)..place(self.at.saturating_add(self.bytes))).unwrap_or_default()
    }
}
