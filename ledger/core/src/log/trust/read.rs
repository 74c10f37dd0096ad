//! Reads the file, line by line: whatever the format forbids is refused with its line.

use std::collections::{BTreeMap, BTreeSet};

use super::super::note::{KeyError, KeyType, NoteKey};
use super::super::tile::number;
use super::{Group, Log, MAX_OF_EACH, MAX_TRUST_BYTES, Member, NOBODY, Quorum, Trust, Witness};
use crate::checkpoint::VerifierKey;

/// Why bytes are no trust policy.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}")]
pub struct TrustError {
    /// The line, from 1; one past the last where something is missing.
    pub line: usize,
    /// What is wrong there.
    #[source]
    pub fault: Fault,
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Fault {
    /// The file is over the bound.
    #[error("the file is {0} bytes long, at most {MAX_TRUST_BYTES} are allowed")]
    TooLong(usize),
    /// A control character other than tab and newline.
    #[error("holds the control character {0:#04x}")]
    Control(u8),
    /// A name, key or URL is not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// The first word is none of the four.
    #[error("starts with {0:?}, expected log, witness, group, quorum or #")]
    Word(String),
    /// Too few or too many words.
    #[error("expected {0}")]
    Form(&'static str),
    /// A key that is none.
    #[error("cannot read the key")]
    Key(#[source] KeyError),
    /// A log's key where a witness's must be, or the other way round.
    #[error("expected {0}")]
    KeyType(&'static str),
    /// The same public key twice.
    #[error("the key is that of another line, under whatever name")]
    KeyTwice,
    /// A name twice.
    #[error("the name {0:?} is taken")]
    NameTwice(String),
    /// A name that no earlier line defines.
    #[error("no earlier line defines {0:?}")]
    Undefined(String),
    /// A witness or group in two places.
    #[error("{0:?} is a member already")]
    MemberTwice(String),
    /// More members asked for than there are, or none.
    #[error("asks for {0:?} of {1} members, expected any, all or 1 to {1}")]
    Threshold(String, usize),
    /// A second quorum line.
    #[error("is a second quorum")]
    QuorumTwice,
    /// No quorum line at all.
    #[error("the file has no quorum line; \"quorum none\" asks for no witness")]
    NoQuorum,
    /// More than the bound of one kind.
    #[error("more than {MAX_OF_EACH} of a kind")]
    TooMany,
}

impl Trust {
    /// Reads a file.
    pub fn parse(file: &[u8]) -> Result<Trust, TrustError> {
        if file.len() > MAX_TRUST_BYTES {
            return Err(TrustError { line: 1, fault: Fault::TooLong(file.len()) });
        }
        let mut reading = Reading::default();
        let mut lines = 0;
        for line in file.split(|byte| *byte == b'\n') {
            lines += 1;
            reading.line(line).map_err(|fault| TrustError { line: lines, fault })?;
        }
        let Reading { logs, witnesses, groups, quorum, .. } = reading;
        let quorum = quorum.ok_or(TrustError { line: lines, fault: Fault::NoQuorum })?;
        Ok(Trust { logs, witnesses, groups, quorum })
    }
}

/// A file that is being read.
#[derive(Default)]
struct Reading {
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    names: BTreeMap<String, Member>,
    taken: BTreeSet<String>,
    quorum: Option<Quorum>,
}

impl Reading {
    fn line(&mut self, line: &[u8]) -> Result<(), Fault> {
        if let Some(byte) = line.iter().find(|byte| **byte != b'\t' && (**byte < 0x20 || **byte == 0x7f)) {
            return Err(Fault::Control(*byte));
        }
        if line.trim_ascii_start().starts_with(b"#") {
            return Ok(());
        }
        let line = std::str::from_utf8(line).map_err(|_| Fault::NotUtf8)?;
        let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        match words[..] {
            [] => Ok(()),
            ["log", key] => self.log(key, None),
            ["log", key, url] => self.log(key, Some(url)),
            ["log", ..] => Err(Fault::Form("log <key> [<url>]")),
            ["witness", name, key] => self.witness(name, key, None),
            ["witness", name, key, url] => self.witness(name, key, Some(url)),
            ["witness", ..] => Err(Fault::Form("witness <name> <key> [<url>]")),
            ["group", name, least, ref members @ ..] if !members.is_empty() => self.group(name, least, members),
            ["group", ..] => Err(Fault::Form("group <name> <any, all or a number> <member>...")),
            ["quorum", name] => self.quorum(name),
            ["quorum", ..] => Err(Fault::Form("quorum <name>")),
            [word, ..] => Err(Fault::Word(word.to_owned())),
        }
    }

    fn log(&mut self, key: &str, url: Option<&str>) -> Result<(), Fault> {
        let key = NoteKey::parse(key).map_err(Fault::Key)?;
        if self.logs.iter().any(|log| log.key.key() == key.key()) {
            return Err(Fault::KeyTwice);
        }
        let key = VerifierKey::of(key).ok_or(Fault::KeyType("a log's key (type 1)"))?;
        self.logs.push(Log { key, url: url.map(str::to_owned) });
        bounded(self.logs.len())
    }

    fn witness(&mut self, name: &str, key: &str, url: Option<&str>) -> Result<(), Fault> {
        let key = NoteKey::parse(key).map_err(Fault::Key)?;
        if key.kind() != KeyType::Cosignature {
            return Err(Fault::KeyType("a cosigner's key (type 4)"));
        }
        if self.witnesses.iter().any(|witness| witness.key.key() == key.key()) {
            return Err(Fault::KeyTwice);
        }
        self.define(name, Member::Witness(self.witnesses.len()))?;
        self.witnesses.push(Witness { name: name.to_owned(), key, url: url.map(str::to_owned) });
        bounded(self.witnesses.len())
    }

    fn group(&mut self, name: &str, least: &str, names: &[&str]) -> Result<(), Fault> {
        let mut members = Vec::new();
        for name in names {
            members.push(self.find(name)?);
            if !self.taken.insert((*name).to_owned()) {
                return Err(Fault::MemberTwice((*name).to_owned()));
            }
        }
        let count = members.len();
        let least = match least {
            "any" => 1,
            "all" => count,
            text => {
                let least = number(text).and_then(|least| usize::try_from(least).ok());
                let fits = least.filter(|least| (1..=count).contains(least));
                fits.ok_or_else(|| Fault::Threshold(text.to_owned(), count))?
            }
        };
        self.define(name, Member::Group(self.groups.len()))?;
        self.groups.push(Group { least, members });
        bounded(self.groups.len())
    }

    fn quorum(&mut self, name: &str) -> Result<(), Fault> {
        let quorum = if name == NOBODY { Quorum::Nobody } else { Quorum::Of(self.find(name)?) };
        if self.quorum.replace(quorum).is_some() { Err(Fault::QuorumTwice) } else { Ok(()) }
    }

    fn define(&mut self, name: &str, member: Member) -> Result<(), Fault> {
        if name == NOBODY || self.names.contains_key(name) {
            return Err(Fault::NameTwice(name.to_owned()));
        }
        self.names.insert(name.to_owned(), member);
        Ok(())
    }

    fn find(&self, name: &str) -> Result<Member, Fault> {
        self.names.get(name).copied().ok_or_else(|| Fault::Undefined(name.to_owned()))
    }
}

fn bounded(count: usize) -> Result<(), Fault> {
    if count > MAX_OF_EACH { Err(Fault::TooMany) } else { Ok(()) }
}
