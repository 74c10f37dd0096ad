//! Workers, validators and the platform's worker: they take leases from their queue, hold them for a while, and answer with
//! real signed statements, honest or not. They know nothing but what is in the lease and in the buckets.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use orion_core::WorkerId;
use orion_protocol::merkle::{self, Sha3};
use orion_protocol::messages::{Alive, Answer, AnswerBody, Beat, Committed, Manifest, Message, Role, TaskBody};
use orion_protocol::sign::Signed;
use orion_protocol::statements::{
    Aggregated, Commitment, Failed, Found, Ingested, LeaseCore, LeaseKind, Preflighted, ResultObject, UnitDigest, Vote,
};
use orion_protocol::task::{TaskSpec, unit_salt};
use orion_protocol::{ChainId, Digest, Name, Reason, Refusal, SecretKey};

use crate::truth::{self, Habit};

/// A lease as it lies in a queue.
#[derive(Clone)]
pub struct Task {
    pub lease: Signed<LeaseCore>,
    pub core: LeaseCore,
    pub digest: Digest,
    pub deadline_ms: u64,
    pub salt: Option<Digest>,
    pub uid: Name,
    pub body: TaskBody,
}

/// A process with its queue; the queue outlives the process.
pub struct Actor {
    pub id: WorkerId,
    pub role: Role,
    pub secret: SecretKey,
    pub slots: u32,
    pub habit: Habit,
    /// Whether users' kernels are kept from the provider's files.
    pub confined: bool,
    pub up: bool,
    pub incarnation: u32,
    pub queue: VecDeque<Task>,
    pub holding: BTreeMap<Digest, Task>,
}

/// The buckets.
#[derive(Default)]
pub struct Buckets {
    /// What the platform gives out.
    pub given: BTreeMap<Digest, Vec<u8>>,
    /// What each provider stored.
    pub out: BTreeMap<Name, BTreeMap<Digest, Vec<u8>>>,
    /// What was ingested.
    pub held: BTreeMap<Digest, Vec<u8>>,
    /// Final files.
    pub results: BTreeSet<Digest>,
}

/// What actors and invariants look at.
pub struct Facts<'a> {
    pub chain: &'a ChainId,
    pub buckets: &'a mut Buckets,
    /// By task digest.
    pub tasks: &'a BTreeMap<Digest, TaskSpec>,
    /// Workloads whose kernel fails everywhere.
    pub faulty: &'a BTreeSet<Digest>,
    /// Units in which a commitment is wrong, by its digest.
    pub lies: &'a mut BTreeMap<Digest, BTreeSet<u64>>,
    /// Nanoseconds that a unit takes.
    pub unit_nanos: u64,
}

impl Actor {
    /// Its heartbeat.
    pub fn beat(&self) -> Beat {
        Beat::Alive(Alive {
            role: self.role,
            class: Digest::of(b"class"),
            driver: "simulated".into(),
            slots: self.slots,
            leases: self.holding.values().map(|task| task.lease.clone()).collect(),
            version: "0".into(),
            kernels: self.confined,
            fault: None,
        })
    }

    /// What it answers; nothing where it is silent.
    pub fn answer(&self, task: &Task, facts: &mut Facts<'_>) -> Option<Answer> {
        let body = match (self.habit, task.core.kind) {
            (Habit::Silent, _) => return None,
            (Habit::Refuse, _) => self.failed(task, facts, Reason::LeaseRefused),
            (Habit::ClaimFault, _) => self.failed(task, facts, Reason::KernelFault),
            (Habit::Garbage, _) => self.garbage(task, facts),
            (_, LeaseKind::Preflight) => self.preflighted(task, facts),
            (_, LeaseKind::Work) => self.commit(task, facts)?,
            (_, LeaseKind::Audit | LeaseKind::Referee) => self.vote(task, facts)?,
            (_, LeaseKind::Ingest) => self.ingest(task, facts),
            (_, LeaseKind::Aggregate) => self.aggregate(task, facts),
        };
        Some(Answer { lease: task.lease.clone(), body })
    }

    fn sign<T: orion_protocol::Statement>(&self, facts: &Facts<'_>, value: &T) -> Signed<T> {
        Signed::new(facts.chain, &self.secret, value)
    }

    fn failed(&self, task: &Task, facts: &Facts<'_>, reason: Reason) -> AnswerBody {
        let refusal = Refusal::new(reason, "simulated");
        AnswerBody::Failed(self.sign(facts, &Failed { lease: task.digest, refusal }))
    }

    /// Well signed, and about nothing.
    fn garbage(&self, task: &Task, facts: &Facts<'_>) -> AnswerBody {
        let nothing = Digest::of(b"nothing");
        if task.core.kind == LeaseKind::Work {
            let commitment = Commitment {
                lease: nothing,
                units: task.core.units,
                root: nothing,
                outputs: vec![],
                digest_list: nothing,
                class: nothing,
                driver: String::new(),
            };
            return AnswerBody::Committed(self.sign(facts, &commitment));
        }
        let units = vec![UnitDigest { unit: u64::MAX, digest: nothing }];
        AnswerBody::Voted(self.sign(facts, &Vote { round: nothing, lease: nothing, units, class: nothing, task: None }))
    }

    fn preflighted(&self, task: &Task, facts: &Facts<'_>) -> AnswerBody {
        let TaskBody::Preflight(trial) = &task.body else { unreachable!("a preflight carries its trial") };
        let found = Found {
            unit_nanos: facts.unit_nanos,
            work_per_item: trial.units.work_per_item,
            outputs: trial.outputs.clone(),
            load_nanos: facts.unit_nanos,
        };
        let said = Preflighted { lease: task.digest, found: Some(found), refused: None };
        AnswerBody::Preflighted(self.sign(facts, &said))
    }

    fn commit(&self, task: &Task, facts: &mut Facts<'_>) -> Option<AnswerBody> {
        let spec = facts.tasks.get(&task.core.task)?;
        if facts.faulty.contains(&spec.workload) {
            return Some(self.failed(task, facts, truth::fault(&spec.workload)));
        }
        let (first, count) = (task.core.first_unit, task.core.units);
        let tag = |unit| self.habit.tag(&task.core.provider, unit, &spec.units);
        let rows: Vec<u8> =
            (first..first + count).flat_map(|unit| truth::rows(&spec.workload, unit, tag(unit))).collect();
        let digests: Vec<Digest> =
            (first..first + count).map(|unit| truth::digest(&task.core.task, spec, unit, tag(unit))).collect();
        let list: Vec<u8> = digests.iter().flat_map(|digest| digest.0).collect();
        let mut root = root(&task.salt?, first, &digests);
        if self.habit == Habit::Mismatch {
            root = Digest::of(b"another root");
        }
        let commitment = Commitment {
            lease: task.digest,
            units: count,
            root,
            outputs: vec![Digest::of(&rows)],
            digest_list: Digest::of(&list),
            class: Digest::of(b"class"),
            driver: "simulated".into(),
        };
        let lies = (first..first + count).filter(|unit| tag(*unit) != 0).collect();
        let signed = self.sign(facts, &commitment);
        facts.lies.insert(signed.digest(facts.chain), lies);
        if self.habit != Habit::Withhold {
            let out = facts.buckets.out.entry(self.id.provider.clone()).or_default();
            out.insert(commitment.outputs[0], rows);
            out.insert(commitment.digest_list, list);
        }
        Some(AnswerBody::Committed(signed))
    }

    fn vote(&self, task: &Task, facts: &Facts<'_>) -> Option<AnswerBody> {
        let spec = facts.tasks.get(&task.core.task)?;
        if facts.faulty.contains(&spec.workload) {
            return Some(self.failed(task, facts, truth::fault(&spec.workload)));
        }
        let audit = task.core.audit.as_ref()?;
        let said = |unit: &u64| UnitDigest {
            unit: *unit,
            digest: truth::digest(
                &task.core.task,
                spec,
                *unit,
                self.habit.tag(&task.core.provider, *unit, &spec.units),
            ),
        };
        let units = audit.units.iter().map(said).collect();
        let (class, task) = (Digest::of(b"class"), Some(task.core.task));
        let vote = Vote { round: audit.round, lease: audit.lease, units, class, task };
        Some(AnswerBody::Voted(self.sign(facts, &vote)))
    }

    fn ingest(&self, task: &Task, facts: &mut Facts<'_>) -> AnswerBody {
        let TaskBody::Ingest(Committed { provider, lease: _, commitment }) = &task.body else {
            return self.failed(task, facts, Reason::LeaseRefused);
        };
        let digest = commitment.digest(facts.chain);
        let refused = Actor::fetch(task, provider, commitment, facts).err().map(|why| Refusal::new(why, "simulated"));
        AnswerBody::Ingested(self.sign(facts, &Ingested { commitment: digest, refused }))
    }

    fn fetch(
        task: &Task,
        provider: &Name,
        commitment: &Signed<Commitment>,
        facts: &mut Facts<'_>,
    ) -> Result<(), Reason> {
        let said = commitment.verify(facts.chain, &commitment.key()).map_err(|_| Reason::OutputMismatch)?;
        let empty = BTreeMap::new();
        let out = facts.buckets.out.get(provider).unwrap_or(&empty);
        let objects: Vec<(Digest, Vec<u8>)> = said
            .outputs
            .iter()
            .chain([&said.digest_list])
            .map(|digest| Some((*digest, out.get(digest)?.clone())))
            .collect::<Option<_>>()
            .ok_or(Reason::OutputUnavailable)?;
        let list = &objects.last().ok_or(Reason::OutputMismatch)?.1;
        let digests: Vec<Digest> = list.as_chunks::<32>().0.iter().map(|digest| Digest(*digest)).collect();
        if root(&task.salt.ok_or(Reason::LeaseRefused)?, task.core.first_unit, &digests) != said.root {
            return Err(Reason::OutputMismatch);
        }
        facts.buckets.held.extend(objects);
        Ok(())
    }

    fn aggregate(&self, task: &Task, facts: &mut Facts<'_>) -> AnswerBody {
        let TaskBody::Aggregate(manifest) = &task.body else {
            return self.failed(task, facts, Reason::LeaseRefused);
        };
        let file = self.file(manifest, facts);
        let (results, refused) = match file {
            Some(file) => {
                let digest = Digest::of(&file);
                facts.buckets.results.insert(digest);
                let name = "out".parse().unwrap();
                (vec![ResultObject { name, digest, size: file.len() as u64, extract: None, entries: None }], None)
            }
            None => (vec![], Some(Refusal::new(Reason::AggregationFailed, "an object is missing"))),
        };
        AnswerBody::Aggregated(self.sign(facts, &Aggregated { lease: task.digest, results, refused }))
    }

    fn file(&self, manifest: &Digest, facts: &Facts<'_>) -> Option<Vec<u8>> {
        if self.habit == Habit::Withhold {
            return None;
        }
        let manifest = Manifest::from_bytes(facts.buckets.given.get(manifest)?).ok()?;
        let mut file = Vec::new();
        for output in manifest.shards.iter().flatten() {
            file.extend(facts.buckets.held.get(output)?);
        }
        Some(file)
    }
}

fn root(salt: &Digest, first: u64, digests: &[Digest]) -> Digest {
    let leaf = |(unit, digest)| Sha3::unit_leaf(&unit_salt(salt, unit), unit, digest);
    let leaves: Vec<[u8; 32]> = (first..).zip(digests).map(leaf).collect();
    Digest(merkle::root::<Sha3>(&leaves))
}
