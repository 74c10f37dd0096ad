//! What follows from a job's state: the next stage, objects to store, digest lists to read; with `transact` the one
//! transaction, with `duties` what needs a worker. Nothing is remembered but what is out, so a lost effect is simply planned
//! again.

use orion_protocol::ledger::api::JobPhase;
use orion_protocol::ledger::policy::Mode;
use orion_protocol::messages::{Manifest, Message, Role};
use orion_protocol::price::{MAX_ATTEMPTS, escrow_of, format_credits, price_of};
use orion_protocol::task::{Comparator, TaskSpec};
use orion_protocol::{Digest, Reason, Refusal};

use super::shard::{Shard, ShardState};
use super::{Duty, Job, Task};
use crate::Millis;
use crate::core::Context;
use crate::effect::{Effect, JobSpec, ProviderInfo};
use crate::status::Stage;

/// Fixed part of a work lease's deadline.
pub(super) const WORK_MS: Millis = 30_000;
/// Fixed part of an audit's deadline: a validator that sees the workload for the first time compiles it first.
pub(super) const AUDIT_MS: Millis = 30_000;
/// Deadline of a preflight, and fixed part of the platform's other leases.
pub(super) const PLATFORM_MS: Millis = 60_000;
/// How long an audit waits for a validator that is alive but busy.
const BUSY_MS: Millis = 60_000;
/// A job is ended so long before its escrow's deadline, to be judged and paid in time.
const BEFORE_DEADLINE_MS: Millis = 600_000;
/// Shards of one job that exist at a time.
const MAX_WINDOW: usize = 64;
/// Heartbeats without a lease after which it counts as lost.
const MAX_MISSES: u32 = 2;
/// Pause before the ledger is asked again whether it has ended an escrow.
const EXPIRY_RETRY_MS: Millis = 15_000;
/// Pause before a digest list is asked for again.
const READ_RETRY_MS: Millis = 3_000;

impl Job {
    /// Derives everything that is to be done but leases, which need a worker: see [`Job::duties`].
    pub fn plan(&mut self, ctx: &Context<'_>, now: Millis, effects: &mut Vec<Effect>) {
        self.expire(ctx, now);
        loop {
            let before = self.stage.clone();
            self.advance(ctx, now, effects);
            // A stage may be over as soon as it begins.
            if self.stage == before {
                break;
            }
        }
        self.open_window();
        self.plan_expiry(now);
        self.plan_tx(ctx, now, effects);
        self.plan_reads(now, effects);
        let told = self.contradictions.drain(..);
        effects.extend(told.map(|found| Effect::Contradiction(Box::new(found))));
        if self.query && !self.querying {
            self.querying = true;
            effects.push(Effect::Query(self.spec.job));
        }
    }

    /// Ends leases whose deadline passed or whose worker is lost.
    fn expire(&mut self, ctx: &Context<'_>, now: Millis) {
        let over: Vec<Digest> = self
            .leases
            .iter()
            .filter(|(_, out)| out.deadline < now || out.misses >= MAX_MISSES || !ctx.fleet.is_alive(&out.worker, now))
            .map(|(digest, _)| *digest)
            .collect();
        for digest in over {
            let Some(out) = self.end_lease(&digest) else { continue };
            let lost = out.deadline >= now;
            let refusal = if lost {
                Refusal::new(Reason::WorkerLost, "the worker is lost")
            } else {
                Refusal::new(Reason::LeaseExpired, "no answer in time")
            };
            // The provider of a lost validator may have another; only time makes it absent. The platform is asked again at once.
            let counts = matches!(out.duty, Duty::Work(_)) || (!lost && matches!(out.duty, Duty::Audit { .. }));
            if counts && let Some(provider) = ctx.fleet.provider(&out.worker.provider) {
                self.came_to_nothing(ctx, &out, &provider.owner, &refusal, now);
            }
        }
        self.expire_audits(ctx, now);
        self.pauses.retain(|_, until| *until > now);
    }

    /// Validators that were asked long enough and hold no lease are absent.
    fn expire_audits(&mut self, ctx: &Context<'_>, now: Millis) {
        let mut absent = Vec::new();
        for (sequence, round) in &self.rounds {
            for case in round.cases.iter().filter(|case| !case.judged) {
                for (key, units) in case.missing(ctx.platform) {
                    let shard = case.claim.lease.shard;
                    let asked = case.asked.get(&key).copied();
                    let busy = if ctx.fleet.has(&key, self.wanted(Role::Validator), now) { BUSY_MS } else { 0 };
                    let patience = AUDIT_MS + self.allowance_ms(units.len() as u64) + busy;
                    let duty = Duty::Audit { round: *sequence, shard, validator: key, units };
                    let late = asked.is_some_and(|since| since + patience < now) && !self.is_out(&duty);
                    let Duty::Audit { units, .. } = duty else { continue };
                    absent.push((*sequence, shard, key, units, late && key != ctx.platform));
                }
            }
        }
        for (sequence, shard, key, units, late) in absent {
            if late {
                self.mark_absent(ctx, sequence, shard, key, &units);
            } else if let Some(case) = self.rounds.get_mut(&sequence).and_then(|round| round.case_mut(shard)) {
                case.asked.entry(key).or_insert(now);
            }
        }
    }

    /// Moves to the next stage when the facts for it are there.
    fn advance(&mut self, ctx: &Context<'_>, now: Millis, effects: &mut Vec<Effect>) {
        match &self.stage {
            Stage::Preflight => self.advance_preflight(ctx, effects),
            Stage::Escrow => self.advance_escrow(effects),
            Stage::Running => self.advance_running(ctx, now, effects),
            Stage::Aggregating => self.advance_aggregating(now, effects),
            Stage::Settling if self.is_paid() => self.stage = Stage::Closing,
            Stage::Settling | Stage::Closing | Stage::Refused(_) | Stage::Done => {}
        }
    }

    fn advance_preflight(&mut self, ctx: &Context<'_>, effects: &mut Vec<Effect>) {
        if self.ending.is_some() {
            self.stage = Stage::Done;
            return;
        }
        let Some(unit_nanos) = self.unit_nanos else { return };
        if let Err(refusal) = declared_enough(&self.spec, unit_nanos, ctx) {
            self.stage = Stage::Refused(refusal);
            return;
        }
        let spec = TaskSpec {
            job: self.spec.job,
            workload: self.spec.workload,
            inputs: self.spec.inputs.clone(),
            kernel_set: self.spec.kernel_set,
            units: self.spec.units,
            outputs: self.spec.outputs.clone(),
            comparator: Comparator::Exact,
            audits_per_shard: self.spec.audits_per_shard,
            price: self.spec.policy.price,
            fee_ppm: self.spec.policy.fee_ppm,
            policy: self.spec.policy.digest(),
        };
        self.task = Some(Task { digest: spec.digest(), spec });
        self.stage = Stage::Escrow;
        self.advance_escrow(effects);
    }

    fn advance_escrow(&mut self, effects: &mut Vec<Effect>) {
        if self.ending.is_some() && self.tx.is_none() {
            self.stage = Stage::Done;
            return;
        }
        let Some(task) = &self.task else { return };
        let object = task.spec.object();
        self.store(object, effects);
        let Some(task) = &self.task else { return };
        match escrow_of(&task.spec, &self.spec.policy) {
            Ok(need) if need > self.spec.budget => {
                let what = match self.spec.policy.mode {
                    Mode::PerWork => format!("its work, the audits of {MAX_ATTEMPTS} attempts, the fee"),
                    Mode::Pool(_) => "the pool that its reward policy splits".to_owned(),
                };
                let (budget, need) = (format_credits(self.spec.budget), format_credits(need));
                let words = format!("spec.budget.maxCredits: {budget} is below {need}, what this job may cost: {what}");
                self.waiting = Some(Refusal::new(Reason::BudgetTooSmall, words));
            }
            Ok(need) => {
                self.escrow = need;
                if self.waiting.as_ref().is_some_and(|waiting| waiting.reason == Reason::BudgetTooSmall) {
                    self.waiting = None;
                }
            }
            Err(overflow) => self.stage = Stage::Refused(Refusal::new(Reason::InvalidSpec, overflow.to_string())),
        }
    }

    fn advance_aggregating(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        self.watch_deadline(now);
        if self.results.is_empty() && self.ending.is_none() {
            self.store_manifest(effects);
            return;
        }
        // Under an earlier leader the job may have been paid already.
        let phase = self.ledger.as_ref().map(|view| view.phase);
        self.stage = match phase {
            Some(JobPhase::Closed | JobPhase::Expired) => Stage::Done,
            _ if self.is_paid() => Stage::Closing,
            _ => Stage::Settling,
        };
    }

    /// Whether every page of the settlement is done.
    fn is_paid(&self) -> bool {
        self.pages.1 > 0 && self.pages.0 >= self.pages.1
    }

    /// Ends the job in time to be judged and paid before its escrow ends, unless it is being paid already.
    fn watch_deadline(&mut self, now: Millis) {
        let Some(view) = self.ledger.as_ref().filter(|view| view.phase == JobPhase::Open) else { return };
        if now + BEFORE_DEADLINE_MS > view.deadline_ms {
            let words = "the escrow's deadline is near: what is committed is judged and paid, the rest refunded";
            self.ending.get_or_insert(Refusal::new(Reason::DeadlineExceeded, words));
        }
    }

    /// The ledger ends an escrow by itself; whoever waits for somebody else then has to ask it.
    fn plan_expiry(&mut self, now: Millis) {
        let Some(view) = &self.ledger else { return };
        let open = matches!(view.phase, JobPhase::Open | JobPhase::Settling) && self.stage != Stage::Done;
        if open && view.deadline_ms < now && self.retry_at <= now && self.tx.is_none() && !self.querying {
            (self.query, self.resync) = (true, true);
            self.retry_at = now + EXPIRY_RETRY_MS;
        }
    }

    fn advance_running(&mut self, ctx: &Context<'_>, now: Millis, effects: &mut Vec<Effect>) {
        self.bar_hopeless(ctx, now);
        self.watch_deadline(now);
        if let (None, Some(refusal)) = (&self.ending, self.failed.values().next()) {
            self.ending = Some(refusal.clone());
        }
        if self.ending.is_some() {
            let quiet = |shard: &Shard| matches!(shard.state, ShardState::Waiting | ShardState::Faulted(_));
            // Before that moment some of what is committed may not have been read yet.
            let read = now >= ctx.dispatch_from;
            if read && self.shards.values().all(quiet) && self.rounds.is_empty() && self.tx.is_none() {
                self.stage = Stage::Settling;
            }
        } else if self.accepted.len() as u64 == u64::from(self.spec_shards()) && self.tx.is_none() {
            self.stage = Stage::Aggregating;
            self.store_manifest(effects);
        }
    }

    /// A shard that no owner may try any more fails; workers that were barred get another chance before that.
    fn bar_hopeless(&mut self, ctx: &Context<'_>, now: Millis) {
        let wanted = self.wanted(Role::Worker);
        for (index, shard) in &mut self.shards {
            let barred = matches!(shard.state, ShardState::Waiting) && !shard.barred_workers.is_empty();
            let may = |provider: &ProviderInfo| !shard.barred_owners.contains(&provider.owner);
            if barred
                && !self.leases.values().any(|out| out.duty == Duty::Work(*index))
                && ctx.fleet.any(wanted, now, |_, provider| may(provider))
                && !ctx.fleet.any(wanted, now, |worker, provider| shard.suits(worker, &provider.owner))
            {
                shard.give_another_chance(now);
            }
        }
        let owners = ctx.fleet.owners();
        let hopeless: Vec<u32> = self
            .shards
            .iter()
            .filter(|(_, shard)| matches!(shard.state, ShardState::Waiting) && !shard.barred_owners.is_empty())
            .filter(|(_, shard)| owners.iter().all(|owner| shard.barred_owners.contains(*owner)))
            .map(|(index, _)| *index)
            .collect();
        for index in hopeless {
            let words = format!("shard {index}: every owner's attempt was rejected or failed");
            self.fail_shard(index, Refusal::new(Reason::NoOwnerLeft, words));
        }
    }

    fn store_manifest(&mut self, effects: &mut Vec<Effect>) {
        if self.manifest.is_some() {
            return;
        }
        let Some(task) = &self.task else { return };
        let shards = self.accepted.values().map(|shard| shard.outputs.clone()).collect();
        let object = Manifest { task: task.digest, shards, formats: self.spec.formats.clone() }.to_bytes();
        self.manifest = Some(Digest::of(&object));
        self.store(object, effects);
    }

    fn store(&mut self, object: Vec<u8>, effects: &mut Vec<Effect>) {
        let digest = Digest::of(&object);
        if !self.stored.contains(&digest) && self.storing.insert(digest) {
            effects.push(Effect::Store(self.spec.job, object));
        }
    }

    /// Lets shards into the window: twice the parallelism, at most 64.
    fn open_window(&mut self) {
        if self.stage != Stage::Running || self.ending.is_some() {
            return;
        }
        let window = (2 * self.spec.parallelism as usize).clamp(1, MAX_WINDOW);
        let total = self.spec_shards();
        while self.shards.len() < window && self.next_shard < total {
            let index = self.next_shard;
            self.next_shard += 1;
            // `shard` opens it unless it is finished.
            let _ = self.shard(index);
        }
    }

    /// Asks for digest lists that are needed and not there.
    fn plan_reads(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let job = self.spec.job;
        for case in self.rounds.values_mut().flat_map(|round| &mut round.cases) {
            if !case.judged && case.proven.is_none() && case.read_at <= now {
                case.read_at = now + READ_RETRY_MS;
                effects.push(Effect::ReadDigests(Box::new(case.wanted(job, self.spec.salt))));
            }
        }
    }
}

/// Refuses a job that would pay less than the platform's minimum for the seconds its units take.
fn declared_enough(spec: &JobSpec, unit_nanos: u64, ctx: &Context<'_>) -> Result<(), Refusal> {
    let pays = price_of(spec.units.work_of(0, 1).into(), spec.policy.price).unwrap_or(u64::MAX);
    let least = u128::from(ctx.min_price_per_second) * u128::from(unit_nanos) / 1_000_000_000;
    if u128::from(pays) >= least {
        return Ok(());
    }
    let of = if spec.is_model {
        "spec.workload.inference: counted as the kernel set counts"
    } else {
        "spec.workload.kernel.workPerItem"
    };
    let words = format!(
        "{of}: a unit takes {unit_nanos} ns and pays {pays} micro-credits at {} per million work; \
         at least {least} are needed ({} a second)",
        spec.policy.price, ctx.min_price_per_second
    );
    Err(Refusal::new(Reason::WorkUnderdeclared, words))
}
