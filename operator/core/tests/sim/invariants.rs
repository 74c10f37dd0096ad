//! What must hold whatever happens, checked where it could break: after every effect of a core, every object that is stored,
//! every transaction, and when everything is over.

use std::collections::{BTreeMap, BTreeSet};

use orion_core::{Contradiction, Effect, ShardOutcome, Stage};
use orion_ledger_core::job::{Entry, Job};
use orion_protocol::ledger::api::JobPhase;
use orion_protocol::ledger::tx::Mode;
use orion_protocol::messages::{Manifest, Message};
use orion_protocol::price::price_of;
use orion_protocol::statements::{LeaseKind, Vote};
use orion_protocol::{Digest, JobId, PublicKey, Signed};

use crate::event::{Fact, LeaderId};
use crate::truth;
use crate::world::World;

impl World {
    /// Leases within the parallelism, shards within the window, nothing called accepted that the ledger has not accepted.
    pub fn check_core(&self, leader: LeaderId, effects: &[Effect], fact: &Fact) {
        let core = &self.leaders[leader].core;
        let mut jobs: BTreeSet<JobId> = BTreeSet::new();
        let mut leased: BTreeSet<JobId> = BTreeSet::new();
        for effect in effects {
            match effect {
                Effect::Lease(order) => {
                    jobs.insert(order.job);
                    if order.core.kind == LeaseKind::Work {
                        leased.insert(order.job);
                    }
                }
                Effect::StatusChanged(job) => {
                    jobs.insert(*job);
                }
                _ => {}
            }
        }
        for id in jobs {
            let Some(status) = core.status(&id) else { continue };
            let parallelism = self.jobs[&id].spec.parallelism as usize;
            let changing = matches!(fact, Fact::Changed(..)) || self.changed.contains(&id);
            if leased.contains(&id) && !changing {
                assert!(status.shards.1 as usize <= parallelism, "{} leases are out", status.shards.1);
            }
            let open = status.window.iter().filter(|shard| shard.outcome == ShardOutcome::Open).count();
            assert!(
                changing || open <= (2 * parallelism).clamp(1, 64),
                "{open} shards are open, after {fact:?}: {status:?}"
            );
            let accepted = self.ledger.chain.jobs().get(&id).map(accepted_shards).unwrap_or_default();
            for index in &status.accepted_shards {
                assert!(accepted.contains_key(index), "shard {index} is not accepted on the ledger");
            }
            if status.stage == Stage::Done && status.ending.is_none() {
                assert!(!status.results.is_empty(), "a job succeeded without results: {status:?}, after {fact:?}");
            }
        }
    }

    /// A manifest names exactly what the ledger accepted.
    pub fn check_object(&self, object: &[u8]) {
        let Ok(manifest) = Manifest::from_bytes(object) else { return };
        let spec = &self.tasks[&manifest.task];
        let accepted = accepted_shards(&self.ledger.chain.jobs()[&spec.job]);
        let outputs: Vec<Vec<Digest>> = accepted.values().map(|entry| entry.commitment.outputs.clone()).collect();
        assert_eq!(outputs.len(), spec.units.shards() as usize);
        assert_eq!(manifest.shards, outputs, "the manifest is not what was accepted");
    }

    /// A slot is paid at most once, after an accepted verdict; nobody honest is refused or overruled; lies pass only where
    /// those who were asked tell the same ones.
    pub fn check_ledger(&self, kind: &str) {
        if !matches!(kind, "RecordVerdict" | "Settle" | "Close") {
            return;
        }
        for job in self.ledger.chain.jobs().values() {
            let accepted = accepted_shards(job);
            assert_eq!(job.workers.len(), accepted.len(), "who is paid has an accepted verdict");
            for entry in accepted.values() {
                assert!(job.workers.contains_key(&entry.commitment_digest));
            }
            for entry in job.rounds.iter().flat_map(|round| &round.entries) {
                self.check_entry(entry);
            }
        }
    }

    /// Nobody honest is said to have said two things; what is told are two votes by one key about one thing, once a leader.
    pub fn hear_contradiction(&mut self, leader: LeaderId, found: Contradiction) {
        let Contradiction { provider, job, first, second } = &found;
        let key = first.key();
        assert!(self.liars.contains(&key), "{provider} never lied");
        assert!(self.providers.iter().any(|known| (&known.name, known.key) == (provider, key)));
        let [one, other] = [first, second].map(|vote| vote.verify(&self.chain, &key).unwrap().into_inner());
        assert_eq!((one.round, one.lease, one.task), (other.round, other.lease, other.task));
        assert_eq!(self.tasks[&one.task.unwrap()].job, *job);
        assert_ne!(one.differs(&other).next(), None);
        let about = |vote: &Signed<Vote>| {
            let vote = vote.verify(&self.chain, &vote.key()).unwrap();
            (vote.round, vote.lease, vote.key())
        };
        let mut before = self.contradictions.iter().filter(|(by, ..)| *by == leader);
        assert!(before.all(|(_, before, _)| about(&before.first) != about(first)), "{provider} was told of twice");
        let judged = self.recorded.contains_key(&about(first));
        self.contradictions.push((leader, found, judged));
    }

    fn check_entry(&self, entry: &Entry) {
        let Some(verdict) = &entry.verdict else { return };
        let lies = &self.lies[&entry.commitment_digest];
        let drawn_lies = verdict.drawn.iter().filter(|(unit, _)| lies.contains(unit)).count();
        let asked_liar = |unit: &u64| {
            let voter = verdict.auditors.iter().find(|auditor| auditor.units.contains(unit));
            voter.is_some_and(|voter| self.liars.contains(&voter.key))
        };
        if verdict.accepted {
            let colluded =
                verdict.drawn.iter().filter(|(unit, _)| lies.contains(unit)).all(|(unit, _)| asked_liar(unit));
            assert!(colluded, "a drawn lie was accepted");
        } else {
            assert!(drawn_lies > 0, "an honest worker was refused");
        }
        for auditor in &verdict.auditors {
            assert!(auditor.upheld || self.liars.contains(&auditor.key), "an honest validator was overruled");
        }
    }

    /// When a job's terminal status is stored: its money is where it belongs, its result is the truth.
    pub fn check_over(&self, id: JobId) {
        let status = self.jobs[&id].status.as_ref().unwrap();
        let Some(job) = self.ledger.chain.jobs().get(&id) else {
            assert!(status.ending.is_some() || matches!(status.stage, Stage::Refused(_)), "it ended without an escrow");
            return;
        };
        assert!(matches!(job.phase, JobPhase::Closed | JobPhase::Expired), "it is over, and its escrow is open");
        self.check_place(id, job.settlement.is_some());
        let paid = job.paid;
        assert_eq!(job.escrowed, paid.workers + paid.validators + paid.fee + paid.refunded);
        let work: u64 = job.workers.values().map(|one| one.work).sum();
        match self.ledger.chain.policy(&job.spec.policy).unwrap().mode {
            Mode::PerWork => assert_eq!(paid.workers, price_of(work.into(), job.spec.price).unwrap()),
            Mode::Pool(_) => assert!(work == 0 || paid.workers > 0, "who computed has a part of the pool"),
        }
        if status.ending.is_none() {
            let file: Vec<u8> =
                (0..job.spec.units.units()).flat_map(|unit| truth::rows(&job.spec.workload, unit, 0)).collect();
            let result = status.results[0].digest;
            assert!(self.buckets.results.contains(&result), "the result is stored");
            let lied = accepted_shards(job).values().any(|entry| !self.lies[&entry.commitment_digest].is_empty());
            assert!(lied || result == Digest::of(&file), "the result is the truth");
        }
    }

    /// The status says where the log holds all of the settlement, whichever leader submitted what of it.
    fn check_place(&self, id: JobId, settled: bool) {
        let place = self.jobs[&id].status.as_ref().unwrap().ledger;
        assert_eq!(place.settlement.is_some(), settled, "{place:?}");
        if let Some((first, last)) = self.ledger.leaves.get(&id) {
            let (Some(settlement), Some(seal)) = (place.settlement, place.seal) else { panic!("{place:?}") };
            assert!(*first <= settlement && settlement < seal.size, "the settlement is said to be at {settlement}");
            assert!(*last < seal.size, "leaf {last} is not in a log of {} leaves", seal.size);
        }
    }

    /// When everything is over: no lease is counted, and time changes nothing.
    pub fn rest(&mut self) {
        self.until("the leader forgets", 10_000, |world| {
            world.leader().is_some_and(|_| world.jobs.keys().all(|job| world.core().status(job).is_none()))
        });
        assert_eq!(self.ledger.chain.totals().escrows, 0, "money is left in an escrow");
        for view in self.core().fleet().view(self.now) {
            assert_eq!(view.slots.0, 0, "{:?} is counted as busy", view.id);
        }
        let leader = self.leader().unwrap();
        for after in 0..20 {
            let now = self.now + after * 100;
            let effects = self.leaders[leader].core.step(orion_core::Input::Tick, now);
            assert!(effects.is_empty(), "an idle core wants {effects:?}");
        }
    }

    /// Who got how much for work, and for audits, by key.
    pub fn pay(&self) -> BTreeMap<PublicKey, (u64, u64)> {
        let mut pay: BTreeMap<PublicKey, (u64, u64)> = BTreeMap::new();
        for share in
            self.ledger.chain.jobs().values().filter_map(|job| job.settlement.as_ref()).flat_map(|s| s.shares.iter())
        {
            let (work, audits) = pay.entry(share.provider).or_default();
            *(if share.audit { audits } else { work }) += share.amount;
        }
        pay
    }

    /// What there is, for a failure's message.
    pub fn describe(&self) -> String {
        use std::fmt::Write as _;
        let mut text =
            format!("seed {} at {} ms, {} events\n", self.seed, self.now - crate::world::START_MS, self.events);
        for (id, job) in self.jobs.iter().filter(|(_, job)| !job.over) {
            let status = self.leader().and_then(|_| self.core().status(id));
            let _ = writeln!(text, "{}: deleted {}, {status:?}", job.spec.uid, job.deleted);
        }
        for actor in self.actors.values() {
            let _ = writeln!(
                text,
                "{:?}: {:?} {:?} up {} queue {} holding {}",
                actor.id,
                actor.role,
                actor.habit,
                actor.up,
                actor.queue.len(),
                actor.holding.len()
            );
        }
        let _ = writeln!(text, "{:?}", self.ledger.codes);
        text
    }
}

fn accepted_shards(job: &Job) -> BTreeMap<u32, &Entry> {
    let mut accepted = BTreeMap::new();
    for entry in job.rounds.iter().flat_map(|round| &round.entries) {
        if entry.verdict.as_ref().is_some_and(|verdict| verdict.accepted) {
            assert!(accepted.insert(entry.lease.shard, entry).is_none(), "a slot was accepted twice");
        }
    }
    accepted
}
