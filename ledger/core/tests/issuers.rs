//! What needs several people's words: deposits of more than one issuer, withdrawals, other issuers.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use orion_ledger_core::{Chain, Replay, Standing, Unorderable};
use orion_protocol::ids::{Account, TxId};
use orion_protocol::ledger::Transaction;
use orion_protocol::ledger::leaf::{Code, Totals};
use orion_protocol::ledger::tx::*;
use orion_protocol::{Digest, PublicKey, SecretKey, Signed, cbor};
use support::{Ballot, Keys, POLICY, START_MS, World, approve, key, spec, spec_under};

/// The issuer of all tests, and two more.
fn issuers() -> [SecretKey; 3] {
    [Keys::new().issuer, key(31), key(32)]
}

fn set(threshold: u32, keys: &[SecretKey]) -> Issuers {
    let mut keys: Vec<PublicKey> = keys.iter().map(SecretKey::public).collect();
    keys.sort_unstable();
    Issuers { threshold, keys }
}

/// A chain of three issuers, two of whom are needed.
fn world() -> World {
    let genesis = Genesis { issuers: Some(set(2, &issuers())), ..Keys::new().genesis() };
    World::bare_of(&genesis)
}

fn deposit(world: &World, amount: u64) -> Transaction {
    Transaction::Deposit(Deposit { consumer: Consumer { account: world.account() }, amount })
}

fn withdraw(from: Purse, amount: u64) -> Transaction {
    Transaction::Withdraw(Withdraw { from, amount, to: Digest::of(b"elsewhere"), reserve: None })
}

fn check_replay(world: &World) {
    let mut replay = Replay::new(world.chain.id().clone());
    for leaf in &world.log {
        replay.leaf(leaf).unwrap();
    }
    assert_eq!(replay.finish().unwrap().snapshot(), world.chain.snapshot());
}

/// A later version may know it, and would judge otherwise than the log says.
#[test]
fn what_this_version_cannot_read_inside_is_never_ordered_and_still_replays() {
    let world = world();
    let approved = |inner: Vec<u8>| {
        let tx = Transaction::Approved(Approved { inner: inner.into(), approvals: vec![] });
        tx.sign(&world.signers.chain, &issuers()[0], 0, TxId([9; 16]))
    };
    // A number of no transaction, the fields of none, and nothing.
    for inner in [vec![0x82, 0x18, 0x63, 0x80], vec![0x82, 0x00, 0x81, 0x80], vec![]] {
        let signed = approved(inner);
        assert!(matches!(world.admission.read(&cbor::to_vec(&signed)), Err(Unorderable::Payload(_))));
        assert!(world.admission.check(signed).is_ok(), "a log may have it");
    }
    let signed = approved(cbor::to_vec(&deposit(&world, 1)));
    assert!(world.admission.read(&cbor::to_vec(&signed)).is_ok());
}

#[test]
fn a_deposit_takes_as_many_issuers_as_the_threshold_says() {
    let mut world = world();
    let [a, b, c] = issuers();
    let tx = deposit(&world, 5);
    assert_eq!(world.send(&tx), Code::NotEnoughApprovals);
    assert_eq!(world.approved(&tx, &[]).code, Code::NotEnoughApprovals);
    assert_eq!(world.approved(&tx, std::slice::from_ref(&b)).code, Code::NotEnoughApprovals);
    assert_eq!(world.approved(&tx, &[a.clone(), a.clone()]).code, Code::BadApproval, "one key twice");
    assert_eq!(world.approved(&tx, &[a.clone(), b.clone(), key(66)]).code, Code::BadApproval, "a stranger");
    let operator = world.signers.keys.operator.clone();
    assert_eq!(
        world.approved(&tx, &[a.clone(), b.clone(), operator]).code,
        Code::BadApproval,
        "nobody whose word it needs"
    );
    assert_eq!(world.chain.totals(), Totals::default());
    assert_eq!(world.approved(&tx, &[b.clone(), c.clone()]).code, Code::Ok, "also without the sender's own");
    assert_eq!(world.approved(&tx, &[a, b, c]).code, Code::Ok);
    assert_eq!(world.chain.totals().deposited, 10);
    check_replay(&world);
}

#[test]
fn an_approval_is_good_for_one_transaction_in_one_envelope() {
    let mut world = world();
    let [a, b, _] = issuers();
    let chain = world.signers.chain.clone();
    let (tx, by) = (deposit(&world, 5), [a.clone(), b.clone()]);
    let (id, other) = (world.id(), world.id());
    let good = approve(&chain, &a, id, &tx, &by);
    let send = |world: &mut World, sender: &SecretKey, id: TxId, approved: &Approved| {
        let signed = Transaction::Approved(approved.clone()).sign(&chain, sender, 0, id);
        world.block(vec![signed]).remove(0).code
    };
    assert_eq!(send(&mut world, &a, other, &good), Code::BadApproval, "under another id");
    assert_eq!(send(&mut world, &b, id, &good), Code::BadApproval, "in an envelope of somebody else");
    let more = Approved { inner: cbor::to_vec(&deposit(&world, 6)).into(), ..good.clone() };
    let fresh = world.id();
    assert_eq!(send(&mut world, &a, fresh, &more), Code::BadApproval, "of another transaction");
    let elsewhere = approve(&Keys::new().genesis().chain(), &a, world.id(), &tx, &by);
    let fresh = world.id();
    assert_eq!(send(&mut world, &a, fresh, &elsewhere), Code::BadApproval, "on another chain");
    let mut unordered = approve(&chain, &a, fresh, &tx, &by);
    unordered.approvals.reverse();
    let fresh = world.id();
    assert_eq!(send(&mut world, &a, fresh, &unordered), Code::BadApproval, "out of order");
    assert_eq!(send(&mut world, &a, id, &good), Code::Ok);
    assert_eq!(send(&mut world, &a, id, &good), Code::Ok, "the first receipt again");
    assert_eq!(world.chain.totals().deposited, 5);
    let fresh = world.id();
    let in_epoch = Transaction::Approved(approve(&chain, &a, fresh, &tx, &by)).sign(&chain, &a, 1, fresh);
    assert_eq!(world.block(vec![in_epoch])[0].code, Code::OutOfBounds);
    check_replay(&world);
}

#[test]
fn only_what_needs_approvals_can_be_approved() {
    let mut world = world();
    let by = issuers();
    let inner = [
        Transaction::OpenEpoch(OpenEpoch { epoch: 2, nonce: vec![1; 16].into() }),
        Transaction::RegisterProvider(RegisterProvider {
            key: key(66).public(),
            owner: support::name("eve"),
            validates: true,
        }),
        Transaction::Approved(approve(&world.signers.chain, &by[0], TxId([1; 16]), &deposit(&world, 5), &by)),
    ];
    for tx in &inner {
        assert_eq!(world.approved(tx, &by).code, Code::NotAllowed, "{}", tx.kind());
    }
    let nonsense = Transaction::Approved(Approved { inner: b"nonsense".to_vec().into(), approvals: Vec::new() });
    assert_eq!(world.send(&nonsense), Code::OutOfBounds);
    for tx in [withdraw(Purse::Treasury, 1), Transaction::Issuers(set(1, &by))] {
        let id = world.id();
        let bare = tx.sign(&world.signers.chain, &by[0], 0, id);
        assert_eq!(world.block(vec![bare])[0].code, Code::NotEnoughApprovals, "{}", tx.kind());
    }
}

/// A world of one issuer in which alice earned 40 and the platform 1; alice's key too.
fn earned() -> (World, SecretKey) {
    let mut world = World::new();
    let task = spec(1, 4, 4, 1);
    world.pay(&task);
    (world, key(11))
}

#[test]
fn what_somebody_has_leaves_by_the_owners_and_the_issuers_word() {
    let (mut world, alice) = earned();
    let Keys { operator, issuer, .. } = Keys::new();
    let own = Purse::Available(alice.public());
    for (by, code) in [
        (vec![alice.clone()], Code::NotEnoughApprovals),
        (vec![issuer.clone()], Code::NotEnoughApprovals),
        (vec![operator.clone(), issuer.clone()], Code::BadApproval),
        (vec![key(12), issuer.clone()], Code::BadApproval),
    ] {
        assert_eq!(world.approved(&withdraw(own, 30), &by).code, code);
    }
    let both = [alice.clone(), issuer.clone()];
    assert_eq!(world.approved(&withdraw(own, 0), &both).code, Code::OutOfBounds);
    assert_eq!(world.approved(&withdraw(own, 41), &both).code, Code::InsufficientCredits);
    let receipt = world.approved(&withdraw(own, 30), &both);
    assert_eq!((receipt.code, receipt.transfers[0].to), (Code::Ok, Account::Issuance.id(world.chain.id())));
    assert_eq!(world.balance(&Account::Available(alice.public())), 10);

    let (treasury, account) = (world.chain.totals().treasury, world.account());
    let platform = [operator, issuer];
    assert_eq!(world.approved(&withdraw(Purse::Treasury, treasury), &platform).code, Code::Ok);
    assert_eq!(world.approved(&withdraw(Purse::Consumer(account), 1_000_000), &platform).code, Code::Ok);
    assert_eq!(world.approved(&withdraw(Purse::Consumer(account), 1), &both).code, Code::BadApproval);
    let totals = world.chain.totals();
    assert_eq!((totals.withdrawn, totals.treasury), (1_000_030 + treasury, 0));
    assert_eq!(totals.deposited - totals.withdrawn, totals.consumers + totals.providers);
    assert_eq!(world.balance(&Account::Issuance), 0);
    check_replay(&world);
}

#[test]
fn what_vests_and_what_is_locked_cannot_be_withdrawn() {
    let policy = Policy { vesting_ms: 1_000_000, ..POLICY };
    let mut world = World::under(policy.clone());
    let task = spec_under(&policy, 1, 4, 4, 1);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let work = world.signers.work(&task, 0, 1, key(11).public(), &[]);
    let closed = world.close_round(&task, &[&work]);
    assert_eq!(world.judge(&task, &closed, &[&work], &Ballot::default()), Code::Ok);
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    let Keys { operator, issuer, .. } = Keys::new();
    let own = withdraw(Purse::Available(key(11).public()), 1);
    assert_eq!(world.approved(&own, &[key(11), issuer.clone()]).code, Code::InsufficientCredits);
    let escrow = Account::Escrow(task.job).id(world.chain.id());
    let locked = withdraw(Purse::Consumer(escrow), 1);
    assert_eq!(
        world.approved(&locked, &[operator, issuer]).code,
        Code::InsufficientCredits,
        "an escrow is no consumer"
    );
}

#[test]
fn a_provider_sends_its_own_withdrawal_and_nothing_else() {
    let (mut world, alice) = earned();
    let (chain, issuer) = (world.signers.chain.clone(), Keys::new().issuer);
    let mut send = |tx: &Transaction, by: &[SecretKey], sender: &SecretKey| {
        let id = world.id();
        let signed = Transaction::Approved(approve(&chain, sender, id, tx, by)).sign(&chain, sender, 0, id);
        world.block(vec![signed]).remove(0).code
    };
    let own = withdraw(Purse::Available(alice.public()), 10);
    assert_eq!(send(&own, &[alice.clone(), issuer.clone()], &alice), Code::Ok);
    assert_eq!(send(&own, &[alice.clone(), issuer.clone()], &key(12)), Code::NotAllowed, "another provider");
    let consumer = Consumer { account: support::consumer(&chain) };
    let mint = Transaction::Deposit(Deposit { consumer, amount: 1 });
    assert_eq!(send(&mint, std::slice::from_ref(&issuer), &alice), Code::NotAllowed);
    let orderable = |tx: &Transaction, sender: &SecretKey| {
        let tx = world.admission.check(tx.sign(&chain, sender, 0, TxId([9; 16]))).unwrap();
        world.chain.orderable(&tx)
    };
    assert!(matches!(orderable(&mint, &alice), Err(Unorderable::UnknownSigner(_))));
    assert!(matches!(orderable(&own, &alice), Err(Unorderable::UnknownSigner(_))));
    let stranger = Transaction::Approved(approve(&chain, &key(66), TxId([9; 16]), &own, &[]));
    assert!(matches!(orderable(&stranger, &key(66)), Err(Unorderable::UnknownSigner(_))));
}

#[test]
fn issuers_are_replaced_by_those_there_were_and_their_words_count_no_more() {
    let mut world = world();
    let [a, b, c] = issuers();
    let next = [a.clone(), key(41)];
    let replace = Transaction::Issuers(set(1, &next));
    assert_eq!(world.approved(&replace, std::slice::from_ref(&a)).code, Code::NotEnoughApprovals);
    let platform = world.signers.keys.platform.clone();
    for bad in [set(0, &next), set(3, &next), set(1, &[]), set(1, &[a.clone(), platform])] {
        assert_eq!(world.approved(&Transaction::Issuers(bad), &[b.clone(), c.clone()]).code, Code::OutOfBounds);
    }
    // In one block: b replaces itself, and what it sends afterwards is ordered, and refused.
    let (chain, id, late) = (world.signers.chain.clone(), world.id(), world.id());
    let replaced =
        Transaction::Approved(approve(&chain, &b, id, &replace, &[b.clone(), c.clone()])).sign(&chain, &b, 0, id);
    let tx = deposit(&world, 5);
    let after = tx.sign(&chain, &b, 0, late);
    let codes: Vec<Code> = world.block(vec![replaced.clone(), after]).iter().map(|receipt| receipt.code).collect();
    assert_eq!(codes, [Code::Ok, Code::NotAllowed]);
    assert_eq!(*world.chain.issuers(), set(1, &next));

    assert_eq!(world.approved(&tx, &[b.clone(), c]).code, Code::BadApproval);
    assert_eq!(world.send(&tx), Code::Ok, "one is enough now");
    let id = world.id();
    let by_new = tx.sign(&chain, &key(41), 0, id);
    assert_eq!(world.block(vec![by_new])[0].code, Code::Ok);
    // Who issues no more is a stranger, but for what was answered already.
    let admitted = |signed: Signed<Envelope>| world.admission.check(signed).unwrap();
    let old = admitted(tx.sign(&chain, &b, 0, TxId([8; 16])));
    assert!(matches!(world.chain.orderable(&old), Err(Unorderable::UnknownSigner(_))));
    assert!(matches!(world.chain.check_tx(&admitted(replaced)), Standing::Known(_)));
    check_replay(&world);
}

#[test]
fn a_genesis_names_issuers_that_make_sense() {
    let [a, b, _] = issuers();
    let start = |issuers: Issuers| {
        let genesis = Genesis { issuers: Some(issuers), ..Keys::new().genesis() };
        Chain::start(&genesis.to_bytes(), START_MS).is_ok()
    };
    let both = [a.clone(), b.clone()];
    assert!(start(set(1, &both)) && start(set(2, &both)));
    assert!(!start(set(0, &both)) && !start(set(3, &both)), "thresholds");
    assert!(!start(set(1, std::slice::from_ref(&b))), "the issuer is one of them");
    assert!(!start(set(1, &[a.clone(), Keys::new().platform])), "one key has two roles");
    let mut reversed = set(1, &both);
    reversed.keys.reverse();
    assert!(!start(reversed) && !start(set(1, &[a.clone(), a.clone()])), "ascending, none twice");
    let keys = |count: u8| set(1, &(100..100 + count).map(key).chain([a.clone()]).collect::<Vec<_>>());
    assert!(start(keys(15)) && !start(keys(16)), "at most 16");
}

#[test]
fn more_can_be_locked_for_a_job_that_is_open_and_comes_back() {
    let mut world = World::new();
    let task = spec(1, 4, 4, 1);
    let top_up = |amount| Transaction::TopUp(TopUp { job: task.job, amount });
    assert_eq!(world.send(&top_up(5)), Code::NoSuchJob);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let before = world.chain.job(&task.job).unwrap().escrowed;
    assert_eq!(world.send(&top_up(0)), Code::OutOfBounds);
    assert_eq!(world.send(&top_up(u64::MAX)), Code::Overflow);
    assert_eq!(world.send(&top_up(10_000_000)), Code::InsufficientCredits);
    assert_eq!(world.send(&top_up(500)), Code::Ok);
    assert_eq!(world.chain.job(&task.job).unwrap().escrowed, before + 500);
    assert_eq!(world.balance(&Account::Escrow(task.job)), before + 500);
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    assert_eq!(world.send(&top_up(1)), Code::JobSettling);
    assert_eq!(world.close(&task).code, Code::Ok);
    assert_eq!(world.chain.account(world.account()).balance, 10_000_000);
    check_replay(&world);
}
