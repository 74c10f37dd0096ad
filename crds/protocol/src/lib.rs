//! What every part of Orion must agree on to the byte: canonical CBOR, digests, signatures, ids, the statements that are
//! signed, the messages and subjects of the broker, the draw of audited units, prices, and the ledger's transactions.
//!
//! It knows no network, no clock, no disk and no Kubernetes. Whatever it decodes is bounded and canonical: a value that
//! would encode to other bytes than those it was read from is refused.

pub mod array;
pub mod bytes;
pub mod cbor;
pub mod combine;
pub mod digest;
pub mod draw;
pub mod dtype;
pub mod files;
pub mod format;
pub mod ids;
pub mod ledger;
pub mod merkle;
pub mod messages;
pub mod npy;
mod output;
pub mod price;
pub mod put;
pub mod reason;
pub mod rows;
pub mod safetensors;
pub mod scalar;
pub mod sign;
pub mod statements;
pub mod subjects;
pub mod task;

pub use bytes::Name;
pub use cbor::{CborError, Part};
pub use digest::Digest;
pub use format::Format;
pub use ids::{AccountId, ChainId, JobId, TxId};
pub use reason::{Reason, Refusal};
pub use sign::{PublicKey, SecretKey, Signature, Signed, Statement, Verified};
