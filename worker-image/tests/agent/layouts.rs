//! A job of which items keep some entries and units have copies, from its preflight to the files of its result; and what ingestion refuses of it.

use orion_protocol::ids::aggregate_digest;
use orion_protocol::merkle::{self, Sha3};
use orion_protocol::messages::{AnswerBody, Committed, Manifest, Message as _, Role, TaskBody};
use orion_protocol::npy::{self, Header};
use orion_protocol::rows::Span;
use orion_protocol::statements::{Commitment, LeaseKind, UnitDigest};
use orion_protocol::subjects::{BUCKET_HELD, BUCKET_IN, BUCKET_RESULTS};
use orion_protocol::task::{
    Argument, Combine, KernelWorkload, Layout, OutputSpec, TaskSpec, UnitTable, Workload, unit_digest, unit_salt,
};
use orion_protocol::{Digest, Format, Reason, Signed, dtype::DType};

use crate::support::{Job, Operator, Running, key, name, salt};

const BYTES: u64 = 1 << 20;
const ITEMS: u64 = 40;
const ROOM: u64 = 3;

/// Item i keeps i % 4 entries, those of the second shard none; each unit counts and adds its items.
fn job(body: &str) -> Job {
    let source = format!(
        "__kernel void f(__global const int *x, __global int *hits, __global uchar *counts, __global uint *sums)
        {{ const int i = get_global_id(0); {body} }}"
    );
    let workload = Workload::Kernel(KernelWorkload {
        source,
        entry_point: "f".into(),
        global_size: vec![ITEMS],
        local_size: None,
        defines: Vec::new(),
        arguments: vec![Argument::Input(0), Argument::Output(0), Argument::Output(1), Argument::Output(2)],
    });
    let x: Vec<u8> = (0_i32..40).flat_map(|i| (i * i).to_le_bytes()).collect();
    let input = [Header { dtype: DType::Int32, shape: vec![ITEMS] }.to_bytes(), x].concat();
    let output = |of, dtype, shape: &[u64], layout| OutputSpec { name: name(of), dtype, shape: shape.to_vec(), layout };
    let spec = TaskSpec {
        workload: Digest::of(&workload.object()),
        inputs: vec![Digest::of(&input)],
        units: UnitTable { items: ITEMS, items_per_unit: 4, units_per_shard: 3, work_per_item: 2 },
        outputs: vec![
            output("hits", DType::Int32, &[ITEMS, ROOM], Some(Layout::Lengths(1))),
            output("counts", DType::Uint8, &[ITEMS], None),
            output("sums", DType::Uint32, &[2], Some(Layout::Unit(Combine::Sum))),
        ],
        ..Job::honest().spec
    };
    Job { spec, workload, input, expected: Vec::new() }
}

const HONEST: &str = "
    const int n = i / 12 == 1 ? 0 : i % 4;
    for (int k = 0; k < 3; k++) hits[3 * i + k] = k < n ? x[i] * 10 + k : -7;
    counts[i] = (uchar)n;
    atomic_inc(sums);
    atomic_add(sums + 1, (uint)x[i] << 24);";

fn kept(item: u64) -> u64 {
    if item / 12 == 1 { 0 } else { item % 4 }
}

/// What each output keeps of these units, in plain Rust.
fn rows(first: u64, count: u64) -> Vec<Vec<u8>> {
    let items = |unit: u64| unit * 4..(unit + 1) * 4;
    let all = || (first..first + count).flat_map(items);
    let hits = all().flat_map(|item| (0..kept(item)).map(move |k| i32::try_from(item * item * 10 + k).unwrap()));
    let counts = all().map(|item| kept(item).to_le_bytes()[0]);
    let sum =
        |unit: u64| items(unit).fold(0_u32, |sum, item| sum.wrapping_add(u32::try_from(item * item).unwrap() << 24));
    let sums = (first..first + count).flat_map(|unit| [4, sum(unit)]);
    vec![hits.flat_map(i32::to_le_bytes).collect(), counts.collect(), sums.flat_map(u32::to_le_bytes).collect()]
}

fn digest(job: &Job, unit: u64) -> Digest {
    let rows = rows(unit, 1);
    let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
    let (_, outputs) = Span::new(&job.spec.outputs, &job.spec.units, unit, 1).units(&rows).unwrap().next().unwrap();
    unit_digest(&job.spec.digest(), unit, &outputs)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_with_layouts_goes_from_preflight_to_the_files_of_its_result() {
    let mut operator = Operator::start().await;
    let job = job(HONEST);
    job.store(&operator.broker).await;
    let platform = operator.worker("platform", "pl", Role::Platform).await;
    assert_eq!(tried(&mut operator, &platform, &job).await, None);
    let worker = operator.worker("p1", "w1", Role::Worker).await;
    let mut shards = Vec::new();
    for shard in 0..job.spec.units.shards() {
        let answer = operator.work(&worker, &job, shard).await;
        let commitment = answer.commitment.verify(&operator.chain, &worker.key).unwrap();
        let (first, count) = job.spec.units.shard(shard).unwrap();
        let rows = rows(first, count);
        assert_eq!(rows[0].is_empty(), shard == 1);
        assert_eq!(commitment.outputs, rows.iter().map(|rows| Digest::of(rows)).collect::<Vec<_>>());
        assert_eq!(ingested(&mut operator, &platform, &answer).await, None);
        for (digest, rows) in commitment.outputs.iter().zip(rows) {
            assert_eq!(operator.broker.get(BUCKET_HELD, digest, BYTES).await.unwrap(), rows);
        }
        shards.push(commitment.outputs.clone());
        if shard == 2 {
            audited(&mut operator, &job, &answer, &[7, 8]).await;
        }
    }
    let files = aggregated(&mut operator, &platform, &job, shards).await;
    let whole = rows(0, 10);
    let ends = (0..ITEMS).scan(0_u64, |end, item| {
        *end += kept(item);
        Some(*end)
    });
    let offsets: Vec<u8> = std::iter::once(0).chain(ends).flat_map(u64::to_le_bytes).collect();
    let squares = (0..ITEMS).fold(0_u32, |sum, item| sum.wrapping_add(u32::try_from(item * item).unwrap() << 24));
    let sums: Vec<u8> = [40, squares].into_iter().flat_map(u32::to_le_bytes).collect();
    let entries = (0..ITEMS).map(kept).sum::<u64>();
    let array = |dtype, shape: &[u64], data: &[u8]| (Header { dtype, shape: shape.to_vec() }, data.to_vec());
    assert_eq!(
        files,
        [
            array(DType::Int32, &[entries], &whole[0]),
            array(DType::Int64, &[ITEMS + 1], &offsets),
            array(DType::Uint8, &[ITEMS], &whole[1]),
            array(DType::Uint32, &[2], &sums),
            array(DType::Uint32, &[10, 2], &whole[2]),
        ]
    );
    platform.stop().await;
    worker.stop().await;
}

/// Why a preflight refuses a job.
async fn tried(operator: &mut Operator, platform: &Running, job: &Job) -> Option<orion_protocol::Refusal> {
    let (digest, trial) = job.trial();
    let core = operator.core(platform, LeaseKind::Preflight, digest);
    let body = operator.ask(platform, &core, TaskBody::Preflight(trial)).await;
    assert!(matches!(body, AnswerBody::Preflighted(_)), "{body:?}");
    operator.refusal(platform, &body)
}

/// Why a commitment is not taken in.
async fn ingested(operator: &mut Operator, platform: &Running, of: &Committed) -> Option<orion_protocol::Refusal> {
    let core = operator.ingest_core(platform, of);
    let body = operator.ask(platform, &core, TaskBody::Ingest(of.clone())).await;
    assert!(matches!(body, AnswerBody::Ingested(_)), "{body:?}");
    operator.refusal(platform, &body)
}

async fn audited(operator: &mut Operator, job: &Job, of: &Committed, units: &[u64]) {
    let validator = operator.worker("p2", "v1", Role::Validator).await;
    let core = operator.audit_core(&validator, LeaseKind::Audit, of, units);
    let body = operator.ask(&validator, &core, TaskBody::Execute).await;
    let AnswerBody::Voted(vote) = body else { panic!("{body:?}") };
    let vote = vote.verify(&operator.chain, &validator.key).unwrap();
    let want: Vec<UnitDigest> =
        units.iter().map(|unit| UnitDigest { unit: *unit, digest: digest(job, *unit) }).collect();
    assert_eq!(vote.units, want);
    validator.stop().await;
}

/// The arrays of the result.
async fn aggregated(
    operator: &mut Operator,
    platform: &Running,
    job: &Job,
    shards: Vec<Vec<Digest>>,
) -> Vec<(Header, Vec<u8>)> {
    let manifest = Manifest { task: job.spec.digest(), shards, formats: vec![Format::Npy; 3] };
    let manifest = operator.broker.put(BUCKET_IN, &manifest.to_bytes()).await.unwrap();
    let core = operator.core(platform, LeaseKind::Aggregate, aggregate_digest(&job.spec.digest(), &manifest));
    let body = operator.ask(platform, &core, TaskBody::Aggregate(manifest)).await;
    let AnswerBody::Aggregated(said) = &body else { panic!("{body:?}") };
    let said = said.verify(&operator.chain, &platform.key).unwrap();
    assert_eq!(said.refused, None);
    let mut arrays = Vec::new();
    for result in &said.results {
        let file = operator.broker.get(BUCKET_RESULTS, &result.digest, BYTES).await.unwrap();
        assert_eq!(result.size, file.len() as u64);
        let (header, data) = npy::parse(&file).unwrap();
        assert!(result.entries.is_none_or(|entries| header.shape[0] == entries), "{result:?}");
        arrays.push((header, data.to_vec()));
    }
    arrays
}

/// A commitment of p1 to these objects, which are stored; its digest list and root are the honest ones.
async fn committed(operator: &mut Operator, job: &Job, honest: &Committed, outputs: &[Vec<u8>]) -> Committed {
    let p1 = operator.server.provider("p1").await.unwrap();
    let digests: Vec<Digest> = (0..3).map(|unit| digest(job, unit)).collect();
    let list: Vec<u8> = digests.iter().flat_map(|digest| digest.0).collect();
    for object in outputs.iter().chain([&list]) {
        p1.put("out_p1", object).await.unwrap();
    }
    let leaves: Vec<[u8; 32]> =
        (0..).zip(&digests).map(|(unit, digest)| Sha3::unit_leaf(&unit_salt(&salt(), unit), unit, digest)).collect();
    let commitment = Commitment {
        outputs: outputs.iter().map(|rows| Digest::of(rows)).collect(),
        digest_list: Digest::of(&list),
        root: Digest(merkle::root::<Sha3>(&leaves)),
        ..honest.commitment.verify(&operator.chain, &key("p1").public()).unwrap().into_inner()
    };
    Committed { commitment: Signed::new(&operator.chain, &key("p1"), &commitment), ..honest.clone() }
}

type Edit = fn(&mut Vec<Vec<u8>>);

#[tokio::test(flavor = "multi_thread")]
async fn ingestion_says_which_output_and_item_of_a_layout_is_wrong() {
    let mut operator = Operator::start().await;
    let job = job(HONEST);
    job.store(&operator.broker).await;
    let platform = operator.worker("platform", "pl", Role::Platform).await;
    let worker = operator.worker("p1", "w1", Role::Worker).await;
    let honest = operator.work(&worker, &job, 0).await;
    worker.stop().await;
    let cases: [(Edit, Option<&str>); 7] = [
        (|_| {}, None),
        (|rows| rows[1][5] = 4, Some("output hits: item 5 has 4 entries, there is room for 3")),
        (|rows| rows[1][5] = 2, Some("output hits is 72 bytes long, its units have 76")),
        (|rows| rows[0].extend([0; 4]), Some("output hits: object")),
        // A tail, where it would be on a device: the same bytes under other items.
        (|rows| rows[1].swap(1, 2), Some("unit 0 does not hash")),
        (|rows| rows[2].truncate(16), Some("output sums is 16 bytes long, its units have 24")),
        (|rows| rows[2][23] ^= 1, Some("unit 2 does not hash")),
    ];
    for (edit, want) in cases {
        let mut outputs = rows(0, 3);
        edit(&mut outputs);
        let answer = committed(&mut operator, &job, &honest, &outputs).await;
        let refusal = ingested(&mut operator, &platform, &answer).await;
        let said = refusal.as_ref().map(|refusal| (refusal.reason, refusal.message.as_str()));
        match (want, said) {
            (None, None) => {}
            (Some(words), Some((Reason::OutputMismatch, message))) if message.contains(words) => {}
            _ => panic!("{want:?}, but {said:?}"),
        }
    }
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overflow_is_found_by_the_preflight_or_told_by_whoever_runs_it() {
    let mut operator = Operator::start().await;
    let early = job("counts[i] = i == 2 ? 9 : 0; sums[0] = 1; hits[0] = 0;");
    let late = job("counts[i] = i == 20 ? 4 : 0; sums[0] = 1; hits[0] = 0;");
    for job in [&early, &late] {
        job.store(&operator.broker).await;
    }
    let platform = operator.worker("platform", "pl", Role::Platform).await;
    let refusal = tried(&mut operator, &platform, &early).await.unwrap();
    assert_eq!(refusal.reason, Reason::OutputOverflow, "{refusal}");
    assert!(refusal.message.contains("output hits: item 2 has 9 entries, there is room for 3"), "{refusal}");
    // No unit that is tried overflows; the worker says so, and the platform confirms it.
    assert_eq!(tried(&mut operator, &platform, &late).await, None);
    let worker = operator.worker("p1", "w1", Role::Worker).await;
    let (core, _) = operator.work_task(&worker, &late, 1);
    let body = operator.ask(&worker, &core, TaskBody::Execute).await;
    let refusal = operator.refusal(&worker, &body).unwrap();
    assert_eq!(refusal.reason, Reason::OutputOverflow, "{refusal}");
    assert!(refusal.message.contains("item 20 has 4 entries"), "{refusal}");
    operator.work(&worker, &late, 0).await;
    worker.stop().await;
    platform.stop().await;
}
