//! Leaves on disk. One redb transaction a block writes its leaves and its seal, with an fsync: that commit is the moment from
//! which the block exists. Nothing is ever overwritten or deleted but what was last signed and published, which only grows.
//! Views of jobs that ended and the ids of transactions lie here too, so that nobody has to remember those; they follow from
//! the leaves, which have the last word.

use std::fs::{self, File};
use std::path::Path;

use orion_ledger_core::Record;
use orion_protocol::ledger::api::SealRef;
use orion_protocol::{CborError, Digest, JobId, cbor};
use redb::{
    Builder, Database, Durability, ReadableDatabase, ReadableTableMetadata, StorageBackend, TableDefinition,
    WriteTransaction, backends::FileBackend,
};

use crate::history;
use crate::publisher::Published;
use crate::records;
use crate::snapshots;

pub use self::snapshot::Snapshot;

mod snapshot;

/// Leaf bytes by index.
const LEAVES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("leaves");
/// Canonical bytes of each block's [`SealRef`], by height.
const SEALS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("seals");
/// The newest published checkpoint under [`CHECKPOINT`], and under [`CLAIMED`] what was or is about to be signed.
const SIGNED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("signed");
/// Canonical bytes of the view of each job that ended, by job id.
const ENDED: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("ended");
const CHECKPOINT: &str = "checkpoint";
/// Size as 8 bytes, big endian, and root. Written by no version that signed in the block's own transaction.
const CLAIMED: &str = "claimed";
/// The note of the largest checkpoint that had its quorum of cosignatures.
const WITNESSED: &str = "witnessed";
/// The file within the data directory.
const FILE: &str = "ledger.redb";
/// The same while it is made.
const UNFINISHED: &str = ".ledger.redb";
/// Locked by whoever makes it.
const MAKING: &str = ".making";
/// What redb may hold in memory of its file, in bytes. Its own choice is 1 GiB, which is all that the chart gives the pod.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// A job that ended, and the canonical bytes of its view.
pub type EndedJob = (JobId, Vec<u8>);

/// Why the store failed. All of these end the process: it is better to stop than to guess.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data directory.
    #[error("cannot use the data directory {path}")]
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
    /// A signature over this would contradict one that was, or may have been, made before.
    #[error("refusing to sign size {size}: size {claimed} with another root or a larger size was claimed before")]
    Claimed {
        /// Asked for.
        size: u64,
        /// Claimed before.
        claimed: u64,
    },
    /// A stored seal cannot be read.
    #[error("the store holds a seal that cannot be read")]
    Seal(#[source] CborError),
}

/// What nobody has to remember once it lies here.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Views of jobs that ended.
    pub ended: Vec<EndedJob>,
    /// Where the log holds what came of transactions.
    pub records: Vec<Record>,
}

pub(crate) fn doing<E: Into<redb::Error>>(doing: &'static str) -> impl Fn(E) -> StoreError {
    move |error| StoreError::Database { doing, source: Box::new(error.into()) }
}

/// The store of one ledger. A second process that opens it is refused by redb's lock.
pub struct Store {
    database: Database,
}

fn backend(file: File) -> Result<FileBackend, StoreError> {
    FileBackend::new(file).map_err(doing("open its file"))
}

impl Kept {
    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.ended.is_empty() && self.records.is_empty()
    }
}

impl Store {
    /// Opens the store in `directory`, making both where needed.
    pub fn open(directory: &Path) -> Result<Store, StoreError> {
        let on_disk = |source| StoreError::Directory { path: directory.display().to_string(), source };
        fs::create_dir_all(directory).map_err(on_disk)?;
        let path = directory.join(FILE);
        if !path.try_exists().map_err(on_disk)? {
            Store::make(directory, &path)?;
        }
        Store::with_backend(backend(File::options().read(true).write(true).open(path).map_err(on_disk)?)?)
    }

    /// Makes the file. redb opens none whose making was cut off, so it has another name until it is whole.
    fn make(directory: &Path, path: &Path) -> Result<(), StoreError> {
        let on_disk = |source| StoreError::Directory { path: directory.display().to_string(), source };
        let (unfinished, making) = (directory.join(UNFINISHED), directory.join(MAKING));
        // Of two processes one makes it, and the other one waits and finds it.
        let lock = File::create(&making).map_err(on_disk)?;
        lock.lock().map_err(on_disk)?;
        if path.try_exists().map_err(on_disk)? {
            // Nobody makes it from here on; a file that stays is empty.
            let _ = fs::remove_file(making);
            return Ok(());
        }
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(true).open(&unfinished).map_err(on_disk)?;
        drop(Store::with_backend(backend(file)?)?);
        fs::rename(&unfinished, path).map_err(on_disk)?;
        let _ = fs::remove_file(making);
        // Its name must survive a power cut as well as its content.
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(on_disk)
    }

    /// Opens the store on what holds its bytes, making it where there are none. It is durable as far as `backend` is. When the
    /// making is cut off, what is left cannot be opened, and holds nothing.
    pub fn with_backend(backend: impl StorageBackend) -> Result<Store, StoreError> {
        let database =
            Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend).map_err(doing("open its file"))?;
        let store = Store { database };
        let write = store.begin()?;
        write.open_table(LEAVES).map_err(doing("make its tables"))?;
        write.open_table(SEALS).map_err(doing("make its tables"))?;
        write.open_table(SIGNED).map_err(doing("make its tables"))?;
        write.open_table(ENDED).map_err(doing("make its tables"))?;
        records::make(&write)?;
        snapshots::make(&write)?;
        history::make(&write)?;
        write.commit().map_err(doing("commit its tables"))?;
        Ok(store)
    }

    /// As [`Store::open`], where there is a store.
    pub fn open_existing(directory: &Path) -> Result<Store, StoreError> {
        let path = directory.join(FILE);
        match fs::metadata(&path) {
            Ok(_) => Store::open(directory),
            Err(source) => Err(StoreError::Directory { path: path.display().to_string(), source }),
        }
    }

    /// Adds a block after all others: `leaves` at the index where the log ends, and what is `kept` of it. Durable when it
    /// returns.
    pub fn commit(&self, leaves: &[Vec<u8>], seal: &SealRef, kept: &Kept) -> Result<(), StoreError> {
        self.append([(leaves, seal)], kept)
    }

    /// Adds blocks as [`Store::commit`] does, all of them or none.
    pub(crate) fn append<'b>(
        &self,
        blocks: impl IntoIterator<Item = (&'b [Vec<u8>], &'b SealRef)>,
        kept: &Kept,
    ) -> Result<(), StoreError> {
        let write = self.begin()?;
        insert(&write, kept)?;
        {
            let mut table = write.open_table(LEAVES).map_err(doing("open its leaves"))?;
            let mut seals = write.open_table(SEALS).map_err(doing("open its seals"))?;
            let mut at = table.len().map_err(doing("count its leaves"))?;
            for (leaves, seal) in blocks {
                if at + leaves.len() as u64 != seal.size {
                    let why = format!("{at} leaves stored, the next block ends at {}", seal.size);
                    return Err(StoreError::Damaged(why));
                }
                for (at, leaf) in (at..).zip(leaves) {
                    table.insert(at, leaf.as_slice()).map_err(doing("write a leaf"))?;
                }
                seals.insert(seal.height, cbor::to_vec(seal).as_slice()).map_err(doing("write a seal"))?;
                history::insert(&write, at, leaves.iter().map(Vec::as_slice))?;
                at = seal.size;
            }
        }
        write.commit().map_err(doing("commit a block"))
    }

    /// Lays down that the log of `size` leaves has this root, and no other will ever be signed. Durable when it returns.
    pub fn claim(&self, size: u64, root: &Digest) -> Result<(), StoreError> {
        let write = self.begin()?;
        {
            let mut table = write.open_table(SIGNED).map_err(doing("open its checkpoint"))?;
            let claimed = snapshot::claimed(&table)?;
            if claimed == Some((size, *root)) {
                return Ok(());
            }
            if let Some((claimed, _)) = claimed.filter(|(claimed, _)| *claimed >= size) {
                return Err(StoreError::Claimed { size, claimed });
            }
            let row = [size.to_be_bytes().as_slice(), &root.0].concat();
            table.insert(CLAIMED, row.as_slice()).map_err(doing("claim a size"))?;
        }
        write.commit().map_err(doing("commit a claim"))
    }

    /// Stores a signed checkpoint as the newest, unless one of a larger size is. Durable when it returns.
    pub fn publish(&self, published: &Published) -> Result<(), StoreError> {
        let write = self.begin()?;
        {
            let mut table = write.open_table(SIGNED).map_err(doing("open its checkpoint"))?;
            if snapshot::published(&table)?.is_some_and(|newest| newest.size > published.size) {
                return Ok(());
            }
            table.insert(CHECKPOINT, published.note.as_bytes()).map_err(doing("write a checkpoint"))?;
        }
        write.commit().map_err(doing("commit a checkpoint"))
    }

    /// Keeps a note that has its quorum of cosignatures, in place of the one before. Durable when it returns.
    pub fn witness(&self, note: &str) -> Result<(), StoreError> {
        let write = self.begin()?;
        {
            let mut table = write.open_table(SIGNED).map_err(doing("open its checkpoint"))?;
            table.insert(WITNESSED, note.as_bytes()).map_err(doing("write a witnessed checkpoint"))?;
        }
        write.commit().map_err(doing("commit a witnessed checkpoint"))
    }

    /// Adds or replaces views, and adds records: a store of an earlier version has none, or others.
    pub fn add(&self, kept: &Kept) -> Result<(), StoreError> {
        let write = self.begin()?;
        insert(&write, kept)?;
        write.commit().map_err(doing("commit what it keeps"))
    }

    /// Every transaction leaves behind what opening needs after a crash: without that, redb walks the whole file first. It
    /// also commits in two phases, which strangers who choose what is stored cannot trick into a half commit.
    pub(crate) fn begin(&self) -> Result<WriteTransaction, StoreError> {
        let mut write = self.database.begin_write().map_err(doing("begin to write"))?;
        write.set_durability(Durability::Immediate).map_err(doing("ask for durability"))?;
        write.set_quick_repair(true);
        Ok(write)
    }

    /// The store as it is now, while blocks go on being added.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Ok(Snapshot { read: self.database.begin_read().map_err(doing("begin to read"))? })
    }
}

fn insert(write: &WriteTransaction, kept: &Kept) -> Result<(), StoreError> {
    let Kept { ended, records } = kept;
    let mut table = write.open_table(ENDED).map_err(doing("open its views"))?;
    for (job, view) in ended {
        table.insert(job.0.as_slice(), view.as_slice()).map_err(doing("write a view"))?;
    }
    records::insert(write, records)
}
