//! What is computed: the workload, its units, and the digest of a unit's result. The bytes of a [`TaskSpec`] go into the
//! ledger, so that core, verifier and witnesses know all that they must check.

use minicbor::{Decode, Encode};

use crate::cbor::{self, CborError, Part, frame_digest};
use crate::digest::Digest;
use crate::dtype::DType;
use crate::ids::JobId;

pub use crate::output::{Combine, Layout, OutputSpec, UnitOutput, check_names, check_outputs, unit_digest};

/// At most so many inputs, and so many outputs, in a job.
pub const MAX_ARRAYS: usize = 8;
/// At most so many units are drawn from a shard.
pub const MAX_AUDITS_PER_SHARD: u32 = 32;
/// At most so many units in a shard.
pub const MAX_UNITS_PER_SHARD: u64 = 100_000;
/// At most so much work in a job, in declared operations: leaves room for sums in u64.
pub const MAX_WORK: u64 = 1 << 60;
/// At most so many shards in a job: what the ledger says of it, about 1 KiB a shard, is one answer, and its statements fit
/// many times into a stream.
pub const MAX_SHARDS: u64 = 10_000;

/// How the job's items are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct UnitTable {
    /// Work-items on the item dimension.
    #[n(0)]
    pub items: u64,
    /// Items a unit; the last may have fewer.
    #[n(1)]
    pub items_per_unit: u64,
    /// Units a shard; the last may have fewer.
    #[n(2)]
    pub units_per_shard: u64,
    /// Declared operations an item.
    #[n(3)]
    pub work_per_item: u64,
}

impl UnitTable {
    /// How many units there are.
    pub fn units(&self) -> u64 {
        self.items.div_ceil(self.items_per_unit)
    }

    /// How many shards there are.
    pub fn shards(&self) -> u32 {
        // `check` bounds it by MAX_SHARDS.
        u32::try_from(self.units().div_ceil(self.units_per_shard)).unwrap_or(u32::MAX)
    }

    /// First unit and count of shard `index`; `None` beyond the last.
    pub fn shard(&self, index: u32) -> Option<(u64, u64)> {
        let first = u64::from(index).checked_mul(self.units_per_shard)?;
        let count = self.units().checked_sub(first)?.min(self.units_per_shard);
        (count > 0).then_some((first, count))
    }

    /// First item and count of the units `[first, first + count)`, clamped to what there is.
    pub fn items_of(&self, first: u64, count: u64) -> (u64, u64) {
        let start = first.saturating_mul(self.items_per_unit).min(self.items);
        let end = first.saturating_add(count).saturating_mul(self.items_per_unit).min(self.items);
        (start, end - start)
    }

    /// Work of the units `[first, first + count)`.
    pub fn work_of(&self, first: u64, count: u64) -> u64 {
        self.items_of(first, count).1.saturating_mul(self.work_per_item)
    }

    /// Work of the whole job.
    pub fn work(&self) -> u64 {
        self.items.saturating_mul(self.work_per_item)
    }

    /// Checks the bounds under which the arithmetic here cannot overflow.
    pub fn check(&self) -> Result<(), String> {
        let positive = self.items > 0 && self.items_per_unit > 0 && self.units_per_shard > 0 && self.work_per_item > 0;
        if !positive {
            return Err("items, itemsPerUnit, unitsPerShard and workPerItem must be at least 1".into());
        }
        if self.units_per_shard > MAX_UNITS_PER_SHARD {
            return Err(format!("unitsPerShard is over {MAX_UNITS_PER_SHARD}"));
        }
        if self.units().div_ceil(self.units_per_shard) > MAX_SHARDS {
            return Err(format!("more than {MAX_SHARDS} shards"));
        }
        match self.items.checked_mul(self.work_per_item) {
            Some(work) if work <= MAX_WORK => Ok(()),
            _ => Err(format!("items times workPerItem is over {MAX_WORK}")),
        }
    }
}

/// How results are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Comparator {
    /// Bit by bit, through digests.
    #[n(0)]
    Exact,
}

/// All that the ledger must know about a job to judge and pay it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TaskSpec {
    /// The job.
    #[n(0)]
    pub job: JobId,
    /// Digest of the [`Workload`] object.
    #[n(1)]
    pub workload: Digest,
    /// Digests of the inputs' bytes, in the order of the spec.
    #[n(2)]
    pub inputs: Vec<Digest>,
    /// Version of the built-in kernels; 0 where only the user's kernel runs.
    #[n(3)]
    pub kernel_set: u32,
    /// How the items are cut.
    #[n(4)]
    pub units: UnitTable,
    /// The outputs, in the order of the spec.
    #[n(5)]
    pub outputs: Vec<OutputSpec>,
    /// How results are compared.
    #[n(6)]
    pub comparator: Comparator,
    /// Units drawn from each shard.
    #[n(7)]
    pub audits_per_shard: u32,
    /// Micro-credits per million work.
    #[n(8)]
    pub price: u64,
    /// The platform's fee, in parts per million.
    #[n(9)]
    pub fee_ppm: u32,
    /// Digest of the reward policy.
    #[n(10)]
    pub policy: Digest,
}

impl TaskSpec {
    /// The longest encoding, in bytes.
    pub const MAX_BYTES: usize = 16 * 1024;
    const DOMAIN: &'static str = "orion/task/v1";

    /// The object stored in bucket `in`, whose SHA3-256 is the task digest.
    pub fn object(&self) -> Vec<u8> {
        cbor::frame(Self::DOMAIN, &[Part::Bytes(&cbor::to_vec(self))])
    }

    /// The task digest.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.object())
    }

    /// Reads what [`TaskSpec::object`] wrote.
    pub fn from_object(bytes: &[u8]) -> Result<TaskSpec, CborError> {
        let spec = cbor::from_slice(Self::DOMAIN, unframe(Self::DOMAIN, bytes)?, Self::MAX_BYTES)?;
        TaskSpec::check(&spec).map_err(|why| CborError::OutOfBounds { what: Self::DOMAIN, why })?;
        Ok(spec)
    }

    /// Checks every bound.
    pub fn check(&self) -> Result<(), String> {
        self.units.check()?;
        check_outputs(&self.outputs, self.units.items, self.units.units())?;
        if self.inputs.len() > MAX_ARRAYS {
            return Err(format!("more than {MAX_ARRAYS} inputs"));
        }
        if self.audits_per_shard == 0 || self.audits_per_shard > MAX_AUDITS_PER_SHARD {
            return Err(format!("auditsPerShard is not within 1 and {MAX_AUDITS_PER_SHARD}"));
        }
        if self.fee_ppm > 1_000_000 {
            return Err("the fee is over a million parts per million".into());
        }
        Ok(())
    }
}

/// A kernel and how it is called.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KernelWorkload {
    /// OpenCL C 1.2.
    #[n(0)]
    pub source: String,
    /// The kernel function's name.
    #[n(1)]
    pub entry_point: String,
    /// Whole index space, 1 to 3 dimensions; the last one counts items.
    #[n(2)]
    pub global_size: Vec<u64>,
    /// Work-group size, where the job fixes it.
    #[n(3)]
    pub local_size: Option<Vec<u64>>,
    /// `-D` definitions, ascending by name.
    #[n(4)]
    pub defines: Vec<(String, String)>,
    /// One for each kernel parameter, in order.
    #[n(5)]
    pub arguments: Vec<Argument>,
}

impl KernelWorkload {
    /// Whether its text has a name that begins as the engine's functions do; in a comment is enough. Of a text that hides such a name from this,
    /// the engine compiles nothing.
    pub fn names_functions(&self) -> bool {
        let texts = self.defines.iter().map(|(_, value)| value).chain([&self.source]);
        texts.into_iter().any(|text| text.contains("orion_"))
    }
}

/// What a kernel parameter is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Argument {
    /// The input with this index, whole.
    #[n(0)]
    Input(#[n(0)] u32),
    /// The output with this index, whole.
    #[n(1)]
    Output(#[n(0)] u32),
    /// A value: its type, and its little-endian bits in the low bytes.
    #[n(2)]
    Scalar(#[n(0)] DType, #[n(1)] u64),
    /// A number that the platform knows, as uint or ulong by the parameter's type.
    #[n(3)]
    Builtin(#[n(0)] Builtin),
    /// Local memory of so many bytes.
    #[n(4)]
    Local(#[n(0)] u64),
}

/// Numbers that the platform knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Builtin {
    /// Items of the whole job.
    #[n(0)]
    Items,
    /// First item of the unit.
    #[n(1)]
    UnitFirst,
    /// Items of the unit.
    #[n(2)]
    UnitItems,
}

/// A model, and what its tensors are bound to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct InferenceWorkload {
    /// The input that is the model: an ONNX file.
    #[n(0)]
    pub model: u32,
    /// Lengths of the model's named dimensions but that of the items, ascending by name.
    #[n(1)]
    pub dims: Vec<(String, u64)>,
    /// What each of the model's inputs is given, ascending by name.
    #[n(2)]
    pub tensors: Vec<Feed>,
    /// The model's output that each output of the job is, in the job's order.
    #[n(3)]
    pub results: Vec<String>,
}

/// What one of a model's inputs is given.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Feed {
    /// The input's name in the model.
    #[n(0)]
    pub tensor: String,
    /// What it is given.
    #[n(1)]
    pub from: FeedFrom,
    /// Which tensor of its input, where that is a safetensors file; otherwise it is an npy file.
    #[n(2)]
    pub key: Option<String>,
}

/// Where a model's input comes from.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum FeedFrom {
    /// The input with this index, a row an item.
    #[n(0)]
    Rows(#[n(0)] u32),
    /// The input with this index, whole, for every item.
    #[n(1)]
    Shared(#[n(0)] u32),
    /// A decimal number of the tensor's type, for every element.
    #[n(2)]
    Fill(#[n(0)] String),
}

/// What runs. Closed: training joins as a variant with its behaviour.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Workload {
    /// An OpenCL kernel of the user's.
    #[n(0)]
    Kernel(#[n(0)] KernelWorkload),
    /// A model over rows.
    #[n(1)]
    Inference(#[n(0)] InferenceWorkload),
}

/// The version of what the engine computes itself: what a model's outputs mean, and the `orion_*` functions of a user's kernel, to the bit
/// (docs/kernel-set.md).
pub const KERNEL_SET: u32 = 1;

impl Workload {
    /// The longest encoding, in bytes: 64 KiB of source and its arguments.
    pub const MAX_BYTES: usize = 96 * 1024;
    const DOMAIN: &'static str = "orion/workload/v1";

    /// The kernel set that its bits depend on; 0 where none, for all that is computed is in a user's own text.
    pub fn kernel_set(&self) -> u32 {
        match self {
            Workload::Kernel(kernel) if !kernel.names_functions() => 0,
            Workload::Kernel(_) | Workload::Inference(_) => KERNEL_SET,
        }
    }

    /// The object stored in bucket `in`, whose SHA3-256 is the workload digest.
    pub fn object(&self) -> Vec<u8> {
        cbor::frame(Self::DOMAIN, &[Part::Bytes(&cbor::to_vec(self))])
    }

    /// Reads what [`Workload::object`] wrote.
    pub fn from_object(bytes: &[u8]) -> Result<Workload, CborError> {
        cbor::from_slice(Self::DOMAIN, unframe(Self::DOMAIN, bytes)?, Self::MAX_BYTES)
    }
}

/// The byte string within `frame(domain, bytes)`.
fn unframe<'b>(domain: &'static str, bytes: &'b [u8]) -> Result<&'b [u8], CborError> {
    let malformed = |source| CborError::Malformed { what: domain, source };
    let mut decoder = minicbor::Decoder::new(bytes);
    let length = decoder.array().map_err(malformed)?;
    let name = decoder.str().map_err(malformed)?;
    let inner = decoder.bytes().map_err(malformed)?;
    if length != Some(2) || name != domain || cbor::frame(domain, &[Part::Bytes(inner)]) != bytes {
        return Err(CborError::NotCanonical { what: domain });
    }
    Ok(inner)
}

/// The job's salt: without it, digests of guessable results would give the results away.
pub fn job_salt(salt_key: &[u8; 32], job: &JobId) -> Digest {
    frame_digest("orion/salt/v1", &[Part::Bytes(salt_key), Part::Bytes(&job.0)])
}

/// The salt of one unit's leaf.
pub fn unit_salt(job_salt: &Digest, unit: u64) -> Digest {
    frame_digest("orion/unit-salt/v1", &[Part::Bytes(&job_salt.0), Part::U64(unit)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_has_a_kernel_set_where_it_names_functions_of_ours() {
        let kernel = |source: &str, define: &str| {
            let (source, entry_point) = (source.to_owned(), "run".to_owned());
            let defines = vec![("A".to_owned(), define.to_owned())];
            let (global_size, local_size, arguments) = (vec![1], None, Vec::new());
            Workload::Kernel(KernelWorkload { source, entry_point, global_size, local_size, defines, arguments })
        };
        assert_eq!(kernel("uint f(uint x) { return x; }", "3").kernel_set(), 0);
        assert_eq!(kernel("orion_float f(orion_float x) { return x; }", "3").kernel_set(), KERNEL_SET);
        assert_eq!(kernel("uint f(uint x) { return A(x); }", "orion_bits").kernel_set(), KERNEL_SET);
        let model =
            InferenceWorkload { model: 0, dims: Vec::new(), tensors: Vec::new(), results: vec!["digit".into()] };
        assert_eq!(Workload::Inference(model).kernel_set(), KERNEL_SET);
    }
}
