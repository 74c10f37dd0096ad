//! The one transaction of a job that is handed out next: escrow, rounds, verdicts, settlement. What it says follows from
//! the job's state, so one that is lost is planned again with the same id.

use orion_protocol::ledger::Transaction;
use orion_protocol::ledger::tx::{
    Close, CloseRound, Consumer, MAX_ROUND, OpenEscrow, RecordVerdict, RoundEntry, SPLIT_BYTES, Settle,
};
use orion_protocol::messages::Role;
use orion_protocol::{Reason, TxId, cbor};

use super::round::Judged;
use super::shard::ShardState;
use super::{Job, PendingTx, PendingVerdict};
use crate::Millis;
use crate::core::Context;
use crate::effect::Effect;
use crate::status::Stage;

/// A round closes so long after its first commitment.
const ROUND_MS: Millis = 250;

impl Job {
    /// Hands out the next transaction, one at a time.
    pub(super) fn plan_tx(&mut self, ctx: &Context<'_>, now: Millis, effects: &mut Vec<Effect>) {
        if self.tx.is_some() || self.retry_at > now || self.query || self.querying {
            return;
        }
        let job = self.spec.job;
        let mut verdicts = Vec::new();
        let (transaction, sequence) = match self.stage {
            Stage::Escrow => match self.open_escrow() {
                Some(open) => (Transaction::OpenEscrow(open), 0),
                None => return,
            },
            Stage::Running => {
                if let Some((record, pending)) = self.record_verdict(ctx) {
                    verdicts = pending;
                    (Transaction::RecordVerdict(record), self.verdicts)
                } else if let Some(close) = self.close_round(ctx, now) {
                    (Transaction::CloseRound(close), self.rounds_closed)
                } else {
                    return;
                }
            }
            Stage::Settling => (Transaction::Settle(Settle { job, page: self.pages.0 }), self.pages.0),
            Stage::Closing => (Transaction::Close(Close { job }), 0),
            Stage::Preflight | Stage::Refused(_) | Stage::Aggregating | Stage::Done => return,
        };
        let id = TxId::derive(transaction.kind(), &job, sequence, self.attempt);
        effects.push(match &transaction {
            Transaction::OpenEscrow(open) => Effect::Fund(job, id, Box::new(open.clone()), self.escrow),
            other => Effect::Submit(job, id, Box::new(other.clone())),
        });
        self.tx = Some(PendingTx { id, transaction, verdicts });
    }

    fn open_escrow(&self) -> Option<OpenEscrow> {
        let task = self.task.as_ref()?;
        let blocked = self.waiting.as_ref().is_some_and(|waiting| waiting.reason == Reason::BudgetTooSmall);
        let ready = self.stored.contains(&task.digest) && !blocked && self.ending.is_none();
        ready.then(|| OpenEscrow {
            consumer: Consumer { account: self.spec.consumer },
            task: task.spec.object().into(),
            budget: self.spec.budget,
        })
    }

    /// Ingested commitments, once there are enough, or the first has waited, or nothing else is coming.
    fn close_round(&self, ctx: &Context<'_>, now: Millis) -> Option<CloseRound> {
        let ingested = self.shards.values().filter_map(|shard| match &shard.state {
            ShardState::Ingested(claim, ingested, since) => Some((claim, ingested, *since)),
            _ => None,
        });
        let (mut entries, mut first, mut bytes) = (Vec::new(), u64::MAX, 0);
        for (claim, ingested, since) in ingested {
            let entry = RoundEntry {
                lease: claim.signed_lease.clone(),
                commitment: claim.signed_commitment.clone(),
                ingested: ingested.clone(),
            };
            let size = cbor::to_vec(&entry).len();
            if entries.len() == MAX_ROUND || bytes + size > SPLIT_BYTES {
                first = 0;
                break;
            }
            bytes += size;
            first = first.min(since);
            entries.push(entry);
        }
        let coming = self.working() > 0
            || self.shards.values().any(|shard| matches!(shard.state, ShardState::Committed(_)))
            || (self.ending.is_none() && self.next_shard < self.spec_shards());
        let due = !entries.is_empty() && (entries.len() == MAX_ROUND || first + ROUND_MS <= now || !coming);
        due.then(|| CloseRound {
            job: self.spec.job,
            sequence: self.rounds_closed,
            entries,
            eligible: ctx.fleet.eligible_validators(
                self.wanted(Role::Validator),
                now,
                orion_protocol::draw::MAX_ELIGIBLE,
            ),
        })
    }

    /// Everything of one round that can be judged now.
    fn record_verdict(&self, ctx: &Context<'_>) -> Option<(RecordVerdict, Vec<PendingVerdict>)> {
        let mut found = self.rounds.iter().filter_map(|(sequence, round)| {
            let open = round.cases.iter().filter(|case| !case.judged);
            let judged: Vec<(u32, Judged)> =
                open.filter_map(|case| Some((case.claim.lease.shard, case.judge(ctx.platform)?))).collect();
            (!judged.is_empty()).then_some((*sequence, round.id, judged))
        });
        let (sequence, round, judged) = found.next()?;
        let (mut shards, mut pending, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (shard, Judged { accepted, disputed, evidence }) in judged {
            bytes += cbor::to_vec(&evidence).len();
            if !shards.is_empty() && bytes > SPLIT_BYTES {
                break;
            }
            let audited = evidence.drawn.len() as u64;
            let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
            let votes = (count(evidence.votes.len()), count(evidence.absent.len()));
            pending.push(PendingVerdict { round: sequence, shard, accepted, disputed, audited, votes });
            shards.push(evidence);
        }
        Some((RecordVerdict { job: self.spec.job, round, sequence: self.verdicts, shards }, pending))
    }
}
