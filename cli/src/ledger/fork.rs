//! `orion ledger verify fork`: whether a log signed two checkpoints that no one log has. Whoever keeps an old export or
//! checkpoint needs nothing else to catch a log that was rewritten, and the evidence convinces anybody who has the log's key.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use orion_ledger_core::checkpoint::{Checkpoint, CheckpointError, VerifierKey};
use orion_ledger_core::log::fork::{self, Baseless, Evidence, MAX_EVIDENCE_BYTES, Shown};
use orion_ledger_core::log::note::{MAX_NOTE_BYTES, Note};
use orion_ledger_core::log::prove::{Levels, prefix};
use orion_ledger_core::{export, verify};
use orion_protocol::merkle::Sha256;
use serde_json::{Value, json};

use super::{chain, log, open, read, read_key};
use crate::{Format, Verdict};

/// What the evidence that is made here says of itself.
const WORDS: &str = "two checkpoints of one log, compared by orion ledger verify fork";

/// `orion ledger verify fork ...`
#[derive(clap::Args)]
pub struct ForkArgs {
    /// An export, a checkpoint, or, alone, evidence that a witness or this command wrote.
    one: PathBuf,
    /// Another export or checkpoint. Where the sizes differ, the larger must be an export.
    other: Option<PathBuf>,
    /// The log's key, as the install wrote it.
    #[arg(long)]
    key: PathBuf,
    /// Write the evidence of a proven fork to this file.
    #[arg(long, requires = "other")]
    out: Option<PathBuf>,
}

/// A checkpoint, and the log under it where the file is an export.
struct Side {
    note: Note,
    leaves: Vec<[u8; 32]>,
}

/// What a file is.
enum File {
    Side(Side),
    Evidence(Evidence),
    /// Neither, by its own fault: said already.
    Refused(Verdict),
}

/// Runs the command.
pub fn run(format: Format, args: &ForkArgs) -> anyhow::Result<Verdict> {
    let key = read_key(&args.key)?;
    let sides = [Some(&args.one), args.other.as_ref()];
    let mut files = Vec::new();
    for file in sides.into_iter().flatten() {
        match load(file, &key, format)? {
            File::Refused(verdict) => return Ok(verdict),
            read => files.push(read),
        }
    }
    let evidence = match (files.pop(), files.pop()) {
        (Some(File::Evidence(evidence)), None) => evidence,
        (Some(File::Side(other)), Some(File::Side(one))) => compare(one, other)?,
        _ => return Ok(usage()),
    };
    Ok(match evidence.judge(&key) {
        Ok(Shown::Fork { a, b, start }) => {
            if let Some(file) = &args.out {
                write(file, &evidence)?;
            }
            say(format, &a, &b, &start.to_string(), &evidence, args.out.as_deref());
            Verdict::Good
        }
        Ok(Shown::Undecided(why)) => undecided(
            &format!("{why}. Give exports of the log in place of checkpoints: orion ledger export"),
            &evidence,
            format,
        ),
        Err(error @ Baseless::Unsigned(_, CheckpointError::Origin { .. })) => {
            undecided(&format!("{}. The key must be that log's", chain(&error)), &evidence, format)
        }
        Err(error) => refuse(&chain(&error), format),
    })
}

/// A mixture of evidence and others, or one checkpoint alone.
fn usage() -> Verdict {
    eprintln!("orion: give two files that are exports or checkpoints, or one file of evidence");
    Verdict::Usage
}

fn load(file: &Path, key: &VerifierKey, format: Format) -> anyhow::Result<File> {
    let mut start = Vec::new();
    let longest = export::MAGIC.len().max(fork::MAGIC.len()) as u64;
    open(file)?.take(longest).read_to_end(&mut start).with_context(|| format!("reading {}", file.display()))?;
    let refused =
        |error: &dyn std::error::Error| File::Refused(refuse(&format!("{}: {}", file.display(), chain(error)), format));
    if start.starts_with(export::MAGIC) {
        let mut leaves = Vec::new();
        let take = |leaf: &[u8]| {
            leaves.push(Sha256::leaf(leaf));
            Ok(())
        };
        return Ok(match verify::leaves(open(file)?, key, take) {
            Ok((note, _)) => File::Side(Side { note, leaves }),
            Err(error) => File::Refused(log::refuse(&error, format)),
        });
    }
    if start.starts_with(fork::MAGIC) {
        return Ok(match Evidence::parse(&read(file, MAX_EVIDENCE_BYTES)?) {
            Ok(evidence) => File::Evidence(evidence),
            Err(error) => refused(&error),
        });
    }
    Ok(match Note::parse(&read(file, MAX_NOTE_BYTES)?) {
        Ok(note) => File::Side(Side { note, leaves: Vec::new() }),
        Err(error) => refused(&error),
    })
}

/// Puts evidence together; with the nodes that decide it, where the larger side has its leaves.
fn compare(one: Side, other: Side) -> anyhow::Result<Evidence> {
    let size = |side: &Side| Checkpoint::from_text(side.note.text()).map_or(0, |checkpoint| checkpoint.size);
    let (small, large) = if size(&one) > size(&other) { (other, one) } else { (one, other) };
    let (old, new) = (size(&small), size(&large));
    let nodes = if old > 0 && old < new && large.leaves.len() as u64 == new {
        prefix(old, new, &Levels::of(&large.leaves)).context("reading the larger log")?
    } else {
        Vec::new()
    };
    Ok(Evidence::fork(small.note, large.note, nodes, WORDS))
}

/// The file appears whole or not at all.
fn write(file: &Path, evidence: &Evidence) -> anyhow::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(folder).context("making a file for the evidence")?;
    temporary.write_all(&evidence.to_bytes()).context("writing the evidence")?;
    temporary.persist(file).with_context(|| format!("writing {}", file.display()))?;
    Ok(())
}

fn say(format: Format, a: &Checkpoint, b: &Checkpoint, start: &str, evidence: &Evidence, out: Option<&Path>) {
    match format {
        Format::Json => {
            let point = |point: &Checkpoint| json!({"size": point.size, "root": point.root});
            let found = json!({
                "fork": true, "origin": a.origin, "a": point(a), "b": point(b), "start": start,
                "words": evidence.words(), "written": out,
            });
            println!("{found}");
        }
        Format::Text => {
            println!("fork: proven: {} signed two checkpoints that no one log has", a.origin);
            println!("  A  {:>8} leaves with root {}", a.size, a.root);
            println!("  B  {:>8} leaves with root {}", b.size, b.root);
            println!("  the first {} leaves of B hash to {start}, not to the root of A", a.size);
            println!("  words of the evidence: {}", evidence.words());
            if let Some(file) = out {
                println!("evidence written to {}: show it to whoever trusts this log", file.display());
            }
        }
    }
}

fn undecided(why: &str, evidence: &Evidence, format: Format) -> Verdict {
    match format {
        Format::Text => eprintln!("fork: undecided: {why}\n  words of the evidence: {}", evidence.words()),
        Format::Json => println!("{}", json!({"fork": Value::Null, "error": why, "words": evidence.words()})),
    }
    Verdict::Undecided
}

fn refuse(why: &str, format: Format) -> Verdict {
    match format {
        Format::Text => eprintln!("fork: NOT proven: {why}"),
        Format::Json => println!("{}", json!({"fork": false, "error": why})),
    }
    Verdict::Bad
}
