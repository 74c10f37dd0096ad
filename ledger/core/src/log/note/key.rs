//! Keys that sign notes, and what they sign.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use orion_protocol::{PublicKey, SecretKey, Signature};
use sha2::Digest as _;

use super::{KeyError, MAX_SECONDS, Note, NoteSignature, is_name};

/// What a key signs, by the type byte of signed notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// A note's text.
    Ed25519 = 1,
    /// A checkpoint with the time at which it was the newest that its cosigner had seen.
    Cosignature = 4,
}

/// A public key with its name: `name+hex8+base64`, as signed notes have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteKey {
    name: String,
    kind: KeyType,
    key: PublicKey,
}

/// What a key says of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It did not sign: nothing in the note is its word.
    Absent,
    /// A signature in its name does not verify.
    Bad,
    /// It signed. Cosignatures state when, in seconds since the Unix epoch; of several the latest counts.
    Good {
        /// Absent for the plain type.
        seconds: Option<u64>,
    },
}

impl NoteKey {
    /// A key with a name.
    pub fn new(name: &str, kind: KeyType, key: PublicKey) -> Result<NoteKey, KeyError> {
        if is_name(name) && !name.chars().any(char::is_control) {
            Ok(NoteKey::named(name.to_owned(), kind, key))
        } else {
            Err(KeyError("the name is empty or has spaces, a plus or control characters"))
        }
    }

    /// With a name that is known to be one.
    pub(crate) fn named(name: String, kind: KeyType, key: PublicKey) -> NoteKey {
        NoteKey { name, kind, key }
    }

    /// Reads the key text.
    pub fn parse(text: &str) -> Result<NoteKey, KeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(data)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError("expected name+id+key"));
        };
        let data = BASE64.decode(data).map_err(|_| KeyError("the key is not base64"))?;
        let (kind, key) = match data.split_first() {
            Some((1, key)) => (KeyType::Ed25519, key),
            Some((4, key)) => (KeyType::Cosignature, key),
            _ => return Err(KeyError("neither an ed25519 key (1) nor one for ed25519 cosignatures (4)")),
        };
        let key = <[u8; 32]>::try_from(key).map_err(|_| KeyError("the key is not 32 bytes long"))?;
        let key = NoteKey::new(name, kind, PublicKey(key))?;
        if orion_protocol::bytes::hex(&key.id()) == id {
            Ok(key)
        } else {
            Err(KeyError("the id is not that of name and key"))
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    pub fn kind(&self) -> KeyType {
        self.kind
    }

    /// The bare key.
    pub fn key(&self) -> PublicKey {
        self.key
    }

    /// By the first four bytes of SHA-256(name || newline || type || key), with the name, a note says who signed.
    fn id(&self) -> [u8; 4] {
        let signed = [self.name.as_bytes(), &[b'\n', self.kind as u8], &self.key.0].concat();
        let hash: [u8; 32] = sha2::Sha256::digest(signed).into();
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// Looks for this key's signatures on `note`. Others' are ignored; one in its name that does not verify makes it
    /// [`Checked::Bad`], whatever else there is.
    pub fn verify(&self, note: &Note) -> Checked {
        let id = self.id();
        let mine = note.signatures.iter().filter(|signature| signature.name == self.name && signature.id == id);
        mine.fold(Checked::Absent, |before, signature| match (before, self.verify_one(&note.text, &signature.bytes)) {
            (Checked::Bad, _) | (_, Checked::Bad) => Checked::Bad,
            (Checked::Good { seconds: before }, Checked::Good { seconds }) => {
                Checked::Good { seconds: seconds.max(before) }
            }
            (_, now) => now,
        })
    }

    fn verify_one(&self, text: &str, bytes: &[u8]) -> Checked {
        let (seconds, bytes) = match self.kind {
            KeyType::Ed25519 => (None, bytes),
            KeyType::Cosignature => match bytes.split_first_chunk() {
                Some((time, bytes)) => (Some(u64::from_be_bytes(*time)), bytes),
                None => return Checked::Bad,
            },
        };
        let Ok(signature) = bytes.try_into().map(Signature) else { return Checked::Bad };
        let good = match seconds {
            None => self.key.verifies(text.as_bytes(), &signature),
            Some(seconds) => seconds <= MAX_SECONDS && self.key.verifies(&cosigned(text, seconds), &signature),
        };
        if good { Checked::Good { seconds } } else { Checked::Bad }
    }
}

impl std::fmt::Display for NoteKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let data: Vec<u8> = std::iter::once(self.kind as u8).chain(self.key.0).collect();
        write!(f, "{}+{}+{}", self.name, orion_protocol::bytes::hex(&self.id()), BASE64.encode(data))
    }
}

/// What a cosigner signs.
fn cosigned(text: &str, seconds: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {seconds}\n{text}").into_bytes()
}

/// A key that signs notes under a name.
#[derive(Clone, Debug)]
pub struct NoteSigner {
    key: NoteKey,
    secret: SecretKey,
}

impl NoteSigner {
    /// Signs as `name`. One secret must not cosign under two names: cosignatures do not state the name.
    pub fn new(name: &str, kind: KeyType, secret: SecretKey) -> Result<NoteSigner, KeyError> {
        Ok(NoteSigner { key: NoteKey::new(name, kind, secret.public())?, secret })
    }

    /// With a name that is known to be one.
    pub(crate) fn named(name: String, kind: KeyType, secret: SecretKey) -> NoteSigner {
        NoteSigner { key: NoteKey::named(name, kind, secret.public()), secret }
    }

    /// The key that verifies.
    pub fn key(&self) -> &NoteKey {
        &self.key
    }

    /// Signs a note's text. `seconds` since the Unix epoch are what a cosignature states, at most [`MAX_SECONDS`]; the
    /// plain type states none.
    pub fn sign(&self, text: &str, seconds: u64) -> NoteSignature {
        let (time, signed) = match self.key.kind {
            KeyType::Ed25519 => (Vec::new(), text.as_bytes().to_vec()),
            KeyType::Cosignature => {
                (seconds.min(MAX_SECONDS).to_be_bytes().to_vec(), cosigned(text, seconds.min(MAX_SECONDS)))
            }
        };
        let bytes = time.into_iter().chain(self.secret.sign_bytes(&signed).0).collect();
        NoteSignature { name: self.key.name.clone(), id: self.key.id(), bytes }
    }
}
