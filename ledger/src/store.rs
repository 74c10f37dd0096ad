//! Leaves on disk. One redb transaction a block writes its leaves, its seal and the checkpoint signed over it, with an
//! fsync: that commit is the moment from which the block exists. Nothing is ever overwritten or deleted but the head. Views of
//! jobs that ended lie here too, so that nobody has to remember those; they follow from the leaves, which have the last word.

use std::fs::{self, File};
use std::path::Path;

use orion_protocol::ledger::api::SealRef;
use orion_protocol::{CborError, JobId, cbor};
use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};

/// Leaf bytes by index.
const LEAVES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("leaves");
/// Canonical bytes of each block's [`SealRef`], by height.
const SEALS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("seals");
/// The last signed checkpoint, under the one key [`CHECKPOINT`].
const SIGNED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("signed");
/// Canonical bytes of the view of each job that ended, by job id.
const ENDED: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("ended");
const CHECKPOINT: &str = "checkpoint";
/// The file within the data directory.
const FILE: &str = "ledger.redb";
/// A seal's canonical bytes are shorter.
const MAX_SEAL_BYTES: usize = 256;

/// A job that ended, and the canonical bytes of its view.
pub type EndedJob = (JobId, Vec<u8>);

/// Why the store failed. All of these end the process: it is better to stop than to guess.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data directory.
    #[error("cannot prepare the data directory {path}")]
    Directory {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The database, by what was attempted.
    #[error("the store cannot {doing}")]
    Database {
        /// What was attempted.
        doing: &'static str,
        /// Why.
        #[source]
        source: Box<redb::Error>,
    },
    /// What is stored is not what was written.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// A stored seal cannot be read.
    #[error("the store holds a seal that cannot be read")]
    Seal(#[source] CborError),
}

fn doing<E: Into<redb::Error>>(doing: &'static str) -> impl Fn(E) -> StoreError {
    move |error| StoreError::Database { doing, source: Box::new(error.into()) }
}

/// The store of one ledger. A second process that opens it is refused by redb's lock.
pub struct Store {
    database: Database,
}

impl Store {
    /// Opens the store in `directory`, making both where needed.
    pub fn open(directory: &Path) -> Result<Store, StoreError> {
        let on_disk = |source| StoreError::Directory { path: directory.display().to_string(), source };
        fs::create_dir_all(directory).map_err(on_disk)?;
        let database = Database::create(directory.join(FILE)).map_err(doing("open its file"))?;
        let store = Store { database };
        let write = store.database.begin_write().map_err(doing("begin"))?;
        write.open_table(LEAVES).map_err(doing("make its tables"))?;
        write.open_table(SEALS).map_err(doing("make its tables"))?;
        write.open_table(SIGNED).map_err(doing("make its tables"))?;
        write.open_table(ENDED).map_err(doing("make its tables"))?;
        write.commit().map_err(doing("commit its tables"))?;
        // The file's name must survive a power cut as well as its content.
        File::open(directory).and_then(|dir| dir.sync_all()).map_err(on_disk)?;
        Ok(store)
    }

    /// Adds a block after all others: `leaves` at the index where the log ends, and the views of jobs that `ended` in it.
    /// Durable when it returns.
    pub fn commit(
        &self,
        leaves: &[Vec<u8>],
        seal: &SealRef,
        checkpoint: &str,
        ended: &[EndedJob],
    ) -> Result<(), StoreError> {
        let mut write = self.database.begin_write().map_err(doing("begin a block"))?;
        write.set_durability(Durability::Immediate).map_err(doing("ask for durability"))?;
        insert_ended(&write, ended)?;
        {
            let mut table = write.open_table(LEAVES).map_err(doing("open its leaves"))?;
            let from = table.len().map_err(doing("count its leaves"))?;
            if from + leaves.len() as u64 != seal.size {
                return Err(StoreError::Damaged(format!("{from} leaves stored, the next block ends at {}", seal.size)));
            }
            for (at, leaf) in (from..).zip(leaves) {
                table.insert(at, leaf.as_slice()).map_err(doing("write a leaf"))?;
            }
            let mut table = write.open_table(SEALS).map_err(doing("open its seals"))?;
            table.insert(seal.height, cbor::to_vec(seal).as_slice()).map_err(doing("write a seal"))?;
            let mut table = write.open_table(SIGNED).map_err(doing("open its checkpoint"))?;
            table.insert(CHECKPOINT, checkpoint.as_bytes()).map_err(doing("write a checkpoint"))?;
        }
        write.commit().map_err(doing("commit a block"))
    }

    /// Adds or replaces views: a store of an earlier version has none, or others.
    pub fn add_ended(&self, ended: &[EndedJob]) -> Result<(), StoreError> {
        let write = self.database.begin_write().map_err(doing("begin to add views"))?;
        insert_ended(&write, ended)?;
        write.commit().map_err(doing("commit views"))
    }

    /// The store as it is now, while blocks go on being added.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Ok(Snapshot { read: self.database.begin_read().map_err(doing("begin to read"))? })
    }
}

fn insert_ended(write: &WriteTransaction, ended: &[EndedJob]) -> Result<(), StoreError> {
    let mut table = write.open_table(ENDED).map_err(doing("open its views"))?;
    for (job, view) in ended {
        table.insert(job.0.as_slice(), view.as_slice()).map_err(doing("write a view"))?;
    }
    Ok(())
}

/// The store as it was at one moment.
pub struct Snapshot {
    read: ReadTransaction,
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

    /// The last signed checkpoint.
    pub fn checkpoint(&self) -> Result<Option<String>, StoreError> {
        let table = self.read.open_table(SIGNED).map_err(doing("open its checkpoint"))?;
        let Some(bytes) = table.get(CHECKPOINT).map_err(doing("read its checkpoint"))? else { return Ok(None) };
        let text = String::from_utf8(bytes.value().to_vec());
        text.map(Some).map_err(|_| StoreError::Damaged("the checkpoint is not text".into()))
    }

    /// The canonical bytes of the view of a job that ended.
    pub fn ended(&self, job: &JobId) -> Result<Option<Vec<u8>>, StoreError> {
        let table = self.read.open_table(ENDED).map_err(doing("open its views"))?;
        let view = table.get(job.0.as_slice()).map_err(doing("read a view"))?;
        Ok(view.map(|view| view.value().to_vec()))
    }

    /// Gives every leaf in order to `each`, until it says `false`.
    pub fn leaves(&self, mut each: impl FnMut(&[u8]) -> bool) -> Result<(), StoreError> {
        let table = self.read.open_table(LEAVES).map_err(doing("open its leaves"))?;
        for (want, row) in (0_u64..).zip(table.iter().map_err(doing("read its leaves"))?) {
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
