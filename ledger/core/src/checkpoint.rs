//! Checkpoints: C2SP signed notes that hold origin, size and root of the log, and the key text that verifies them. Both
//! are written and read in exactly one form; a note here has exactly one signature, the log's own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use orion_protocol::ledger::api::SealRef;
use orion_protocol::{ChainId, Digest, PublicKey, SecretKey, Signature};
use sha2::Digest as _;

/// The type byte of ed25519 keys in signed notes.
const ED25519: u8 = 1;
/// No note is longer, in bytes.
pub const MAX_NOTE_BYTES: usize = 1024;

/// Why a key or checkpoint is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CheckpointError {
    /// Not `name+hex8+base64`, or the parts do not fit each other.
    #[error("cannot read the verifier key: {0}")]
    Key(&'static str),
    /// Not a note of the expected form.
    #[error("cannot read the checkpoint: {0}")]
    Note(&'static str),
    /// Of another log than the key.
    #[error("the checkpoint is of {have}, the key of {want}")]
    Origin {
        /// In the checkpoint.
        have: String,
        /// The key's name.
        want: String,
    },
    /// Signed by another key.
    #[error("the checkpoint's signature does not verify")]
    Signature,
    /// A checkpoint was signed that this one contradicts.
    #[error("refusing to sign size {size}: size {signed} with another root or a larger size was signed before")]
    Fork {
        /// Asked for.
        size: u64,
        /// Signed before.
        signed: u64,
    },
}

/// A log's public key with its name: `name+hex8+base64`, as signed notes have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: PublicKey,
}

impl VerifierKey {
    /// The key of `chain`'s log.
    pub fn new(chain: &ChainId, key: PublicKey) -> VerifierKey {
        VerifierKey { name: chain.log_origin(), key }
    }

    /// Reads the key text.
    pub fn parse(text: &str) -> Result<VerifierKey, CheckpointError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(data)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(CheckpointError::Key("expected name+id+key"));
        };
        if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(CheckpointError::Key("the name is empty or has spaces"));
        }
        let data = BASE64.decode(data).map_err(|_| CheckpointError::Key("the key is not base64"))?;
        let Some((&ED25519, key)) = data.split_first() else {
            return Err(CheckpointError::Key("not an ed25519 key"));
        };
        let key = <[u8; 32]>::try_from(key).map_err(|_| CheckpointError::Key("the key is not 32 bytes long"))?;
        let key = VerifierKey { name: name.to_owned(), key: PublicKey(key) };
        if orion_protocol::bytes::hex(&key.id()) == id {
            Ok(key)
        } else {
            Err(CheckpointError::Key("the id is not that of name and key"))
        }
    }

    /// The name: the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bare key.
    pub fn key(&self) -> PublicKey {
        self.key
    }

    /// The chain in the name.
    pub fn chain(&self) -> Result<ChainId, CheckpointError> {
        let wrong = CheckpointError::Key("the name is not orion.dev/ and a chain id");
        let Some(text) = self.name.strip_prefix("orion.dev/") else { return Err(wrong) };
        minicbor::decode(&orion_protocol::cbor::to_vec(&text)).map_err(|_| wrong)
    }

    fn id(&self) -> [u8; 4] {
        let hash = sha2::Sha256::new().chain_update(&self.name).chain_update([b'\n', ED25519]).chain_update(self.key.0);
        let hash: [u8; 32] = hash.finalize().into();
        [hash[0], hash[1], hash[2], hash[3]]
    }
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let data: Vec<u8> = std::iter::once(ED25519).chain(self.key.0).collect();
        write!(f, "{}+{}+{}", self.name, orion_protocol::bytes::hex(&self.id()), BASE64.encode(data))
    }
}

/// Where a log stood, by its own word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log.
    pub origin: String,
    /// Leaves in it.
    pub size: u64,
    /// SHA-256 root over them.
    pub root: Digest,
}

impl Checkpoint {
    fn body(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root.0))
    }

    /// Reads a signed note and checks its one signature.
    pub fn open(note: &[u8], key: &VerifierKey) -> Result<Checkpoint, CheckpointError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(CheckpointError::Note("too long"));
        }
        let text = std::str::from_utf8(note).map_err(|_| CheckpointError::Note("not UTF-8"))?;
        let lines: Vec<&str> = text.split('\n').collect();
        let [origin, size, root, "", signature, ""] = lines[..] else {
            return Err(CheckpointError::Note("expected origin, size, root, an empty line and one signature"));
        };
        if origin != key.name {
            return Err(CheckpointError::Origin { have: origin.to_owned(), want: key.name.clone() });
        }
        let number: u64 = size.parse().map_err(|_| CheckpointError::Note("the size is no number"))?;
        let root = BASE64.decode(root).ok().and_then(|root| <[u8; 32]>::try_from(root).ok());
        let root = Digest(root.ok_or(CheckpointError::Note("the root is not 32 bytes of base64"))?);
        let checkpoint = Checkpoint { origin: origin.to_owned(), size: number, root };
        if checkpoint.note(signature) != text {
            return Err(CheckpointError::Note("not in its one form"));
        }
        let sealed = signature.strip_prefix("\u{2014} ").and_then(|rest| rest.strip_prefix(key.name.as_str()));
        let sealed = sealed.and_then(|rest| rest.strip_prefix(' ')).ok_or(CheckpointError::Signature)?;
        let sealed = BASE64.decode(sealed).map_err(|_| CheckpointError::Note("the signature is not base64"))?;
        let sealed = sealed.strip_prefix(&key.id()).and_then(|rest| <[u8; 64]>::try_from(rest).ok());
        let signature = Signature(sealed.ok_or(CheckpointError::Signature)?);
        if key.key.verifies(checkpoint.body().as_bytes(), &signature) {
            Ok(checkpoint)
        } else {
            Err(CheckpointError::Signature)
        }
    }

    fn note(&self, signature: &str) -> String {
        format!("{}\n{signature}\n", self.body())
    }
}

/// Signs checkpoints of one log, and never two that contradict each other.
#[derive(Debug)]
pub struct Signer {
    secret: SecretKey,
    key: VerifierKey,
    signed: Option<(u64, Digest)>,
}

impl Signer {
    /// For `chain`'s log. `signed`: the last checkpoint ever signed, which the caller has compared with its log.
    pub fn new(chain: &ChainId, secret: SecretKey, signed: Option<&Checkpoint>) -> Signer {
        let key = VerifierKey::new(chain, secret.public());
        Signer { secret, key, signed: signed.map(|checkpoint| (checkpoint.size, checkpoint.root)) }
    }

    /// The key that verifies.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Signs the log at `seal`: larger than what was signed before, or the very same.
    pub fn sign(&mut self, seal: &SealRef) -> Result<String, CheckpointError> {
        if let Some((size, root)) = self.signed {
            let again = seal.size == size && seal.root == root;
            if seal.size <= size && !again {
                return Err(CheckpointError::Fork { size: seal.size, signed: size });
            }
        }
        self.signed = Some((seal.size, seal.root));
        let checkpoint = Checkpoint { origin: self.key.name.clone(), size: seal.size, root: seal.root };
        let signature = self.secret.sign_bytes(checkpoint.body().as_bytes());
        let sealed: Vec<u8> = self.key.id().into_iter().chain(signature.0).collect();
        Ok(checkpoint.note(&format!("\u{2014} {} {}", self.key.name, BASE64.encode(sealed))))
    }
}
