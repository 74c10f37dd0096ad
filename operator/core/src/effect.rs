//! What the core is told, and what it wants done: plain data on both sides.

use orion_protocol::ledger::tx::{DrawnUnit, OpenEscrow};
use orion_protocol::ledger::{JobView, Policy, SealRef, Submitted, Transaction};
use orion_protocol::messages::{Answer, Beat, TaskBody};
use orion_protocol::sign::Signed;
use orion_protocol::statements::{LeaseCore, Vote};
use orion_protocol::task::{OutputSpec, UnitTable};
use orion_protocol::{AccountId, Digest, Format, JobId, Name, PublicKey, TxId};

use crate::Millis;
use crate::fleet::WorkerId;

/// A job within the core.
pub type JobKey = JobId;

/// A fact.
#[derive(Debug)]
pub enum Input {
    /// A job whose inputs are pinned and stored, with what the ledger knows of it.
    Job(Box<JobSpec>, Option<Seen>),
    /// The two fields of a spec that may change did.
    Changed {
        /// The job.
        job: JobKey,
        /// Leases at a time.
        parallelism: u32,
        /// The most that may be locked, in micro-credits.
        budget: u64,
    },
    /// The consumer deleted the job.
    Deleted(JobKey),
    /// The terminal status of a job is stored: it can be forgotten.
    Forget(JobKey),
    /// Objects that were to be stored are stored.
    Stored(JobKey, Digest),
    /// A transaction was ordered.
    Submitted(JobKey, TxId, Box<TxOutcome>),
    /// The account holds less than [`Effect::Fund`] needs.
    Short(JobKey, TxId),
    /// What the ledger knows of a job, asked for by [`Effect::Query`].
    Ledger(JobKey, Option<Seen>),
    /// What [`Effect::Release`] named for this job is gone, or is left to age.
    Released(JobKey),
    /// Whether results are being deleted. They are named by content: what is put together meanwhile might be what is deleted.
    Clearing(bool),
    /// The drawn units of a digest list asked for by [`Effect::ReadDigests`]: the job, the work lease, what
    /// [`DrawnOf::prove`] says.
    Digests(JobKey, Digest, Vec<DrawnUnit>),
    /// An answer from a provider's commit stream, and the job uid of its subject.
    Answer(Name, Name, Box<Answer>),
    /// These providers' answers are being read from the first on: what they have done is not known before
    /// [`Input::CaughtUp`] came for each.
    Folding(Vec<Name>),
    /// All answers of a provider that were there when reading began have been told.
    CaughtUp(Name),
    /// A worker's heartbeat.
    Beat(WorkerId, Beat),
    /// The worker's consumer exists.
    ConsumerReady(WorkerId),
    /// Keys and owners of all whom the ledger has ever registered: rounds name them for as long as they are open, even when
    /// their approval was taken back.
    Registered(Vec<(PublicKey, Name)>),
    /// All approved and registered providers.
    Providers(Vec<ProviderInfo>),
    /// Time passed.
    Tick,
}

/// What the ledger knows of a job, and where its log stood after it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The job.
    pub view: Box<JobView>,
    /// A seal that is not older than the view: its log holds all that the view says.
    pub seal: SealRef,
}

/// What came of a transaction.
pub type TxOutcome = Submitted;

/// What is wanted of a digest list: its drawn units, proven to be under the commitment's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrawnOf {
    /// The job.
    pub job: JobKey,
    /// The work lease whose commitment names the list.
    pub lease: Digest,
    /// The list, in bucket `held`.
    pub object: Digest,
    /// The first unit, and how many digests the list holds.
    pub units: (u64, u64),
    /// The commitment's root.
    pub root: Digest,
    /// The job's salt.
    pub salt: Digest,
    /// The drawn units, counted over the job.
    pub drawn: Vec<u64>,
}

/// An approved provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderInfo {
    /// Its name on the broker.
    pub name: Name,
    /// Its signing key.
    pub key: PublicKey,
    /// Its owner.
    pub owner: Name,
    /// Whether it may audit.
    pub validates: bool,
    /// Its approval was taken back: it gets nothing more to do, and what it has committed is judged and paid.
    pub retired: bool,
}

/// A job as the core needs it: parsed, checked, its inputs pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSpec {
    /// The id.
    pub job: JobId,
    /// Uid of the object, for subjects.
    pub uid: Name,
    /// Whose account pays.
    pub consumer: AccountId,
    /// Digest of the stored workload object.
    pub workload: Digest,
    /// Digests of the stored inputs.
    pub inputs: Vec<Digest>,
    /// Bytes of all inputs: what has to be fetched takes time.
    pub input_bytes: u64,
    /// How items are cut.
    pub units: UnitTable,
    /// The outputs; those of a model may have no shape before the preflight.
    pub outputs: Vec<OutputSpec>,
    /// The format of each output's file.
    pub formats: Vec<Format>,
    /// The kernel set that its bits depend on, 0 where none.
    pub kernel_set: u32,
    /// Whether nothing but the engine's own kernels run: work and outputs of a model are found out by the preflight.
    pub is_model: bool,
    /// Units drawn from each shard.
    pub audits_per_shard: u32,
    /// Leases at a time.
    pub parallelism: u32,
    /// The most that may be locked, in micro-credits.
    pub budget: u64,
    /// Confirmed faults that a shard may have.
    pub backoff_limit: u32,
    /// The job's salt.
    pub salt: Digest,
    /// What it costs, until its escrow is opened: then the ledger says it.
    pub policy: Policy,
    /// From where ids of transactions count, after refusals under an earlier leader.
    pub first_try: u64,
}

/// What is to be done. Complete: whoever does it chooses nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Put an object into bucket `in`; answered by [`Input::Stored`].
    Store(JobKey, Vec<u8>),
    /// Sign and send a lease.
    Lease(Box<LeaseOrder>),
    /// Sign and submit, until it is ordered; answered by [`Input::Submitted`].
    Submit(JobKey, TxId, Box<Transaction>),
    /// Sign and submit an escrow if its account holds so many micro-credits; answered by [`Input::Submitted`] or
    /// [`Input::Short`]. A transaction that is refused stays in the log for ever: an empty account is asked, not tried.
    Fund(JobKey, TxId, Box<OpenEscrow>, u64),
    /// Ask the ledger; answered by [`Input::Ledger`].
    Query(JobKey),
    /// Read a digest list from bucket `held` and prove what is drawn of it; answered by [`Input::Digests`]. A list may hold
    /// 100,000 digests: hashing them is work for whoever reads them.
    ReadDigests(Box<DrawnOf>),
    /// Make sure that the worker's pull consumer exists; answered by [`Input::ConsumerReady`].
    EnsureConsumer(WorkerId),
    /// The job is over: purge its answers, delete what nobody needs of what is held; answered by [`Input::Released`]. Until
    /// then nothing is ingested, for what is named by content might be put again and then deleted.
    Release {
        /// The job.
        job: JobKey,
        /// Its uid, in subjects.
        uid: Name,
        /// Objects in bucket `held`.
        held: Vec<Digest>,
    },
    /// A validator said two things; told once for a key, a round and a work lease, by each leader that hears both. Judging goes on without it.
    Contradiction(Box<Contradiction>),
    /// [`crate::Core::status`] of this job differs from before.
    StatusChanged(JobKey),
}

/// Two verified votes of one key about one round, work lease and task, with two digests for a unit: evidence for whoever decides what
/// follows from it. Of a user's kernel it may be a race in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// Whose key it is.
    pub provider: Name,
    /// The job.
    pub job: JobKey,
    /// What was heard first.
    pub first: Signed<Vote>,
    /// What was heard later.
    pub second: Signed<Vote>,
}

/// A lease to be signed and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseOrder {
    /// The job.
    pub job: JobKey,
    /// Its uid, for the subject of the answer.
    pub uid: Name,
    /// Name of the provider, for the subject of the lease.
    pub provider: Name,
    /// What is signed.
    pub core: LeaseCore,
    /// When it ends.
    pub deadline_ms: Millis,
    /// For whom it is due.
    pub salt: Option<Digest>,
    /// What the holder needs besides.
    pub body: TaskBody,
}
