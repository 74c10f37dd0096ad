//! What goes wrong, and what people do.

use crate::event::{Event, Fact, Fault, Request};
use crate::world::World;

impl World {
    pub fn suffer(&mut self, fault: Fault) {
        match fault {
            Fault::Crash(id, back) => self.crash(&id, back),
            Fault::Habit(id, habit) => {
                if let Some(actor) = self.actors.get_mut(&id) {
                    actor.habit = habit;
                }
            }
            Fault::KillLeader(gap) => self.kill_leader(gap),
            Fault::Usurp(overlap) => {
                let old = self.leader();
                self.lead();
                if let Some(old) = old {
                    self.at(overlap, Event::Depose(old));
                }
            }
            Fault::Delete(id) => {
                let Some(job) = self.jobs.get_mut(&id).filter(|job| !job.over) else { return };
                job.deleted = true;
                self.tell_leader(Fact::Deleted(id));
            }
            Fault::Change(id, parallelism, budget) => {
                let Some(job) = self.jobs.get_mut(&id) else { return };
                if job.spec.parallelism != parallelism {
                    self.changed.insert(id);
                }
                (job.spec.parallelism, job.spec.budget) = (parallelism, budget);
                self.tell_leader(Fact::Changed(id, parallelism, budget));
            }
            Fault::Deposit(amount) => self.deposit(amount),
        }
    }

    /// What the watch brings to the leader; before its intake of the job it reads the object itself.
    pub fn tell_leader(&mut self, fact: Fact) {
        if let Some(leader) = self.leader() {
            self.soon(Event::Tell(leader, fact));
        }
    }

    /// Kills the leader: requests under way arrive or not, answers to them find nobody.
    pub fn kill_leader(&mut self, gap: u64) {
        let Some(leader) = self.leader() else { return };
        self.leaders[leader].alive = false;
        let rng = &mut self.rng;
        self.queue.retain(|_, event| match event {
            // These are more than one request each, or are fenced.
            Event::Request(from, Request::Drop(..)) | Event::Status(from, ..) => *from != leader,
            Event::Request(from, _) if *from == leader => rng.one_in(2),
            _ => true,
        });
        self.at(gap, Event::Lead);
    }
}
