//! One small world that all vectors speak of: a chain, keys, a job of 100 items in 13 units and 4 shards, its leases,
//! results, round and verdict. Everything is fixed, nothing random.

use orion_protocol::draw::{self, Draw};
use orion_protocol::ids::Account;
use orion_protocol::ledger::{Genesis, Policy};
use orion_protocol::merkle::{self, Sha3};
use orion_protocol::statements::{AuditOf, Commitment, Ingested, LeaseCore, LeaseKind, Token, UnitDigest, Vote};
use orion_protocol::task::{
    Argument, Builtin, Comparator, Feed, FeedFrom, InferenceWorkload, KernelWorkload, OutputSpec, TaskSpec, UnitOutput,
    UnitTable, Workload, job_salt, unit_digest, unit_salt,
};
use orion_protocol::{AccountId, ChainId, Digest, JobId, Name, PublicKey, SecretKey, Signed, dtype::DType};

/// Names of the keys and the byte that fills their seeds.
pub const KEYS: [(&str, u8); 9] = [
    ("operator", 1),
    ("platform", 2),
    ("issuer", 3),
    ("checkpoint", 4),
    ("worker", 0x11),
    ("validator-a", 0x12),
    ("validator-b", 0x13),
    ("validator-c", 0x14),
    ("validator-d", 0x15),
];
/// Uid of the cluster's kube-system namespace.
pub const CLUSTER: &str = "0a1b2c3d-0000-4000-8000-000000000001";
/// Uid of the job.
pub const JOB_UID: &str = "0a1b2c3d-0000-4000-8000-000000000002";
/// The platform's salt key.
pub const SALT_KEY: [u8; 32] = [0x20; 32];
/// Size and root of the log at the seal that seeds the draw.
pub const SEAL_SIZE: u64 = 70_001;

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn secret(key: &str) -> SecretKey {
    let (_, byte) = KEYS.iter().find(|(name, _)| *name == key).unwrap();
    SecretKey::from_seed(&[*byte; 32])
}

pub fn public(key: &str) -> PublicKey {
    secret(key).public()
}

pub fn key_name(key: &PublicKey) -> &'static str {
    KEYS.iter().map(|(name, _)| *name).find(|name| public(name) == *key).unwrap()
}

/// A digest that stands for something outside this world.
pub fn digest(of: &str) -> Digest {
    Digest::of(of.as_bytes())
}

pub fn genesis() -> Genesis {
    Genesis {
        nonce: digest("nonce"),
        operator: public("operator"),
        platform: public("platform"),
        issuer: public("issuer"),
        checkpoint: public("checkpoint"),
        policy: Policy::per_work(1_000, 20_000, 0, 86_400_000),
        issuers: None,
        bonds: None,
    }
}

pub fn chain() -> ChainId {
    genesis().chain()
}

pub fn job() -> JobId {
    JobId::derive(&chain(), CLUSTER, JOB_UID)
}

pub fn consumer() -> AccountId {
    Account::Consumer { cluster: CLUSTER, namespace: "default" }.id(&chain())
}

pub fn workload() -> Workload {
    let source = "__kernel void classify(__global const uchar *a, uint n, float f, __global uchar *p, __global float *h) \
                  { p[get_global_id(0)] = a[get_global_id(0)]; } // Grüße";
    Workload::Kernel(KernelWorkload {
        source: source.into(),
        entry_point: "classify".into(),
        global_size: vec![2, 100],
        local_size: Some(vec![1, 4]),
        defines: vec![("K".into(), "3".into()), ("WIDE".into(), String::new())],
        arguments: vec![
            Argument::Input(0),
            Argument::Builtin(Builtin::Items),
            Argument::Scalar(DType::Float32, 0x3f80_0000),
            Argument::Output(0),
            Argument::Output(1),
            Argument::Local(64),
        ],
    })
}

pub fn model() -> Workload {
    let feed = |tensor: &str, from| {
        let key = matches!(from, FeedFrom::Shared(_)).then(|| "embedding.scale".to_owned());
        Feed { tensor: tensor.into(), from, key }
    };
    Workload::Inference(InferenceWorkload {
        model: 2,
        dims: vec![("seq".into(), 128)],
        tensors: vec![
            feed("attention_mask", FeedFrom::Rows(1)),
            feed("scale", FeedFrom::Shared(3)),
            feed("token_type_ids", FeedFrom::Fill("0".into())),
        ],
        results: vec!["sentence_embedding".into()],
    })
}

pub fn units() -> UnitTable {
    UnitTable { items: 100, items_per_unit: 8, units_per_shard: 4, work_per_item: 115_008 }
}

pub fn outputs() -> Vec<OutputSpec> {
    vec![
        OutputSpec { name: name("predictions"), dtype: DType::Uint8, shape: vec![100], layout: None },
        OutputSpec { name: name("hits"), dtype: DType::Float32, shape: vec![100, 2], layout: None },
    ]
}

pub fn task() -> TaskSpec {
    TaskSpec {
        job: job(),
        workload: Digest::of(&workload().object()),
        inputs: vec![digest("digits.npy"), digest("labels.npy")],
        kernel_set: 0,
        units: units(),
        outputs: outputs(),
        comparator: Comparator::Exact,
        audits_per_shard: 2,
        price: 1_000,
        fee_ppm: 20_000,
        policy: genesis().policy.digest(),
    }
}

/// Rows `[first, first + items)` of both outputs, as a worker computes them.
pub fn rows(first: u64, items: u64) -> [Vec<u8>; 2] {
    let range = first..first + items;
    let predictions = range.clone().map(|item| (item * 7 % 251).to_le_bytes()[0]).collect();
    let hits = range.flat_map(|item| [f32_bits(item), f32_bits(item + 1000)]).flatten().collect();
    [predictions, hits]
}

/// The bytes of a small whole number as float32.
fn f32_bits(x: u64) -> [u8; 4] {
    f32::from(u16::try_from(x).unwrap()).to_le_bytes()
}

/// The digest of unit `unit`'s honest result.
pub fn honest(unit: u64) -> Digest {
    let (first, items) = units().items_of(unit, 1);
    let (rows, specs) = (rows(first, items), outputs());
    let outputs: Vec<UnitOutput<'_>> =
        specs.iter().zip(&rows).map(|(spec, bytes)| UnitOutput { spec, bytes }).collect();
    unit_digest(&task().digest(), unit, &outputs)
}

pub fn salt() -> Digest {
    job_salt(&SALT_KEY, &job())
}

pub fn leaf(unit: u64) -> [u8; 32] {
    Sha3::unit_leaf(&unit_salt(&salt(), unit), unit, &honest(unit))
}

/// Hashes of a shard's leaves.
pub fn leaves(shard: u32) -> Vec<[u8; 32]> {
    let (first, count) = units().shard(shard).unwrap();
    (first..first + count).map(leaf).collect()
}

pub fn lease(kind: LeaseKind, shard: u32, attempt: u32) -> LeaseCore {
    let (first_unit, units) = units().shard(shard).unwrap();
    let token = Token { epoch: 3, attempt, copy: 0 };
    let (provider, worker) = (public("worker"), name("worker-0"));
    LeaseCore { kind, task: task().digest(), shard, first_unit, units, token, provider, worker, audit: None }
}

pub fn work_lease(shard: u32) -> Signed<LeaseCore> {
    Signed::new(&chain(), &secret("operator"), &lease(LeaseKind::Work, shard, 1 + shard))
}

pub fn commitment(shard: u32) -> Signed<Commitment> {
    let (first, count) = units().shard(shard).unwrap();
    let (item, items) = units().items_of(first, count);
    let digests: Vec<u8> = (first..first + count).flat_map(|unit| honest(unit).0).collect();
    let commitment = Commitment {
        lease: work_lease(shard).digest(&chain()),
        units: count,
        root: Digest(merkle::root::<Sha3>(&leaves(shard))),
        outputs: rows(item, items).iter().map(|bytes| Digest::of(bytes)).collect(),
        digest_list: Digest::of(&digests),
        class: digest("device class"),
        driver: "Portable Computing Language 3.1: a CPU".into(),
    };
    Signed::new(&chain(), &secret("worker"), &commitment)
}

pub fn ingested(shard: u32) -> Signed<Ingested> {
    let ingested = Ingested { commitment: commitment(shard).digest(&chain()), refused: None };
    Signed::new(&chain(), &secret("platform"), &ingested)
}

/// The round that closes shards 0, 2 and 3.
pub const ROUND: [u32; 3] = [0, 2, 3];

pub fn round() -> Digest {
    draw::round_id(&job(), &ROUND.map(|shard| commitment(shard).digest(&chain())))
}

pub fn seed() -> Digest {
    draw::seed(&chain(), SEAL_SIZE, &digest("log root").0, &round())
}

pub fn draw_of(shard: u32) -> Draw {
    Draw { seed: seed(), shard, attempt: 1 + shard }
}

/// The round's validators with their owners; the worker's owner is among them.
pub fn eligible() -> Vec<(PublicKey, &'static str)> {
    let mut keys: Vec<(PublicKey, &str)> = [
        ("worker", "ada"),
        ("validator-a", "ben"),
        ("validator-b", "ben"),
        ("validator-c", "cy"),
        ("validator-d", "ada"),
    ]
    .map(|(key, owner)| (public(key), owner))
    .to_vec();
    keys.sort_unstable();
    keys
}

/// Drawn units of a shard, counted over the job.
pub fn drawn(shard: u32) -> Vec<u64> {
    let (first, count) = units().shard(shard).unwrap();
    draw_of(shard).places(count, task().audits_per_shard).into_iter().map(|place| first + place).collect()
}

pub fn audit(shard: u32, units: Vec<u64>) -> AuditOf {
    AuditOf { round: round(), lease: work_lease(shard).digest(&chain()), units }
}

pub fn vote(shard: u32, mut units: Vec<u64>) -> Vote {
    units.sort_unstable();
    let units = units.into_iter().map(|unit| UnitDigest { unit, digest: honest(unit) }).collect();
    let (class, task) = (digest("device class"), Some(task().digest()));
    Vote { round: round(), lease: work_lease(shard).digest(&chain()), units, class, task }
}
