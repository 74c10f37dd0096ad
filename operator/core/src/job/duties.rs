//! What of a job needs a worker, who should take it, and the order for the lease. Most urgent first: what the platform
//! must look at, then audits, then new work.

use orion_protocol::Digest;
use orion_protocol::ids::aggregate_digest;
use orion_protocol::messages::{Committed, Role, TaskBody, Trial};
use orion_protocol::statements::{AuditOf, LeaseCore, LeaseKind, Token};
use orion_protocol::task::MAX_AUDITS_PER_SHARD;

use super::plan::{AUDIT_MS, PLATFORM_MS, WORK_MS};
use super::shard::ShardState;
use super::{Duty, Job, Out};
use crate::Millis;
use crate::core::Context;
use crate::effect::{LeaseOrder, ProviderInfo};
use crate::fleet::{Needs, Wanted, WorkerId};
use crate::status::Stage;

impl Job {
    /// What needs a worker and is neither out nor paused, most urgent first.
    pub fn duties(&self, ctx: &Context<'_>, now: Millis) -> Vec<Duty> {
        let mut duties = Vec::new();
        match self.stage {
            Stage::Preflight if self.unit_nanos.is_none() && self.ending.is_none() => duties.push(Duty::Preflight),
            Stage::Running => {
                // Who measured it may have been replaced, and its word counts no more.
                if self.unit_nanos.is_none() {
                    duties.push(Duty::Preflight);
                }
                self.platform_duties(ctx, &mut duties);
                self.audit_duties(ctx, &mut duties);
                self.work_duties(now, &mut duties);
            }
            Stage::Aggregating if self.manifest.is_some_and(|manifest| self.stored.contains(&manifest)) => {
                duties.push(Duty::Aggregate);
            }
            _ => {}
        }
        duties.retain(|duty| !self.is_out(duty) && !self.pauses.contains_key(duty));
        duties
    }

    fn platform_duties(&self, ctx: &Context<'_>, duties: &mut Vec<Duty>) {
        for (index, shard) in &self.shards {
            match shard.state {
                ShardState::Committed(_) => duties.push(Duty::Ingest(*index)),
                ShardState::Faulted(_) if self.ending.is_none() => duties.push(Duty::Confirm(*index)),
                _ => {}
            }
        }
        for (sequence, round) in &self.rounds {
            for case in round.cases.iter().filter(|case| !case.judged) {
                let disputed =
                    case.disputed(ctx.platform).filter(|units| !units.is_empty() && !case.is_refereed(units));
                if let Some(units) = disputed {
                    duties.push(Duty::Referee { round: *sequence, shard: case.claim.lease.shard, units });
                }
            }
        }
    }

    fn audit_duties(&self, ctx: &Context<'_>, duties: &mut Vec<Duty>) {
        for (sequence, round) in &self.rounds {
            for case in round.cases.iter().filter(|case| !case.judged) {
                let shard = case.claim.lease.shard;
                duties.extend(case.missing(ctx.platform).into_iter().map(|(validator, units)| Duty::Audit {
                    round: *sequence,
                    shard,
                    validator,
                    units,
                }));
            }
        }
    }

    fn work_duties(&self, now: Millis, duties: &mut Vec<Duty>) {
        if self.ending.is_some() || now < self.work_from {
            return;
        }
        let free = (self.spec.parallelism as usize).saturating_sub(self.working());
        let waiting = self.shards.iter().filter(|(index, shard)| {
            matches!(shard.state, ShardState::Waiting) && shard.not_before <= now && !self.is_out(&Duty::Work(**index))
        });
        duties.extend(waiting.take(free).map(|(index, _)| Duty::Work(*index)));
    }

    /// A worker of this role that can run the job's workload.
    pub fn wanted(&self, role: Role) -> Wanted {
        // Built-in kernels are ours, and run everywhere.
        let needs = if self.spec.is_model { Needs::Device } else { Needs::Kernels };
        Wanted { role, needs }
    }

    /// The worker that should take a duty.
    pub fn choose<'f>(&self, ctx: &Context<'f>, duty: &Duty, now: Millis) -> Option<(WorkerId, &'f ProviderInfo)> {
        match duty {
            Duty::Work(index) => {
                let shard = self.shards.get(index)?;
                ctx.fleet.pick(self.wanted(Role::Worker), now, |worker, provider| shard.suits(worker, &provider.owner))
            }
            Duty::Audit { validator, .. } if *validator != ctx.platform => {
                ctx.fleet.pick(self.wanted(Role::Validator), now, |_, provider| provider.key == *validator)
            }
            Duty::Ingest(_) | Duty::Aggregate => {
                ctx.fleet.pick(Wanted { role: Role::Platform, needs: Needs::Nothing }, now, |_, _| true)
            }
            _ => ctx.fleet.pick(self.wanted(Role::Platform), now, |_, _| true),
        }
    }

    /// Gives the duty to the worker: the order for its lease.
    pub fn grant(
        &mut self,
        ctx: &Context<'_>,
        duty: Duty,
        worker: WorkerId,
        provider: &ProviderInfo,
        now: Millis,
    ) -> Option<LeaseOrder> {
        self.issued += 1;
        let token = Token { epoch: ctx.epoch, attempt: self.issued, copy: 0 };
        let order = self.order(ctx, &duty, token, &worker, provider, now)?;
        let digest = orion_protocol::sign::statement_digest(ctx.chain, &order.core);
        if let Duty::Work(index) = &duty
            && let Some(shard) = self.shards.get_mut(index)
        {
            shard.token = Some(order.core.token);
        }
        self.leases.insert(digest, Out { duty, worker, given: now, deadline: order.deadline_ms, misses: 0 });
        Some(order)
    }

    fn order(
        &self,
        ctx: &Context<'_>,
        duty: &Duty,
        token: Token,
        worker: &WorkerId,
        provider: &ProviderInfo,
        now: Millis,
    ) -> Option<LeaseOrder> {
        let core = |kind, task, shard: u32, units: (u64, u64), token, audit| LeaseCore {
            kind,
            task,
            shard,
            first_unit: units.0,
            units: units.1,
            token,
            provider: provider.key,
            worker: worker.worker.clone(),
            audit,
        };
        let order = |core: LeaseCore, ms, salt, body| LeaseOrder {
            job: self.spec.job,
            uid: self.spec.uid.clone(),
            provider: provider.name.clone(),
            core,
            deadline_ms: now + ms,
            salt,
            body,
        };
        if *duty == Duty::Preflight {
            let core = core(LeaseKind::Preflight, self.trial, 0, (0, 0), token, None);
            return Some(order(core, PLATFORM_MS + self.fetch_ms(), None, TaskBody::Preflight(self.trial_body())));
        }
        let task = self.task.as_ref()?;
        let units = |shard: &u32| task.spec.units.shard(*shard);
        let salt = Some(self.spec.salt);
        Some(match duty {
            Duty::Preflight => return None,
            Duty::Work(shard) => {
                let (first, count) = units(shard)?;
                let token = self.shards.get(shard)?.next_token(ctx.epoch);
                let core = core(LeaseKind::Work, task.digest, *shard, (first, count), token, None);
                order(core, WORK_MS + self.allowance_ms(count), salt, TaskBody::Execute)
            }
            Duty::Ingest(shard) => {
                let ShardState::Committed(claim) = &self.shards.get(shard)?.state else { return None };
                let body = Committed {
                    provider: claim.provider.clone(),
                    lease: claim.signed_lease.clone(),
                    commitment: claim.signed_commitment.clone(),
                };
                let core = core(LeaseKind::Ingest, task.digest, *shard, units(shard)?, token, None);
                order(core, PLATFORM_MS, salt, TaskBody::Ingest(body))
            }
            Duty::Confirm(shard) => {
                let ShardState::Faulted(fault) = &self.shards.get(shard)?.state else { return None };
                let (first, count) = units(shard)?;
                let tried = (first..first + count.min(u64::from(MAX_AUDITS_PER_SHARD))).collect();
                let audit = AuditOf { round: Digest::ZERO, lease: fault.lease, units: tried };
                let core = core(LeaseKind::Referee, task.digest, *shard, (first, count), token, Some(audit));
                order(core, PLATFORM_MS + self.allowance_ms(count), None, TaskBody::Execute)
            }
            Duty::Audit { round, shard, units: drawn, .. } | Duty::Referee { round, shard, units: drawn } => {
                let case = self.rounds.get(round)?.cases.iter().find(|case| case.claim.lease.shard == *shard)?;
                let kind = if matches!(duty, Duty::Audit { .. }) { LeaseKind::Audit } else { LeaseKind::Referee };
                let audit =
                    AuditOf { round: self.rounds.get(round)?.id, lease: case.claim.lease_digest, units: drawn.clone() };
                let core = core(kind, task.digest, *shard, units(shard)?, token, Some(audit));
                order(core, AUDIT_MS + self.allowance_ms(drawn.len() as u64), None, TaskBody::Execute)
            }
            Duty::Aggregate => {
                let manifest = self.manifest?;
                let digest = aggregate_digest(&task.digest, &manifest);
                let all = (0, task.spec.units.units());
                let core = core(LeaseKind::Aggregate, digest, 0, all, token, None);
                order(core, 2 * PLATFORM_MS, None, TaskBody::Aggregate(manifest))
            }
        })
    }

    fn trial_body(&self) -> Trial {
        Trial {
            workload: self.spec.workload,
            inputs: self.spec.inputs.clone(),
            units: self.spec.units,
            outputs: self.spec.outputs.clone(),
            job: self.spec.job,
        }
    }
}
