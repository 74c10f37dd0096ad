//! What is computed: fake output bytes, a pure function of content and unit, and the lies that are told about them.

use orion_protocol::task::{TaskSpec, UnitOutput, UnitTable, unit_digest};
use orion_protocol::{Digest, PublicKey, Reason};

/// How somebody behaves, for as long as it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Does what it is asked.
    Honest,
    /// Honest, and far over every deadline.
    Slow,
    /// Takes leases, lists them, and never answers.
    Silent,
    /// As silent, and lists them for ever.
    Hoard,
    /// Honest, and cut off from everybody while it holds leases: it is given up long before its answers come.
    CutOff,
    /// Other bytes for every unit, each provider its own.
    Lie,
    /// Other bytes for every unit, the same as all who do this.
    Collude,
    /// Other bytes for the first unit of each shard.
    LieOnce,
    /// Commits, and stores nothing.
    Withhold,
    /// Commits to another root than its list has.
    Mismatch,
    /// Answers with a statement that answers nothing.
    Garbage,
    /// Says that the kernel fails.
    ClaimFault,
    /// Says that it cannot.
    Refuse,
}

impl Habit {
    /// What is mixed into the bytes of a unit: 0 is the truth.
    pub fn tag(self, key: &PublicKey, unit: u64, units: &UnitTable) -> u64 {
        match self {
            Habit::Lie => 2 + u64::from(key.0[0]),
            Habit::Collude => 1,
            Habit::LieOnce if unit.is_multiple_of(units.units_per_shard) => 2 + u64::from(key.0[0]),
            _ => 0,
        }
    }

    /// Whether what it says of units may be false.
    pub fn lies(self) -> bool {
        matches!(self, Habit::Lie | Habit::Collude | Habit::LieOnce)
    }
}

/// The rows of a unit: of the content alone, so that jobs with the same content have the same objects.
pub fn rows(workload: &Digest, unit: u64, tag: u64) -> Vec<u8> {
    let mut input = workload.0.to_vec();
    input.extend(unit.to_le_bytes());
    input.extend(tag.to_le_bytes());
    Digest::of(&input).0[..4].to_vec()
}

/// The digest of a unit's rows. One item a unit, one output of four bytes an item.
pub fn digest(task: &Digest, spec: &TaskSpec, unit: u64, tag: u64) -> Digest {
    let bytes = rows(&spec.workload, unit, tag);
    unit_digest(task, unit, &[UnitOutput { spec: &spec.outputs[0], bytes: &bytes }])
}

/// What a faulty kernel does.
pub fn fault(workload: &Digest) -> Reason {
    if workload.0[0].is_multiple_of(2) { Reason::KernelFault } else { Reason::OutputOverflow }
}
