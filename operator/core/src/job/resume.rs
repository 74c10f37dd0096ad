//! A job as the ledger knows it: how a new leader goes on, and how a leader that was refused finds its place again.

use orion_protocol::ledger::JobView;
use orion_protocol::ledger::api::{EntryVerdict, JobPhase};
use orion_protocol::ledger::tx::RoundEntry;
use orion_protocol::messages::Alive;
use orion_protocol::{Name, Reason, Refusal};

use super::round::Round;
use super::shard::{Claim, ShardState};
use super::{Job, Task};
use crate::Millis;
use crate::core::Context;
use crate::effect::{JobSpec, Seen};
use crate::status::{EntryStatus, Stage};

/// The claim of a round's entry. The ledger has judged whose lease it is, by the keys of its time.
pub(super) fn claim(ctx: &Context<'_>, entry: &RoundEntry) -> Option<Claim> {
    let lease = entry.lease.verify(ctx.chain, &entry.lease.key()).ok()?;
    let commitment = entry.commitment.verify(ctx.chain, &lease.provider).ok()?;
    let provider = ctx.fleet.provider_by_key(&lease.provider);
    let unknown = || "unknown".parse::<Name>().ok();
    Some(Claim {
        provider: provider.map(|provider| provider.name.clone()).or_else(unknown)?,
        owner: ctx.fleet.owner_of(&lease.provider).cloned().or_else(unknown)?,
        signed_lease: entry.lease.clone(),
        lease_digest: lease.digest(),
        lease: lease.into_inner(),
        signed_commitment: entry.commitment.clone(),
        commitment_digest: commitment.digest(),
        commitment: commitment.into_inner(),
    })
}

/// By then every live worker has said what it holds.
const HEARD_MS: Millis = Alive::EVERY_S * 1000 + 500;

impl Job {
    /// A job whose escrow was opened under an earlier leader.
    pub fn resumed(ctx: &Context<'_>, spec: JobSpec, seen: Seen, now: Millis) -> Job {
        let mut job = Job::new(spec);
        job.work_from = now + HEARD_MS;
        job.resume(ctx, seen, now);
        job
    }

    /// Takes the ledger's word for everything that it knows; leases that are out stay.
    pub(super) fn resume(&mut self, ctx: &Context<'_>, seen: Seen, now: Millis) {
        self.place(&seen);
        let view = seen.view;
        self.task = Some(Task { digest: view.task.digest(), spec: view.task.clone() });
        self.spec.units = view.task.units;
        self.stored.insert(view.task.digest());
        self.rounds.clear();
        self.shown_rounds.clear();
        self.accepted.clear();
        self.tally = super::Tally::default();
        self.rounds_closed = view.rounds.len() as u64;
        self.verdicts = view.verdicts;
        self.pages = view.pages;
        self.shards.retain(|_, shard| !matches!(shard.state, ShardState::InRound));
        self.shards.values_mut().for_each(|shard| shard.judged = 0);
        for round in &view.rounds {
            self.resume_round(ctx, round, &view, now);
        }
        self.rounds.retain(|_, round| !round.is_judged());
        self.stage = match view.phase {
            JobPhase::Open => Stage::Running,
            JobPhase::Settling => Stage::Settling,
            JobPhase::Closed | JobPhase::Expired => Stage::Done,
        };
        let complete = self.accepted.len() as u64 == u64::from(view.task.units.shards());
        if self.ending.is_none() && self.stage != Stage::Running {
            if !complete {
                self.ending = Some(self.why_ended(&view));
            } else if self.results.is_empty() {
                // It was put together before it was paid for, and the consumer is still to be told what came of it.
                self.stage = Stage::Aggregating;
            }
        }
        self.ledger = Some(view);
    }

    /// Where the evidence of what was paid is. Who paid may have died without a word of it; which leaf came first is not asked
    /// for, but the whole log has it.
    fn place(&mut self, seen: &Seen) {
        if seen.view.pages.0 > 0 {
            self.settlement.get_or_insert(seen.seal.size.saturating_sub(1));
            self.last_seal = Some(seen.seal);
        }
    }

    /// Why a job ended under an earlier leader, as far as the ledger shows it; a deleted one is said to be so besides.
    fn why_ended(&self, view: &JobView) -> Refusal {
        if let Some(refusal) = self.failed.values().next() {
            return refusal.clone();
        }
        let reason = if view.phase == JobPhase::Expired { Reason::DeadlineExceeded } else { Reason::NoOwnerLeft };
        Refusal::new(reason, "the job ended under an earlier leader, before every shard was accepted")
    }

    fn resume_round(
        &mut self,
        ctx: &Context<'_>,
        seen: &orion_protocol::ledger::RoundView,
        view: &JobView,
        now: Millis,
    ) {
        let claims: Vec<Claim> = seen.closed.entries.iter().filter_map(|entry| claim(ctx, entry)).collect();
        let mut round = Round::new(ctx.chain, &seen.closed, &seen.seal, &view.task, claims, ctx.fleet);
        round.mark(seen);
        let mut shown = round.shown(seen.closed.sequence, &seen.seal);
        for (case, verdict) in round.cases.iter().zip(&seen.verdicts) {
            match verdict {
                EntryVerdict::Open => {
                    if let Some(shard) = self.shard(case.claim.lease.shard) {
                        shard.state = ShardState::InRound;
                        shard.token = shard.token.max(Some(case.claim.lease.token));
                    }
                    continue;
                }
                EntryVerdict::Accepted | EntryVerdict::Rejected => {}
            }
            let accepted = *verdict == EntryVerdict::Accepted;
            // Which leaf, and whether it was disputed, is in the log; a new leader does not read it back.
            shown.judge(case.claim.lease.shard, EntryStatus { accepted, disputed: false, leaf: 0 });
            self.tally.audited += case.drawn.len() as u64;
            self.tally.rejected += u64::from(!accepted);
            self.settle_shard(&case.claim, seen.closed.sequence, accepted, now);
        }
        self.show_round(seen.closed.sequence, shown);
        self.rounds.insert(seen.closed.sequence, round);
    }
}
