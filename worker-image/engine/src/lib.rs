//! The engine: runs a job's units on a device, each alone, and says precisely why where it cannot.
//!
//! It knows no network and no Kubernetes. Only [`opencl`] speaks to a driver, behind the [`Device`] trait, and only there is
//! `unsafe` allowed. User kernels run as native code of the calling process: call this from a process that holds nothing
//! worth stealing, and expect it to die.

mod arguments;
pub mod device;
mod groups;
mod inputs;
pub mod job;
pub mod load;
pub mod need;
pub mod opencl;
mod preamble;
mod purity;
pub mod selftest;
pub mod text;
pub mod wire;

pub use device::{Device, DeviceError};
pub use job::Job;
pub use load::{DEFAULT_MEMORY, Load};
