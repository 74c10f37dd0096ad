//! A job from its preflight to its result, and what ingestion refuses.

use orion_protocol::ids::aggregate_digest;
use orion_protocol::merkle::{self, Sha3};
use orion_protocol::messages::{AnswerBody, Committed, Manifest, Message as _, Role, TaskBody};
use orion_protocol::statements::{Commitment, LeaseCore, LeaseKind, UnitDigest};
use orion_protocol::subjects::{BUCKET_HELD, BUCKET_IN, BUCKET_RESULTS};
use orion_protocol::task::unit_salt;
use orion_protocol::{Digest, Format, Reason, Signed, npy};

use crate::support::{Job, Operator, Running, key, name, salt};

const ROOM: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_from_preflight_to_a_result_that_everybody_vouches_for() {
    let mut operator = Operator::start().await;
    let job = Job::honest();
    job.store(&operator.broker).await;
    let platform = operator.worker("platform", "pl", Role::Platform).await;
    preflight(&mut operator, &platform, &job).await;

    let worker = operator.worker("p1", "w1", Role::Worker).await;
    let mut committed = Vec::new();
    for shard in 0..job.spec.units.shards() {
        let answer = operator.work(&worker, &job, shard).await;
        check_commitment(&operator, &job, shard, &answer);
        committed.push(answer);
    }
    for answer in &committed {
        let core = operator.ingest_core(&platform, answer);
        let body = operator.ask(&platform, &core, TaskBody::Ingest(answer.clone())).await;
        let AnswerBody::Ingested(said) = body else { panic!("{body:?}") };
        let said = said.verify(&operator.chain, &key("platform").public()).unwrap();
        assert_eq!((said.commitment, &said.refused), (answer.commitment.digest(&operator.chain), &None));
    }
    // Nothing can be withheld any more: all that was committed is held.
    for (shard, answer) in (0..).zip(&committed) {
        let commitment = answer.commitment.verify(&operator.chain, &worker.key).unwrap();
        let (first, count) = job.spec.units.shard(shard).unwrap();
        let rows = operator.broker.get(BUCKET_HELD, &commitment.outputs[0], ROOM).await.unwrap();
        assert_eq!(rows, job.rows(first, count));
        let list = operator.broker.get(BUCKET_HELD, &commitment.digest_list, ROOM).await.unwrap();
        assert_eq!(list, (first..first + count).flat_map(|unit| job.unit(unit).0).collect::<Vec<u8>>());
    }

    let validator = operator.worker("p2", "v1", Role::Validator).await;
    vote(&mut operator, &validator, LeaseKind::Audit, &committed[1], &[39, 20]).await;
    vote(&mut operator, &platform, LeaseKind::Referee, &committed[3], &[62]).await;
    aggregate(&mut operator, &platform, &worker, &job, &committed).await;
    for running in [platform, worker, validator] {
        running.stop().await;
    }
}

async fn preflight(operator: &mut Operator, platform: &Running, job: &Job) {
    let (digest, trial) = job.trial();
    let core = operator.core(platform, LeaseKind::Preflight, digest);
    let body = operator.ask(platform, &core, TaskBody::Preflight(trial)).await;
    let AnswerBody::Preflighted(said) = &body else { panic!("{body:?}") };
    let said = said.verify(&operator.chain, &platform.key).unwrap();
    let found = said.found.clone().unwrap();
    assert!(found.unit_nanos > 0, "{said:?}");
}

fn check_commitment(operator: &Operator, job: &Job, shard: u32, answer: &Committed) {
    let commitment = answer.commitment.verify(&operator.chain, &key("p1").public()).unwrap();
    let (first, count) = job.spec.units.shard(shard).unwrap();
    let leaves: Vec<[u8; 32]> =
        (first..first + count).map(|unit| Sha3::unit_leaf(&unit_salt(&salt(), unit), unit, &job.unit(unit))).collect();
    assert_eq!(commitment.units, count);
    assert_eq!(commitment.root.0, merkle::root::<Sha3>(&leaves));
    assert_eq!(commitment.outputs, [Digest::of(job.rows(first, count))]);
    assert_ne!(commitment.class, Digest::ZERO);
}

async fn vote(operator: &mut Operator, to: &Running, kind: LeaseKind, of: &Committed, units: &[u64]) {
    let job = Job::honest();
    let core = operator.audit_core(to, kind, of, units);
    let body = operator.ask(to, &core, TaskBody::Execute).await;
    let AnswerBody::Voted(vote) = body else { panic!("{body:?}") };
    let vote = vote.verify(&operator.chain, &to.key).unwrap();
    let mut units = units.to_vec();
    units.sort_unstable();
    let want: Vec<UnitDigest> = units.iter().map(|unit| UnitDigest { unit: *unit, digest: job.unit(*unit) }).collect();
    assert_eq!(vote.units, want);
    let audit = core.audit.unwrap();
    assert_eq!((vote.round, vote.lease), (audit.round, audit.lease));
}

async fn aggregate(operator: &mut Operator, platform: &Running, worker: &Running, job: &Job, all: &[Committed]) {
    let outputs = all.iter().map(|of| of.commitment.verify(&operator.chain, &worker.key).unwrap().outputs.clone());
    let manifest = Manifest { task: job.spec.digest(), shards: outputs.collect(), formats: vec![Format::Npy] };
    let manifest = operator.broker.put(BUCKET_IN, &manifest.to_bytes()).await.unwrap();
    let core = operator.core(platform, LeaseKind::Aggregate, aggregate_digest(&job.spec.digest(), &manifest));
    let body = operator.ask(platform, &core, TaskBody::Aggregate(manifest)).await;
    let AnswerBody::Aggregated(said) = &body else { panic!("{body:?}") };
    let said = said.verify(&operator.chain, &platform.key).unwrap();
    assert_eq!(said.refused, None);
    assert_eq!(said.results.len(), 1);
    let file = operator.broker.get(BUCKET_RESULTS, &said.results[0].digest, ROOM).await.unwrap();
    assert_eq!(said.results[0].size, file.len() as u64);
    let (header, data) = npy::parse(&file).unwrap();
    assert_eq!((header.shape, header.dtype), (vec![1000], job.spec.outputs[0].dtype));
    assert_eq!(data, job.expected);
}

/// Commits to these objects as provider p1, after storing them; nothing else of them needs to be true.
struct Lie<'a> {
    rows: &'a [u8],
    digests: &'a [Digest],
    stored: bool,
    root: Option<Digest>,
}

impl Lie<'_> {
    async fn tell(self, operator: &mut Operator, job: &Job, shard: u32) -> Committed {
        let p1 = operator.server.provider("p1").await.unwrap();
        let (first, count) = job.spec.units.shard(shard).unwrap();
        let list: Vec<u8> = self.digests.iter().flat_map(|digest| digest.0).collect();
        if self.stored {
            p1.put("out_p1", self.rows).await.unwrap();
            p1.put("out_p1", &list).await.unwrap();
        }
        let leaves: Vec<[u8; 32]> = (first..)
            .zip(self.digests)
            .map(|(unit, digest)| Sha3::unit_leaf(&unit_salt(&salt(), unit), unit, digest))
            .collect();
        let core = LeaseCore {
            kind: LeaseKind::Work,
            task: job.spec.digest(),
            shard,
            first_unit: first,
            units: count,
            token: orion_protocol::statements::Token { epoch: 1, attempt: 1, copy: 0 },
            provider: key("p1").public(),
            worker: name("liar"),
            audit: None,
        };
        let lease = Signed::new(&operator.chain, &key("operator"), &core);
        let commitment = Commitment {
            lease: lease.digest(&operator.chain),
            units: count,
            root: self.root.unwrap_or(Digest(merkle::root::<Sha3>(&leaves))),
            outputs: vec![Digest::of(self.rows)],
            digest_list: Digest::of(&list),
            class: Digest::ZERO,
            driver: String::new(),
        };
        let commitment = Signed::new(&operator.chain, &key("p1"), &commitment);
        Committed { provider: name("p1"), lease, commitment }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ingestion_says_what_is_missing_and_what_does_not_hash() {
    let mut operator = Operator::start().await;
    let job = Job::honest();
    job.store(&operator.broker).await;
    let platform = operator.worker("platform", "pl", Role::Platform).await;
    let (first, count) = job.spec.units.shard(0).unwrap();
    let rows = job.rows(first, count);
    let digests: Vec<Digest> = (first..first + count).map(|unit| job.unit(unit)).collect();
    let mut other = rows.to_vec();
    other[100] ^= 1;
    let mut wrong = digests.clone();
    wrong[3] = Digest::ZERO;
    let cut = &rows[4..];
    let zero = Some(Digest::ZERO);
    let cases = [
        ("honest", Lie { rows, digests: &digests, stored: true, root: None }, None),
        ("other rows", Lie { rows: &other, digests: &digests, stored: true, root: None }, Some("unit 1 ")),
        ("another list", Lie { rows, digests: &wrong, stored: true, root: None }, Some("unit 3 ")),
        ("another root", Lie { rows, digests: &digests, stored: true, root: zero }, Some("root")),
        ("too short", Lie { rows: cut, digests: &digests, stored: true, root: None }, Some("output y is 1276 bytes")),
        ("a short list", Lie { rows, digests: &digests[1..], stored: true, root: None }, Some("digest list is 608")),
    ];
    for (what, lie, want) in cases {
        let answer = lie.tell(&mut operator, &job, 0).await;
        let core = operator.ingest_core(&platform, &answer);
        let body = operator.ask(&platform, &core, TaskBody::Ingest(answer)).await;
        let refusal = operator.refusal(&platform, &body);
        assert!(matches!(body, AnswerBody::Ingested(_)), "{what}: {refusal:?}");
        match (want, refusal) {
            (None, None) => {}
            (Some(words), Some(refusal)) => {
                assert_eq!(refusal.reason, Reason::OutputMismatch, "{what}");
                assert!(refusal.message.contains(words), "{what}: {refusal}");
            }
            (_, refusal) => panic!("{what}: {refusal:?}"),
        }
    }
    let nothing = [Digest::of(b"never stored"); 20];
    let missing = Lie { rows: &[1; 1280], digests: &nothing, stored: false, root: None };
    let missing = missing.tell(&mut operator, &job, 0).await;
    let core = operator.ingest_core(&platform, &missing);
    let body = operator.ask(&platform, &core, TaskBody::Ingest(missing)).await;
    assert_eq!(operator.refusal(&platform, &body).map(|refusal| refusal.reason), Some(Reason::OutputUnavailable));
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_job_is_found_by_its_preflight() {
    let mut operator = Operator::start().await;
    let platform = operator.worker("platform", "pl", Role::Platform).await;
    for (job, want) in [
        (Job::with_body("y[i] = nonsense;"), Reason::CompileFailed),
        (Job::with_body("y[i] = y[(i + 16) % 1000] + 1;"), Reason::KernelNotUnitPure),
    ] {
        job.store(&operator.broker).await;
        let (digest, trial) = job.trial();
        let core = operator.core(&platform, LeaseKind::Preflight, digest);
        let body = operator.ask(&platform, &core, TaskBody::Preflight(trial)).await;
        assert!(matches!(body, AnswerBody::Preflighted(_)));
        assert_eq!(operator.refusal(&platform, &body).map(|refusal| refusal.reason), Some(want));
    }
    // A lease that covers other inputs than the trial names.
    let (_, trial) = Job::honest().trial();
    let core = operator.core(&platform, LeaseKind::Preflight, Digest::ZERO);
    let body = operator.ask(&platform, &core, TaskBody::Preflight(trial)).await;
    assert!(matches!(body, AnswerBody::Failed(_)));
    assert_eq!(operator.refusal(&platform, &body).map(|refusal| refusal.reason), Some(Reason::LeaseRefused));
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_of_missing_parts_is_refused() {
    let mut operator = Operator::start().await;
    let job = Job::honest();
    job.store(&operator.broker).await;
    let platform = operator.worker("platform", "pl", Role::Platform).await;
    let absent = vec![vec![Digest::ZERO]; 4];
    for shards in [absent.clone(), absent[1..].to_vec(), vec![Vec::new(); 4]] {
        let manifest = Manifest { task: job.spec.digest(), shards, formats: vec![Format::Npy] };
        let manifest = operator.broker.put(BUCKET_IN, &manifest.to_bytes()).await.unwrap();
        let core = operator.core(&platform, LeaseKind::Aggregate, aggregate_digest(&job.spec.digest(), &manifest));
        let body = operator.ask(&platform, &core, TaskBody::Aggregate(manifest)).await;
        assert!(matches!(body, AnswerBody::Aggregated(_)));
        let refusal = operator.refusal(&platform, &body).map(|refusal| refusal.reason);
        assert_eq!(refusal, Some(Reason::AggregationFailed));
    }
    platform.stop().await;
}
