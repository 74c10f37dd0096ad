//! Leaders: a core each, with what its process does besides. Effects become requests on their way, and their outcomes facts.

use std::collections::BTreeMap;

use orion_core::{Config, Core, Effect, JobStatus, Stage};
use orion_protocol::ledger::tx::{OpenEpoch, ShardVerdict};
use orion_protocol::ledger::{Code, Transaction};
use orion_protocol::messages::Alive;
use orion_protocol::statements::Vote;
use orion_protocol::task::TaskSpec;
use orion_protocol::{Digest, JobId, Name, PublicKey, SecretKey, Signed, TxId};

use crate::event::{Event, Fact, LeaderId, Request};
use crate::world::World;

/// A leader has read every stream by then.
const FOLD_MS: u64 = 6_000;

/// A core with what its process knows besides.
pub struct Leader {
    pub core: Core,
    pub epoch: u64,
    /// What it signs with, whoever is the operator by now.
    pub key: SecretKey,
    pub alive: bool,
    /// The next answer of each stream, and whether reading it is under way.
    cursors: BTreeMap<Name, (u64, bool)>,
}

/// The votes that a transaction puts into the log, with the round and the lease that they are about.
fn votes(transaction: &Transaction) -> Vec<((Digest, Digest, PublicKey), Signed<Vote>)> {
    let Transaction::RecordVerdict(verdict) = transaction else { return Vec::new() };
    let of = |shard: &ShardVerdict| {
        let (round, lease) = (verdict.round, shard.lease);
        shard.votes.iter().map(move |vote| ((round, lease, vote.key()), vote.clone())).collect::<Vec<_>>()
    };
    verdict.shards.iter().flat_map(of).collect()
}

impl World {
    /// A new leader: its epoch, its providers, its jobs in any order, all answers from the start.
    pub fn lead(&mut self) -> LeaderId {
        let (at, epoch) = (self.leaders.len(), self.ledger.chain.epoch() + 1);
        let nonce = self.rng.next().to_le_bytes().repeat(2);
        let tx = Transaction::OpenEpoch(OpenEpoch { epoch, nonce: nonce.into() });
        let id = TxId::derive("OpenEpoch", &JobId::NONE, epoch, 0);
        let signed = tx.sign(&self.chain, &self.operator, epoch, id);
        assert_eq!(self.ledger.submit(signed, u64::MAX, self.now).receipt.code, Code::Ok);
        let core = Core::new(Config {
            chain: self.chain.clone(),
            keys: self.ledger.chain.keys_view(),
            epoch,
            slashing: true,
            min_price_per_second: 1,
            dispatch_from: self.now + Alive::EVERY_S * 1000 + 500,
        });
        let cursors = self.streams.keys().map(|name| (name.clone(), (0, true))).collect();
        self.leaders.push(Leader { core, epoch, key: self.operator.clone(), alive: true, cursors });
        let registered = self.ledger.chain.head().providers;
        self.tell(at, &Fact::Registered(registered.into_iter().map(|(key, owner, _)| (key, owner)).collect()));
        let approved = self.providers.iter().filter(|one| !self.removed.contains(&one.name)).cloned().collect();
        self.tell(at, &Fact::Providers(approved));
        self.tell(at, &Fact::Folding(self.streams.keys().cloned().collect()));
        let jobs: Vec<JobId> = self.jobs.iter().filter(|(_, job)| !job.over).map(|(id, _)| *id).collect();
        for job in jobs {
            let after = self.rng.below(FOLD_MS);
            self.at(after, Event::Intake(at, job));
        }
        for stream in self.streams.keys().cloned().collect::<Vec<_>>() {
            let after = self.rng.below(FOLD_MS / 2);
            self.at(after, Event::Fold(at, stream));
        }
        self.at(100, Event::Tick(at));
        at
    }

    /// Tells a leader a fact, twice where that must do nothing, and sends what it wants done on its way.
    pub fn tell(&mut self, leader: LeaderId, fact: &Fact) {
        if !self.leaders[leader].alive {
            return;
        }
        let effects = self.leaders[leader].core.step(fact.input(), self.now);
        self.perform(leader, effects, fact);
        if fact.is_idempotent() {
            let again = self.leaders[leader].core.step(fact.input(), self.now);
            assert!(again.is_empty(), "{fact:?} was repeated and had effects: {again:?}");
        }
    }

    pub fn perform(&mut self, leader: LeaderId, effects: Vec<Effect>, fact: &Fact) {
        if !effects.is_empty() {
            self.check_core(leader, &effects, fact);
        }
        for effect in effects {
            let request = match effect {
                Effect::StatusChanged(job) => {
                    let status = self.leaders[leader].core.status(&job).unwrap();
                    self.soon(Event::Status(leader, job, Box::new(status)));
                    continue;
                }
                Effect::Contradiction(found) => {
                    self.hear_contradiction(leader, *found);
                    continue;
                }
                Effect::Store(job, object) => Request::Store(job, object),
                Effect::Lease(order) => {
                    *self.leases.entry(order.core.kind).or_default() += 1;
                    Request::Lease(order)
                }
                Effect::Submit(job, id, transaction) => Request::Submit(job, id, transaction),
                Effect::Query(job) => Request::Query(job),
                Effect::ReadDigests(wanted) => Request::Read(wanted),
                Effect::Fund(job, id, open, need) => Request::Fund(job, id, open, need),
                Effect::EnsureConsumer(worker) => Request::Consumer(worker),
                Effect::Release { job, uid, held } => Request::Release { job, uid, held },
            };
            self.soon(Event::Request(leader, request));
        }
    }

    /// A request arrives, whether or not its leader still lives.
    pub fn serve(&mut self, leader: LeaderId, request: Request) {
        let fact = match request {
            Request::Lease(order) => return self.enqueue(&self.leaders[leader].key.clone(), *order),
            Request::Release { job, uid, held } => {
                for stream in self.streams.values_mut() {
                    stream.retain(|_, (owner, _)| *owner != uid);
                }
                // One object after the other: it takes its time.
                let takes = self.rng.below(10_000);
                return self.at(takes, Event::Request(leader, Request::Drop(job, held)));
            }
            Request::Drop(job, held) => {
                if self.leader() != Some(leader) {
                    return;
                }
                for digest in held {
                    self.buckets.held.remove(&digest);
                }
                Fact::Released(job)
            }
            Request::Store(job, object) => {
                self.check_object(&object);
                let digest = Digest::of(&object);
                if let Ok(spec) = TaskSpec::from_object(&object) {
                    self.tasks.insert(digest, spec);
                }
                self.buckets.given.insert(digest, object);
                Fact::Stored(job, digest)
            }
            Request::Submit(job, id, transaction) => {
                let Leader { epoch, key, .. } = &self.leaders[leader];
                let signed = transaction.sign(&self.chain, key, *epoch, id);
                self.submits += 1;
                let recorded = votes(&transaction);
                let outcome = match self.refuse_at.remove(&self.submits) {
                    Some(code) => self.ledger.refusal(code),
                    None => self.ledger.submit(signed, self.leaders[leader].epoch, self.now),
                };
                if outcome.receipt.code == Code::Ok {
                    self.recorded.extend(recorded);
                }
                self.check_ledger(transaction.kind());
                if outcome.receipt.code == Code::StaleEpoch {
                    self.leaders[leader].alive = false;
                    return;
                }
                Fact::Submitted(job, id, Box::new(outcome))
            }
            Request::Query(job) => Fact::Ledger(job, self.ledger.job(&job)),
            Request::Fund(job, id, open, need) => {
                if self.ledger.chain.account(open.consumer.account).balance >= need {
                    return self.serve(leader, Request::Submit(job, id, Box::new(Transaction::OpenEscrow(*open))));
                }
                Fact::Short(job, id)
            }
            Request::Read(wanted) => {
                let Some(bytes) = self.buckets.held.get(&wanted.object) else { return };
                let digests: Vec<Digest> = bytes.as_chunks::<32>().0.iter().map(|digest| Digest(*digest)).collect();
                let Some(drawn) = wanted.prove(&digests) else { return };
                Fact::Digests(wanted.job, wanted.lease, drawn)
            }
            Request::Consumer(worker) => Fact::ConsumerReady(worker),
        };
        self.soon(Event::Tell(leader, fact));
    }

    pub fn wake(&mut self, leader: LeaderId, stream: &Name) {
        let alive = self.leaders[leader].alive;
        let Some((_, reading)) = self.leaders[leader].cursors.get_mut(stream) else { return };
        if alive && !*reading {
            *reading = true;
            self.soon(Event::Fold(leader, stream.clone()));
        }
    }

    pub fn fold(&mut self, leader: LeaderId, stream: &Name) {
        let Some((cursor, reading)) = self.leaders[leader].cursors.get_mut(stream) else { return };
        let next = self.streams[stream].range(*cursor + 1..).next();
        let Some((sequence, (uid, answer))) = next else {
            *reading = false;
            return self.tell(leader, &Fact::CaughtUp(stream.clone()));
        };
        *cursor = *sequence;
        let fact = Fact::Answer(stream.clone(), uid.clone(), Box::new(answer.clone()));
        let backlog = self.streams[stream].len() as u64;
        let pause = self.rng.below((FOLD_MS / 2 / (backlog + 1)).clamp(1, 20));
        self.at(pause, Event::Fold(leader, stream.clone()));
        self.tell(leader, &fact);
    }

    pub fn intake(&mut self, leader: LeaderId, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        if !self.leaders[leader].alive || job.over {
            return;
        }
        let mut spec = job.spec.clone();
        spec.first_try = job.status.as_ref().map_or(0, |status| status.ledger.attempt);
        let deleted = job.deleted;
        let seen = self.ledger.job(&id);
        self.tell(leader, &Fact::Job(Box::new(spec), seen));
        if deleted {
            self.tell(leader, &Fact::Deleted(id));
        }
    }

    pub fn store_status(&mut self, leader: LeaderId, id: JobId, status: JobStatus) {
        // The status carries a resourceVersion: a leader that was replaced writes nothing.
        if Some(leader) != self.leader() {
            return;
        }
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let over = matches!(status.stage, Stage::Done | Stage::Refused(_));
        let newest = self.leaders[leader].core.status(&id);
        job.status = newest.or(Some(status));
        if over && !job.over {
            job.over = true;
            self.check_over(id);
            self.soon(Event::Tell(leader, Fact::Forget(id)));
        }
    }
}
