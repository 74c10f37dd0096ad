//! I4, I5 and I14: where an escrow's money goes, and when.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use orion_protocol::JobId;
use orion_protocol::ids::{Account, AccountId};
use orion_protocol::ledger::api::Paid;
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody, Receipt};

use crate::support::World;
use crate::{STEPS, VESTING, histories};

#[test]
fn i04_i05_an_escrow_is_paid_out_refunded_or_still_there_and_a_closed_one_is_empty() {
    histories(|mut history| {
        for _ in 0..STEPS {
            history.step();
            history.check();
            check_jobs(&history.world);
        }
        history.end();
        check_jobs(&history.world);
    });
}

/// What was locked was paid, refunded, or is still there.
pub fn check_jobs(world: &World) {
    for (id, job) in world.chain.jobs() {
        let left = world.balance(&Account::Escrow(*id));
        let Paid { workers, validators, fee, refunded } = job.paid;
        assert_eq!(job.escrowed, workers + validators + fee + refunded + left);
        assert!(job.is_open() || left == 0, "an escrow that ended is empty");
    }
}

/// What the log says of a job's pay, read from its receipts alone.
#[derive(Default)]
struct Vesting {
    /// Pages that were paid, oldest first: when, and what each account holds since.
    pages: VecDeque<(u64, BTreeMap<AccountId, u64>)>,
    earned: u64,
    matured: u64,
}

/// Reads a whole log; checks each maturity against the page that it is for. Gives what every job earned and has.
fn vesting(world: &World) -> BTreeMap<JobId, Vesting> {
    let chain = &world.signers.chain;
    let keys: Vec<_> = world.signers.owners.keys().copied().collect();
    let mut jobs: BTreeMap<JobId, Vesting> = BTreeMap::new();
    let mut block: Vec<LeafBody> = Vec::new();
    let mut last_ms = 0;
    for leaf in &world.log {
        match Leaf::from_bytes(leaf).unwrap().body {
            LeafBody::Seal(seal) => {
                for body in block.drain(..) {
                    let (LeafBody::Transaction(_, receipt)
                    | LeafBody::Expire(_, receipt)
                    | LeafBody::Mature(_, receipt)) = &body
                    else {
                        continue;
                    };
                    for job in world.chain.jobs().keys() {
                        let held: BTreeSet<AccountId> =
                            keys.iter().map(|key| Account::Vesting(*key, *job).id(chain)).collect();
                        let entry = jobs.entry(*job).or_default();
                        read(entry, &held, receipt, matches!(body, LeafBody::Mature(..)), [last_ms, seal.time_ms]);
                    }
                }
                last_ms = seal.time_ms;
            }
            body => block.push(body),
        }
    }
    jobs
}

fn read(job: &mut Vesting, held: &BTreeSet<AccountId>, receipt: &Receipt, maturing: bool, [last_ms, now_ms]: [u64; 2]) {
    let (mut paid, mut matured) = (BTreeMap::new(), BTreeMap::new());
    assert!(receipt.code == Code::Ok || receipt.transfers.is_empty());
    for transfer in &receipt.transfers {
        if held.contains(&transfer.to) {
            *paid.entry(transfer.to).or_insert(0) += transfer.amount;
        }
        if held.contains(&transfer.from) {
            assert!(maturing, "only a maturity takes out what vests");
            *matured.entry(transfer.from).or_insert(0) += transfer.amount;
        }
    }
    if !paid.is_empty() {
        job.earned += paid.values().sum::<u64>();
        job.pages.push_back((now_ms, paid));
    }
    if !matured.is_empty() {
        let (paid_ms, want) = job.pages.pop_front().unwrap();
        let until_ms = paid_ms + VESTING.vesting_ms;
        assert!(now_ms > until_ms, "matured before its window had passed");
        assert!(last_ms <= until_ms, "the first block past the window matures it");
        assert_eq!(matured, want, "all of the page, and nothing else");
        job.matured += matured.values().sum::<u64>();
    }
}

#[test]
fn i14_i04_a_page_matures_in_the_first_block_past_its_window_and_what_vests_is_what_has_not_matured() {
    let mut sums = (0, 0);
    histories(|mut history| {
        if history.policy != VESTING {
            return;
        }
        for _ in 0..STEPS {
            history.step();
        }
        sums.0 += check_vesting(&history.world);
        history.end();
        assert_eq!(check_vesting(&history.world), 0, "in the end everything has matured");
        sums.1 += history.world.chain.totals().providers;
    });
    println!("{} vested before the end, {} matured in all", sums.0, sums.1);
    assert!(sums.1 > 0, "something was earned");
}

/// Of a world in which earnings vest: what was earned has matured, or vests. Gives what vests.
pub fn check_vesting(world: &World) -> u64 {
    let mut left = 0;
    for (id, job) in vesting(world) {
        let paid = world.chain.jobs()[&id].paid;
        assert_eq!(job.earned, paid.workers + paid.validators);
        let vests: u64 = job.pages.iter().flat_map(|(_, page)| page.values()).sum();
        assert_eq!(job.earned, job.matured + vests);
        left += vests;
    }
    assert_eq!(world.chain.totals().vesting, left);
    left
}
