//! Envelopes of an epoch that is not the current one: each leaves one leaf, however often it is sent, and logs in which it
//! left more stay valid.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use orion_ledger_core::checkpoint::Signer;
use orion_ledger_core::{Chain, Standing, export, verify};
use orion_protocol::Signed;
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody, Receipt};
use orion_protocol::ledger::tx::*;
use orion_protocol::ledger::{SealRef, Submitted};
use orion_protocol::merkle::{Sha256, Tree};
use orion_protocol::{Digest, JobId};
use support::World;

/// A Close of some job, as the operator signed it in this epoch.
fn close(world: &mut World, job: u8, epoch: u64) -> Signed<Envelope> {
    let (tx, id) = (Transaction::Close(Close { job: JobId([job; 32]) }), world.id());
    tx.sign(&world.signers.chain, &world.signers.keys.operator, epoch, id)
}

/// Epoch 2, and an envelope of epoch 1 that was refused for it.
fn refused_once() -> (World, Signed<Envelope>, Submitted) {
    let mut world = World::bare();
    let old = close(&mut world, 1, 1);
    assert_eq!(world.open_epoch(2), Code::Ok);
    assert_eq!(world.block(vec![old.clone(), old.clone()]), vec![receipt(Code::StaleEpoch); 2]);
    let seal = world.chain.seal_ref();
    (world, old, Submitted { leaf: seal.size - 2, receipt: receipt(Code::StaleEpoch), seal })
}

fn receipt(code: Code) -> Receipt {
    Receipt { code, transfers: Vec::new() }
}

fn standing(world: &World, chain: &Chain, tx: &Signed<Envelope>) -> Standing {
    chain.check_tx(&world.admission.check(tx.clone()).unwrap())
}

#[test]
fn it_leaves_one_leaf_however_often_it_is_sent_and_after_a_restart_too() {
    let (mut world, old, first) = refused_once();
    assert_eq!(standing(&world, &world.chain, &old), Standing::Known(first.clone()));
    assert_eq!(world.block(vec![old.clone()]), [receipt(Code::StaleEpoch)]);
    assert_eq!(world.open_epoch(3), Code::Ok);
    let size = world.chain.seal_ref().size;
    assert_eq!(world.block(vec![old.clone(), old.clone()]), vec![receipt(Code::StaleEpoch); 2]);
    assert_eq!(world.chain.seal_ref().size, size);
    world.chain = world.replayed();
    assert_eq!(standing(&world, &world.chain, &old), Standing::Known(first));
    assert_eq!(world.block(vec![old]), [receipt(Code::StaleEpoch)]);
    assert_eq!(world.chain.seal_ref().size, size);
}

#[test]
fn every_other_refusal_that_leaves_a_leaf_leaves_one_as_well() {
    let mut world = World::bare();
    let by_issuer = {
        let (tx, id) = (Transaction::Close(Close { job: JobId([1; 32]) }), world.id());
        tx.sign(&world.signers.chain, &world.signers.keys.issuer, 1, id)
    };
    let refusals = [(by_issuer, Code::NotAllowed), (close(&mut world, 1, 1), Code::NoSuchJob)];
    for (tx, code) in refusals {
        assert_eq!(world.block(vec![tx.clone()]), [receipt(code)]);
        let size = world.chain.seal_ref().size;
        assert_eq!(world.block(vec![tx.clone(), tx]), vec![receipt(code); 2]);
        assert_eq!(world.chain.seal_ref().size, size, "{code}");
    }
}

#[test]
fn one_of_an_epoch_to_come_is_judged_when_that_has_come() {
    let mut world = World::bare();
    let early = close(&mut world, 1, 2);
    assert_eq!(world.block(vec![early.clone()]), [receipt(Code::StaleEpoch)]);
    assert!(matches!(standing(&world, &world.chain, &early), Standing::Known(_)));
    assert_eq!(world.open_epoch(2), Code::Ok);
    assert_eq!(standing(&world, &world.chain, &early), Standing::New);
    assert_eq!(world.block(vec![early]), [receipt(Code::NoSuchJob)]);
    assert_eq!(world.replayed().seal_ref(), world.chain.seal_ref());
}

/// A block that repeats `old`, as ledgers wrote them that did not remember it: its seal is that of a block with another
/// refusal, which moves as little money.
fn repeated(world: &mut World, old: &Signed<Envelope>) {
    let other = close(world, 2, 1);
    assert_eq!(world.block(vec![other]), [receipt(Code::StaleEpoch)]);
    let at = world.log.len() - 2;
    let mut leaf = Leaf::from_bytes(&world.log[at]).unwrap();
    leaf.body = LeafBody::Transaction(old.clone(), receipt(Code::StaleEpoch));
    world.log[at] = leaf.to_bytes();
}

#[test]
fn logs_in_which_it_left_a_leaf_each_time_verify_and_the_first_one_counts() {
    let (mut world, old, first) = refused_once();
    repeated(&mut world, &old);
    let mut tree = Tree::<Sha256>::default();
    for leaf in &world.log {
        tree.push(Sha256::leaf(leaf));
    }
    let seal = SealRef { size: tree.size(), root: Digest(tree.root()), ..world.chain.seal_ref() };
    let mut signer = Signer::new(world.chain.id(), world.signers.keys.checkpoint.clone(), None);
    let mut bytes = Vec::new();
    export::write(&mut bytes, &signer.sign(&seal).unwrap(), world.log.iter().map(Vec::as_slice)).unwrap();
    let (_, chain) = verify::chain(bytes.as_slice(), signer.key()).unwrap();
    assert_eq!(chain.seal_ref(), seal);
    assert_eq!(standing(&world, &chain, &old), Standing::Known(first));
}
