//! The outside world of a leader, in one place: API server, broker, ledger, keys. Clones of the `Arc` go to every task.

use std::sync::Arc;

use kube::Client;
use kube::runtime::events::Recorder;
use orion_broker::{Bounds, Broker};

use crate::leadership::Guard;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::settings::Identity;

/// What a leader acts through.
#[derive(Clone)]
pub struct Edges {
    /// The API server.
    pub kube: Client,
    /// The broker.
    pub broker: Broker,
    /// How much it may hold.
    pub bounds: Bounds,
    /// The ledger.
    pub ledger: Ledger,
    /// Keys and chain.
    pub identity: Arc<Identity>,
    /// Uid of the namespace kube-system: which cluster this is.
    pub cluster: String,
    /// The platform's namespace.
    pub namespace: String,
    /// Where Events go.
    pub events: Recorder,
    /// What Prometheus sees.
    pub metrics: Arc<Metrics>,
    /// Whether writing is still allowed.
    pub guard: Guard,
}
