//! The operator's mind: preflight, escrow, leases, ingest, rounds, verdicts, aggregation, settlement, as a state machine
//! that is told facts and answers with what is to be done.
//!
//! [`Core::step`] takes one [`Input`] and the time and returns [`Effect`]s. It knows no clock, no network, no Kubernetes, no
//! key: leases are ordered by content and signed elsewhere. Facts change state; a plan is then derived from the state alone,
//! so losing an effect or repeating an input does no harm: what is still needed is planned again.

mod core;
mod effect;
mod fleet;
mod job;
mod status;

pub use crate::core::{Config, Core};
pub use crate::effect::{
    Contradiction, DrawnOf, Effect, Input, JobKey, JobSpec, LeaseOrder, ProviderInfo, Seen, TxOutcome,
};
pub use crate::fleet::{Fleet, WorkerId, WorkerView};
pub use crate::status::{
    Cost, EntryStatus, JobStatus, LedgerPlace, RoundEntryStatus, RoundStatus, ShardOutcome, ShardStatus, Stage,
    UnitCounts,
};

/// Milliseconds since the Unix epoch, always an argument, never fetched here.
pub type Millis = u64;
