//! Jobs that ended are answered from the store: the same bytes before and after a restart, over stores of earlier versions
//! too, and nothing that the log contradicts.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::path::Path;

use orion_ledger::node::Past;
use orion_ledger::store::{Kept, Store};
use orion_protocol::ledger::api::{JobPhase, JobView};
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody};
use orion_protocol::{JobId, cbor};
use support::local::{close, open, stored};
use support::world::{World, spec};
use tokio::runtime::Runtime;

const MAX: usize = 1 << 20;

/// A job from its escrow to its end.
fn world() -> (World, JobId) {
    let mut world = World::new();
    let task = spec(1, 4, 4, 2);
    world.pay(&task);
    (world, task.job)
}

/// What a node that was opened says of a job; then it is closed.
fn said(runtime: &Runtime, directory: &Path, job: JobId) -> Option<Vec<u8>> {
    let (node, ended) = open(runtime, directory, Past::Begun).unwrap();
    let remembered = runtime.block_on(node.look(|chain| chain.jobs().len())).unwrap();
    assert_eq!(remembered, 0, "what ended is not held in memory");
    let view = runtime.block_on(node.job(job)).unwrap();
    close(runtime, node, ended);
    view
}

#[test]
fn a_store_without_views_gets_them_from_its_log() {
    let (world, job) = world();
    let directory = stored(&world);
    let runtime = Runtime::new().unwrap();
    let want = cbor::to_vec(&world.chain.job(&job).unwrap());
    for _ in 0..2 {
        assert_eq!(said(&runtime, directory.path(), job).as_ref(), Some(&want));
        assert_eq!(said(&runtime, directory.path(), JobId([9; 32])), None);
    }
}

#[test]
fn a_view_that_the_log_contradicts_is_replaced() {
    let (world, job) = world();
    let directory = stored(&world);
    let view = world.chain.job(&job).unwrap();
    let mut wrong = view.clone();
    wrong.paid.workers += 1;
    Store::open(directory.path())
        .unwrap()
        .add(&Kept { ended: vec![(job, cbor::to_vec(&wrong))], records: Vec::new() })
        .unwrap();
    assert_eq!(said(&Runtime::new().unwrap(), directory.path(), job), Some(cbor::to_vec(&view)));
}

#[test]
fn a_job_that_ends_while_the_ledger_runs_is_answered_as_before() {
    let runtime = Runtime::new().unwrap();
    let (mut world, _) = world();
    let task = spec(2, 4, 4, 2);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let directory = stored(&world);
    let done = world.log.len();
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    assert_eq!(world.close(&task).code, Code::Ok);
    let (node, ended) = open(&runtime, directory.path(), Past::Begun).unwrap();
    // The escrow's deadline is long past for the wall clock: it may have ended by that already, which is as good.
    for leaf in &world.log[done..] {
        if let LeafBody::Transaction(tx, _) = Leaf::from_bytes(leaf).unwrap().body {
            let tx = node.admission().check(tx).unwrap();
            runtime.block_on(node.submit(tx)).unwrap();
        }
    }
    let bytes = runtime.block_on(node.job(task.job)).unwrap().unwrap();
    let view: JobView = cbor::from_slice("job", &bytes, MAX).unwrap();
    assert!(matches!(view.phase, JobPhase::Closed | JobPhase::Expired));
    assert_eq!(view.paid.refunded, view.escrowed);
    drop(node);
    runtime.block_on(ended).unwrap().unwrap();
    assert_eq!(said(&runtime, directory.path(), task.job), Some(bytes));
}
