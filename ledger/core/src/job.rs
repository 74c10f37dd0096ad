//! What the ledger knows of a job: its task, rounds, verdicts, and who is owed what. Read by views and reports; only the
//! rules change it. The encodings are those of a snapshot, and are nowhere signed or logged.

use std::collections::BTreeMap;
use std::sync::Arc;

use minicbor::{Decode, Encode};
use orion_protocol::ledger::api::{EntryVerdict, JobPhase, JobView, Paid, RoundView, SealRef};
use orion_protocol::ledger::tx::CloseRound;
use orion_protocol::statements::{Commitment, LeaseCore};
use orion_protocol::task::TaskSpec;
use orion_protocol::{AccountId, Digest, PublicKey};

use crate::snapshot::{pairs, shares};

/// A job with an escrow.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Job {
    /// The task.
    #[n(0)]
    pub spec: TaskSpec,
    /// Its digest.
    #[n(1)]
    pub task: Digest,
    /// Who pays.
    #[n(2)]
    pub consumer: AccountId,
    /// Locked at first and since, in micro-credits.
    #[n(3)]
    pub escrowed: u64,
    /// In block time.
    #[n(4)]
    pub deadline_ms: u64,
    /// How far it is.
    #[n(5)]
    pub phase: JobPhase,
    /// Closed rounds, in order.
    #[n(6)]
    pub rounds: Vec<Round>,
    /// RecordVerdicts so far.
    #[n(7)]
    pub verdicts: u64,
    /// By shard; a shard that was never in a round is not there.
    #[cbor(n(8), with = "pairs")]
    pub slots: BTreeMap<u32, Slot>,
    /// Accepted work, by commitment digest.
    #[cbor(n(9), with = "pairs")]
    pub workers: BTreeMap<Digest, Contribution>,
    /// Votes that the verdict upheld, by the vote's digest.
    #[cbor(n(10), with = "pairs")]
    pub validators: BTreeMap<Digest, Contribution>,
    /// Fixed with page 0.
    #[n(11)]
    pub settlement: Option<Settlement>,
    /// Paid so far.
    #[n(12)]
    pub paid: Paid,
    /// What was taken back of pay that was pending, in micro-credits, by slashes. Whoever takes the job out of the chain when it ended
    /// does not learn of later ones, nor a start from a snapshot that says none; no rule reads it.
    #[cbor(n(13), with = "pairs", skip_if = "BTreeMap::is_empty")]
    pub taken_back: BTreeMap<PublicKey, u64>,
}

/// A shard's work slot: paid at most once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Slot {
    /// In a round that is not judged.
    #[n(0)]
    pub open: bool,
    /// Has an accepted verdict.
    #[n(1)]
    pub accepted: bool,
    /// Judged attempts.
    #[n(2)]
    pub judged: u32,
    /// The highest judged attempt; only higher ones may follow.
    #[n(3)]
    pub fence: u32,
}

/// Something that is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Contribution {
    /// To whom.
    #[n(0)]
    pub provider: PublicKey,
    /// How much work it was.
    #[n(1)]
    pub work: u64,
}

/// A closed round.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Round {
    /// Its id.
    #[n(0)]
    pub id: Digest,
    /// As submitted.
    #[n(1)]
    pub closed: CloseRound,
    /// What seeds the draw; absent until the block is sealed.
    #[n(2)]
    pub drawn: Option<Drawn>,
    /// The entries, verified and unpacked, in the order of `closed`.
    #[n(3)]
    pub entries: Vec<Entry>,
}

/// What a round's draw hangs on.
#[derive(Clone, Copy, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Drawn {
    /// The seal of the CloseRound's block.
    #[n(0)]
    pub seal: SealRef,
    /// The seed.
    #[n(1)]
    pub seed: Digest,
}

/// One commitment of a round.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Entry {
    /// The work lease.
    #[n(0)]
    pub lease: LeaseCore,
    /// Its digest.
    #[n(1)]
    pub lease_digest: Digest,
    /// The commitment.
    #[n(2)]
    pub commitment: Commitment,
    /// Its digest.
    #[n(3)]
    pub commitment_digest: Digest,
    /// Absent until judged.
    #[n(4)]
    pub verdict: Option<Verdict>,
}

/// What came of one commitment.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Verdict {
    /// Whether every drawn unit was right.
    #[n(0)]
    pub accepted: bool,
    /// Drawn units in the order drawn, each with whether the committed digest was right.
    #[n(1)]
    pub drawn: Vec<(u64, bool)>,
    /// Who voted, ascending by key; the platform too, where it came last in the order.
    #[n(2)]
    pub auditors: Vec<Auditor>,
    /// Units that the referee re-ran; empty without a dispute.
    #[n(3)]
    pub refereed: Vec<u64>,
}

/// A vote as it was judged.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Auditor {
    /// Whose.
    #[n(0)]
    pub key: PublicKey,
    /// On which units, ascending.
    #[n(1)]
    pub units: Vec<u64>,
    /// Whether every digest is the final one.
    #[n(2)]
    pub upheld: bool,
    /// Whether it counts as a paid contribution: upheld, and not the platform's.
    #[n(3)]
    pub paid: bool,
}

/// What a settlement pays, fixed with page 0.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Settlement {
    /// Workers first, then validators, each by contribution id.
    #[cbor(n(0), with = "shares")]
    pub shares: Arc<[Share]>,
    /// The platform's fee.
    #[n(1)]
    pub fee: u64,
    /// Pages done.
    #[n(2)]
    pub done: u64,
}

/// One contribution's pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Share {
    /// To whom.
    #[n(0)]
    pub provider: PublicKey,
    /// For auditing, not for computing.
    #[n(1)]
    pub audit: bool,
    /// Micro-credits.
    #[n(2)]
    pub amount: u64,
}

/// Contributions a page: two transfers each.
pub const SHARES_A_PAGE: usize = orion_protocol::ledger::tx::MAX_TRANSFERS / 2;

impl Settlement {
    /// How many pages there are. The last one has room for the fee: exactly full pages are followed by one with the fee alone.
    pub fn pages(&self) -> u64 {
        (self.shares.len() / SHARES_A_PAGE) as u64 + 1
    }

    /// Whether all pages are paid.
    pub fn complete(&self) -> bool {
        self.done >= self.pages()
    }

    /// The shares of a page.
    pub fn page(&self, page: u64) -> &[Share] {
        let from = usize::try_from(page).unwrap_or(usize::MAX).saturating_mul(SHARES_A_PAGE).min(self.shares.len());
        let to = from.saturating_add(SHARES_A_PAGE).min(self.shares.len());
        &self.shares[from..to]
    }
}

impl Job {
    /// Whether its escrow is open.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, JobPhase::Open | JobPhase::Settling)
    }

    /// The view that the service gives.
    pub fn view(&self) -> JobView {
        let settled = self.settlement.as_ref();
        JobView {
            task: self.spec.clone(),
            consumer: self.consumer,
            phase: self.phase,
            escrowed: self.escrowed,
            deadline_ms: self.deadline_ms,
            rounds: self.rounds.iter().filter_map(Round::view).collect(),
            verdicts: self.verdicts,
            pages: settled.map_or((0, 0), |settled| (settled.done, settled.pages())),
            paid: self.paid,
        }
    }
}

impl Round {
    /// `None` before the block is sealed, which no caller outside a block ever sees.
    fn view(&self) -> Option<RoundView> {
        let verdicts = self.entries.iter().map(|entry| match &entry.verdict {
            None => EntryVerdict::Open,
            Some(verdict) if verdict.accepted => EntryVerdict::Accepted,
            Some(_) => EntryVerdict::Rejected,
        });
        let seal = self.drawn?.seal;
        Some(RoundView { round: self.id, closed: self.closed.clone(), seal, verdicts: verdicts.collect() })
    }

    /// Whether every entry has its verdict.
    pub fn judged(&self) -> bool {
        self.entries.iter().all(|entry| entry.verdict.is_some())
    }
}
