//! Facts change a job's state. Every answer is checked here for what it claims to answer; what does not fit is dropped, for a
//! late or repeated answer is the normal case and must do nothing.

use orion_protocol::ids::aggregate_digest;
use orion_protocol::ledger::api::JobPhase;
use orion_protocol::ledger::tx::CloseRound;
use orion_protocol::ledger::{Code, SealRef, Submitted, Transaction};
use orion_protocol::messages::{Answer, AnswerBody};
use orion_protocol::sign::Signed;
use orion_protocol::statements::{
    Aggregated, Commitment, Failed, Found, Ingested, LeaseCore, LeaseKind, Preflighted, Vote,
};
use orion_protocol::task::{UnitTable, check_outputs};
use orion_protocol::{Digest, Name, PublicKey, Reason, Refusal, TxId, Verified};

use super::round::Round;
use super::shard::{Claim, Fault, Shard, ShardState};
use super::{AcceptedShard, Duty, Job, Out, PendingVerdict};
use crate::Millis;
use crate::core::Context;
use crate::effect::{ProviderInfo, Seen};
use crate::fleet::WorkerId;
use crate::status::{EntryStatus, RoundStatus, Stage};

/// Pause before a platform duty that failed is tried again.
const PAUSE_MS: Millis = 2_000;
/// Rounds of a job that are shown; more only while they are open.
const MAX_SHOWN_ROUNDS: usize = 64;
/// How often aggregation is tried.
const MAX_AGGREGATIONS: usize = 3;
/// By then a lease is claimed, or will be delivered again.
const CLAIM_MS: Millis = 6_000;
/// Pause before money is asked for again.
const FUNDING_RETRY_MS: Millis = 15_000;

impl Job {
    /// An answer whose lease is the operator's and about this job. `provider` is whose stream it came from.
    pub fn answer(
        &mut self,
        ctx: &Context<'_>,
        lease: &Verified<LeaseCore>,
        answer: &Answer,
        provider: &ProviderInfo,
        now: Millis,
    ) {
        if lease.provider != provider.key {
            return;
        }
        let fits = match &answer.body {
            AnswerBody::Preflighted(signed) => self.preflighted(ctx, lease, signed),
            AnswerBody::Committed(signed) => self.committed(ctx, lease, &answer.lease, signed, provider, now),
            AnswerBody::Ingested(signed) => self.ingested(ctx, lease, signed, now),
            AnswerBody::Voted(signed) => self.voted(ctx, lease, signed, provider),
            AnswerBody::Aggregated(signed) => self.aggregated(ctx, lease, signed, now),
            AnswerBody::Failed(signed) => self.failed(ctx, lease, signed, provider, now),
        };
        // Whoever answers something else is not asked again at once: it would go on for ever.
        if let Some(out) = self.end_lease(&lease.digest()) {
            if !fits {
                let refusal = Refusal::new(Reason::OutputMismatch, "the answer does not fit its lease");
                self.came_to_nothing(ctx, &out, &provider.owner, &refusal, now);
            } else if !matches!(answer.body, AnswerBody::Failed(_)) {
                self.setbacks.remove(&out.duty);
            }
        }
    }

    // Each of these says whether the answer is one to its lease, of use or not.

    fn preflighted(&mut self, ctx: &Context<'_>, lease: &Verified<LeaseCore>, signed: &Signed<Preflighted>) -> bool {
        let Ok(said) = signed.verify(ctx.chain, &ctx.platform) else { return false };
        let fits = lease.kind == LeaseKind::Preflight && lease.task == self.trial && said.lease == lease.digest();
        if !fits || self.unit_nanos.is_some() {
            return fits;
        }
        if let Some(found) = &said.found {
            if !self.takes(found) {
                return false;
            }
            (self.unit_nanos, self.load_nanos) = (Some(found.unit_nanos), Some(found.load_nanos));
        }
        match (&self.stage, &said.refused) {
            (Stage::Preflight, Some(refusal)) => self.stage = Stage::Refused(refusal.clone()),
            // It ran once, and is paid for. That it is measured again is for deadlines only.
            (_, Some(_)) => self.unit_nanos = Some(super::DEFAULT_UNIT_NANOS),
            (_, None) => {}
        }
        true
    }

    /// Takes what a trial found out. A kernel's outputs and work are declared; once a task is in the ledger, it alone says what they are.
    fn takes(&mut self, found: &Found) -> bool {
        let asked = &self.spec.outputs;
        let met = asked.len() == found.outputs.len()
            && asked.iter().zip(&found.outputs).all(|(asked, found)| asked.is_met_by(found));
        let units = UnitTable { work_per_item: found.work_per_item, ..self.spec.units };
        if self.task.is_some() {
            return true;
        }
        if !met || units.check().is_err() || check_outputs(&found.outputs, units.items, units.units()).is_err() {
            return false;
        }
        if self.spec.is_model {
            self.spec.units = units;
        }
        self.spec.outputs.clone_from(&found.outputs);
        true
    }

    fn committed(
        &mut self,
        ctx: &Context<'_>,
        lease: &Verified<LeaseCore>,
        signed_lease: &Signed<LeaseCore>,
        signed: &Signed<Commitment>,
        provider: &ProviderInfo,
        now: Millis,
    ) -> bool {
        let Ok(said) = signed.verify(ctx.chain, &lease.provider) else { return false };
        let Some(task) = &self.task else { return true };
        let fits = lease.kind == LeaseKind::Work
            && task.spec.units.shard(lease.shard) == Some((lease.first_unit, lease.units))
            && said.lease == lease.digest()
            && said.units == lease.units
            && said.outputs.len() == task.spec.outputs.len();
        if !fits || self.stage != Stage::Running {
            return fits;
        }
        let Some(shard) = self.shard(lease.shard) else { return true };
        if !shard.takes(&lease.token) {
            return true;
        }
        shard.token = Some(lease.token);
        shard.state = ShardState::Committed(Box::new(Claim {
            provider: provider.name.clone(),
            owner: provider.owner.clone(),
            signed_lease: signed_lease.clone(),
            lease_digest: lease.digest(),
            lease: (**lease).clone(),
            signed_commitment: signed.clone(),
            commitment_digest: said.digest(),
            commitment: said.into_inner(),
        }));
        shard.ingest(now);
        self.end_duty(&Duty::Work(lease.shard));
        true
    }

    fn ingested(&mut self, ctx: &Context<'_>, lease: &LeaseCore, signed: &Signed<Ingested>, now: Millis) -> bool {
        let Ok(said) = signed.verify(ctx.chain, &ctx.platform) else { return false };
        if lease.kind != LeaseKind::Ingest {
            return false;
        }
        if let Some(shard) = self.shards.get_mut(&lease.shard) {
            shard.ingests.insert(said.commitment, (signed.clone(), said.into_inner()));
            shard.ingest(now);
        }
        true
    }

    fn voted(
        &mut self,
        ctx: &Context<'_>,
        lease: &Verified<LeaseCore>,
        signed: &Signed<Vote>,
        provider: &ProviderInfo,
    ) -> bool {
        let Ok(vote) = signed.verify(ctx.chain, &lease.provider) else { return false };
        let Some(audit) = &lease.audit else { return false };
        let units = vote.units.iter().map(|unit| unit.unit);
        // One that could not be held against it is no vote where validators can lose something.
        let may_be_silent = !ctx.slashing || lease.kind != LeaseKind::Audit;
        let of_task = vote.task.map_or(may_be_silent, |task| task == lease.task);
        let about_this = of_task && vote.round == audit.round && vote.lease == audit.lease;
        if !about_this || !units.eq(audit.units.iter().copied()) {
            return false;
        }
        if audit.round == Digest::ZERO {
            self.fault_denied(&audit.lease);
            return true;
        }
        // A vote that says no task shows nothing. The platform asks itself, and has nothing to lose.
        if lease.kind == LeaseKind::Audit && lease.provider != ctx.platform && vote.task.is_some() {
            self.contradictions.extend(self.heard.vote(self.spec.job, &provider.name, signed, &vote));
        }
        let Some(round) = self.rounds.values_mut().find(|round| round.id == audit.round) else { return true };
        let Some(case) = round.case_mut(lease.shard) else { return true };
        if case.claim.lease_digest != audit.lease {
            return true;
        }
        match lease.kind {
            LeaseKind::Audit => case.vote(ctx.platform, lease.provider, signed.clone(), vote.into_inner()),
            LeaseKind::Referee if lease.provider == ctx.platform => {
                case.referee = Some((signed.clone(), vote.into_inner()));
            }
            _ => {}
        }
        true
    }

    /// The platform ran what a provider said fails: the provider's owner is barred from the shard.
    fn fault_denied(&mut self, lease: &Digest) {
        let faulted = |shard: &&mut Shard| matches!(&shard.state, ShardState::Faulted(fault) if fault.lease == *lease);
        if let Some(shard) = self.shards.values_mut().find(faulted)
            && let ShardState::Faulted(fault) = std::mem::take(&mut shard.state)
        {
            shard.barred_owners.insert(fault.owner);
        }
    }

    fn aggregated(
        &mut self,
        ctx: &Context<'_>,
        lease: &Verified<LeaseCore>,
        signed: &Signed<Aggregated>,
        now: Millis,
    ) -> bool {
        let Ok(said) = signed.verify(ctx.chain, &ctx.platform) else { return false };
        let (Some(task), Some(manifest)) = (&self.task, &self.manifest) else { return true };
        let fits = lease.kind == LeaseKind::Aggregate
            && lease.task == aggregate_digest(&task.digest, manifest)
            && said.lease == lease.digest();
        if !fits || !self.results.is_empty() {
            return fits;
        }
        if let Some(refusal) = &said.refused {
            self.pauses.insert(Duty::Aggregate, now + PAUSE_MS);
            if self.failed_aggregations.insert(said.lease) && self.failed_aggregations.len() >= MAX_AGGREGATIONS {
                self.ending.get_or_insert(refusal.clone());
            }
            return true;
        }
        self.results.clone_from(&said.results);
        true
    }

    fn failed(
        &mut self,
        ctx: &Context<'_>,
        lease: &Verified<LeaseCore>,
        signed: &Signed<Failed>,
        provider: &ProviderInfo,
        now: Millis,
    ) -> bool {
        let Ok(said) = signed.verify(ctx.chain, &lease.provider) else { return false };
        let Some(out) = self.leases.get(&lease.digest()).cloned() else { return true };
        if said.lease != lease.digest() {
            return false;
        }
        let refusal = said.into_inner().refusal;
        let fault = refusal.reason.is_of_kernel() || refusal.reason == Reason::OutOfMemory;
        match &out.duty {
            Duty::Work(index) if fault => {
                let waiting = |shard: &&mut Shard| matches!(shard.state, ShardState::Waiting);
                if let Some(shard) = self.shards.get_mut(index).filter(waiting) {
                    let owner = provider.owner.clone();
                    shard.state = ShardState::Faulted(Fault { lease: lease.digest(), owner, refusal });
                }
            }
            Duty::Confirm(index) if fault => self.fault_confirmed(*index, &refusal),
            _ => self.came_to_nothing(ctx, &out, &provider.owner, &refusal, now),
        }
        true
    }

    /// A lease ended without what it was for. What only the platform does is tried again, each time after twice the pause.
    pub(super) fn came_to_nothing(
        &mut self,
        ctx: &Context<'_>,
        out: &Out,
        owner: &Name,
        refusal: &Refusal,
        now: Millis,
    ) {
        match &out.duty {
            Duty::Work(index) => {
                if let Some(shard) = self.shards.get_mut(index)
                    && matches!(shard.state, ShardState::Waiting)
                {
                    shard.refuse(&out.worker, owner, refusal.reason, now);
                }
            }
            Duty::Audit { round, shard, validator, units } if *validator != ctx.platform => {
                self.mark_absent(ctx, *round, *shard, *validator, units);
            }
            duty => {
                let (times, last) = self.setbacks.entry(duty.clone()).or_insert_with(|| (0, refusal.clone()));
                last.clone_from(refusal);
                let pause = PAUSE_MS << (*times).min(5);
                *times += 1;
                self.pauses.insert(duty.clone(), now + pause);
            }
        }
    }

    /// Two owners, the platform being one, say that the kernel fails: that counts against the job.
    fn fault_confirmed(&mut self, index: u32, refusal: &Refusal) {
        let limit = self.spec.backoff_limit;
        let Some(shard) = self.shards.get_mut(&index) else { return };
        let ShardState::Faulted(fault) = std::mem::take(&mut shard.state) else { return };
        shard.faults += 1;
        if shard.faults > limit {
            let words = format!("shard {index}: {} ({}), {} on the platform", fault.refusal, fault.owner, refusal);
            self.fail_shard(index, Refusal::new(Reason::BackoffLimitExceeded, words));
        }
    }

    /// A validator did not vote on what it is (still) asked; those who are asked instead have all their time before them.
    pub(super) fn mark_absent(
        &mut self,
        ctx: &Context<'_>,
        round: u64,
        shard: u32,
        validator: PublicKey,
        units: &[u64],
    ) {
        let Some(case) = self.rounds.get_mut(&round).and_then(|round| round.case_mut(shard)) else { return };
        if case.missing(ctx.platform).iter().any(|(key, asked)| *key == validator && asked == units) {
            case.absent.insert(validator);
            case.votes.remove(&validator);
            case.asked.clear();
        }
    }

    pub(super) fn fail_shard(&mut self, index: u32, refusal: Refusal) {
        self.shards.remove(&index);
        self.failed.insert(index, refusal);
    }

    /// The shard, if it is neither accepted nor failed; it joins the window if it was not in it.
    pub(super) fn shard(&mut self, index: u32) -> Option<&mut Shard> {
        let known =
            index < self.spec_shards() && !self.accepted.contains_key(&index) && !self.failed.contains_key(&index);
        known.then(|| self.shards.entry(index).or_default())
    }

    pub(super) fn spec_shards(&self) -> u32 {
        self.task.as_ref().map_or(0, |task| task.spec.units.shards())
    }

    /// A lease of an earlier leader that a worker says it holds: taken over, unless the slot has a newer one. Its own leases
    /// this leader knows, and who lists one that ended wants to keep its shard from others.
    pub fn adopt(&mut self, ctx: &Context<'_>, worker: &WorkerId, lease: &Verified<LeaseCore>, now: Millis) -> bool {
        let digest = lease.digest();
        let duty = Duty::Work(lease.shard);
        if self.stage != Stage::Running || lease.kind != LeaseKind::Work || self.leases.contains_key(&digest) {
            return false;
        }
        let units = self.task.as_ref().and_then(|task| task.spec.units.shard(lease.shard));
        if units != Some((lease.first_unit, lease.units)) || self.is_out(&duty) || lease.token.epoch >= ctx.epoch {
            return false;
        }
        let owner = ctx.fleet.provider(&worker.provider).map(|provider| provider.owner.clone());
        let deadline = now + super::plan::WORK_MS + self.allowance_ms(lease.units);
        let Some(shard) = self.shard(lease.shard) else { return false };
        let barred = owner.is_none_or(|owner| !shard.suits(worker, &owner)) || now < shard.not_before;
        if barred || !matches!(shard.state, ShardState::Waiting) || !shard.takes(&lease.token) {
            return false;
        }
        shard.token = Some(lease.token);
        self.leases.insert(digest, Out { duty, worker: worker.clone(), given: now, deadline, misses: 0 });
        true
    }

    /// A heartbeat of `worker` lists the leases that it holds: one that it should hold and does not, twice, died with an
    /// earlier process of the same name.
    pub fn listed(&mut self, worker: &WorkerId, held: &[Digest], now: Millis) {
        for (digest, out) in self.leases.iter_mut().filter(|(_, out)| out.worker == *worker) {
            let missing = !held.contains(digest) && out.given + CLAIM_MS < now;
            out.misses = if missing { out.misses + 1 } else { 0 };
        }
    }

    /// Forgets a lease; its worker has a free slot again.
    pub(super) fn end_lease(&mut self, digest: &Digest) -> Option<Out> {
        let out = self.leases.remove(digest)?;
        self.freed.push(out.worker.clone());
        Some(out)
    }

    /// Forgets every lease for a duty.
    pub(super) fn end_duty(&mut self, duty: &Duty) {
        let digests: Vec<Digest> =
            self.leases.iter().filter(|(_, out)| out.duty == *duty).map(|(digest, _)| *digest).collect();
        for digest in digests {
            self.end_lease(&digest);
        }
    }

    /// The ledger ordered the transaction that was handed out.
    pub fn submitted(&mut self, ctx: &Context<'_>, id: TxId, outcome: &Submitted, now: Millis) {
        if self.tx.as_ref().is_none_or(|tx| tx.id != id) {
            return;
        }
        let Some(tx) = self.tx.take() else { return };
        self.last_seal = Some(outcome.seal);
        let code = outcome.receipt.code;
        if code != Code::Ok {
            self.refused(&tx.transaction, code, now);
            return;
        }
        self.resyncs = 0;
        self.waiting.take_if(|waiting| waiting.reason == Reason::InternalError);
        match tx.transaction {
            Transaction::OpenEscrow(_) => {
                self.stage = Stage::Running;
                self.waiting = None;
                self.query = true;
            }
            Transaction::CloseRound(closed) => self.round_closed(ctx, &closed, &outcome.seal),
            Transaction::RecordVerdict(_) => {
                self.verdicts += 1;
                for verdict in tx.verdicts {
                    self.judged(verdict, outcome.leaf, now);
                }
                self.rounds.retain(|_, round| !round.is_judged());
            }
            Transaction::Settle(_) => {
                self.settlement.get_or_insert(outcome.leaf);
                self.query = true;
            }
            Transaction::Close(_) => self.query = true,
            Transaction::RegisterProvider(_)
            | Transaction::OpenEpoch(_)
            | Transaction::Deposit(_)
            | Transaction::TopUp(_)
            | Transaction::Approved(_)
            | Transaction::Withdraw(_)
            | Transaction::Reserve(_)
            | Transaction::Release(_)
            | Transaction::Stake(_)
            | Transaction::Unstake
            | Transaction::Rotate(_)
            | Transaction::Issuers(_)
            | Transaction::PublishPolicy(_)
            | Transaction::Params(_)
            | Transaction::Slash(_) => {}
        }
    }

    /// The account holds too little: it is asked again later, with the same id, for nothing was sent.
    pub fn short(&mut self, id: TxId, now: Millis) {
        if self.tx.take_if(|tx| tx.id == id).is_some() {
            self.wait_for_credits(Reason::InsufficientCredits, now);
        }
    }

    fn wait_for_credits(&mut self, reason: Reason, now: Millis) {
        let words = "the namespace's account holds less than the job may cost; it is tried again every 15 s";
        self.waiting = Some(Refusal::new(reason, words));
        self.retry_at = now + FUNDING_RETRY_MS;
    }

    /// The ledger refused: the next try has another id, and unless it is about money, state is read anew before it.
    fn refused(&mut self, transaction: &Transaction, code: Code, now: Millis) {
        self.attempt += 1;
        if let (Transaction::OpenEscrow(_), Code::InsufficientCredits | Code::BudgetTooSmall) = (transaction, code) {
            let reason = match code {
                Code::BudgetTooSmall => Reason::BudgetTooSmall,
                _ => Reason::InsufficientCredits,
            };
            return self.wait_for_credits(reason, now);
        }
        self.resyncs += 1;
        self.resync = true;
        self.query = true;
        self.retry_at = now + (500 << self.resyncs.min(7));
        if self.resyncs >= 3 {
            let words = format!("the ledger refuses {} with {code}", transaction.kind());
            self.waiting = Some(Refusal::new(Reason::InternalError, words));
        }
    }

    pub(super) fn round_closed(&mut self, ctx: &Context<'_>, closed: &CloseRound, seal: &SealRef) {
        let Some(task) = &self.task else { return };
        let claims = closed.entries.iter().filter_map(|entry| super::resume::claim(ctx, entry)).collect();
        let round = Round::new(ctx.chain, closed, seal, &task.spec, claims, ctx.fleet);
        self.rounds_closed = closed.sequence + 1;
        self.show_round(closed.sequence, round.shown(closed.sequence, seal));
        for case in &round.cases {
            if let Some(shard) = self.shard(case.claim.lease.shard) {
                shard.state = ShardState::InRound;
            }
        }
        self.rounds.insert(closed.sequence, round);
    }

    /// Keeps what is shown of rounds bounded.
    pub(super) fn show_round(&mut self, sequence: u64, round: RoundStatus) {
        self.shown_rounds.insert(sequence, round);
        while self.shown_rounds.len() > MAX_SHOWN_ROUNDS
            && let Some((oldest, _)) = self.shown_rounds.iter().find(|(_, round)| round.is_judged())
        {
            let oldest = *oldest;
            self.shown_rounds.remove(&oldest);
        }
    }

    /// The ledger recorded a verdict.
    fn judged(&mut self, verdict: PendingVerdict, leaf: u64, now: Millis) {
        let PendingVerdict { round: sequence, shard: index, accepted, disputed, audited, votes } = verdict;
        let Some(case) = self.rounds.get_mut(&sequence).and_then(|round| round.case_mut(index)) else { return };
        case.judged = true;
        let claim = case.claim.clone();
        self.tally.audited += audited;
        self.tally.rejected += u64::from(!accepted);
        self.tally.disputed += u64::from(disputed);
        if let Some(round) = self.shown_rounds.get_mut(&sequence) {
            round.votes = (round.votes.0 + votes.0, round.votes.1 + votes.1);
            round.judge(index, EntryStatus { accepted, disputed, leaf });
        }
        self.settle_shard(&claim, sequence, accepted, now);
    }

    /// A verdict's consequence for its shard.
    pub(super) fn settle_shard(&mut self, claim: &Claim, round: u64, accepted: bool, now: Millis) {
        let (index, attempt) = (claim.lease.shard, claim.lease.token.attempt);
        if accepted {
            self.shards.remove(&index);
            let (outputs, digest_list) = (claim.commitment.outputs.clone(), claim.commitment.digest_list);
            self.accepted.insert(index, AcceptedShard { outputs, digest_list, worker: claim.worker(), attempt, round });
            return;
        }
        self.spoiled.extend(claim.commitment.outputs.iter().chain([&claim.commitment.digest_list]).copied());
        let Some(shard) = self.shard(index) else { return };
        shard.reject(attempt, &claim.owner, now);
        if shard.judged >= orion_protocol::price::MAX_ATTEMPTS {
            let words = format!("shard {index}: {} attempts were rejected", shard.judged);
            self.fail_shard(index, Refusal::new(Reason::AuditFailed, words));
        }
    }

    /// What the ledger knows.
    pub fn ledger(&mut self, ctx: &Context<'_>, seen: Option<Seen>, now: Millis) {
        self.querying = false;
        self.query = false;
        let Some(seen) = seen else { return };
        // Who finds a job further than it brought it was replaced, and does not know yet.
        let ours =
            seen.view.phase == JobPhase::Open || matches!(self.stage, Stage::Settling | Stage::Closing | Stage::Done);
        if std::mem::take(&mut self.resync) || !ours {
            self.resume(ctx, seen, now);
            return;
        }
        let view = seen.view;
        self.pages = view.pages;
        match view.phase {
            JobPhase::Closed => self.stage = Stage::Done,
            JobPhase::Expired => {
                let words = "the escrow's deadline passed; what was judged is paid, the rest refunded";
                self.ending.get_or_insert(Refusal::new(Reason::DeadlineExceeded, words));
                self.stage = Stage::Done;
            }
            JobPhase::Open | JobPhase::Settling => {}
        }
        self.ledger = Some(view);
    }
}
