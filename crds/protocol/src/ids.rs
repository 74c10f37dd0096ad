//! Identities derived by hashing: chain, job, account, transaction. Names are for people, these are for machines.

use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::bytes::{fixed_bytes, hex};
use crate::cbor::{Part, frame_digest};
use crate::digest::Digest;
use crate::sign::PublicKey;

fixed_bytes!(
    /// A job: SHA3(frame("orion/job/v1", chain, uid of kube-system, uid of the OrionJob)); zero where there is no job.
    JobId, 32
);
fixed_bytes!(
    /// An account of the ledger: SHA3(frame("orion/account/v1", chain, kind, owner)).
    AccountId, 32
);
fixed_bytes!(
    /// A transaction's id, chosen by its signer and scoped to them: sending it again is harmless.
    TxId, 16
);

/// `orion-` and 32 hex digits of the genesis' digest; part of everything that is signed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChainId(String);

impl ChainId {
    /// The chain that starts with these genesis bytes.
    pub fn of_genesis(bytes: &[u8]) -> ChainId {
        ChainId(format!("orion-{}", hex(&Digest::of(bytes).0[..16])))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same in few bytes.
    pub(crate) fn bytes(&self) -> [u8; 16] {
        // Whoever makes one checks that these are hex digits.
        self.0.get(6..).and_then(|digits| crate::bytes::unhex(digits).ok()).unwrap_or_default()
    }

    /// The origin line of the log's checkpoints.
    pub fn log_origin(&self) -> String {
        format!("orion.dev/{}", self.0)
    }
}

impl std::fmt::Display for ChainId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl JobId {
    /// "No job".
    pub const NONE: JobId = JobId([0; 32]);

    /// The id of the OrionJob with uid `job` in the cluster whose kube-system namespace has uid `cluster`.
    pub fn derive(chain: &ChainId, cluster: &str, job: &str) -> JobId {
        JobId(frame_digest("orion/job/v1", &[Part::Text(chain.as_str()), Part::Text(cluster), Part::Text(job)]).0)
    }
}

/// Whose account, and of which kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account<'a> {
    /// Where deposits come from; the only account that may be overdrawn.
    Issuance,
    /// What a consumer may spend: one account for each namespace of a cluster.
    Consumer {
        /// Uid of the cluster's kube-system namespace.
        cluster: &'a str,
        /// The namespace.
        namespace: &'a str,
    },
    /// What a job has locked.
    Escrow(JobId),
    /// What a provider may withdraw.
    Available(PublicKey),
    /// What a provider has earned in one job and does not own yet.
    Vesting(PublicKey, JobId),
    /// The platform's fees.
    Treasury,
    /// What a provider has at stake.
    Stake(PublicKey),
    /// What a provider took back from its stake, and is not free yet.
    Unbonding(PublicKey),
    /// What was lost by those who were slashed.
    SlashPool,
}

impl Account<'_> {
    /// The account's id on `chain`.
    pub fn id(&self, chain: &ChainId) -> AccountId {
        let id = |kind: &str, owner: &[Part<'_>]| {
            let parts = [Part::Text(chain.as_str()), Part::Text(kind), Part::List(owner)];
            AccountId(frame_digest("orion/account/v1", &parts).0)
        };
        match self {
            Account::Issuance => id("issuance", &[]),
            Account::Consumer { cluster, namespace } => {
                id("consumer.available", &[Part::Text(cluster), Part::Text(namespace)])
            }
            Account::Escrow(job) => id("escrow", &[Part::Bytes(&job.0)]),
            Account::Available(key) => id("provider.available", &[Part::Bytes(&key.0)]),
            Account::Vesting(key, job) => id("provider.vesting", &[Part::Bytes(&key.0), Part::Bytes(&job.0)]),
            Account::Treasury => id("treasury", &[]),
            Account::Stake(key) => id("provider.stake", &[Part::Bytes(&key.0)]),
            Account::Unbonding(key) => id("provider.unbonding", &[Part::Bytes(&key.0)]),
            Account::SlashPool => id("slash_pool", &[]),
        }
    }
}

impl TxId {
    /// SHA3(frame("orion/id/v1", kind, job, sequence, try))[..16].
    pub fn derive(kind: &str, job: &JobId, sequence: u64, attempt: u64) -> TxId {
        let parts = [Part::Text(kind), Part::Bytes(&job.0), Part::U64(sequence), Part::U64(attempt)];
        let mut id = [0; 16];
        id.copy_from_slice(&frame_digest("orion/id/v1", &parts).0[..16]);
        TxId(id)
    }
}

/// The digest that stands in a preflight lease where later leases carry the task digest.
pub fn preflight_digest(job: &JobId, workload: &Digest, inputs: &[Digest]) -> Digest {
    let inputs: Vec<Part<'_>> = inputs.iter().map(|digest| Part::Bytes(&digest.0)).collect();
    let parts = [Part::Bytes(&job.0), Part::Bytes(&workload.0), Part::List(&inputs)];
    frame_digest("orion/preflight/v1", &parts)
}

/// The digest that stands in an aggregation lease: the task, and the manifest of what is to be put together.
pub fn aggregate_digest(task: &Digest, manifest: &Digest) -> Digest {
    frame_digest("orion/aggregate/v1", &[Part::Bytes(&task.0), Part::Bytes(&manifest.0)])
}

/// The id of what an envelope reserves.
pub fn reserve_id(signer: &PublicKey, id: &TxId) -> Digest {
    frame_digest("orion/reserve/v1", &[Part::Bytes(&signer.0), Part::Bytes(&id.0)])
}

/// The id of a stake that was taken back by an envelope.
pub fn unbonding_id(signer: &PublicKey, id: &TxId) -> Digest {
    frame_digest("orion/unbonding/v1", &[Part::Bytes(&signer.0), Part::Bytes(&id.0)])
}

/// What an approval is about: one transaction within one envelope. Ids are scoped to their signer, so the signer is part of it;
/// else each issuer could send the same approvals once more.
pub fn action_digest(signer: &PublicKey, id: &TxId, inner: &[u8]) -> Digest {
    frame_digest("orion/action/v1", &[Part::Bytes(&signer.0), Part::Bytes(&id.0), Part::Bytes(inner)])
}

impl<C> Encode<C> for ChainId {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for ChainId {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let text = d.str()?;
        let good = text.strip_prefix("orion-").is_some_and(|rest| crate::bytes::unhex::<16>(rest).is_ok());
        if good { Ok(ChainId(text.to_owned())) } else { Err(minicbor::decode::Error::message("not a chain id")) }
    }
}
