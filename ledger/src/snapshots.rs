//! Snapshots of the chain beside the store, so that a start replays only the leaves after the newest: files `snapshot-<leaves>`,
//! their digests in the store. One that is missing, damaged or of another version is passed over; without any, all is replayed.
//! Deleting them is always safe, and makes the next start check every leaf again.
//!
//! A file is complete before the store knows its digest, and is never changed. Two are kept.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use orion_ledger_core::{Chain, snapshot};
use orion_protocol::Digest;
use orion_protocol::ledger::Genesis;
use orion_protocol::ledger::api::SealRef;
use redb::{ReadableTable, TableDefinition};

use crate::engine::SnapshotInfo;
use crate::store::{Snapshot, Store, StoreError, doing};

/// Leaves that a snapshot covers, to height (big endian) and digest.
const SNAPSHOTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("snapshots");
/// How many are kept: the one before the newest, in case that cannot be read.
const KEPT: usize = 2;
/// A snapshot comes after so many leaves at the earliest: replaying them takes about 0.3 s,
const MIN_LEAVES: u64 = 4096;
/// and after so many times its own bytes in leaves, so that a large state is not written over and over.
const MIN_TIMES: u64 = 8;

/// The one format that there is.
const FORMAT: u32 = 1;
/// Others fetch them in pieces of so many bytes.
const CHUNK: usize = 1024 * 1024;
/// Why nobody starts from another one's.
pub(crate) const NO_LEAVES: &str = "a snapshot holds no leaves: replay the log";

/// Why a snapshot could not be written. The ledger goes on without.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("cannot write the snapshot {path}")]
    File {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot file the snapshot's digest")]
    Store(#[from] StoreError),
}

/// Decides when a snapshot is due, and writes it on a thread of its own.
pub(crate) struct Snapshots {
    directory: PathBuf,
    store: Arc<Store>,
    since: Since,
    writing: Option<JoinHandle<()>>,
}

/// What came after the last snapshot.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Since {
    /// Leaves.
    pub(crate) leaves: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Bytes of that snapshot; 0 without one.
    pub(crate) last: u64,
}

impl Since {
    pub(crate) fn add(&mut self, leaves: &[Vec<u8>]) {
        for leaf in leaves {
            self.count(leaf);
        }
    }

    pub(crate) fn count(&mut self, leaf: &[u8]) {
        self.leaves += 1;
        self.bytes += leaf.len() as u64;
    }

    fn due(&self) -> bool {
        self.leaves >= MIN_LEAVES && self.bytes / MIN_TIMES >= self.last
    }
}

impl Snapshots {
    pub(crate) fn new(directory: &Path, store: Arc<Store>, since: Since) -> Snapshots {
        Snapshots { directory: directory.to_owned(), store, since, writing: None }
    }

    /// Those that others may fetch, the newest first.
    pub(crate) fn list(&self) -> Result<Vec<SnapshotInfo>, StoreError> {
        let store = self.store.snapshot()?;
        let table = store.read.open_table(SNAPSHOTS).map_err(doing("open its snapshots"))?;
        let mut list = Vec::new();
        for row in table.iter().map_err(doing("read its snapshots"))?.rev() {
            let (size, row) = row.map_err(doing("read its snapshots"))?;
            let Some((height, hash)) = filed(row.value()) else { continue };
            // One whose file is gone is not there.
            let Ok(file) = fs::metadata(path(&self.directory, size.value())) else { continue };
            let Ok(chunks) = u32::try_from(file.len().div_ceil(CHUNK as u64)) else { continue };
            list.push(SnapshotInfo { height, format: FORMAT, chunks, hash });
        }
        Ok(list)
    }

    /// A chunk of one of these. Whoever fetches them compares all of it with the digest.
    pub(crate) fn chunk(&self, snapshot: &SnapshotInfo, chunk: u32) -> Result<Option<Vec<u8>>, StoreError> {
        if !self.list()?.contains(snapshot) || chunk >= snapshot.chunks {
            return Ok(None);
        }
        let size = self.store.snapshot()?.seal(snapshot.height)?.size;
        let path = path(&self.directory, size);
        let read = || {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(u64::from(chunk) * CHUNK as u64))?;
            let mut bytes = Vec::new();
            file.take(CHUNK as u64).read_to_end(&mut bytes)?;
            Ok::<_, io::Error>(bytes)
        };
        match read() {
            Ok(bytes) => Ok(Some(bytes)),
            // It was old, and is removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Directory { path: path.display().to_string(), source }),
        }
    }

    /// Counts a block that was committed; `chain` is the one after it.
    pub(crate) fn committed(&mut self, leaves: &[Vec<u8>], chain: &Chain) {
        self.since.add(leaves);
        let busy = self.writing.as_ref().is_some_and(|thread| !thread.is_finished());
        if busy || !self.since.due() {
            return;
        }
        let (bytes, seal) = (chain.snapshot(), chain.seal_ref());
        self.since = Since { last: bytes.len() as u64, ..Since::default() };
        let (directory, store) = (self.directory.clone(), self.store.clone());
        let run = move || match write(&directory, &store, &seal, &bytes) {
            Ok(()) => tracing::info!(size = seal.size, bytes = bytes.len(), "a snapshot was written"),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "there is no new snapshot"),
        };
        // Without a thread there is no snapshot, and the next one is due as if there were.
        self.writing = std::thread::Builder::new().name("ledger-snapshot".into()).spawn(run).ok();
    }
}

impl Drop for Snapshots {
    /// Whoever waits for the end of the engine may open the store again.
    fn drop(&mut self) {
        if let Some(thread) = self.writing.take() {
            let _ = thread.join();
        }
    }
}

/// What is filed about a snapshot: its block and its digest.
fn filed(row: &[u8]) -> Option<(u64, Digest)> {
    let (height, digest) = row.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*height), Digest(digest.try_into().ok()?)))
}

fn path(directory: &Path, size: u64) -> PathBuf {
    directory.join(format!("snapshot-{size}"))
}

/// Writes a file, files its digest, and removes what is too old.
fn write(directory: &Path, store: &Store, seal: &SealRef, bytes: &[u8]) -> Result<(), WriteError> {
    let target = path(directory, seal.size);
    let on_disk = |source| WriteError::File { path: target.display().to_string(), source };
    let unfinished = directory.join(".snapshot");
    let mut file = File::create(&unfinished).map_err(on_disk)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(on_disk)?;
    fs::rename(&unfinished, &target).map_err(on_disk)?;
    File::open(directory).and_then(|dir| dir.sync_all()).map_err(on_disk)?;
    for old in file_digest(store, seal, Digest::of(bytes))? {
        // What cannot be removed costs space only.
        let _ = fs::remove_file(path(directory, old));
    }
    Ok(())
}

/// Gives the sizes of those that are not kept any more.
fn file_digest(store: &Store, seal: &SealRef, digest: Digest) -> Result<Vec<u64>, StoreError> {
    let write = store.begin()?;
    let mut old = Vec::new();
    {
        let mut table = write.open_table(SNAPSHOTS).map_err(doing("open its snapshots"))?;
        let row = [seal.height.to_be_bytes().as_slice(), &digest.0].concat();
        table.insert(seal.size, row.as_slice()).map_err(doing("file a snapshot"))?;
        for row in table.iter().map_err(doing("read its snapshots"))?.rev().skip(KEPT) {
            old.push(row.map_err(doing("read its snapshots"))?.0.value());
        }
        for size in &old {
            table.remove(size).map_err(doing("drop a snapshot"))?;
        }
    }
    write.commit().map_err(doing("commit a snapshot"))?;
    Ok(old)
}

/// Makes the table where it is missing.
pub(crate) fn make(write: &redb::WriteTransaction) -> Result<(), StoreError> {
    write.open_table(SNAPSHOTS).map(|_| ()).map_err(doing("make its tables"))
}

/// The chain of the newest good snapshot of at most `max_size` leaves, with the snapshot's length in bytes.
pub(crate) fn newest(
    directory: &Path,
    store: &Snapshot,
    genesis: &Genesis,
    max_size: u64,
) -> Result<Option<(Chain, u64)>, StoreError> {
    let table = store.read.open_table(SNAPSHOTS).map_err(doing("open its snapshots"))?;
    for row in table.range(..=max_size).map_err(doing("read its snapshots"))?.rev() {
        let (size, row) = row.map_err(doing("read its snapshots"))?;
        match good(directory, store, genesis, size.value(), row.value()) {
            Ok(chain) => return Ok(Some(chain)),
            Err(why) => tracing::warn!(size = size.value(), why, "a snapshot is passed over"),
        }
    }
    Ok(None)
}

fn good(directory: &Path, store: &Snapshot, genesis: &Genesis, size: u64, row: &[u8]) -> Result<(Chain, u64), String> {
    let (height, digest) = filed(row).ok_or("its record cannot be read")?;
    let seal = store.seal(height).map_err(|error| error.to_string())?;
    if seal.size != size {
        return Err(format!("its block ends at leaf {}", seal.size));
    }
    let path = path(directory, size);
    let length = fs::metadata(&path).map_err(|error| error.to_string())?.len();
    if length > snapshot::MAX_BYTES as u64 {
        return Err(format!("it is {length} bytes long"));
    }
    let bytes = fs::read(&path).map_err(|error| error.to_string())?;
    if Digest::of(&bytes) != digest {
        return Err("its digest is not the one that is filed".into());
    }
    let chain = Chain::restore(genesis, &bytes, &seal).map_err(|error| error.to_string())?;
    Ok((chain, length))
}
