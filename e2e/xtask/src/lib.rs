//! Everything that makes a local Kubernetes and the container images, as a library for the commands and the tests.
//!
//! A caller goes through three doors: [`tools::ensure`] builds the programs once into a cache, [`cluster::up`] starts or
//! finds a cluster, [`images::build_and_load`] puts our binaries into it. Nothing here knows what Orion does; nothing
//! touches the current kube context; nothing is left on the host after [`cluster::down`].

pub mod bench;
pub mod bench_ledger;
pub mod bits;
pub mod broker;
pub mod cluster;
pub mod codegen;
pub mod demo;
pub mod e2e;
mod files;
pub mod fuzz;
pub mod images;
pub mod mode;
pub mod platform;
pub mod process;
pub mod programs;
pub mod progress;
pub mod python;
pub mod settings;
pub mod test;
pub mod tools;
pub mod wait;
