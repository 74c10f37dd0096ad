//! Kubernetes Events: what `kubectl describe` tells of a job's turns. They are made from conditions, so they say nothing that
//! the status does not; losing one loses nothing. A witness that refuses is told of at the ledger's Service too, a validator that
//! contradicts itself at its Provider.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::runtime::events::{Event, EventType};
use orion_crds::conditions::condition;
use orion_crds::{ConditionType, JobStatus, OrionJob};
use orion_protocol::Reason;

use crate::edges::Edges;
use crate::job::Chain;

/// The longest note that the API takes, in bytes.
const MAX_NOTE: usize = 1000;
/// An Event that is not taken within this is given up.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Conditions whose change is worth telling, in the order in which they come.
const TOLD: [ConditionType; 4] =
    [ConditionType::Accepted, ConditionType::Funded, ConditionType::Succeeded, ConditionType::Failed];

/// What happened to a job between two statuses.
pub fn between(old: &JobStatus, new: &JobStatus) -> Vec<Event> {
    let turn = |condition: &Condition| (condition.status.clone(), condition.reason.clone());
    let changed = TOLD.into_iter().filter_map(|of| {
        let now = condition(&new.conditions, of)?;
        let before = condition(&old.conditions, of).map(turn);
        (before != Some(turn(now))).then_some((of, now))
    });
    changed.filter_map(|(of, now)| event(of, now)).collect()
}

fn event(of: ConditionType, now: &Condition) -> Option<Event> {
    let type_ = match (of, now.status.as_str()) {
        (ConditionType::Failed, "True") | (ConditionType::Accepted | ConditionType::Funded, "False") => {
            EventType::Warning
        }
        (ConditionType::Failed, _) | (ConditionType::Succeeded, "Unknown" | "False") => return None,
        (_, "Unknown") if now.reason == Reason::Preflight.as_str() => return None,
        (_, "Unknown") => EventType::Warning,
        _ => EventType::Normal,
    };
    let note = (!now.message.is_empty()).then(|| shortened(&now.message).to_owned());
    Some(Event { type_, reason: now.reason.clone(), note, action: of.as_str().to_owned(), secondary: None })
}

/// As much of a text as a note holds.
pub fn shortened(text: &str) -> &str {
    let mut end = text.len().min(MAX_NOTE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Tells of a job in the background.
pub fn tell(edges: &Arc<Edges>, job: &OrionJob, events: Vec<Event>) {
    tell_of(edges, job.object_ref(&()), events);
}

/// Tells of any object in the background.
pub fn tell_of(edges: &Arc<Edges>, reference: ObjectReference, events: Vec<Event>) {
    if events.is_empty() {
        return;
    }
    let edges = edges.clone();
    tokio::spawn(async move {
        for event in events {
            if !edges.guard.holds() {
                return;
            }
            let told = tokio::time::timeout(TIMEOUT, edges.events.publish(&event, &reference)).await;
            if let Ok(Err(error)) = told {
                tracing::debug!(reason = event.reason, error = %Chain(&error), "an Event was not taken");
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use orion_crds::{Truth, set_condition};

    use super::*;
    use crate::clock;

    fn status(conditions: &[(ConditionType, Truth, Reason, &str)]) -> JobStatus {
        let mut status = JobStatus::default();
        for (of, truth, reason, message) in conditions {
            set_condition(&mut status.conditions, *of, *truth, *reason, message, Some(1), clock::now());
        }
        status
    }

    #[test]
    fn a_turn_is_told_once() {
        let trying =
            status(&[(ConditionType::Accepted, Truth::Unknown, Reason::Preflight, "the workload is tried out")]);
        assert!(between(&JobStatus::default(), &trying).is_empty());
        let accepted = status(&[(ConditionType::Accepted, Truth::True, Reason::Accepted, "")]);
        let told = between(&trying, &accepted);
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].type_, told[0].reason.as_str(), &told[0].note), (EventType::Normal, "Accepted", &None));
        assert!(between(&accepted, &accepted).is_empty());
    }

    #[test]
    fn a_refusal_is_a_warning_with_the_first_thousand_bytes_of_its_words() {
        let words = format!("x{}", "é".repeat(600));
        let refused = status(&[(ConditionType::Accepted, Truth::False, Reason::CompileFailed, &words)]);
        let told = between(&JobStatus::default(), &refused);
        assert_eq!((told[0].type_, told[0].reason.as_str()), (EventType::Warning, "CompileFailed"));
        let note = told[0].note.as_deref().unwrap();
        assert!(note.len() == 999 && words.starts_with(note), "{}", note.len());
    }
}
