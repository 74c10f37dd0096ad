//! What the witness's loop and its routes share, and how both compare a checkpoint with the copy.

use std::sync::{Arc, Mutex, PoisonError};

use orion_ledger_core::log::fork::Evidence;
use orion_ledger_core::log::note::{Checked, Note, NoteSignature, NoteSigner};
use orion_ledger_core::log::prove::prefix;
use orion_ledger_core::proof::prefix_roots;
use orion_ledger_core::{Checkpoint, VerifierKey};
use orion_protocol::Digest;
use orion_protocol::merkle::{Scheme as _, Sha256};
use tokio::sync::{Notify, watch};

use super::copy::{Copy, damaged};
use super::evidence::Files;
use super::metrics::Metrics;
use super::state::{Point, State};
use super::{Limits, WitnessError};
use crate::clock::Clock;
use crate::store::{Store, StoreError};
use crate::tiles::Tiles;

/// What the log shows, and whether that could be followed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) size: Option<u64>,
    pub(crate) trouble: Option<String>,
}

/// What loop and routes share.
pub(crate) struct Shared {
    pub(crate) key: VerifierKey,
    pub(crate) signer: NoteSigner,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    pub(crate) tiles: Arc<Tiles>,
    pub(crate) store: Arc<Store>,
    pub(crate) state: State,
    pub(crate) files: Files,
    /// The checkpoint up to which everything was replayed.
    pub(crate) reached: watch::Sender<Option<Arc<Point>>>,
    /// The checkpoint that was cosigned last.
    pub(crate) cosigned: watch::Sender<Option<Arc<Point>>>,
    /// Somebody waits for the log to be looked at.
    pub(crate) wake: Notify,
    pub(crate) metrics: Metrics,
    pub(super) seen: Mutex<Seen>,
}

impl Shared {
    /// What was cosigned must be what the copy says: a table that is older or newer than the rest would let a size be signed
    /// twice.
    pub(super) fn compare_cosigned(&self, copy: &Copy) -> Result<(), WitnessError> {
        self.metrics.replayed_size.set(copy.committed());
        self.metrics.stopped.set(u64::from(self.files.stopped().is_some()));
        let Some(cosigned) = self.cosigned.borrow().clone() else { return Ok(()) };
        self.metrics.cosigned_size.set(cosigned.checkpoint.size);
        let Checkpoint { origin: _, size, root } = cosigned.checkpoint;
        let all = copy.committed();
        let there = size <= all && self.root_at(size, all, copy.root())?.0 == root;
        if there { Ok(()) } else { Err(WitnessError::Cosigned(size)) }
    }

    /// What the first `size` leaves of the copy hash to, and the nodes that show it to whoever has the root of all.
    fn root_at(&self, size: u64, all: u64, root: Digest) -> Result<(Digest, Vec<[u8; 32]>), StoreError> {
        if size == all || size == 0 {
            return Ok((if size == all { root } else { Digest(Sha256::empty()) }, Vec::new()));
        }
        let nodes = prefix(size, all, self.tiles.as_ref()).map_err(|error| damaged(&error))?;
        match prefix_roots(size, all, &nodes) {
            Some((start, whole)) if Digest(whole) == root => Ok((Digest(start), nodes)),
            _ => Err(StoreError::Damaged(format!("the tiles of the copy do not hash to its root at {all} leaves"))),
        }
    }

    /// Compares a checkpoint, which the log signed, with what was replayed, which is not smaller; a difference is a fork.
    pub(crate) fn contradicts(
        &self,
        point: &Point,
        reached: &Point,
        shown: &str,
    ) -> Result<Option<Evidence>, StoreError> {
        let (size, all) = (point.checkpoint.size, reached.checkpoint.size);
        let (own, nodes) = self.root_at(size, all, reached.checkpoint.root)?;
        Ok((own != point.checkpoint.root).then(|| forked(&self.key, point, reached, nodes, shown)))
    }

    /// The note with the log's own signature alone: what others add is bounded by nobody, and proves nothing here.
    pub(crate) fn stripped(&self, note: &Note) -> Note {
        let by_log = |signature: &NoteSignature| {
            let mut one = Note::new(note.text().to_owned()).ok()?;
            one.add(signature.clone()).ok()?;
            matches!(self.key.note_key().verify(&one), Checked::Good { .. }).then_some(one)
        };
        note.signatures().iter().find_map(by_log).unwrap_or_else(|| note.clone())
    }

    /// Shows a checkpoint that was cosigned, unless a larger one is shown.
    pub(crate) fn show_cosigned(&self, point: Point) {
        self.cosigned.send_if_modified(|shown| {
            let larger = shown.as_ref().is_some_and(|shown| shown.checkpoint.size > point.checkpoint.size);
            if !larger {
                self.metrics.cosigned_size.set(point.checkpoint.size);
                *shown = Some(Arc::new(point));
            }
            !larger
        });
    }

    /// Stops, for good.
    pub(crate) fn refuse(&self, evidence: &Evidence) {
        self.files.refuse(evidence);
        self.metrics.stopped.set(1);
        // Whoever waits for a replay hears of it.
        self.reached.send_modify(|_| ());
    }

    /// What the log showed last.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn saw(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Evidence of two checkpoints of one log that no one log has. `nodes`: see [`orion_ledger_core::log::fork::Claim::Fork`].
pub(super) fn forked(key: &VerifierKey, one: &Point, other: &Point, nodes: Vec<[u8; 32]>, shown: &str) -> Evidence {
    let say = |point: &Point| format!("{} leaves with root {}", point.checkpoint.size, point.checkpoint.root);
    let words = format!(
        "{} signed two checkpoints that no one log has: of {}, {shown}, and of {}, which was followed before",
        key.name(),
        say(one),
        say(other)
    );
    Evidence::fork(one.note.clone(), other.note.clone(), nodes, &words)
}
