//! The statements that operator, platform worker and providers sign. No times inside signed cores, so that an honest
//! crash and resend says the same thing again and is no equivocation.

use minicbor::{Decode, Encode};

use crate::bytes::Name;
use crate::digest::Digest;
use crate::files::Extract;
use crate::reason::Refusal;
use crate::sign::{PublicKey, Statement};
use crate::task::{MAX_ARRAYS, MAX_AUDITS_PER_SHARD, OutputSpec};

/// What a lease is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum LeaseKind {
    /// Try the kernel out before the job is accepted.
    #[n(0)]
    Preflight,
    /// Compute a shard.
    #[n(1)]
    Work,
    /// Re-execute drawn units.
    #[n(2)]
    Audit,
    /// Fetch committed outputs and hash them.
    #[n(3)]
    Ingest,
    /// Put accepted outputs together.
    #[n(4)]
    Aggregate,
    /// Re-execute disputed units; the answer decides.
    #[n(5)]
    Referee,
}

impl LeaseKind {
    /// The word, in CamelCase.
    pub fn as_str(self) -> &'static str {
        match self {
            LeaseKind::Preflight => "Preflight",
            LeaseKind::Work => "Work",
            LeaseKind::Audit => "Audit",
            LeaseKind::Ingest => "Ingest",
            LeaseKind::Aggregate => "Aggregate",
            LeaseKind::Referee => "Referee",
        }
    }
}

/// One try at a slot. Ordered: a newer token makes an older one void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(map)]
pub struct Token {
    /// The leadership under which it was given.
    #[n(0)]
    pub epoch: u64,
    /// The try, from 1.
    #[n(1)]
    pub attempt: u32,
    /// The copy, from 0; more than one only for redundant work.
    #[n(2)]
    pub copy: u32,
}

/// What an audit re-executes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AuditOf {
    /// The round.
    #[n(0)]
    pub round: Digest,
    /// Digest of the audited work lease.
    #[n(1)]
    pub lease: Digest,
    /// The drawn units, counted over the job.
    #[n(2)]
    pub units: Vec<u64>,
}

/// The part of a lease that goes into the log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LeaseCore {
    /// What for.
    #[n(0)]
    pub kind: LeaseKind,
    /// The task digest; for preflight and aggregation the digests of [`crate::ids`].
    #[n(1)]
    pub task: Digest,
    /// The shard's index; 0 where the lease is about the whole job.
    #[n(2)]
    pub shard: u32,
    /// First unit, counted over the job.
    #[n(3)]
    pub first_unit: u64,
    /// How many units.
    #[n(4)]
    pub units: u64,
    /// Which try.
    #[n(5)]
    pub token: Token,
    /// Whose worker.
    #[n(6)]
    pub provider: PublicKey,
    /// Which worker.
    #[n(7)]
    pub worker: Name,
    /// For audits and referee leases.
    #[n(8)]
    pub audit: Option<AuditOf>,
}

impl Statement for LeaseCore {
    const DOMAIN: &'static str = "orion/lease/v1";
    const MAX_BYTES: usize = 2048;

    fn check(&self) -> Result<(), String> {
        let audited = self.audit.as_ref().map_or(0, |audit| audit.units.len());
        if audited > MAX_AUDITS_PER_SHARD as usize {
            return Err(format!("more than {MAX_AUDITS_PER_SHARD} audited units"));
        }
        if matches!(self.kind, LeaseKind::Audit | LeaseKind::Referee) != self.audit.is_some() {
            return Err("audits, and only audits, name what they audit".into());
        }
        Ok(())
    }
}

/// The part of a lease that is nobody else's business.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LeaseTail {
    /// The core's digest.
    #[n(0)]
    pub lease: Digest,
    /// Milliseconds since the Unix epoch.
    #[n(1)]
    pub deadline_ms: u64,
    /// The job's salt, for who commits or ingests; validators get none.
    #[n(2)]
    pub salt: Option<Digest>,
}

impl Statement for LeaseTail {
    const DOMAIN: &'static str = "orion/lease-tail/v1";
    const MAX_BYTES: usize = 256;
}

/// What the trial of a job found out.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Found {
    /// Time of a unit in nanoseconds, the median of those tried.
    #[n(0)]
    pub unit_nanos: u64,
    /// Operations an item: a model's are counted, a kernel's are declared.
    #[n(1)]
    pub work_per_item: u64,
    /// What comes out, types and shapes included.
    #[n(2)]
    pub outputs: Vec<OutputSpec>,
    /// Time from the job's arrival in an executor until it could run, in nanoseconds.
    #[n(3)]
    pub load_nanos: u64,
}

/// How the trial of a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Preflighted {
    /// The lease.
    #[n(0)]
    pub lease: Digest,
    /// What was found out; absent when refused.
    #[n(1)]
    pub found: Option<Found>,
    /// Why the job cannot run; absent when it can.
    #[n(2)]
    pub refused: Option<Refusal>,
}

impl Statement for Preflighted {
    const DOMAIN: &'static str = "orion/preflighted/v1";
    const MAX_BYTES: usize = 8192;

    fn check(&self) -> Result<(), String> {
        if self.found.is_some() == self.refused.is_some() {
            return Err("either what was found or a refusal".into());
        }
        self.refused.as_ref().map_or(Ok(()), Refusal::check)
    }
}

/// "These are my results for the lease": what binds a provider.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Commitment {
    /// The lease.
    #[n(0)]
    pub lease: Digest,
    /// How many unit digests are under the root.
    #[n(1)]
    pub units: u64,
    /// Root of the Merkle tree over the salted unit digests.
    #[n(2)]
    pub root: Digest,
    /// Digests of the stored output objects, in the order of the spec.
    #[n(3)]
    pub outputs: Vec<Digest>,
    /// Digest of the stored list of unit digests.
    #[n(4)]
    pub digest_list: Digest,
    /// The device class.
    #[n(5)]
    pub class: Digest,
    /// OpenCL driver and device name, for people.
    #[n(6)]
    pub driver: String,
}

impl Commitment {
    /// The longest driver text, in bytes.
    pub const MAX_DRIVER: usize = 128;
}

impl Statement for Commitment {
    const DOMAIN: &'static str = "orion/commitment/v1";
    const MAX_BYTES: usize = 1024;

    fn check(&self) -> Result<(), String> {
        if self.outputs.len() > MAX_ARRAYS {
            return Err(format!("more than {MAX_ARRAYS} outputs"));
        }
        if self.driver.len() > Self::MAX_DRIVER {
            return Err(format!("driver is over {} bytes", Self::MAX_DRIVER));
        }
        Ok(())
    }
}

/// The platform's word that a commitment's bytes are all there and hash to its root, or why not.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ingested {
    /// The commitment's digest.
    #[n(0)]
    pub commitment: Digest,
    /// Absent when all is well.
    #[n(1)]
    pub refused: Option<Refusal>,
}

impl Statement for Ingested {
    const DOMAIN: &'static str = "orion/ingested/v1";
    const MAX_BYTES: usize = 8192;

    fn check(&self) -> Result<(), String> {
        self.refused.as_ref().map_or(Ok(()), Refusal::check)
    }
}

/// A unit and the digest of its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct UnitDigest {
    /// The unit, counted over the job.
    #[n(0)]
    pub unit: u64,
    /// Its digest.
    #[n(1)]
    pub digest: Digest,
}

/// What a validator got for the drawn units.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Vote {
    /// The round.
    #[n(0)]
    pub round: Digest,
    /// Digest of the audited work lease.
    #[n(1)]
    pub lease: Digest,
    /// Units ascending, each with what came out.
    #[n(2)]
    pub units: Vec<UnitDigest>,
    /// The device class.
    #[n(3)]
    pub class: Digest,
    /// Digest of the task by which the units were computed: what this vote is about. Votes of before do not say, and slash nobody.
    #[n(4)]
    pub task: Option<Digest>,
}

impl Vote {
    /// The units, ascending, for which `other` has another digest.
    pub fn differs(&self, other: &Vote) -> impl Iterator<Item = u64> {
        let own = |unit: u64| self.units.iter().find(|own| own.unit == unit);
        let differing =
            other.units.iter().filter(move |said| own(said.unit).is_some_and(|own| own.digest != said.digest));
        differing.map(|said| said.unit)
    }
}

impl Statement for Vote {
    const DOMAIN: &'static str = "orion/vote/v1";
    const MAX_BYTES: usize = 2048;

    fn check(&self) -> Result<(), String> {
        if self.units.is_empty() || self.units.len() > MAX_AUDITS_PER_SHARD as usize {
            return Err(format!("between 1 and {MAX_AUDITS_PER_SHARD} units"));
        }
        if !self.units.is_sorted_by(|a, b| a.unit < b.unit) {
            return Err("units are not ascending".into());
        }
        Ok(())
    }
}

/// A final output in bucket `results`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ResultObject {
    /// The output's name.
    #[n(0)]
    pub name: Name,
    /// SHA3-256 of the file.
    #[n(1)]
    pub digest: Digest,
    /// Its length in bytes.
    #[n(2)]
    pub size: u64,
    /// What it has of the output, where it is not the output itself.
    #[n(3)]
    pub extract: Option<Extract>,
    /// How many entries all items keep together, where it holds those.
    #[n(4)]
    pub entries: Option<u64>,
}

/// How aggregation ended.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Aggregated {
    /// The lease.
    #[n(0)]
    pub lease: Digest,
    /// The files, in the order of the spec; empty when refused.
    #[n(1)]
    pub results: Vec<ResultObject>,
    /// Why there is no result.
    #[n(2)]
    pub refused: Option<Refusal>,
}

impl Aggregated {
    /// At most so many files: two an output.
    pub const MAX_RESULTS: usize = 2 * MAX_ARRAYS;
}

impl Statement for Aggregated {
    const DOMAIN: &'static str = "orion/aggregated/v1";
    const MAX_BYTES: usize = 8192;

    fn check(&self) -> Result<(), String> {
        if self.results.len() > Self::MAX_RESULTS {
            return Err(format!("more than {} results", Self::MAX_RESULTS));
        }
        if self.results.iter().any(|result| result.entries.is_some() != (result.extract == Some(Extract::Values))) {
            return Err("entries are counted of values, and only of those".into());
        }
        if self.results.is_empty() != self.refused.is_some() {
            return Err("either results or a refusal".into());
        }
        self.refused.as_ref().map_or(Ok(()), Refusal::check)
    }
}

/// "I cannot": a provider's word about a lease, which never ends a job.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Failed {
    /// The lease.
    #[n(0)]
    pub lease: Digest,
    /// Why.
    #[n(1)]
    pub refusal: Refusal,
}

impl Statement for Failed {
    const DOMAIN: &'static str = "orion/failed/v1";
    const MAX_BYTES: usize = 8192;

    fn check(&self) -> Result<(), String> {
        self.refusal.check()
    }
}

/// The word of one of those whose word an [`crate::ledger::tx::Approved`] needs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Approval {
    /// What is approved: see [`crate::ids::action_digest`].
    #[n(0)]
    pub action: Digest,
}

impl Statement for Approval {
    const DOMAIN: &'static str = "orion/approval/v1";
    const MAX_BYTES: usize = 64;
}
