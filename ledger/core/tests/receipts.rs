//! Receipts: from one unit to a signed and cosigned checkpoint, and no changed byte on the way is overlooked.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::collections::BTreeSet;
use std::convert::Infallible;

use orion_ledger_core::log::note::{KeyType, Note, NoteSigner};
use orion_ledger_core::log::proof_file::ProofFile;
use orion_ledger_core::log::prove::{Hashes, inclusion};
use orion_ledger_core::log::receipt::{
    Entry, Maker, NoReceipt, Payment, Receipt, ReceiptError, Step, prove_unit, read_unit,
};
use orion_ledger_core::log::tile::Tile;
use orion_ledger_core::log::trust::Trust;
use orion_ledger_core::{Checkpoint, Signer};
use orion_protocol::draw::round_id;
use orion_protocol::ids::TxId;
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody, Receipt as Outcome};
use orion_protocol::ledger::tx::{CloseRound, DrawnUnit, RecordVerdict, RoundEntry, ShardVerdict, Transaction};
use orion_protocol::merkle::{self, Sha3, Sha256};
use orion_protocol::statements::{Commitment, UnitDigest};
use orion_protocol::task::{TaskSpec, unit_salt};
use orion_protocol::{Digest, cbor};
use support::{Ballot, Work, World, digest_of, key, spec};

/// Leaves of a log, below 256 of them.
struct Log(Vec<Vec<u8>>);

impl Hashes for Log {
    type Error = Infallible;
    fn hashes(&self, tile: Tile) -> Result<Vec<[u8; 32]>, Infallible> {
        assert_eq!((tile.level, tile.index), (0, 0));
        Ok(self.0[..usize::from(tile.width)].iter().map(|leaf| Sha256::leaf(leaf)).collect())
    }
}

fn witness() -> NoteSigner {
    NoteSigner::new("witness.example", KeyType::Cosignature, key(50)).unwrap()
}

impl Log {
    /// The checkpoint over all leaves, signed, and cosigned by the witness.
    fn note(&self, world: &World) -> Note {
        let root = merkle::root::<Sha256>(&self.hashes(Tile::at(self.0.len() as u64, 0, 0).unwrap()).unwrap());
        let origin = world.signers.chain.log_origin();
        let text = Checkpoint { origin: origin.clone(), size: self.0.len() as u64, root: Digest(root) }.text();
        let mut note = Note::new(text.clone()).unwrap();
        let log = NoteSigner::new(&origin, KeyType::Ed25519, world.signers.keys.checkpoint.clone()).unwrap();
        note.add(log.sign(&text, 0)).unwrap();
        note.add(witness().sign(&text, 77)).unwrap();
        note
    }

    fn entry(&self, world: &World, at: usize) -> Entry {
        let path = inclusion(self.0.len() as u64, at as u64, self).unwrap();
        let proof = ProofFile { extra: None, index: at as u64, path, note: self.note(world) };
        Entry { leaf: self.0[at].clone(), proof }
    }

    /// Places of the leaves that hold a transaction of this kind, or an expiry.
    fn places(&self, kind: &str) -> Vec<usize> {
        let is = |leaf: &Vec<u8>| match Leaf::from_bytes(leaf).unwrap().body {
            LeafBody::Transaction(signed, _) => {
                // The envelope's bytes are enough to know the kind; the receipt checks the signature.
                let chain = support::Keys::new().genesis().chain();
                let envelope = signed.verify(&chain, &signed.key()).unwrap().into_inner();
                Transaction::from_bytes(&envelope.payload).unwrap().kind() == kind
            }
            LeafBody::Expire(..) => kind == "Expire",
            LeafBody::Genesis(_) | LeafBody::Seal(_) | LeafBody::Mature(..) | LeafBody::Lapse(..) => false,
        };
        (0..self.0.len()).filter(|at| is(&self.0[*at])).collect()
    }
}

fn trust(world: &World) -> Trust {
    let signer = Signer::new(&world.signers.chain, world.signers.keys.checkpoint.clone(), None);
    let file = format!("log {}\nwitness w {}\nquorum w\n", signer.key(), witness().key());
    Trust::parse(file.as_bytes()).unwrap()
}

/// The proof of any unit, as whoever has digests and salts makes it.
fn unit(work: &Work, number: u64) -> DrawnUnit {
    let salt = |unit: u64| Digest::of(&[b"salt".as_slice(), &unit.to_be_bytes()].concat());
    let digest = |unit: u64| digest_of(unit, work.lies.contains(&unit));
    let units = work.core.first_unit..work.core.first_unit + work.core.units;
    let leaves: Vec<[u8; 32]> = units.map(|unit| Sha3::unit_leaf(&salt(unit), unit, &digest(unit))).collect();
    let place = usize::try_from(number - work.core.first_unit).unwrap();
    let path = merkle::path::<Sha3>(&leaves, place).into_iter().map(Digest).collect();
    DrawnUnit { unit: number, digest: digest(number), salt: salt(number), path }
}

struct Case {
    world: World,
    log: Log,
    task: TaskSpec,
    bad: Work,
    good: Work,
    other: Work,
}

/// Shard 0 of two, of five units each: refused once, then accepted and paid; shard 1 in the same round as the second try.
fn case() -> Case {
    let mut world = World::new();
    let task = spec(1, 10, 5, 2);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let bad = world.signers.work(&task, 0, 1, key(11).public(), &[0, 1, 2, 3, 4]);
    let closed = world.close_round(&task, &[&bad]);
    assert_eq!(world.judge(&task, &closed, &[&bad], &Ballot::default()), Code::Ok);
    let good = world.signers.work(&task, 0, 2, key(12).public(), &[]);
    let other = world.signers.work(&task, 1, 1, key(13).public(), &[]);
    let closed = world.close_round(&task, &[&good, &other]);
    let ballot = Ballot { liars: BTreeSet::from([key(11).public()]), ..Ballot::default() };
    assert_eq!(world.judge(&task, &closed, &[&good, &other], &ballot), Code::Ok);
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    assert_eq!(world.close(&task).code, Code::Ok);
    let log = Log(world.log.clone());
    Case { world, log, task, bad, good, other }
}

impl Case {
    /// The receipt of the round with this number.
    fn receipt(&self, round: usize) -> Receipt {
        let entry = |kind: &str, at: usize| self.log.entry(&self.world, self.log.places(kind)[at]);
        Receipt {
            close: entry("CloseRound", round),
            verdict: Some(entry("RecordVerdict", round)),
            settle: Some(entry("Settle", 0)),
            unit: None,
            task: Some(self.task.object()),
        }
    }
}

#[test]
fn every_unit_of_paid_work_is_under_the_root_the_leaf_and_the_checkpoint() {
    let case = case();
    let trust = trust(&case.world);
    for work in [&case.good, &case.other] {
        for number in work.core.first_unit..work.core.first_unit + work.core.units {
            let proof = unit(work, number);
            let receipt = Receipt { unit: Some(read_unit(&cbor::to_vec(&proof)).unwrap()), ..case.receipt(1) };
            let shown = receipt.verify(&work.lease, &trust).unwrap();
            assert_eq!(shown.unit, Some((number, digest_of(number, false))));
        }
    }
    let receipt = Receipt { unit: Some(unit(&case.good, 3)), ..case.receipt(1) };
    let shown = receipt.verify(&case.good.lease, &trust).unwrap();
    assert_eq!((shown.chain, shown.job), (case.world.signers.chain.clone(), case.task.job));
    assert_eq!((shown.lease, shown.operator), (case.good.core.clone(), key(1).public()));
    assert_eq!(shown.task.unwrap(), case.task);
    let judgement = shown.verdict.unwrap();
    assert!(judgement.accepted && judgement.drawn.len() == 2 && !judgement.votes.is_empty());
    // What the ledger's own report says was paid.
    let job = case.world.chain.job(&case.task.job).unwrap();
    let paid: u64 = shown.payments.iter().map(|payment| payment.vested).sum();
    assert!(shown.payments.iter().all(|payment| payment.vested == payment.matured));
    assert_eq!(shown.payments[0].key, key(12).public());
    assert!(paid > 0 && paid <= job.paid.workers + job.paid.validators);
    let balance = case.world.balance(&orion_protocol::ids::Account::Available(key(12).public()));
    assert_eq!(shown.payments[0], Payment { key: key(12).public(), vested: balance, matured: balance });
    let places: Vec<(Step, u64)> = shown.places.iter().map(|place| (place.step, place.size)).collect();
    let size = case.log.0.len() as u64;
    assert_eq!(places, [(Step::Close, size), (Step::Verdict, size), (Step::Settle, size)]);
    assert!(shown.places.iter().all(|place| place.witnessed[0].seconds == 77));
}

#[test]
fn a_verdict_is_what_the_votes_say_and_the_referee_has_the_last_word() {
    let case = case();
    let trust = trust(&case.world);
    let alone = Receipt { settle: None, ..case.receipt(0) };
    let shown = alone.verify(&case.bad.lease, &trust).unwrap().verdict.unwrap();
    assert!(!shown.accepted && shown.refereed && shown.drawn.iter().all(|(_, right)| !right));
    assert!(shown.votes.iter().all(|(_, upheld)| *upheld));
    // In the second round a validator lied about one shard or the other: it is overruled, the work accepted.
    let mut overruled = 0;
    for work in [&case.good, &case.other] {
        let shown = case.receipt(1).verify(&work.lease, &trust).unwrap().verdict.unwrap();
        assert!(shown.accepted && shown.refereed == shown.votes.iter().any(|(_, upheld)| !upheld));
        for (voter, upheld) in shown.votes {
            assert_eq!(upheld, voter != key(11).public());
            overruled += u32::from(!upheld);
        }
    }
    assert!(overruled > 0);
    // Less is a receipt too.
    let close = Receipt { verdict: None, settle: None, task: None, ..case.receipt(1) };
    let shown = close.verify(&case.good.lease, &trust).unwrap();
    assert!(shown.verdict.is_none() && shown.payments.is_empty() && shown.task.is_none());
}

#[test]
fn verdicts_are_those_of_the_ledgers_own_report() {
    let case = case();
    let (export, vkey) = case.world.export();
    let report = orion_ledger_core::verify::log(export.as_slice(), &vkey).unwrap();
    let job = report.job(&case.task.job).unwrap();
    let attempts = job.shards.iter().flat_map(|shard| shard.accepted.iter().chain(&shard.rejected));
    let mut compared = 0;
    for attempt in attempts {
        let work = [&case.bad, &case.good, &case.other].into_iter().find(|work| work.core == attempt.lease).unwrap();
        let receipt = case.receipt(usize::from(work.core != case.bad.core));
        let shown = receipt.verify(&work.lease, &trust(&case.world)).unwrap();
        let judgement = shown.verdict.unwrap();
        let votes: Vec<_> = attempt.auditors.iter().map(|auditor| (auditor.key, auditor.upheld)).collect();
        assert_eq!((shown.round, shown.commitment), (attempt.round, attempt.commitment.clone()));
        assert_eq!((judgement.drawn, judgement.votes), (attempt.drawn.clone(), votes));
        assert_eq!(judgement.refereed, !attempt.refereed.is_empty());
        compared += 1;
    }
    assert_eq!(compared, 3);
}

#[test]
fn whoever_has_digests_and_the_jobs_salt_proves_any_unit() {
    let mut world = World::new();
    let (task, job_salt) = (spec(1, 12, 7, 1), Digest::of(b"the job's salt"));
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let plain = world.signers.work(&task, 1, 1, key(12).public(), &[]);
    let digests: Vec<Digest> = (7..12).map(|unit| digest_of(unit, false)).collect();
    let leaves = (7..12).map(|unit| Sha3::unit_leaf(&unit_salt(&job_salt, unit), unit, &digest_of(unit, false)));
    let chain = &world.signers.chain;
    let commitment = plain.entry.commitment.verify(chain, &key(12).public()).unwrap().into_inner();
    let root = Digest(merkle::root::<Sha3>(&leaves.collect::<Vec<_>>()));
    let work = world.signers.committed(plain.core, BTreeSet::new(), &Commitment { root, ..commitment });
    let _ = world.close_round(&task, &[&work]);
    let log = Log(world.log.clone());
    let close = log.entry(&world, log.places("CloseRound")[0]);
    let receipt = Receipt { close, verdict: None, settle: None, unit: None, task: None };
    for number in 7..12 {
        let unit = prove_unit(7, &digests, &job_salt, number).unwrap();
        let whole = Receipt { unit: Some(unit.clone()), ..receipt.clone() };
        assert_eq!(whole.verify(&work.lease, &trust(&world)).unwrap().unit, Some((number, unit.digest)));
        let elsewhere = DrawnUnit { unit: number + 1, ..unit };
        let moved = Receipt { unit: Some(elsewhere), ..receipt.clone() };
        assert!(matches!(moved.verify(&work.lease, &trust(&world)), Err(ReceiptError::Unit(_))));
    }
    for number in [0, 6, 12, u64::MAX] {
        assert_eq!(prove_unit(7, &digests, &job_salt, number), None);
    }
}

#[test]
fn an_expiry_pays_too() {
    let mut world = World::new();
    let task = spec(1, 5, 5, 2);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let work = world.signers.work(&task, 0, 1, key(12).public(), &[]);
    let closed = world.close_round(&task, &[&work]);
    assert_eq!(world.judge(&task, &closed, &[&work], &Ballot::default()), Code::Ok);
    world.time_ms += 100_000;
    let _ = world.block(vec![]);
    let log = Log(world.log.clone());
    let entry = |kind: &str| log.entry(&world, log.places(kind)[0]);
    let (close, verdict, settle) = (entry("CloseRound"), Some(entry("RecordVerdict")), Some(entry("Expire")));
    let receipt = Receipt { close, verdict, settle, unit: Some(unit(&work, 4)), task: None };
    let shown = receipt.verify(&work.lease, &trust(&world)).unwrap();
    assert_eq!((shown.payments[0].key, shown.payments[0].vested), (key(12).public(), 50));
}

fn maker(world: &World, task: &TaskSpec) -> Maker {
    let mut maker = Maker::new(&world.signers.chain, task.job);
    world.log.iter().for_each(|leaf| maker.leaf(leaf));
    maker
}

#[test]
fn receipts_made_from_a_log_are_those_put_together_by_hand() {
    let mut case = case();
    // Another job's leaves are in the log too, and a page that the ledger refused.
    let second = spec(2, 5, 5, 2);
    assert_eq!(case.world.open_escrow(&second), Code::Ok);
    let work = case.world.signers.work(&second, 0, 1, key(12).public(), &[]);
    let closed = case.world.close_round(&second, &[&work]);
    assert_eq!(case.world.judge(&second, &closed, &[&work], &Ballot::default()), Code::Ok);
    assert_eq!(case.world.settle(&case.task, 0).code, Code::JobSettling);
    case.log = Log(case.world.log.clone());
    let (maker, note) = (maker(&case.world, &case.task), case.log.note(&case.world));
    let job = &case.world.chain.jobs()[&case.task.job];
    for (work, round) in [(&case.good, 1), (&case.other, 1), (&case.bad, 0)] {
        let mut want = case.receipt(round);
        if round == 0 {
            want.settle = None;
        }
        assert_eq!(maker.receipt(&note, job, &work.lease, None), Ok(want.clone()));
        let judgement = want.verify(&work.lease, &trust(&case.world)).unwrap().verdict.unwrap();
        let drawn: Vec<u64> = judgement.drawn.iter().map(|(unit, _)| *unit).collect();
        for number in work.core.first_unit..work.core.first_unit + work.core.units {
            let made = maker.receipt(&note, job, &work.lease, Some(number));
            if drawn.contains(&number) {
                assert_eq!(made, Ok(Receipt { unit: Some(unit(work, number)), ..want.clone() }));
            } else {
                assert_eq!(made, Err(NoReceipt::Unit(number, drawn.clone())));
            }
        }
    }
    assert_eq!(maker.receipt(&note, job, &work.lease, None), Err(NoReceipt::Lease));
}

#[test]
fn the_page_in_a_receipt_is_the_one_that_pays_the_shard() {
    let mut world = World::new();
    let task = spec(1, 230, 1, 1);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let mut all = Vec::new();
    for round in 0..8 {
        let shards = (round * 32)..((round + 1) * 32).min(230);
        let work =
            |shard: u32| world.signers.work(&task, shard, 1, key(11 + u8::try_from(shard % 3).unwrap()).public(), &[]);
        let work: Vec<Work> = shards.map(work).collect();
        let some: Vec<&Work> = work.iter().collect();
        let closed = world.close_round(&task, &some);
        for some in some.chunks(16) {
            assert_eq!(world.judge(&task, &closed, some, &Ballot::default()), Code::Ok);
        }
        all.extend(work);
    }
    // The first page by Settle, the others when the job expires.
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    world.time_ms += 100_000;
    let _ = world.block(vec![]);
    let (maker, job) = (maker(&world, &task), &world.chain.jobs()[&task.job]);
    assert!(job.settlement.as_ref().unwrap().pages() > 2);
    let mut signer = Signer::new(&world.signers.chain, world.signers.keys.checkpoint.clone(), None);
    let note = Note::parse(signer.sign(&world.chain.seal_ref()).unwrap().as_bytes()).unwrap();
    let trust = Trust::parse(format!("log {}\nquorum none\n", signer.key()).as_bytes()).unwrap();
    let mut pages = BTreeSet::new();
    for work in &all {
        let receipt = maker.receipt(&note, job, &work.lease, None).unwrap();
        let shown = receipt.verify(&work.lease, &trust).unwrap();
        assert!(shown.payments.iter().any(|paid| paid.key == work.core.provider), "{}", work.core.shard);
        pages.insert(shown.places[2].leaf);
    }
    assert_eq!(pages.len(), 2, "workers are on the first two pages");
}

/// A part of a receipt that is a leaf.
type Part = (&'static str, fn(&mut Receipt) -> &mut Entry);

#[test]
fn a_changed_byte_in_any_part_is_refused() {
    let case = case();
    let trust = trust(&case.world);
    let good = Receipt { unit: Some(unit(&case.good, 3)), ..case.receipt(1) };
    assert!(good.verify(&case.good.lease, &trust).is_ok());
    let refused = |receipt: Receipt, what: &str, at: usize| {
        let result = receipt.verify(&case.good.lease, &trust);
        assert!(result.is_err_and(|error| !error.undecided()), "{what} byte {at}");
    };
    let flipped = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1 << (at % 8);
        bytes
    };
    let parts: [Part; 3] = [
        ("close", |receipt| &mut receipt.close),
        ("verdict", |receipt| receipt.verdict.as_mut().unwrap()),
        ("settle", |receipt| receipt.settle.as_mut().unwrap()),
    ];
    for (what, part) in parts {
        let entry = part(&mut good.clone()).clone();
        for at in 0..entry.leaf.len() {
            let mut changed = good.clone();
            part(&mut changed).leaf = flipped(&entry.leaf, at);
            refused(changed, what, at);
        }
        let proof = entry.proof.to_string();
        for at in 0..proof.len() {
            let Ok(proof) = ProofFile::parse(&flipped(proof.as_bytes(), at)) else { continue };
            let mut changed = good.clone();
            part(&mut changed).proof = proof;
            let error = changed.verify(&case.good.lease, &trust).unwrap_err();
            // A name or key id that is not known leaves the signature uncounted: not proven, not proven wrong.
            let quorum = matches!(error, ReceiptError::Quorum { .. } | ReceiptError::Untrusted { .. });
            assert_eq!(error.undecided(), quorum, "{what} proof byte {at}: {error}");
        }
    }
    let unit = cbor::to_vec(good.unit.as_ref().unwrap());
    for at in 0..unit.len() {
        let Ok(unit) = read_unit(&flipped(&unit, at)) else { continue };
        refused(Receipt { unit: Some(unit), ..good.clone() }, "unit", at);
    }
    let task = good.task.clone().unwrap();
    for at in 0..task.len() {
        refused(Receipt { task: Some(flipped(&task, at)), ..good.clone() }, "task", at);
    }
    assert!(read_unit(&vec![0; 5000]).is_err());
}

#[test]
fn without_the_log_or_its_witnesses_nothing_is_decided() {
    let case = case();
    let lease = case.good.lease;
    let decide = |receipt: &Receipt, file: String| receipt.verify(&lease, &Trust::parse(file.as_bytes()).unwrap());
    let signer = Signer::new(&case.world.signers.chain, case.world.signers.keys.checkpoint.clone(), None);
    let other = Signer::new(&case.world.signers.chain, key(9), None);
    let stranger = NoteSigner::new("w", KeyType::Cosignature, key(51)).unwrap();
    let receipt = case.receipt(1);
    assert!(decide(&receipt, format!("log {}\nquorum none\n", signer.key())).is_ok());
    let result = decide(&receipt, format!("log {}\nquorum none\n", other.key())).unwrap_err();
    assert!(result.undecided() && matches!(result, ReceiptError::Untrusted { step: Step::Close, .. }));
    let result =
        decide(&receipt, format!("log {}\nwitness s {}\nquorum s\n", signer.key(), stranger.key())).unwrap_err();
    assert!(result.undecided() && matches!(result, ReceiptError::Quorum { step: Step::Close, .. }));
    // A log of somebody else's that is believed has no chain in its name.
    let foreign = NoteSigner::new("log.example", KeyType::Ed25519, key(9)).unwrap();
    let mut elsewhere = receipt.clone();
    let text = elsewhere.close.proof.note.text().replace(signer.key().name(), "log.example");
    elsewhere.close.proof.note = Note::new(text.clone()).unwrap();
    elsewhere.close.proof.note.add(foreign.sign(&text, 0)).unwrap();
    assert!(decide(&elsewhere, format!("log {}\nquorum none\n", foreign.key())).unwrap_err().undecided());
}

#[test]
fn leaves_that_do_not_belong_together_are_refused() {
    let case = case();
    let trust = trust(&case.world);
    let lease = &case.good.lease;
    let (first, second) = (case.receipt(0), case.receipt(1));
    let error = |receipt: Receipt| receipt.verify(lease, &trust).unwrap_err();
    let content = |receipt: Receipt| match error(receipt) {
        ReceiptError::Content(step, why) => (step, why),
        error => panic!("{error}"),
    };
    let with = |close: &Receipt, verdict: &Receipt| Receipt { verdict: verdict.verdict.clone(), ..close.clone() };
    assert_eq!(content(first.clone()), (Step::Close, "the lease is not in the round"));
    assert!(matches!(error(with(&second, &first)), ReceiptError::Order));
    // Who did refused work is not paid in the page, who voted on it is.
    let refused = first.verify(&case.bad.lease, &trust).unwrap();
    assert!(!refused.payments.is_empty() && refused.payments.iter().all(|paid| paid.key != key(11).public()));
    let alone = Receipt { verdict: None, ..first.clone() }.verify(&case.bad.lease, &trust).unwrap_err();
    assert_eq!(alone.to_string(), "settle: pays neither the provider nor a voter");
    let mixed = with(&first, &second).verify(&case.bad.lease, &trust).unwrap_err();
    assert_eq!(mixed.to_string(), "verdict: is of another round");
    let swapped = Receipt { close: second.verdict.clone().unwrap(), verdict: None, ..second.clone() };
    assert_eq!(content(swapped), (Step::Close, "is no CloseRound"));
    let swapped = Receipt { verdict: second.settle.clone(), settle: None, ..second.clone() };
    assert_eq!(content(swapped), (Step::Verdict, "is no RecordVerdict"));
    let swapped = Receipt { verdict: None, settle: second.verdict.clone(), ..second.clone() };
    assert_eq!(content(swapped), (Step::Settle, "is neither a Settle nor an expiry"));
    let closing = case.log.entry(&case.world, case.log.places("Close")[0]);
    assert_eq!(content(Receipt { settle: Some(closing), ..second.clone() }).0, Step::Settle);
    let seal = case.log.entry(&case.world, case.log.0.len() - 1);
    assert_eq!(
        content(Receipt { settle: Some(seal), ..second.clone() }),
        (Step::Settle, "the leaf holds no transaction")
    );
    let other = Receipt { unit: Some(unit(&case.other, 7)), ..second.clone() };
    assert!(matches!(error(other), ReceiptError::Unit(7)));
    let task = Receipt { task: Some(spec(2, 10, 5, 2).object()), ..second };
    assert!(matches!(error(task), ReceiptError::Task));
}

/// A log that ends in leaves with these transactions, as a dishonest ledger could write and sign them: with code ok.
fn forged(case: &Case, txs: &[Transaction]) -> Vec<Entry> {
    let mut log = Log(case.log.0.clone());
    let first = log.0.len();
    for tx in txs {
        let envelope = tx.sign(&case.world.signers.chain, &case.world.signers.keys.operator, 1, TxId([9; 16]));
        let body = LeafBody::Transaction(envelope, Outcome { code: Code::Ok, transfers: vec![] });
        log.0.push(Leaf { height: 99, index: 0, body }.to_bytes());
    }
    (first..log.0.len()).map(|at| log.entry(&case.world, at)).collect()
}

#[test]
fn what_a_dishonest_ledger_lets_pass_is_found_where_the_receipt_can_tell() {
    let mut case = case();
    let trust = trust(&case.world);
    let (job, eligible) = (case.task.job, vec![]);
    let signers = &case.world.signers;
    let one = signers.work(&case.task, 0, 2, key(12).public(), &[]);
    let two = signers.work(&case.task, 1, 2, key(12).public(), &[]);
    let close = |entry| {
        Transaction::CloseRound(CloseRound { job, sequence: 0, entries: vec![entry], eligible: eligible.clone() })
    };
    let judged = |case: &Case, txs: &[Transaction]| {
        let mut entries = forged(case, txs).into_iter();
        let (close, verdict) = (entries.next().unwrap(), entries.next());
        let receipt = Receipt { close, verdict, settle: None, unit: None, task: None };
        receipt.verify(&one.lease, &trust).map(|shown| shown.verdict).map_err(|error| error.to_string())
    };
    assert_eq!(judged(&case, &[close(one.entry.clone())]), Ok(None));
    let together = Err("close: lease, commitment and ingest do not belong together".to_owned());
    let entry = RoundEntry { commitment: two.entry.commitment.clone(), ..one.entry.clone() };
    assert_eq!(judged(&case, &[close(entry)]), together);
    let entry = RoundEntry { ingested: two.entry.ingested.clone(), ..one.entry.clone() };
    assert_eq!(judged(&case, &[close(entry)]), together);
    let entry = RoundEntry { commitment: case.other.entry.commitment.clone(), ..one.entry.clone() };
    assert_eq!(judged(&case, &[close(entry)]), Err("close: the commitment was refused".into()));
    let empty = CloseRound { job, sequence: 0, entries: vec![], eligible: eligible.clone() };
    let bounds = Err("close: the round is out of its bounds".into());
    assert_eq!(judged(&case, &[Transaction::CloseRound(empty)]), bounds);

    let round = round_id(&job, &[one.entry.commitment.digest(&signers.chain)]);
    let said = |unit| UnitDigest { unit, digest: digest_of(unit, false) };
    let vote = |round, lease| signers.vote(key(12).public(), round, lease, vec![said(3)]);
    let shard = |vote, unit| ShardVerdict {
        lease: one.lease,
        drawn: vec![unit],
        votes: vec![vote],
        absent: vec![],
        referee: None,
    };
    let verdict = |shard| Transaction::RecordVerdict(RecordVerdict { job, round, sequence: 0, shards: vec![shard] });
    let judge = |shard| judged(&case, &[close(one.entry.clone()), verdict(shard)]);
    let accepted = judge(shard(vote(round, one.lease), unit(&one, 3))).unwrap().unwrap();
    assert!(accepted.accepted && !accepted.refereed);
    let elsewhere = Err("verdict: a vote is about something else".to_owned());
    assert_eq!(judge(shard(vote(Digest::ZERO, one.lease), unit(&one, 3))), elsewhere);
    assert_eq!(judge(shard(vote(round, two.lease), unit(&one, 3))), elsewhere);
    assert_eq!(
        judge(shard(vote(round, one.lease), unit(&two, 7))),
        Err("the unit 7 is not under the commitment's root".into())
    );
    let other = ShardVerdict { lease: two.lease, ..shard(vote(round, one.lease), unit(&one, 3)) };
    assert_eq!(judge(other), Err("verdict: does not judge the lease".into()));
    // A drawn unit that nobody voted on is not right.
    let silent = judge(shard(vote(round, one.lease), unit(&one, 2))).unwrap().unwrap();
    assert!(!silent.accepted);

    // The task asks for two units, whatever the ledger took.
    let txs = [close(one.entry.clone()), verdict(shard(vote(round, one.lease), unit(&one, 3)))];
    let [closed, short] = forged(&case, &txs).try_into().unwrap();
    let task = Some(case.task.object());
    let receipt = Receipt { close: closed, verdict: Some(short), settle: None, unit: None, task };
    let error = receipt.verify(&one.lease, &trust).unwrap_err().to_string();
    assert_eq!(error, "verdict: draws another number of units than the task asks for");

    // A page of another job.
    let task = spec(2, 4, 4, 1);
    let world = &mut case.world;
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let work = world.signers.work(&task, 0, 1, key(12).public(), &[]);
    let closed = world.close_round(&task, &[&work]);
    assert_eq!(world.judge(&task, &closed, &[&work], &Ballot::default()), Code::Ok);
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    case.log = Log(case.world.log.clone());
    let page = case.log.entry(&case.world, *case.log.places("Settle").last().unwrap());
    let error = Receipt { settle: Some(page), ..case.receipt(1) }.verify(&case.good.lease, &trust).unwrap_err();
    assert_eq!(error.to_string(), "settle: is of another job");
}

#[test]
fn a_refused_transaction_shows_nothing() {
    let mut case = case();
    // The same page again.
    assert_eq!(case.world.settle(&case.task, 0).code, Code::JobSettling);
    case.log = Log(case.world.log.clone());
    let again = *case.log.places("Settle").last().unwrap();
    let receipt = Receipt { settle: Some(case.log.entry(&case.world, again)), ..case.receipt(1) };
    let error = receipt.verify(&case.good.lease, &trust(&case.world)).unwrap_err();
    assert!(matches!(error, ReceiptError::Refused(Step::Settle, Code::JobSettling)) && !error.undecided());
}

#[test]
fn two_checkpoints_of_one_size_are_a_fork() {
    let case = case();
    let mut other = Log(case.log.0.clone());
    let last = other.0.len() - 1;
    other.0[last].push(0);
    let verdict = other.entry(&case.world, case.log.places("RecordVerdict")[1]);
    let receipt = Receipt { verdict: Some(verdict), ..case.receipt(1) };
    let error = receipt.verify(&case.good.lease, &trust(&case.world)).unwrap_err();
    assert!(matches!(error, ReceiptError::Forked(size) if size == case.log.0.len() as u64));
    // Under checkpoints of different sizes the receipt holds.
    let mut longer = Log(case.log.0.clone());
    longer.0.push(b"one more".to_vec());
    let verdict = longer.entry(&case.world, case.log.places("RecordVerdict")[1]);
    let receipt = Receipt { verdict: Some(verdict), ..case.receipt(1) };
    assert!(receipt.verify(&case.good.lease, &trust(&case.world)).is_ok());
}
