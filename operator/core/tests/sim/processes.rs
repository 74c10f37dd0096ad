//! Processes and their queues: claiming, computing for a while, answering, dying, coming back.

use orion_core::{LeaseOrder, WorkerId};
use orion_protocol::messages::{Alive, Role, TaskBody};
use orion_protocol::sign::Signed;
use orion_protocol::statements::{LeaseCore, LeaseKind, Token};
use orion_protocol::{Digest, JobId, SecretKey};

use crate::actors::{Facts, Task};
use crate::event::{Event, Fact};
use crate::truth::Habit;
use crate::world::World;

/// Nanoseconds of a unit, as the preflight says.
const UNIT_NANOS: u64 = 1_000_000;

impl World {
    pub fn enqueue(&mut self, operator: &SecretKey, order: LeaseOrder) {
        let LeaseOrder { job: _, uid, provider, core, deadline_ms, salt, body } = order;
        let id = WorkerId { provider, worker: core.worker.clone() };
        let lease = Signed::new(&self.chain, operator, &core);
        let digest = lease.digest(&self.chain);
        let task = Task { lease, core, digest, deadline_ms, salt, uid, body };
        self.actors.get_mut(&id).expect("leases go to workers that exist").queue.push_back(task);
        self.claim(&id);
    }

    /// A work lease that nobody gave: signed by an operator of before for its own epoch, to a worker that answers it.
    pub fn forge(&mut self, operator: &SecretKey, job: JobId, to: &WorkerId, shard: u32, attempt: u32) {
        let (task, spec) = self.tasks.iter().find(|(_, spec)| spec.job == job).unwrap();
        let (first_unit, units) = spec.units.shard(shard).unwrap();
        let core = LeaseCore {
            kind: LeaseKind::Work,
            task: *task,
            shard,
            first_unit,
            units,
            token: Token { epoch: 1, attempt, copy: 0 },
            provider: self.actors[to].secret.public(),
            worker: to.worker.clone(),
            audit: None,
        };
        let job_spec = &self.jobs[&job].spec;
        let order = LeaseOrder {
            job,
            uid: job_spec.uid.clone(),
            provider: to.provider.clone(),
            core,
            deadline_ms: self.now + 60_000,
            salt: Some(job_spec.salt),
            body: TaskBody::Execute,
        };
        self.enqueue(operator, order);
    }

    /// Takes from the queue what there are slots for.
    pub fn claim(&mut self, id: &WorkerId) {
        let now = self.now;
        loop {
            let nap = self.rng.within(10, 120);
            let Some(actor) = self.actors.get_mut(id) else { return };
            if !actor.up || actor.holding.len() >= actor.slots as usize {
                return;
            }
            let Some(task) = actor.queue.pop_front() else { return };
            if task.deadline_ms < now {
                continue;
            }
            let takes = match actor.habit {
                Habit::Slow => nap * 2_000,
                Habit::CutOff => 9_000 + nap * 20,
                Habit::Silent => task.deadline_ms + 1 - now,
                _ => nap,
            };
            let event = Event::Finish(id.clone(), actor.incarnation, task.digest);
            actor.holding.insert(task.digest, task);
            self.at(takes, event);
        }
    }

    pub fn finish(&mut self, id: &WorkerId, incarnation: u32, lease: &Digest) {
        let Some(actor) = self.actors.get_mut(id) else { return };
        if !actor.up || actor.incarnation != incarnation || actor.habit == Habit::Hoard {
            return;
        }
        let Some(task) = actor.holding.remove(lease) else { return };
        if actor.role == Role::Validator && actor.habit.lies() {
            self.liars.insert(actor.secret.public());
        }
        let mut facts = Facts {
            chain: &self.chain,
            buckets: &mut self.buckets,
            tasks: &self.tasks,
            faulty: &self.faulty,
            lies: &mut self.lies,
            unit_nanos: UNIT_NANOS,
        };
        let answer = self.actors[id].answer(&task, &mut facts);
        // One message a subject: the first answer stands.
        if let Some(answer) = answer
            && self.answered.insert(*lease)
        {
            self.sequence += 1;
            let stream = self.streams.get_mut(&id.provider).unwrap();
            stream.insert(self.sequence, (task.uid, answer));
            for leader in 0..self.leaders.len() {
                self.wake(leader, &id.provider);
            }
        }
        self.claim(id);
    }

    pub fn beat(&mut self, id: &WorkerId, incarnation: u32) {
        let Some(actor) = self.actors.get(id) else { return };
        if !actor.up || actor.incarnation != incarnation {
            return;
        }
        // Who hoards leases says so as fast as it can.
        let every = if actor.habit == Habit::Hoard { 50 } else { Alive::EVERY_S * 1000 };
        if actor.habit != Habit::CutOff || actor.holding.is_empty() {
            let fact = Fact::Beat(id.clone(), actor.beat());
            for leader in 0..self.leaders.len() {
                self.tell(leader, &fact);
            }
        }
        self.at(every, Event::Beat(id.clone(), incarnation));
    }

    pub fn crash(&mut self, id: &WorkerId, back: Option<u64>) {
        let Some(actor) = self.actors.get_mut(id) else { return };
        actor.holding.clear();
        actor.incarnation += 1;
        actor.up = false;
        let restart = Event::Restart(id.clone(), actor.incarnation);
        if let Some(after) = back {
            self.at(after, restart);
        }
    }

    pub fn restart(&mut self, id: &WorkerId, incarnation: u32) {
        let Some(actor) = self.actors.get_mut(id).filter(|actor| actor.incarnation == incarnation) else { return };
        actor.up = true;
        self.beat(id, incarnation);
        self.claim(id);
    }
}
