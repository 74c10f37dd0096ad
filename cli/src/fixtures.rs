//! A job that runs a model over three rows, and the task that the log has for it: what tests of the pure parts begin with.

use orion_crds::ValidatedJob;
use orion_crds::job::{InputStatus, OutputStatus};
use orion_crds::validated::{InputRef, InputSource, Items};
use orion_ledger_core::report::{Attempt, JobReport, ShardReport, Sums};
use orion_protocol::dtype::DType;
use orion_protocol::ledger::api::JobPhase;
use orion_protocol::npy::Header;
use orion_protocol::statements::{Commitment, LeaseCore, LeaseKind, Token};
use orion_protocol::task::{
    Combine, Comparator, Feed, FeedFrom, InferenceWorkload, KERNEL_SET, Layout, OutputSpec, TaskSpec, UnitTable,
    Workload,
};
use orion_protocol::{AccountId, Digest, Format, JobId, SecretKey};

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
        outputs: vec![OutputSpec {
            name: "y".parse().unwrap(),
            dtype: DType::Float32,
            shape: Vec::new(),
            layout: None,
        }],
        formats: vec![Format::Npy],
        items: Items::RowsOf(ROWS),
        items_per_unit: 2,
        units_per_shard: None,
        work_per_item: None,
        parallelism: 1,
        audits_per_shard: 1,
        policy: None,
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
        outputs: vec![OutputSpec {
            name: "y".parse().unwrap(),
            dtype: DType::Float32,
            shape: vec![3, 10],
            layout: None,
        }],
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

/// A task of three items in two units, each a shard: items keep up to 2 pairs of `hits`, units have copies of `sums`.
pub fn layouts() -> TaskSpec {
    let output = |name: &str, shape: &[u64], layout| OutputSpec {
        name: name.parse().unwrap(),
        dtype: DType::Uint8,
        shape: shape.to_vec(),
        layout,
    };
    TaskSpec {
        kernel_set: 0,
        units: UnitTable { items: 3, items_per_unit: 2, units_per_shard: 1, work_per_item: 1 },
        outputs: vec![
            output("hits", &[3, 2, 2], Some(Layout::Lengths(1))),
            output("counts", &[3], None),
            output("sums", &[1], Some(Layout::Unit(Combine::Sum))),
        ],
        ..task()
    }
}

/// A log in which one attempt at each shard was accepted, with these roots.
pub fn log(spec: TaskSpec, roots: &[[u8; 32]]) -> JobReport {
    let provider = SecretKey::from_seed(&[1; 32]).public();
    let shard = |(shard, root): (u32, &[u8; 32])| {
        let (first_unit, units) = spec.units.shard(shard).unwrap();
        let lease = LeaseCore {
            kind: LeaseKind::Work,
            task: spec.digest(),
            shard,
            first_unit,
            units,
            token: Token { epoch: 1, attempt: 1, copy: 0 },
            provider,
            worker: "w".parse().unwrap(),
            audit: None,
        };
        let commitment = Commitment {
            lease: Digest::ZERO,
            units,
            root: Digest(*root),
            outputs: Vec::new(),
            digest_list: Digest::ZERO,
            class: Digest::ZERO,
            driver: String::new(),
        };
        let (round, owner, drawn, auditors, refereed) = (Digest::ZERO, None, Vec::new(), Vec::new(), Vec::new());
        let accepted = Some(Attempt { round, lease, commitment, owner, drawn, auditors, refereed });
        ShardReport { shard, accepted, rejected: Vec::new(), open: None }
    };
    JobReport {
        job: JobId::NONE,
        task: spec.digest(),
        consumer: AccountId([0; 32]),
        phase: JobPhase::Closed,
        sums: Sums::default(),
        payouts: Vec::new(),
        shards: (0..).zip(roots).map(shard).collect(),
        spec,
    }
}
