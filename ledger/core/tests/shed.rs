//! Jobs that ended and were shed: the rules judge as they did before, and the log stays the same.

mod support;

use orion_protocol::ledger::Transaction;
use orion_protocol::ledger::api::JobPhase;
use orion_protocol::ledger::leaf::Code;
use orion_protocol::ledger::tx::*;
use orion_protocol::task::TaskSpec;
use support::{Ballot, POLICY, World, key, spec};

/// A job that was computed, judged, paid and closed; another that expired; a third that is open.
fn world() -> (World, [TaskSpec; 3]) {
    let mut world = World::new();
    let tasks = [spec(1, 4, 4, 2), spec(2, 4, 4, 2), spec(3, 4, 4, 2)];
    for task in &tasks[..2] {
        assert_eq!(world.open_escrow(task), Code::Ok);
    }
    let work = world.signers.work(&tasks[0], 0, 1, key(11).public(), &[]);
    let closed = world.close_round(&tasks[0], &[&work]);
    assert_eq!(world.judge(&tasks[0], &closed, &[&work], &Ballot::default()), Code::Ok);
    assert_eq!(world.settle(&tasks[0], 0).code, Code::Ok);
    assert_eq!(world.close(&tasks[0]).code, Code::Ok);
    world.time_ms += POLICY.escrow_ms;
    assert_eq!(world.open_escrow(&tasks[2]), Code::Ok, "and the second one expires");
    (world, tasks)
}

#[test]
fn what_ended_is_given_once_and_what_is_open_stays() {
    let (mut world, [closed, expired, open]) = world();
    let views = [&closed, &expired].map(|task| (task.job, world.chain.job(&task.job).expect("it had an escrow")));
    assert_eq!(world.chain.shed(), views);
    assert_eq!(views[0].1.rounds.len(), 1);
    assert_eq!((views[0].1.phase, views[1].1.phase), (JobPhase::Closed, JobPhase::Expired));
    assert_eq!(world.chain.shed(), []);
    let left: Vec<_> = world.chain.jobs().keys().collect();
    assert_eq!(left, [&open.job]);
    assert!(world.chain.job(&closed.job).is_none());
}

#[test]
fn every_transaction_about_it_has_the_fate_that_it_has_without() {
    let (mut with, tasks) = world();
    let (mut without, _) = world();
    assert_eq!(with.chain.shed().len(), 2);
    for task in &tasks[..2] {
        let work = with.signers.work(task, 0, 2, key(12).public(), &[]);
        let verdict = |world: &World| {
            let work = world.signers.work(task, 0, 1, key(11).public(), &[]);
            let closed = support::Closed { round: work.lease, seed: work.lease, eligible: world.eligible() };
            Transaction::RecordVerdict(world.verdict_tx(task, &closed, Vec::new()))
        };
        let txs = [
            with.escrow_tx(task, u64::MAX),
            Transaction::CloseRound(with.close_tx(task, &[&work])),
            verdict(&with),
            Transaction::Settle(Settle { job: task.job, page: 1 }),
            Transaction::Close(Close { job: task.job }),
        ];
        for tx in &txs {
            let receipt = with.receipt(tx);
            assert_ne!(receipt.code, Code::Ok, "{}", tx.kind());
            assert_eq!(receipt, without.receipt(tx), "{}", tx.kind());
        }
    }
    assert_eq!(with.log, without.log);
    assert_eq!(with.chain.seal_ref(), without.chain.seal_ref());
}
