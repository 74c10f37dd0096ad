//! Whom a verifier believes: the file format of c2sp.org/tlog-policy (here "trust", because reward policies have the name).
//! It lists logs, witnesses and groups of them, and says which cosignatures a checkpoint needs.
//!
//! Judging needs no URL, clock or network. Lines are UTF-8 but for comments, which may hold any octets the format allows.

mod read;

pub use read::{Fault, TrustError};

use super::note::{Checked, Note, NoteKey};
use crate::checkpoint::{Checkpoint, CheckpointError, VerifierKey};

/// No file is longer, in bytes.
pub const MAX_TRUST_BYTES: usize = 128 * 1024;
/// No file has more logs, or witnesses, or groups; the format asks for at least 32 of each.
pub const MAX_OF_EACH: usize = 64;
/// The quorum that asks for nobody.
const NOBODY: &str = "none";

/// A log that is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Its key; the name is its origin.
    pub key: VerifierKey,
    /// Where it is, for who wants to ask it.
    pub url: Option<String>,
}

/// A witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// What groups and quorum call it; means nothing outside the file.
    pub name: String,
    /// Its key.
    pub key: NoteKey,
    /// Where it takes checkpoints.
    pub url: Option<String>,
}

/// Witnesses and groups by their places in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    least: usize,
    /// Groups among them stand earlier: nothing here goes round in circles.
    members: Vec<Member>,
}

/// A trust policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Quorum,
}

/// Whose cosignatures are enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quorum {
    Nobody,
    Of(Member),
}

impl Trust {
    /// The logs, in the file's order.
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// The witnesses, in the file's order.
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// What this policy says of a note.
    pub fn judge(&self, note: &Note) -> Result<Judged, JudgeError> {
        let checkpoint = Checkpoint::from_text(note.text()).map_err(JudgeError::Text)?;
        let bad = |key: &NoteKey| JudgeError::Signature(key.to_string());
        let mut log = None;
        for known in self.logs.iter().filter(|log| log.key.name() == checkpoint.origin) {
            match known.key.note_key().verify(note) {
                Checked::Good { .. } => log = log.or(Some(known.key.clone())),
                Checked::Bad => return Err(bad(known.key.note_key())),
                Checked::Absent => {}
            }
        }
        let (mut cosigned, mut witnessed) = (vec![false; self.witnesses.len()], Vec::new());
        for (at, witness) in self.witnesses.iter().enumerate() {
            match witness.key.verify(note) {
                Checked::Good { seconds } => {
                    cosigned[at] = true;
                    witnessed.push(Witnessed { name: witness.name.clone(), seconds: seconds.unwrap_or(0) });
                }
                Checked::Bad => return Err(bad(&witness.key)),
                Checked::Absent => {}
            }
        }
        Ok(Judged { checkpoint, log, witnessed, quorum: self.reached(&cosigned) })
    }

    /// Whether the witnesses that are `counted` are enough.
    pub fn is_enough(&self, counted: impl Fn(&Witness) -> bool) -> bool {
        self.reached(&self.witnesses.iter().map(counted).collect::<Vec<_>>())
    }

    /// Whether these witnesses, by place, are the quorum.
    fn reached(&self, cosigned: &[bool]) -> bool {
        let mut reached: Vec<bool> = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let has = group.members.iter().filter(|member| is_set(**member, cosigned, &reached)).count();
            reached.push(has >= group.least);
        }
        match self.quorum {
            Quorum::Nobody => true,
            Quorum::Of(member) => is_set(member, cosigned, &reached),
        }
    }
}

fn is_set(member: Member, witnesses: &[bool], groups: &[bool]) -> bool {
    match member {
        Member::Witness(at) => witnesses.get(at).copied().unwrap_or(false),
        Member::Group(at) => groups.get(at).copied().unwrap_or(false),
    }
}

/// Why a note is not judged at all.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum JudgeError {
    /// Its text is no checkpoint.
    #[error("cannot read the checkpoint")]
    Text(#[source] CheckpointError),
    /// A key that is known has a signature on it that does not verify.
    #[error("the signature of {0} does not verify")]
    Signature(String),
}

/// What a trust policy says of a note. Nothing is proven unless [`Judged::accepted`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What the note says.
    pub checkpoint: Checkpoint,
    /// The key of the log that signed it, where one that is believed did.
    pub log: Option<VerifierKey>,
    /// Who cosigned, in the file's order.
    pub witnessed: Vec<Witnessed>,
    /// Whether those are enough.
    pub quorum: bool,
}

impl Judged {
    /// Whether the log signed, and enough witnesses.
    pub fn accepted(&self) -> bool {
        self.log.is_some() && self.quorum
    }
}

/// A good cosignature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witnessed {
    /// Whose, by the file's name.
    pub name: String,
    /// When, by its own word, in seconds since the Unix epoch.
    pub seconds: u64,
}
