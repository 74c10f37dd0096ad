//! Which leaf holds what came of a transaction: two tables of the store, by signer and id, and by all that an envelope says for
//! those that were refused for their epoch. They follow from the leaves; one that contradicts them is damage.

use orion_ledger_core::{Record, Said};
use orion_protocol::Digest;
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

use crate::store::{StoreError, doing};

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// Who holds an id: signer and id to a [`Row`].
const SENT: Table = TableDefinition::new("sent");
/// Envelopes that were refused for their epoch: [`Said::digest`] to a [`Row`].
const STALE: Table = TableDefinition::new("stale");

/// Where a transaction's leaf is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) payload: Digest,
    pub(crate) leaf: u64,
    pub(crate) height: u64,
}

impl Row {
    fn of(record: &Record) -> Row {
        Row { payload: record.said.payload, leaf: record.leaf, height: record.height }
    }

    fn bytes(&self) -> [u8; 48] {
        let Row { payload, leaf, height } = self;
        let mut bytes = [0; 48];
        bytes[..32].copy_from_slice(&payload.0);
        bytes[32..40].copy_from_slice(&leaf.to_be_bytes());
        bytes[40..].copy_from_slice(&height.to_be_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Row, StoreError> {
        let part = |from: usize, to: usize| bytes.get(from..to);
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
        let row = || {
            let payload = Digest(part(0, 32)?.try_into().ok()?);
            let row = Row { payload, leaf: number(part(32, 40)?)?, height: number(part(40, 48)?)? };
            (bytes.len() == 48).then_some(row)
        };
        row().ok_or_else(|| StoreError::Damaged("the record of a transaction cannot be read".into()))
    }

    /// Whether this row already says what `record` does. An id is held once; of envelopes that were refused for their epoch
    /// the first leaf counts.
    fn covers(&self, record: &Record) -> Result<bool, StoreError> {
        if *self == Row::of(record) || record.stale && self.leaf < record.leaf {
            return Ok(true);
        }
        let why = format!("leaf {} holds a transaction that is recorded at leaf {}", record.leaf, self.leaf);
        Err(StoreError::Damaged(why))
    }
}

fn key(said: &Said, stale: bool) -> Vec<u8> {
    if stale { said.digest().0.to_vec() } else { [said.signer.0.as_slice(), &said.id.0].concat() }
}

/// Makes the tables where they are missing.
pub(crate) fn make(write: &WriteTransaction) -> Result<(), StoreError> {
    for table in [SENT, STALE] {
        write.open_table(table).map_err(doing("make its tables"))?;
    }
    Ok(())
}

/// Adds records, but for those that are there.
pub(crate) fn insert(write: &WriteTransaction, records: &[Record]) -> Result<(), StoreError> {
    let mut sent = write.open_table(SENT).map_err(doing("open its ids"))?;
    let mut stale = write.open_table(STALE).map_err(doing("open its refusals"))?;
    for record in records {
        let table = if record.stale { &mut stale } else { &mut sent };
        let key = key(&record.said, record.stale);
        let row = table.get(key.as_slice()).map_err(doing("read a record"))?;
        let row = row.map(|row| Row::read(row.value())).transpose()?;
        let there = row.map(|row| row.covers(record)).transpose()?.unwrap_or(false);
        if !there {
            let row = Row::of(record).bytes();
            table.insert(key.as_slice(), row.as_slice()).map_err(doing("write a record"))?;
        }
    }
    Ok(())
}

/// Who holds the id of what was `said`, and the first refusal of the same for its epoch.
pub(crate) fn find(read: &ReadTransaction, said: &Said) -> Result<[Option<Row>; 2], StoreError> {
    let find = |table: Table, stale: bool| {
        let table = read.open_table(table).map_err(doing("open its records"))?;
        let row = table.get(key(said, stale).as_slice()).map_err(doing("read a record"))?;
        row.map(|row| Row::read(row.value())).transpose()
    };
    Ok([find(SENT, false)?, find(STALE, true)?])
}

/// Whether the store already has this record.
pub(crate) fn has(read: &ReadTransaction, record: &Record) -> Result<bool, StoreError> {
    let [sent, stale] = find(read, &record.said)?;
    let row = if record.stale { stale } else { sent };
    Ok(row.map(|row| row.covers(record)).transpose()?.unwrap_or(false))
}
