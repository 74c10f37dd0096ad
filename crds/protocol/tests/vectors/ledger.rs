//! Vectors of the ledger's formats: transactions with their envelopes, leaves and the tree over them, answers.

use orion_protocol::bytes::hex;
use orion_protocol::ids::{Account, action_digest, reserve_id};
use orion_protocol::ledger::api::{
    AccountView, EntryVerdict, Head, History, HistoryRow, JobPhase, JobView, KeysView, LeafProof, OpenJobs,
    OperatorKey, Paid, Policies, RoundView, SealRef, WitnessView, Witnessed, Witnesses,
};
use orion_protocol::ledger::leaf::{Receipt, Seal, Totals, Transfer};
use orion_protocol::ledger::tx::{
    Approved, Close, CloseRound, Consumer, Deposit, DrawnUnit, Issuers, KeyRole, Mode, OpenEpoch, OpenEscrow, Params,
    Policy, PublishPolicy, Purse, RecordVerdict, RegisterProvider, Release, Reserve, Rotate, RoundEntry, Settle,
    ShardVerdict, Slash, Split, Stake, TopUp, Withdraw,
};
use orion_protocol::ledger::{Code, Leaf, LeafBody, Submitted, Transaction};
use orion_protocol::merkle::{self, Sha3, Sha256};
use orion_protocol::statements::Approval;
use orion_protocol::task::unit_salt;
use orion_protocol::{Digest, JobId, PublicKey, Signed, TxId, cbor, price};
use serde_json::{Value, json};

use crate::fixtures::{
    ROUND, SEAL_SIZE, chain, commitment, consumer, digest, draw_of, drawn, eligible, genesis, honest, ingested, job,
    leaves as leaf_hashes, model, name, public, round, salt, secret, task, units, vote, work_lease,
};
use crate::json::Json;

/// Every kind of transaction, with its signer, epoch and the job, sequence and try of its id.
pub fn all() -> Vec<(Transaction, &'static str, u64, JobId, u64, u64)> {
    let none = JobId::NONE;
    let register = RegisterProvider { key: public("validator-a"), owner: name("ben"), validates: true };
    let escrow = OpenEscrow {
        consumer: Consumer { account: consumer() },
        task: task().object().into(),
        budget: 2 * price::escrow_of(&task(), &genesis().policy).unwrap(),
    };
    vec![
        (Transaction::RegisterProvider(register), "operator", 3, none, 7, 0),
        (Transaction::OpenEpoch(OpenEpoch { epoch: 3, nonce: vec![0xAB; 16].into() }), "operator", 3, none, 3, 0),
        (
            Transaction::Deposit(Deposit { consumer: Consumer { account: consumer() }, amount: 25_000_000 }),
            "issuer",
            0,
            none,
            0,
            0,
        ),
        (Transaction::OpenEscrow(escrow), "operator", 3, job(), 0, 1),
        (Transaction::CloseRound(close_round()), "operator", 3, job(), 0, 0),
        (Transaction::RecordVerdict(record_verdict()), "operator", 3, job(), 0, 0),
        (Transaction::Settle(Settle { job: job(), page: 0 }), "operator", 4, job(), 0, 0),
        (Transaction::Close(Close { job: job() }), "operator", 4, job(), 0, 0),
        (Transaction::TopUp(TopUp { job: job(), amount: 1_000 }), "operator", 4, job(), 0, 0),
        (Transaction::Approved(approved()), "issuer", 0, none, 1, 0),
        (Transaction::Withdraw(withdraw(Purse::Consumer(consumer()))), "operator", 0, none, 2, 0),
        (Transaction::Withdraw(withdraw(Purse::Treasury)), "operator", 0, none, 3, 0),
        (Transaction::Reserve(Reserve { amount: 700, expires_ms: 1_800_000_600_000 }), "worker", 0, none, 5, 0),
        (
            Transaction::Withdraw(Withdraw { reserve: Some(reserve()), ..withdraw(Purse::Treasury) }),
            "operator",
            0,
            none,
            6,
            0,
        ),
        (Transaction::Release(Release { reserve: reserve() }), "worker", 0, none, 7, 0),
        (Transaction::Issuers(issuers()), "issuer", 0, none, 4, 0),
        (Transaction::Stake(Stake { amount: 900 }), "worker", 0, none, 8, 0),
        (Transaction::Unstake, "worker", 0, none, 9, 0),
        (Transaction::Rotate(rotate(KeyRole::Operator, "operator", false)), "issuer", 0, none, 10, 0),
        (Transaction::Rotate(rotate(KeyRole::Provider, "worker", true)), "issuer", 0, none, 11, 0),
        (Transaction::Slash(Box::new(slash())), "issuer", 0, none, 12, 0),
        (Transaction::PublishPolicy(publish(&audits())), "issuer", 0, none, 13, 0),
        (Transaction::PublishPolicy(publish(&pool())), "issuer", 0, none, 14, 0),
        (Transaction::Params(Params { policy: pool().digest() }), "issuer", 0, none, 15, 0),
    ]
}

fn rotate(role: KeyRole, old: &str, lost: bool) -> Rotate {
    Rotate { role, old: public(old), new: public("validator-d"), lost }
}

/// Two votes of one validator that differ in the second of their units.
fn slash() -> Slash {
    let said = |wrong: bool| {
        let mut vote = vote(0, vec![0, 1]);
        if wrong {
            vote.units[1].digest = digest("something else");
        }
        Signed::new(&chain(), &secret("validator-a"), &vote)
    };
    let (workload, task) = (model().object().into(), task().object().into());
    Slash { workload, task, lease: work_lease(0), first: said(false), second: said(true) }
}

/// Pays half of the price for audits.
fn audits() -> Policy {
    Policy { validator_ppm: Some(500_000), ..genesis().policy }
}

/// Splits what the job has.
fn pool() -> Policy {
    let split = Split { workers: 850_000, validators: 120_000, treasury: 30_000 };
    Policy { fee_ppm: 0, vesting_ms: 604_800_000, mode: Mode::Pool(split), ..genesis().policy }
}

fn publish(policy: &Policy) -> PublishPolicy {
    PublishPolicy { policy: policy.to_bytes().into() }
}

fn withdraw(from: Purse) -> Withdraw {
    Withdraw { from, amount: 11_500, to: digest("an account elsewhere"), reserve: None }
}

/// What the worker's provider reserves.
fn reserve() -> Digest {
    reserve_id(&public("worker"), &TxId::derive("Reserve", &JobId::NONE, 5, 0))
}

/// Two of the keys that there are.
fn issuers() -> Issuers {
    let mut keys = vec![public("issuer"), public("validator-b")];
    keys.sort_unstable();
    Issuers { threshold: 2, keys }
}

/// What the worker's provider takes out, with its own word and the issuer's.
fn approved() -> Approved {
    let inner = cbor::to_vec(&Transaction::Withdraw(withdraw(Purse::Available(public("worker")))));
    let action = action_digest(&public("issuer"), &TxId::derive("Approved", &JobId::NONE, 1, 0), &inner);
    let mut approvals =
        ["issuer", "worker"].map(|key| Signed::new(&chain(), &secret(key), &Approval { action })).to_vec();
    approvals.sort_by_key(Signed::key);
    Approved { inner: inner.into(), approvals }
}

fn close_round() -> CloseRound {
    let entry =
        |shard| RoundEntry { lease: work_lease(shard), commitment: commitment(shard), ingested: ingested(shard) };
    let eligible = eligible().into_iter().map(|(key, _)| key).collect();
    CloseRound { job: job(), sequence: 0, entries: ROUND.map(entry).to_vec(), eligible }
}

/// Every drawn unit is voted on by whom the draw says; in shard 2 one validator is absent and the referee speaks.
fn record_verdict() -> RecordVerdict {
    let shards = ROUND
        .iter()
        .map(|&shard| {
            let (first, _) = units().shard(shard).unwrap();
            let drawn = drawn(shard);
            let unit = |unit: &u64| DrawnUnit {
                unit: *unit,
                digest: honest(*unit),
                salt: unit_salt(&salt(), *unit),
                path: merkle::path::<Sha3>(&leaf_hashes(shard), usize::try_from(unit - first).unwrap())
                    .into_iter()
                    .map(Digest)
                    .collect(),
            };
            let validators = draw_of(shard).validators(&eligible(), "ada");
            let votes = drawn.iter().enumerate().map(|(j, unit)| {
                let key = validators.candidates(j).next().unwrap();
                Signed::new(&chain(), &secret(crate::fixtures::key_name(&key)), &vote(shard, vec![*unit]))
            });
            let disputed = shard == 2;
            let referee = Signed::new(&chain(), &secret("platform"), &vote(shard, drawn.clone()));
            ShardVerdict {
                lease: work_lease(shard).digest(&chain()),
                drawn: drawn.iter().map(unit).collect(),
                votes: votes.collect(),
                absent: if disputed { vec![public("validator-b")] } else { vec![] },
                referee: disputed.then_some(referee),
            }
        })
        .collect();
    RecordVerdict { job: job(), round: round(), sequence: 0, shards }
}

pub fn transactions() -> Value {
    all()
        .into_iter()
        .map(|(transaction, signer, epoch, job, sequence, attempt)| {
            let id = TxId::derive(transaction.kind(), &job, sequence, attempt);
            let signed = transaction.sign(&chain(), &secret(signer), epoch, id);
            let payload = cbor::to_vec(&transaction);
            assert_eq!(Transaction::from_bytes(&payload).unwrap(), transaction);
            json!({
                "kind": transaction.kind(), "transaction": transaction.json(), "payload": hex(&payload),
                "id_of": {"job": job.json(), "sequence": sequence, "try": attempt},
                "envelope": signed.json(), "digest": signed.digest(&chain()).json(), "wire": hex(&cbor::to_vec(&signed)),
            })
        })
        .collect()
}

fn receipt() -> Receipt {
    let transfer =
        |from: Account<'_>, to: Account<'_>, amount| Transfer { from: from.id(&chain()), to: to.id(&chain()), amount };
    let worker = public("worker");
    Receipt {
        code: Code::Ok,
        transfers: vec![
            transfer(Account::Escrow(job()), Account::Vesting(worker, job()), 11_500),
            transfer(Account::Vesting(worker, job()), Account::Available(worker), 11_500),
            transfer(Account::Escrow(job()), Account::Treasury, 230),
        ],
    }
}

fn seal() -> Seal {
    let totals = Totals {
        deposited: 25_000_000,
        consumers: 24_988_270,
        escrows: 0,
        vesting: 0,
        providers: 11_500,
        treasury: 230,
        stakes: 0,
        unbonding: 0,
        slash_pool: 0,
        withdrawn: 0,
    };
    Seal { time_ms: 1_800_000_000_000, previous: digest("the seal before"), state: digest("state"), totals }
}

pub fn leaves() -> Value {
    let (settle, key, epoch, job, sequence, attempt) = all().remove(6);
    let id = TxId::derive(settle.kind(), &job, sequence, attempt);
    let signed = settle.sign(&chain(), &secret(key), epoch, id);
    let refused = Receipt { code: Code::WrongSequence, transfers: vec![] };
    let bodies = vec![
        LeafBody::Genesis(genesis().to_bytes().into()),
        LeafBody::Transaction(signed.clone(), receipt()),
        LeafBody::Transaction(signed, refused),
        LeafBody::Expire(job, Receipt { code: Code::Ok, transfers: receipt().transfers }),
        LeafBody::Seal(seal()),
        LeafBody::Seal(Seal { totals: Totals { deposited: 25_000_700, withdrawn: 700, ..seal().totals }, ..seal() }),
        LeafBody::Seal(Seal {
            totals: Totals { deposited: 25_000_777, stakes: 700, unbonding: 70, slash_pool: 7, ..seal().totals },
            ..seal()
        }),
        LeafBody::Mature(job, Receipt { code: Code::Ok, transfers: vec![receipt().transfers[1]] }),
        LeafBody::Lapse(reserve(), Receipt { code: Code::Ok, transfers: vec![] }),
    ];
    let leaves: Vec<Leaf> = (0..).zip(bodies).map(|(index, body)| Leaf { height: 1 << 33, index, body }).collect();
    let hashes: Vec<[u8; 32]> = leaves.iter().map(|leaf| Sha256::leaf(&leaf.to_bytes())).collect();
    let cases: Vec<Value> = leaves
        .iter()
        .zip(&hashes)
        .map(|(leaf, hash)| {
            assert_eq!(Leaf::from_bytes(&leaf.to_bytes()).unwrap(), *leaf);
            json!({"leaf": leaf.json(), "bytes": hex(&leaf.to_bytes()), "sha256": hex(hash)})
        })
        .collect();
    json!({"leaves": cases, "root": hex(&merkle::root::<Sha256>(&hashes))})
}

pub fn answers() -> Value {
    let seal = SealRef { height: 9, size: SEAL_SIZE, root: digest("log root"), time_ms: 1_800_000_000_000 };
    let mut providers: Vec<(PublicKey, orion_protocol::Name, bool)> =
        eligible().into_iter().map(|(key, owner)| (key, name(owner), key != public("worker"))).collect();
    providers.sort_unstable();
    let head = Head { chain: chain(), seal, epoch: 3, providers };
    let view = JobView {
        task: task(),
        consumer: consumer(),
        phase: JobPhase::Settling,
        escrowed: price::escrow_of(&task(), &genesis().policy).unwrap(),
        deadline_ms: 1_800_086_400_000,
        rounds: vec![RoundView {
            round: round(),
            closed: close_round(),
            seal,
            verdicts: vec![EntryVerdict::Accepted, EntryVerdict::Rejected, EntryVerdict::Open],
        }],
        verdicts: 1,
        pages: (0, 1),
        paid: Paid { workers: 11_500, validators: 3, fee: 230, refunded: 0 },
    };
    let policies = Policies { default: audits().digest(), policies: vec![audits(), pool()] };
    let account = AccountView { account: consumer(), balance: u64::MAX >> 1 };
    let row = |kind: &str, code, job, transfer| HistoryRow {
        leaf: 70_000,
        height: 9,
        time_ms: 1_800_000_000_000,
        kind: kind.to_owned(),
        code,
        job,
        transfer,
    };
    let settled = row("Settle", Code::Ok, Some(job()), Some(receipt().transfers[0]));
    let refused = row("CloseRound", Code::BadLease, Some(job()), None);
    let lapsed = row("Lapse", Code::Ok, None, None);
    let history = History { rows: vec![settled, refused, lapsed], next: Some(70_000 << 16 | 3) };
    let end = History { rows: Vec::new(), next: None };
    let (none, all) = (Witnesses::default(), witnesses());
    let (keys, proof) = (keys(), opened());
    json!([
        {"type": "Submitted", "value": (Submitted { leaf: 70_000, receipt: receipt(), seal }).json(),
         "bytes": hex(&cbor::to_vec(&Submitted { leaf: 70_000, receipt: receipt(), seal }))},
        {"type": "Head", "value": head.json(), "bytes": hex(&cbor::to_vec(&head))},
        {"type": "AccountView", "value": account.json(), "bytes": hex(&cbor::to_vec(&account))},
        {"type": "OpenJobs", "value": OpenJobs { jobs: vec![job()] }.json(), "bytes": hex(&cbor::to_vec(&OpenJobs { jobs: vec![job()] }))},
        {"type": "History", "value": history.json(), "bytes": hex(&cbor::to_vec(&history))},
        {"type": "History", "value": end.json(), "bytes": hex(&cbor::to_vec(&end))},
        {"type": "Policies", "value": policies.json(), "bytes": hex(&cbor::to_vec(&policies))},
        {"type": "JobView", "value": view.json(), "bytes": hex(&cbor::to_vec(&view))},
        {"type": "Witnesses", "value": none.json(), "bytes": hex(&cbor::to_vec(&none))},
        {"type": "Witnesses", "value": all.json(), "bytes": hex(&cbor::to_vec(&all))},
        {"type": "KeysView", "value": keys.json(), "bytes": hex(&cbor::to_vec(&keys))},
        {"type": "LeafProof", "value": proof.json(), "bytes": hex(&cbor::to_vec(&proof))},
    ])
}

/// An operator's key that was replaced in plan, a lost one, and one that waits for its epoch.
fn keys() -> KeysView {
    let operator = |from_epoch: u64, name: &str, lost: bool| OperatorKey { from_epoch, key: public(name), lost };
    KeysView {
        operators: vec![
            operator(0, "operator", false),
            operator(7, "validator-a", true),
            operator(300, "validator-b", false),
        ],
        platform: public("platform"),
        issuers: Issuers::alone(public("issuer")),
        replaced: vec![public("worker")],
    }
}

/// Shaped as a proof is; no log has it.
pub fn opened() -> LeafProof {
    LeafProof { leaf: vec![7; 300].into(), proof: "c2sp.org/tlog-proof@v1\nindex 5\n".to_owned() }
}

/// One that cosigned, one that refuses, one that does not answer.
fn witnesses() -> Witnesses {
    let witness = |name: &str, size: u64| WitnessView {
        name: name.to_owned(),
        size,
        seconds: size * 1_000_000,
        refused: None,
        error: None,
    };
    let refused = Some("leaf 41 pays 3 where the rules pay 2".to_owned());
    let error = Some("no answer within 15 s".to_owned());
    Witnesses {
        quorum: true,
        blocked: false,
        published: 1 << 33,
        witnessed: Some(Witnessed {
            size: 1799,
            note: "orion.dev/log\n1799\nroot\n\n\u{2014} orion.dev/log signature\n".to_owned(),
            by: vec!["ann".to_owned()],
        }),
        witnesses: vec![
            witness("ann", 1799),
            WitnessView { refused, ..witness("bob", 40) },
            WitnessView { error, ..witness("Grüße", 0) },
        ],
    }
}
