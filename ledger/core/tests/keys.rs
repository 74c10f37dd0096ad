//! Rotation: a new key in the place of another one, of operator, platform and providers.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::collections::BTreeSet;

use orion_ledger_core::{Chain, Unorderable, verify};
use orion_protocol::ids::{Account, TxId};
use orion_protocol::ledger::Transaction;
use orion_protocol::ledger::api::{KeysView, OperatorKey};
use orion_protocol::ledger::leaf::Code;
use orion_protocol::ledger::tx::*;
use orion_protocol::statements::{Ingested, LeaseCore};
use orion_protocol::task::TaskSpec;
use orion_protocol::{Digest, PublicKey, SecretKey, Signed};
use support::{Ballot, Keys, POLICY, Work, World, approve, key, lease, name, spec, spec_under};

fn rotate(role: KeyRole, old: &SecretKey, new: u8, lost: bool) -> Transaction {
    Transaction::Rotate(Rotate { role, old: old.public(), new: key(new).public(), lost })
}

/// The codes of transactions that a key sends outside of epochs, in one block.
fn sent_by(world: &mut World, sender: &SecretKey, txs: &[Transaction]) -> Vec<Code> {
    let chain = world.signers.chain.clone();
    let signed = txs.iter().map(|tx| tx.sign(&chain, sender, 0, world.id())).collect();
    world.block(signed).into_iter().map(|receipt| receipt.code).collect()
}

fn orderable(world: &World, tx: &Transaction, sender: &SecretKey, epoch: u64) -> bool {
    let signed = tx.sign(&world.signers.chain, sender, epoch, TxId([99; 16]));
    let orderable = world.chain.orderable(&world.admission.check(signed).unwrap());
    assert!(orderable.is_ok() || matches!(orderable, Err(Unorderable::UnknownSigner(_))));
    orderable.is_ok()
}

/// Opens the next epoch with this key, which is the operator's from then on.
fn take_over(world: &mut World, operator: u8) {
    world.signers.keys.operator = key(operator);
    assert_eq!(world.open_epoch(world.chain.epoch() + 1), Code::Ok);
}

/// The provider with this number, as the one of its owner from now on.
fn becomes(world: &mut World, old: u8, new: u8, owner: &str) {
    world.signers.providers.insert(key(new).public(), key(new));
    world.signers.owners.insert(key(new).public(), owner.into());
    assert!(world.signers.owners.contains_key(&key(old).public()), "still known, for rounds that were closed before");
}

/// What becomes of a round with this work, of which nobody but bob and carol may be asked, and of them nobody whose key was replaced.
fn closes(world: &mut World, task: &TaskSpec, work: &Work) -> Code {
    let mut eligible = vec![key(12).public(), key(13).public()];
    eligible.retain(|key| world.chain.heir(*key) == *key);
    let tx = CloseRound { eligible: sorted(eligible), ..world.close_tx(task, &[work]) };
    world.send(&Transaction::CloseRound(tx))
}

fn sorted(mut keys: Vec<PublicKey>) -> Vec<PublicKey> {
    keys.sort_unstable();
    keys
}

/// Work under a lease of another epoch, signed by this operator.
fn work_of_epoch(world: &World, task: &TaskSpec, shard: u32, epoch: u64, operator: &SecretKey, by: PublicKey) -> Work {
    let mut core: LeaseCore = lease(task, shard, 1, by);
    core.token.epoch = epoch;
    let mut signers = support::Signers { keys: Keys::new(), ..signers_of(world) };
    signers.keys.operator = operator.clone();
    signers.keys.platform = world.signers.keys.platform.clone();
    signers.work_for(core, &[])
}

fn signers_of(world: &World) -> support::Signers {
    let support::Signers { chain, keys: _, providers, owners } = &world.signers;
    support::Signers { chain: chain.clone(), keys: Keys::new(), providers: providers.clone(), owners: owners.clone() }
}

/// The log verifies from its beginning, and a snapshot gives the same chain.
fn check_history(world: &World) {
    let (bytes, vkey) = world.export();
    let (_, replayed) = verify::chain(bytes.as_slice(), &vkey).unwrap();
    assert_eq!(replayed.snapshot(), world.chain.snapshot());
    let restored = Chain::restore(world.chain.genesis(), &world.chain.snapshot(), &world.chain.seal_ref()).unwrap();
    assert_eq!(restored.snapshot(), world.chain.snapshot());
}

#[test]
fn i18_a_revoked_key_signs_nothing_after_its_height_and_history_stays_valid() {
    let mut world = World::new();
    let Keys { operator, platform, issuer, .. } = Keys::new();
    let (alice, bob) = (key(11), key(12));
    let task = spec(1, 12, 2, 2);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    // Two rounds that are judged after all keys were replaced: alice computes in one, and may be asked in the other.
    let before = [(0, &alice), (1, &bob)].map(|(shard, by)| world.signers.work(&task, shard, 1, by.public(), &[]));
    let rounds = [0, 1].map(|at| world.close_round(&task, &[&before[at]]));

    assert_eq!(
        world.approved(&rotate(KeyRole::Provider, &alice, 51, false), &[issuer.clone(), alice.clone()]).code,
        Code::Ok
    );
    assert_eq!(
        world.approved(&rotate(KeyRole::Platform, &platform, 52, false), std::slice::from_ref(&issuer)).code,
        Code::Ok
    );
    assert_eq!(
        world.approved(&rotate(KeyRole::Operator, &operator, 53, false), std::slice::from_ref(&issuer)).code,
        Code::Ok
    );
    becomes(&mut world, 11, 51, "alice");

    // The platform worker's and the provider's keys are nothing any more.
    let late = world.signers.work(&task, 2, 1, bob.public(), &[]);
    assert_eq!(closes(&mut world, &task, &late), Code::BadIngest, "ingested by the platform's old key");
    world.signers.keys.platform = key(52);
    world.signers.providers.insert(key(52).public(), key(52));
    let revoked = world.signers.work(&task, 2, 1, alice.public(), &[]);
    assert_eq!(closes(&mut world, &task, &revoked), Code::Revoked, "committed to by the old key");
    let work = world.signers.work(&task, 2, 1, bob.public(), &[]);
    let asked = CloseRound { eligible: sorted(vec![alice.public()]), ..world.close_tx(&task, &[&work]) };
    assert_eq!(world.send(&Transaction::CloseRound(asked)), Code::BadValidator);
    let reserve = Transaction::Reserve(Reserve { amount: 1, expires_ms: world.time_ms + 1_000 });
    for tx in [&reserve, &Transaction::Stake(Stake { amount: 1 }), &Transaction::Unstake] {
        assert!(!orderable(&world, tx, &alice, 0) && orderable(&world, tx, &key(51), 0));
    }

    let head: Vec<_> =
        world.chain.head().providers.into_iter().filter(|(_, owner, _)| owner.as_str() == "alice").collect();
    let validates =
        |key: SecretKey| head.iter().find(|(one, ..)| *one == key.public()).map(|(.., validates)| *validates);
    assert_eq!((validates(alice.clone()), validates(key(51))), (Some(false), Some(true)));

    // The operator's key goes on until the new one opens an epoch, which nobody else can.
    let opens = |epoch| Transaction::OpenEpoch(OpenEpoch { epoch, nonce: vec![7; 16].into() });
    assert_eq!(world.send(&opens(2)), Code::NotAllowed);
    assert_eq!(closes(&mut world, &task, &work), Code::Ok);
    let (chain, ids) = (world.signers.chain.clone(), [world.id(), world.id()]);
    let close = Transaction::Close(Close { job: task.job });
    let block = vec![opens(2).sign(&chain, &key(53), 2, ids[0]), close.sign(&chain, &operator, 1, ids[1])];
    let codes: Vec<Code> = world.block(block).iter().map(|receipt| receipt.code).collect();
    assert_eq!(codes, [Code::Ok, Code::Revoked], "within the block of its end");
    assert!(!orderable(&world, &close, &operator, 1) && !orderable(&world, &close, &operator, 2));
    world.signers.keys.operator = key(53);

    // A lease is its epoch's operator's.
    for (epoch, by, code) in [(2, &operator, Code::BadLease), (1, &key(53), Code::BadLease), (1, &operator, Code::Ok)] {
        let work = work_of_epoch(&world, &task, 3, epoch, by, bob.public());
        assert_eq!(closes(&mut world, &task, &work), code, "epoch {epoch}");
    }
    let work = work_of_epoch(&world, &task, 4, 2, &key(53), key(51).public());
    assert_eq!(closes(&mut world, &task, &work), Code::Ok);

    // What was closed before is judged, old votes counted, and paid to the accounts that it was earned for.
    for (closed, work) in rounds.iter().zip(&before) {
        assert_eq!(world.judge(&task, closed, &[work], &Ballot::default()), Code::Ok);
    }
    assert!(world.chain.jobs()[&task.job].workers.values().any(|one| one.provider == alice.public()));
    assert!(world.chain.jobs()[&task.job].validators.values().any(|one| one.provider == alice.public()));
    world.time_ms += POLICY.escrow_ms;
    assert_eq!(world.deposit(1), Code::Ok);
    let earned = world.balance(&Account::Available(alice.public()));
    assert!(earned > 0);
    let withdraw = Transaction::Withdraw(Withdraw {
        from: Purse::Available(alice.public()),
        amount: earned,
        to: Digest::of(b"bank"),
        reserve: None,
    });
    assert_eq!(world.approved(&withdraw, &[issuer.clone(), alice]).code, Code::BadApproval);
    assert_eq!(world.approved(&withdraw, &[issuer, key(51)]).code, Code::Ok, "by the key in its place");
    assert_eq!((world.chain.operator(), world.chain.platform()), (key(53).public(), key(52).public()));
    check_history(&world);
}

#[test]
fn of_a_lost_key_nothing_counts_that_is_not_in_the_log() {
    let mut world = World::new();
    let Keys { operator, issuer, .. } = Keys::new();
    let [alice, bob, carol] = [11, 12, 13].map(key);
    let task = spec(1, 12, 4, 4);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let before = world.signers.work(&task, 0, 1, alice.public(), &[]);
    let closed = world.close_round(&task, &[&before]);

    let stolen = rotate(KeyRole::Provider, &bob, 51, true);
    for by in [vec![issuer.clone(), bob.clone()], vec![issuer.clone(), carol.clone()]] {
        assert_eq!(world.approved(&stolen, &by).code, Code::BadApproval);
    }
    assert_eq!(world.approved(&stolen, std::slice::from_ref(&issuer)).code, Code::NotEnoughApprovals);
    assert_eq!(world.approved(&stolen, &[issuer.clone(), operator.clone()]).code, Code::Ok, "without the lost key");
    assert_eq!(world.judge(&task, &closed, &[&before], &Ballot::default()), Code::Revoked, "its vote");
    let silent = Ballot { silent: BTreeSet::from([bob.public()]), ..Ballot::default() };
    assert_eq!(world.judge(&task, &closed, &[&before], &silent), Code::Ok, "as if it had not voted");

    let stolen = rotate(KeyRole::Operator, &operator, 53, true);
    assert_eq!(world.approved(&stolen, std::slice::from_ref(&issuer)).code, Code::Ok);
    let close = Transaction::Close(Close { job: task.job });
    assert!(!orderable(&world, &close, &operator, 1), "at once");
    assert!(orderable(&world, &close, &key(53), 1));
    world.signers.keys.operator = key(53);
    assert_eq!(world.send(&close), Code::NotAllowed, "it opens an epoch first");
    take_over(&mut world, 53);
    let old = work_of_epoch(&world, &task, 1, 1, &operator, carol.public());
    assert_eq!(closes(&mut world, &task, &old), Code::Revoked, "a lease of before");
    let new = work_of_epoch(&world, &task, 1, 2, &key(53), carol.public());
    assert_eq!(closes(&mut world, &task, &new), Code::Ok);

    // The treasury is in the new operator's custody.
    world.time_ms += POLICY.escrow_ms;
    assert_eq!(world.deposit(1), Code::Ok);
    let fees = Withdraw { from: Purse::Treasury, amount: 1, to: Digest::ZERO, reserve: None };
    assert_eq!(
        world.approved(&Transaction::Withdraw(fees.clone()), &[issuer.clone(), operator]).code,
        Code::BadApproval
    );
    assert_eq!(world.approved(&Transaction::Withdraw(fees), &[issuer, key(53)]).code, Code::Ok);
    check_history(&world);
}

#[test]
fn the_view_of_the_keys_says_from_which_epoch_each_operator_signs_and_who_else_does_what() {
    let mut world = World::new();
    let (platform, issuer) = (Keys::new().platform, [Keys::new().issuer]);
    let operator = |from_epoch, number, lost| OperatorKey { from_epoch, key: key(number).public(), lost };
    let check = |world: &World, operators: &[OperatorKey]| {
        let KeysView { operators: have, platform, issuers, replaced } = world.chain.keys_view();
        assert_eq!((have.as_slice(), replaced.as_slice()), (operators, &[][..]));
        assert_eq!((platform, &issuers), (world.chain.platform(), world.chain.issuers()));
        let restored = Chain::restore(world.chain.genesis(), &world.chain.snapshot(), &world.chain.seal_ref());
        assert_eq!(restored.unwrap().keys_view(), world.chain.keys_view());
    };
    check(&world, &[operator(0, 1, false)]);
    // One waits and is replaced, the one after it opens its epoch, and goes on.
    for (old, new) in [(1, 53), (53, 54)] {
        assert_eq!(world.approved(&rotate(KeyRole::Operator, &key(old), new, false), &issuer).code, Code::Ok);
        check(&world, &[operator(0, 1, false), operator(2, new, false)]);
    }
    take_over(&mut world, 54);
    assert_eq!(world.open_epoch(3), Code::Ok);
    check(&world, &[operator(0, 1, false), operator(2, 54, false)]);
    let view = world.chain.keys_view();
    for (epoch, number) in [(0, 1), (1, 1), (2, 54), (3, 54), (u64::MAX, 54)] {
        assert_eq!(view.operator_at(epoch).map(|operator| operator.key), Some(key(number).public()), "epoch {epoch}");
    }
    // A lost key takes those before it along.
    assert_eq!(world.approved(&rotate(KeyRole::Operator, &key(54), 55, true), &issuer).code, Code::Ok);
    check(&world, &[operator(0, 1, true), operator(2, 54, true), operator(4, 55, false)]);
    assert_eq!(world.approved(&rotate(KeyRole::Platform, &platform, 56, false), &issuer).code, Code::Ok);
    let issuers = Issuers { threshold: 2, keys: sorted(vec![key(3).public(), key(57).public()]) };
    assert_eq!(world.approved(&Transaction::Issuers(issuers.clone()), &issuer).code, Code::Ok);
    check(&world, &[operator(0, 1, true), operator(2, 54, true), operator(4, 55, false)]);
    let approvals = [key(3), key(57), key(11)];
    assert_eq!(world.approved(&rotate(KeyRole::Provider, &key(11), 58, false), &approvals).code, Code::Ok);
    let KeysView { operators: _, platform, issuers: have, replaced } = world.chain.keys_view();
    assert_eq!((platform, have, replaced), (key(56).public(), issuers, vec![key(11).public()]));
}

#[test]
fn an_operator_that_never_opened_its_epoch_is_replaced_as_well() {
    let mut world = World::new();
    let (operator, issuer) = (Keys::new().operator, [Keys::new().issuer]);
    assert_eq!(world.approved(&rotate(KeyRole::Operator, &operator, 53, false), &issuer).code, Code::Ok);
    assert_eq!(world.approved(&rotate(KeyRole::Operator, &operator, 54, false), &issuer).code, Code::NoSuchKey);
    assert_eq!(world.approved(&rotate(KeyRole::Operator, &key(53), 54, false), &issuer).code, Code::Ok);
    let opens = Transaction::OpenEpoch(OpenEpoch { epoch: 2, nonce: vec![7; 16].into() });
    assert!(!orderable(&world, &opens, &key(53), 2));
    assert_eq!(world.open_escrow(&spec(1, 4, 4, 1)), Code::Ok, "by the one in force");
    take_over(&mut world, 54);
    assert!(!orderable(&world, &opens, &operator, 2));
    assert_eq!(world.open_escrow(&spec(2, 4, 4, 1)), Code::Ok);
    assert_eq!(world.chain.heir(operator.public()), key(54).public());
    check_history(&world);
}

#[test]
fn a_key_has_one_role_once() {
    let mut world = World::new();
    let Keys { operator, platform, issuer, checkpoint } = Keys::new();
    let by = [issuer.clone()];
    let mut refused = |tx: &Transaction, by: &[SecretKey], code| assert_eq!(world.approved(tx, by).code, code);
    for (role, old) in [(KeyRole::Operator, &operator), (KeyRole::Platform, &platform)] {
        // The keys of the genesis, a provider, and the key itself.
        for new in [1, 2, 3, 4, 12] {
            refused(&rotate(role, old, new, false), &by, Code::KeyInUse);
        }
        for old in [key(11), key(66), issuer.clone(), checkpoint.clone()] {
            refused(&rotate(role, &old, 51, true), &by, Code::NoSuchKey);
        }
    }
    refused(&rotate(KeyRole::Checkpoint, &checkpoint, 51, false), &by, Code::CheckpointKeyFixed);
    refused(&rotate(KeyRole::Provider, &key(66), 51, true), &[issuer.clone(), operator.clone()], Code::NoSuchKey);
    refused(&rotate(KeyRole::Provider, &key(11), 12, false), &[issuer.clone(), key(11)], Code::KeyInUse);
    refused(&rotate(KeyRole::Provider, &platform, 51, false), &[issuer.clone(), platform.clone()], Code::KeyInUse);
    refused(&rotate(KeyRole::Platform, &platform, 51, false), &[], Code::NotEnoughApprovals);
    let bare = rotate(KeyRole::Platform, &platform, 51, false);
    assert_eq!(sent_by(&mut world, &issuer, &[bare]), [Code::NotEnoughApprovals]);

    assert_eq!(world.approved(&rotate(KeyRole::Platform, &platform, 51, false), &by).code, Code::Ok);
    assert_eq!(
        world.approved(&rotate(KeyRole::Provider, &key(11), 52, false), &[issuer.clone(), key(11)]).code,
        Code::Ok
    );
    for (role, old) in [(KeyRole::Platform, &platform), (KeyRole::Operator, &platform)] {
        assert_eq!(world.approved(&rotate(role, old, 54, false), &by).code, Code::Revoked);
    }
    assert_eq!(
        world.approved(&rotate(KeyRole::Provider, &key(11), 54, false), &[issuer.clone(), key(11)]).code,
        Code::Revoked
    );
    for new in [2, 11, 51, 52] {
        assert_eq!(world.approved(&rotate(KeyRole::Operator, &operator, new, false), &by).code, Code::KeyInUse);
        let keys = sorted(vec![issuer.public(), key(new).public()]);
        let issuers = Transaction::Issuers(Issuers { threshold: 1, keys });
        assert_eq!(world.approved(&issuers, &by).code, Code::OutOfBounds);
    }
    assert_eq!(world.register(11, "alice"), Code::Revoked);
    let again = RegisterProvider { key: key(52).public(), owner: name("bob"), validates: true };
    assert_eq!(world.send(&Transaction::RegisterProvider(again)), Code::OwnerDiffers, "its owner is alice");
    check_history(&world);
}

#[test]
fn a_provider_replaces_its_key_itself_and_what_it_has_follows() {
    let policy = Policy { vesting_ms: 5_000, ..POLICY };
    let mut world = World::under(policy.clone());
    let (alice, issuer) = (key(11), Keys::new().issuer);
    let earn = |world: &mut World, number| {
        let task = spec_under(&policy, number, 4, 4, 1);
        world.pay(&task);
    };
    earn(&mut world, 1);
    world.time_ms += policy.vesting_ms;
    assert_eq!(world.deposit(1), Code::Ok);
    let stake = Transaction::Stake(Stake { amount: 30 });
    let reserve = Transaction::Reserve(Reserve { amount: 10, expires_ms: world.time_ms + 100_000 });
    assert_eq!(sent_by(&mut world, &alice, &[stake, reserve]), [Code::Ok, Code::Ok]);
    earn(&mut world, 2);
    let (chain, id) = (world.signers.chain.clone(), world.id());
    let tx = rotate(KeyRole::Provider, &alice, 51, false);
    let own = Transaction::Approved(approve(&chain, &alice, id, &tx, &[alice.clone(), issuer.clone()]));
    let receipt = world.block(vec![own.sign(&chain, &alice, 0, id)]).remove(0);
    assert_eq!((receipt.code, receipt.transfers.len()), (Code::Ok, 1), "its stake is taken back");
    assert_eq!(world.balance(&Account::Stake(alice.public())), 0);
    assert_eq!(world.balance(&Account::Unbonding(alice.public())), 30);
    let ten = |from, by: &SecretKey, world: &mut World| {
        let withdraw = Withdraw { from: Purse::Available(from), amount: 10, to: Digest::ZERO, reserve: None };
        world.approved(&Transaction::Withdraw(withdraw), &[issuer.clone(), by.clone()]).code
    };
    assert_eq!(ten(alice.public(), &key(51), &mut world), Code::InsufficientCredits, "what is reserved stays so");
    world.time_ms += 8 * 86_400_000;
    assert_eq!(world.deposit(1), Code::Ok);
    assert_eq!(world.balance(&Account::Available(alice.public())), 80, "matured, free, and no more reserved");
    assert_eq!(ten(alice.public(), &key(51), &mut world), Code::Ok);
    // The new key is one like any other: it can be replaced too.
    let next = rotate(KeyRole::Provider, &key(51), 55, false);
    assert_eq!(world.approved(&next, &[issuer.clone(), key(51)]).code, Code::Ok);
    assert_eq!(ten(alice.public(), &key(51), &mut world), Code::BadApproval);
    assert_eq!(ten(alice.public(), &key(55), &mut world), Code::Ok);
    check_history(&world);
}

#[test]
fn an_ingest_is_by_the_platforms_key_in_force() {
    let mut world = World::new();
    let Keys { platform, issuer, .. } = Keys::new();
    let task = spec(1, 4, 4, 1);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let work = world.signers.work(&task, 0, 1, key(11).public(), &[]);
    let early = Ingested { commitment: work.entry.commitment.digest(&world.signers.chain), refused: None };
    let entry = RoundEntry { ingested: Signed::new(&world.signers.chain, &key(52), &early), ..work.entry.clone() };
    let early = Work { entry, ..work.clone() };
    assert_eq!(closes(&mut world, &task, &early), Code::BadIngest, "before it is in force");
    assert_eq!(world.approved(&rotate(KeyRole::Platform, &platform, 52, false), &[issuer]).code, Code::Ok);
    assert_eq!(closes(&mut world, &task, &work), Code::BadIngest);
    assert_eq!(closes(&mut world, &task, &early), Code::Ok);
    check_history(&world);
}
