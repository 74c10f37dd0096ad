//! Who the operator of an epoch is, read from the leaf that opened it and the proof that the log has it. Enough for whoever has
//! nothing of the log but its key.
//!
//! The ledger takes an `OpenEpoch` from the operator in force and from nobody else, so the key that signed one that was applied is
//! the operator's of that epoch. That it was not lost since, the leaf cannot say.

use orion_protocol::ledger::Transaction;
use orion_protocol::ledger::api::LeafProof;
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody, Receipt};
use orion_protocol::{CborError, PublicKey};

use super::proof_file::{ProofFile, ProofFileError};
use crate::admission::{Admission, Unorderable};
use crate::checkpoint::{Checkpoint, CheckpointError, VerifierKey};

/// No leaf that opens an epoch is longer, in bytes.
pub const MAX_OPENING_BYTES: usize = 4 * 1024;
/// No proof that it is in the log is longer, in bytes: a path of 64 hashes and the cosignatures of 64 witnesses.
pub const MAX_OPENING_PROOF_BYTES: usize = 16 * 1024;

/// An epoch, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The epoch.
    pub epoch: u64,
    /// The key that signs its leases.
    pub operator: PublicKey,
}

/// Why a leaf and its proof do not say whose an epoch is.
#[derive(Debug, thiserror::Error)]
pub enum OpeningError {
    /// Over the bound.
    #[error("the opening's {what} is {have} bytes long, at most {max} are allowed")]
    TooLong {
        /// Leaf or proof.
        what: &'static str,
        /// Its length in bytes.
        have: usize,
        /// The bound in bytes.
        max: usize,
    },
    /// The proof is none.
    #[error("cannot read the opening's proof")]
    Proof(#[source] ProofFileError),
    /// The checkpoint is of another log, or the log did not sign it.
    #[error("the checkpoint in the opening's proof was refused")]
    Checkpoint(#[source] CheckpointError),
    /// The leaf is not where the proof says.
    #[error("the opening is not leaf {leaf} of the log of {size} leaves at the proof's checkpoint")]
    NotIncluded {
        /// Where it must be, by its index in the log.
        leaf: u64,
        /// Leaves in the log.
        size: u64,
    },
    /// The leaf cannot be read.
    #[error("cannot read leaf {0}")]
    Leaf(u64, #[source] CborError),
    /// The transaction in the leaf is not signed as it must be.
    #[error("leaf {0}: the transaction was refused")]
    Transaction(u64, #[source] Unorderable),
    /// The leaf is of another kind.
    #[error("leaf {0} is of kind {1}, expected OpenEpoch")]
    Kind(u64, &'static str),
    /// The ledger did not apply it.
    #[error("leaf {0}: the ledger refused to open the epoch: {1}")]
    Refused(u64, Code),
}

/// Reads which epoch a leaf opened and who did, in the log of `key`. What is too long is refused before it is read.
pub fn opening(proof: &LeafProof, key: &VerifierKey) -> Result<Opening, OpeningError> {
    let LeafProof { leaf, proof } = proof;
    check_length("leaf", leaf.len(), MAX_OPENING_BYTES)?;
    check_length("proof", proof.len(), MAX_OPENING_PROOF_BYTES)?;
    let proof = ProofFile::parse(proof.as_bytes()).map_err(OpeningError::Proof)?;
    let checkpoint = Checkpoint::of_note(&proof.note, key).map_err(OpeningError::Checkpoint)?;
    let chain = key.chain().map_err(OpeningError::Checkpoint)?;
    let at = proof.index;
    if !proof.holds(leaf, &checkpoint) {
        return Err(OpeningError::NotIncluded { leaf: at, size: checkpoint.size });
    }
    let Leaf { height: _, index: _, body } = Leaf::from_bytes(leaf).map_err(|error| OpeningError::Leaf(at, error))?;
    let (signed, Receipt { code, transfers: _ }) = match body {
        LeafBody::Transaction(signed, receipt) => (signed, receipt),
        LeafBody::Genesis(_) => return Err(OpeningError::Kind(at, "Genesis")),
        LeafBody::Seal(_) => return Err(OpeningError::Kind(at, "Seal")),
        LeafBody::Expire(..) => return Err(OpeningError::Kind(at, "Expire")),
        LeafBody::Mature(..) => return Err(OpeningError::Kind(at, "Mature")),
        LeafBody::Lapse(..) => return Err(OpeningError::Kind(at, "Lapse")),
    };
    let sent = Admission::of(chain).check(signed).map_err(|error| OpeningError::Transaction(at, error))?;
    let Transaction::OpenEpoch(opened) = &sent.transaction else {
        return Err(OpeningError::Kind(at, sent.transaction.kind()));
    };
    if code != Code::Ok {
        return Err(OpeningError::Refused(at, code));
    }
    Ok(Opening { epoch: opened.epoch, operator: sent.envelope.signer })
}

fn check_length(what: &'static str, have: usize, max: usize) -> Result<(), OpeningError> {
    if have > max { Err(OpeningError::TooLong { what, have, max }) } else { Ok(()) }
}
