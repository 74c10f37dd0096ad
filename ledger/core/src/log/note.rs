//! Signed notes (c2sp.org/signed-note): text with the signatures of any number of keys, and the key texts that verify them.
//! Two types: plain ed25519, by which a log signs, and timestamped cosignatures (c2sp.org/tlog-cosignature), by which
//! witnesses do.
//!
//! A note that was read says nothing before [`NoteKey::verify`] found a good signature on it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use orion_protocol::{PublicKey, SecretKey, Signature};
use sha2::Digest as _;

/// No note is longer, in bytes: room for 16 signatures of the largest type that C2SP knows, nearly 5 kB each.
pub const MAX_NOTE_BYTES: usize = 128 * 1024;
/// No note has more signatures.
pub const MAX_SIGNATURES: usize = 64;
/// The latest time a cosignature may state, in seconds since the Unix epoch.
pub const MAX_SECONDS: u64 = i64::MAX as u64;

/// Why bytes are no note.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoteError {
    /// Over the bound.
    #[error("{0} bytes long, at most {MAX_NOTE_BYTES} are allowed")]
    TooLong(usize),
    /// Not UTF-8, or with control characters.
    #[error("not UTF-8 text without control characters")]
    NotText,
    /// No text that ends in a newline, an empty line, and signatures that end in one.
    #[error("expected text, an empty line and signature lines, each ended by a newline")]
    Parts,
    /// A signature line that is none.
    #[error("signature line {line}: {why}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        why: LineError,
    },
    /// More signatures than allowed.
    #[error("more than {MAX_SIGNATURES} signatures")]
    TooMany,
}

/// Why a line is no signature line.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct LineError(&'static str);

/// Why a text is no verifier key.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct KeyError(pub(crate) &'static str);

/// Text and the signatures on it, unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One signature on a note, unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    id: [u8; 4],
    bytes: Vec<u8>,
}

impl Note {
    /// Text that nobody signed yet.
    pub fn new(text: String) -> Result<Note, NoteError> {
        if text.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong(text.len()));
        }
        if has_controls(&text) {
            return Err(NoteError::NotText);
        }
        if text.ends_with('\n') { Ok(Note { text, signatures: Vec::new() }) } else { Err(NoteError::Parts) }
    }

    /// Reads a note. Each has one form.
    pub fn parse(note: &[u8]) -> Result<Note, NoteError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong(note.len()));
        }
        let note = std::str::from_utf8(note).ok().filter(|note| !has_controls(note)).ok_or(NoteError::NotText)?;
        let split = note.rfind("\n\n").ok_or(NoteError::Parts)?;
        let lines = note[split + 2..].strip_suffix('\n').ok_or(NoteError::Parts)?;
        Ok(Note { text: note[..=split].to_owned(), signatures: parse_lines(lines)? })
    }

    /// The text, its last newline included.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, in order.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature, in place of an earlier one by the same key.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        let others = self.signatures.iter().filter(|other| other.name != signature.name || other.id != signature.id);
        let mut signatures: Vec<NoteSignature> = others.cloned().collect();
        signatures.push(signature);
        if signatures.len() > MAX_SIGNATURES {
            return Err(NoteError::TooMany);
        }
        let note = Note { text: self.text.clone(), signatures };
        let length = note.to_string().len();
        if length > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong(length));
        }
        *self = note;
        Ok(())
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

fn has_controls(text: &str) -> bool {
    text.bytes().any(|byte| byte < 0x20 && byte != b'\n')
}

/// Signature lines without the last newline; at least one.
pub(super) fn parse_lines(lines: &str) -> Result<Vec<NoteSignature>, NoteError> {
    let mut signatures = Vec::new();
    for (at, line) in lines.split('\n').enumerate() {
        if at >= MAX_SIGNATURES {
            return Err(NoteError::TooMany);
        }
        signatures.push(NoteSignature::parse(line).map_err(|why| NoteError::Line { line: at + 1, why })?);
    }
    Ok(signatures)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c == '+')
}

impl NoteSignature {
    /// Reads a line, without its newline.
    pub fn parse(line: &str) -> Result<NoteSignature, LineError> {
        let rest = line.strip_prefix("\u{2014} ").ok_or(LineError("does not start with an em dash and a space"))?;
        let (name, data) = rest.split_once(' ').ok_or(LineError("expected a name, a space and base64"))?;
        if !is_name(name) {
            return Err(LineError("the name is empty or has spaces or a plus"));
        }
        let data = BASE64.decode(data).map_err(|_| LineError("not base64"))?;
        match data.split_first_chunk() {
            Some((id, bytes)) if !bytes.is_empty() => {
                Ok(NoteSignature { name: name.to_owned(), id: *id, bytes: bytes.to_vec() })
            }
            _ => Err(LineError("shorter than a key id and a signature")),
        }
    }

    /// Whose it claims to be.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl std::fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let data: Vec<u8> = self.id.iter().chain(&self.bytes).copied().collect();
        write!(f, "\u{2014} {} {}", self.name, BASE64.encode(data))
    }
}

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
