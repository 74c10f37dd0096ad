//! Whose leases a worker obeys: those of the genesis' operator, and of whoever opened a later epoch, as the log itself proves.
//!
//! A worker cannot ask the ledger. It has the genesis, and in it the key that signs the log's checkpoints; so a lease of an operator
//! that the genesis does not name brings along the proof that the log has the opening of its epoch. It believes no proof of any other
//! epoch than the lease's, and no operator any more once it knows who came after.

use std::sync::{Mutex, PoisonError};

use orion_ledger_core::VerifierKey;
use orion_ledger_core::log::opening::{Opening, OpeningError, opening};
use orion_protocol::ledger::Genesis;
use orion_protocol::ledger::api::LeafProof;
use orion_protocol::messages::Task;
use orion_protocol::sign::VerifyError;
use orion_protocol::statements::LeaseCore;
use orion_protocol::{ChainId, PublicKey, Verified};

/// The operators that a worker knows.
#[derive(Debug)]
pub struct Operators {
    chain: ChainId,
    log: VerifierKey,
    first: PublicKey,
    later: Mutex<Later>,
}

/// Who came after the genesis' operator.
#[derive(Debug, Default)]
struct Later {
    /// The last proof that was checked, for a leader sends the same one with every lease.
    last: Option<(LeafProof, Opening)>,
    /// The latest opening that was ever proven.
    newest: Option<Opening>,
}

/// Why a lease is nobody's that counts.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// No signature of the operator's, or a content that is refused.
    #[error("the lease is not acceptable")]
    Statement(#[source] VerifyError),
    /// The proof shows nothing.
    #[error("whose epoch it is was not proven")]
    Proof(#[source] OpeningError),
    /// The proof is of another epoch than the lease.
    #[error("the lease is of epoch {lease}, and the proof that came with it of epoch {proof}")]
    Epoch {
        /// The lease's.
        lease: u64,
        /// The proof's.
        proof: u64,
    },
    /// Another one came after its operator.
    #[error("the lease of epoch {lease} is of an operator whom another one followed by epoch {newest}")]
    Replaced {
        /// The lease's epoch.
        lease: u64,
        /// The latest epoch that is known.
        newest: u64,
    },
}

impl Operators {
    /// Those that follow from a genesis.
    pub fn new(genesis: &Genesis) -> Operators {
        let chain = genesis.chain();
        let log = VerifierKey::new(&chain, genesis.checkpoint);
        Operators { chain, log, first: genesis.operator, later: Mutex::default() }
    }

    /// The task's lease, if it is the operator's of its epoch.
    pub fn lease(&self, task: &Task) -> Result<Verified<LeaseCore>, OperatorError> {
        let opened = task.opened.as_ref().map(|proof| self.opening(proof)).transpose().map_err(OperatorError::Proof)?;
        let operator = opened.map_or(self.first, |opening| opening.operator);
        let lease = task.lease.verify(&self.chain, &operator).map_err(OperatorError::Statement)?;
        let epoch = lease.token.epoch;
        if let Some(Opening { epoch: proof, .. }) = opened.filter(|opening| opening.epoch != epoch) {
            return Err(OperatorError::Epoch { lease: epoch, proof });
        }
        // No key comes back once it was replaced.
        match self.lock().newest.filter(|newest| newest.operator != operator) {
            Some(Opening { epoch: newest, .. }) => Err(OperatorError::Replaced { lease: epoch, newest }),
            None => Ok(lease),
        }
    }

    fn opening(&self, proof: &LeafProof) -> Result<Opening, OpeningError> {
        if let Some((_, known)) = self.lock().last.as_ref().filter(|(last, _)| last == proof) {
            return Ok(*known);
        }
        let found = opening(proof, &self.log)?;
        let mut later = self.lock();
        if later.newest.is_none_or(|newest| newest.epoch < found.epoch) {
            later.newest = Some(found);
        }
        later.last = Some((proof.clone(), found));
        Ok(found)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Later> {
        self.later.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
