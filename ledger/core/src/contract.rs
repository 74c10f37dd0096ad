//! What a reward policy says at the end of a job, and what the core makes of it. A policy *proposes*: how much of the escrow is
//! whose, and who has which weight in it. The core alone divides and moves money, so whatever a policy says, shares add up, an
//! escrow pays no more than it holds, and windows, refunds and deadlines are not the policy's to change.
//!
//! [`Parameters`] is the one kind there is. Another one (an expression, a module) implements [`Contract`] the same way: it
//! gets nothing but [`Facts`], which every replica has alike, pays for each step out of [`Steps`], and answers before they are
//! spent, or not at all. It will be published with its kind and the version of its evaluator in its id
//! (`orion_protocol::ledger::policy`), so that a replica without exactly that version knows that it cannot judge.
//!
//! What traps moves no money: a Settle is refused with the trap's code, and at the job's deadline the whole escrow goes back.

use std::collections::BTreeMap;

use orion_protocol::Digest;
use orion_protocol::ledger::leaf::Code;
use orion_protocol::ledger::policy::{MILLION, Mode, Policy, Split};
use orion_protocol::price::{Overflow, audits_of, fee_of, price_of, split};

use crate::job::{Contribution, Job};

/// Steps that any policy has, and as many for each contribution of the job.
const STEPS: (u64, u64) = (1024, 256);

/// Something that was done and may be paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Digest of the commitment, or of the vote.
    pub id: Digest,
    /// How much work it was.
    pub work: u64,
}

/// All that a policy is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What was ever locked for the job, in micro-credits.
    pub escrowed: u64,
    /// Accepted work, ascending by id.
    pub workers: Vec<Done>,
    /// Votes that the verdict upheld, ascending by id.
    pub validators: Vec<Done>,
}

impl Facts {
    /// Of a job whose rounds are judged.
    pub fn of(job: &Job) -> Facts {
        let all = |done: &BTreeMap<Digest, Contribution>| {
            done.iter().map(|(id, one)| Done { id: *id, work: one.work }).collect()
        };
        Facts { escrowed: job.escrowed, workers: all(&job.workers), validators: all(&job.validators) }
    }
}

/// Money for one group, and the weights by which it is divided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Micro-credits. Where all weights are 0, nobody gets them, and they go back.
    pub pool: u64,
    /// One for each in the group, in the order of [`Facts`].
    pub weights: Vec<u64>,
}

/// What a policy would have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposal {
    /// For accepted work.
    pub workers: Part,
    /// For votes that were upheld.
    pub validators: Part,
    /// For the platform, in micro-credits.
    pub treasury: u64,
}

/// Why a policy pays nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trap {
    /// It did not end in time.
    #[error("the policy took more than {0} steps")]
    Steps(u64),
    /// A number does not fit.
    #[error("a number of the policy does not fit")]
    Overflow,
    /// Not one weight for each contribution.
    #[error("the policy gave {have} weights for {want} contributions")]
    Weights {
        /// How many it gave.
        have: usize,
        /// How many there must be.
        want: usize,
    },
    /// More than there is.
    #[error("the policy would pay {have} micro-credits out of {escrowed}")]
    Escrow {
        /// What it proposed, in micro-credits.
        have: u64,
        /// What the escrow held, in micro-credits.
        escrowed: u64,
    },
}

impl Trap {
    /// The code with which what asked for it is refused.
    pub fn code(self) -> Code {
        match self {
            Trap::Overflow => Code::Overflow,
            Trap::Steps(_) | Trap::Weights { .. } | Trap::Escrow { .. } => Code::PolicyTraps,
        }
    }
}

impl From<Overflow> for Trap {
    fn from(Overflow: Overflow) -> Trap {
        Trap::Overflow
    }
}

/// The steps that a policy may still take: fixed by the job alone, so that it ends alike on every replica.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    bound: u64,
    left: u64,
}

impl Steps {
    /// As many as a job with these facts allows.
    pub fn of(facts: &Facts) -> Steps {
        let contributions = facts.workers.len().saturating_add(facts.validators.len()) as u64;
        let bound = STEPS.0.saturating_add(STEPS.1.saturating_mul(contributions));
        Steps { bound, left: bound }
    }

    /// Takes `count` of them.
    pub fn take(&mut self, count: u64) -> Result<(), Trap> {
        self.left = self.left.checked_sub(count).ok_or(Trap::Steps(self.bound))?;
        Ok(())
    }

    /// How many were taken.
    pub fn taken(&self) -> u64 {
        self.bound - self.left
    }
}

/// A policy as the core asks it. The same facts give the same proposal, on every machine and for ever.
pub trait Contract {
    /// What it would have; takes a step from `steps` for whatever it does, before it does it.
    fn propose(&self, facts: &Facts, steps: &mut Steps) -> Result<Proposal, Trap>;
}

/// A policy that is a set of parameters: weights are the work that was done, one step for each contribution.
#[derive(Clone, Copy, Debug)]
pub struct Parameters<'p>(pub &'p Policy);

impl Contract for Parameters<'_> {
    fn propose(&self, facts: &Facts, steps: &mut Steps) -> Result<Proposal, Trap> {
        let mut read = |done: &[Done]| {
            steps.take(done.len() as u64)?;
            let total = done.iter().map(|one| u128::from(one.work)).sum();
            Ok::<(u128, Vec<u64>), Trap>((total, done.iter().map(|one| one.work).collect()))
        };
        let (accepted, by_work) = read(&facts.workers)?;
        let (audited, by_audits) = read(&facts.validators)?;
        let Policy { price, fee_ppm, vesting_ms: _, escrow_ms: _, validator_ppm, mode } = self.0;
        let (workers, validators, treasury) = match mode {
            Mode::PerWork => {
                let workers = price_of(accepted, *price)?;
                let validators = audits_of(audited, *price, *validator_ppm)?;
                let both = workers.checked_add(validators).ok_or(Overflow)?;
                (workers, validators, fee_of(both, *fee_ppm)?)
            }
            Mode::Pool(_) if accepted == 0 => (0, 0, 0),
            Mode::Pool(split) => parts(facts.escrowed, *split)?,
        };
        Ok(Proposal {
            workers: Part { pool: workers, weights: by_work },
            validators: Part { pool: validators, weights: by_audits },
            treasury,
        })
    }
}

/// A pool in three parts, which add up to it: rounding is the workers'.
pub fn parts(pool: u64, by: Split) -> Result<(u64, u64, u64), Trap> {
    let Split { workers, validators, treasury } = by;
    if u64::from(workers) + u64::from(validators) + u64::from(treasury) != u64::from(MILLION) {
        return Err(Trap::Overflow);
    }
    let (validators, treasury) = (fee_of(pool, validators)?, fee_of(pool, treasury)?);
    let rest = pool.checked_sub(validators).and_then(|rest| rest.checked_sub(treasury)).ok_or(Overflow)?;
    Ok((rest, validators, treasury))
}

/// What everybody gets, in micro-credits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Division {
    /// For each of [`Facts::workers`].
    pub workers: Vec<u64>,
    /// For each of [`Facts::validators`].
    pub validators: Vec<u64>,
    /// The platform's.
    pub treasury: u64,
}

/// Asks a policy, and divides as it proposes; or nothing is divided at all.
pub fn divide(contract: &dyn Contract, facts: &Facts) -> Result<Division, Trap> {
    let Proposal { workers, validators, treasury } = contract.propose(facts, &mut Steps::of(facts))?;
    for (part, done) in [(&workers, &facts.workers), (&validators, &facts.validators)] {
        let (have, want) = (part.weights.len(), done.len());
        if have != want {
            return Err(Trap::Weights { have, want });
        }
    }
    let all = workers.pool.checked_add(validators.pool).and_then(|both| both.checked_add(treasury));
    let have = all.ok_or(Trap::Overflow)?;
    if have > facts.escrowed {
        return Err(Trap::Escrow { have, escrowed: facts.escrowed });
    }
    Ok(Division {
        workers: split(workers.pool, &workers.weights),
        validators: split(validators.pool, &validators.weights),
        treasury,
    })
}
