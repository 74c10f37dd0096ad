//! A chain after a seal as bytes, so that a start needs only the leaves after it: `frame("orion/ledger-snapshot/v1", ...)` over
//! the last seal, the tree's edge and the state. Chains that took the same leaves give the same bytes, whatever was taken out of
//! them: of jobs that ended only the phase is in it, and no ids of transactions ([`crate::recall`]).
//!
//! It is a note to oneself. Restoring checks that it fits the seal and that its sums hold, not that it follows from the log:
//! whoever keeps one keeps its digest with the log, and whoever doubts replays.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use orion_protocol::bytes::Name;
use orion_protocol::ledger::Genesis;
use orion_protocol::ledger::api::{JobPhase, SealRef};
use orion_protocol::ledger::leaf::Totals;
use orion_protocol::ledger::tx::{Issuers, Policy};
use orion_protocol::merkle::{Sha256, Tree};
use orion_protocol::{AccountId, CborError, ChainId, Digest, JobId, PublicKey, cbor};

use crate::book::Book;
use crate::chain::Chain;
use crate::due::Due;
use crate::job::{Job, Round};
use crate::rows::{KeysRow, LiableRow, bind, keys_row, liable_row, some};
use crate::state::{Provider, Reserved, State, Vest};

const DOMAIN: &str = "orion/ledger-snapshot/v1";
/// No snapshot is longer, in bytes: it is held in memory three times while it is read.
pub const MAX_BYTES: usize = 1 << 30;

/// Why a snapshot is refused.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Not the canonical bytes of a snapshot of this version.
    #[error("cannot read the snapshot")]
    Unreadable(#[source] CborError),
    /// Of another format.
    #[error("the snapshot is a {0:?}, expected {DOMAIN:?}")]
    Format(String),
    /// Of another chain.
    #[error("the snapshot is of {have}, expected {want}")]
    OtherChain {
        /// In the snapshot.
        have: ChainId,
        /// Of the genesis.
        want: ChainId,
    },
    /// After another seal.
    #[error("the snapshot ends at {have:?}, expected {want:?}")]
    OtherSeal {
        /// In the snapshot.
        have: Box<SealRef>,
        /// Asked for.
        want: Box<SealRef>,
    },
    /// Its parts do not fit each other.
    #[error("the snapshot contradicts itself: {0}")]
    Contradiction(String),
}

/// What the bytes say.
#[derive(Encode, Decode)]
#[cbor(map)]
struct Image {
    #[n(0)]
    chain: ChainId,
    #[n(1)]
    seal: SealRef,
    /// SHA3-256 of the seal leaf.
    #[n(2)]
    previous: Digest,
    #[n(3)]
    state_hash: Digest,
    /// Roots of the tree's full subtrees, largest first.
    #[n(4)]
    edge: Vec<Digest>,
    #[n(5)]
    epoch: u64,
    /// Key, owner, whether it validates; ascending.
    #[n(6)]
    providers: Vec<(PublicKey, Name, bool)>,
    #[n(7)]
    totals: Totals,
    /// Account, kind, balance; ascending by both.
    #[n(8)]
    balances: Vec<(AccountId, u64, u64)>,
    /// Jobs with an open escrow, ascending.
    #[n(9)]
    jobs: Vec<(JobId, Job)>,
    /// Jobs that ended, ascending.
    #[n(10)]
    ended: Vec<(JobId, JobPhase)>,
    /// Pages that vest, ascending by job and page.
    #[n(11)]
    vests: Vec<VestRow>,
    #[n(12)]
    issuers: Issuers,
    /// Ascending.
    #[n(13)]
    reserves: Vec<ReserveRow>,
    /// Published since the genesis, ascending by id.
    #[cbor(n(20), skip_if = "Vec::is_empty")]
    policies: Vec<Policy>,
    /// The one of jobs that name none; absent: the genesis'.
    #[n(21)]
    default_policy: Option<Digest>,
    /// Left out while every key is the genesis' own.
    #[n(24)]
    keys: Option<KeysRow>,
    /// Stakes that were taken back, ascending; left out while there are none.
    #[n(25)]
    unbondings: Option<Vec<ReserveRow>>,
    /// Jobs whose validators can be slashed, ascending; left out while there are none.
    #[n(26)]
    liable: Option<Vec<LiableRow>>,
}

/// Reserve, provider, amount, until when in block time.
pub(crate) type ReserveRow = (Digest, PublicKey, u64, u64);
/// Job, page, until when in block time, and what each provider gets, ascending by key.
type VestRow = (JobId, u64, u64, Vec<(PublicKey, u64)>);

/// The chain's snapshot: see [`Chain::snapshot`].
pub(crate) fn take(chain: &Chain) -> Vec<u8> {
    let Chain { state, tree, seal, previous, state_hash } = chain;
    let jobs = state.jobs.iter().filter(|(_, job)| job.is_open());
    let providers = state.providers.iter();
    let image = Image {
        chain: state.chain.clone(),
        seal: *seal,
        previous: *previous,
        state_hash: *state_hash,
        edge: tree.edge().iter().copied().map(Digest).collect(),
        epoch: state.epoch,
        providers: providers.map(|(key, one)| (*key, one.owner.clone(), one.validates)).collect(),
        totals: state.book.totals(),
        balances: state.book.rows(),
        jobs: jobs.map(|(id, job)| (*id, job.clone())).collect(),
        ended: state.ended_phases(),
        vests: state.vests.iter().map(|(page, vest)| vest_row(page, vest)).collect(),
        issuers: state.issuers.clone(),
        reserves: state.reserves.iter().map(|(id, one)| (*id, one.provider, one.amount, one.expires_ms)).collect(),
        keys: keys_row(state),
        unbondings: some(state.unbondings.iter().map(|(id, one)| (*id, one.provider, one.amount, one.until_ms))),
        liable: some(state.liable.iter().map(liable_row)),
        policies: state.published().cloned().collect(),
        default_policy: Some(state.default_policy).filter(|id| *id != state.genesis.policy.digest()),
    };
    cbor::to_vec(&(DOMAIN.to_owned(), image))
}

/// The chain of a snapshot: see [`Chain::restore`].
pub(crate) fn restore(genesis: Genesis, bytes: &[u8], want: &SealRef) -> Result<Chain, SnapshotError> {
    let (domain, image): (String, Image) =
        cbor::from_slice("snapshot", bytes, MAX_BYTES).map_err(SnapshotError::Unreadable)?;
    if domain != DOMAIN {
        return Err(SnapshotError::Format(domain));
    }
    let Image {
        chain,
        seal,
        previous,
        state_hash,
        edge,
        epoch,
        providers,
        totals,
        balances,
        jobs,
        ended,
        vests,
        issuers,
        reserves,
        keys,
        unbondings,
        liable,
        policies,
        default_policy,
    } = image;
    let id = genesis.chain();
    if chain != id {
        return Err(SnapshotError::OtherChain { have: chain, want: id });
    }
    if seal != *want {
        return Err(SnapshotError::OtherSeal { have: Box::new(seal), want: Box::new(*want) });
    }
    let tree = Tree::<Sha256>::of_edge(seal.size, edge.into_iter().map(|node| node.0).collect());
    let tree =
        tree.filter(|tree| Digest(tree.root()) == seal.root).ok_or_else(|| wrong("its edge has another root"))?;
    let book = Book::of_rows(&balances, totals).ok_or_else(|| wrong("its balances are not its totals"))?;

    let mut state = State::new(genesis);
    state.epoch = epoch;
    issuers.check().map_err(SnapshotError::Contradiction)?;
    state.issuers = issuers;
    state.book = book;
    let sorted = providers.is_sorted_by(|(a, ..), (b, ..)| a < b)
        && jobs.is_sorted_by(|(a, _), (b, _)| a < b)
        && ended.is_sorted_by(|(a, _), (b, _)| a < b)
        && vests.is_sorted_by(|a, b| (a.0, a.1) < (b.0, b.1))
        && reserves.is_sorted_by(|a, b| a.0 < b.0);
    if !sorted {
        return Err(wrong("a list is not ascending"));
    }
    for (key, owner, validates) in providers {
        state.providers.insert(key, Provider { owner, validates });
    }
    for (id, phase) in ended {
        state.shed.insert(id, phase);
    }
    name_policies(&mut state, &policies, default_policy)?;
    for (id, job) in jobs {
        check_job(&state, id, &job)?;
        state.due.insert(job.deadline_ms, Due::Escrow(id));
        state.jobs.insert(id, job);
    }
    hold_back(&mut state, vests, reserves)?;
    bind(&mut state, keys, unbondings.unwrap_or_default(), liable.unwrap_or_default()).map_err(wrong)?;
    // What was restored did not change in the block to come.
    state.book.forget_changes();
    let chain = Chain { state, tree, seal, previous, state_hash };
    chain.audit().map_err(SnapshotError::Contradiction)?;
    Ok(chain)
}

/// What vests, and what providers hold back.
fn hold_back(state: &mut State, vests: Vec<VestRow>, reserves: Vec<ReserveRow>) -> Result<(), SnapshotError> {
    for (id, page, until_ms, amounts) in vests {
        let good = amounts.is_sorted_by(|(a, _), (b, _)| a < b) && amounts.iter().all(|(_, amount)| *amount > 0);
        if !good {
            return Err(wrong(&format!("page {page} of job {id}")));
        }
        state.vest(id, page, until_ms, amounts.into_iter().collect());
    }
    for (id, provider, amount, expires_ms) in reserves {
        let held = Reserved { provider, amount, expires_ms };
        state.reserve(id, held).map_err(|code| wrong(&format!("reserve {id}: {code}")))?;
    }
    Ok(())
}

/// The policies that jobs may name.
fn name_policies(state: &mut State, policies: &[Policy], default: Option<Digest>) -> Result<(), SnapshotError> {
    let published: BTreeMap<Digest, Policy> = policies.iter().map(|one| (one.digest(), one.clone())).collect();
    if !published.values().eq(policies) {
        return Err(wrong("its policies are not ascending"));
    }
    state.policies.extend(published);
    state.default_policy = default.unwrap_or(state.default_policy);
    if state.policies.contains_key(&state.default_policy) { Ok(()) } else { Err(wrong("its default policy")) }
}

fn vest_row((id, page): &(JobId, u64), vest: &Vest) -> VestRow {
    let Vest { until_ms, amounts } = vest;
    (*id, *page, *until_ms, amounts.iter().map(|(key, amount)| (*key, *amount)).collect())
}

fn check_job(state: &State, id: JobId, job: &Job) -> Result<(), SnapshotError> {
    let sealed = |round: &Round| round.drawn.is_some() && round.entries.len() == round.closed.entries.len();
    let good = job.is_open()
        && job.spec.job == id
        && job.spec.digest() == job.task
        && job.rounds.iter().all(sealed)
        && state.policies.contains_key(&job.spec.policy)
        && !state.shed.contains_key(&id);
    if good { Ok(()) } else { Err(wrong(&format!("job {id}"))) }
}

fn wrong(why: &str) -> SnapshotError {
    SnapshotError::Contradiction(why.to_owned())
}

/// A map as an array of pairs, ascending: keys of maps are unsigned integers in our CBOR, and only there.
pub(crate) mod pairs {
    use std::collections::BTreeMap;

    use minicbor::decode::{Decode, Decoder, Error};
    use minicbor::encode::{self, Encode, Encoder, Write};

    pub(crate) fn encode<K: Encode<C>, V: Encode<C>, C, W: Write>(
        map: &BTreeMap<K, V>,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.array(map.len() as u64)?;
        map.iter().try_for_each(|pair| e.encode_with(pair, ctx).map(|_| ()))
    }

    pub(crate) fn decode<'b, K: Decode<'b, C> + Ord, V: Decode<'b, C>, C>(
        d: &mut Decoder<'b>,
        ctx: &mut C,
    ) -> Result<BTreeMap<K, V>, Error> {
        // An order that is not ascending is found by encoding it again.
        Ok(d.decode_with::<C, Vec<(K, V)>>(ctx)?.into_iter().collect())
    }
}

/// Shares as an array.
pub(crate) mod shares {
    use std::sync::Arc;

    use minicbor::decode::{Decoder, Error};
    use minicbor::encode::{self, Encode as _, Encoder, Write};

    use crate::job::Share;

    pub(crate) fn encode<C, W: Write>(
        shares: &Arc<[Share]>,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        shares.as_ref().encode(e, ctx)
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Arc<[Share]>, Error> {
        Ok(d.decode_with::<C, Vec<Share>>(ctx)?.into())
    }
}
