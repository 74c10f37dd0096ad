//! The client side of Orion's broker layout: connections, streams and buckets, tasks and answers, heartbeats, objects by
//! digest, and who may do what. Operator, worker, chart and tests all go through here.
//!
//! It judges no statement and trusts no stored byte: whoever reads an object gets bytes that hash to its name or an error,
//! whoever reads an answer verifies it. It never creates a consumer on behalf of a provider.

pub mod answers;
mod connection;
mod error;
mod fold;
mod heartbeats;
pub mod layout;
pub mod objects;
mod parts;
pub mod permissions;
pub mod server_config;
mod sweep;
pub mod tasks;
#[cfg(feature = "testing")]
pub mod testing;
mod upload;
mod wire;

pub use answers::Stored;
pub use connection::{Broker, Settings, UserKey, connect};
pub use error::Error;
pub use fold::{Fold, FoldEvent, Recorded};
pub use heartbeats::{Heard, Heartbeats};
pub use layout::{Bounds, StreamFacts};
pub use objects::{ObjectError, ObjectReader};
pub use parts::{Arrived, Incoming};
pub use sweep::{Listed, Sweep};
pub use tasks::Delivery;
pub use upload::Upload;
