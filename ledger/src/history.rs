//! Which leaves tell of an account or a job: two tables of the store, by id and leaf. They say where to look and nothing else; what
//! is answered is read from the leaves, so a wrong row can leave something out, and never make something up.
//!
//! Rows join the commit of their block. A store of an earlier version has none, and gets them at its start; so does one whose whole
//! log is replayed.

use orion_protocol::ledger::api::{History, HistoryRow, MAX_HISTORY_ROWS};
use orion_protocol::ledger::tx::{Approved, Close, CloseRound, RecordVerdict, Settle, TopUp};
use orion_protocol::ledger::{Leaf, LeafBody, Receipt, Transaction, Transfer};
use orion_protocol::task::TaskSpec;
use orion_protocol::{AccountId, CborError, JobId};
use redb::{ReadableTable as _, TableDefinition, WriteTransaction};

use crate::store::{Snapshot, Store, StoreError, doing};

type Table = TableDefinition<'static, &'static [u8; KEY_BYTES], ()>;

/// An id and the index of a leaf, big endian.
const KEY_BYTES: usize = 40;
const ACCOUNTS: Table = TableDefinition::new("account_leaves");
const JOBS: Table = TableDefinition::new("job_leaves");
/// How many leaves are filed, under the one key [`LEAVES`].
const FILED: TableDefinition<'_, &str, u64> = TableDefinition::new("filed");
const LEAVES: &str = "leaves";
/// While a store is filled, so many leaves are filed at a time.
const AT_ONCE: usize = 4096;
/// A page ends after so many bytes of leaves, however few rows they gave: a leaf may be 64 KiB long.
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Where in a page's cursor the leaf begins: below is the row within it.
const LEAF_SHIFT: u32 = 16;

/// Whose history.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject {
    Account(AccountId),
    Job(JobId),
}

impl Subject {
    fn table(self) -> Table {
        match self {
            Subject::Account(_) => ACCOUNTS,
            Subject::Job(_) => JOBS,
        }
    }

    fn key(self, leaf: u64) -> [u8; KEY_BYTES] {
        let (Subject::Account(AccountId(id)) | Subject::Job(JobId(id))) = self;
        let mut key = [0; KEY_BYTES];
        key[..32].copy_from_slice(&id);
        key[32..].copy_from_slice(&leaf.to_be_bytes());
        key
    }
}

/// What a leaf tells of accounts and jobs.
struct Told {
    kind: &'static str,
    job: Option<JobId>,
    receipt: Receipt,
}

impl Told {
    /// `None` where it tells nothing of them.
    fn of(bytes: &[u8]) -> Result<Option<(u64, Told)>, StoreError> {
        let unreadable = |error: CborError| StoreError::Damaged(format!("a leaf cannot be read: {error}"));
        let Leaf { height, index: _, body } = Leaf::from_bytes(bytes).map_err(unreadable)?;
        let (kind, job, receipt) = match body {
            LeafBody::Genesis(_) | LeafBody::Seal(_) => return Ok(None),
            LeafBody::Expire(job, receipt) => ("Expire", Some(job), receipt),
            LeafBody::Mature(job, receipt) => ("Mature", Some(job), receipt),
            LeafBody::Lapse(_, receipt) => ("Lapse", None, receipt),
            LeafBody::Transaction(signed, receipt) => {
                // It was verified before it became a leaf.
                let transaction = Transaction::unverified(&signed).map_err(unreadable)?;
                (kind_of(&transaction), job_of(&transaction), receipt)
            }
        };
        Ok(Some((height, Told { kind, job, receipt })))
    }

    /// What of it concerns `subject`: money that moved, or, of a job, that nothing did.
    fn rows(&self, subject: Subject) -> Vec<Option<Transfer>> {
        let transfers = self.receipt.transfers.iter().copied();
        match subject {
            Subject::Account(id) => {
                transfers.filter(|transfer| transfer.from == id || transfer.to == id).map(Some).collect()
            }
            Subject::Job(_) if self.receipt.transfers.is_empty() => vec![None],
            Subject::Job(_) => transfers.map(Some).collect(),
        }
    }
}

/// What is approved says more than that it is.
fn kind_of(transaction: &Transaction) -> &'static str {
    let inner = match transaction {
        Transaction::Approved(Approved { inner, .. }) => Transaction::from_bytes(inner).ok(),
        _ => None,
    };
    inner.as_ref().unwrap_or(transaction).kind()
}

fn job_of(transaction: &Transaction) -> Option<JobId> {
    match transaction {
        Transaction::OpenEscrow(open) => TaskSpec::from_object(&open.task).ok().map(|task| task.job),
        Transaction::CloseRound(CloseRound { job, .. })
        | Transaction::RecordVerdict(RecordVerdict { job, .. })
        | Transaction::Settle(Settle { job, .. })
        | Transaction::Close(Close { job })
        | Transaction::TopUp(TopUp { job, .. }) => Some(*job),
        // Of providers, issuers and the chain itself.
        _ => None,
    }
}

/// Makes the tables where they are missing.
pub(crate) fn make(write: &WriteTransaction) -> Result<(), StoreError> {
    for table in [ACCOUNTS, JOBS] {
        write.open_table(table).map_err(doing("make its tables"))?;
    }
    write.open_table(FILED).map(|_| ()).map_err(doing("make its tables"))
}

/// Files the leaves from `from` on, unless earlier ones are not filed yet: the next start files them all.
pub(crate) fn insert<'l>(
    write: &WriteTransaction,
    from: u64,
    leaves: impl ExactSizeIterator<Item = &'l [u8]>,
) -> Result<(), StoreError> {
    let mut filed = write.open_table(FILED).map_err(doing("open its histories"))?;
    let have = filed.get(LEAVES).map_err(doing("read its histories"))?.map_or(0, |filed| filed.value());
    if have < from {
        return Ok(());
    }
    let to = from + leaves.len() as u64;
    let mut accounts = write.open_table(ACCOUNTS).map_err(doing("open its histories"))?;
    let mut jobs = write.open_table(JOBS).map_err(doing("open its histories"))?;
    for (at, leaf) in (from..).zip(leaves) {
        // One that cannot be read tells nothing; replay says what is wrong with it.
        let Ok(Some((_, Told { kind: _, job, receipt }))) = Told::of(leaf) else { continue };
        let mut ids: Vec<AccountId> = receipt.transfers.iter().flat_map(|one| [one.from, one.to]).collect();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            accounts.insert(&Subject::Account(id).key(at), ()).map_err(doing("write a history"))?;
        }
        if let Some(job) = job {
            jobs.insert(&Subject::Job(job).key(at), ()).map_err(doing("write a history"))?;
        }
    }
    filed.insert(LEAVES, have.max(to)).map_err(doing("write a history"))?;
    Ok(())
}

/// Files what is not filed yet of a store whose log was judged; with `all`, every leaf once more.
pub(crate) fn fill(store: &Store, all: bool) -> Result<(), StoreError> {
    let snapshot = store.snapshot()?;
    let size = snapshot.size()?;
    let mut from = if all { 0 } else { filed(&snapshot)? };
    if from < size && !all {
        tracing::info!(from, size, "histories are being filed");
    }
    while from < size {
        let mut leaves = Vec::with_capacity(AT_ONCE);
        snapshot.leaves_from(from, |leaf| {
            leaves.push(leaf.to_vec());
            leaves.len() < AT_ONCE
        })?;
        let write = store.begin()?;
        insert(&write, from, leaves.iter().map(Vec::as_slice))?;
        write.commit().map_err(doing("commit its histories"))?;
        from += leaves.len() as u64;
    }
    Ok(())
}

fn filed(snapshot: &Snapshot) -> Result<u64, StoreError> {
    let table = snapshot.read.open_table(FILED).map_err(doing("open its histories"))?;
    Ok(table.get(LEAVES).map_err(doing("read its histories"))?.map_or(0, |filed| filed.value()))
}

/// A page of at most `limit` rows of a history, oldest first, from where the page before ended.
pub(crate) fn page(snapshot: &Snapshot, subject: Subject, from: u64, limit: usize) -> Result<History, StoreError> {
    let limit = limit.clamp(1, MAX_HISTORY_ROWS);
    let table = snapshot.read.open_table(subject.table()).map_err(doing("open its histories"))?;
    let (first, within) = (from >> LEAF_SHIFT, from & ((1 << LEAF_SHIFT) - 1));
    let (low, high) = (subject.key(first), subject.key(u64::MAX));
    let (mut rows, mut read, mut sealed) = (Vec::new(), 0, None);
    for row in table.range::<&[u8; KEY_BYTES]>(&low..=&high).map_err(doing("read a history"))? {
        let at = leaf_of(row.map_err(doing("read a history"))?.0.value());
        if read >= MAX_PAGE_BYTES {
            return Ok(History { rows, next: Some(at << LEAF_SHIFT) });
        }
        let leaf = snapshot.leaf(at)?;
        read += leaf.len();
        let Some((height, told)) = Told::of(&leaf)? else { continue };
        let time_ms = match sealed {
            Some((block, time_ms)) if block == height => time_ms,
            _ => snapshot.seal(height)?.time_ms,
        };
        sealed = Some((height, time_ms));
        let skipped = if at == first { within } else { 0 };
        for (place, transfer) in (0_u64..).zip(told.rows(subject)).filter(|(place, _)| *place >= skipped) {
            if rows.len() == limit {
                return Ok(History { rows, next: Some(at << LEAF_SHIFT | place) });
            }
            let (kind, code, job) = (told.kind.to_owned(), told.receipt.code, told.job);
            rows.push(HistoryRow { leaf: at, height, time_ms, kind, code, job, transfer });
        }
    }
    Ok(History { rows, next: None })
}

fn leaf_of(key: &[u8; KEY_BYTES]) -> u64 {
    key[32..].iter().fold(0, |leaf, byte| leaf << 8 | u64::from(*byte))
}
