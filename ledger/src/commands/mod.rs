//! What `orion-ledger` does, a file a command, and the files that several of them read.

use std::path::Path;

use anyhow::{Context as _, bail};
use orion_protocol::SecretKey;
use orion_protocol::bytes::unhex;
use orion_protocol::ledger::Genesis;

pub mod offline;
pub mod serve;
pub mod witness;

/// Reads a genesis: its canonical bytes, or their hex.
pub fn read_genesis(path: &Path) -> anyhow::Result<Genesis> {
    let bytes = read(path, Genesis::MAX_BYTES * 2 + 2)?;
    let parsed = match unhex_any(&bytes) {
        Some(raw) => Genesis::from_bytes(&raw),
        None => Genesis::from_bytes(&bytes),
    };
    parsed.with_context(|| format!("cannot read the genesis in {}", path.display()))
}

/// Reads a key's seed: 64 hex digits.
pub fn read_seed(path: &Path) -> anyhow::Result<SecretKey> {
    let bytes = read(path, 66)?;
    let text = std::str::from_utf8(&bytes).map(str::trim_end).unwrap_or_default();
    let seed = unhex::<32>(text).with_context(|| format!("{}: expected 64 hex digits", path.display()))?;
    Ok(SecretKey::from_seed(&seed))
}

fn read(path: &Path, max: usize) -> anyhow::Result<Vec<u8>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() > max {
        bail!("{} is longer than {max} bytes", path.display());
    }
    Ok(bytes)
}

/// Hex of any length, where all of it is hex. Canonical genesis bytes start with 0xa6 or 0xa7, which are no hex digits.
fn unhex_any(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end();
    let pair = |at: usize| text.get(at..at + 2).and_then(|pair| unhex::<1>(pair).ok()).map(|[byte]| byte);
    (0..text.len()).step_by(2).map(pair).collect()
}
