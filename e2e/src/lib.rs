//! What the scenarios stand on: the running platform as a consumer and an attacker see it, namespaces that go away, jobs to
//! submit, a worker that lies, a proxy that tampers, and an executor that runs what the shipped one would not compile.
//!
//! It starts no cluster: `cargo xtask e2e` does, and says where it is. Nothing here believes a status where the ledger's
//! export can be asked: that is verified from its bytes each time.

pub mod examples;
pub mod fetch;
pub mod ground;

pub mod jobs;
pub mod lies;
pub mod naive;
pub mod namespace;
pub mod processes;
pub mod wait;
pub mod world;

pub use examples::Example;
pub use jobs::Busy;
pub use lies::Lie;
pub use namespace::Namespace;
pub use processes::Part;
pub use wait::until;
pub use world::World;
