//! Every code that a transaction can be refused with, and that a refusal moves no money.

mod support;

use std::collections::BTreeSet;

use orion_ledger_core::{BlockError, Unorderable};
use orion_protocol::digest::Digest;
use orion_protocol::ledger::Transaction;
use orion_protocol::ledger::leaf::Code;
use orion_protocol::ledger::tx::*;
use orion_protocol::price;
use orion_protocol::reason::{Reason, Refusal};
use orion_protocol::statements::*;
use orion_protocol::task::TaskSpec;
use orion_protocol::{JobId, Signed};
use support::{Ballot, Closed, POLICY, Work, World, key, name, spec};

fn task() -> TaskSpec {
    spec(1, 6, 3, 2)
}

/// With an escrow for [`task`].
fn funded() -> World {
    let mut world = World::new();
    assert_eq!(world.open_escrow(&task()), Code::Ok);
    world
}

/// A transaction that must be refused with this code, and leave every balance and the job as they were.
fn refused(world: &mut World, tx: &Transaction, want: Code, what: &str) {
    let before = (world.chain.totals(), world.chain.job(&task().job), world.chain.head().providers);
    let receipt = world.receipt(tx);
    assert_eq!(receipt.code, want, "{what}");
    assert_eq!(receipt.transfers, [], "{what}");
    assert_eq!((world.chain.totals(), world.chain.job(&task().job), world.chain.head().providers), before, "{what}");
}

#[test]
fn accounts() {
    let mut world = World::new();
    let owner = RegisterProvider { key: key(11).public(), owner: name("mallory"), validates: true };
    refused(&mut world, &Transaction::RegisterProvider(owner), Code::OwnerDiffers, "another owner");
    assert_eq!(world.register(11, "alice"), Code::Ok, "the same again");
    let epoch = |epoch, nonce: usize| Transaction::OpenEpoch(OpenEpoch { epoch, nonce: vec![0; nonce].into() });
    refused(&mut world, &epoch(3, 16), Code::EpochTaken, "not the last plus 1");
    refused(&mut world, &epoch(1, 16), Code::EpochTaken, "the current one");
    refused(&mut world, &epoch(2, 15), Code::OutOfBounds, "a short nonce");
    let account = world.account();
    let deposit = |amount| Transaction::Deposit(Deposit { consumer: Consumer { account }, amount });
    refused(&mut world, &deposit(0), Code::OutOfBounds, "a deposit of nothing");
    refused(&mut world, &deposit(1 << 63), Code::Overflow, "more than 63 bits");
    refused(&mut world, &deposit((1 << 63) - 10_000_000), Code::Overflow, "more than 63 bits in all");
    assert_eq!(world.send(&deposit((1 << 63) - 1 - 10_000_000)), Code::Ok, "all there can be");
}

#[test]
fn whose_word_it_is() {
    let mut world = World::new();
    let (id, other) = (world.id(), world.id());
    let consumer = Consumer { account: world.account() };
    let deposit = Transaction::Deposit(Deposit { consumer, amount: 1 });
    let keys = &world.signers.keys;
    let by_operator = deposit.sign(&world.signers.chain, &keys.operator, 1, id);
    let in_epoch = deposit.sign(&world.signers.chain, &keys.issuer, 1, other);
    assert_eq!(world.block(vec![by_operator])[0].code, Code::NotAllowed);
    assert_eq!(world.block(vec![in_epoch])[0].code, Code::OutOfBounds);
    let stranger = deposit.sign(&world.signers.chain, &key(66), 0, id);
    let stranger = world.admission.check(stranger).unwrap();
    assert!(matches!(world.chain.orderable(&stranger), Err(Unorderable::UnknownSigner(_))));
    let refused = world.chain.clone().finalize_block(world.time_ms + 1, &[stranger]);
    assert!(matches!(refused, Err(BlockError::Unorderable(_))));
    let mut other_chain = world.signers.keys.genesis();
    other_chain.nonce = Digest::ZERO;
    let elsewhere = deposit.sign(&other_chain.chain(), &world.signers.keys.issuer, 0, id);
    assert!(matches!(world.admission.check(elsewhere), Err(Unorderable::Signature(_))));
    let envelope =
        Envelope { signer: world.signers.keys.issuer.public(), epoch: 0, id, payload: b"nonsense".to_vec().into() };
    let nonsense = Signed::new(&world.signers.chain, &world.signers.keys.issuer, &envelope);
    assert!(matches!(world.admission.check(nonsense), Err(Unorderable::Payload(_))));
    let envelope = Envelope { payload: orion_protocol::cbor::to_vec(&deposit).into(), ..envelope };
    let misnamed = Signed::new(&world.signers.chain, &world.signers.keys.operator, &envelope);
    assert!(matches!(world.admission.check(misnamed), Err(Unorderable::Signer { .. })));
    assert!(matches!(world.admission.read(b"nonsense"), Err(Unorderable::Envelope(_))));
}

#[test]
fn escrows() {
    let mut world = World::new();
    let good = task();
    let cost = price::escrow_of(&good, &POLICY).unwrap();
    let with = |change: &dyn Fn(&mut TaskSpec)| {
        let mut spec = task();
        change(&mut spec);
        spec
    };
    let cases: [(TaskSpec, u64, Code, &str); 8] = [
        (good.clone(), cost - 1, Code::BudgetTooSmall, "one micro-credit short"),
        (with(&|spec| spec.policy = Digest::ZERO), u64::MAX, Code::UnknownPolicy, "another policy"),
        (with(&|spec| spec.price += 1), u64::MAX, Code::UnknownPolicy, "another price"),
        (with(&|spec| spec.fee_ppm = 0), u64::MAX, Code::UnknownPolicy, "another fee"),
        (with(&|spec| spec.job = JobId::NONE), u64::MAX, Code::OutOfBounds, "no job"),
        (with(&|spec| spec.audits_per_shard = 33), u64::MAX, Code::OutOfBounds, "too many audits"),
        (with(&|spec| spec.units.work_per_item = 1 << 40), u64::MAX, Code::InsufficientCredits, "too dear"),
        (spec(2, 1 << 20, 1 << 10, 32), u64::MAX, Code::InsufficientCredits, "more than there is"),
    ];
    for (spec, budget, want, what) in cases {
        let tx = world.escrow_tx(&spec, budget);
        refused(&mut world, &tx, want, what);
    }
    let Transaction::OpenEscrow(mut broken) = world.escrow_tx(&good, u64::MAX) else { panic!() };
    broken.task[0] ^= 1;
    refused(&mut world, &Transaction::OpenEscrow(broken), Code::OutOfBounds, "no TaskSpec");
    let tx = world.escrow_tx(&good, cost);
    assert_eq!(world.send(&tx), Code::Ok, "the budget is exactly enough");
    refused(&mut world, &tx, Code::JobExists, "again");
}

#[test]
fn jobs_that_are_not_there_or_are_over() {
    let mut world = funded();
    let (ghost, task) = (spec(9, 6, 3, 2), task());
    let alice = key(11).public();
    let work = world.signers.work(&task, 0, 1, alice, &[]);
    let verdict = |job: JobId| RecordVerdict { job, round: Digest::ZERO, sequence: 0, shards: Vec::new() };
    let ghosts = [
        Transaction::CloseRound(world.close_tx(&ghost, &[&work])),
        Transaction::RecordVerdict(verdict(ghost.job)),
        Transaction::Settle(Settle { job: ghost.job, page: 0 }),
        Transaction::Close(Close { job: ghost.job }),
    ];
    for tx in ghosts {
        refused(&mut world, &tx, Code::NoSuchJob, tx.kind());
    }
    refused(&mut world, &Transaction::Close(Close { job: task.job }), Code::NotSettled, "not settled");
    refused(&mut world, &Transaction::Settle(Settle { job: task.job, page: 1 }), Code::WrongSequence, "page 1 first");
    let closed = world.close_round(&task, &[&work]);
    refused(&mut world, &Transaction::Settle(Settle { job: task.job, page: 0 }), Code::RoundOpen, "not judged");
    assert_eq!(world.judge(&task, &closed, &[&work], &Ballot::default()), Code::Ok);
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    let late = world.signers.work(&task, 1, 1, alice, &[]);
    let late =
        [Transaction::CloseRound(world.close_tx(&task, &[&late])), Transaction::RecordVerdict(verdict(task.job))];
    for tx in &late {
        refused(&mut world, tx, Code::JobSettling, tx.kind());
    }
    assert_eq!(world.close(&task).code, Code::Ok);
    for tx in &late {
        refused(&mut world, tx, Code::JobSettling, "closed");
    }
    refused(&mut world, &Transaction::Close(Close { job: task.job }), Code::JobSettling, "twice");
}

#[test]
fn rounds() {
    let mut world = funded();
    let task = task();
    let alice = key(11).public();
    let good = world.signers.work(&task, 0, 1, alice, &[]);
    let base = world.close_tx(&task, &[&good]);
    let mut case = |tx: CloseRound, want: Code, what: &str| {
        refused(&mut world, &Transaction::CloseRound(tx), want, what);
    };
    case(CloseRound { entries: Vec::new(), ..base.clone() }, Code::OutOfBounds, "no entries");
    case(CloseRound { entries: vec![good.entry.clone(); 33], ..base.clone() }, Code::OutOfBounds, "33 entries");
    let backwards = base.eligible.iter().rev().copied().collect();
    case(CloseRound { eligible: backwards, ..base.clone() }, Code::OutOfBounds, "not ascending");
    case(CloseRound { sequence: 1, ..base.clone() }, Code::WrongSequence, "not the next");
    case(CloseRound { eligible: vec![key(50).public()], ..base.clone() }, Code::BadValidator, "not registered");
    case(CloseRound { eligible: vec![key(2).public()], ..base.clone() }, Code::BadValidator, "the platform");
    case(CloseRound { entries: vec![good.entry.clone(); 2], ..base.clone() }, Code::SlotTaken, "a shard twice");
    let retired = RegisterProvider { key: alice, owner: name("alice"), validates: false };
    assert_eq!(world.send(&Transaction::RegisterProvider(retired)), Code::Ok);
    refused(&mut world, &Transaction::CloseRound(base), Code::BadValidator, "does not validate any more");
}

/// Rounds with one of these entries each.
fn refused_entries(world: &mut World, cases: Vec<(Work, &str)>, want: Code) {
    for (work, what) in cases {
        let tx = Transaction::CloseRound(world.close_tx(&task(), &[&work]));
        refused(world, &tx, want, what);
    }
}

#[test]
fn leases() {
    let mut world = funded();
    let (task, alice) = (task(), key(11).public());
    let signers = &world.signers;
    let leased = |change: &dyn Fn(&mut LeaseCore)| {
        let mut core = support::lease(&task, 0, 1, alice);
        change(&mut core);
        signers.work_for(core, &[])
    };
    let audit = AuditOf { round: Digest::ZERO, lease: Digest::ZERO, units: vec![0] };
    let mut own = leased(&|_| {});
    own.entry.lease = Signed::new(&signers.chain, &key(11), &own.core);
    let cases = vec![
        (leased(&|core| core.kind = LeaseKind::Preflight), "not for work"),
        (leased(&|core| (core.kind, core.audit) = (LeaseKind::Audit, Some(audit.clone()))), "an audit"),
        (leased(&|core| core.task = Digest::ZERO), "another task"),
        (leased(&|core| core.shard = 2), "beyond the last shard"),
        (leased(&|core| core.first_unit = 1), "another first unit"),
        (leased(&|core| core.units = 2), "fewer units"),
        (leased(&|core| core.token.epoch = 2), "a later epoch"),
        (leased(&|core| core.token.attempt = 0), "attempt 0"),
        (leased(&|core| core.token.copy = 1), "a second copy"),
        (own, "leased by the provider itself"),
    ];
    refused_entries(&mut world, cases, Code::BadLease);
}

#[test]
fn commitments() {
    let mut world = funded();
    let (task, alice, stranger) = (task(), key(11).public(), key(40));
    world.signers.providers.insert(stranger.public(), stranger.clone());
    let signers = &world.signers;
    let core = support::lease(&task, 0, 1, alice);
    let good = signers.work_for(core.clone(), &[]);
    let said = good.entry.commitment.verify(&signers.chain, &alice).unwrap().into_inner();
    let committed = |change: &dyn Fn(&mut Commitment)| {
        let mut commitment = said.clone();
        change(&mut commitment);
        signers.committed(core.clone(), BTreeSet::new(), &commitment)
    };
    let mut foreign = good.clone();
    foreign.entry.commitment = Signed::new(&signers.chain, &key(12), &said);
    let cases = vec![
        (committed(&|said| said.lease = Digest::ZERO), "another lease"),
        (committed(&|said| said.units = 2), "fewer units"),
        (committed(&|said| said.outputs.clear()), "no outputs"),
        (foreign, "another provider's signature"),
        (signers.work(&task, 0, 1, stranger.public(), &[]), "a provider that is not registered"),
    ];
    refused_entries(&mut world, cases, Code::BadCommitment);
}

#[test]
fn ingests() {
    let mut world = funded();
    let signers = &world.signers;
    let good = signers.work(&task(), 0, 1, key(11).public(), &[]);
    let digest = good.entry.commitment.digest(&signers.chain);
    let ingested = |commitment: Digest, refused: Option<Refusal>, by: u8| {
        let mut work = good.clone();
        work.entry.ingested = Signed::new(&signers.chain, &key(by), &Ingested { commitment, refused });
        work
    };
    let refusal = Refusal::new(Reason::OutputMismatch, "other bits");
    let cases = vec![
        (ingested(Digest::ZERO, None, 2), "another commitment's"),
        (ingested(digest, Some(refusal), 2), "the platform refused"),
        (ingested(digest, None, 11), "the provider's own"),
    ];
    refused_entries(&mut world, cases, Code::BadIngest);
}

#[test]
fn slots_and_attempts() {
    let mut world = funded();
    let task = task();
    let alice = key(11).public();
    let try_shard = |world: &mut World, attempt: u32, lies: &[u64]| {
        let work = world.signers.work(&task, 0, attempt, alice, lies);
        let closed = world.close_round(&task, &[&work]);
        assert_eq!(world.judge(&task, &closed, &[&work], &Ballot::default()), Code::Ok);
    };
    let refuse = |world: &mut World, attempt: u32, want: Code, what: &str| {
        let work = world.signers.work(&task, 0, attempt, alice, &[]);
        let tx = Transaction::CloseRound(world.close_tx(&task, &[&work]));
        refused(world, &tx, want, what);
    };
    let first = world.signers.work(&task, 0, 1, alice, &[]);
    let closed = world.close_round(&task, &[&first]);
    refuse(&mut world, 2, Code::SlotTaken, "in a round that is not judged");
    assert_eq!(world.judge(&task, &closed, &[&first], &Ballot::default()), Code::Ok);
    refuse(&mut world, 2, Code::SlotTaken, "accepted already");

    let mut world = funded();
    for attempt in [2, 3, 5, 7] {
        refuse_none(&world, attempt);
        try_shard(&mut world, attempt, &[0, 1, 2]);
        refuse(&mut world, attempt, Code::BadLease, "an attempt that was judged");
        refuse(&mut world, attempt - 1, Code::BadLease, "an older attempt");
    }
    refuse(&mut world, 8, Code::OutOfBounds, "a fifth judged attempt");
}

/// The attempt is a new one.
fn refuse_none(world: &World, attempt: u32) {
    let slot = world.chain.jobs()[&task().job].slots.get(&0).copied().unwrap_or_default();
    assert!(attempt > slot.fence && !slot.open && !slot.accepted);
}

/// A round with one honest shard, and the evidence for it.
fn judged_world() -> (World, Work, Closed, ShardVerdict) {
    let mut world = funded();
    let task = task();
    let work = world.signers.work(&task, 0, 1, key(11).public(), &[]);
    let closed = world.close_round(&task, &[&work]);
    let evidence = world.signers.evidence(&work, &task, &closed, &Ballot::default());
    (world, work, closed, evidence)
}

#[test]
fn verdicts() {
    let (mut world, work, closed, good) = judged_world();
    let task = task();
    let base = world.verdict_tx(&task, &closed, vec![good.clone()]);
    let mut case = |tx: RecordVerdict, want: Code, what: &str| {
        refused(&mut world, &Transaction::RecordVerdict(tx), want, what);
    };
    case(RecordVerdict { shards: Vec::new(), ..base.clone() }, Code::OutOfBounds, "no shards");
    case(RecordVerdict { shards: vec![good.clone(); 33], ..base.clone() }, Code::OutOfBounds, "33 shards");
    case(RecordVerdict { sequence: 1, ..base.clone() }, Code::WrongSequence, "not the next");
    case(RecordVerdict { round: Digest::ZERO, ..base.clone() }, Code::NoSuchRound, "no round");
    case(RecordVerdict { shards: vec![good.clone(); 2], ..base.clone() }, Code::NoSuchRound, "a shard twice");
    let elsewhere = ShardVerdict { lease: Digest::ZERO, ..good };
    case(RecordVerdict { shards: vec![elsewhere], ..base.clone() }, Code::NoSuchRound, "no such lease");
    assert_eq!(world.send(&Transaction::RecordVerdict(base)), Code::Ok);
    let again = world.signers.evidence(&work, &task, &closed, &Ballot::default());
    let again = Transaction::RecordVerdict(world.verdict_tx(&task, &closed, vec![again]));
    refused(&mut world, &again, Code::NoSuchRound, "judged already");
}

#[test]
fn a_round_cannot_be_judged_in_the_block_that_closes_it() {
    let mut world = funded();
    let task = task();
    let work = world.signers.work(&task, 0, 1, key(11).public(), &[]);
    let tx = world.close_tx(&task, &[&work]);
    let commitment = work.entry.commitment.digest(&world.signers.chain);
    let round = orion_protocol::draw::round_id(&task.job, &[commitment]);
    let closed = Closed { round, seed: Digest::ZERO, eligible: tx.eligible.clone() };
    let evidence = world.signers.evidence(&work, &task, &closed, &Ballot::default());
    let verdict = world.verdict_tx(&task, &closed, vec![evidence]);
    let (one, two) = (world.id(), world.id());
    let txs =
        vec![world.sign(&Transaction::CloseRound(tx), one), world.sign(&Transaction::RecordVerdict(verdict), two)];
    let codes: Vec<Code> = world.block(txs).into_iter().map(|receipt| receipt.code).collect();
    assert_eq!(codes, [Code::Ok, Code::NoSuchRound]);
}

#[test]
fn evidence() {
    let (mut world, work, closed, good) = judged_world();
    let task = task();
    let changed = |change: &dyn Fn(&mut ShardVerdict)| {
        let mut evidence = good.clone();
        change(&mut evidence);
        evidence
    };
    let voter = good.votes[0].key();
    let said = good.votes[0].verify(&world.signers.chain, &voter).unwrap().into_inner();
    let vote = |round: Digest, lease: Digest, units: Vec<UnitDigest>| world.signers.vote(voter, round, lease, units);
    let by_task =
        |task: &TaskSpec| world.signers.vote_by_task(voter, closed.round, (task, work.lease), said.units.clone());
    let more = |unit: u64| {
        let mut units = said.units.clone();
        units.push(UnitDigest { unit, digest: Digest::ZERO });
        units.sort_by_key(|said| said.unit);
        units
    };
    let platform = world.signers.keys.platform.public();
    let referee = world.signers.vote(platform, closed.round, work.lease, said.units.clone());
    let other = (0..3).find(|unit| good.drawn.iter().all(|drawn| drawn.unit != *unit)).unwrap();
    let cases: Vec<(ShardVerdict, Code, &str)> = vec![
        (changed(&|it| it.drawn.truncate(1)), Code::BadDraw, "a drawn unit left out"),
        (changed(&|it| it.drawn.swap(0, 1)), Code::BadDraw, "another order"),
        (changed(&|it| it.drawn[0].unit = other), Code::BadDraw, "a unit that was not drawn"),
        (changed(&|it| it.drawn[0].digest = Digest::ZERO), Code::BadDraw, "a digest that was not committed"),
        (changed(&|it| it.drawn[0].salt = Digest::ZERO), Code::BadDraw, "another salt"),
        (changed(&|it| it.drawn[0].path.clear()), Code::BadDraw, "no path"),
        (changed(&|it| it.votes.truncate(1)), Code::BadVote, "a vote left out"),
        (changed(&|it| it.votes.push(it.votes[0].clone())), Code::BadVote, "a vote twice"),
        (changed(&|it| it.votes.push(referee.clone())), Code::BadVote, "a vote that nobody asked for"),
        (
            changed(&|it| it.votes[0] = vote(Digest::ZERO, work.lease, said.units.clone())),
            Code::BadVote,
            "about another round",
        ),
        (
            changed(&|it| it.votes[0] = vote(closed.round, Digest::ZERO, said.units.clone())),
            Code::BadVote,
            "about another lease",
        ),
        (changed(&|it| it.votes[0] = vote(closed.round, work.lease, more(other))), Code::BadVote, "about more units"),
        (changed(&|it| it.votes[0] = by_task(&spec(2, 6, 3, 2))), Code::BadVote, "about another task"),
        (changed(&|it| it.absent = vec![voter]), Code::BadVote, "absent, and yet votes"),
        (changed(&|it| it.absent = vec![key(11).public()]), Code::BadVote, "absent, and was never asked"),
        (
            changed(&|it| it.absent = vec![key(13).public(), key(12).public()]),
            Code::BadVote,
            "absent, not ascending or not passed over",
        ),
        (changed(&|it| it.referee = Some(referee.clone())), Code::BadReferee, "a referee without a dispute"),
    ];
    for (evidence, want, what) in cases {
        let tx = Transaction::RecordVerdict(world.verdict_tx(&task, &closed, vec![evidence]));
        refused(&mut world, &tx, want, what);
    }
    let named = good.votes.iter().map(|vote| {
        let said = vote.verify(&world.signers.chain, &vote.key()).unwrap().into_inner();
        world.signers.vote_by_task(vote.key(), closed.round, (&task, work.lease), said.units)
    });
    let said_by_task = ShardVerdict { votes: named.collect(), ..good.clone() };
    let tx = world.verdict_tx(&task, &closed, vec![said_by_task]);
    assert_eq!(world.send(&Transaction::RecordVerdict(tx)), Code::Ok, "votes that say this task");
}

#[test]
fn referees() {
    let (mut world, work, closed, _) = judged_world();
    let task = task();
    let ballot = Ballot { liars: BTreeSet::from([key(12).public(), key(13).public()]), ..Ballot::default() };
    let good = world.signers.evidence(&work, &task, &closed, &ballot);
    let platform = world.signers.keys.platform.public();
    let said = good.referee.as_ref().unwrap().verify(&world.signers.chain, &platform).unwrap().into_inner();
    assert_eq!(said.units.len(), 2, "both drawn units are disputed");
    let with = |referee: Option<Signed<Vote>>| ShardVerdict { referee, ..good.clone() };
    let alice = key(11).public();
    let cases = [
        (with(None), "missing"),
        (with(Some(world.signers.vote(alice, closed.round, work.lease, said.units.clone()))), "not the platform's"),
        (with(Some(world.signers.vote(platform, closed.round, work.lease, said.units[..1].to_vec()))), "one unit only"),
        (with(Some(world.signers.vote(platform, Digest::ZERO, work.lease, said.units.clone()))), "another round"),
    ];
    for (evidence, what) in cases {
        let tx = Transaction::RecordVerdict(world.verdict_tx(&task, &closed, vec![evidence]));
        refused(&mut world, &tx, Code::BadReferee, what);
    }
    let tx = world.verdict_tx(&task, &closed, vec![good]);
    assert_eq!(world.send(&Transaction::RecordVerdict(tx)), Code::Ok);
}
