//! RecordVerdict: the evidence is checked against the draw, and the verdict follows; nobody states it.

use std::collections::{BTreeMap, BTreeSet};

use orion_protocol::draw::Draw;
use orion_protocol::ledger::leaf::{Code, Transfer};
use orion_protocol::ledger::tx::{DrawnUnit, MAX_ROUND, RecordVerdict, ShardVerdict};
use orion_protocol::merkle::{Sha3, root_from_path};
use orion_protocol::sign::Verified;
use orion_protocol::statements::Vote;
use orion_protocol::{Digest, PublicKey, Signed};

use super::running_job;
use crate::job::{Auditor, Contribution, Entry, Job, Round, Verdict};
use crate::state::State;

pub(super) fn record(state: &mut State, tx: &RecordVerdict) -> Result<Vec<Transfer>, Code> {
    let RecordVerdict { job: id, round: round_id, sequence, shards } = tx;
    let job = running_job(state, id)?;
    if shards.is_empty() || shards.len() > MAX_ROUND {
        return Err(Code::OutOfBounds);
    }
    if *sequence != job.verdicts {
        return Err(Code::WrongSequence);
    }
    let found = job.rounds.iter().enumerate().find(|(_, round)| round.id == *round_id);
    let (round_at, round) = found.ok_or(Code::NoSuchRound)?;
    let seed = round.drawn.ok_or(Code::NoSuchRound)?.seed;
    let mut judged: BTreeMap<usize, Judged> = BTreeMap::new();
    for shard in shards {
        let open = |entry: &Entry| entry.lease_digest == shard.lease && entry.verdict.is_none();
        let at = round.entries.iter().position(open).ok_or(Code::NoSuchRound)?;
        let case = Case { state, job, round, entry: &round.entries[at], seed };
        if judged.insert(at, case.judge(shard)?).is_some() {
            return Err(Code::NoSuchRound);
        }
    }

    let job = state.jobs.get_mut(id).ok_or(Code::NoSuchJob)?;
    job.verdicts += 1;
    for (at, judged) in judged {
        write(job, round_at, at, judged);
    }
    Ok(Vec::new())
}

/// A verdict with what it earns.
struct Judged {
    verdict: Verdict,
    worker: Option<(Digest, Contribution)>,
    validators: Vec<(Digest, Contribution)>,
}

fn write(job: &mut Job, round_at: usize, at: usize, judged: Judged) {
    let Judged { verdict, worker, validators } = judged;
    let Some(entry) = job.rounds.get_mut(round_at).and_then(|round| round.entries.get_mut(at)) else { return };
    let slot = job.slots.entry(entry.lease.shard).or_default();
    slot.open = false;
    slot.accepted = verdict.accepted;
    slot.judged += 1;
    slot.fence = entry.lease.token.attempt;
    entry.verdict = Some(verdict);
    job.workers.extend(worker);
    job.validators.extend(validators);
}

/// One shard of a round, before its judges.
struct Case<'s> {
    state: &'s State,
    job: &'s Job,
    round: &'s Round,
    entry: &'s Entry,
    seed: Digest,
}

impl Case<'_> {
    fn judge(&self, evidence: &ShardVerdict) -> Result<Judged, Code> {
        let ShardVerdict { lease: _, drawn, votes, absent, referee } = evidence;
        let token = self.entry.lease.token;
        let draw = Draw { seed: self.seed, shard: self.entry.lease.shard, attempt: token.attempt };
        self.check_drawn(&draw, drawn)?;
        let asked = self.asked(&draw, drawn, absent)?;
        let votes = self.check_votes(votes, &asked)?;
        let claimed: BTreeMap<u64, Digest> = drawn.iter().map(|unit| (unit.unit, unit.digest)).collect();
        let (truth, refereed) = self.truth(&claimed, &votes, referee.as_ref())?;
        Ok(self.verdict(drawn, &votes, &truth, refereed))
    }

    /// The platform worker's key now: what the one before signed and is not in the log counts no more.
    fn platform(&self) -> Result<PublicKey, Code> {
        self.state.keys.platform().ok_or(Code::BadVote)
    }

    /// The drawn units are the draw's, in its order, and lie under the committed root.
    fn check_drawn(&self, draw: &Draw, drawn: &[DrawnUnit]) -> Result<(), Code> {
        let lease = &self.entry.lease;
        let places = draw.places(lease.units, self.job.spec.audits_per_shard);
        if places.len() != drawn.len() {
            return Err(Code::BadDraw);
        }
        for (place, DrawnUnit { unit, digest, salt, path }) in places.into_iter().zip(drawn) {
            let path: Vec<[u8; 32]> = path.iter().map(|node| node.0).collect();
            let leaf = Sha3::unit_leaf(salt, *unit, digest);
            let root = root_from_path::<Sha3>(leaf, place, lease.units, &path);
            let right_unit = lease.first_unit.checked_add(place) == Some(*unit);
            if !right_unit || root != Some(self.entry.commitment.root.0) {
                return Err(Code::BadDraw);
            }
        }
        Ok(())
    }

    /// Whose vote each drawn unit needs: the first in its order who is not absent, else the platform's.
    fn asked(
        &self,
        draw: &Draw,
        drawn: &[DrawnUnit],
        absent: &[PublicKey],
    ) -> Result<BTreeMap<PublicKey, BTreeSet<u64>>, Code> {
        let owner = |key: &PublicKey| self.state.providers.get(key).map(|provider| provider.owner.as_str());
        let eligible: Option<Vec<(PublicKey, &str)>> =
            self.round.closed.eligible.iter().map(|key| Some((*key, owner(key)?))).collect();
        let worker_owner = owner(&self.entry.lease.provider).ok_or(Code::BadCommitment)?;
        let validators = draw.validators(&eligible.ok_or(Code::BadValidator)?, worker_owner);
        if !absent.is_sorted_by(|a, b| a < b) {
            return Err(Code::BadVote);
        }
        let platform = self.platform()?;
        let mut missed = BTreeSet::new();
        let mut asked: BTreeMap<PublicKey, BTreeSet<u64>> = BTreeMap::new();
        for (j, unit) in drawn.iter().enumerate() {
            let is_absent = |key: &PublicKey| absent.binary_search(key).is_ok();
            let mut candidates = validators.candidates(j);
            let voter = candidates.find(|key| {
                let passed_over = is_absent(key);
                if passed_over {
                    missed.insert(*key);
                }
                !passed_over
            });
            asked.entry(voter.unwrap_or(platform)).or_default().insert(unit.unit);
        }
        if missed.len() == absent.len() { Ok(asked) } else { Err(Code::BadVote) }
    }

    /// Exactly one vote from each who was asked, about exactly its units.
    fn check_votes(
        &self,
        votes: &[Signed<Vote>],
        asked: &BTreeMap<PublicKey, BTreeSet<u64>>,
    ) -> Result<BTreeMap<PublicKey, Verified<Vote>>, Code> {
        let mut checked = BTreeMap::new();
        for vote in votes {
            if self.state.keys.is_lost(&vote.key()) {
                return Err(Code::Revoked);
            }
            let units = asked.get(&vote.key()).ok_or(Code::BadVote)?;
            let vote = self.check_vote(vote, units).ok_or(Code::BadVote)?;
            if checked.insert(vote.key(), vote).is_some() {
                return Err(Code::BadVote);
            }
        }
        if checked.len() == asked.len() { Ok(checked) } else { Err(Code::BadVote) }
    }

    /// A vote that says which task it is about must mean this one: a lease can be named under two tasks.
    fn check_vote(&self, vote: &Signed<Vote>, units: &BTreeSet<u64>) -> Option<Verified<Vote>> {
        let vote = vote.verify(&self.state.chain, &vote.key()).ok()?;
        let of_task = vote.task.is_none_or(|task| task == self.entry.lease.task);
        let about_this = of_task && vote.round == self.round.id && vote.lease == self.entry.lease_digest;
        let covers = vote.units.iter().map(|unit| unit.unit).eq(units.iter().copied());
        (about_this && covers).then_some(vote)
    }

    /// The final digest of each drawn unit, and which units the referee had to decide.
    fn truth(
        &self,
        claimed: &BTreeMap<u64, Digest>,
        votes: &BTreeMap<PublicKey, Verified<Vote>>,
        referee: Option<&Signed<Vote>>,
    ) -> Result<(BTreeMap<u64, Digest>, Vec<u64>), Code> {
        let platform = self.platform()?;
        let mut truth = BTreeMap::new();
        let mut disputed = BTreeSet::new();
        for (key, vote) in votes {
            for said in &vote.units {
                truth.insert(said.unit, said.digest);
                if *key != platform && claimed.get(&said.unit) != Some(&said.digest) {
                    disputed.insert(said.unit);
                }
            }
        }
        match referee {
            None if disputed.is_empty() => {}
            Some(vote) if !disputed.is_empty() && vote.key() == platform => {
                let vote = self.check_vote(vote, &disputed).ok_or(Code::BadReferee)?;
                truth.extend(vote.units.iter().map(|said| (said.unit, said.digest)));
            }
            _ => return Err(Code::BadReferee),
        }
        Ok((truth, disputed.into_iter().collect()))
    }

    fn verdict(
        &self,
        drawn: &[DrawnUnit],
        votes: &BTreeMap<PublicKey, Verified<Vote>>,
        truth: &BTreeMap<u64, Digest>,
        refereed: Vec<u64>,
    ) -> Judged {
        let Entry { lease, commitment_digest, .. } = self.entry;
        let units = &self.job.spec.units;
        let drawn: Vec<(u64, bool)> =
            drawn.iter().map(|unit| (unit.unit, truth.get(&unit.unit) == Some(&unit.digest))).collect();
        let accepted = drawn.iter().all(|(_, right)| *right);
        let mut auditors = Vec::with_capacity(votes.len());
        let mut validators = Vec::new();
        for (key, vote) in votes {
            let upheld = vote.units.iter().all(|said| truth.get(&said.unit) == Some(&said.digest));
            let paid = upheld && !self.state.keys.is_platform(key);
            if paid {
                let work = vote.units.iter().fold(0, |sum: u64, said| sum.saturating_add(units.work_of(said.unit, 1)));
                validators.push((vote.digest(), Contribution { provider: *key, work }));
            }
            let units = vote.units.iter().map(|said| said.unit).collect();
            auditors.push(Auditor { key: *key, units, upheld, paid });
        }
        let work = units.work_of(lease.first_unit, lease.units);
        let worker = accepted.then_some((*commitment_digest, Contribution { provider: lease.provider, work }));
        Judged { verdict: Verdict { accepted, drawn, auditors, refereed }, worker, validators }
    }
}
