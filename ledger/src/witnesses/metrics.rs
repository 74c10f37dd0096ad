//! What Prometheus sees of witnesses. Names are the policy's: few, and the platform's own choice.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use orion_protocol::ledger::api::Witnesses;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

type Level = Gauge<u64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    witness: String,
}

/// The metrics of witnesses; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    witnessed: Level,
    age: Level,
    blocked: Level,
    size: Family<Name, Level>,
    seconds: Family<Name, Level>,
    refused: Family<Name, Level>,
}

impl Metrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let Metrics { witnessed, age, blocked, size, seconds, refused } = self;
        registry.register("witnessed_size", "Leaves under the largest checkpoint with its quorum", witnessed.clone());
        registry.register("witness_age_seconds", "How long a checkpoint has been without its quorum", age.clone());
        registry.register("witness_blocked", "Whether refusals leave no quorum", blocked.clone());
        registry.register("witness_size", "Largest size that a witness cosigned since the start", size.clone());
        registry.register("witness_time_seconds", "Time of a witness's last cosignature, Unix", seconds.clone());
        registry.register("witness_refused", "Whether a witness refuses the log", refused.clone());
    }

    /// As it is now. `waiting`: how long a checkpoint has been without its quorum.
    pub(super) fn show(&self, view: &Witnesses, waiting: Option<Duration>) {
        self.witnessed.set(view.witnessed.as_ref().map_or(0, |witnessed| witnessed.size));
        self.age.set(waiting.map_or(0, |waiting| waiting.as_secs()));
        self.blocked.set(u64::from(view.blocked));
        for witness in &view.witnesses {
            let name = Name { witness: witness.name.clone() };
            self.size.get_or_create(&name).set(witness.size);
            self.seconds.get_or_create(&name).set(witness.seconds);
            self.refused.get_or_create(&name).set(u64::from(witness.refused.is_some()));
        }
    }
}
