//! Answers to leases: stored once a lease, folded by the leader, purged once their outcome is in the ledger.

use orion_protocol::messages::{Answer, Message as _};
use orion_protocol::{Digest, Name, subjects};

use crate::connection::Broker;
use crate::error::Error;

/// How storing an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is stored, with this sequence.
    Now(u64),
    /// The lease has an answer already; the first one counts.
    Before,
}

impl Broker {
    /// Stores the answer to a lease. A lease takes one answer, whatever it says: the second one is refused by the broker.
    pub async fn publish_answer(
        &self,
        provider: &Name,
        worker: &Name,
        job: &Name,
        lease: &Digest,
        answer: &Answer,
    ) -> Result<Stored, Error> {
        let subject = subjects::commit(provider, worker, job, lease);
        match self.store(&subject, None, answer.to_bytes()).await {
            Ok(sequence) => Ok(Stored::Now(sequence)),
            Err(Error::Refused { description, .. }) if description.contains("per subject") => Ok(Stored::Before),
            Err(error) => Err(error),
        }
    }

    /// Drops the answer to one lease.
    pub async fn purge_answer(&self, provider: &Name, worker: &Name, job: &Name, lease: &Digest) -> Result<u64, Error> {
        let subject = subjects::commit(provider, worker, job, lease);
        self.purge(&subjects::commit_stream(provider), &subject).await
    }

    /// Drops whatever is stored under exactly this subject of a provider's answers, readable or not.
    pub async fn purge_answer_subject(&self, provider: &Name, subject: &str) -> Result<u64, Error> {
        self.purge(&subjects::commit_stream(provider), subject).await
    }

    /// Drops all answers of a provider about one job.
    pub async fn purge_job(&self, provider: &Name, job: &Name) -> Result<u64, Error> {
        self.purge(&subjects::commit_stream(provider), &subjects::commit_job(provider, job)).await
    }
}
