//! Which units are audited, and by whom: unpredictable to workers, recomputable by all.
//!
//! The seed is the log's size and root at the seal of the block that holds the CloseRound, so nobody knows the sample
//! before everything is fixed. It is *not* unbiased against operator and ledger together.

use std::collections::BTreeMap;

use crate::cbor::{Part, frame_digest};
use crate::digest::Digest;
use crate::ids::{ChainId, JobId};
use crate::sign::PublicKey;

/// At most so many eligible validators are named in a round.
pub const MAX_ELIGIBLE: usize = 64;

/// The round's id: it hangs on the job and the commitments alone.
pub fn round_id(job: &JobId, commitments: &[Digest]) -> Digest {
    let mut sorted: Vec<Digest> = commitments.to_vec();
    sorted.sort_unstable();
    let sorted: Vec<Part<'_>> = sorted.iter().map(|digest| Part::Bytes(&digest.0)).collect();
    frame_digest("orion/round/v1", &[Part::Bytes(&job.0), Part::List(&sorted)])
}

/// The seed of a round whose CloseRound lies in a block sealed at `size` leaves with SHA-256 root `root`.
pub fn seed(chain: &ChainId, size: u64, root: &[u8; 32], round: &Digest) -> Digest {
    let parts = [Part::Text(chain.as_str()), Part::U64(size), Part::Bytes(root), Part::Bytes(&round.0)];
    frame_digest("orion/audit-seed/v1", &parts)
}

/// One shard's attempt within a round: what draws are made for.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    /// The round's seed.
    pub seed: Digest,
    /// The shard's index.
    pub shard: u32,
    /// The attempt.
    pub attempt: u32,
}

impl Draw {
    /// The places within the shard of the `min(audits, units)` drawn units, distinct, in the order drawn.
    pub fn places(&self, units: u64, audits: u32) -> Vec<u64> {
        let want = usize::try_from(units.min(u64::from(audits))).unwrap_or(usize::MAX);
        let mut numbers = self.numbers("orion/draw/v1");
        let mut places = Vec::with_capacity(want);
        while places.len() < want {
            let place = numbers.below(units);
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }

    /// The validators in the order in which they are asked: the first of each owner in turn, then the second of each, and
    /// so on; none of `worker_owner`. The count of owners is the length of the first turn.
    pub fn validators<'a>(&self, eligible: &[(PublicKey, &'a str)], worker_owner: &str) -> Validators<'a> {
        let mut keys: Vec<(PublicKey, &str)> =
            eligible.iter().filter(|(_, owner)| *owner != worker_owner).copied().collect();
        keys.sort_unstable_by_key(|(key, _)| *key);
        keys.dedup_by_key(|(key, _)| *key);
        let mut numbers = self.numbers("orion/draw-validators/v1");
        for last in (1..keys.len()).rev() {
            let other = numbers.below(last as u64 + 1);
            keys.swap(last, usize::try_from(other).unwrap_or(last));
        }
        in_turns(&keys)
    }

    fn numbers(&self, domain: &'static str) -> Numbers<'_> {
        Numbers { domain, draw: self, counter: 0 }
    }
}

/// Validators in the order in which they are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validators<'a> {
    /// Keys with their owners.
    pub order: Vec<(PublicKey, &'a str)>,
    /// How many distinct owners: the j-th drawn unit goes to `order[j % owners]` first.
    pub owners: usize,
}

impl Validators<'_> {
    /// Who is asked about the `j`-th drawn unit, first to last; after them the platform.
    pub fn candidates(&self, j: usize) -> impl Iterator<Item = PublicKey> + '_ {
        in_turn(&self.order, self.owners, j).map(|(key, _)| *key)
    }
}

/// All of `order`, starting with who is first asked about the `j`-th drawn unit, and round to the one before.
pub fn in_turn<K>(order: &[K], owners: usize, j: usize) -> impl Iterator<Item = &K> {
    let start = if owners == 0 { 0 } else { j % owners };
    order.iter().cycle().skip(start).take(order.len())
}

fn in_turns<'a>(keys: &[(PublicKey, &'a str)]) -> Validators<'a> {
    let mut turns: Vec<Vec<(PublicKey, &'a str)>> = Vec::new();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (key, owner) in keys {
        let turn = seen.entry(owner).or_insert(0);
        if turns.len() == *turn {
            turns.push(Vec::new());
        }
        turns[*turn].push((*key, *owner));
        *turn += 1;
    }
    Validators { owners: seen.len(), order: turns.concat() }
}

/// A stream of uniform numbers from a hash.
struct Numbers<'a> {
    domain: &'static str,
    draw: &'a Draw,
    counter: u64,
}

impl Numbers<'_> {
    /// Uniform in `[0, n)`: values at or above the largest multiple of `n` are refused. `n` must not be 0.
    fn below(&mut self, n: u64) -> u64 {
        let limit = (1_u128 << 64) / u128::from(n) * u128::from(n);
        loop {
            let draw = self.draw;
            let parts = [
                Part::Bytes(&draw.seed.0),
                Part::U64(draw.shard.into()),
                Part::U64(draw.attempt.into()),
                Part::U64(self.counter),
            ];
            self.counter += 1;
            let digest = frame_digest(self.domain, &parts);
            let mut first = [0; 8];
            first.copy_from_slice(&digest.0[..8]);
            let x = u64::from_be_bytes(first);
            if u128::from(x) < limit {
                return x % n;
            }
        }
    }
}
