//! A computed shard as data: rows, unit digests, digest list, root, commitment. Pure; worker, validator and ingest all hash
//! through here, so they cannot disagree.

use orion_protocol::statements::Commitment;
use orion_protocol::task::{TaskSpec, UnitOutput, unit_digest, unit_salt};
use orion_protocol::{Digest, merkle};

use crate::executor::DeviceInfo;

/// Bytes of one entry of a digest list.
pub const ENTRY_BYTES: u64 = 32;

/// A range of units of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Units {
    /// First unit, counted over the job.
    pub first: u64,
    /// How many.
    pub count: u64,
}

impl Units {
    /// The units' numbers.
    pub fn numbers(self) -> std::ops::Range<u64> {
        self.first..self.first.saturating_add(self.count)
    }
}

/// Results of a range of units.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Shard {
    /// Rows of each output, in the order of the spec.
    pub outputs: Vec<Vec<u8>>,
    /// Digest of each unit.
    pub digests: Vec<Digest>,
}

/// Bytes of each output for a range of units.
pub fn row_bytes(spec: &TaskSpec, units: Units) -> Vec<u64> {
    let (_, items) = spec.units.items_of(units.first, units.count);
    spec.outputs.iter().map(|output| output.item_bytes().saturating_mul(items)).collect()
}

/// The digest of unit `unit`, whose rows are within `outputs`, which begin with unit `from`; `None` when they do not
/// reach that far.
pub fn digest_of(task: &Digest, spec: &TaskSpec, from: u64, unit: u64, outputs: &[Vec<u8>]) -> Option<Digest> {
    let (begin, _) = spec.units.items_of(from, 0);
    let (first, items) = spec.units.items_of(unit, 1);
    let rows: Option<Vec<UnitOutput<'_>>> = (spec.outputs.iter().zip(outputs))
        .map(|(spec, bytes)| {
            let start = usize::try_from(first.checked_sub(begin)?.checked_mul(spec.item_bytes())?).ok()?;
            let length = usize::try_from(items.checked_mul(spec.item_bytes())?).ok()?;
            Some(UnitOutput { spec, items, bytes: bytes.get(start..start.checked_add(length)?)? })
        })
        .collect();
    let rows = rows.filter(|rows| items > 0 && rows.len() == spec.outputs.len())?;
    Some(unit_digest(task, unit, &rows))
}

/// The bytes of the digest list object.
pub fn digest_list(digests: &[Digest]) -> Vec<u8> {
    digests.iter().flat_map(|digest| digest.0).collect()
}

/// The root over the salted digests of the units from `first` on.
pub fn root(job_salt: &Digest, first: u64, digests: &[Digest]) -> Digest {
    let mut tree = merkle::Tree::<merkle::Sha3>::default();
    for (unit, digest) in (first..).zip(digests) {
        tree.push(merkle::Sha3::unit_leaf(&unit_salt(job_salt, unit), unit, digest));
    }
    Digest(tree.root())
}

/// What binds the provider to a shard.
pub fn commitment(lease: Digest, job_salt: &Digest, units: Units, shard: &Shard, device: &DeviceInfo) -> Commitment {
    Commitment {
        lease,
        units: units.count,
        root: root(job_salt, units.first, &shard.digests),
        outputs: shard.outputs.iter().map(|rows| Digest::of(rows)).collect(),
        digest_list: Digest::of(&digest_list(&shard.digests)),
        class: device.class,
        driver: device.driver.clone(),
    }
}
