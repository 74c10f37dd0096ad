//! Whether an envelope has the form and the signature of one that may be ordered: decodable, short enough for a leaf. It needs no
//! state, so callers check envelopes side by side, and only then queue for the block. Whose envelopes are ordered follows from the
//! state: see [`crate::Chain::orderable`].
//!
//! What fails either never reaches the log: strangers cannot make it grow.

use orion_protocol::ids::ChainId;
use orion_protocol::ledger::tx::{MAX_LEAF_BYTES, MAX_TRANSFERS};
use orion_protocol::ledger::{Envelope, Genesis, Transaction};
use orion_protocol::sign::{PublicKey, Signed, VerifyError};
use orion_protocol::{CborError, Digest, cbor};

use crate::recall::Said;

/// Bytes of a leaf kept free for what the ledger adds to a short receipt: height, index, keys, two transfers.
const LEAF_OVERHEAD: usize = 1024;
/// A signed envelope is at most so long, in bytes.
pub const MAX_SIGNED_BYTES: usize = MAX_LEAF_BYTES - LEAF_OVERHEAD;

// A page of a settlement is the one long receipt; its envelope is short. 90 bytes are more than a transfer takes.
const _: () = assert!(MAX_TRANSFERS * 90 + 2 * LEAF_OVERHEAD < MAX_LEAF_BYTES);

/// Why an envelope cannot be ordered.
#[derive(Debug, thiserror::Error)]
pub enum Unorderable {
    /// Not the canonical bytes of a signed envelope.
    #[error("cannot read the signed envelope")]
    Envelope(#[source] CborError),
    /// Nobody who may send this, or anything at all.
    #[error("{0} may not sign transactions on this chain")]
    UnknownSigner(PublicKey),
    /// The signature or the signed content is refused.
    #[error("the envelope was refused")]
    Signature(#[source] VerifyError),
    /// The envelope names another signer than its signature.
    #[error("the envelope names {named}, but {signed} signed it")]
    Signer {
        /// In the envelope.
        named: PublicKey,
        /// On the signature.
        signed: PublicKey,
    },
    /// The payload is no transaction.
    #[error("cannot read the transaction in the envelope")]
    Payload(#[source] CborError),
}

/// Checks envelopes for one chain.
#[derive(Clone, Debug)]
pub struct Admission {
    chain: ChainId,
}

impl Admission {
    /// For the chain that starts with `genesis`.
    pub fn new(genesis: &Genesis) -> Admission {
        Admission::of(genesis.chain())
    }

    /// For a chain that is known by its id.
    pub(crate) fn of(chain: ChainId) -> Admission {
        Admission { chain }
    }

    /// Reads and checks the canonical bytes of a `Signed<Envelope>`.
    pub fn read(&self, bytes: &[u8]) -> Result<Admitted, Unorderable> {
        let signed = cbor::from_slice("signed envelope", bytes, MAX_SIGNED_BYTES).map_err(Unorderable::Envelope)?;
        let admitted = self.check(signed)?;
        // What this version cannot read, a later one may: it would judge otherwise, and refuse the log.
        if let Transaction::Approved(approved) = &admitted.transaction {
            Transaction::from_bytes(&approved.inner).map_err(Unorderable::Payload)?;
        }
        Ok(admitted)
    }

    /// Verifies ahead all that is signed in an envelope, on whatever thread. It judges nothing.
    pub fn prepare(&self, signed: Signed<Envelope>) -> Prepared {
        signed.preverify(&self.chain);
        let payload = signed.verify(&self.chain, &signed.key()).map(|envelope| envelope.into_inner().payload);
        let transaction = payload.ok().and_then(|payload| Transaction::from_bytes(&payload).ok());
        if let Some(transaction) = &transaction {
            transaction.preverify(&self.chain);
        }
        Prepared { signed, transaction }
    }

    /// Checks signature, bounds and that the payload is a transaction.
    pub fn check(&self, signed: Signed<Envelope>) -> Result<Admitted, Unorderable> {
        self.admit(Prepared { signed, transaction: None })
    }

    /// As [`Admission::check`], of an envelope that was prepared.
    pub fn admit(&self, prepared: Prepared) -> Result<Admitted, Unorderable> {
        let Prepared { signed, transaction } = prepared;
        let key = signed.key();
        let envelope = signed.verify(&self.chain, &key).map_err(Unorderable::Signature)?.into_inner();
        if envelope.signer != key {
            return Err(Unorderable::Signer { named: envelope.signer, signed: key });
        }
        let transaction = match transaction {
            Some(transaction) => transaction,
            None => Transaction::from_bytes(&envelope.payload).map_err(Unorderable::Payload)?,
        };
        let bytes = cbor::to_vec(&signed).len();
        if bytes > MAX_SIGNED_BYTES {
            let error = CborError::TooLong { what: "signed envelope", have: bytes, max: MAX_SIGNED_BYTES };
            return Err(Unorderable::Envelope(error));
        }
        Ok(Admitted { signed, envelope, transaction, bytes })
    }
}

/// An envelope whose signatures were verified ahead, as far as they are good. Only [`Admission::prepare`] makes one.
#[derive(Clone, Debug)]
pub struct Prepared {
    signed: Signed<Envelope>,
    /// What the payload says, if it is a transaction.
    transaction: Option<Transaction>,
}

/// An envelope that may be ordered. Only [`Admission`] makes one.
#[derive(Clone, Debug)]
pub struct Admitted {
    pub(crate) signed: Signed<Envelope>,
    pub(crate) envelope: Envelope,
    pub(crate) transaction: Transaction,
    bytes: usize,
}

impl Admitted {
    /// Verifies ahead what the transaction embeds, on the thread of whoever sends it rather than the writer's. Worth it only for
    /// what may be ordered: a stranger's costs one signature.
    pub fn preverify(&self, admission: &Admission) {
        self.transaction.preverify(&admission.chain);
    }

    /// Length of the signed envelope in bytes.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Never: a signed envelope has bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// All that it says: by this, what came of it before is found.
    pub fn said(&self) -> Said {
        let Envelope { signer, epoch, id, payload } = &self.envelope;
        Said { signer: *signer, id: *id, epoch: *epoch, payload: Digest::of(payload) }
    }

    /// What it asks for.
    pub fn transaction(&self) -> &Transaction {
        &self.transaction
    }
}
