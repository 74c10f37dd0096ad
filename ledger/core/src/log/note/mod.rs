//! Signed notes (c2sp.org/signed-note): text with the signatures of any number of keys, and the key texts that verify them.
//! Two types: plain ed25519, by which a log signs, and timestamped cosignatures (c2sp.org/tlog-cosignature), by which
//! witnesses do.
//!
//! A note that was read says nothing before [`NoteKey::verify`] found a good signature on it.

mod key;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

pub use key::{Checked, KeyType, NoteKey, NoteSigner};

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
