//! Vectors of what is signed, and of the messages around it.

use orion_protocol::bytes::hex;
use orion_protocol::files::Extract;
use orion_protocol::ledger::api::LeafProof;
use orion_protocol::messages::{
    Alive, Answer, AnswerBody, Beat, Committed, Manifest, Message, Role, Task, TaskBody, Trial,
};
use orion_protocol::statements::{
    Aggregated, Failed, Found, LeaseCore, LeaseKind, LeaseTail, Preflighted, ResultObject, Token, Vote,
};
use orion_protocol::{Digest, Format, Reason, Refusal, Signed, Statement, cbor, ids, sign};
use serde_json::{Value, json};

use crate::fixtures::{
    JOB_UID, audit, chain, commitment, digest, drawn, ingested, job, lease, name, outputs, public, salt, secret, task,
    units, vote, work_lease, workload,
};
use crate::json::Json;
use crate::ledger::opened;

pub fn preflight_lease() -> LeaseCore {
    let inputs = task().inputs;
    LeaseCore {
        kind: LeaseKind::Preflight,
        task: ids::preflight_digest(&job(), &task().workload, &inputs),
        shard: 0,
        first_unit: 0,
        units: units().units(),
        token: Token { epoch: 3, attempt: 1, copy: 0 },
        provider: public("platform"),
        worker: name("platform-0"),
        audit: None,
    }
}

pub fn audit_lease(kind: LeaseKind, provider: &str) -> LeaseCore {
    let mut units = drawn(0);
    units.sort_unstable();
    LeaseCore { provider: public(provider), audit: Some(audit(0, units)), ..lease(kind, 0, 1) }
}

fn aggregate_lease() -> LeaseCore {
    let task = ids::aggregate_digest(&task().digest(), &Digest::of(&manifest().to_bytes()));
    LeaseCore { task, units: units().units(), ..lease(LeaseKind::Aggregate, 0, u32::MAX) }
}

fn manifest() -> Manifest {
    let mut shards: Vec<Vec<Digest>> = Vec::new();
    for shard in 0..units().shards() {
        let commitment = commitment(shard).verify(&chain(), &public("worker")).unwrap();
        shards.push(commitment.into_inner().outputs);
    }
    Manifest { task: task().digest(), shards, formats: vec![Format::Npy, Format::Safetensors] }
}

fn tail(of: &Signed<LeaseCore>, salt: Option<Digest>) -> Signed<LeaseTail> {
    let tail = LeaseTail { lease: of.digest(&chain()), deadline_ms: 1_800_000_000_123, salt };
    Signed::new(&chain(), &secret("operator"), &tail)
}

fn refusal(reason: Reason) -> Refusal {
    Refusal::new(reason, "line 3: unknown type name 'half'\nGrüße")
}

/// Payload, signed bytes, digest and wire form of a statement.
fn vector<T: Statement + Json>(name: &str, of: &str, signed: &Signed<T>) -> Value {
    let value = signed.verify(&chain(), &signed.key()).unwrap();
    let payload = cbor::to_vec(&*value);
    assert_eq!(value.digest(), signed.digest(&chain()));
    assert_eq!(sign::statement_digest(&chain(), &*value), signed.digest(&chain()));
    json!({"name": name, "type": of, "domain": T::DOMAIN, "signed": signed.json(), "payload": hex(&payload),
           "digest": signed.digest(&chain()).json(), "wire": hex(&cbor::to_vec(signed))})
}

fn sign<T: Statement>(key: &str, value: &T) -> Signed<T> {
    Signed::new(&chain(), &secret(key), value)
}

pub fn preflighted() -> Signed<Preflighted> {
    let lease = sign("operator", &preflight_lease()).digest(&chain());
    sign(
        "platform",
        &Preflighted {
            lease,
            found: Some(Found {
                unit_nanos: 412_345,
                work_per_item: 115_008,
                outputs: outputs(),
                load_nanos: 1_250_000_000,
            }),
            refused: None,
        },
    )
}

fn aggregated() -> Signed<Aggregated> {
    let lease = sign("operator", &aggregate_lease()).digest(&chain());
    let result =
        |of: &str, size| ResultObject { name: name(of), digest: digest(of), size, extract: None, entries: None };
    let values = ResultObject { extract: Some(Extract::Values), entries: Some(25), ..result("near", 178) };
    let offsets = ResultObject { extract: Some(Extract::Offsets), ..result("near", 936) };
    let results = vec![result("predictions", 228), result("hits", 928), values, offsets];
    sign("platform", &Aggregated { lease, results, refused: None })
}

fn failed() -> Signed<Failed> {
    sign("worker", &Failed { lease: work_lease(1).digest(&chain()), refusal: refusal(Reason::KernelFault) })
}

pub fn statements() -> Value {
    let lease = |name: &str, core: &LeaseCore| vector(name, "LeaseCore", &sign("operator", core));
    let refused_preflight =
        Preflighted { lease: digest("a lease"), found: None, refused: Some(refusal(Reason::CompileFailed)) };
    let refused_aggregation =
        Aggregated { lease: digest("a lease"), results: vec![], refused: Some(refusal(Reason::AggregationFailed)) };
    let refused_ingest = orion_protocol::statements::Ingested {
        commitment: commitment(1).digest(&chain()),
        refused: Some(refusal(Reason::OutputUnavailable)),
    };
    json!([
        lease("preflight", &preflight_lease()),
        lease("work", &crate::fixtures::lease(LeaseKind::Work, 3, 4)),
        lease("audit", &audit_lease(LeaseKind::Audit, "validator-a")),
        lease("ingest", &LeaseCore { provider: public("platform"), ..crate::fixtures::lease(LeaseKind::Ingest, 2, 1) }),
        lease("aggregate", &aggregate_lease()),
        lease("referee", &audit_lease(LeaseKind::Referee, "platform")),
        vector("with salt", "LeaseTail", &tail(&work_lease(0), Some(salt()))),
        vector("without salt", "LeaseTail", &tail(&work_lease(0), None)),
        vector("good", "Preflighted", &preflighted()),
        vector("refused", "Preflighted", &sign("platform", &refused_preflight)),
        vector("shard 0", "Commitment", &commitment(0)),
        vector("shard 3, one unit", "Commitment", &commitment(3)),
        vector("good", "Ingested", &ingested(0)),
        vector("refused", "Ingested", &sign("platform", &refused_ingest)),
        vector("of drawn units", "Vote", &sign("validator-a", &vote(0, drawn(0)))),
        vector("that says no task, as before", "Vote", &sign("validator-a", &Vote { task: None, ..vote(0, drawn(0)) })),
        vector("good", "Aggregated", &aggregated()),
        vector("refused", "Aggregated", &sign("platform", &refused_aggregation)),
        vector("a fault", "Failed", &failed()),
    ])
}

fn message<M: Message + Json + PartialEq + std::fmt::Debug>(of: &str, message: &M) -> Value {
    let bytes = message.to_bytes();
    assert_eq!(M::from_bytes(&bytes).unwrap(), *message);
    json!({"type": of, "message": message.json(), "bytes": hex(&bytes)})
}

pub fn messages() -> Value {
    let task_by = |core: &LeaseCore, body: TaskBody, opened: Option<LeafProof>| {
        let lease = sign("operator", core);
        let tail = tail(&lease, None);
        message("Task", &Task { lease, tail, job_uid: name(JOB_UID), body, opened })
    };
    let task_of = |core: &LeaseCore, body: TaskBody| task_by(core, body, None);
    let answer = |core: &LeaseCore, body| message("Answer", &Answer { lease: sign("operator", core), body });
    let trial = Trial {
        workload: Digest::of(&workload().object()),
        inputs: task().inputs,
        units: units(),
        outputs: outputs(),
        job: job(),
    };
    let work = lease(LeaseKind::Work, 0, 1);
    let committed = Committed { provider: name("acme"), lease: work_lease(0), commitment: commitment(0) };
    let alive = Alive {
        role: Role::Validator,
        class: digest("device class"),
        driver: "Portable Computing Language 3.1: a CPU".into(),
        slots: 2,
        leases: vec![work_lease(0), work_lease(1)],
        version: "0.1.0".into(),
        kernels: true,
        fault: Some("fma(x, y, z) of 00000001 00000001 00000001 gives 00000000, not 00000001".into()),
    };
    json!([
        task_of(&work, TaskBody::Execute),
        task_by(&work, TaskBody::Execute, Some(opened())),
        task_of(&preflight_lease(), TaskBody::Preflight(trial)),
        task_of(&lease(LeaseKind::Ingest, 0, 1), TaskBody::Ingest(committed)),
        task_of(&aggregate_lease(), TaskBody::Aggregate(Digest::of(&manifest().to_bytes()))),
        message("Manifest", &manifest()),
        answer(&preflight_lease(), AnswerBody::Preflighted(preflighted())),
        answer(&work, AnswerBody::Committed(commitment(0))),
        answer(
            &audit_lease(LeaseKind::Audit, "validator-a"),
            AnswerBody::Voted(sign("validator-a", &vote(0, drawn(0)))),
        ),
        answer(&lease(LeaseKind::Ingest, 0, 1), AnswerBody::Ingested(ingested(0))),
        answer(&aggregate_lease(), AnswerBody::Aggregated(aggregated())),
        answer(&work, AnswerBody::Failed(failed())),
        message("Beat", &Beat::Alive(alive)),
        message("Beat", &Beat::Started(work_lease(0))),
        message("Beat", &Beat::Progress(work_lease(0).digest(&chain()), 3)),
    ])
}
