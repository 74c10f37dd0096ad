//! What a job takes of memory at its peak, in agent and executor together: an estimate from its declaration that is never below
//! what is held. On a CPU device buffers are ordinary memory; on others this asks for more than is taken.

use orion_protocol::task::{OutputSpec, UnitTable};

/// Rows that the agent asks an executor for at a time, in bytes; a larger unit is asked for alone.
pub const CHUNK_BYTES: u64 = 8 << 20;
/// A unit's digest, in the shard and in its digest list.
const DIGESTS_BYTES: u64 = 64;

/// Bytes that a job takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// While it is loaded: outputs and staging on the device, and three times its inputs: on the device, in the executor to
    /// compare with, and in the agent until they are handed over.
    pub job: u64,
    /// While a lease works on it: see [`rows`].
    pub rows: u64,
}

impl Need {
    /// Of a job with inputs of so many bytes in all and so many bytes of staging. Sizes must have been checked.
    pub fn of(units: &UnitTable, outputs: &[OutputSpec], inputs: u64, staging: u64) -> Need {
        let job = inputs.saturating_mul(3).saturating_add(bytes(outputs, units.items)).saturating_add(staging);
        Need { job, rows: rows(units, outputs) }
    }

    /// Both together.
    pub fn all(&self) -> u64 {
        self.job.saturating_add(self.rows)
    }
}

/// Bytes of rows that a lease holds: a preflight three units' rows, to compare them; work a shard's rows and digests, and three
/// times those that are on their way: in the executor, and in a buffer of the agent that grows by doubling.
pub fn rows(units: &UnitTable, outputs: &[OutputSpec]) -> u64 {
    let count = units.units_per_shard.min(units.units());
    let unit = bytes(outputs, units.items_of(0, 1).1);
    let shard = bytes(outputs, units.items_of(0, count).1);
    let chunk = unit.max(CHUNK_BYTES).min(shard);
    let work = shard.saturating_add(chunk.saturating_mul(3)).saturating_add(count.saturating_mul(DIGESTS_BYTES));
    work.max(unit.saturating_mul(3))
}

fn bytes(outputs: &[OutputSpec], items: u64) -> u64 {
    outputs.iter().fold(0_u64, |sum, output| sum.saturating_add(output.item_bytes().saturating_mul(items)))
}
