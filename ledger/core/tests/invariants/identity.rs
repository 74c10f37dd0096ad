//! I15: an id is used once, whoever remembers it. I20: an account goes down by its owner's word, and by those that are named.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(clippy::cast_possible_truncation, reason = "random numbers with small bounds")]

use std::collections::BTreeMap;

use orion_ledger_core::{Admitted, Recall, Record, Standing};
use orion_protocol::JobId;
use orion_protocol::ids::Account;
use orion_protocol::ledger::leaf::Code;
use orion_protocol::ledger::leaf::{Leaf, LeafBody};
use orion_protocol::ledger::tx::*;
use orion_protocol::ledger::{SealRef, Submitted};
use orion_protocol::{Digest, SecretKey};

use crate::support::{Keys, Random, World, key};
use crate::{HISTORIES, STEPS, support};

/// The records that were taken out of a chain, as a store files them, with the log they point to.
#[derive(Default)]
struct Shelf {
    sent: BTreeMap<([u8; 32], [u8; 16]), Record>,
    stale: BTreeMap<[u8; 32], Record>,
}

impl Shelf {
    fn put(&mut self, records: Vec<Record>) {
        for record in records {
            let said = record.said;
            if record.stale {
                self.stale.entry(said.digest().0).or_insert(record);
            } else {
                let before = self.sent.insert((said.signer.0, said.id.0), record);
                assert!(before.is_none(), "an id was recorded twice");
            }
        }
    }

    fn recall(&self, tx: &Admitted, log: &[Vec<u8>], seals: &[SealRef]) -> Recall {
        let submitted = |record: &Record| {
            let leaf = Leaf::from_bytes(&log[record.leaf as usize]).unwrap();
            let LeafBody::Transaction(_, receipt) = leaf.body else { panic!("not a transaction") };
            assert_eq!(leaf.height, record.height);
            Submitted { leaf: record.leaf, receipt, seal: seals[record.height as usize] }
        };
        let said = tx.said();
        let sent = self.sent.get(&(said.signer.0, said.id.0)).map(|record| (record.said.payload, submitted(record)));
        Recall { sent, stale: self.stale.get(&said.digest().0).map(submitted) }
    }
}

/// Some transaction with one of few ids, signed by either key in one of few epochs: most of them clash or repeat.
fn some(random: &mut Random, world: &World) -> Admitted {
    let id = orion_protocol::TxId([random.below(12) as u8; 16]);
    let tx = match random.below(3) {
        0 => {
            let consumer = Consumer { account: world.account() };
            Transaction::Deposit(Deposit { consumer, amount: 1 + random.below(2) })
        }
        1 => Transaction::Close(Close { job: JobId([1 + random.below(2) as u8; 32]) }),
        _ => {
            let (epoch, nonce) = (world.chain.epoch() + random.below(2), random.below(2) as u8);
            Transaction::OpenEpoch(OpenEpoch { epoch, nonce: vec![nonce; 16].into() })
        }
    };
    let keys = &world.signers.keys;
    let issuer = random.below(4) == 0 || matches!(tx, Transaction::Deposit(_));
    let epoch = if let Transaction::OpenEpoch(open) = &tx { open.epoch } else { random.below(4) };
    let (key, epoch) = if issuer { (&keys.issuer, 0) } else { (&keys.operator, epoch) };
    world.admission.check(tx.sign(&world.signers.chain, key, epoch, id)).unwrap()
}

#[test]
fn i15_an_id_has_one_fate_and_a_chain_that_recalls_it_judges_as_one_that_remembers() {
    let seed = support::seed();
    let mut repeated = 0;
    for number in 0..HISTORIES {
        let seed = seed.wrapping_add(number);
        println!("ORION_SEED={seed}");
        let mut random = Random(seed);
        let mut world = World::bare();
        let (mut forgetful, mut shelf) = (world.chain.clone(), Shelf::default());
        for _ in 0..STEPS {
            shelf.put(forgetful.take_records());
            let txs: Vec<Admitted> = (0..=random.below(5)).map(|_| some(&mut random, &world)).collect();
            let recalled: Vec<(Admitted, Recall)> =
                txs.iter().map(|tx| (tx.clone(), shelf.recall(tx, &world.log, &world.seals))).collect();
            let before: Vec<Standing> = txs.iter().map(|tx| world.chain.check_tx(tx)).collect();
            for ((tx, recall), before) in recalled.iter().zip(&before) {
                assert_eq!(forgetful.check_recalled(tx, recall), *before);
            }
            world.time_ms += 10;
            let block = world.chain.finalize_block(world.time_ms, &txs).unwrap();
            assert_eq!(forgetful.finalize_recalled(world.time_ms, &recalled).unwrap(), block);
            for (before, outcome) in before.iter().zip(&block.outcomes) {
                // A leader's first word for its epoch may stand in this very block, and free what was refused before.
                if let Standing::Clash(known) = before {
                    assert_eq!(outcome, known);
                    repeated += 1;
                }
            }
            if !block.leaves.is_empty() {
                world.seals.push(block.seal);
            }
            world.log.extend(block.leaves);
            assert_eq!(forgetful.snapshot(), world.chain.snapshot());
        }
    }
    assert!(repeated > 0, "some ids clashed");
}

/// Three issuers of whom two are needed, and three consumers' accounts with credits; two have ids that are other accounts' too.
fn purses() -> World {
    let mut issuers = [key(3), key(31), key(32)].map(|key| key.public()).to_vec();
    issuers.sort_unstable();
    let issuers = Some(Issuers { threshold: 2, keys: issuers });
    let mut world = World::bare_of(&Genesis { issuers, ..Keys::new().genesis() });
    assert_eq!(world.register(11, "alice"), Code::Ok);
    let chain = world.signers.chain.clone();
    for account in [world.account(), Account::Available(key(11).public()).id(&chain), Account::Treasury.id(&chain)] {
        let deposit = Transaction::Deposit(Deposit { consumer: Consumer { account }, amount: 1_000 });
        assert_eq!(world.approved(&deposit, &[key(3), key(31)]).code, Code::Ok);
    }
    world
}

#[test]
fn i20_i02_only_the_owner_and_the_threshold_take_credits_out_and_the_sums_say_so() {
    let seed = support::seed();
    println!("ORION_SEED={seed}");
    let (mut random, mut world) = (Random(seed), purses());
    let chain = world.signers.chain.clone();
    let ids = [world.account(), Account::Available(key(11).public()).id(&chain), Account::Treasury.id(&chain)];
    let (mut out, mut refused) = (0, 0);
    for _ in 0..600 {
        let who = random.below(3) as usize;
        // Consumers' accounts are in the platform's custody, whatever their ids.
        let amount = 1 + random.below(3);
        let withdraw = Withdraw { from: Purse::Consumer(ids[who]), amount, to: Digest::ZERO, reserve: None };
        let everybody = [key(3), key(31), key(32), Keys::new().operator, key(11), key(66)];
        // The last two are asked more rarely: a word that is not needed spoils all others.
        let odds = [2, 2, 2, 2, 8, 8];
        let asked = everybody.into_iter().zip(odds).filter(|(_, odds)| random.one_in(*odds));
        let by: Vec<SecretKey> = asked.map(|(key, _)| key).collect();
        let issuers = by.iter().filter(|one| world.chain.issuers().has(&one.public())).count();
        let operator = by.iter().any(|one| one.public() == Keys::new().operator.public());
        let stranger = by.len() > issuers + usize::from(operator);
        let before = ids.map(|id| world.chain.account(id).balance);
        let code = world.approved(&Transaction::Withdraw(withdraw), &by).code;
        let may = issuers >= 2 && operator && !stranger;
        let want = match (may, stranger) {
            (true, _) if before[who] < amount => Code::InsufficientCredits,
            (true, _) => Code::Ok,
            (false, true) => Code::BadApproval,
            (false, false) => Code::NotEnoughApprovals,
        };
        assert_eq!(code, want);
        let mut after = before;
        if code == Code::Ok {
            after[who] -= amount;
            out += amount;
        } else {
            refused += 1;
        }
        assert_eq!(ids.map(|id| world.chain.account(id).balance), after);
        let totals = world.chain.totals();
        assert_eq!((totals.withdrawn, totals.deposited - totals.withdrawn), (out, after.iter().sum()));
    }
    assert!(out > 0 && refused > 0);
}
