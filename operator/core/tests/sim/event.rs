//! What happens in the simulated world, and what a core is told: facts that can be said twice.

use orion_core::{DrawnOf, Input, JobSpec, JobStatus, LeaseOrder, ProviderInfo, Seen, WorkerId};
use orion_protocol::ledger::tx::{DrawnUnit, OpenEscrow};
use orion_protocol::ledger::{Submitted, Transaction};
use orion_protocol::messages::{Answer, Beat};
use orion_protocol::{Digest, JobId, Name, PublicKey, TxId};

use crate::truth::Habit;

/// Which leader, in the order of their epochs' opening; leaders are never reused.
pub type LeaderId = usize;

/// Something that happens at a time.
pub enum Event {
    /// A leader looks at the time.
    Tick(LeaderId),
    /// A leader hears a fact.
    Tell(LeaderId, Fact),
    /// A leader reads the next answer of a provider's stream.
    Fold(LeaderId, Name),
    /// A leader takes a job in.
    Intake(LeaderId, JobId),
    /// A status reaches the API server.
    Status(LeaderId, JobId, Box<JobStatus>),
    /// A leader's request reaches whom it is for.
    Request(LeaderId, Request),
    /// A process says that it lives.
    Beat(WorkerId, u32),
    /// A process is done with a lease.
    Finish(WorkerId, u32, Digest),
    /// A process comes back under its name.
    Restart(WorkerId, u32),
    /// Somebody takes the Lease, if nobody holds it.
    Lead,
    /// A leader sees that it was replaced.
    Depose(LeaderId),
    /// Something goes wrong, or a person acts.
    Fault(Fault),
}

/// What an effect became on its way.
pub enum Request {
    Store(JobId, Vec<u8>),
    Lease(Box<LeaseOrder>),
    Submit(JobId, TxId, Box<Transaction>),
    Query(JobId),
    Read(Box<DrawnOf>),
    Fund(JobId, TxId, Box<OpenEscrow>, u64),
    Consumer(WorkerId),
    Release { job: JobId, uid: Name, held: Vec<Digest> },
    Drop(JobId, Vec<Digest>),
}

/// Faults, and acts of people.
#[derive(Clone, Debug)]
pub enum Fault {
    /// A process dies; it may come back under its name after so long.
    Crash(WorkerId, Option<u64>),
    /// Its behaviour changes.
    Habit(WorkerId, Habit),
    /// The leader's process is killed; another leads after so long.
    KillLeader(u64),
    /// Another leads now, and the old one does not know for so long.
    Usurp(u64),
    /// The consumer deletes a job.
    Delete(JobId),
    /// The consumer changes what may change.
    Change(JobId, u32, u64),
    /// Credits arrive.
    Deposit(u64),
}

/// An input that can be said twice.
#[derive(Clone, Debug)]
pub enum Fact {
    Job(Box<JobSpec>, Option<Seen>),
    Changed(JobId, u32, u64),
    Deleted(JobId),
    Forget(JobId),
    Released(JobId),
    Stored(JobId, Digest),
    Clearing(bool),
    Submitted(JobId, TxId, Box<Submitted>),
    Ledger(JobId, Option<Seen>),
    Digests(JobId, Digest, Vec<DrawnUnit>),
    Short(JobId, TxId),
    Answer(Name, Name, Box<Answer>),
    Folding(Vec<Name>),
    CaughtUp(Name),
    Beat(WorkerId, Beat),
    ConsumerReady(WorkerId),
    Registered(Vec<(PublicKey, Name)>),
    Providers(Vec<ProviderInfo>),
    Tick,
}

impl Fact {
    pub fn input(&self) -> Input {
        match self.clone() {
            Fact::Job(spec, seen) => Input::Job(spec, seen),
            Fact::Changed(job, parallelism, budget) => Input::Changed { job, parallelism, budget },
            Fact::Deleted(job) => Input::Deleted(job),
            Fact::Forget(job) => Input::Forget(job),
            Fact::Released(job) => Input::Released(job),
            Fact::Stored(job, digest) => Input::Stored(job, digest),
            Fact::Clearing(clearing) => Input::Clearing(clearing),
            Fact::Submitted(job, id, outcome) => Input::Submitted(job, id, outcome),
            Fact::Ledger(job, seen) => Input::Ledger(job, seen),
            Fact::Digests(job, lease, drawn) => Input::Digests(job, lease, drawn),
            Fact::Short(job, id) => Input::Short(job, id),
            Fact::Answer(provider, uid, answer) => Input::Answer(provider, uid, answer),
            Fact::Folding(providers) => Input::Folding(providers),
            Fact::CaughtUp(provider) => Input::CaughtUp(provider),
            Fact::Beat(worker, beat) => Input::Beat(worker, beat),
            Fact::ConsumerReady(worker) => Input::ConsumerReady(worker),
            Fact::Registered(owners) => Input::Registered(owners),
            Fact::Providers(providers) => Input::Providers(providers),
            Fact::Tick => Input::Tick,
        }
    }

    /// Whether saying it again at once must do nothing at all.
    pub fn is_idempotent(&self) -> bool {
        !matches!(self, Fact::Beat(..) | Fact::Tick)
    }
}
