//! Providers on their way in: registered on the ledger, given streams on the broker, their answers folded.
//!
//! It approves nobody: whoever may create Provider objects in the platform's namespace has done that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use orion_broker::{FoldEvent, Recorded};
use orion_core::{Input, ProviderInfo, WorkerView};
use orion_crds::provider::WorkerStatus;
use orion_crds::{ConditionType, Provider, ProviderStatus, Truth, set_condition};
use orion_protocol::ledger::api::KeysView;
use orion_protocol::ledger::tx::RegisterProvider;
use orion_protocol::ledger::{Code, Transaction};
use orion_protocol::messages::{Answer, Message};
use orion_protocol::subjects::{PLATFORM, commit, commit_stream, parse_commit};
use orion_protocol::{JobId, Name, PublicKey, Reason, Refusal, TxId};
use tokio::sync::mpsc;

use crate::clock;
use crate::edges::Edges;
use crate::epoch::Epoch;
use crate::job::Chain;
use crate::ledger::LedgerError;
use crate::seldom::Seldom;
use crate::writes::{self, WriteError};

/// Pause before a provider that could not be set up is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// How often a stream is looked for: reading it does not tell a lost one from a broker that is away.
const LOOK: Duration = Duration::from_secs(15);

/// The platform's own identity, which has no object.
pub fn platform(keys: &KeysView) -> Option<ProviderInfo> {
    let name: Name = PLATFORM.parse().ok()?;
    Some(ProviderInfo { owner: name.clone(), name, key: keys.platform, validates: false, retired: false })
}

/// A provider's object, parsed.
pub fn parse(provider: &Provider) -> Result<ProviderInfo, Refusal> {
    let wrong = |field: &str, why: String| Refusal::new(Reason::InvalidSpec, format!("{field}: {why}"));
    let name: Name = provider
        .name_any()
        .parse()
        .map_err(|error: orion_protocol::bytes::ParseError| wrong("metadata.name", error.to_string()))?;
    if name.as_str() == PLATFORM {
        return Err(wrong("metadata.name", "is the platform's own".into()));
    }
    let key: PublicKey = provider
        .spec
        .public_key
        .parse()
        .map_err(|error: orion_protocol::bytes::ParseError| wrong("spec.publicKey", error.to_string()))?;
    let owner: Name = provider
        .spec
        .owner
        .parse()
        .map_err(|error: orion_protocol::bytes::ParseError| wrong("spec.owner", error.to_string()))?;
    Ok(ProviderInfo { name, key, owner, validates: provider.spec.validates, retired: false })
}

/// Registers a provider and makes its streams; tried until it is done or refused for good.
pub async fn set_up(edges: &Arc<Edges>, epoch: &Epoch, provider: &ProviderInfo) -> Result<(), Refusal> {
    register(edges, epoch, provider).await?;
    ensure_streams(edges, &provider.name).await;
    Ok(())
}

/// Registers a provider unless the ledger knows it as it is.
async fn register(edges: &Arc<Edges>, epoch: &Epoch, provider: &ProviderInfo) -> Result<(), Refusal> {
    if epoch.keys.replaced.contains(&provider.key) {
        let words = "spec.publicKey: the log has put another key in its place: delete this Provider, and make it again with that one";
        return Err(Refusal::new(Reason::InvalidSpec, words));
    }
    let trouble = |error: LedgerError| Refusal::new(Reason::InternalError, Chain(&error).to_string());
    let head = edges.ledger.head().await.map_err(trouble)?;
    let wanted = (provider.key, provider.owner.clone(), provider.validates);
    if head.providers.contains(&wanted) {
        return Ok(());
    }
    let register = RegisterProvider { key: provider.key, owner: provider.owner.clone(), validates: provider.validates };
    let transaction = Transaction::RegisterProvider(register);
    // Whether it validates may change to and fro: no two changes share an id, for the log has grown in between.
    let id = TxId::derive(transaction.kind(), &JobId::NONE, key_number(&provider.key), head.seal.size);
    let envelope = transaction.sign(&edges.identity.chain, &edges.identity.key, epoch.number, id);
    let outcome = edges.ledger.submit(&envelope).await.map_err(trouble)?;
    match outcome.receipt.code {
        Code::Ok => Ok(()),
        Code::StaleEpoch => {
            edges.guard.depose();
            Ok(())
        }
        code => Err(Refusal::new(Reason::InvalidSpec, format!("spec.owner: the ledger says {code}"))),
    }
}

/// Streams and bucket of a provider, tried until they are there.
pub async fn ensure_streams(edges: &Arc<Edges>, provider: &Name) {
    while edges.guard.holds() {
        let made = match provider.as_str() {
            PLATFORM => edges.broker.ensure_platform(&edges.bounds).await,
            _ => edges.broker.ensure_provider(provider, &edges.bounds).await,
        };
        match made {
            Ok(_) => return,
            Err(error) => tracing::warn!(%provider, error = %Chain(&error), "streams are tried again"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// A number for a key, so that registrations of two keys do not share an id.
fn key_number(key: &PublicKey) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&key.0[..8]);
    u64::from_be_bytes(first)
}

/// Reads a provider's answers for ever, from the first. What cannot be the answer to a lease of ours is purged: whoever put it
/// there only holds the place of an honest answer. When the broker has lost the stream, the leadership ends, for all that it
/// knows of leases and consumers is void: the next one sets everything up anew.
pub async fn fold(edges: Arc<Edges>, epoch: Arc<Epoch>, provider: Name, inputs: mpsc::Sender<Input>) {
    let mut fold = edges.broker.fold(&provider);
    let mut look = tokio::time::interval(LOOK);
    let (mut first, mut dropped) = (None, Seldom::default());
    loop {
        let event = tokio::select! {
            event = fold.next() => event,
            _ = look.tick() => {
                if let Ok(None) = edges.broker.stream_facts(&commit_stream(&provider)).await {
                    tracing::error!(%provider, "the broker has lost a stream");
                    return edges.guard.depose();
                }
                continue;
            }
        };
        let recorded = match event {
            None => return,
            Some(FoldEvent::CaughtUp) => {
                if inputs.send(Input::CaughtUp(provider.clone())).await.is_err() {
                    return;
                }
                continue;
            }
            Some(FoldEvent::Opened { created }) => {
                if first.get_or_insert_with(|| created.clone()) == &created {
                    continue;
                }
                tracing::error!(%provider, created, "the broker has made a stream anew");
                return edges.guard.depose();
            }
            Some(FoldEvent::Answer(recorded)) => recorded,
        };
        match read_answer(&edges, &epoch.keys, &provider, &recorded) {
            Ok((uid, answer)) => {
                if inputs.send(Input::Answer(provider.clone(), uid, Box::new(answer))).await.is_err() {
                    return;
                }
            }
            // Whoever was replaced and does not know it yet leaves its successor's answers alone.
            Err(_) if !edges.guard.holds() => return,
            Err(why) => {
                edges.metrics.dropped_answers.inc();
                if let Some(left_out) = dropped.say() {
                    tracing::warn!(%provider, subject = recorded.subject, why, left_out, "an answer is dropped");
                }
                if let Err(error) = edges.broker.purge_answer_subject(&provider, &recorded.subject).await {
                    tracing::warn!(%provider, error = %Chain(&error), "an answer was not purged");
                }
            }
        }
    }
}

/// An answer that carries a lease of ours and stands where the answer to that lease belongs.
fn read_answer(edges: &Edges, keys: &KeysView, provider: &Name, recorded: &Recorded) -> Result<(Name, Answer), String> {
    let uid = parse_commit(&recorded.subject).ok_or("its subject is of no job")?;
    let answer = Answer::from_bytes(&recorded.bytes).map_err(|error| Chain(&error).to_string())?;
    let lease = keys.lease(&edges.identity.chain, &answer.lease).map_err(|error| Chain(&error).to_string())?;
    if recorded.subject != commit(provider, &lease.worker, &uid, &lease.digest()) {
        return Err("it answers another lease than its subject says".to_owned());
    }
    Ok((uid, answer))
}

/// Writes Provider statuses that differ from what is there.
pub async fn show(
    edges: &Arc<Edges>,
    objects: &BTreeMap<Name, Provider>,
    refused: &BTreeMap<Name, Refusal>,
    ready: &BTreeSet<Name>,
    workers: &[WorkerView],
) {
    for (name, object) in objects {
        let old = object.status.clone().unwrap_or_default();
        let status = status(&old, name, object, refused.get(name), ready.contains(name), workers);
        if status == old {
            continue;
        }
        match writes::apply_status(edges, object, &status).await {
            // A conflict means that a newer object is on its way here; it is written with that.
            Ok(_) | Err(WriteError::Conflict | WriteError::Gone | WriteError::Deposed) => {}
            Err(error) => {
                tracing::warn!(provider = %name, error = %Chain(&error), "a provider's status was not written");
            }
        }
    }
}

fn status(
    old: &ProviderStatus,
    name: &Name,
    object: &Provider,
    refused: Option<&Refusal>,
    ready: bool,
    workers: &[WorkerView],
) -> ProviderStatus {
    let mut status = old.clone();
    let generation = object.metadata.generation;
    status.observed_generation = generation;
    let (truth, reason, message) = match (refused, ready) {
        (Some(refusal), _) => (Truth::False, refusal.reason, refusal.message.as_str()),
        (None, true) => (Truth::True, Reason::Accepted, ""),
        (None, false) => (Truth::Unknown, Reason::BackendUnavailable, "being registered"),
    };
    set_condition(&mut status.conditions, ConditionType::Ready, truth, reason, message, generation, clock::now());
    let own: Vec<&WorkerView> = workers.iter().filter(|worker| worker.id.provider == *name).collect();
    let unconfined: Vec<String> =
        own.iter().filter(|worker| !worker.kernels).map(|worker| worker.id.worker.to_string()).collect();
    let faults = own.iter().filter_map(|worker| worker.fault.as_ref().map(|fault| (&worker.id.worker, fault)));
    let inexact_ones: Vec<String> = faults.map(|(worker, fault)| format!("{worker}: {fault}")).collect();
    let words = "have no Landlock (Linux 5.13) and run models only";
    let inexact = "have a device that computes wrongly and are given nothing";
    for (condition, some, reason, words) in [
        (ConditionType::RunsKernels, unconfined, Reason::NotConfined, words),
        (ConditionType::Exact, inexact_ones, Reason::DeviceInexact, inexact),
    ] {
        let (truth, reason, message) = match (own.is_empty(), some.first()) {
            (true, _) => (Truth::Unknown, Reason::NoMatchingWorker, "no worker is alive".to_owned()),
            (false, None) => (Truth::True, Reason::Accepted, String::new()),
            (false, Some(one)) => {
                (Truth::False, reason, format!("{} of {} workers {words}: {one}", some.len(), own.len()))
            }
        };
        set_condition(&mut status.conditions, condition, truth, reason, &message, generation, clock::now());
    }
    status.alive = Some(u32::try_from(own.len()).unwrap_or(u32::MAX));
    status.workers = own
        .into_iter()
        .take(64)
        .map(|worker| WorkerStatus {
            name: worker.id.worker.to_string(),
            role: worker.role.as_str().to_owned(),
            class: worker.class.clone(),
            driver: worker.driver.clone(),
            fault: worker.fault.clone(),
            last_seen: None,
        })
        .collect();
    status
}

#[cfg(test)]
mod tests {
    use orion_core::WorkerId;
    use orion_crds::ProviderSpec;
    use orion_protocol::messages::Role;

    use super::*;

    fn worker(provider: &str, name: &str, kernels: bool, fault: Option<&str>) -> WorkerView {
        WorkerView {
            id: WorkerId { provider: provider.parse().unwrap(), worker: name.parse().unwrap() },
            role: Role::Worker,
            class: "00".repeat(32),
            driver: "a driver".to_owned(),
            slots: (0, 1),
            kernels,
            fault: fault.map(str::to_owned),
        }
    }

    /// The status of provider acme, which is ready and has shown nothing yet.
    fn shown(workers: &[WorkerView]) -> ProviderStatus {
        let spec = ProviderSpec {
            public_key: "00".repeat(32),
            broker_key: format!("U{}", "A".repeat(55)),
            owner: "alice".to_owned(),
            validates: false,
        };
        let mut object = Provider::new("acme", spec);
        object.metadata.generation = Some(3);
        status(&ProviderStatus::default(), &"acme".parse().unwrap(), &object, None, true, workers)
    }

    /// Status, reason and message.
    fn condition(status: &ProviderStatus, of: ConditionType) -> (&str, &str, &str) {
        let found = status.conditions.iter().find(|condition| condition.type_ == of.as_str()).unwrap();
        assert_eq!(found.observed_generation, Some(3));
        (&found.status, &found.reason, &found.message)
    }

    #[test]
    fn without_a_worker_nothing_is_known_of_devices() {
        // Another provider's worker says nothing of this one.
        let status = shown(&[worker("other", "one", false, Some("exp of 0"))]);
        let unknown = ("Unknown", Reason::NoMatchingWorker.as_str(), "no worker is alive");
        assert_eq!(condition(&status, ConditionType::RunsKernels), unknown);
        assert_eq!(condition(&status, ConditionType::Exact), unknown);
        assert_eq!((status.alive, status.workers.len()), (Some(0), 0));
        assert_eq!(condition(&status, ConditionType::Ready).0, "True");
    }

    #[test]
    fn workers_that_run_everything_say_so() {
        let status = shown(&[worker("acme", "one", true, None), worker("acme", "two", true, None)]);
        let good = ("True", Reason::Accepted.as_str(), "");
        assert_eq!(condition(&status, ConditionType::RunsKernels), good);
        assert_eq!(condition(&status, ConditionType::Exact), good);
        assert_eq!(status.alive, Some(2));
    }

    #[test]
    fn a_worker_without_landlock_or_with_a_fault_is_named() {
        let fault = "exp16 of 3f800000 gives 402df855, not 402df854";
        let status = shown(&[
            worker("acme", "one", true, None),
            worker("acme", "two", false, None),
            worker("acme", "three", true, Some(fault)),
        ]);
        let (truth, reason, message) = condition(&status, ConditionType::RunsKernels);
        assert_eq!((truth, reason), ("False", Reason::NotConfined.as_str()));
        assert!(message.starts_with("1 of 3 workers have no Landlock") && message.ends_with(": two"), "{message}");
        let (truth, reason, message) = condition(&status, ConditionType::Exact);
        assert_eq!((truth, reason), ("False", Reason::DeviceInexact.as_str()));
        assert!(message.starts_with("1 of 3 workers ") && message.ends_with(&format!("three: {fault}")), "{message}");
        let faults: Vec<Option<&str>> = status.workers.iter().map(|worker| worker.fault.as_deref()).collect();
        assert_eq!(faults, [None, None, Some(fault)]);
    }
}
