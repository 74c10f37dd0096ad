//! Checkpoints: signed notes that hold origin, size and root of the log, and the key that verifies them. The text is written
//! and read in exactly one form; the log's own signature must be on it, whoever else signed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use orion_protocol::ledger::api::SealRef;
use orion_protocol::{ChainId, Digest, PublicKey, SecretKey};

use crate::log::note::{Checked, KeyError, KeyType, Note, NoteError, NoteKey, NoteSigner};
use crate::log::tile::number;

/// Why a key or checkpoint is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CheckpointError {
    /// Not `name+hex8+base64`, or the parts do not fit each other.
    #[error("cannot read the verifier key")]
    Key(#[source] KeyError),
    /// Not a note.
    #[error("cannot read the checkpoint")]
    Note(#[source] NoteError),
    /// A note whose text is no checkpoint of ours.
    #[error("cannot read the checkpoint: {0}")]
    Text(&'static str),
    /// Of another log than the key.
    #[error("the checkpoint is of {have}, the key of {want}")]
    Origin {
        /// In the checkpoint.
        have: String,
        /// The key's name.
        want: String,
    },
    /// Not signed by the key, or with a signature in its name that does not verify.
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

/// A log's public key, whose name is the log's origin: a [`NoteKey`] of the plain type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey(NoteKey);

impl VerifierKey {
    /// The key of `chain`'s log.
    pub fn new(chain: &ChainId, key: PublicKey) -> VerifierKey {
        VerifierKey(NoteKey::named(chain.log_origin(), KeyType::Ed25519, key))
    }

    /// Reads the key text.
    pub fn parse(text: &str) -> Result<VerifierKey, CheckpointError> {
        let key = NoteKey::parse(text).map_err(CheckpointError::Key)?;
        VerifierKey::of(key).ok_or(CheckpointError::Key(KeyError("a cosigner's key, not a log's")))
    }

    /// A key that signs as logs do; `None` for a cosigner's.
    pub fn of(key: NoteKey) -> Option<VerifierKey> {
        (key.kind() == KeyType::Ed25519).then_some(VerifierKey(key))
    }

    /// As a key of signed notes.
    pub fn note_key(&self) -> &NoteKey {
        &self.0
    }

    /// The name: the log's origin.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// The bare key.
    pub fn key(&self) -> PublicKey {
        self.0.key()
    }

    /// The chain in the name.
    pub fn chain(&self) -> Result<ChainId, CheckpointError> {
        let wrong = CheckpointError::Key(KeyError("the name is not orion.dev/ and a chain id"));
        let Some(text) = self.name().strip_prefix("orion.dev/") else { return Err(wrong) };
        minicbor::decode(&orion_protocol::cbor::to_vec(&text)).map_err(|_| wrong)
    }
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
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
    /// A note's text: three lines and nothing else.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root.0))
    }

    /// Reads a note's text. It says nothing before the note's signatures were checked.
    pub fn from_text(text: &str) -> Result<Checkpoint, CheckpointError> {
        let lines: Vec<&str> = text.splitn(5, '\n').collect();
        let [origin, size, root, ""] = lines[..] else {
            return Err(CheckpointError::Text("expected origin, size and root, each on a line"));
        };
        if origin.is_empty() {
            return Err(CheckpointError::Text("the origin is empty"));
        }
        let size = number(size).ok_or(CheckpointError::Text("the size is no number, or has leading zeros"))?;
        let root = BASE64.decode(root).ok().and_then(|root| <[u8; 32]>::try_from(root).ok());
        let root = Digest(root.ok_or(CheckpointError::Text("the root is not 32 bytes of base64"))?);
        Ok(Checkpoint { origin: origin.to_owned(), size, root })
    }

    /// Reads a signed note and checks the signature of `key` on it. Others' signatures are not looked at.
    pub fn open(note: &[u8], key: &VerifierKey) -> Result<Checkpoint, CheckpointError> {
        let note = Note::parse(note).map_err(CheckpointError::Note)?;
        Checkpoint::of_note(&note, key)
    }

    /// As [`Checkpoint::open`], of a note that was read.
    pub fn of_note(note: &Note, key: &VerifierKey) -> Result<Checkpoint, CheckpointError> {
        let checkpoint = Checkpoint::from_text(note.text())?;
        if checkpoint.origin != key.name() {
            return Err(CheckpointError::Origin { have: checkpoint.origin, want: key.name().to_owned() });
        }
        match key.0.verify(note) {
            Checked::Good { .. } => Ok(checkpoint),
            Checked::Absent | Checked::Bad => Err(CheckpointError::Signature),
        }
    }
}

/// Signs checkpoints of one log, and never two that contradict each other.
#[derive(Debug)]
pub struct Signer {
    own: NoteSigner,
    key: VerifierKey,
    signed: Option<(u64, Digest)>,
}

impl Signer {
    /// For `chain`'s log. `signed`: the last checkpoint ever signed, which the caller has compared with its log.
    pub fn new(chain: &ChainId, secret: SecretKey, signed: Option<&Checkpoint>) -> Signer {
        let own = NoteSigner::named(chain.log_origin(), KeyType::Ed25519, secret);
        let key = VerifierKey(own.key().clone());
        Signer { own, key, signed: signed.map(|checkpoint| (checkpoint.size, checkpoint.root)) }
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
        let text = Checkpoint { origin: self.key.name().to_owned(), size: seal.size, root: seal.root }.text();
        let signature = self.own.sign(&text, 0);
        Ok(format!("{text}\n{signature}\n"))
    }
}
