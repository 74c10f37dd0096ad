//! The Kubernetes API of Orion: its custom resources as Rust types, the rules the API server checks them by, and the step
//! from a spec as it was written to one that is known to be good ([`validated`]).
//!
//! It has no client and no clock. The raw types are lenient on purpose (text where a closed list is meant, every field
//! optional that may be): one odd object must not end a watch. Whoever acts on a job acts on a [`ValidatedJob`].

pub mod conditions;
pub mod indexes;
pub mod job;
pub mod names;
pub mod provider;
pub mod round;
pub mod schema;
pub mod shard;
pub mod validated;

pub use conditions::{ConditionType, Truth, set_condition};
pub use indexes::IndexSet;
pub use job::{JobStatus, OrionJob, OrionJobSpec};
pub use provider::{Provider, ProviderSpec, ProviderStatus};
pub use round::{RoundStatus, ValidationRound, ValidationRoundSpec};
pub use schema::{crds, yaml};
pub use shard::{Shard, ShardSpec, ShardStatus};
pub use validated::ValidatedJob;

/// API group of every kind here.
pub const GROUP: &str = "orion.dev";
/// The one version so far.
pub const VERSION: &str = "v1alpha1";
