//! Earnings vest for as long as the policy says, and mature by the ledger's own act.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use orion_ledger_core::{Chain, Replay};
use orion_protocol::ids::Account;
use orion_protocol::ledger::api::JobPhase;
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody};
use orion_protocol::ledger::tx::Policy;
use orion_protocol::task::TaskSpec;
use orion_protocol::{JobId, PublicKey};
use support::{Ballot, Keys, POLICY, START_MS, Work, World, key, spec_under};

/// A week.
const WINDOW_MS: u64 = 7 * 86_400_000;
const VESTING: Policy = Policy { vesting_ms: WINDOW_MS, ..POLICY };

fn alice() -> PublicKey {
    key(11).public()
}

/// A job of one-unit shards that alice computed and the others checked; nothing is paid yet.
fn judged(world: &mut World, job: JobId, shards: u32) -> TaskSpec {
    let task = TaskSpec { job, ..spec_under(&VESTING, 1, shards.into(), 1, 1) };
    assert_eq!(world.open_escrow(&task), Code::Ok);
    for from in (0..shards).step_by(32) {
        let shards = from..shards.min(from + 32);
        let shards: Vec<Work> = shards.map(|shard| world.signers.work(&task, shard, 1, alice(), &[])).collect();
        let work: Vec<&Work> = shards.iter().collect();
        let closed = world.close_round(&task, &work);
        assert_eq!(world.judge(&task, &closed, &work, &Ballot::default()), Code::Ok);
    }
    task
}

/// Makes a block with nothing in it but what is due at this time.
fn wait_until(world: &mut World, time_ms: u64) -> Vec<LeafBody> {
    let block = world.chain.finalize_block(time_ms, &[]).unwrap();
    if !block.leaves.is_empty() {
        world.seals.push(block.seal);
        world.time_ms = time_ms;
    }
    world.chain.audit().unwrap();
    let leaves = block.leaves.iter().map(|leaf| Leaf::from_bytes(leaf).unwrap().body).collect();
    world.log.extend(block.leaves);
    leaves
}

#[test]
fn what_is_earned_is_nobodys_to_spend_until_the_first_block_past_the_window() {
    let mut world = World::under(VESTING);
    let task = judged(&mut world, JobId([1; 32]), 3);
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    let until = world.time_ms + WINDOW_MS;
    assert_eq!(world.close(&task).code, Code::Ok);
    let view = world.chain.job(&task.job).unwrap();
    assert_eq!((view.phase, view.paid.workers, view.paid.validators), (JobPhase::Closed, 30, 30));
    let held = |world: &World| {
        let totals = world.chain.totals();
        (
            world.balance(&Account::Available(alice())),
            world.balance(&Account::Vesting(alice(), task.job)),
            totals.vesting,
        )
    };
    assert_eq!(held(&world), (0, 30, 60));
    // Nothing of the job needs to be remembered for it.
    world.chain.shed();

    assert_eq!(world.chain.next_deadline_ms(), Some(until));
    assert_eq!(wait_until(&mut world, until), [], "the end of the window belongs to it");
    assert_eq!(held(&world), (0, 30, 60));
    let leaves = wait_until(&mut world, until + 1);
    let [LeafBody::Mature(job, receipt), LeafBody::Seal(_)] = &leaves[..] else { panic!("{leaves:?}") };
    assert_eq!((*job, receipt.code), (task.job, Code::Ok));
    assert!(receipt.transfers.len() <= 3, "one for each provider");
    assert_eq!(held(&world), (30, 0, 0));
    assert_eq!((world.chain.totals().providers, world.chain.next_deadline_ms()), (60, None));
    assert_eq!(world.replayed().snapshot(), world.chain.snapshot());
}

#[test]
fn each_page_matures_by_its_own_time_also_when_the_escrow_ran_out() {
    let mut world = World::under(VESTING);
    // 101 shards have 202 contributions: two pages.
    let task = judged(&mut world, JobId([1; 32]), 101);
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    let first = world.time_ms + WINDOW_MS;
    let expires = world.chain.next_deadline_ms().unwrap() + 1;
    assert!(matches!(wait_until(&mut world, expires)[..], [LeafBody::Expire(..), LeafBody::Seal(_)]));
    assert_eq!(world.chain.totals().vesting, 2020);
    let second = expires + WINDOW_MS;
    for (until, left) in [(first, 20), (second, 0)] {
        assert_eq!(world.chain.next_deadline_ms(), Some(until));
        assert!(matches!(wait_until(&mut world, until + 1)[..], [LeafBody::Mature(..), LeafBody::Seal(_)]));
        assert_eq!(world.chain.totals().vesting, left);
    }
    assert_eq!(world.replayed().snapshot(), world.chain.snapshot());
}

#[test]
fn after_an_outage_what_is_due_is_done_over_several_blocks() {
    const JOBS: u16 = 300;
    let mut world = World::under(VESTING);
    for number in 0..JOBS {
        let mut id = [7; 32];
        id[..2].copy_from_slice(&number.to_be_bytes());
        let task = judged(&mut world, JobId(id), 1);
        assert_eq!(world.settle(&task, 0).code, Code::Ok);
        assert_eq!(world.close(&task).code, Code::Ok);
    }
    let late = world.time_ms + 2 * WINDOW_MS;
    let pages = [0, 1, 2].map(|block| wait_until(&mut world, late + block).len().saturating_sub(1));
    assert_eq!(pages, [256, 44, 0]);
    assert_eq!((world.chain.totals().vesting, world.chain.next_deadline_ms()), (0, None));
    assert_eq!(world.replayed().snapshot(), world.chain.snapshot());
}

#[test]
fn a_log_that_matures_too_early_too_late_or_something_else_is_refused() {
    let mut world = World::under(VESTING);
    let task = judged(&mut world, JobId([1; 32]), 1);
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    let until = world.time_ms + WINDOW_MS;
    assert_eq!(world.close(&task).code, Code::Ok);
    let (before, start) = (world.replayed(), world.log.len());
    wait_until(&mut world, until + 1);
    let good: Vec<Leaf> = world.log[start..].iter().map(|leaf| Leaf::from_bytes(leaf).unwrap()).collect();
    let accepted = |leaves: &[Leaf]| {
        let mut replay = Replay::resume(before.clone());
        leaves.iter().all(|leaf| replay.leaf(&leaf.to_bytes()).is_ok()) && replay.finish().is_ok()
    };
    assert!(accepted(&good));
    let mut early = good.clone();
    if let LeafBody::Seal(seal) = &mut early[1].body {
        seal.time_ms = until;
    }
    assert!(!accepted(&early), "too early");
    let mut late = vec![good[1].clone()];
    late[0].index = 0;
    assert!(!accepted(&late), "a block past the window without it");
    let mut other = good.clone();
    if let LeafBody::Mature(_, receipt) = &mut other[0].body {
        receipt.transfers[0].amount -= 1;
    }
    assert!(!accepted(&other), "less than was earned");
    let mut other = good;
    if let LeafBody::Mature(job, _) = &mut other[0].body {
        *job = JobId([2; 32]);
    }
    assert!(!accepted(&other), "of another job");
}

#[test]
fn a_window_is_at_most_a_year() {
    let start = |vesting_ms| {
        let genesis = Keys::new().genesis_under(Policy { vesting_ms, ..POLICY });
        Chain::start(&genesis.to_bytes(), START_MS).is_ok()
    };
    assert!(start(Policy::MAX_VESTING_MS));
    assert!(!start(Policy::MAX_VESTING_MS + 1));
}
