//! Ed25519 signatures over framed bytes, and the step from a received statement to a verified one.
//!
//! `verify_strict` only: plain verification accepts small-order keys, and two nodes that judge differently fork a ledger.
//! A [`Signed`] is just bytes; the one way to its content is [`Signed::verify`], which gives a [`Verified`]. The signature alone,
//! which is what takes time, may be verified ahead, on any thread ([`Signed::preverify`]); nothing is judged otherwise by that. What
//! the log holds was verified before it came there: [`crate::ledger::Transaction::unverified`].

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::OnceLock;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::bytes::fixed_bytes;
use crate::cbor::{self, CborError, Part};
use crate::digest::Digest;
use crate::ids::ChainId;

fixed_bytes!(
    /// An ed25519 public key.
    PublicKey, 32
);
fixed_bytes!(
    /// An ed25519 signature.
    Signature, 64
);

/// An ed25519 signing key; never shown, wiped when dropped.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// From the 32 secret bytes (RFC 8032's seed).
    pub fn from_seed(seed: &[u8; 32]) -> SecretKey {
        SecretKey(SigningKey::from_bytes(seed))
    }

    /// The key that verifies what this one signs.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs bare bytes; for formats that fix their own framing (signed notes). Statements go through [`Signed::new`].
    pub fn sign_bytes(&self, bytes: &[u8]) -> Signature {
        Signature(self.0.sign(bytes).to_bytes())
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

impl PublicKey {
    /// Whether `signature` is this key's over `bytes`, by the strict rules.
    pub fn verifies(&self, bytes: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| key.verify_strict(bytes, &signature).is_ok())
    }
}

/// A value that somebody signs.
pub trait Statement: Encode<()> + for<'b> Decode<'b, ()> {
    /// The domain, `orion/<type>/v1`: a signature for one type never passes for another.
    const DOMAIN: &'static str;
    /// The longest payload that is read, in bytes.
    const MAX_BYTES: usize;

    /// Checks bounds that the types do not express; the error says which field.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Why a statement was refused.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Another key than the one whose word this must be.
    #[error("{domain} is signed by {have}, expected {want}")]
    WrongKey {
        /// The statement's domain.
        domain: &'static str,
        /// The key it carries.
        have: PublicKey,
        /// The key it must carry.
        want: PublicKey,
    },
    /// The signature does not match.
    #[error("the signature on {domain} does not verify")]
    BadSignature {
        /// The statement's domain.
        domain: &'static str,
    },
    /// Signed, but its content is refused.
    #[error("a signed statement was refused")]
    Content(#[from] CborError),
}

/// A payload with a key and a signature, all unchecked.
pub struct Signed<T> {
    payload: ByteVec,
    key: PublicKey,
    signature: Signature,
    /// The chain for which the signature was verified ahead. The bytes that it is over never change.
    known: OnceLock<[u8; 16]>,
    of: PhantomData<fn() -> T>,
}

impl<T: Statement> Signed<T> {
    /// Signs `value` for `chain`.
    pub fn new(chain: &ChainId, key: &SecretKey, value: &T) -> Signed<T> {
        let payload = cbor::to_vec(value);
        let signature = key.sign_bytes(&signed_bytes::<T>(chain, &payload));
        Signed { payload: payload.into(), key: key.public(), signature, known: OnceLock::new(), of: PhantomData }
    }

    /// The key that it claims to be signed by.
    pub fn key(&self) -> PublicKey {
        self.key
    }

    /// The payload's bytes as they came: not verified, not canonical, not bounded.
    pub(crate) fn unverified(&self) -> &[u8] {
        &self.payload
    }

    /// The statement's digest: SHA3-256 of the signed bytes, so key and signature are not part of it.
    pub fn digest(&self, chain: &ChainId) -> Digest {
        Digest::of(&signed_bytes::<T>(chain, &self.payload))
    }

    /// Verifies the signature ahead: [`Signed::verify`] says the same as without, sooner where it is good.
    pub fn preverify(&self, chain: &ChainId) {
        if self.key.verifies(&signed_bytes::<T>(chain, &self.payload), &self.signature) {
            self.known.get_or_init(|| chain.bytes());
        }
    }

    /// Checks key, signature, canonical encoding and bounds.
    pub fn verify(&self, chain: &ChainId, want: &PublicKey) -> Result<Verified<T>, VerifyError> {
        if self.key != *want {
            return Err(VerifyError::WrongKey { domain: T::DOMAIN, have: self.key, want: *want });
        }
        let bytes = signed_bytes::<T>(chain, &self.payload);
        let known = self.known.get() == Some(&chain.bytes());
        if !known && !self.key.verifies(&bytes, &self.signature) {
            return Err(VerifyError::BadSignature { domain: T::DOMAIN });
        }
        let value: T = cbor::from_slice(T::DOMAIN, &self.payload, T::MAX_BYTES)?;
        value.check().map_err(|why| CborError::OutOfBounds { what: T::DOMAIN, why })?;
        Ok(Verified { value, key: self.key, digest: Digest::of(&bytes) })
    }
}

/// The digest that `value` has as a statement, whoever signs it.
pub fn statement_digest<T: Statement>(chain: &ChainId, value: &T) -> Digest {
    Digest::of(&signed_bytes::<T>(chain, &cbor::to_vec(value)))
}

fn signed_bytes<T: Statement>(chain: &ChainId, payload: &[u8]) -> Vec<u8> {
    cbor::frame(T::DOMAIN, &[Part::Text(chain.as_str()), Part::Bytes(payload)])
}

/// A statement whose signature, encoding and bounds were checked. Only [`Signed::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T> {
    value: T,
    key: PublicKey,
    digest: Digest,
}

impl<T> Verified<T> {
    /// The statement's digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Who signed it.
    pub fn key(&self) -> PublicKey {
        self.key
    }

    /// The content.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// The wire shape of a [`Signed`].
#[derive(Encode, Decode)]
#[cbor(map)]
struct Wire {
    #[n(0)]
    payload: ByteVec,
    #[n(1)]
    key: PublicKey,
    #[n(2)]
    signature: Signature,
}

impl<T, C> Encode<C> for Signed<T> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        Wire { payload: self.payload.clone(), key: self.key, signature: self.signature }.encode(e, ctx)
    }
}

impl<'b, T, C> Decode<'b, C> for Signed<T> {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let Wire { payload, key, signature } = Wire::decode(d, ctx)?;
        Ok(Signed { payload, key, signature, known: OnceLock::new(), of: PhantomData })
    }
}

impl<T> Clone for Signed<T> {
    fn clone(&self) -> Self {
        let Signed { payload, key, signature, known, of } = self;
        Signed { payload: payload.clone(), key: *key, signature: *signature, known: known.clone(), of: *of }
    }
}

impl<T> PartialEq for Signed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.payload == other.payload && self.key == other.key && self.signature == other.signature
    }
}

impl<T> Eq for Signed<T> {}

impl<T> std::fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signed({} bytes by {})", self.payload.len(), self.key)
    }
}
