//! Whose leases a worker takes while operators follow each other: a real ledger gives the proofs, and a worker that has nothing but
//! the genesis judges.
#![cfg(test)]

use std::sync::Arc;

use orion_ledger_core::log::note::Note;
use orion_ledger_core::log::proof_file::ProofFile;
use orion_ledger_core::log::prove::{Levels, inclusion};
use orion_ledger_core::{Admission, Chain, Signer};
use orion_protocol::ids::action_digest;
use orion_protocol::ledger::api::LeafProof;
use orion_protocol::ledger::leaf::Code;
use orion_protocol::ledger::tx::{Approved, KeyRole, OpenEpoch, Rotate};
use orion_protocol::ledger::{Genesis, Policy, Transaction};
use orion_protocol::merkle::Sha256;
use orion_protocol::messages::{Message as _, Role, Task, TaskBody};
use orion_protocol::statements::{Approval, LeaseCore, LeaseKind, LeaseTail, Token};
use orion_protocol::{Digest, Name, SecretKey, Signed, TxId, cbor};
use orion_worker::agent::operators::{OperatorError, Operators};
use orion_worker::agent::verify::{Identity, LeaseError, check};

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

const OPERATOR: u8 = 1;
const NEXT: u8 = 11;
const ISSUER: u8 = 3;
const CHECKPOINT: u8 = 4;
const WORKER: u8 = 20;

fn genesis(nonce: &[u8]) -> Genesis {
    let [operator, platform, issuer, checkpoint] = [OPERATOR, 2, ISSUER, CHECKPOINT].map(|seed| key(seed).public());
    let policy = Policy::per_work(1_000, 20_000, 0, 86_400_000);
    Genesis { nonce: Digest::of(nonce), operator, platform, issuer, checkpoint, policy, issuers: None, bonds: None }
}

/// A log that grows.
struct Log {
    genesis: Genesis,
    chain: Chain,
    leaves: Vec<Vec<u8>>,
    time_ms: u64,
}

impl Log {
    fn new(genesis: &Genesis) -> Log {
        let (chain, block) = Chain::start(&genesis.to_bytes(), 1).unwrap();
        Log { genesis: genesis.clone(), chain, leaves: block.leaves, time_ms: 1 }
    }

    /// The index of the transaction's leaf.
    fn send(&mut self, tx: &Transaction, by: &SecretKey, epoch: u64, id: TxId) -> u64 {
        let signed = tx.sign(self.chain.id(), by, epoch, id);
        let admitted = Admission::new(&self.genesis).check(signed).unwrap();
        self.time_ms += 1;
        let block = self.chain.finalize_block(self.time_ms, &[admitted]).unwrap();
        assert_eq!(block.outcomes[0].receipt.code, Code::Ok);
        self.leaves.extend(block.leaves);
        block.outcomes[0].leaf
    }

    /// An epoch that this operator opens, with the proof of it.
    fn open(&mut self, epoch: u64, operator: u8) -> LeafProof {
        let tx = Transaction::OpenEpoch(OpenEpoch { epoch, nonce: vec![7; 16].into() });
        let at = self.send(&tx, &key(operator), epoch, TxId([u8::try_from(epoch).unwrap(); 16]));
        let hashes: Vec<[u8; 32]> = self.leaves.iter().map(|leaf| Sha256::leaf(leaf)).collect();
        let path = inclusion(hashes.len() as u64, at, &Levels::of(&hashes)).unwrap();
        let mut signer = Signer::new(self.chain.id(), key(CHECKPOINT), None);
        let note = signer.sign(&self.chain.seal_ref()).unwrap();
        let proof = ProofFile { extra: None, index: at, path, note: Note::parse(note.as_bytes()).unwrap() };
        LeafProof { leaf: self.leaves[usize::try_from(at).unwrap()].clone().into(), proof: proof.to_string() }
    }

    /// Another operator in the place of the one in force.
    fn rotate(&mut self, old: u8, new: u8) {
        let (role, lost) = (KeyRole::Operator, false);
        let rotate = Rotate { role, old: key(old).public(), new: key(new).public(), lost };
        let (inner, id) = (cbor::to_vec(&Transaction::Rotate(rotate)), TxId([new; 16]));
        let action = action_digest(&key(ISSUER).public(), &id, &inner);
        let approvals = vec![Signed::new(self.chain.id(), &key(ISSUER), &Approval { action })];
        self.send(&Transaction::Approved(Approved { inner: inner.into(), approvals }), &key(ISSUER), 0, id);
    }
}

fn worker(genesis: &Genesis) -> Identity {
    Identity {
        chain: genesis.chain(),
        operators: Arc::new(Operators::new(genesis)),
        key: key(WORKER),
        provider: name("p1"),
        worker: name("w1"),
        role: Role::Worker,
    }
}

/// What the worker says of a lease of an epoch that an operator signs.
fn says(to: &Identity, by: u8, epoch: u64, opened: Option<&LeafProof>) -> Result<u64, LeaseError> {
    let core = LeaseCore {
        kind: LeaseKind::Work,
        task: Digest::of(b"task"),
        shard: 0,
        first_unit: 0,
        units: 1,
        token: Token { epoch, attempt: 1, copy: 0 },
        provider: key(WORKER).public(),
        worker: name("w1"),
        audit: None,
    };
    let lease = Signed::new(&to.chain, &key(by), &core);
    let tail = LeaseTail { lease: lease.digest(&to.chain), deadline_ms: 100, salt: Some(Digest::ZERO) };
    let tail = Signed::new(&to.chain, &key(by), &tail);
    let task = Task { lease, tail, job_uid: name("job"), body: TaskBody::Execute, opened: opened.cloned() };
    check(to, &task.to_bytes(), 1).map(|lease| lease.core.token.epoch)
}

fn refused(outcome: Result<u64, LeaseError>) -> OperatorError {
    match outcome {
        Err(LeaseError::Operator(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_worker_follows_the_operators_of_the_log() {
    let genesis = genesis(b"a chain");
    let mut log = Log::new(&genesis);
    let worker = worker(&genesis);
    let first = log.open(1, OPERATOR);
    assert_eq!(says(&worker, OPERATOR, 1, None).unwrap(), 1);
    assert_eq!(says(&worker, OPERATOR, 1, Some(&first)).unwrap(), 1);
    log.rotate(OPERATOR, NEXT);
    let second = log.open(2, NEXT);

    // The word of somebody alone is nothing.
    assert!(matches!(refused(says(&worker, NEXT, 2, None)), OperatorError::Statement(_)));
    assert!(matches!(refused(says(&worker, NEXT, 1, Some(&first))), OperatorError::Statement(_)));
    for _ in 0..2 {
        assert_eq!(says(&worker, NEXT, 2, Some(&second)).unwrap(), 2);
    }
    assert!(matches!(refused(says(&worker, NEXT, 3, Some(&second))), OperatorError::Epoch { lease: 3, proof: 2 }));
    assert!(matches!(refused(says(&worker, OPERATOR, 2, Some(&second))), OperatorError::Statement(_)));
    // Whoever was replaced is not obeyed any more, whatever epoch it says.
    for epoch in [1, 2, 3] {
        let replaced = refused(says(&worker, OPERATOR, epoch, None));
        assert!(matches!(replaced, OperatorError::Replaced { lease, newest: 2 } if lease == epoch), "{replaced}");
    }
    assert!(matches!(refused(says(&worker, OPERATOR, 1, Some(&first))), OperatorError::Replaced { .. }));

    // And on: one proof, however many came before.
    log.rotate(NEXT, NEXT + 1);
    let third = log.open(3, NEXT + 1);
    assert_eq!(says(&worker, NEXT, 2, Some(&second)).unwrap(), 2, "nobody has told it yet");
    assert_eq!(says(&worker, NEXT + 1, 3, Some(&third)).unwrap(), 3);
    assert!(matches!(refused(says(&worker, NEXT, 2, Some(&second))), OperatorError::Replaced { lease: 2, newest: 3 }));
    // The same one leads again.
    let fourth = log.open(4, NEXT + 1);
    assert_eq!(says(&worker, NEXT + 1, 4, Some(&fourth)).unwrap(), 4);
    assert_eq!(says(&worker, NEXT + 1, 3, Some(&third)).unwrap(), 3);
}

#[test]
fn what_another_log_says_counts_nothing() {
    let (ours, theirs) = (genesis(b"ours"), genesis(b"theirs"));
    let mut log = Log::new(&theirs);
    log.rotate(OPERATOR, NEXT);
    let opened = log.open(1, NEXT);
    let mut own = Log::new(&ours);
    own.rotate(OPERATOR, NEXT);
    let mut changed = own.open(1, NEXT);
    changed.leaf[9] ^= 1;
    let worker = worker(&ours);
    for proof in [opened, changed] {
        assert!(matches!(refused(says(&worker, NEXT, 1, Some(&proof))), OperatorError::Proof(_)));
    }
    assert_eq!(says(&worker, OPERATOR, 1, None).unwrap(), 1);
}
