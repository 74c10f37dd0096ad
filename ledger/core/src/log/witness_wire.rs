//! What logs and witnesses say to each other (c2sp.org/tlog-witness): a request to cosign a checkpoint, its judgement by the
//! specification, and the answers. Two answers are ours: 422 also where the entries do not replay, and 503 for "not yet";
//! stock logs try again after either.
//!
//! A witness stores the checkpoint it accepts before it answers, and compares and stores in one step.

use orion_protocol::merkle::{Scheme as _, Sha256};

use super::note::{Checked, MAX_NOTE_BYTES, Note, NoteError, NoteSignature, parse_lines};
use super::proof_file::{Lines, write_hashes};
use super::{clean, tile::number};
use crate::checkpoint::{Checkpoint, VerifierKey};
use crate::proof::consistent;

/// No request holds more hashes.
pub const MAX_HASHES: usize = 63;
/// No request is longer, in bytes.
pub const MAX_REQUEST_BYTES: usize = MAX_NOTE_BYTES + 8 * 1024;
/// No answer is longer, in bytes.
pub const MAX_ANSWER_BYTES: usize = MAX_NOTE_BYTES;
/// More of a refusal's words is cut, in bytes.
pub const MAX_WORDS_BYTES: usize = 1024;
/// What an answer that states a size says it is.
pub const SIZE_TYPE: &str = "text/x.tlog.size";
/// What every other answer says it is.
pub const TEXT_TYPE: &str = "text/plain; charset=utf-8";

/// Why bytes are no request.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RequestError {
    /// Over the bound.
    #[error("the request is {0} bytes long, at most {MAX_REQUEST_BYTES} are allowed")]
    TooLong(usize),
    /// A line that is not what must stand there.
    #[error("line {line}: expected {want}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What must stand there.
        want: &'static str,
    },
    /// The checkpoint is no note.
    #[error("cannot read the checkpoint")]
    Note(#[source] NoteError),
}

/// "Cosign this checkpoint": a request to `add-checkpoint`, unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the witness cosigned last, by the log's word; 0 for none.
    pub old: u64,
    /// That the log of that size is the start of this one; empty where it is 0 or the same.
    pub proof: Vec<[u8; 32]>,
    /// The signed checkpoint.
    pub note: Note,
}

impl AddCheckpoint {
    /// Reads a request. Each has one form.
    pub fn parse(body: &[u8]) -> Result<AddCheckpoint, RequestError> {
        if body.len() > MAX_REQUEST_BYTES {
            return Err(RequestError::TooLong(body.len()));
        }
        let mut lines = Lines { rest: body, line: 0 };
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(number);
        let old = old.ok_or(RequestError::Line { line: 1, want: "old and a number" })?;
        let proof = lines.hashes(MAX_HASHES).map_err(|(line, want)| RequestError::Line { line, want })?;
        let note = Note::parse(lines.rest).map_err(RequestError::Note)?;
        Ok(AddCheckpoint { old, proof, note })
    }

    /// Judges it, in the specification's order. `logs`: the keys that the witness knows. `last`: the checkpoint of this log
    /// that it cosigned last, of whichever size. What comes out may be cosigned, once it was replayed and stored.
    pub fn judge(&self, logs: &[VerifierKey], last: Option<&Checkpoint>) -> Result<Checkpoint, Answer> {
        let refuse = |why: Refusal, words: &str| Err(Answer::Refused(why, words.to_owned()));
        let checkpoint = match Checkpoint::from_text(self.note.text()) {
            Ok(checkpoint) => checkpoint,
            Err(error) => return refuse(Refusal::BadRequest, &error.to_string()),
        };
        let known: Vec<&VerifierKey> = logs.iter().filter(|key| key.name() == checkpoint.origin).collect();
        if known.is_empty() {
            return refuse(Refusal::UnknownLog, "the checkpoint is of a log that is not known here");
        }
        let checked: Vec<Checked> = known.iter().map(|key| key.note_key().verify(&self.note)).collect();
        if checked.contains(&Checked::Bad) || checked.iter().all(|one| *one == Checked::Absent) {
            return refuse(Refusal::NotSigned, "the checkpoint is not signed by a key of its log");
        }
        if self.old > checkpoint.size {
            return refuse(Refusal::BadRequest, "the old size is larger than the checkpoint's");
        }
        let cosigned = last.map_or(0, |last| last.size);
        if self.old != cosigned {
            return Err(Answer::Size(cosigned));
        }
        let root = &checkpoint.root.0;
        let fits = match last {
            Some(last) if last.size == checkpoint.size && last.root != checkpoint.root => {
                return refuse(Refusal::Fork, "a checkpoint of the same size with another root was cosigned");
            }
            _ if self.old == 0 => self.proof.is_empty() && (checkpoint.size > 0 || *root == Sha256::empty()),
            Some(last) => consistent(last.size, &last.root.0, checkpoint.size, root, &self.proof),
            None => false,
        };
        if fits {
            Ok(checkpoint)
        } else {
            refuse(Refusal::Inconsistent, "the proof does not lead from the old size to the new")
        }
    }
}

impl std::fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let AddCheckpoint { old, proof, note } = self;
        writeln!(f, "old {old}")?;
        write_hashes(f, proof)?;
        write!(f, "\n{note}")
    }
}

/// Why a witness does not cosign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not a request, or with an old size above the new.
    BadRequest,
    /// No signature by a key of the log.
    NotSigned,
    /// A log that the witness does not follow.
    UnknownLog,
    /// Another root was cosigned for the same size.
    Fork,
    /// The proof does not hold, or the entries do not replay.
    Inconsistent,
    /// The witness has not replayed so far; the same request may be sent again.
    NotYet,
    /// Anything else, by the status.
    Other(u16),
}

impl Refusal {
    /// The status of HTTP.
    pub fn status(self) -> u16 {
        match self {
            Refusal::BadRequest => 400,
            Refusal::NotSigned => 403,
            Refusal::UnknownLog => 404,
            Refusal::Fork => 409,
            Refusal::Inconsistent => 422,
            Refusal::NotYet => 503,
            Refusal::Other(status) => status,
        }
    }

    fn of(status: u16) -> Refusal {
        let known = [
            Refusal::BadRequest,
            Refusal::NotSigned,
            Refusal::UnknownLog,
            Refusal::Fork,
            Refusal::Inconsistent,
            Refusal::NotYet,
        ];
        known.into_iter().find(|refusal| refusal.status() == status).unwrap_or(Refusal::Other(status))
    }
}

/// What a witness answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200: its cosignatures, at least one.
    Cosigned(Vec<NoteSignature>),
    /// 409: the old size is not the one cosigned last, which is this.
    Size(u64),
    /// Not cosigned, and words for people.
    Refused(Refusal, String),
}

/// Why an answer cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AnswerError {
    /// Over the bound.
    #[error("the answer is {0} bytes long, at most {MAX_ANSWER_BYTES} are allowed")]
    TooLong(usize),
    /// Not UTF-8 lines, each ended by a newline.
    #[error("the answer is no lines of text")]
    NotText,
    /// Not signature lines.
    #[error("cannot read the cosignatures")]
    Signatures(#[source] NoteError),
    /// Not a size.
    #[error("the size in the answer is no number")]
    Size,
}

impl Answer {
    /// The status of HTTP.
    pub fn status(&self) -> u16 {
        match self {
            Answer::Cosigned(_) => 200,
            Answer::Size(_) => 409,
            Answer::Refused(refusal, _) => refusal.status(),
        }
    }

    /// The type of the body.
    pub fn content_type(&self) -> &'static str {
        if matches!(self, Answer::Size(_)) { SIZE_TYPE } else { TEXT_TYPE }
    }

    /// The body.
    pub fn body(&self) -> String {
        match self {
            Answer::Cosigned(signatures) => {
                let lines: Vec<String> = signatures.iter().map(ToString::to_string).collect();
                lines.join("\n") + "\n"
            }
            Answer::Size(size) => format!("{size}\n"),
            Answer::Refused(_, words) => format!("{words}\n"),
        }
    }

    /// Reads an answer. Nothing in it is checked: signatures that are no good spoil a note, so try them on a copy.
    pub fn parse(status: u16, content_type: &str, body: &[u8]) -> Result<Answer, AnswerError> {
        if body.len() > MAX_ANSWER_BYTES {
            return Err(AnswerError::TooLong(body.len()));
        }
        // What follows a semicolon are the type's parameters.
        let content_type = content_type.split(';').next().unwrap_or_default().trim();
        if status != 200 && (status != 409 || content_type != SIZE_TYPE) {
            let words = clean(&String::from_utf8_lossy(body), MAX_WORDS_BYTES);
            let words = words.trim_end().to_owned();
            return Ok(Answer::Refused(Refusal::of(status), words));
        }
        let text =
            std::str::from_utf8(body).ok().and_then(|text| text.strip_suffix('\n')).ok_or(AnswerError::NotText)?;
        if status == 200 {
            parse_lines(text).map(Answer::Cosigned).map_err(AnswerError::Signatures)
        } else {
            number(text).map(Answer::Size).ok_or(AnswerError::Size)
        }
    }
}
