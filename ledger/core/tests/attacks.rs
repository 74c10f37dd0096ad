//! Cheap attacks on the rules: every number as large as it can be, ids that somebody else used, lengths that are lies. What is
//! asked of the service over HTTP is in `ledger/tests/attacks.rs`; the invariants and refusals have the rest.
//!
//! This is compiled with overflow checks: a sum that wraps is a panic, not a wrong balance.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::collections::BTreeSet;

use orion_ledger_core::{BlockError, Chain, Unorderable, verify};
use orion_protocol::ids::reserve_id;
use orion_protocol::ledger::leaf::{Code, Leaf};
use orion_protocol::ledger::tx::*;
use orion_protocol::statements::{Commitment, LeaseCore};
use orion_protocol::task::TaskSpec;
use orion_protocol::{Digest, PublicKey, Signed, TxId, cbor};
use support::{Ballot, Keys, POLICY, START_MS, World, key, lease, spec};

/// The numbers at which sums of 63 and 64 bits break.
const LARGE: [u64; 5] = [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1, (1 << 63) - 10_000_000];
const LARGE_32: [u32; 4] = [u32::MAX, u32::MAX - 1, 1 << 31, 1_000_001];

/// The same with half the bits.
fn high(large: u64) -> u32 {
    u32::try_from(large >> 32).unwrap()
}

fn task() -> TaskSpec {
    spec(1, 6, 3, 2)
}

/// The books after a transaction that must be refused are those before it.
fn refused(world: &mut World, tx: &Transaction, what: &str) -> Code {
    let before = (world.chain.totals(), world.chain.job(&task().job), world.chain.head().providers);
    let receipt = world.receipt(tx);
    assert!(receipt.code != Code::Ok && receipt.transfers.is_empty(), "{what}: {receipt:?}");
    assert_eq!((world.chain.totals(), world.chain.job(&task().job), world.chain.head().providers), before, "{what}");
    receipt.code
}

#[test]
fn deposits_and_epochs_of_any_size_wrap_nothing() {
    let mut world = World::new();
    let consumer = Consumer { account: world.account() };
    let deposit = |amount| Transaction::Deposit(Deposit { consumer: consumer.clone(), amount });
    for amount in LARGE.into_iter().filter(|amount| *amount > (1 << 63) - 1 - 10_000_000) {
        assert_eq!(refused(&mut world, &deposit(amount), &format!("{amount}")), Code::Overflow);
    }
    // All that there can be, and not one more, whoever it is for.
    assert_eq!(world.send(&deposit((1 << 63) - 1 - 10_000_000)), Code::Ok);
    let other = Consumer { account: orion_protocol::AccountId([9; 32]) };
    let one = Transaction::Deposit(Deposit { consumer: other, amount: 1 });
    assert_eq!(refused(&mut world, &one, "one more"), Code::Overflow);
    for epoch in LARGE {
        let tx = Transaction::OpenEpoch(OpenEpoch { epoch, nonce: vec![1; 16].into() });
        assert_eq!(refused(&mut world, &tx, &format!("epoch {epoch}")), Code::EpochTaken);
        let (tx, id) = (Transaction::Close(Close { job: task().job }), world.id());
        let signed = tx.sign(&world.signers.chain, &world.signers.keys.operator, epoch, id);
        assert_eq!(world.block(vec![signed])[0].code, Code::StaleEpoch);
        let id = world.id();
        let signed = deposit(1).sign(&world.signers.chain, &world.signers.keys.issuer, epoch, id);
        assert_eq!(world.block(vec![signed])[0].code, Code::OutOfBounds);
    }
}

#[test]
fn every_number_of_a_task_at_its_largest_is_refused_or_costs_what_it_says() {
    type Field = (&'static str, fn(&mut TaskSpec, u64));
    type Field32 = (&'static str, fn(&mut TaskSpec, u32));
    let mut world = World::new();
    let fields: [Field; 7] = [
        ("items", |task, to| (task.units.items, task.outputs[0].shape[0]) = (to, to)),
        ("items alone", |task, to| task.units.items = to),
        ("items a unit", |task, to| task.units.items_per_unit = to),
        ("units a shard", |task, to| task.units.units_per_shard = to),
        ("work an item", |task, to| task.units.work_per_item = to),
        ("shape", |task, to| task.outputs[0].shape.extend([to, to])),
        ("price", |task, to| task.price = to),
    ];
    for (what, set) in fields {
        for to in LARGE {
            let mut task = task();
            set(&mut task, to);
            let tx = world.escrow_tx(&task, u64::MAX);
            let receipt = world.receipt(&tx);
            // More items a unit than there are is one unit of all.
            let want = if what == "items a unit" { Code::Ok } else { receipt.code };
            assert_eq!(receipt.code, want, "{what} {to}");
            if receipt.code == Code::Ok {
                assert_eq!(world.close(&task).code, Code::NotSettled);
                world = World::new();
            } else {
                let may = [Code::OutOfBounds, Code::UnknownPolicy, Code::Overflow];
                assert!(may.contains(&receipt.code), "{what} {to}: {receipt:?}");
            }
        }
    }
    let fields: [Field32; 2] =
        [("audits a shard", |task, to| task.audits_per_shard = to), ("fee", |task, to| task.fee_ppm = to)];
    for (what, set) in fields {
        for to in LARGE_32 {
            let mut task = task();
            set(&mut task, to);
            let tx = world.escrow_tx(&task, u64::MAX);
            assert_eq!(refused(&mut world, &tx, what), Code::OutOfBounds, "{what} {to}");
        }
    }
}

#[test]
fn a_policy_at_its_largest_is_no_genesis_or_makes_jobs_too_dear_to_exist() {
    let with = |policy: Policy| Chain::start(&Keys::new().genesis_under(policy).to_bytes(), START_MS);
    for fee_ppm in LARGE_32 {
        assert!(matches!(with(Policy { fee_ppm, ..POLICY }), Err(BlockError::Genesis(_))));
    }
    for ms in LARGE {
        assert!(matches!(with(Policy { vesting_ms: ms, ..POLICY }), Err(BlockError::Genesis(_))));
    }
    assert!(matches!(with(Policy { escrow_ms: 0, ..POLICY }), Err(BlockError::Genesis(_))));
    // A million work is a price; less is a part of it, which may be more than there is without being more than fits.
    for (large, work, want) in LARGE.into_iter().flat_map(|large| {
        [(large, 10, Code::InsufficientCredits), (large, 1 << 40, Code::Overflow), (large, 1 << 57, Code::Overflow)]
    }) {
        for fee_ppm in [0, 20_000, 1_000_000] {
            let policy = Policy { price: large, fee_ppm, ..POLICY };
            let mut world = World::under(policy.clone());
            let mut task = support::spec_under(&policy, 1, 6, 3, 2);
            task.units.work_per_item = work;
            let tx = world.escrow_tx(&task, u64::MAX);
            assert_eq!(refused(&mut world, &tx, "a job under it"), want, "{policy:?}");
        }
    }
    let policy = Policy { escrow_ms: u64::MAX - START_MS, ..POLICY };
    let mut world = World::under(policy.clone());
    let tx = world.escrow_tx(&support::spec_under(&policy, 1, 6, 3, 2), u64::MAX);
    assert_eq!(refused(&mut world, &tx, "an escrow without an end"), Code::Overflow);
}

/// A provider with 20 micro-credits, a treasury with some, a job that is open.
fn earned() -> World {
    let mut world = World::new();
    world.pay(&spec(2, 2, 2, 1));
    assert_eq!(world.open_escrow(&task()), Code::Ok);
    world
}

#[test]
fn top_ups_withdrawals_and_reserves_of_any_size_move_nothing_that_is_not_there() {
    let mut world = earned();
    let (job, account, issuer) = (task().job, world.account(), world.signers.keys.issuer.clone());
    for amount in LARGE.into_iter().chain([0]) {
        let code = refused(&mut world, &Transaction::TopUp(TopUp { job, amount }), "a top-up");
        assert!([Code::Overflow, Code::InsufficientCredits, Code::OutOfBounds].contains(&code), "{code}");
        let owner = key(11);
        let operator = world.signers.keys.operator.clone();
        let purses = [
            (Purse::Available(owner.public()), owner.clone()),
            (Purse::Treasury, operator.clone()),
            (Purse::Consumer(account), operator),
        ];
        for (from, owner) in purses {
            let before = world.chain.totals();
            let tx = Transaction::Withdraw(Withdraw { from, amount, to: Digest::ZERO, reserve: None });
            let code = world.approved(&tx, &[issuer.clone(), owner]).code;
            assert!([Code::InsufficientCredits, Code::OutOfBounds].contains(&code), "{from:?} {amount}: {code}");
            assert_eq!(world.chain.totals(), before);
        }
    }
    let chain = world.signers.chain.clone();
    let reserve = |world: &mut World, amount, expires_ms| {
        let (tx, id) = (Transaction::Reserve(Reserve { amount, expires_ms }), world.id());
        (world.block(vec![tx.sign(&chain, &key(11), 0, id)])[0].code, reserve_id(&key(11).public(), &id))
    };
    let soon = world.time_ms + 1_000;
    let (code, one) = reserve(&mut world, 1, soon);
    assert_eq!(code, Code::Ok);
    for large in LARGE {
        // On top of what is held: the sum would wrap.
        let (code, _) = reserve(&mut world, large, soon);
        assert!([Code::Overflow, Code::InsufficientCredits].contains(&code), "{large}: {code}");
        assert_eq!(reserve(&mut world, 1, large).0, Code::OutOfBounds, "until {large}");
        let from = Purse::Available(key(11).public());
        let tx = Transaction::Withdraw(Withdraw { from, amount: large, to: Digest::ZERO, reserve: Some(one) });
        assert_eq!(world.approved(&tx, &[issuer.clone(), key(11)]).code, Code::ReserveOver);
    }
    for threshold in LARGE_32 {
        let tx = Transaction::Issuers(Issuers { threshold, keys: vec![issuer.public()] });
        assert_eq!(world.approved(&tx, std::slice::from_ref(&issuer)).code, Code::OutOfBounds);
    }
}

#[test]
fn leases_and_commitments_with_the_largest_numbers_are_refused() {
    type OfLease = fn(&mut LeaseCore, u64);
    type OfCommitment = fn(&mut Commitment, u64);
    let mut world = earned();
    let (task, alice) = (task(), key(11).public());
    let fields: [(OfLease, OfCommitment); 6] = [
        (|lease, to| lease.first_unit = to, |_, _| {}),
        (|lease, to| lease.units = to, |commitment, to| commitment.units = to),
        (|lease, to| lease.shard = high(to), |_, _| {}),
        (|lease, to| lease.token.epoch = to, |_, _| {}),
        (|lease, to| lease.token.copy = high(to), |_, _| {}),
        (|_, _| {}, |commitment, to| commitment.units = to),
    ];
    for (in_lease, in_commitment) in fields {
        for large in LARGE {
            let mut changed = lease(&task, 0, 1, alice);
            in_lease(&mut changed, large);
            let signed = Signed::new(&world.signers.chain, &world.signers.keys.operator, &changed);
            let mut commitment = Commitment {
                lease: signed.digest(&world.signers.chain),
                units: 3,
                root: Digest::ZERO,
                outputs: vec![Digest::ZERO],
                digest_list: Digest::ZERO,
                class: Digest::ZERO,
                driver: String::new(),
            };
            in_commitment(&mut commitment, large);
            let work = world.signers.committed(changed, BTreeSet::new(), &commitment);
            let tx = Transaction::CloseRound(world.close_tx(&task, &[&work]));
            let code = refused(&mut world, &tx, "a round");
            assert!([Code::BadLease, Code::BadCommitment].contains(&code), "{code}");
        }
    }
}

#[test]
fn verdicts_sequences_and_pages_with_the_largest_numbers_are_refused() {
    let mut world = earned();
    let (task, alice) = (task(), key(11).public());
    let honest = world.signers.work(&task, 0, 1, alice, &[]);
    let closed = world.close_round(&task, &[&honest]);
    let evidence = world.signers.evidence(&honest, &task, &closed, &Ballot::default());
    for large in LARGE {
        let mut changed = evidence.clone();
        changed.drawn[0].unit = large;
        let tx = world.verdict_tx(&task, &closed, vec![changed]);
        assert_eq!(refused(&mut world, &Transaction::RecordVerdict(tx), "a unit"), Code::BadDraw);
        let mut tx = world.verdict_tx(&task, &closed, vec![evidence.clone()]);
        tx.sequence = large;
        assert_eq!(refused(&mut world, &Transaction::RecordVerdict(tx), "a sequence"), Code::WrongSequence);
        let mut tx = world.close_tx(&task, &[&world.signers.work(&task, 1, 1, alice, &[])]);
        tx.sequence = large;
        assert_eq!(refused(&mut world, &Transaction::CloseRound(tx), "a sequence"), Code::WrongSequence);
    }
    let tx = world.verdict_tx(&task, &closed, vec![evidence]);
    assert_eq!(world.send(&Transaction::RecordVerdict(tx)), Code::Ok);
    for page in LARGE {
        let tx = Transaction::Settle(Settle { job: task.job, page });
        assert_eq!(refused(&mut world, &tx, "a page"), Code::WrongSequence);
    }
    // An attempt as high as can be is one, and the last.
    let last = world.signers.work(&task, 1, u32::MAX, alice, &[3, 4, 5]);
    let closed = world.close_round(&task, &[&last]);
    assert_eq!(world.judge(&task, &closed, &[&last], &Ballot::default()), Code::Ok);
    let again = world.signers.work(&task, 1, u32::MAX, alice, &[]);
    let again = Transaction::CloseRound(world.close_tx(&task, &[&again]));
    assert_eq!(refused(&mut world, &again, "again"), Code::BadLease);
    assert_eq!((world.settle(&task, 0).code, world.close(&task).code), (Code::Ok, Code::Ok));
}

#[test]
fn at_the_end_of_time_blocks_end_and_no_sum_wraps() {
    let mut world = World::under(Policy { vesting_ms: Policy::MAX_VESTING_MS, ..POLICY });
    let task = support::spec_under(&world.chain.genesis().policy.clone(), 1, 3, 3, 1);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    world.time_ms = u64::MAX - 50;
    assert_eq!(world.deposit(1), Code::Ok, "the escrow ends in this block");
    let late = support::spec_under(&world.chain.genesis().policy.clone(), 2, 3, 3, 1);
    let tx = world.escrow_tx(&late, u64::MAX);
    assert_eq!(world.send(&tx), Code::Overflow, "its deadline is past the end");
    let (consumer, id) = (Consumer { account: world.account() }, world.id());
    let last = world.sign(&Transaction::Deposit(Deposit { consumer, amount: 1 }), id);
    let last = world.admission.check(last).unwrap();
    let last = world.chain.finalize_block(u64::MAX, &[last]).unwrap();
    assert_eq!(last.seal.time_ms, u64::MAX);
    assert!(matches!(world.chain.finalize_block(u64::MAX, &[]), Err(BlockError::Time { .. })));
}

#[test]
fn an_id_that_somebody_else_used_is_still_free() {
    let mut world = earned();
    let (chain, squatted) = (world.signers.chain.clone(), TxId::derive("Settle", &task().job, 0, 0));
    // Providers and issuers know which ids the operator will use, and use them first.
    let reserve = Transaction::Reserve(Reserve { amount: 1, expires_ms: world.time_ms + 1_000 });
    let deposit = Transaction::Deposit(Deposit { consumer: Consumer { account: world.account() }, amount: 1 });
    let issuer = world.signers.keys.issuer.clone();
    let squatters = vec![reserve.sign(&chain, &key(11), 0, squatted), deposit.sign(&chain, &issuer, 0, squatted)];
    assert!(world.block(squatters).iter().all(|receipt| receipt.code == Code::Ok));
    let settle = Transaction::Settle(Settle { job: task().job, page: 0 });
    let operators = world.sign(&settle, squatted);
    assert_eq!(world.block(vec![operators.clone()])[0].code, Code::Ok);
    // The operator's own words under it are one transaction, now and later.
    let other = world.sign(&Transaction::Close(Close { job: task().job }), squatted);
    let size = world.log.len();
    let codes: Vec<Code> = world.block(vec![other, operators]).iter().map(|receipt| receipt.code).collect();
    assert_eq!((codes, world.log.len()), (vec![Code::ExistsWithDifferentBytes, Code::Ok], size));
    // Whoever copies an envelope and puts a name of its own on it has signed nothing.
    let mut stolen = cbor::to_vec(&world.sign(&settle, TxId([7; 16])));
    let at = stolen.len() - 64 - 2 - 1 - 32;
    stolen[at..at + 32].copy_from_slice(&key(11).public().0);
    assert!(matches!(world.admission.read(&stolen), Err(Unorderable::Signature(_))));
}

#[test]
fn lengths_that_are_lies_and_nests_without_end_cost_nothing() {
    let world = World::new();
    let ten_megabytes = vec![0x81; 10 << 20];
    assert!(world.admission.read(&ten_megabytes).is_err() && Leaf::from_bytes(&ten_megabytes).is_err());
    assert!(Transaction::from_bytes(&ten_megabytes).is_err() && Genesis::from_bytes(&ten_megabytes).is_err());
    // Lists, maps, bytes and text of 2^64 - 1 entries, where a transaction, a task or a leaf has one.
    for major in [0x40, 0x60, 0x80, 0xa0_u8] {
        let huge = [&[major | 0x1b][..], &[0xff; 8]].concat();
        for before in
            [&[][..], &[0x82, 0x04, 0x81, 0xa4, 0x00], &[0xa3, 0x00, 0x00, 0x01, 0x00, 0x02, 0x82, 0x01, 0x82]]
        {
            let bytes = [before, &huge, &[0; 64]].concat();
            assert!(Transaction::from_bytes(&bytes).is_err() && Leaf::from_bytes(&bytes).is_err());
            assert!(TaskSpec::from_object(&bytes).is_err() && world.admission.read(&bytes).is_err());
        }
    }
    // As deep as a transaction is long.
    for nest in [0x81, 0xa1] {
        let deep = vec![nest; MAX_LEAF_BYTES];
        assert!(Transaction::from_bytes(&deep).is_err() && Leaf::from_bytes(&deep[1..]).is_err());
    }
    // An export that says it is longer than it is, at each of its lengths.
    let (good, key) = world.export();
    let mut at = orion_ledger_core::export::MAGIC.len();
    while at < good.len() {
        let length = usize::try_from(u32::from_be_bytes(good[at..at + 4].try_into().unwrap())).unwrap();
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&[0xff; 4]);
        assert!(verify::log(bytes.as_slice(), &key).is_err(), "the length at {at}");
        at += 4 + length;
    }
}

#[test]
fn keys_that_are_no_keys_sign_nothing() {
    // Points of small order have signatures that verify for any text, under laxer rules than ours.
    let world = World::new();
    let neutral: [u8; 32] = std::array::from_fn(|at| u8::from(at == 0));
    for bytes in [[0; 32], neutral, [0xff; 32]] {
        let consumer = Consumer { account: world.account() };
        let payload = cbor::to_vec(&Transaction::Deposit(Deposit { consumer, amount: 1 }));
        let envelope = Envelope { signer: PublicKey(bytes), epoch: 0, id: TxId([1; 16]), payload: payload.into() };
        let signature = [neutral, [0; 32]].concat();
        let payload = cbor::to_vec(&envelope);
        let mut forged = vec![0xa3, 0x00, 0x58, u8::try_from(payload.len()).unwrap()];
        forged.extend([payload.as_slice(), &[0x01, 0x58, 32], &bytes, &[0x02, 0x58, 64], &signature].concat());
        assert!(matches!(world.admission.read(&forged), Err(Unorderable::Signature(_))));
    }
}
