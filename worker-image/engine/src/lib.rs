//! The engine: runs a job's units on a device, each alone, and says precisely why where it cannot.
//!
//! It knows no network, no Kubernetes and no driver: a driver is behind the [`Device`] trait, in a crate of its own. User kernels run as native code of the calling process: call this from a process that holds nothing
//! worth stealing, and expect it to die.

mod arguments;
pub mod bench;
mod bind;
pub mod builtin;
pub mod device;
pub mod graph;
mod groups;
pub mod inference;
mod inputs;
pub mod items;
pub mod job;
mod kernel;
pub mod load;
pub mod lower;
pub mod math;
pub mod need;
pub mod onnx;
pub mod plan;
mod preamble;
pub mod program;
mod purity;
pub mod reference;
pub mod selftest;
pub mod session;
pub mod tensor;
pub mod text;
pub mod wire;

pub use device::{Device, DeviceError};
pub use job::{Found, Job};
pub use load::{DEFAULT_MEMORY, Load};
