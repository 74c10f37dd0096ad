//! I21, I22 and I23: who is paid has a commitment that was closed before its draw, verdicts of those whom the draw names, and the
//! only accepted one of its shard.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::{BTreeMap, BTreeSet};

use orion_ledger_core::job::{Entry, Job, Round};
use orion_protocol::draw::{self, Draw};
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody};
use orion_protocol::ledger::tx::*;
use orion_protocol::price;
use orion_protocol::{Digest, JobId, PublicKey};

use crate::envelopes::opened;
use crate::support::{World, key};
use crate::{STEPS, histories};

/// The block in which each round was closed, by the log.
fn closed(world: &World) -> BTreeMap<(JobId, Digest), u64> {
    let chain = &world.signers.chain;
    let leaves = world.log.iter().map(|leaf| Leaf::from_bytes(leaf).unwrap());
    let rounds = leaves.filter_map(|leaf| match leaf.body {
        LeafBody::Transaction(signed, receipt) if receipt.code == Code::Ok => match opened(&signed).1 {
            Transaction::CloseRound(tx) => {
                let commitments: Vec<Digest> = tx.entries.iter().map(|entry| entry.commitment.digest(chain)).collect();
                Some(((tx.job, draw::round_id(&tx.job, &commitments)), leaf.height))
            }
            _ => None,
        },
        _ => None,
    });
    rounds.collect()
}

/// Checks every verdict and every payment of a chain; gives how many were paid for work, and for audits.
pub fn check(world: &World) -> (usize, usize) {
    let closed = closed(world);
    let mut paid = (0, 0);
    for (id, job) in world.chain.jobs() {
        let mut accepted = BTreeMap::new();
        let mut audits = 0;
        for round in &job.rounds {
            let drawn = round.drawn.unwrap();
            let height = closed[&(*id, round.id)];
            assert_eq!(world.seals[usize::try_from(height).unwrap()], drawn.seal, "the draw hangs on the round's seal");
            let seed = draw::seed(&world.signers.chain, drawn.seal.size, &drawn.seal.root.0, &round.id);
            assert_eq!(seed, drawn.seed);
            for entry in &round.entries {
                audits += check_verdict(world, job, round, entry);
                if entry.verdict.as_ref().is_some_and(|verdict| verdict.accepted) {
                    let twice = accepted.insert(entry.lease.shard, entry);
                    assert!(twice.is_none(), "shard {} was accepted twice", entry.lease.shard);
                }
            }
        }
        check_pay(job, &accepted.into_values().collect::<Vec<_>>(), audits);
        paid = (paid.0 + job.workers.len(), paid.1 + job.validators.len());
    }
    paid
}

/// Every drawn unit was judged by the one whose turn it was; gives how many votes are to be paid.
fn check_verdict(world: &World, job: &Job, round: &Round, entry: &Entry) -> usize {
    let Some(verdict) = &entry.verdict else { return 0 };
    let owner = |key: &PublicKey| world.signers.owners[key].as_str();
    let draw = Draw { seed: round.drawn.unwrap().seed, shard: entry.lease.shard, attempt: entry.lease.token.attempt };
    let places = draw.places(entry.lease.units, job.spec.audits_per_shard);
    let units: Vec<u64> = places.iter().map(|place| entry.lease.first_unit + place).collect();
    assert_eq!(verdict.drawn.iter().map(|(unit, _)| *unit).collect::<Vec<_>>(), units);
    let eligible: Vec<(PublicKey, &str)> = round.closed.eligible.iter().map(|key| (*key, owner(key))).collect();
    let order = draw.validators(&eligible, owner(&entry.lease.provider));
    let platform = world.signers.keys.platform.public();
    let voters: BTreeSet<PublicKey> = verdict.auditors.iter().map(|auditor| auditor.key).collect();
    assert_eq!(voters.len(), verdict.auditors.len(), "one vote a key");
    for (j, unit) in units.iter().enumerate() {
        let judges: Vec<_> = verdict.auditors.iter().filter(|auditor| auditor.units.contains(unit)).collect();
        let [judge] = judges[..] else { panic!("unit {unit} has {} votes", judges.len()) };
        let before: Vec<PublicKey> = order.candidates(j).take_while(|key| *key != judge.key).collect();
        assert!(judge.key == platform || before.len() < order.order.len(), "a voter whom the draw does not name");
        assert!(before.iter().all(|key| !voters.contains(key)), "somebody who voted was passed over");
        assert!(judge.key == platform || owner(&judge.key) != owner(&entry.lease.provider), "a judge in its own case");
    }
    assert!(!verdict.accepted || verdict.drawn.iter().all(|(_, right)| *right));
    verdict
        .auditors
        .iter()
        .filter(|auditor| auditor.paid)
        .inspect(|one| assert!(one.upheld && one.key != platform))
        .count()
}

/// Nobody is paid for anything else, and what is paid is the price of it.
fn check_pay(job: &Job, accepted: &[&Entry], audits: usize) {
    let ids: BTreeSet<Digest> = accepted.iter().map(|entry| entry.commitment_digest).collect();
    assert_eq!(job.workers.keys().copied().collect::<BTreeSet<_>>(), ids);
    assert_eq!(job.validators.len(), audits);
    let units: Vec<u64> =
        accepted.iter().flat_map(|entry| entry.lease.first_unit..entry.lease.first_unit + entry.lease.units).collect();
    assert_eq!(units.iter().collect::<BTreeSet<_>>().len(), units.len(), "a unit is paid once");
    let Some(settlement) = &job.settlement else { return };
    let sum = |audit: bool| {
        let shares = settlement.shares.iter().filter(|share| share.audit == audit);
        shares.fold((0_u64, 0), |(sum, count), share| (sum + share.amount, count + 1))
    };
    let work: u64 =
        accepted.iter().map(|entry| job.spec.units.work_of(entry.lease.first_unit, entry.lease.units)).sum();
    assert_eq!(sum(false), (price::price_of(work.into(), job.spec.price).unwrap(), accepted.len()));
    assert_eq!(sum(true).1, audits);
}

#[test]
fn i21_i22_who_is_paid_was_judged_by_whom_the_draw_names_after_its_round_was_closed() {
    let mut paid = (0, 0);
    histories(|mut history| {
        for _ in 0..STEPS {
            history.step();
        }
        history.end();
        let (workers, validators) = check(&history.world);
        paid = (paid.0 + workers, paid.1 + validators);
    });
    println!("{paid:?} contributions were paid");
    assert!(paid.0 > 0 && paid.1 > 0);
}

#[test]
fn i23_a_shard_that_was_accepted_is_paid_once_whoever_sends_it_under_whatever_id() {
    let mut refused = 0;
    histories(|mut history| {
        for _ in 0..STEPS {
            history.step();
        }
        let world = &mut history.world;
        let jobs: Vec<Job> = world.chain.jobs().values().cloned().collect();
        for job in jobs {
            let accepted = job.slots.iter().filter(|(_, slot)| slot.accepted);
            for (shard, provider) in accepted.flat_map(|(shard, _)| [11, 12, 13].map(|number| (*shard, number))) {
                let work = world.signers.work(&job.spec, shard, 99, key(provider).public(), &[]);
                let tx = world.close_tx(&job.spec, &[&work]);
                // Ids are fresh: nothing but the slot stands against it.
                let code = world.send(&Transaction::CloseRound(tx));
                assert!([Code::SlotTaken, Code::JobSettling, Code::EscrowExpired].contains(&code), "{code}");
                refused += u64::from(code == Code::SlotTaken);
            }
        }
        history.end();
        check(&history.world);
    });
    assert!(refused > 0, "a taken slot was asked for");
}
