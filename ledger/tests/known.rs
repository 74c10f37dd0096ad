//! What came of a transaction is known from the store, not from memory: over restarts, over stores of earlier versions, and
//! never against the log.

mod support;

use orion_ledger::node::{NodeError, Past};
use orion_ledger::store::{Kept, Store, StoreError};
use orion_ledger_core::{Record, Standing};
use orion_protocol::ledger::leaf::Code;
use orion_protocol::ledger::tx::*;
use orion_protocol::{Digest, JobId, Signed};
use support::local::{close, open, stored};
use support::world::{Keys, World};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A deposit, an escrow that nobody can pay, and a Close of an epoch that is over.
fn world() -> (World, [Signed<Envelope>; 3]) {
    let mut world = World::bare();
    let consumer = Consumer { account: world.account() };
    let deposit = Transaction::Deposit(Deposit { consumer, amount: 5 });
    let escrow = world.escrow_tx(&support::world::spec(1, 4, 4, 4), u64::MAX);
    let close = Transaction::Close(Close { job: JobId([1; 32]) });
    let txs = [deposit, escrow, close].map(|tx| {
        let id = world.id();
        world.sign(&tx, id)
    });
    assert_eq!(world.open_epoch(2), Code::Ok);
    let id = world.id();
    let poor = world.escrow_tx(&support::world::spec(1, 4, 4, 4), u64::MAX);
    let txs = [txs[0].clone(), world.sign(&poor, id), txs[2].clone()];
    let codes: Vec<Code> = world.block(txs.to_vec()).iter().map(|receipt| receipt.code).collect();
    assert_eq!(codes, [Code::Ok, Code::InsufficientCredits, Code::StaleEpoch]);
    (world, txs)
}

#[test]
fn i15_a_transaction_is_known_after_a_restart_also_over_a_store_that_kept_no_records() {
    let (mut world, txs) = world();
    let directory = stored(&world);
    let runtime = Runtime::new().unwrap();
    let admitted = |tx: &Signed<Envelope>| world.admission.check(tx.clone()).unwrap();
    let want: Vec<Standing> = txs.iter().map(|tx| world.chain.check_tx(&admitted(tx))).collect();
    assert!(want.iter().all(|standing| matches!(standing, Standing::Known(_))));
    let consumer = Consumer { account: world.account() };
    let other = Transaction::Deposit(Deposit { consumer, amount: 6 });
    let (id, keys) = (admitted(&txs[0]).said().id, Keys::new());
    let clash = admitted(&other.sign(world.chain.id(), &keys.issuer, 0, id));
    for _ in 0..2 {
        let (node, ended) = open(&runtime, directory.path(), Past::Begun).unwrap();
        for (tx, want) in txs.iter().zip(&want) {
            let tx = admitted(tx);
            let in_memory = runtime.block_on(node.look(|chain| chain.check_tx(&tx))).unwrap();
            assert_eq!(in_memory, Standing::New, "the chain itself does not remember it");
            assert_eq!(runtime.block_on(node.standing(&tx)).unwrap(), *want);
            // Also when it gets as far as the writer.
            let Standing::Known(want) = want else { unreachable!() };
            assert_eq!(runtime.block_on(node.submit(tx)).unwrap(), *want);
        }
        assert!(matches!(runtime.block_on(node.standing(&clash)).unwrap(), Standing::Clash(_)));
        let clashed = runtime.block_on(node.submit(clash.clone())).unwrap();
        assert_eq!(clashed.receipt.code, Code::ExistsWithDifferentBytes);
        let size = runtime.block_on(node.look(|chain| chain.seal_ref().size)).unwrap();
        assert_eq!(size, world.log.len() as u64, "none of them left a leaf");
        close(&runtime, node, ended);
    }
    assert_eq!(world.open_epoch(3), Code::Ok);
}

#[test]
fn i15_what_is_ordered_is_known_from_the_moment_it_is_answered() {
    let (world, _) = world();
    let directory = stored(&world);
    let runtime = Runtime::new().unwrap();
    let (node, ended) = open(&runtime, directory.path(), Past::Begun).unwrap();
    let consumer = Consumer { account: world.account() };
    let deposit = Transaction::Deposit(Deposit { consumer, amount: 7 });
    let id = orion_protocol::TxId([9; 16]);
    let tx = world.admission.check(deposit.sign(world.chain.id(), &Keys::new().issuer, 0, id)).unwrap();
    assert_eq!(runtime.block_on(node.standing(&tx)).unwrap(), Standing::New);
    let first = runtime.block_on(node.submit(tx.clone())).unwrap();
    assert_eq!(runtime.block_on(node.standing(&tx)).unwrap(), Standing::Known(first.clone()));
    close(&runtime, node, ended);
    let (node, ended) = open(&runtime, directory.path(), Past::Begun).unwrap();
    assert_eq!(runtime.block_on(node.submit(tx)).unwrap(), first);
    close(&runtime, node, ended);
}

#[test]
fn a_record_that_the_log_contradicts_halts_the_start() {
    let (world, txs) = world();
    let directory = stored(&world);
    let said = world.admission.check(txs[0].clone()).unwrap().said();
    let wrong = Record { said, stale: false, leaf: 1, height: 1 };
    Store::open(directory.path()).unwrap().add(&Kept { ended: Vec::new(), records: vec![wrong] }).unwrap();
    let error = open(&Runtime::new().unwrap(), directory.path(), Past::Begun).err();
    assert!(matches!(error, Some(NodeError::Store(StoreError::Damaged(_)))), "{error:?}");
}

#[test]
fn a_record_is_not_overwritten_and_of_refusals_the_first_leaf_counts() {
    let (world, txs) = world();
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let said = world.admission.check(txs[0].clone()).unwrap().said();
    let add = |record: Record| store.add(&Kept { ended: Vec::new(), records: vec![record] });
    for stale in [false, true] {
        let record = Record { said, stale, leaf: 7, height: 2 };
        add(record).unwrap();
        add(record).unwrap();
        assert_eq!(add(Record { leaf: 8, height: 3, ..record }).is_ok(), stale);
        assert!(add(Record { leaf: 6, ..record }).is_err());
        let lacks = |record| store.snapshot().unwrap().lacks(Kept { ended: Vec::new(), records: vec![record] });
        assert!(lacks(record).unwrap().is_empty());
        let other = Record { said: orion_ledger_core::Said { payload: Digest::ZERO, ..said }, ..record };
        // Filed under all that was said, another payload is another record; under the id it is a contradiction.
        assert_eq!(lacks(other).is_ok(), stale);
    }
}
