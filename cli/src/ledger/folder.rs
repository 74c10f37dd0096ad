//! A receipt as a folder. Each leaf lies beside the proof that it is in the log, a file of c2sp.org/tlog-proof, so that a stock
//! client can check that part alone:
//!
//! ```text
//! lease                            the digest of the work lease, in hex
//! close.leaf    close.tlog-proof   the round that holds the commitment
//! verdict.leaf  verdict.tlog-proof
//! settle.leaf   settle.tlog-proof  the page of the settlement that pays
//! task.object                      the task, whose digest the lease names
//! unit.cbor                        one unit under the commitment's root
//! ```
//!
//! Only the first three must be there. Nothing in the folder says whom to trust.

use std::path::Path;

use anyhow::{Context as _, bail};
use orion_ledger_core::log::proof_file::{MAX_PROOF_BYTES, ProofFile};
use orion_ledger_core::log::receipt::{Entry, MAX_UNIT_BYTES, Receipt, read_unit};
use orion_protocol::ledger::tx::MAX_LEAF_BYTES;
use orion_protocol::{Digest, cbor};

use super::read;

const LEASE: &str = "lease";
const TASK: &str = "task.object";
const UNIT: &str = "unit.cbor";
/// A lease's digest in hex, and a newline.
const MAX_LEASE_BYTES: usize = 65;

/// Why a folder gives no receipt.
pub enum FolderError {
    /// Something is not there, or cannot be read.
    Unread(anyhow::Error),
    /// A file is not what must lie there.
    Malformed(anyhow::Error),
}

/// Writes the folder, which appears whole or not at all.
pub fn write(folder: &Path, receipt: &Receipt, lease: &Digest) -> anyhow::Result<()> {
    if folder.exists() {
        bail!("{} exists: give --out a name that is free", folder.display());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::tempdir_in(parent).with_context(|| format!("making a folder in {}", parent.display()))?;
    let put = |name: &str, bytes: &[u8]| {
        std::fs::write(temporary.path().join(name), bytes).with_context(|| format!("writing {name}"))
    };
    let Receipt { close, verdict, settle, unit, task } = receipt;
    put(LEASE, format!("{lease}\n").as_bytes())?;
    for (name, entry) in [("close", Some(close)), ("verdict", verdict.as_ref()), ("settle", settle.as_ref())] {
        if let Some(Entry { leaf, proof }) = entry {
            put(&format!("{name}.leaf"), leaf)?;
            put(&format!("{name}.tlog-proof"), proof.to_string().as_bytes())?;
        }
    }
    if let Some(task) = task {
        put(TASK, task)?;
    }
    if let Some(unit) = unit {
        put(UNIT, &cbor::to_vec(unit))?;
    }
    std::fs::rename(temporary.path(), folder).with_context(|| format!("writing {}", folder.display()))?;
    // It is no longer there to be removed.
    let _ = temporary.keep();
    Ok(())
}

/// Reads a folder. Nothing is checked.
pub fn load(folder: &Path) -> Result<(Receipt, Digest), FolderError> {
    let malformed = |name: &str, error: anyhow::Error| FolderError::Malformed(error.context(format!("reading {name}")));
    let bytes = |name: &str, bytes_max| read(&folder.join(name), bytes_max).map_err(FolderError::Unread);
    let maybe = |name: &str, bytes_max| {
        if folder.join(name).exists() { bytes(name, bytes_max).map(Some) } else { Ok(None) }
    };
    let entry = |name: &str| {
        let (leaf, proof) = (format!("{name}.leaf"), format!("{name}.tlog-proof"));
        let bytes = ProofFile::parse(&bytes(&proof, MAX_PROOF_BYTES)?).map_err(|error| malformed(&proof, error.into()));
        Ok(Entry { leaf: read(&folder.join(leaf), MAX_LEAF_BYTES).map_err(FolderError::Unread)?, proof: bytes? })
    };
    let maybe_entry = |name: &str| {
        let there = ["leaf", "tlog-proof"].iter().any(|end| folder.join(format!("{name}.{end}")).exists());
        if there { entry(name).map(Some) } else { Ok(None) }
    };
    let lease = String::from_utf8_lossy(&bytes(LEASE, MAX_LEASE_BYTES)?).trim().parse::<Digest>();
    let unit = maybe(UNIT, MAX_UNIT_BYTES)?.map(|unit| read_unit(&unit).map_err(|error| malformed(UNIT, error.into())));
    let receipt = Receipt {
        close: entry("close")?,
        verdict: maybe_entry("verdict")?,
        settle: maybe_entry("settle")?,
        unit: unit.transpose()?,
        task: maybe(TASK, MAX_LEAF_BYTES)?,
    };
    Ok((receipt, lease.map_err(|error| malformed(LEASE, error.into()))?))
}
