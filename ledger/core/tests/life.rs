//! A job's whole life: money in, work, disputes, settlement, refund; and what the report says of it.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::collections::BTreeSet;

use orion_ledger_core::{Standing, verify};
use orion_protocol::ids::Account;
use orion_protocol::ledger::api::{EntryVerdict, JobPhase, Paid};
use orion_protocol::ledger::leaf::{Code, LeafBody};
use orion_protocol::ledger::tx::*;
use orion_protocol::ledger::{Leaf, Transaction};
use orion_protocol::price;
use orion_protocol::task::TaskSpec;
use support::{Ballot, POLICY, World, key, spec};

#[test]
fn an_honest_job_pays_worker_validators_and_platform_and_refunds_the_rest() {
    let mut world = World::new();
    let task = spec(1, 6, 3, 2);
    let escrow = price::escrow_of(&task, &POLICY).unwrap();
    assert_eq!(world.open_escrow(&task), Code::Ok);
    assert_eq!(world.balance(&Account::Escrow(task.job)), escrow);

    let alice = key(11).public();
    let shards = [world.signers.work(&task, 0, 1, alice, &[]), world.signers.work(&task, 1, 1, alice, &[])];
    let work: Vec<_> = shards.iter().collect();
    let closed = world.close_round(&task, &work);
    assert_eq!(world.judge(&task, &closed, &work, &Ballot::default()), Code::Ok);
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    assert_eq!(world.close(&task).code, Code::Ok);

    // 6 units of 10 operations at 1 micro-credit each; 2 audited units a shard; 2 % of 100.
    assert_eq!(world.balance(&Account::Available(alice)), 60);
    let audits = [12, 13].map(|number| world.balance(&Account::Available(key(number).public())));
    assert_eq!(audits, [20, 20], "each shard's two units go to the two other owners");
    assert_eq!(world.balance(&Account::Treasury), 2);
    assert_eq!(world.balance(&Account::Escrow(task.job)), 0);
    let view = world.chain.job(&task.job).unwrap();
    assert_eq!(view.paid, Paid { workers: 60, validators: 40, fee: 2, refunded: escrow - 102 });
    assert_eq!((view.phase, view.pages, view.verdicts), (JobPhase::Closed, (1, 1), 1));
    assert_eq!(view.rounds[0].verdicts, [EntryVerdict::Accepted; 2]);
    assert_eq!(world.chain.account(world.account()).balance, 10_000_000 - 102);
    assert_eq!(world.chain.open_jobs().jobs, []);
}

#[test]
fn a_lying_worker_is_unpaid_and_the_shard_is_redone_while_those_who_caught_it_are_paid() {
    let mut world = World::new();
    let task = spec(1, 3, 3, 3);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let (liar, honest) = (key(11).public(), key(12).public());
    let bad = world.signers.work(&task, 0, 1, liar, &[0, 1, 2]);
    let closed = world.close_round(&task, &[&bad]);
    assert_eq!(world.judge(&task, &closed, &[&bad], &Ballot::default()), Code::Ok);
    let good = world.signers.work(&task, 0, 2, honest, &[]);
    let closed = world.close_round(&task, &[&good]);
    assert_eq!(world.judge(&task, &closed, &[&good], &Ballot::default()), Code::Ok);
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    assert_eq!(world.close(&task).code, Code::Ok);

    let view = world.chain.job(&task.job).unwrap();
    assert_eq!(view.rounds[0].verdicts, [EntryVerdict::Rejected]);
    assert_eq!(view.rounds[1].verdicts, [EntryVerdict::Accepted]);
    assert_eq!((view.paid.workers, view.paid.validators), (30, 60), "both rounds' audits are paid");

    let (export, vkey) = world.export();
    let report = verify::log(export.as_slice(), &vkey).unwrap();
    let job = report.job(&task.job).unwrap();
    let [shard] = &job.shards[..] else { panic!("one shard") };
    assert_eq!(shard.rejected[0].lease.provider, liar);
    assert!(shard.rejected[0].drawn.iter().all(|(_, right)| !right));
    assert_eq!(shard.rejected[0].refereed, [0, 1, 2]);
    assert_eq!(job.accepted().unwrap()[0].owner.as_ref().unwrap().as_str(), "bob");
    let earned =
        |key| job.payouts.iter().find(|payout| payout.provider == key).map_or((0, 0), |p| (p.worker, p.validator));
    assert_eq!(earned(honest).0, 30);
    assert_eq!(earned(liar).0, 0);
}

#[test]
fn a_lying_validator_is_overruled_and_unpaid_and_the_honest_worker_is_paid() {
    let mut world = World::new();
    let task = spec(1, 4, 4, 4);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let (worker, liar, honest) = (key(11).public(), key(12).public(), key(13).public());
    let work = world.signers.work(&task, 0, 1, worker, &[]);
    let closed = world.close_round(&task, &[&work]);
    let ballot = Ballot { liars: BTreeSet::from([liar]), ..Ballot::default() };
    assert_eq!(world.judge(&task, &closed, &[&work], &ballot), Code::Ok);
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    assert_eq!(world.balance(&Account::Available(worker)), 40);
    assert_eq!(world.balance(&Account::Available(liar)), 0);
    assert_eq!(world.balance(&Account::Available(honest)), 20);
}

#[test]
fn silent_validators_are_passed_over_and_the_platform_decides_last_unpaid() {
    let mut world = World::new();
    let task = spec(1, 4, 4, 4);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let (worker, bob, carol) = (key(11).public(), key(12).public(), key(13).public());
    let bad = world.signers.work(&task, 0, 1, worker, &[0, 1, 2, 3]);
    let closed = world.close_round(&task, &[&bad]);
    let ballot = Ballot { silent: BTreeSet::from([bob, carol]), ..Ballot::default() };
    let evidence = world.signers.evidence(&bad, &task, &closed, &ballot);
    assert_eq!(evidence.votes.len(), 1, "the platform's alone");
    assert!(evidence.referee.is_none(), "its vote is the last word already");
    assert_eq!(world.judge(&task, &closed, &[&bad], &ballot), Code::Ok);
    let view = world.chain.job(&task.job).unwrap();
    assert_eq!(view.rounds[0].verdicts, [EntryVerdict::Rejected]);
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    assert_eq!(world.chain.totals().providers, 0, "nobody earned anything");
    assert_eq!(world.close(&task).code, Code::Ok);
    assert_eq!(world.chain.account(world.account()).balance, 10_000_000);
}

#[test]
fn a_job_without_rounds_settles_in_one_empty_page_and_closes() {
    let mut world = World::new();
    let task = spec(1, 4, 4, 4);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    assert_eq!(world.close(&task).code, Code::NotSettled);
    let page = world.settle(&task, 0);
    assert_eq!((page.code, page.transfers.len()), (Code::Ok, 0));
    assert_eq!(world.close(&task).code, Code::Ok);
    assert_eq!(world.chain.account(world.account()).balance, 10_000_000);
}

#[test]
fn many_contributions_are_paid_in_pages_that_never_pass_the_bound() {
    let mut world = World::new();
    // 100 shards of one unit: 100 workers' and 100 validators' contributions fill a page; the fee needs a second one.
    let task = spec(1, 100, 1, 1);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    for from in (0..100).step_by(32) {
        let shards: Vec<_> = (from..100.min(from + 32))
            .map(|shard| world.signers.work(&task, shard, 1, key(11).public(), &[]))
            .collect();
        let work: Vec<_> = shards.iter().collect();
        let closed = world.close_round(&task, &work);
        assert_eq!(world.judge(&task, &closed, &work, &Ballot::default()), Code::Ok);
    }
    let first = world.settle(&task, 0);
    assert_eq!((first.code, first.transfers.len()), (Code::Ok, MAX_TRANSFERS));
    assert_eq!(world.chain.job(&task.job).unwrap().pages, (1, 2));
    assert_eq!(world.close(&task).code, Code::NotSettled);
    let second = world.settle(&task, 1);
    assert_eq!((second.code, second.transfers.len()), (Code::Ok, 1));
    assert_eq!(world.settle(&task, 2).code, Code::WrongSequence);
    assert_eq!(world.close(&task).code, Code::Ok);
    assert_eq!(world.chain.job(&task.job).unwrap().paid.workers, 1000);
}

#[test]
fn the_first_block_past_the_deadline_pays_recorded_verdicts_and_refunds_the_rest() {
    let mut world = World::new();
    let task = spec(1, 6, 3, 3);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let deadline = world.chain.next_deadline_ms().unwrap();
    let alice = key(11).public();
    let judged = world.signers.work(&task, 0, 1, alice, &[]);
    let closed = world.close_round(&task, &[&judged]);
    assert_eq!(world.judge(&task, &closed, &[&judged], &Ballot::default()), Code::Ok);
    let unjudged = world.signers.work(&task, 1, 1, alice, &[]);
    world.close_round(&task, &[&unjudged]);

    assert!(world.chain.finalize_block(deadline, &[]).unwrap().leaves.is_empty(), "the deadline itself is in time");
    let block = world.chain.finalize_block(deadline + 1, &[]).unwrap();
    let leaf = Leaf::from_bytes(&block.leaves[0]).unwrap();
    assert!(matches!(leaf.body, LeafBody::Expire(job, _) if job == task.job));
    world.log.extend(block.leaves);
    world.time_ms = deadline + 1;
    let view = world.chain.job(&task.job).unwrap();
    assert_eq!(view.phase, JobPhase::Expired);
    assert_eq!((view.paid.workers, view.paid.validators), (30, 30));
    assert_eq!(world.balance(&Account::Escrow(task.job)), 0);
    world.chain.audit().unwrap();
    assert_eq!(world.settle(&task, 0).code, Code::EscrowExpired);
    assert_eq!(world.close(&task).code, Code::EscrowExpired);
    let (export, vkey) = world.export();
    let report = verify::log(export.as_slice(), &vkey).unwrap();
    assert!(report.sums.add_up());
    assert_eq!(report.job(&task.job).unwrap().shards[1].open.as_ref().unwrap().lease.provider, alice);
}

/// A job with 256 contributions: two pages.
fn long_job() -> (World, TaskSpec) {
    let mut world = World::new();
    let task = spec(1, 128, 1, 1);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    for from in (0..128).step_by(32) {
        let shards: Vec<_> =
            (from..from + 32).map(|shard| world.signers.work(&task, shard, 1, key(11).public(), &[])).collect();
        let work: Vec<_> = shards.iter().collect();
        let closed = world.close_round(&task, &work);
        assert_eq!(world.judge(&task, &closed, &work, &Ballot::default()), Code::Ok);
    }
    (world, task)
}

/// The transfers of each Expire leaf in the first block past the deadline.
fn expire(world: &mut World) -> Vec<usize> {
    let past = world.chain.next_deadline_ms().unwrap() + 1;
    let block = world.chain.finalize_block(past, &[]).unwrap();
    world.chain.audit().unwrap();
    let leaves = block.leaves.iter().map(|leaf| Leaf::from_bytes(leaf).unwrap().body);
    let transfers = leaves.filter_map(|leaf| match leaf {
        LeafBody::Expire(_, receipt) => Some(receipt.transfers.len()),
        _ => None,
    });
    let transfers = transfers.collect();
    world.log.extend(block.leaves);
    transfers
}

#[test]
fn a_settlement_expires_from_the_page_where_it_stands_and_pays_the_same() {
    let mut paid = Vec::new();
    // Pages settled before the deadline, and the transfers of each Expire leaf: the last has fee and refund.
    for (pages, leaves) in [(0, vec![400, 112 + 2]), (1, vec![112 + 2]), (2, vec![1])] {
        let (mut world, task) = long_job();
        for page in 0..pages {
            assert_eq!(world.settle(&task, page).code, Code::Ok);
        }
        assert_eq!(expire(&mut world), leaves, "{pages} pages settled");
        let view = world.chain.job(&task.job).unwrap();
        assert_eq!((view.phase, view.pages), (JobPhase::Expired, (2, 2)));
        paid.push(view.paid);
        let (export, vkey) = world.export();
        assert!(verify::log(export.as_slice(), &vkey).unwrap().sums.add_up());
    }
    assert!(paid.windows(2).all(|two| two[0] == two[1]), "{paid:?}");
}

#[test]
fn the_same_transaction_again_gives_the_first_receipt_and_leaves_no_leaf() {
    let mut world = World::new();
    let consumer = Consumer { account: world.account() };
    let tx = Transaction::Deposit(Deposit { consumer: consumer.clone(), amount: 5 });
    let id = world.id();
    let signed = world.sign(&tx, id);
    let first = world.block(vec![signed.clone(), signed.clone()]);
    assert_eq!(first[0], first[1]);
    let size = world.chain.seal_ref().size;
    assert_eq!(world.block(vec![signed.clone()]), first[..1]);
    assert_eq!(world.chain.seal_ref().size, size);
    let admitted = world.admission.check(signed).unwrap();
    let Standing::Known(known) = world.chain.check_tx(&admitted) else { panic!("it is known") };
    assert_eq!(known.receipt, first[0]);
    assert_eq!(world.chain.account(world.account()).balance, 10_000_005);

    let other = Transaction::Deposit(Deposit { consumer, amount: 6 });
    let clash = world.sign(&other, id);
    assert_eq!(world.block(vec![clash])[0].code, Code::ExistsWithDifferentBytes);
    assert_eq!(world.chain.seal_ref().size, size);
}

#[test]
fn a_refusal_stays_under_its_id_but_a_stale_epoch_leaves_the_id_to_the_next_leader() {
    let mut world = World::bare();
    let task = spec(1, 4, 4, 4);
    let tx = world.escrow_tx(&task, u64::MAX);
    let poor = world.id();
    let signed = world.sign(&tx, poor);
    assert_eq!(world.block(vec![signed.clone()])[0].code, Code::InsufficientCredits);
    assert_eq!(world.deposit(1_000_000), Code::Ok);
    assert_eq!(world.block(vec![signed])[0].code, Code::InsufficientCredits, "the id stays refused");

    let id = world.id();
    let old = world.sign(&tx, id);
    assert_eq!(world.open_epoch(2), Code::Ok);
    assert_eq!(world.block(vec![old])[0].code, Code::StaleEpoch);
    let new = world.sign(&tx, id);
    assert_eq!(world.block(vec![new.clone()])[0].code, Code::Ok);
    assert_eq!(world.open_epoch(3), Code::Ok);
    assert_eq!(world.block(vec![new])[0].code, Code::Ok, "the epoch is checked only for new ids");
}

#[test]
fn two_replicas_that_race_for_an_epoch_cannot_both_have_it() {
    let mut world = World::bare();
    let id = world.id();
    let open = |nonce: u8| Transaction::OpenEpoch(OpenEpoch { epoch: 2, nonce: vec![nonce; 16].into() });
    let (one, two) = (world.sign(&open(1), id), world.sign(&open(2), id));
    let codes: Vec<Code> = world.block(vec![one, two]).into_iter().map(|receipt| receipt.code).collect();
    assert_eq!(codes, [Code::Ok, Code::EpochTaken]);
    assert_eq!(world.send(&open(3)), Code::EpochTaken);
    assert_eq!(world.chain.head().epoch, 2);
}
