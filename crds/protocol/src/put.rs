//! How files come to the platform as objects, in parts: bounds, and what the operator's gateway answers.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /v1/objects/{digest}/{size}` | [`Progress`] |
//! | `PUT /v1/objects/{digest}/{size}/parts/{offset}?part={digest of the part}` with the part | [`Progress`]; 409 with it where the object is not just so far |
//! | `POST /v1/objects/{digest}/{size}` | [`Progress`], once all of it was hashed; 409 where parts are missing; 422 where it is another file |
//!
//! Uploads of one digest with different sizes are different ones. Refusals have a line of text; 503 means: later. Offset and length of a part are multiples of [`PART_GRAIN`], but for the last one's length.

use serde::{Deserialize, Serialize};

/// Largest object: model files of some hundred million parameters.
pub const MAX_OBJECT_BYTES: u64 = 2 << 30;
/// Largest part. The API server's proxy passes bodies of any length on; others before it, like nginx, take 1 MiB unless they are told.
pub const MAX_PART_BYTES: u64 = 1 << 20;
/// Parts begin at multiples of this: a chunk of the store.
pub const PART_GRAIN: u64 = 128 * 1024;

/// How far an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Bytes that are stored, from the beginning on.
    pub stored_bytes: u64,
    /// They are all, they were hashed, and jobs may name it.
    pub complete: bool,
}
