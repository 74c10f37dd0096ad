//! Shards and ValidationRounds of a job: which are to be made, finished, deleted. Each is written at most three times.
//!
//! The plan is pure; [`Write`] says all that the API server must be told.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;
use orion_core::{JobStatus, RoundStatus as CoreRound, ShardOutcome, ShardStatus as CoreShard};
use orion_crds::round::{RoundSeal, RoundShard, Tallies, Verdict};
use orion_crds::{
    ConditionType, IndexSet, RoundStatus, Shard, ShardSpec, ShardStatus, Truth, ValidationRound, ValidationRoundSpec,
    names, set_condition,
};
use orion_protocol::{Reason, Refusal};

/// Of which job.
#[derive(Clone, Debug)]
pub struct Parent {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// One write to the API server.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Make a shard.
    CreateShard(Box<Shard>),
    /// Write its one terminal status.
    FinishShard(String, Box<ShardStatus>),
    /// It is folded into the job's status.
    DeleteShard(String),
    /// Make a round.
    CreateRound(Box<ValidationRound>),
    /// Write its one terminal status.
    FinishRound(String, Box<RoundStatus>),
    /// It is no longer shown.
    DeleteRound(String),
}

/// Children that exist, by name, and whether they have their terminal status.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Shards.
    pub shards: BTreeMap<String, bool>,
    /// Rounds.
    pub rounds: BTreeMap<String, bool>,
}

/// What is to be written so that the children are as `status` says.
pub fn plan(parent: &Parent, status: &JobStatus, known: &Known, now: Timestamp) -> Vec<Write> {
    let mut writes = Vec::new();
    let mut shown = BTreeSet::new();
    for shard in &status.window {
        let name = names::shard(&parent.name, &parent.uid, shard.index);
        let finished = shard_status(parent, shard, now);
        match (known.shards.get(&name), finished) {
            // One that came and went between two looks is made with its end, in two writes.
            (None, finished) => {
                writes.push(Write::CreateShard(Box::new(make_shard(parent, &name, shard))));
                writes.extend(finished.map(|status| Write::FinishShard(name.clone(), Box::new(status))));
            }
            (Some(false), Some(status)) => writes.push(Write::FinishShard(name.clone(), Box::new(status))),
            (Some(_), _) => {}
        }
        shown.insert(name);
    }
    let gone = known.shards.keys().filter(|name| !shown.contains(*name));
    writes.extend(gone.map(|name| Write::DeleteShard(name.clone())));
    plan_rounds(parent, status, known, now, &mut writes);
    writes
}

fn plan_rounds(parent: &Parent, status: &JobStatus, known: &Known, now: Timestamp, writes: &mut Vec<Write>) {
    let mut shown = BTreeSet::new();
    for round in &status.rounds {
        let name = names::round(&parent.name, &parent.uid, round.sequence);
        if !known.rounds.contains_key(&name) {
            writes.push(Write::CreateRound(Box::new(make_round(parent, &name, round))));
        }
        if round.is_judged() && !known.rounds.get(&name).copied().unwrap_or_default() {
            writes.push(Write::FinishRound(name.clone(), Box::new(round_status(round, now))));
        }
        shown.insert(name);
    }
    let gone = known.rounds.keys().filter(|name| !shown.contains(*name));
    writes.extend(gone.map(|name| Write::DeleteRound(name.clone())));
}

impl Known {
    /// A write was done.
    pub fn done(&mut self, write: &Write) {
        match write {
            Write::CreateShard(shard) => {
                self.shards.entry(shard.metadata.name.clone().unwrap_or_default()).or_insert(false);
            }
            Write::FinishShard(name, _) => {
                self.shards.insert(name.clone(), true);
            }
            Write::DeleteShard(name) => {
                self.shards.remove(name);
            }
            Write::CreateRound(round) => {
                self.rounds.entry(round.metadata.name.clone().unwrap_or_default()).or_insert(false);
            }
            Write::FinishRound(name, _) => {
                self.rounds.insert(name.clone(), true);
            }
            Write::DeleteRound(name) => {
                self.rounds.remove(name);
            }
        }
    }
}

fn metadata(parent: &Parent, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(parent.namespace.clone()),
        labels: Some(BTreeMap::from([
            (names::LABEL_JOB_UID.to_owned(), parent.uid.clone()),
            ("app.kubernetes.io/managed-by".to_owned(), names::MANAGER.to_owned()),
        ])),
        owner_references: Some(vec![OwnerReference {
            api_version: format!("{}/{}", orion_crds::GROUP, orion_crds::VERSION),
            kind: "OrionJob".to_owned(),
            name: parent.name.clone(),
            uid: parent.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(false),
        }]),
        ..ObjectMeta::default()
    }
}

fn make_shard(parent: &Parent, name: &str, shard: &CoreShard) -> Shard {
    Shard {
        metadata: metadata(parent, name),
        spec: ShardSpec {
            job: parent.name.clone(),
            index: shard.index,
            first_unit: shard.units.0,
            units: shard.units.1,
        },
        status: None,
    }
}

fn shard_status(parent: &Parent, shard: &CoreShard, now: Timestamp) -> Option<ShardStatus> {
    let mut status = ShardStatus { observed_generation: Some(1), ..ShardStatus::default() };
    let mut set = |truth, reason, message: &str, of| {
        set_condition(&mut status.conditions, of, truth, reason, message, Some(1), now);
    };
    match &shard.outcome {
        ShardOutcome::Open => return None,
        ShardOutcome::Accepted(worker, attempt, round) => {
            set(Truth::True, Reason::Accepted, "", ConditionType::Succeeded);
            status.provider = Some(worker.provider.to_string());
            status.worker = Some(worker.worker.to_string());
            status.attempt = Some(*attempt);
            status.round = Some(names::round(&parent.name, &parent.uid, *round));
        }
        ShardOutcome::Failed(Refusal { reason, message }) => {
            set(Truth::False, *reason, message, ConditionType::Succeeded);
            set(Truth::True, *reason, message, ConditionType::Stalled);
        }
    }
    Some(status)
}

fn make_round(parent: &Parent, name: &str, round: &CoreRound) -> ValidationRound {
    let shards = round.entries.iter().map(|entry| RoundShard {
        index: entry.shard,
        attempt: entry.attempt,
        provider: entry.provider.to_string(),
        commitment: entry.commitment.to_string(),
    });
    ValidationRound {
        metadata: metadata(parent, name),
        spec: ValidationRoundSpec {
            job: parent.name.clone(),
            sequence: round.sequence,
            round_id: round.id.to_string(),
            shards: shards.collect(),
        },
        status: None,
    }
}

fn round_status(round: &CoreRound, now: Timestamp) -> RoundStatus {
    let mut status = RoundStatus { observed_generation: Some(1), ..RoundStatus::default() };
    let reason = Reason::Accepted;
    set_condition(&mut status.conditions, ConditionType::Succeeded, Truth::True, reason, "", Some(1), now);
    let judged = round.entries.iter().filter_map(|entry| Some((entry, entry.verdict?)));
    let count = |truth: &dyn Fn(bool, bool) -> bool| {
        let hits = judged.clone().filter(|(_, verdict)| truth(verdict.accepted, verdict.disputed)).count();
        u32::try_from(hits).unwrap_or(u32::MAX)
    };
    status.tallies = Some(Tallies {
        units: round.entries.iter().map(|entry| u32::try_from(entry.drawn.len()).unwrap_or(u32::MAX)).sum(),
        votes: round.votes.0,
        absent: round.votes.1,
        disputed: count(&|_, disputed| disputed),
        accepted: count(&|accepted, _| accepted),
        rejected: count(&|accepted, _| !accepted),
    });
    status.verdicts = judged
        .clone()
        .map(|(entry, verdict)| Verdict {
            index: entry.shard,
            accepted: verdict.accepted,
            disputed: verdict.disputed,
            drawn: entry.drawn.iter().filter_map(|unit| u32::try_from(*unit).ok()).collect::<IndexSet>().to_text(512).0,
            leaf: verdict.leaf,
        })
        .collect();
    status.seal =
        Some(RoundSeal { height: round.seal.height, size: round.seal.size, root: round.seal.root.to_string() });
    status
}
