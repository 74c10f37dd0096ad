//! The condition `Final` of jobs that are over: whether enough witnesses have seen the settlement in the log. A loop of its own
//! with a field manager of its own: witnesses that are lost delay this condition, and nothing else.
//!
//! Where the ledger has no trust policy there is no such condition. It is written when its status or reason changes, once or
//! twice a job; what a witness says meanwhile is in the ledger's `/v1/witnesses`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType};
use kube::{Resource as _, ResourceExt as _};
use orion_crds::conditions::{condition, is_true};
use orion_crds::{ConditionType, JobStatus, OrionJob, Truth, names, set_condition};
use orion_protocol::Reason;
use orion_protocol::ledger::api::Witnesses;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::clock;
use crate::edges::Edges;
use crate::events;
use crate::job::Chain;
use crate::render::is_terminal;
use crate::seldom::Seldom;
use crate::writes::{self, WriteError};

/// How often the ledger is asked.
const EVERY: Duration = Duration::from_secs(2);
/// Conditions that are written a turn, and at a time: after an outage many are due.
const WRITES: (usize, usize) = (64, 8);
/// The longest action of an Event that the API takes, in bytes.
const MAX_ACTION: usize = 128;
/// The Service whose Events tell of a witness that refuses.
const LEDGER: &str = "orion-ledger";

/// Settled jobs whose condition is not True, by uid.
pub type Settled = BTreeMap<String, Arc<OrionJob>>;

/// Whether a job's condition may still change.
pub fn is_open(job: &OrionJob) -> bool {
    job.status
        .as_ref()
        .is_some_and(|status| needs(status).is_some() && !is_true(&status.conditions, ConditionType::Final))
}

/// The size that a checkpoint must have to hold all that the log says of a job that is over.
fn needs(status: &JobStatus) -> Option<u64> {
    let ledger = status.ledger.as_ref().filter(|_| is_terminal(status))?;
    let settlement: u64 = ledger.settlement.as_ref()?.parse().ok()?;
    let sealed = ledger.checkpoint.as_ref().and_then(|text| text.split(' ').next()?.parse().ok());
    Some(settlement.saturating_add(1).max(sealed.unwrap_or(0)))
}

/// What is so, where the log must have `size` leaves; nothing where no witness is asked for.
fn verdict(size: u64, seen: &Witnesses) -> Option<(Truth, Reason, String)> {
    if !seen.quorum {
        return None;
    }
    if let Some(witnessed) = seen.witnessed.as_ref().filter(|witnessed| witnessed.size >= size) {
        let words = format!("cosigned by {} in the log of size {}", witnessed.by.join(", "), witnessed.size);
        return Some((Truth::True, Reason::Witnessed, words));
    }
    if seen.blocked {
        let refused = refusals(seen).map(|(name, words)| format!("{name} refuses: {words}"));
        return Some((Truth::False, Reason::WitnessRefused, refused.collect::<Vec<_>>().join("; ")));
    }
    let words = format!("the log of size {size} or larger waits for its cosignatures");
    Some((Truth::Unknown, Reason::WitnessesPending, words))
}

fn refusals(seen: &Witnesses) -> impl Iterator<Item = (&str, &str)> {
    seen.witnesses.iter().filter_map(|one| Some((one.name.as_str(), one.refused.as_deref()?)))
}

/// What becomes of a job's condition.
#[derive(Debug, PartialEq)]
enum Change {
    /// It says this from now on.
    Set(Condition),
    /// No policy asks for it any more.
    Remove,
}

/// The change that is due, if any.
fn change(job: &OrionJob, seen: &Witnesses, now: jiff::Timestamp) -> Option<Change> {
    let status = job.status.as_ref()?;
    let old = condition(&status.conditions, ConditionType::Final);
    let Some((truth, reason, message)) = verdict(needs(status)?, seen) else {
        return old.map(|_| Change::Remove);
    };
    if old.is_some_and(|old| old.status == truth.as_str() && old.reason == reason.as_str()) {
        return None;
    }
    let mut conditions = status.conditions.clone();
    set_condition(&mut conditions, ConditionType::Final, truth, reason, &message, status.observed_generation, now);
    condition(&conditions, ConditionType::Final).cloned().map(Change::Set)
}

/// Asks and writes until the leadership ends.
pub async fn run(edges: Arc<Edges>, settled: watch::Receiver<Settled>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told, mut unanswered) = (BTreeMap::new(), Seldom::default());
    while edges.guard.holds() {
        tick.tick().await;
        let jobs: Vec<Arc<OrionJob>> = settled.borrow().values().cloned().collect();
        edges.metrics.not_final.set(jobs.len() as u64);
        let seen = match edges.ledger.witnesses().await {
            Ok(seen) => seen.unwrap_or_default(),
            Err(error) => {
                if let Some(left_out) = unanswered.say() {
                    tracing::warn!(error = %Chain(&error), left_out, "the ledger does not say who has seen its log");
                }
                continue;
            }
        };
        tell(&edges, &seen, &mut told);
        let now = clock::now();
        let due =
            jobs.into_iter().filter_map(|job| change(&job, &seen, now).map(|change| (job, change))).take(WRITES.0);
        let edges = &edges;
        futures::stream::iter(due)
            .for_each_concurrent(WRITES.1, async |(job, change)| write(edges, &job, &change).await)
            .await;
    }
}

/// An Event for each witness that refuses, once for the same words.
fn tell(edges: &Arc<Edges>, seen: &Witnesses, told: &mut BTreeMap<String, String>) {
    let now: BTreeMap<String, String> =
        refusals(seen).map(|(name, words)| (name.to_owned(), words.to_owned())).collect();
    let new = now.iter().filter(|(name, words)| told.get(*name) != Some(*words));
    // Events of one object, reason and action are counted as one, whatever their words.
    let told_of =
        |(name, words): (&String, &String)| warning(&format!("Cosign-{name}"), &format!("{name} refuses: {words}"));
    let warnings: Vec<Event> = new.map(told_of).collect();
    for warning in &warnings {
        tracing::error!(words = warning.note, "a witness refuses to cosign the log");
    }
    let ledger = ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Service".into()),
        name: Some(LEDGER.into()),
        namespace: Some(edges.namespace.clone()),
        ..ObjectReference::default()
    };
    events::tell_of(edges, ledger, warnings);
    *told = now;
}

fn warning(action: &str, words: &str) -> Event {
    Event {
        type_: EventType::Warning,
        reason: Reason::WitnessRefused.as_str().to_owned(),
        note: Some(events::shortened(words).to_owned()),
        action: action[..action.floor_char_boundary(MAX_ACTION)].to_owned(),
        secondary: None,
    }
}

async fn write(edges: &Arc<Edges>, job: &OrionJob, change: &Change) {
    let (conditions, refused) = match change {
        Change::Set(new) => (vec![new], new.reason == Reason::WitnessRefused.as_str()),
        Change::Remove => (vec![], false),
    };
    let status = json!({"conditions": conditions});
    match writes::apply_status_as(edges, names::FINALITY_MANAGER, job, &status).await {
        Ok(_) => {
            let words = conditions.iter().filter(|_| refused).map(|new| warning(&new.type_, &new.message)).collect();
            events::tell_of(edges, job.object_ref(&()), words);
        }
        // The watch brings what there is now, or takes the job away.
        Err(WriteError::Conflict | WriteError::Gone | WriteError::Deposed) => {}
        Err(error) => {
            tracing::warn!(job = job.name_any(), error = %Chain(&error), "whether a job is final was not written");
        }
    }
}

#[cfg(test)]
mod tests {
    use orion_crds::job::LedgerStatus;
    use orion_protocol::ledger::api::{WitnessView, Witnessed};

    use super::*;

    fn job(conditions: &[(ConditionType, Truth, Reason)], settlement: Option<&str>) -> OrionJob {
        let mut status = JobStatus { observed_generation: Some(2), ..JobStatus::default() };
        for (of, truth, reason) in conditions {
            set_condition(&mut status.conditions, *of, *truth, *reason, "", Some(2), clock::now());
        }
        let checkpoint = settlement.map(|_| format!("12 {}", "ab".repeat(32)));
        status.ledger = Some(LedgerStatus { checkpoint, settlement: settlement.map(str::to_owned), r#try: 0 });
        let object = json!({
            "apiVersion": "orion.dev/v1alpha1", "kind": "OrionJob", "metadata": {"name": "a", "namespace": "b"},
            "spec": {
                "workload": {"kernel": {"source": {"inline": "x"}, "entryPoint": "x", "globalSize": [1], "workPerItem": "1", "arguments": []}},
                "outputs": [], "sharding": {"itemsPerUnit": 1}, "budget": {"maxCredits": "1"},
            },
            "status": status,
        });
        serde_json::from_value(object).expect("a job")
    }

    const SUCCEEDED: (ConditionType, Truth, Reason) = (ConditionType::Succeeded, Truth::True, Reason::Succeeded);

    fn seen(size: u64, refused: Option<&str>, blocked: bool) -> Witnesses {
        let view = |name: &str, refused: Option<&str>| WitnessView {
            name: name.into(),
            size,
            seconds: 1,
            refused: refused.map(str::to_owned),
            error: None,
        };
        Witnesses {
            quorum: true,
            blocked,
            published: 20,
            witnessed: Some(Witnessed { size, note: String::new(), by: vec!["ann".into(), "bob".into()] }),
            witnesses: vec![view("ann", None), view("bob", None), view("carl", refused)],
        }
    }

    fn becomes(job: &OrionJob, seen: &Witnesses) -> Option<(String, String, String)> {
        match change(job, seen, clock::now()) {
            Some(Change::Set(new)) => Some((new.status, new.reason, new.message)),
            Some(Change::Remove) => Some(Default::default()),
            None => None,
        }
    }

    fn words(status: &str, reason: &str, message: &str) -> (String, String, String) {
        (status.into(), reason.into(), message.into())
    }

    #[test]
    fn a_job_is_final_once_the_witnessed_log_holds_all_of_it() {
        let done = job(&[SUCCEEDED], Some("9"));
        // Its settlement begins at leaf 9, and its last leaf is sealed by leaf 11.
        let pending = words("Unknown", "WitnessesPending", "the log of size 12 or larger waits for its cosignatures");
        assert_eq!(becomes(&done, &seen(11, None, false)), Some(pending.clone()));
        let by = words("True", "Witnessed", "cosigned by ann, bob in the log of size 12");
        assert_eq!(becomes(&done, &seen(12, None, false)), Some(by.clone()));
        // Who refuses does not matter to a quorum that came together without them.
        assert_eq!(becomes(&done, &seen(12, Some("a fork"), true)), Some(by.clone()));
        assert_eq!(becomes(&done, &Witnesses { witnessed: None, ..seen(0, None, false) }), Some(pending));
    }

    #[test]
    fn a_refusal_shows_when_no_quorum_can_come_together_without_it() {
        let done = job(&[SUCCEEDED], Some("9"));
        let pending = becomes(&done, &seen(11, Some("a fork"), false)).expect("a change");
        assert_eq!(pending.1, "WitnessesPending");
        let refused = becomes(&done, &seen(11, Some("a fork"), true));
        assert_eq!(refused, Some(words("False", "WitnessRefused", "carl refuses: a fork")));
    }

    #[test]
    fn nothing_is_written_twice_or_before_the_end_or_without_a_policy() {
        let waiting = job(&[SUCCEEDED, (ConditionType::Final, Truth::Unknown, Reason::WitnessesPending)], Some("9"));
        assert_eq!(becomes(&waiting, &seen(11, None, false)), None);
        assert!(is_open(&waiting));
        let no_policy = Witnesses::default();
        assert_eq!(becomes(&waiting, &no_policy), Some(words("", "", "")));
        assert_eq!(becomes(&job(&[SUCCEEDED], Some("9")), &no_policy), None);
        let last = job(&[SUCCEEDED, (ConditionType::Final, Truth::True, Reason::Witnessed)], Some("9"));
        assert!(!is_open(&last));
        assert!(!is_open(&job(&[(ConditionType::Funded, Truth::True, Reason::Funded)], Some("9"))), "it still runs");
        assert!(
            !is_open(&job(&[(ConditionType::Failed, Truth::True, Reason::CompileFailed)], None)),
            "nothing was paid"
        );
    }
}
