//! How a running ledger comes out of its store: from the newest good snapshot or from the genesis, by replay of the leaves after
//! it, compared with the stored seal, with what was signed and published, and with what is kept of transactions and jobs. It halts
//! with the reason rather than go on from a log that does not replay.

use std::path::Path;

use orion_ledger_core::{Chain, Checkpoint, Replay, Signer, VerifierKey};
use orion_protocol::ledger::Genesis;
use orion_protocol::ledger::api::SealRef;
use orion_protocol::{Digest, SecretKey};

use crate::history;
use crate::node::{NodeError, encoded};
use crate::publisher::Published;
use crate::snapshots::{self, Since};
use crate::store::{Kept, Snapshot, Store, StoreError};

/// While it replays, records of transactions go to the store so many at a time.
const KEEP_AT_ONCE: usize = 4096;

/// A chain as it is on disk.
pub(crate) struct Started {
    pub(crate) chain: Chain,
    pub(crate) signer: Signer,
    /// The newest checkpoint that was published.
    pub(crate) published: Option<Published>,
    /// What came after the snapshot that it started from.
    pub(crate) since: Since,
}

/// Begins a chain in an empty store.
pub(crate) fn first(store: &Store, genesis: &Genesis, secret: SecretKey, now_ms: u64) -> Result<Started, NodeError> {
    let size = store.snapshot()?.size()?;
    if size > 0 {
        return Err(StoreError::Damaged(format!("{size} leaves without a seal")).into());
    }
    let (chain, block) = Chain::start(&genesis.to_bytes(), now_ms).map_err(NodeError::Block)?;
    let signer = Signer::new(chain.id(), secret, None);
    store.commit(&block.leaves, &block.seal, &Kept::default())?;
    tracing::info!(chain = %chain.id(), key = %signer.key(), "a new chain starts");
    let mut since = Since::default();
    since.add(&block.leaves);
    Ok(Started { chain, signer, published: None, since })
}

/// Goes on where the store ends, which is at `head`. `marked`: what the mark outside of the volume says was signed.
pub(crate) fn again(
    directory: &Path,
    store: &Store,
    genesis: &Genesis,
    secret: SecretKey,
    head: SealRef,
    marked: Option<(u64, Digest)>,
) -> Result<Started, NodeError> {
    let snapshot = store.snapshot()?;
    let published = snapshot.published()?;
    let claimed = snapshot.claimed()?;
    let key = VerifierKey::new(&genesis.chain(), secret.public());
    // Judged after the log: of two things that are wrong, that one says more.
    let opened = published.as_ref().map(|published| Checkpoint::open(published.note.as_bytes(), &key)).transpose();
    let shown = published.as_ref().map(|published| (published.size, published.root));
    let mut unmet: Vec<(u64, Digest)> = claimed.into_iter().chain(shown).chain(marked).collect();
    // All that was signed must be met on the way: a snapshot of more leaves would hide a fork.
    let max_size = unmet.iter().map(|(size, _)| *size).min().unwrap_or(0).min(head.size);
    let restored = snapshots::newest(directory, &snapshot, genesis, max_size)?;
    let mut meet = |seal: &SealRef| unmet.retain(|signed| *signed != (seal.size, seal.root));
    if let Some((chain, _)) = &restored {
        meet(&chain.seal_ref());
    }
    let (from, bytes) = restored.as_ref().map_or((0, 0), |(chain, bytes)| (chain.seal_ref().size, *bytes));
    let mut replay = restored.map_or_else(|| Replay::new(genesis.chain()), |(chain, _)| Replay::resume(chain));
    let since = replay_from(store, &snapshot, &mut replay, from, meet)?;
    let chain = replay.finish().map_err(NodeError::Replay)?;
    let replayed = chain.seal_ref();
    if replayed != head {
        return Err(NodeError::Head { stored: Box::new(head), replayed: Box::new(replayed) });
    }
    opened.map_err(NodeError::Checkpoint)?;
    if let Some((size, _)) = unmet.first() {
        return Err(NodeError::Forked(*size));
    }
    // Whoever deletes the snapshots, so that every leaf is checked, has histories checked as well.
    history::fill(store, from == 0)?;
    let (height, size) = (replayed.height, replayed.size);
    tracing::info!(chain = %chain.id(), height, size, replayed = since.leaves, "the ledger goes on");
    // A volume that was restored may know less than the mark.
    let last = claimed.max(marked).map(|(size, root)| Checkpoint { origin: genesis.chain().log_origin(), size, root });
    let signer = Signer::new(chain.id(), secret, last.as_ref());
    Ok(Started { chain, signer, published, since: Since { last: bytes, ..since } })
}

/// Replays the leaves from `from` on; says how many they were, and gives every seal to `meet`.
pub(crate) fn replay_from(
    store: &Store,
    snapshot: &Snapshot,
    replay: &mut Replay,
    from: u64,
    mut meet: impl FnMut(&SealRef),
) -> Result<Since, NodeError> {
    let (mut kept, mut since) = (Kept::default(), Since::default());
    let mut done = Ok(());
    snapshot.leaves_from(from, |leaf| {
        since.count(leaf);
        done = replay.leaf(leaf).map_err(NodeError::Replay).and_then(|seal| {
            let Some(seal) = seal else { return Ok(()) };
            meet(&seal);
            kept.ended.extend(encoded(replay.shed()));
            kept.records.extend(replay.take_records());
            if kept.records.len() < KEEP_AT_ONCE { Ok(()) } else { keep(store, snapshot, std::mem::take(&mut kept)) }
        });
        done.is_ok()
    })?;
    done?;
    keep(store, snapshot, kept)?;
    Ok(since)
}

/// Stores what is missing of that which nobody has to remember, or is not what the log says: earlier versions stored none of
/// it, and what they did store may have had another form.
fn keep(store: &Store, snapshot: &Snapshot, kept: Kept) -> Result<(), NodeError> {
    let lacking = snapshot.lacks(kept)?;
    if lacking.is_empty() { Ok(()) } else { Ok(store.add(&lacking)?) }
}
