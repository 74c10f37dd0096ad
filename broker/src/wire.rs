//! The NATS object store's own format: subjects and the JSON that describes an object. Readers of other makers understand
//! it; fields that Orion does not need are written empty and ignored when read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde::{Deserialize, Serialize};

use orion_protocol::{Digest, subjects};

use crate::parts::Incoming;

/// Bytes a chunk, as stock clients have it.
pub(crate) const CHUNK_BYTES: usize = 128 * 1024;
/// The longest description that is read.
pub(crate) const MAX_INFO_BYTES: usize = 8 * 1024;

/// The description of an object.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ObjectInfo {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) bucket: String,
    #[serde(default)]
    pub(crate) nuid: String,
    #[serde(default)]
    pub(crate) size: u64,
    #[serde(default)]
    pub(crate) chunks: u64,
    /// `SHA-256=` and base64: for stock readers. Orion checks the SHA3-256 that is the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deleted: bool,
    #[serde(default)]
    pub(crate) options: Options,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Options {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_chunk_size: Option<u64>,
}

/// The subject of an object's description.
pub(crate) fn meta_subject(bucket: &str, digest: &Digest) -> String {
    format!("$O.{bucket}.M.{}", URL_SAFE.encode(subjects::object(digest)))
}

/// The subject of all its chunks.
pub(crate) fn chunk_subject(bucket: &str, nuid: &str) -> String {
    format!("$O.{bucket}.C.{nuid}")
}

/// The nuid of an object that comes in parts: whoever knows its digest and size finds them. Other uploads have 32 random digits.
pub(crate) fn parts_nuid(upload: &Incoming) -> String {
    format!("{}-{}", upload.digest, upload.size)
}

/// The object whose parts have this nuid.
pub(crate) fn of_parts(nuid: &str) -> Option<Incoming> {
    let (digest, size) = nuid.split_once('-')?;
    Some(Incoming { digest: digest.parse().ok()?, size: size.parse().ok()? })
}

/// `SHA-256=...`, as stock readers check it.
pub(crate) fn stock_digest(sha256: &[u8]) -> String {
    format!("SHA-256={}", URL_SAFE.encode(sha256))
}

/// Whether `nuid` is a single plain token, so that a tampered description cannot widen a subject.
pub(crate) fn is_plain(nuid: &str) -> bool {
    !nuid.is_empty() && nuid.len() <= 96 && nuid.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
}
