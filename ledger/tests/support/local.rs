//! A ledger's node in the test's own process, and a store as earlier versions left it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orion_ledger::clock::{self, Clock, Time};
use orion_ledger::metrics::Metrics;
use orion_ledger::node::{Ended, Node, NodeError, Past};
use orion_ledger::publisher::{Published, Publishing};
use orion_ledger::store::{Kept, Store};
use orion_ledger_core::Signer;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::world::{Keys, World};

/// Checkpoints without a pause between them.
pub const AT_ONCE: Publishing = Publishing { interval: Duration::ZERO, mark: None };

/// A store with this world's log, without views of jobs and without records, as earlier versions left it.
pub fn stored(world: &World) -> TempDir {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let mut signer = Signer::new(world.chain.id(), Keys::new().checkpoint, None);
    let mut from = 0;
    for seal in &world.seals {
        let to = usize::try_from(seal.size).unwrap();
        store.commit(&world.log[from..to], seal, &Kept::default()).unwrap();
        store.publish(&Published { size: seal.size, root: seal.root, note: signer.sign(seal).unwrap() }).unwrap();
        from = to;
    }
    directory
}

/// A node on this directory, by the wall's clock.
pub fn open(runtime: &Runtime, directory: &Path, past: Past) -> Result<(Node, Ended), NodeError> {
    opened(runtime, directory, past, by(clock::wall()), AT_ONCE)
}

/// A node on this directory, by this clock as the wall's.
pub fn open_at(runtime: &Runtime, directory: &Path, past: Past, clock: Clock) -> Result<(Node, Ended), NodeError> {
    opened(runtime, directory, past, by(clock), AT_ONCE)
}

/// A node on this directory, by both of these clocks.
pub fn open_by(runtime: &Runtime, directory: &Path, past: Past, time: Time) -> Result<(Node, Ended), NodeError> {
    opened(runtime, directory, past, time, AT_ONCE)
}

/// However long ago the last block was.
fn by(wall: Clock) -> Time {
    Time { wall, ..Time::of_computer(u64::MAX) }
}

/// A node on this directory that publishes so, by the wall's clock.
pub fn open_with(
    runtime: &Runtime,
    directory: &Path,
    past: Past,
    publishing: Publishing,
) -> Result<(Node, Ended), NodeError> {
    opened(runtime, directory, past, by(clock::wall()), publishing)
}

fn opened(
    runtime: &Runtime,
    directory: &Path,
    past: Past,
    time: Time,
    publishing: Publishing,
) -> Result<(Node, Ended), NodeError> {
    let (directory, keys) = (directory.to_owned(), Keys::new());
    let (genesis, metrics) = (keys.genesis(), Arc::new(Metrics::default()));
    let open = move || Node::open(&directory, past, &genesis, keys.checkpoint, time, metrics, publishing);
    runtime.block_on(runtime.spawn_blocking(open)).unwrap()
}

/// Ends it; its store may be opened again then.
pub fn close(runtime: &Runtime, node: Node, ended: Ended) {
    drop(node);
    runtime.block_on(ended).unwrap().unwrap();
}
