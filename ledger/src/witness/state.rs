//! What the witness must never forget: the checkpoint that it cosigned last, and the one that it followed last. Both are notes
//! that the log signed, in a table of the store. A cosignature leaves the process only after its checkpoint is durable here,
//! and what is compared with the one before is compared in the transaction that replaces it.

use std::sync::Arc;

use orion_ledger_core::Checkpoint;
use orion_ledger_core::log::note::Note;
use orion_ledger_core::log::witness_wire::Answer;
use redb::{ReadableTable, TableDefinition};

use crate::store::{Store, StoreError, doing};

/// Notes by what they are.
const NOTES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("witness");
/// The log's signature and the witness's own.
const COSIGNED: &str = "cosigned";
/// The log's signature. Every leaf of the copy is under it.
const FOLLOWED: &str = "followed";

/// A checkpoint, and the note that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) note: Note,
    pub(crate) checkpoint: Checkpoint,
}

/// The table.
pub(crate) struct State {
    store: Arc<Store>,
}

impl State {
    pub(crate) fn open(store: Arc<Store>) -> Result<State, StoreError> {
        let write = store.begin()?;
        write.open_table(NOTES).map_err(doing("make its tables"))?;
        write.commit().map_err(doing("commit its tables"))?;
        Ok(State { store })
    }

    /// The checkpoint that was cosigned last, with the cosignature.
    pub(crate) fn cosigned(&self) -> Result<Option<Point>, StoreError> {
        self.read(COSIGNED)
    }

    /// The checkpoint that was followed last.
    pub(crate) fn followed(&self) -> Result<Option<Point>, StoreError> {
        self.read(FOLLOWED)
    }

    /// From now on the copy takes leaves under this checkpoint. Durable when it returns.
    pub(crate) fn follow(&self, note: &Note) -> Result<(), StoreError> {
        let write = self.store.begin()?;
        {
            let mut table = write.open_table(NOTES).map_err(doing("open its notes"))?;
            table.insert(FOLLOWED, note.to_string().as_bytes()).map_err(doing("write a note"))?;
        }
        write.commit().map_err(doing("commit a note"))
    }

    /// Replaces the checkpoint that was cosigned last by what `judge` makes of it, or keeps it and gives the refusal. Durable
    /// when it returns; nobody else replaces it in between.
    pub(crate) fn cosign(
        &self,
        judge: impl FnOnce(Option<&Checkpoint>) -> Result<Point, Answer>,
    ) -> Result<Result<Point, Answer>, StoreError> {
        let write = self.store.begin()?;
        let point = {
            let mut table = write.open_table(NOTES).map_err(doing("open its notes"))?;
            let last = point(&table, COSIGNED)?;
            match judge(last.as_ref().map(|last| &last.checkpoint)) {
                Ok(point) => {
                    table.insert(COSIGNED, point.note.to_string().as_bytes()).map_err(doing("write a note"))?;
                    point
                }
                Err(refusal) => return Ok(Err(refusal)),
            }
        };
        write.commit().map_err(doing("commit a note"))?;
        Ok(Ok(point))
    }

    fn read(&self, which: &str) -> Result<Option<Point>, StoreError> {
        let snapshot = self.store.snapshot()?;
        point(&snapshot.read.open_table(NOTES).map_err(doing("open its notes"))?, which)
    }
}

fn point(table: &impl ReadableTable<&'static str, &'static [u8]>, which: &str) -> Result<Option<Point>, StoreError> {
    let Some(bytes) = table.get(which).map_err(doing("read a note"))? else { return Ok(None) };
    let damaged = |why: &dyn std::error::Error| StoreError::Damaged(format!("the note {which}: {why}"));
    let note = Note::parse(bytes.value()).map_err(|error| damaged(&error))?;
    let checkpoint = Checkpoint::from_text(note.text()).map_err(|error| damaged(&error))?;
    Ok(Some(Point { note, checkpoint }))
}
