//! The worker: an agent that holds keys and speaks to the network, and executors that compute.
//!
//! The agent never loads OpenCL, a kernel or a model; whatever runs a user's code does so in a process of its own
//! ([`executor`]) that holds nothing worth stealing.

pub mod agent;
pub mod far_side;
pub mod processor;
#[cfg(target_os = "linux")]
pub mod sandbox;

pub use orion_executor_client as executor;
