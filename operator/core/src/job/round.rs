//! A closed round: the draw, who is asked, votes, disputes, and the evidence for the ledger. All of it can be computed again
//! by anybody from the log; here it is computed first.

use std::collections::{BTreeMap, BTreeSet};

use orion_protocol::draw::{Draw, in_turn, round_id, seed};
use orion_protocol::ledger::api::EntryVerdict;
use orion_protocol::ledger::tx::{CloseRound, DrawnUnit, ShardVerdict};
use orion_protocol::ledger::{RoundView, SealRef};
use orion_protocol::merkle::{self, Sha3};
use orion_protocol::sign::Signed;
use orion_protocol::statements::Vote;
use orion_protocol::task::{TaskSpec, unit_salt};
use orion_protocol::{ChainId, Digest, PublicKey};

use super::shard::Claim;
use crate::Millis;
use crate::effect::{DrawnOf, JobKey};
use crate::fleet::Fleet;
use crate::status::{RoundEntryStatus, RoundStatus};

/// A closed round with shards that are not judged yet.
#[derive(Debug)]
pub(crate) struct Round {
    pub id: Digest,
    pub cases: Vec<Case>,
}

/// One shard in a round.
#[derive(Debug)]
pub(crate) struct Case {
    pub claim: Claim,
    /// The drawn units, counted over the job, in the order drawn.
    pub drawn: Vec<u64>,
    /// Validators in the order asked, with the count of owners.
    order: Vec<PublicKey>,
    owners: usize,
    /// The drawn units with their proofs, once the worker's digest list was read.
    pub proven: Option<Vec<DrawnUnit>>,
    /// When the list is asked for (again).
    pub read_at: Millis,
    /// Since when each key is asked.
    pub asked: BTreeMap<PublicKey, Millis>,
    pub votes: BTreeMap<PublicKey, (Signed<Vote>, Vote)>,
    pub absent: BTreeSet<PublicKey>,
    pub referee: Option<(Signed<Vote>, Vote)>,
    pub judged: bool,
}

/// How a case ends, with its evidence.
pub(crate) struct Judged {
    pub accepted: bool,
    pub disputed: bool,
    pub evidence: ShardVerdict,
}

impl Round {
    /// The round as the ledger fixed it. `claims` are the entries' checked claims, in order.
    pub fn new(
        chain: &ChainId,
        closed: &CloseRound,
        seal: &SealRef,
        task: &TaskSpec,
        claims: Vec<Claim>,
        fleet: &Fleet,
    ) -> Round {
        let commitments: Vec<Digest> = claims.iter().map(|claim| claim.commitment_digest).collect();
        let id = round_id(&closed.job, &commitments);
        let seed = seed(chain, seal.size, &seal.root.0, &id);
        let owned = |key: &PublicKey| Some((*key, fleet.owner_of(key)?.as_str()));
        let eligible: Vec<(PublicKey, &str)> = closed.eligible.iter().filter_map(owned).collect();
        let cases = claims
            .into_iter()
            .map(|claim| {
                let draw = Draw { seed, shard: claim.lease.shard, attempt: claim.lease.token.attempt };
                let places = draw.places(claim.lease.units, task.audits_per_shard);
                let validators = draw.validators(&eligible, claim.owner.as_str());
                Case {
                    drawn: places.into_iter().map(|place| claim.lease.first_unit + place).collect(),
                    order: validators.order.iter().map(|(key, _)| *key).collect(),
                    owners: validators.owners,
                    claim,
                    proven: None,
                    read_at: 0,
                    asked: BTreeMap::new(),
                    votes: BTreeMap::new(),
                    absent: BTreeSet::new(),
                    referee: None,
                    judged: false,
                }
            })
            .collect();
        Round { id, cases }
    }

    /// The round as people see it.
    pub fn shown(&self, sequence: u64, seal: &SealRef) -> RoundStatus {
        let entry = |case: &Case| RoundEntryStatus {
            shard: case.claim.lease.shard,
            attempt: case.claim.lease.token.attempt,
            provider: case.claim.provider.clone(),
            commitment: case.claim.commitment_digest,
            drawn: case.drawn.clone(),
            verdict: None,
        };
        let entries = self.cases.iter().map(entry).collect();
        RoundStatus { sequence, id: self.id, seal: *seal, entries, votes: (0, 0) }
    }

    /// Marks what the ledger has judged already.
    pub fn mark(&mut self, view: &RoundView) {
        for (case, verdict) in self.cases.iter_mut().zip(&view.verdicts) {
            case.judged = *verdict != EntryVerdict::Open;
        }
    }

    pub fn is_judged(&self) -> bool {
        self.cases.iter().all(|case| case.judged)
    }

    pub fn case_mut(&mut self, shard: u32) -> Option<&mut Case> {
        self.cases.iter_mut().find(|case| case.claim.lease.shard == shard && !case.judged)
    }
}

impl Case {
    /// Who is asked about which units now, ascending; `platform` after everybody else.
    pub fn assigned(&self, platform: PublicKey) -> BTreeMap<PublicKey, Vec<u64>> {
        let mut assigned: BTreeMap<PublicKey, Vec<u64>> = BTreeMap::new();
        for (j, unit) in self.drawn.iter().enumerate() {
            let first = in_turn(&self.order, self.owners, j).find(|key| !self.absent.contains(key));
            assigned.entry(first.copied().unwrap_or(platform)).or_default().push(*unit);
        }
        for units in assigned.values_mut() {
            units.sort_unstable();
        }
        assigned
    }

    /// Who is still to vote, on what.
    pub fn missing(&self, platform: PublicKey) -> Vec<(PublicKey, Vec<u64>)> {
        let mut assigned = self.assigned(platform);
        assigned.retain(|key, units| !self.has_voted(key, units));
        assigned.into_iter().collect()
    }

    fn has_voted(&self, key: &PublicKey, units: &[u64]) -> bool {
        self.votes.get(key).is_some_and(|(_, vote)| vote.units.iter().map(|unit| unit.unit).eq(units.iter().copied()))
    }

    /// Takes a vote if it is exactly what its key was asked, and the first such: when a second one comes is in the hands of
    /// whoever sends it, and nobody shall choose again after it has seen what its first one leads to.
    pub fn vote(&mut self, platform: PublicKey, key: PublicKey, signed: Signed<Vote>, vote: Vote) {
        let units: Vec<u64> = vote.units.iter().map(|unit| unit.unit).collect();
        if self.assigned(platform).get(&key) == Some(&units) && !self.has_voted(&key, &units) {
            self.votes.insert(key, (signed, vote));
        }
    }

    /// Whether the referee has voted on exactly these units.
    pub fn is_refereed(&self, units: &[u64]) -> bool {
        let of = |(_, vote): &(Signed<Vote>, Vote)| vote.units.iter().map(|unit| unit.unit).eq(units.iter().copied());
        self.referee.as_ref().is_some_and(of)
    }

    /// What the worker committed to for a unit.
    fn claimed(&self, unit: u64) -> Option<Digest> {
        self.proven.as_ref()?.iter().find(|proven| proven.unit == unit).map(|proven| proven.digest)
    }

    /// Units whose vote, by anybody but the platform, is not what the worker committed to; `None` while votes are missing.
    pub fn disputed(&self, platform: PublicKey) -> Option<Vec<u64>> {
        if self.proven.is_none() || !self.missing(platform).is_empty() {
            return None;
        }
        let votes = self.assigned(platform).into_keys().filter(|key| *key != platform);
        let votes = votes.filter_map(|key| self.votes.get(&key)).flat_map(|(_, vote)| &vote.units);
        let mut units: Vec<u64> =
            votes.filter(|unit| self.claimed(unit.unit) != Some(unit.digest)).map(|unit| unit.unit).collect();
        units.sort_unstable();
        Some(units)
    }

    /// The verdict, once every vote and, where needed, the referee's is there.
    pub fn judge(&self, platform: PublicKey) -> Option<Judged> {
        let disputed = self.disputed(platform)?;
        let referee = match (&self.referee, disputed.is_empty()) {
            (_, true) => None,
            (Some((signed, vote)), false) if self.is_refereed(&disputed) => Some((signed, vote)),
            _ => return None,
        };
        let votes: Vec<_> =
            self.assigned(platform).into_keys().filter_map(|key| self.votes.get_key_value(&key)).collect();
        let by_vote = |unit: u64| votes.iter().flat_map(|(_, (_, vote))| &vote.units).find(|entry| entry.unit == unit);
        let decided = |unit: u64| {
            let by_referee = referee.and_then(|(_, vote)| vote.units.iter().find(|entry| entry.unit == unit));
            by_referee.or_else(|| by_vote(unit)).map(|entry| entry.digest)
        };
        let accepted = self.drawn.iter().all(|unit| self.claimed(*unit) == decided(*unit));
        Some(Judged {
            accepted,
            disputed: !disputed.is_empty(),
            evidence: ShardVerdict {
                lease: self.claim.lease_digest,
                drawn: self.proven.clone()?,
                votes: votes.iter().map(|(_, (signed, _))| signed.clone()).collect(),
                absent: self.asked_and_absent(),
                referee: referee.map(|(signed, _)| signed.clone()),
            },
        })
    }

    /// Absent validators that stand before whoever voted in some unit's turn, ascending.
    fn asked_and_absent(&self) -> Vec<PublicKey> {
        let mut absent = BTreeSet::new();
        for j in 0..self.drawn.len() {
            absent.extend(in_turn(&self.order, self.owners, j).take_while(|key| self.absent.contains(key)));
        }
        absent.into_iter().collect()
    }

    /// What is wanted of the worker's digest list.
    pub fn wanted(&self, job: JobKey, salt: Digest) -> DrawnOf {
        let commitment = &self.claim.commitment;
        DrawnOf {
            job,
            lease: self.claim.lease_digest,
            object: commitment.digest_list,
            units: (self.claim.lease.first_unit, commitment.units),
            root: commitment.root,
            salt,
            drawn: self.drawn.clone(),
        }
    }
}

impl DrawnOf {
    /// The drawn units, in the order drawn, each with its path to the root; nothing when the list is not the one under the
    /// root.
    pub fn prove(&self, digests: &[Digest]) -> Option<Vec<DrawnUnit>> {
        let (first, units) = self.units;
        let leaves: Vec<[u8; 32]> = (first..)
            .zip(digests)
            .map(|(unit, digest)| Sha3::unit_leaf(&unit_salt(&self.salt, unit), unit, digest))
            .collect();
        let levels = merkle::levels::<Sha3>(leaves);
        if digests.len() as u64 != units || merkle::top::<Sha3>(&levels) != self.root.0 {
            return None;
        }
        let drawn = self.drawn.iter().map(|unit| {
            let place = usize::try_from(unit.checked_sub(first)?).ok()?;
            Some(DrawnUnit {
                unit: *unit,
                digest: *digests.get(place)?,
                salt: unit_salt(&self.salt, *unit),
                path: merkle::path_in(&levels, place).into_iter().map(Digest).collect(),
            })
        });
        drawn.collect()
    }
}
