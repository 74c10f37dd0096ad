//! Signed deposits, made before anything is timed: who submits signs on another computer.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use hyper::body::Bytes;
use orion_protocol::ids::{Account, ChainId, JobId, TxId};
use orion_protocol::ledger::Genesis;
use orion_protocol::ledger::tx::{Consumer, Deposit, Policy, Transaction};
use orion_protocol::{Digest, SecretKey, cbor};

/// Consumers that the deposits go to.
const CONSUMERS: u64 = 1000;
/// Seeds of the chain's keys: the operator's, the platform's, the issuer's, the checkpoints'.
const SEEDS: [u8; 4] = [1, 2, 3, 4];

/// A chain for measuring, and its next deposit.
pub struct Deposits {
    pub genesis: Genesis,
    chain: ChainId,
    issuer: SecretKey,
    next: u64,
}

impl Deposits {
    pub fn new() -> Deposits {
        let [operator, platform, issuer, checkpoint] = SEEDS.map(key);
        let genesis = Genesis {
            nonce: Digest::of(b"a chain for measuring"),
            operator: operator.public(),
            platform: platform.public(),
            issuer: issuer.public(),
            checkpoint: checkpoint.public(),
            policy: Policy::per_work(1_000_000, 20_000, 0, 60_000),
            issuers: None,
            bonds: None,
        };
        Deposits { chain: genesis.chain(), genesis, issuer, next: 0 }
    }

    /// The seed of the key that signs checkpoints.
    pub fn checkpoint_seed() -> [u8; 32] {
        [SEEDS[3]; 32]
    }

    pub fn checkpoint_key() -> SecretKey {
        key(SEEDS[3])
    }

    pub fn chain(&self) -> &ChainId {
        &self.chain
    }

    /// The next `count` deposits as they are submitted.
    pub fn sign(&mut self, count: u64) -> Result<Arc<[Bytes]>> {
        let numbers: Vec<u64> = (self.next..self.next + count).collect();
        self.next += count;
        let threads = std::thread::available_parallelism().context("counting processors")?.get();
        let part = numbers.len().div_ceil(threads).max(1);
        let signed = std::thread::scope(|scope| {
            let parts = numbers.chunks(part).map(|part| {
                let one = |number: &u64| self.one(*number);
                scope.spawn(move || part.iter().map(one).collect::<Vec<_>>())
            });
            let running: Vec<_> = parts.collect();
            running.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Result<Vec<_>, _>>()
        });
        let signed = signed.map_err(|_| anyhow::anyhow!("signing ended early"))?;
        Ok(signed.into_iter().flatten().collect())
    }

    fn one(&self, number: u64) -> Bytes {
        let namespace = format!("team-{}", number % CONSUMERS);
        let account = Account::Consumer { cluster: "bench", namespace: &namespace }.id(&self.chain);
        let deposit = Transaction::Deposit(Deposit { consumer: Consumer { account }, amount: 1 + number % 1_000_000 });
        let id = TxId::derive("Deposit", &JobId::NONE, number, 0);
        cbor::to_vec(&deposit.sign(&self.chain, &self.issuer, 0, id)).into()
    }
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}
