//! What a job takes of memory at its peak, in agent and executor together: an estimate from its declaration that is never below
//! what is held. On a CPU device buffers are ordinary memory; on others this asks for more than is taken.

use orion_protocol::task::{OutputSpec, UnitTable, Workload};
use orion_protocol::{Reason, Refusal};

/// Rows that the agent asks an executor for at a time, in bytes; a larger unit is asked for alone.
pub const CHUNK_BYTES: u64 = 8 << 20;
/// Rows of units that wait to be read back together, in bytes; a unit with larger rows is read back alone.
const STAGING_BYTES: u64 = 8 << 20;
/// Units whose rows wait to be read back together: bounds the driver's queue.
const STAGING_UNITS: u64 = 1024;
/// A unit's digest, in the shard and in its digest list.
const DIGESTS_BYTES: u64 = 64;

/// Most that what a model's steps make may take on the device, in proportion to the model's file within these bounds.
const LEAST_ACTIVATIONS: u64 = 64 << 20;
const MOST_ACTIVATIONS: u64 = 512 << 20;

/// What a model may take beside its file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelBounds {
    /// What its steps make, on the device.
    pub activations: u64,
    /// Constants on the device, packed and padded.
    pub constants: u64,
    /// Constants that are computed while it is read, and tensors that are filled, each time that it is lowered.
    pub folded: u64,
}

impl ModelBounds {
    /// Of a model with a file of so many bytes.
    pub fn of(file: u64) -> ModelBounds {
        let activations = file.saturating_mul(8).clamp(LEAST_ACTIVATIONS, MOST_ACTIVATIONS);
        ModelBounds {
            activations,
            constants: file.saturating_mul(2).saturating_add(activations / 4),
            folded: activations / 8,
        }
    }

    /// The constants in the file's own bytes and as they are read, the device's, and two programs' at a time while the batch is chosen.
    fn all(self, file: u64) -> u64 {
        let device = self.activations.saturating_add(self.constants);
        file.saturating_mul(2).saturating_add(device).saturating_add(self.folded.saturating_mul(2))
    }
}

/// Rows of a kernel's units that wait on the device to be read back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staged {
    /// Units; 0 where each is read back alone.
    pub units: u64,
    /// Their rows.
    pub bytes: u64,
}

impl Staged {
    /// Of a job with these units and outputs.
    pub fn of(units: &UnitTable, outputs: &[OutputSpec]) -> Staged {
        let unit = bytes(outputs, 1, units.items_of(0, 1).1);
        let fitting = STAGING_BYTES.checked_div(unit).unwrap_or(0).min(STAGING_UNITS).min(units.units());
        let units = if fitting < 2 { 0 } else { fitting };
        Staged { units, bytes: units.saturating_mul(unit) }
    }
}

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
    /// Of a kernel with inputs of so many bytes in all. Sizes must have been checked.
    pub fn of(units: &UnitTable, outputs: &[OutputSpec], inputs: u64) -> Need {
        let staged = Staged::of(units, outputs).bytes;
        let job = inputs.saturating_mul(3).saturating_add(bytes(outputs, 1, units.items)).saturating_add(staged);
        Need { job, rows: rows(units, outputs) }
    }

    /// Of a job before its inputs, files of so many bytes, are there: never below what it turns out to be. More than `memory` is refused.
    pub fn before(
        workload: &Workload,
        units: &UnitTable,
        outputs: &[OutputSpec],
        files: &[u64],
        memory: u64,
    ) -> Result<Need, Refusal> {
        units.check().map_err(|why| Refusal::new(Reason::InvalidSpec, why))?;
        let need = match workload {
            Workload::Kernel(_) => {
                let inputs = files.iter().fold(0_u64, |sum, file| sum.saturating_add(*file));
                Need::of(units, outputs, inputs)
            }
            Workload::Inference(model) => Need::of_model(units, outputs, files, model.model),
        };
        if need.all() > memory {
            let why = format!(
                "the job takes {} bytes of memory, its copies included; at most {memory} are allowed",
                need.all()
            );
            return Err(Refusal::new(Reason::TooLarge, why));
        }
        Ok(need)
    }

    /// Of a model, with input files of so many bytes, one of which is the model.
    pub fn of_model(units: &UnitTable, outputs: &[OutputSpec], files: &[u64], model: u32) -> Need {
        let all = files.iter().fold(0_u64, |sum, file| sum.saturating_add(*file));
        let model = usize::try_from(model).ok().and_then(|at| files.get(at)).copied().unwrap_or(0);
        // In the agent until they are handed over, and in the executor.
        let job = all.saturating_mul(2).saturating_add(ModelBounds::of(model).all(model));
        Need { job, rows: rows(units, outputs) }
    }

    /// Both together.
    pub fn all(&self) -> u64 {
        self.job.saturating_add(self.rows)
    }
}

/// Bytes of rows that a lease holds: a preflight three units' rows, to compare them; work a shard's rows and digests, and three
/// times those that are on their way: in the executor, and in a buffer of the agent that grows by doubling. Tails count as if all were kept;
/// an aggregation has a shard's rows and, instead of those on their way, one copy of an output of which each unit has one.
pub fn rows(units: &UnitTable, outputs: &[OutputSpec]) -> u64 {
    let count = units.units_per_shard.min(units.units());
    let unit = bytes(outputs, 1, units.items_of(0, 1).1);
    let shard = bytes(outputs, count, units.items_of(0, count).1);
    let chunk = unit.max(CHUNK_BYTES).min(shard);
    let work = shard.saturating_add(chunk.saturating_mul(3)).saturating_add(count.saturating_mul(DIGESTS_BYTES));
    work.max(unit.saturating_mul(3))
}

fn bytes(outputs: &[OutputSpec], units: u64, items: u64) -> u64 {
    outputs.iter().fold(0_u64, |sum, output| sum.saturating_add(output.room(units, items)))
}
