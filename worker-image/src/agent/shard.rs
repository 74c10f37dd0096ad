//! A computed shard as data: rows, unit digests, digest list, root, commitment. Pure; worker, validator and ingest all hash
//! through here, so they cannot disagree.

use orion_protocol::rows::{RowsError, Span};
use orion_protocol::statements::Commitment;
use orion_protocol::task::{TaskSpec, unit_digest, unit_salt};
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
    /// What each output keeps, in the order of the spec.
    pub outputs: Vec<Vec<u8>>,
    /// Digest of each unit.
    pub digests: Vec<Digest>,
}

/// A range of a task's units, as their rows lie one after another.
pub fn span(spec: &TaskSpec, units: Units) -> Span<'_> {
    Span::new(&spec.outputs, &spec.units, units.first, units.count)
}

/// The digest of each of these units, one after another; refuses rows that are not exactly theirs.
pub fn digests<'a>(
    task: &'a Digest,
    spec: &'a TaskSpec,
    units: Units,
    outputs: &'a [Vec<u8>],
) -> Result<impl Iterator<Item = Digest> + 'a, RowsError> {
    let rows: Vec<&[u8]> = outputs.iter().map(Vec::as_slice).collect();
    Ok(span(spec, units).units(&rows)?.map(|(unit, outputs)| unit_digest(task, unit, &outputs)))
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
