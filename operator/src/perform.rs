//! Doing what the core wants done. Each effect is complete, so nothing is chosen here: it is signed, sent, repeated until it
//! is done or the leadership ends, and the outcome goes back to the core as a fact.

use std::sync::Arc;
use std::time::Duration;

use orion_core::{DrawnOf, Effect, Input, LeaseOrder, ProviderInfo, WorkerId};
use orion_protocol::ledger::tx::OpenEscrow;
use orion_protocol::ledger::{Code, Transaction};
use orion_protocol::messages::Task;
use orion_protocol::sign::{Signed, statement_digest};
use orion_protocol::statements::LeaseTail;
use orion_protocol::subjects::BUCKET_HELD;
use orion_protocol::{Digest, JobId, Name, TxId};
use tokio::sync::{mpsc, watch};

use crate::clock;
use crate::edges::Edges;
use crate::epoch::Epoch;
use crate::intake;
use crate::job::Chain;

/// First and longest pause between repeats.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// Performs effects for one leadership.
#[derive(Clone)]
pub struct Performer {
    /// The outside world.
    pub edges: Arc<Edges>,
    /// Back to the core.
    pub inputs: mpsc::Sender<Input>,
    /// Who has streams.
    pub providers: watch::Receiver<Vec<ProviderInfo>>,
    /// The epoch that transactions are signed with, and leases.
    pub epoch: Arc<Epoch>,
}

impl Performer {
    /// Does what an effect says; `StatusChanged` and `Contradiction` are not for here. Dropping the future gives it up.
    pub async fn perform(self, effect: Effect) {
        let input = match effect {
            Effect::Store(job, object) => self.store(job, &object).await,
            Effect::Lease(order) => return self.lease(*order).await,
            Effect::Submit(job, id, transaction) => self.submit(job, id, &transaction).await,
            Effect::Fund(job, id, open, need) => self.fund(job, id, *open, need).await,
            Effect::Query(job) => self.query(job).await,
            Effect::ReadDigests(wanted) => self.digests(*wanted).await,
            Effect::EnsureConsumer(worker) => self.consumer(worker).await,
            Effect::Release { job, uid, held } => {
                self.release(&uid, &held).await;
                Some(Input::Released(job))
            }
            Effect::StatusChanged(_) | Effect::Contradiction(_) => None,
        };
        if let Some(input) = input {
            // The core goes only with the leadership.
            let _ = self.inputs.send(input).await;
        }
    }

    /// Repeats `attempt` until it succeeds; `None` when the leadership ends first.
    async fn until<T, E, F>(&self, what: &str, attempt: impl Fn() -> F) -> Option<T>
    where
        E: std::error::Error,
        F: Future<Output = Result<T, E>>,
    {
        let mut pause = PAUSES.0;
        while self.edges.guard.holds() {
            match attempt().await {
                Ok(value) => return Some(value),
                Err(error) => tracing::warn!(error = %Chain(&error), "{what} is tried again"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
        None
    }

    async fn store(&self, job: JobId, object: &[u8]) -> Option<Input> {
        let digest = self.until("storing an object", || intake::store(&self.edges, object)).await?;
        Some(Input::Stored(job, digest))
    }

    /// A lease that cannot be sent before its deadline is not sent: the core sees it expire.
    async fn lease(&self, order: LeaseOrder) {
        let LeaseOrder { job: _, uid, provider, core, deadline_ms, salt, body } = order;
        let (chain, key) = (&self.edges.identity.chain, &self.edges.identity.key);
        let digest = statement_digest(chain, &core);
        let tail = LeaseTail { lease: digest, deadline_ms, salt };
        let worker = core.worker.clone();
        let lease = Signed::new(chain, key, &core);
        let task =
            Task { lease, tail: Signed::new(chain, key, &tail), job_uid: uid, body, opened: self.epoch.opened.clone() };
        let send = self.until("sending a lease", || self.edges.broker.publish_task(&provider, &worker, &digest, &task));
        let left = Duration::from_millis(deadline_ms.saturating_sub(clock::now_ms()));
        if tokio::time::timeout(left, send).await.is_err() {
            tracing::warn!(%provider, %worker, "a lease was not sent before its deadline");
        }
    }

    async fn submit(&self, job: JobId, id: TxId, transaction: &Transaction) -> Option<Input> {
        let identity = &self.edges.identity;
        let envelope = transaction.sign(&identity.chain, &identity.key, self.epoch.number, id);
        let answer = self.edges.ledger.submit(&envelope).await;
        if let Ok(outcome) = &answer {
            self.edges.metrics.transaction(transaction.kind(), outcome.receipt.code);
        }
        match answer {
            Ok(outcome) if outcome.receipt.code == Code::StaleEpoch => {
                tracing::warn!("the ledger knows a later leader");
                self.edges.guard.depose();
                None
            }
            Ok(outcome) => {
                let (kind, code) = (transaction.kind(), outcome.receipt.code);
                tracing::info!(%job, kind, %code, leaf = outcome.leaf, "the ledger has a transaction");
                Some(Input::Submitted(job, id, Box::new(outcome)))
            }
            Err(error) => {
                tracing::error!(%job, kind = transaction.kind(), error = %Chain(&error), "a transaction cannot be ordered");
                None
            }
        }
    }

    async fn fund(&self, job: JobId, id: TxId, open: OpenEscrow, need: u64) -> Option<Input> {
        let account = open.consumer.account;
        let balance = self.until("asking the ledger for an account", || self.edges.ledger.balance(&account)).await?;
        if balance < need {
            return Some(Input::Short(job, id));
        }
        self.submit(job, id, &Transaction::OpenEscrow(open)).await
    }

    async fn query(&self, job: JobId) -> Option<Input> {
        let seen = self.until("asking the ledger for a job", || self.edges.ledger.job(&job)).await?;
        Some(Input::Ledger(job, seen))
    }

    /// One attempt: the core asks again while it needs it.
    async fn digests(&self, wanted: DrawnOf) -> Option<Input> {
        let (job, lease) = (wanted.job, wanted.lease);
        let bytes = match self.edges.broker.get(BUCKET_HELD, &wanted.object, wanted.units.1.saturating_mul(32)).await {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(%job, error = %Chain(&error), "a digest list was not read");
                return None;
            }
        };
        let prove = move || {
            let digests: Vec<Digest> = bytes.as_chunks::<32>().0.iter().map(|digest| Digest(*digest)).collect();
            wanted.prove(&digests)
        };
        let Ok(Some(drawn)) = tokio::task::spawn_blocking(prove).await else {
            tracing::error!(%job, %lease, "a digest list that was ingested is not the one under its root");
            return None;
        };
        Some(Input::Digests(job, lease, drawn))
    }

    async fn consumer(&self, id: WorkerId) -> Option<Input> {
        let WorkerId { provider, worker } = &id;
        self.until("making a worker's consumer", || self.edges.broker.ensure_consumer(provider, worker)).await?;
        Some(Input::ConsumerReady(id))
    }

    /// What is left of a job on the broker; what fails here is dropped by age later.
    async fn release(&self, uid: &Name, held: &[Digest]) {
        let providers = self.providers.borrow().clone();
        for provider in providers.iter().map(|provider| &provider.name) {
            if !self.edges.guard.holds() {
                return;
            }
            if let Err(error) = self.edges.broker.purge_job(provider, uid).await {
                tracing::warn!(%provider, job = %uid, error = %Chain(&error), "answers were not purged");
            }
        }
        for digest in held {
            if !self.edges.guard.holds() {
                return;
            }
            if let Err(error) = self.edges.broker.delete(BUCKET_HELD, digest).await {
                tracing::debug!(%digest, error = %Chain(&error), "a held object was not deleted");
            }
        }
    }
}
