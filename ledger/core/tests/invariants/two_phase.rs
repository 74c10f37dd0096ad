//! I11 and I12: what is held back is resolved once, by a withdrawal, by giving it up, or by its time.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeMap;

use orion_protocol::ids::{Account, reserve_id};
use orion_protocol::ledger::Transaction;
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody};
use orion_protocol::ledger::tx::*;
use orion_protocol::{Digest, SecretKey};

use crate::support::{Random, World, key, spec};
use crate::{HISTORIES, support};

/// Micro-credits that the provider has at first.
const EARNED: u64 = 5_120;

/// A world in which the provider 11 owns something.
fn earned() -> World {
    let mut world = World::new();
    let task = spec(1, 512, 512, 1);
    world.pay(&task);
    assert_eq!(world.balance(&Account::Available(key(11).public())), EARNED);
    world
}

/// What the model knows of a reserve: how much, and until when; resolved ones are taken out.
type Open = BTreeMap<Digest, (u64, u64)>;

struct Model {
    world: World,
    open: Open,
    resolved: Vec<Digest>,
    balance: u64,
}

impl Model {
    fn held(&self) -> u64 {
        self.open.values().map(|(amount, _)| amount).sum()
    }

    /// Reserves whose time is past in a block of this time end, in that block.
    fn lapse(&mut self, from_leaf: usize) {
        let time_ms = self.world.time_ms;
        let past = self.open.iter().filter(|(_, (_, expires_ms))| *expires_ms < time_ms);
        let mut past: Vec<(u64, Digest)> = past.map(|(id, (_, expires_ms))| (*expires_ms, *id)).collect();
        past.sort_unstable();
        let lapsed = self.world.log[from_leaf..].iter().filter_map(|leaf| match Leaf::from_bytes(leaf).unwrap().body {
            LeafBody::Lapse(id, receipt) => {
                assert!(receipt.transfers.is_empty());
                Some(id)
            }
            _ => None,
        });
        assert_eq!(lapsed.collect::<Vec<_>>(), past.iter().map(|(_, id)| *id).collect::<Vec<_>>());
        for (_, id) in past {
            self.open.remove(&id);
            self.resolved.push(id);
        }
    }

    fn send(&mut self, tx: &Transaction, sender: &SecretKey) -> (Code, Digest) {
        let (leaf, id) = (self.world.log.len(), self.world.id());
        let signed = tx.sign(&self.world.signers.chain, sender, 0, id);
        let code = self.world.block(vec![signed])[0].code;
        self.lapse(leaf);
        (code, reserve_id(&sender.public(), &id))
    }

    fn reserve(&mut self, random: &mut Random) {
        let amount = random.below(2_000);
        let expires_ms = self.world.time_ms + random.below(600);
        let (code, id) = self.send(&Transaction::Reserve(Reserve { amount, expires_ms }), &key(11));
        // By now what was past has lapsed; the block's own time is what counts.
        let lasts = expires_ms > self.world.time_ms && amount > 0 && self.open.len() < Reserve::MAX_OPEN;
        let want = match lasts {
            false => Code::OutOfBounds,
            true if self.held() + amount > self.balance => Code::InsufficientCredits,
            true => Code::Ok,
        };
        assert_eq!(code, want);
        if code == Code::Ok {
            self.open.insert(id, (amount, expires_ms));
        }
    }

    /// One that is open, or one that was.
    fn pick(&self, random: &mut Random) -> Option<Digest> {
        let all: Vec<Digest> = self.open.keys().chain(&self.resolved).copied().collect();
        let at = usize::try_from(random.below(all.len().max(1) as u64)).unwrap();
        all.get(at).copied()
    }

    fn release(&mut self, random: &mut Random) {
        let Some(id) = self.pick(random) else { return };
        let other = random.one_in(4);
        let sender = if other { key(12) } else { key(11) };
        let (code, _) = self.send(&Transaction::Release(Release { reserve: id }), &sender);
        let there = self.open.contains_key(&id) && !other;
        assert_eq!(code, if there { Code::Ok } else { Code::NoSuchReserve });
        if there {
            self.open.remove(&id);
            self.resolved.push(id);
        }
    }

    fn withdraw(&mut self, random: &mut Random) {
        let reserve = if random.one_in(3) { None } else { self.pick(random) };
        let amount = 1 + random.below(400);
        let from = Purse::Available(key(11).public());
        let tx = Transaction::Withdraw(Withdraw { from, amount, to: Digest::ZERO, reserve });
        let (leaf, issuer) = (self.world.log.len(), key(3));
        let code = self.world.approved(&tx, &[issuer, key(11)]).code;
        self.lapse(leaf);
        let free = self.balance - self.held();
        let want = match reserve.map(|id| self.open.get(&id)) {
            None if amount > free => Code::InsufficientCredits,
            Some(None) => Code::NoSuchReserve,
            Some(Some((held, _))) if amount > *held => Code::ReserveOver,
            None | Some(Some(_)) => Code::Ok,
        };
        assert_eq!(code, want);
        if code == Code::Ok {
            self.balance -= amount;
            if let Some(id) = reserve {
                self.open.remove(&id);
                self.resolved.push(id);
            }
        }
    }
}

#[test]
fn i11_i12_a_reserve_is_resolved_once_and_nothing_else_moves_what_it_holds() {
    let seed = support::seed();
    let (mut resolved, mut withdrawn) = (0, 0);
    for number in 0..HISTORIES {
        let seed = seed.wrapping_add(number);
        println!("ORION_SEED={seed}");
        let mut random = Random(seed);
        let mut model = Model { world: earned(), open: Open::new(), resolved: Vec::new(), balance: EARNED };
        for _ in 0..80 {
            model.world.time_ms += random.below(60);
            match random.below(5) {
                0..=2 => model.reserve(&mut random),
                3 => model.release(&mut random),
                _ => model.withdraw(&mut random),
            }
            assert_eq!(model.world.balance(&Account::Available(key(11).public())), model.balance);
            // The audit after each block compares what is held back with the open reserves, and a restored chain with both.
            let (chain, seal) = (&model.world.chain, model.world.chain.seal_ref());
            let bytes = chain.snapshot();
            let restored = orion_ledger_core::Chain::restore(chain.genesis(), &bytes, &seal).unwrap();
            assert_eq!(restored.snapshot(), bytes);
            assert_eq!(restored.next_deadline_ms(), chain.next_deadline_ms());
        }
        // In the end all of it lapses, and the log replays to the same.
        model.world.time_ms += 1_000;
        let leaf = model.world.log.len();
        assert_eq!(model.world.deposit(1), Code::Ok);
        model.lapse(leaf);
        assert!(model.open.is_empty());
        let (bytes, vkey) = model.world.export();
        let (_, replayed) = orion_ledger_core::verify::chain(bytes.as_slice(), &vkey).unwrap();
        assert_eq!(replayed.snapshot(), model.world.chain.snapshot());
        resolved += model.resolved.len();
        withdrawn += model.world.chain.totals().withdrawn;
    }
    println!("{resolved} reserves were resolved, {withdrawn} withdrawn");
    assert!(resolved > 0 && withdrawn > 0);
}

#[test]
fn i11_a_provider_has_at_most_sixteen_reserves_and_the_issuers_can_give_one_back() {
    let mut world = earned();
    let reserve = Transaction::Reserve(Reserve { amount: 1, expires_ms: world.time_ms + 100_000 });
    let chain = world.signers.chain.clone();
    let send = |world: &mut World, tx: &Transaction, sender: &SecretKey| {
        let id = world.id();
        (world.block(vec![tx.sign(&chain, sender, 0, id)])[0].code, reserve_id(&sender.public(), &id))
    };
    let ids: Vec<_> = (0..16).map(|_| send(&mut world, &reserve, &key(11))).collect();
    assert!(ids.iter().all(|(code, _)| *code == Code::Ok));
    assert_eq!(send(&mut world, &reserve, &key(11)).0, Code::OutOfBounds);
    assert_eq!(send(&mut world, &reserve, &key(12)).0, Code::Ok, "another's are its own");
    assert_eq!(send(&mut world, &reserve, &key(1)).0, Code::NotAllowed, "the operator is no provider");
    let release = Transaction::Release(Release { reserve: ids[0].1 });
    assert_eq!(send(&mut world, &release, &key(3)).0, Code::NoSuchReserve, "an issuer needs the others' words");
    assert_eq!(world.approved(&release, &[]).code, Code::NotEnoughApprovals);
    assert_eq!(world.approved(&release, &[key(3)]).code, Code::Ok);
    assert_eq!(send(&mut world, &reserve, &key(11)).0, Code::Ok);
    assert_eq!(send(&mut world, &Transaction::Release(Release { reserve: ids[1].1 }), &key(11)).0, Code::Ok);
    // The next block comes 10 ms later.
    for (lasts_ms, code) in
        [(0, Code::OutOfBounds), (Reserve::MAX_MS + 1, Code::OutOfBounds), (Reserve::MAX_MS, Code::Ok)]
    {
        let long = Transaction::Reserve(Reserve { amount: 1, expires_ms: world.time_ms + 10 + lasts_ms });
        assert_eq!(send(&mut world, &long, &key(11)).0, code, "{lasts_ms} ms");
    }
}
