//! From a job as the core sees it to the status that people read. Pure: what was shown before, what is so now, and the time.

use jiff::Timestamp;
use orion_core::{JobStatus as Core, LedgerPlace, Stage};
use orion_crds::conditions::{condition, is_true, to_time};
use orion_crds::job::{
    Cost, Detection, InputStatus, LedgerStatus, OutputStatus, Progress, ShardCounts, UnitCounts, ValidationStatus,
};
use orion_crds::{ConditionType, IndexSet, JobStatus, Truth, set_condition};
use orion_protocol::files::File;
use orion_protocol::price::format_credits;
use orion_protocol::statements::ResultObject;
use orion_protocol::task::{OutputSpec, UnitTable};
use orion_protocol::{Reason, Refusal};

/// All that a status is made of.
#[derive(Clone, Debug)]
pub enum Picture {
    /// Not taken in yet, and why.
    Waiting(Refusal),
    /// Refused before the core saw it.
    Refused(Refusal),
    /// In the core.
    Taken(Box<Taken>),
}

/// A job that the core knows.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Its inputs as they were read.
    pub inputs: Vec<InputStatus>,
    /// What the core says; nothing right after it was introduced.
    pub core: Option<Core>,
}

/// Whether nothing will ever change any more.
pub fn is_terminal(status: &JobStatus) -> bool {
    is_true(&status.conditions, ConditionType::Succeeded) || is_true(&status.conditions, ConditionType::Failed)
}

/// The status that follows `old`.
pub fn status(old: &JobStatus, picture: &Picture, generation: i64, now: Timestamp) -> JobStatus {
    let mut status = old.clone();
    status.observed_generation = Some(generation);
    status.start_time.get_or_insert_with(|| to_time(now));
    let mut pen = Pen { status: &mut status, generation, now };
    match picture {
        Picture::Waiting(refusal) => pen.waiting(refusal),
        Picture::Refused(refusal) => pen.refused(refusal),
        Picture::Taken(taken) => {
            pen.status.inputs.clone_from(&taken.inputs);
            match &taken.core {
                Some(core) => pen.core(core),
                // Under an earlier leader the job may be further: until the core speaks, what is shown stays.
                None if is_true(&pen.status.conditions, ConditionType::Accepted) => {}
                None => pen.waiting(&Refusal::new(Reason::Preflight, "the workload is tried out")),
            }
        }
    }
    if is_terminal(&status) && status.completion_time.is_none() {
        status.completion_time = Some(to_time(now));
    }
    status
}

struct Pen<'a> {
    status: &'a mut JobStatus,
    generation: i64,
    now: Timestamp,
}

impl Pen<'_> {
    fn set(&mut self, of: ConditionType, truth: Truth, reason: Reason, message: &str) {
        let generation = Some(self.generation);
        set_condition(&mut self.status.conditions, of, truth, reason, message, generation, self.now);
    }

    fn waiting(&mut self, refusal: &Refusal) {
        self.set(ConditionType::Accepted, Truth::Unknown, refusal.reason, &refusal.message);
        self.set(ConditionType::Succeeded, Truth::Unknown, refusal.reason, &refusal.message);
        self.set(ConditionType::Reconciling, Truth::True, refusal.reason, &refusal.message);
    }

    fn refused(&mut self, refusal: &Refusal) {
        self.set(ConditionType::Accepted, Truth::False, refusal.reason, &refusal.message);
        self.failed(refusal);
    }

    fn failed(&mut self, refusal: &Refusal) {
        self.set(ConditionType::Succeeded, Truth::False, refusal.reason, &refusal.message);
        self.set(ConditionType::Failed, Truth::True, refusal.reason, &refusal.message);
        self.set(ConditionType::Reconciling, Truth::False, refusal.reason, "");
        self.set(ConditionType::Stalled, Truth::True, refusal.reason, &refusal.message);
    }

    fn core(&mut self, core: &Core) {
        if let Stage::Refused(refusal) = &core.stage {
            self.refused(refusal);
            return;
        }
        self.figures(core);
        let (reason, message) = place(core);
        let ended = core.stage == Stage::Done && core.ending.is_some();
        if !core.accepted && !ended {
            self.waiting(&Refusal::new(reason, message));
            return;
        }
        if core.accepted {
            self.set(ConditionType::Accepted, Truth::True, Reason::Accepted, "");
        }
        match (&core.waiting, core.funded) {
            (_, true) => self.set(ConditionType::Funded, Truth::True, Reason::Funded, ""),
            (Some(refusal), false) if refusal.reason != Reason::NoPlatformWorker => {
                self.set(ConditionType::Funded, Truth::False, refusal.reason, &refusal.message);
            }
            _ => self.set(ConditionType::Funded, Truth::Unknown, Reason::EscrowPending, ""),
        }
        self.progress_conditions(core, reason, &message);
    }

    fn progress_conditions(&mut self, core: &Core, reason: Reason, message: &str) {
        let dispatched = core.funded && (core.shards.1 > 0 || core.units.accepted + core.units.committed > 0);
        if dispatched || is_true(&self.status.conditions, ConditionType::Dispatched) {
            self.set(ConditionType::Dispatched, Truth::True, Reason::Dispatched, "");
            self.set(ConditionType::Reconciling, Truth::False, Reason::Dispatched, "");
        } else {
            self.set(ConditionType::Reconciling, Truth::True, reason, message);
        }
        if core.units.total > 0 && core.units.accepted == core.units.total {
            self.set(ConditionType::Validated, Truth::True, Reason::AllShardsAccepted, "");
        }
        match (&core.stage, &core.ending) {
            (Stage::Done, None) => {
                self.set(ConditionType::Succeeded, Truth::True, Reason::Succeeded, "");
                self.set(ConditionType::Reconciling, Truth::False, Reason::Succeeded, "");
                self.set(ConditionType::Stalled, Truth::False, Reason::Succeeded, "");
            }
            (Stage::Done, Some(refusal)) => self.failed(refusal),
            _ => self.set(ConditionType::Succeeded, Truth::Unknown, reason, message),
        }
    }

    fn figures(&mut self, core: &Core) {
        self.progress(core);
        let indexes = |list: &[u32]| list.iter().copied().collect::<IndexSet>().to_string();
        let count = |list: &[u32]| u32::try_from(list.len()).unwrap_or(u32::MAX);
        if core.funded {
            self.status.shards = Some(ShardCounts {
                total: core.shards.0,
                running: core.shards.1,
                accepted: count(&core.accepted_shards),
                failed: count(&core.failed_shards),
                accepted_indexes: indexes(&core.accepted_shards),
                failed_indexes: indexes(&core.failed_shards),
            });
            self.status.validation = Some(ValidationStatus {
                units_audited: core.audited.0,
                copies_per_unit: 1,
                rejected: core.audited.1,
                disputed: core.audited.2,
                detection: Some(detection(core.table.units_per_shard, core.audits_per_shard)),
            });
        }
        let known = !matches!(core.stage, Stage::Preflight | Stage::Refused(_));
        if known {
            let all = core.outputs.iter().flat_map(|spec| files(spec, &core.table, &core.results));
            self.status.outputs = all.collect();
        }
        if let Some(cost) = &core.cost {
            let paid = cost.paid;
            self.status.cost = Some(Cost {
                price_per_million_work: format_credits(cost.price),
                work: cost.work.to_string(),
                escrowed: format_credits(cost.escrowed),
                workers: format_credits(paid.workers),
                validators: format_credits(paid.validators),
                fee: format_credits(paid.fee),
                total: format_credits(paid.workers + paid.validators + paid.fee),
                refunded: format_credits(paid.refunded),
            });
        }
        self.status.ledger = Some(evidence(self.status.ledger.take().unwrap_or_default(), &core.ledger));
    }

    fn progress(&mut self, core: &Core) {
        let units = core.units;
        let before = self.status.progress.as_ref();
        let same = before.is_some_and(|progress| progress.units.accepted == units.accepted);
        let estimate = match before {
            Some(progress) if same => progress.estimated_completion_time.clone(),
            _ => self.estimate(units.accepted, units.total),
        };
        self.status.progress = Some(Progress {
            units: UnitCounts {
                total: units.total,
                running: units.running,
                committed: units.committed,
                accepted: units.accepted,
            },
            percent: u32::try_from(units.accepted * 100 / units.total.max(1)).unwrap_or(100),
            estimated_completion_time: estimate,
        });
    }

    /// At the pace so far.
    fn estimate(&self, accepted: u64, total: u64) -> Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time> {
        if accepted == 0 || accepted >= total {
            return None;
        }
        let start = self.status.start_time.as_ref()?.0.as_millisecond();
        let elapsed = self.now.as_millisecond().checked_sub(start)?;
        let left = i128::from(elapsed) * i128::from(total - accepted) / i128::from(accepted);
        let end = self.now.as_millisecond().checked_add(i64::try_from(left).ok()?)?;
        Timestamp::from_millisecond(end).ok().map(to_time)
    }
}

/// Where the evidence is, after what was shown `before`. A later leader has not seen the earlier transactions: what was shown
/// stays, and of the settlement's first leaf it is the better word.
fn evidence(before: LedgerStatus, core: &LedgerPlace) -> LedgerStatus {
    LedgerStatus {
        checkpoint: core.seal.map(|seal| format!("{} {}", seal.size, seal.root)).or(before.checkpoint),
        settlement: before.settlement.or_else(|| core.settlement.map(|leaf| leaf.to_string())),
        r#try: core.attempt.min(1_000_000),
    }
}

/// The files of an output, as far as they are known.
fn files(spec: &OutputSpec, units: &UnitTable, results: &[ResultObject]) -> impl Iterator<Item = OutputStatus> {
    spec.extracts().iter().map(|extract| {
        let result = results.iter().find(|result| result.name == spec.name && result.extract == *extract);
        let File { name, dtype, shape } = spec.file(*extract, units, result.and_then(|result| result.entries));
        OutputStatus {
            name,
            digest: result.map(|result| result.digest.to_string()),
            size_bytes: result.map(|result| result.size),
            type_: dtype.name().to_owned(),
            shape,
        }
    })
}

/// Where the job is, in one reason.
fn place(core: &Core) -> (Reason, String) {
    if let Some(refusal) = &core.waiting {
        return (refusal.reason, refusal.message.clone());
    }
    let reason = match core.stage {
        Stage::Preflight | Stage::Refused(_) => Reason::Preflight,
        Stage::Escrow => Reason::EscrowPending,
        Stage::Running if core.units.running == 0 && core.units.committed > 0 => Reason::Validating,
        Stage::Running => Reason::Computing,
        Stage::Aggregating => Reason::Aggregating,
        Stage::Settling | Stage::Closing | Stage::Done => Reason::Settling,
    };
    let words = core.ending.as_ref().map(ToString::to_string).unwrap_or_default();
    (reason, words)
}

/// The share of wrong units that the stated probability is about.
const CHEATED_FRACTION: f64 = 0.1;
/// The share of auditors that is assumed to help a cheater.
const COLLUDING_SHARE: f64 = 0.1;

/// k distinct of n units with m wrong ones are caught with 1 - C(n-m, k)/C(n, k), times the chance that the auditor is honest.
fn detection(units: u64, audits: u32) -> Detection {
    let drawn = u64::from(audits).min(units);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most 100,000 units, for people"
    )]
    let missed = {
        let wrong = (units as f64 * CHEATED_FRACTION).ceil() as u64;
        let factor = |i: u64| (units - wrong).saturating_sub(i) as f64 / (units - i) as f64;
        (0..drawn).map(factor).product::<f64>()
    };
    Detection {
        cheated_fraction: format!("{CHEATED_FRACTION}"),
        probability: format!("{:.4}", (1.0 - missed) * (1.0 - COLLUDING_SHARE)),
        assumed_colluding_share: format!("{COLLUDING_SHARE}"),
    }
}

/// Whether a change from `old` to `new` is shown at once, not within the second.
pub fn is_urgent(old: &JobStatus, new: &JobStatus) -> bool {
    let words =
        |status: &JobStatus, of| condition(&status.conditions, of).map(|c| (c.status.clone(), c.reason.clone()));
    ConditionType::ALL.iter().any(|of| *of != ConditionType::Succeeded && words(old, *of) != words(new, *of))
        || is_terminal(new) != is_terminal(old)
}

#[cfg(test)]
mod tests {
    use orion_protocol::Digest;
    use orion_protocol::dtype::DType;
    use orion_protocol::files::Extract;
    use orion_protocol::ledger::SealRef;
    use orion_protocol::task::{Combine, Layout};

    use super::*;

    #[test]
    fn a_later_leader_keeps_what_was_shown_and_covers_what_was_not() {
        let seal = |size| SealRef { height: 1, size, root: Digest::ZERO, time_ms: 1 };
        let core = |seal, settlement| LedgerPlace { seal, settlement, attempt: 0 };
        let words = |at: LedgerStatus| (at.settlement, at.checkpoint.map(|text| text[..2].to_owned()));
        let first = evidence(LedgerStatus::default(), &core(Some(seal(12)), Some(9)));
        let shown = |settlement: &str, size: &str| (Some(settlement.to_owned()), Some(size.to_owned()));
        assert_eq!(words(first.clone()), shown("9", "12"));
        assert_eq!(evidence(first.clone(), &core(None, None)), first, "it knows nothing, and changes nothing");
        assert_eq!(words(evidence(first, &core(Some(seal(30)), Some(29)))), shown("9", "30"));
        assert_eq!(words(evidence(LedgerStatus::default(), &core(Some(seal(30)), Some(29)))), shown("29", "30"));
    }

    #[test]
    fn each_file_of_an_output_is_shown_with_its_own_digest_and_shape() {
        let units = UnitTable { items: 10, items_per_unit: 4, units_per_shard: 1, work_per_item: 1 };
        let output = |name: &str, shape: &[u64], layout| OutputSpec {
            name: name.parse().unwrap(),
            dtype: DType::Uint16,
            shape: shape.to_vec(),
            layout,
        };
        let hits = output("hits", &[10, 16, 2], Some(Layout::Lengths(1)));
        let sums = output("sums", &[5], Some(Layout::Unit(Combine::Sum)));
        let result = |extract, entries, size| ResultObject {
            name: hits.name.clone(),
            digest: Digest::of(b"a file"),
            size,
            extract: Some(extract),
            entries,
        };
        let results = [result(Extract::Values, Some(7), 156), result(Extract::Offsets, None, 216)];
        let shown = |spec: &OutputSpec, results: &[ResultObject]| -> Vec<_> {
            let line = |file: OutputStatus| (file.name, file.type_, file.shape, file.size_bytes, file.digest.is_some());
            files(spec, &units, results).map(line).collect()
        };
        let line = |name: &str, dtype: &str, shape: &[u64], size: Option<u64>| {
            (name.to_owned(), dtype.to_owned(), shape.to_vec(), size, size.is_some())
        };
        assert_eq!(
            shown(&hits, &results),
            [line("hits.values", "uint16", &[7, 2], Some(156)), line("hits.offsets", "int64", &[11], Some(216))]
        );
        assert_eq!(
            shown(&hits, &[]),
            [line("hits.values", "uint16", &[], None), line("hits.offsets", "int64", &[11], None)]
        );
        assert_eq!(
            shown(&sums, &results),
            [line("sums", "uint16", &[5], None), line("sums.units", "uint16", &[3, 5], None)]
        );
    }
}
