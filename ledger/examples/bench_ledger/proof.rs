//! How long a proof is that an entry is in the log, under a checkpoint with five cosignatures: over the leaves of a store, and
//! over a log that is too large to make, of which only the hashes beside the path are made up. Both verify.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use orion_ledger::store::Store;
use orion_ledger_core::log::note::{KeyType, Note, NoteSigner};
use orion_ledger_core::log::proof_file::ProofFile;
use orion_ledger_core::log::prove::{Levels, inclusion};
use orion_ledger_core::log::trust::Trust;
use orion_ledger_core::{Checkpoint, VerifierKey};
use orion_protocol::ids::ChainId;
use orion_protocol::merkle::{self, Sha256};
use orion_protocol::{Digest, SecretKey};

use crate::deposits::Deposits;

/// Witnesses that cosign.
pub const COSIGNERS: u8 = 5;
/// Leaves of the log that is computed.
pub const COMPUTED_LEAVES: u64 = 100_000_000;

/// A proof's length.
pub struct Proof {
    pub leaves: u64,
    pub hashes: usize,
    pub bytes: usize,
}

/// The longest proof over the leaves that lie in `data`, which nobody else has open: that of the first one.
pub fn real(data: &Path, chain: &ChainId) -> Result<Proof> {
    let store = Store::open(data).context("opening the store")?;
    let (mut hashes, mut first) = (Vec::new(), Vec::new());
    store.snapshot()?.leaves(|leaf| {
        if hashes.is_empty() {
            first = leaf.to_vec();
        }
        hashes.push(Sha256::leaf(leaf));
        true
    })?;
    let size = hashes.len() as u64;
    let root = merkle::root::<Sha256>(&hashes);
    let path = inclusion(size, 0, &Levels::of(&hashes)).context("making a proof")?;
    checked(chain, &first, size, root, path)
}

/// The same over a log of 10^8 leaves.
pub fn computed(chain: &ChainId) -> Result<Proof> {
    let leaf = b"the first leaf of a large log";
    // As many as a tree of this size is high.
    let path: Vec<[u8; 32]> =
        (0..COMPUTED_LEAVES.next_power_of_two().ilog2()).map(|level| Digest::of(&level.to_be_bytes()).0).collect();
    let root = merkle::root_from_path::<Sha256>(Sha256::leaf(leaf), 0, COMPUTED_LEAVES, &path);
    checked(chain, leaf, COMPUTED_LEAVES, root.context("the path is not one of this log")?, path)
}

/// Signs and cosigns the root, and reads the proof again as its reader does.
fn checked(chain: &ChainId, leaf: &[u8], size: u64, root: [u8; 32], path: Vec<[u8; 32]>) -> Result<Proof> {
    let origin = chain.log_origin();
    let text = Checkpoint { origin: origin.clone(), size, root: Digest(root) }.text();
    let secret = Deposits::checkpoint_key();
    let mut note = Note::new(text.clone()).context("making a checkpoint")?;
    note.add(NoteSigner::new(&origin, KeyType::Ed25519, secret.clone())?.sign(&text, 0))?;
    let mut witnesses = Vec::new();
    for number in 0..COSIGNERS {
        let name = format!("witness-{number}.some-provider.example.com/orion");
        let witness = NoteSigner::new(&name, KeyType::Cosignature, SecretKey::from_seed(&[100 + number; 32]))?;
        note.add(witness.sign(&text, 1_800_000_000))?;
        witnesses.push((format!("w{number}"), witness.key().clone()));
    }
    let lines: Vec<String> = witnesses.iter().map(|(name, key)| format!("witness {name} {key}\n")).collect();
    let names: Vec<&str> = witnesses.iter().map(|(name, _)| name.as_str()).collect();
    let log = VerifierKey::new(chain, secret.public());
    let trust = format!("log {log}\n{}group all all {}\nquorum all\n", lines.concat(), names.join(" "));
    let trust = Trust::parse(trust.as_bytes()).context("reading whom to trust")?;
    let file = ProofFile { extra: None, index: 0, path, note }.to_string();
    let proof = ProofFile::parse(file.as_bytes()).context("reading the proof")?;
    let judged = trust.judge(&proof.note).context("judging the checkpoint")?;
    ensure!(judged.accepted() && proof.holds(leaf, &judged.checkpoint), "the proof does not verify");
    Ok(Proof { leaves: size, hashes: proof.path.len(), bytes: file.len() })
}
