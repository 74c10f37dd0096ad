//! A job that runs a model over three rows, and the task that the log has for it: what tests of the pure parts begin with.

use orion_crds::ValidatedJob;
use orion_crds::job::{InputStatus, OutputStatus};
use orion_crds::validated::{InputRef, InputSource, Items};
use orion_protocol::dtype::DType;
use orion_protocol::npy::Header;
use orion_protocol::task::{
    Comparator, Feed, FeedFrom, InferenceWorkload, KERNEL_SET, OutputSpec, TaskSpec, UnitTable, Workload,
};
use orion_protocol::{Digest, Format, JobId};

/// The inputs, by position: an object and a ConfigMap.
pub const MODEL: usize = 0;
pub const ROWS: usize = 1;
const MODEL_BYTES: &[u8] = b"a model";

/// An npy file of three rows.
pub fn rows() -> Vec<u8> {
    [Header { dtype: DType::Uint8, shape: vec![3, 2] }.to_bytes(), vec![0; 6]].concat()
}

/// The job: the type and shape of its output are the model's, and its items are its rows.
pub fn job() -> ValidatedJob {
    let workload = InferenceWorkload {
        model: 0,
        dims: Vec::new(),
        tensors: vec![Feed { tensor: "x".to_owned(), from: FeedFrom::Rows(1), key: None }],
        results: vec!["y".to_owned()],
    };
    let map = InputSource::ConfigMap { name: "data".to_owned(), key: "rows.npy".to_owned() };
    ValidatedJob {
        name: "digits".to_owned(),
        namespace: "default".to_owned(),
        uid: "uid-1".parse().unwrap(),
        generation: 1,
        workload: Workload::Inference(workload),
        inputs: vec![
            InputRef { name: "model".parse().unwrap(), source: InputSource::Object(Digest::of(MODEL_BYTES)) },
            InputRef { name: "rows".parse().unwrap(), source: map },
        ],
        outputs: vec![OutputSpec { name: "y".parse().unwrap(), dtype: DType::Float32, shape: Vec::new() }],
        formats: vec![Format::Npy],
        items: Items::RowsOf(ROWS),
        items_per_unit: 2,
        units_per_shard: None,
        work_per_item: None,
        parallelism: 1,
        audits_per_shard: 1,
        budget: 1_000_000,
        backoff_limit_per_shard: 3,
    }
}

/// What the log has for it.
pub fn task() -> TaskSpec {
    TaskSpec {
        job: JobId::NONE,
        workload: Digest::of(&job().workload.object()),
        inputs: vec![Digest::of(MODEL_BYTES), Digest::of(&rows())],
        kernel_set: KERNEL_SET,
        units: UnitTable { items: 3, items_per_unit: 2, units_per_shard: 2, work_per_item: 100 },
        outputs: vec![OutputSpec { name: "y".parse().unwrap(), dtype: DType::Float32, shape: vec![3, 10] }],
        comparator: Comparator::Exact,
        audits_per_shard: 1,
        price: 1,
        fee_ppm: 0,
        policy: Digest::ZERO,
    }
}

/// The inputs as the job's status lists them.
pub fn inputs() -> Vec<InputStatus> {
    let listed = |(name, digest): (&str, &Digest)| InputStatus {
        name: name.to_owned(),
        digest: digest.to_string(),
        size_bytes: 1,
    };
    ["model", "rows"].into_iter().zip(&task().inputs).map(listed).collect()
}

/// An output as the job's status lists it.
pub fn output(name: &str) -> OutputStatus {
    OutputStatus { name: name.to_owned(), ..OutputStatus::default() }
}
