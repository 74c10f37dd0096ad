//! How a job's money is split, step by step, so that a person can redo it with pencil and paper. The shares that the ledger
//! fixed stand beside the ones that follow here.

use orion_protocol::ledger::Policy;
use orion_protocol::price::Overflow;
use orion_protocol::{Digest, PublicKey};

use crate::contract::{Contract as _, Facts, Parameters, Proposal, Steps, Trap};
use crate::job::{Contribution, Job, SHARES_A_PAGE, Settlement};

/// The split of one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reward {
    /// Accepted work.
    pub computing: Pool,
    /// Votes that were upheld.
    pub checking: Pool,
    /// The platform's fee: parts per million of both pools, rounded down, or its part of a pool, in micro-credits.
    pub fee: u64,
    /// What the ledger fixed as fee; absent before the settlement.
    pub fixed_fee: Option<u64>,
    /// Pages that are paid, and all pages; absent before the settlement.
    pub pages: Option<(u64, u64)>,
}

/// Money for one kind of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// All work in it.
    pub work: u128,
    /// Micro-credits: work times price over 10^6, rounded down; or what else the job's policy says.
    pub amount: u64,
    /// By contribution id, in which order ties are broken.
    pub lines: Vec<Line>,
}

/// One contribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its id: the digest of the commitment, or of the vote.
    pub id: Digest,
    /// To whom.
    pub provider: PublicKey,
    /// How much work it was.
    pub work: u64,
    /// Pool times work. Over the pool's work it is the exact share.
    pub numerator: u128,
    /// The exact share rounded down, in micro-credits.
    pub floor: u64,
    /// What rounding left, over the pool's work.
    pub remainder: u128,
    /// Whether it is one of the largest remainders, which get one micro-credit more until the pool is spent.
    pub raised: bool,
    /// What the ledger fixed, in micro-credits; absent before the settlement.
    pub fixed: Option<u64>,
    /// Whether its page is paid.
    pub paid: bool,
}

impl Line {
    /// What follows, in micro-credits.
    pub fn share(&self) -> u64 {
        self.floor.saturating_add(u64::from(self.raised))
    }
}

impl Reward {
    /// Of a job that was replayed, by the policy that it named.
    pub fn of(job: &Job, policy: &Policy) -> Result<Reward, Trap> {
        let settled = job.settlement.as_ref();
        let facts = Facts::of(job);
        let Proposal { workers, validators, treasury } = Parameters(policy).propose(&facts, &mut Steps::of(&facts))?;
        Ok(Reward {
            computing: pool(job.workers.iter(), workers.pool, settled, 0)?,
            checking: pool(job.validators.iter(), validators.pool, settled, job.workers.len())?,
            fee: treasury,
            fixed_fee: settled.map(|settled| settled.fee),
            pages: settled.map(|settled| (settled.done, settled.pages())),
        })
    }

    /// Whether the ledger fixed what follows here, and each pool is spent to the last micro-credit; `None` before the settlement.
    pub fn agrees(&self) -> Option<bool> {
        let spent = |pool: &Pool| {
            let sum: u128 = pool.lines.iter().map(|line| u128::from(line.share())).sum();
            sum == u128::from(pool.amount) && pool.lines.iter().all(|line| line.fixed == Some(line.share()))
        };
        self.fixed_fee.map(|fee| fee == self.fee && spent(&self.computing) && spent(&self.checking))
    }
}

fn pool<'c>(
    contributions: impl Iterator<Item = (&'c Digest, &'c Contribution)>,
    amount: u64,
    settled: Option<&Settlement>,
    first: usize,
) -> Result<Pool, Overflow> {
    let contributions: Vec<(&Digest, &Contribution)> = contributions.collect();
    let work: u128 = contributions.iter().map(|(_, one)| u128::from(one.work)).sum();
    // Where there is nobody to have it, it goes back.
    let amount = if work == 0 { 0 } else { amount };
    let mut lines = Vec::with_capacity(contributions.len());
    for (at, (id, one)) in contributions.iter().enumerate() {
        let numerator = u128::from(amount) * u128::from(one.work);
        let floor = numerator.checked_div(work).unwrap_or(0);
        let place = first + at;
        let paid = settled.is_some_and(|settled| ((place / SHARES_A_PAGE) as u64) < settled.done);
        lines.push(Line {
            id: **id,
            provider: one.provider,
            work: one.work,
            numerator,
            floor: u64::try_from(floor).map_err(|_| Overflow)?,
            remainder: numerator.checked_rem(work).unwrap_or(0),
            raised: false,
            fixed: settled.and_then(|settled| settled.shares.get(place)).map(|share| share.amount),
            paid,
        });
    }
    raise(&mut lines, amount);
    Ok(Pool { work, amount, lines })
}

/// One micro-credit each to the largest remainders, ties to the earlier line, until the pool is spent.
fn raise(lines: &mut [Line], amount: u64) {
    let floors: u128 = lines.iter().map(|line| u128::from(line.floor)).sum();
    let left = usize::try_from(u128::from(amount).saturating_sub(floors)).unwrap_or(usize::MAX);
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.sort_by_key(|at| (std::cmp::Reverse(lines[*at].remainder), *at));
    for at in order.into_iter().take(left) {
        lines[at].raised = true;
    }
}
