//! The store as it was at one moment: all that is read of it, while blocks go on being added.

use std::cmp::Ordering;

use orion_ledger_core::log::note::Note;
use orion_ledger_core::{Checkpoint, Recall, Said};
use orion_protocol::ledger::api::{SealRef, Submitted};
use orion_protocol::ledger::{Leaf, LeafBody};
use orion_protocol::{Digest, JobId, cbor};
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};

use super::{CHECKPOINT, CLAIMED, ENDED, Kept, LEAVES, SEALS, SIGNED, StoreError, WITNESSED, doing};
use crate::publisher::Published;
use crate::records::{self, Row};

/// A seal's canonical bytes are shorter.
const MAX_SEAL_BYTES: usize = 256;

/// The store as it was at one moment.
pub struct Snapshot {
    pub(crate) read: ReadTransaction,
}

impl Snapshot {
    /// How many leaves there are.
    pub fn size(&self) -> Result<u64, StoreError> {
        let table = self.read.open_table(LEAVES).map_err(doing("open its leaves"))?;
        table.len().map_err(doing("count its leaves"))
    }

    /// The last seal.
    pub fn head(&self) -> Result<Option<SealRef>, StoreError> {
        let table = self.read.open_table(SEALS).map_err(doing("open its seals"))?;
        let Some((_, bytes)) = table.last().map_err(doing("read its last seal"))? else { return Ok(None) };
        cbor::from_slice("seal reference", bytes.value(), MAX_SEAL_BYTES).map(Some).map_err(StoreError::Seal)
    }

    /// The newest published checkpoint. Whose signatures are on it was not checked.
    pub fn published(&self) -> Result<Option<Published>, StoreError> {
        published(&self.read.open_table(SIGNED).map_err(doing("open its checkpoint"))?)
    }

    /// The note that had its quorum last. Whose signatures are on it was not checked.
    pub fn witnessed(&self) -> Result<Option<String>, StoreError> {
        let table = self.read.open_table(SIGNED).map_err(doing("open its checkpoint"))?;
        let Some(bytes) = table.get(WITNESSED).map_err(doing("read its witnessed checkpoint"))? else {
            return Ok(None);
        };
        let note = String::from_utf8(bytes.value().to_vec());
        note.map(Some).map_err(|_| StoreError::Damaged("the witnessed checkpoint is not text".into()))
    }

    /// Size and root of what was, or was about to be, signed last.
    pub fn claimed(&self) -> Result<Option<(u64, Digest)>, StoreError> {
        claimed(&self.read.open_table(SIGNED).map_err(doing("open its checkpoint"))?)
    }

    /// The seal of the block at `height`.
    pub(crate) fn seal(&self, height: u64) -> Result<SealRef, StoreError> {
        let table = self.read.open_table(SEALS).map_err(doing("open its seals"))?;
        let bytes = table.get(height).map_err(doing("read a seal"))?;
        let bytes = bytes.ok_or_else(|| StoreError::Damaged(format!("the seal of block {height} is missing")))?;
        cbor::from_slice("seal reference", bytes.value(), MAX_SEAL_BYTES).map_err(StoreError::Seal)
    }

    /// The seal of the block that ends at `size` leaves.
    pub(crate) fn seal_of(&self, size: u64) -> Result<Option<SealRef>, StoreError> {
        let (mut from, mut to) = (0, self.head()?.map_or(0, |head| head.height + 1));
        while from < to {
            let middle = from + (to - from) / 2;
            let seal = self.seal(middle)?;
            match seal.size.cmp(&size) {
                Ordering::Equal => return Ok(Some(seal)),
                Ordering::Less => from = middle + 1,
                Ordering::Greater => to = middle,
            }
        }
        Ok(None)
    }

    /// What came of a transaction before: what the store keeps of it.
    pub fn recall(&self, said: &Said) -> Result<Recall, StoreError> {
        let [sent, stale] = records::find(&self.read, said)?;
        let sent = sent.map(|row| Ok::<_, StoreError>((row.payload, self.submitted(&row)?))).transpose()?;
        Ok(Recall { sent, stale: stale.map(|row| self.submitted(&row)).transpose()? })
    }

    /// The leaf with this index.
    pub(crate) fn leaf(&self, at: u64) -> Result<Vec<u8>, StoreError> {
        let table = self.read.open_table(LEAVES).map_err(doing("open its leaves"))?;
        let leaf = table.get(at).map_err(doing("read a leaf"))?;
        let leaf = leaf.ok_or_else(|| StoreError::Damaged(format!("leaf {at} is missing")))?;
        Ok(leaf.value().to_vec())
    }

    /// What the leaf of a recorded transaction says.
    fn submitted(&self, row: &Row) -> Result<Submitted, StoreError> {
        let Row { payload: _, leaf: at, height } = *row;
        match Leaf::from_bytes(&self.leaf(at)?) {
            Ok(Leaf { height: block, body: LeafBody::Transaction(_, receipt), .. }) if block == height => {
                Ok(Submitted { leaf: at, receipt, seal: self.seal(height)? })
            }
            _ => {
                Err(StoreError::Damaged(format!("leaf {at} is not the transaction of block {height} that is recorded")))
            }
        }
    }

    /// What of `kept` the store does not have, or has otherwise.
    pub fn lacks(&self, kept: Kept) -> Result<Kept, StoreError> {
        let mut lacking = Kept::default();
        for (job, view) in kept.ended {
            let stored = self.ended(&job)?;
            if stored.as_ref() == Some(&view) {
                continue;
            }
            if stored.is_some() {
                tracing::warn!(%job, "the stored view of a job is not what the log says, and is replaced");
            }
            lacking.ended.push((job, view));
        }
        for record in kept.records {
            if !records::has(&self.read, &record)? {
                lacking.records.push(record);
            }
        }
        Ok(lacking)
    }

    /// The canonical bytes of the view of a job that ended.
    pub fn ended(&self, job: &JobId) -> Result<Option<Vec<u8>>, StoreError> {
        let table = self.read.open_table(ENDED).map_err(doing("open its views"))?;
        let view = table.get(job.0.as_slice()).map_err(doing("read a view"))?;
        Ok(view.map(|view| view.value().to_vec()))
    }

    /// Gives every leaf in order to `each`, until it says `false`.
    pub fn leaves(&self, each: impl FnMut(&[u8]) -> bool) -> Result<(), StoreError> {
        self.leaves_from(0, each)
    }

    /// As [`Snapshot::leaves`], from the leaf with this index on.
    pub fn leaves_from(&self, from: u64, mut each: impl FnMut(&[u8]) -> bool) -> Result<(), StoreError> {
        let table = self.read.open_table(LEAVES).map_err(doing("open its leaves"))?;
        for (want, row) in (from..).zip(table.range(from..).map_err(doing("read its leaves"))?) {
            let (at, leaf) = row.map_err(doing("read a leaf"))?;
            if at.value() != want {
                return Err(StoreError::Damaged(format!("leaf {want} is missing")));
            }
            if !each(leaf.value()) {
                break;
            }
        }
        Ok(())
    }
}

/// What was, or was about to be, signed last.
pub(super) fn claimed(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<Option<(u64, Digest)>, StoreError> {
    let Some(row) = table.get(CLAIMED).map_err(doing("read its claim"))? else {
        // A version that claimed nothing published all that it signed.
        return Ok(published(table)?.map(|published| (published.size, published.root)));
    };
    let parts = row.value().split_first_chunk::<8>();
    let claim = parts.and_then(|(size, root)| Some((u64::from_be_bytes(*size), Digest(root.try_into().ok()?))));
    claim.map(Some).ok_or_else(|| StoreError::Damaged("what was claimed cannot be read".into()))
}

/// The newest published checkpoint.
pub(super) fn published(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<Option<Published>, StoreError> {
    let Some(bytes) = table.get(CHECKPOINT).map_err(doing("read its checkpoint"))? else { return Ok(None) };
    let damaged = |error: &dyn std::error::Error| StoreError::Damaged(format!("the stored checkpoint: {error}"));
    let note = String::from_utf8(bytes.value().to_vec()).map_err(|error| damaged(&error))?;
    let text = Note::parse(note.as_bytes()).map_err(|error| damaged(&error))?;
    let Checkpoint { origin: _, size, root } = Checkpoint::from_text(text.text()).map_err(|error| damaged(&error))?;
    Ok(Some(Published { size, root, note }))
}
