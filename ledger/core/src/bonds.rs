//! What providers have at stake and took back, and which jobs they can still lose it for.

use std::collections::{BTreeMap, BTreeSet};

use orion_protocol::task::TaskSpec;
use orion_protocol::{AccountId, Digest, JobId, PublicKey};

use crate::book::{Kind, Place};
use crate::due::Due;
use crate::job::{Job, Settlement};
use crate::state::State;

/// A stake that was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unbonding {
    pub(crate) provider: PublicKey,
    pub(crate) amount: u64,
    /// In block time: the first block past it frees it.
    pub(crate) until_ms: u64,
}

/// What must be known of a job for as long as its validators can be slashed for what they said: from its escrow until its last
/// page has matured. Jobs that depend on no kernel set are not here: all their bits are by a text of the user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Liable {
    /// Digest of its TaskSpec.
    pub(crate) task: Digest,
    /// Who paid for it.
    pub(crate) consumer: AccountId,
    /// What is lost, as it was when the job began.
    pub(crate) slash_ppm: u32,
    /// Who was slashed: once for a job.
    pub(crate) slashed: BTreeSet<PublicKey>,
}

impl State {
    /// Takes back a stake; the credits must have moved.
    pub(crate) fn unbond(&mut self, id: Digest, unbonding: Unbonding) {
        self.due.insert(unbonding.until_ms, Due::Lapse(id));
        self.unbondings.insert(id, unbonding);
    }

    /// Ends the time of a stake that was taken back; gives it.
    pub(crate) fn bonded_until_now(&mut self, id: Digest) -> Option<Unbonding> {
        let unbonding = self.unbondings.remove(&id)?;
        self.due.remove(unbonding.until_ms, Due::Lapse(id));
        Some(unbonding)
    }

    /// So much less is to be freed for a provider; by id, which says nothing of time.
    pub(crate) fn shrink_unbondings(&mut self, provider: &PublicKey, amount: u64) {
        let mut left = amount;
        let mine: Vec<Digest> =
            self.unbondings.iter().filter(|(_, one)| one.provider == *provider).map(|(id, _)| *id).collect();
        for id in mine {
            let Some(one) = self.unbondings.get_mut(&id) else { continue };
            let taken = one.amount.min(left);
            one.amount -= taken;
            left -= taken;
            if one.amount == 0 {
                self.bonded_until_now(id);
            }
        }
    }

    /// So much less is to mature for a provider of this job, page by page.
    pub(crate) fn shrink_vests(&mut self, job: JobId, provider: &PublicKey, amount: u64) {
        if amount == 0 {
            return;
        }
        if let Some(job) = self.jobs.get_mut(&job) {
            let taken_back = job.taken_back.entry(*provider).or_default();
            *taken_back = taken_back.saturating_add(amount);
        }
        let mut left = amount;
        for (_, vest) in self.vests.range_mut((job, 0)..=(job, u64::MAX)) {
            let Some(pay) = vest.amounts.get_mut(provider) else { continue };
            let taken = (*pay).min(left);
            *pay -= taken;
            left -= taken;
            if *pay == 0 {
                vest.amounts.remove(provider);
            }
        }
    }

    /// A job has begun whose validators can be slashed, if any can be.
    pub(crate) fn make_liable(&mut self, spec: &TaskSpec, consumer: AccountId) {
        let slash_ppm = self.genesis.bonds.unwrap_or_default().slash_ppm;
        if slash_ppm > 0 && spec.kernel_set != 0 {
            let liable = Liable { task: spec.digest(), consumer, slash_ppm, slashed: BTreeSet::new() };
            self.liable.insert(spec.job, liable);
        }
    }

    /// Whether everything that the job's validators earned is known.
    pub(crate) fn earned_is_known(&self, job: &JobId) -> bool {
        let open = self.jobs.get(job).filter(|job| job.is_open());
        open.is_none_or(|job| job.settlement.as_ref().is_some_and(Settlement::complete))
    }

    /// Forgets about a job whose last page has matured.
    pub(crate) fn forgive(&mut self, id: JobId) {
        let open = self.jobs.get(&id).is_some_and(Job::is_open);
        if !open && self.vests.range((id, 0)..=(id, u64::MAX)).next().is_none() {
            self.liable.remove(&id);
        }
    }

    /// Whether what is not free yet is what was taken back, provider by provider; slow, for audits.
    pub(crate) fn unbondings_hold(&self) -> bool {
        let mut want: BTreeMap<Place, u64> = BTreeMap::new();
        for Unbonding { provider, amount, .. } in self.unbondings.values() {
            let sum = want.entry(Place::unbonding(&self.chain, *provider)).or_default();
            *sum = sum.saturating_add(*amount);
        }
        self.book.of_kind(Kind::Unbonding).eq(want)
    }
}
