//! What validators were heard to say, and whether one of them says two things about one unit. A validator is asked again when its
//! worker falls silent or another leader comes; both may answer, in any order, before or after the verdict. Whoever computes
//! honestly says the same twice. Nothing hangs on this: what counts is the first vote in hand, and whether anybody is
//! slashed the ledger decides.

use std::collections::{BTreeMap, VecDeque};

use orion_protocol::sign::Signed;
use orion_protocol::statements::Vote;
use orion_protocol::{Digest, Name, PublicKey, Verified};

use crate::effect::{Contradiction, JobKey};

/// Votes of a job that are kept to be compared, judged or not; an older one is forgotten. A second vote comes within the deadlines of two
/// leases, and a vote has a few hundred bytes.
const MAX_KEPT: usize = 512;

/// The round, the work lease, and whose word it is.
type About = (Digest, Digest, PublicKey);

/// Votes that were heard of one job.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    kept: BTreeMap<About, Kept>,
    /// What is kept, the oldest first.
    order: VecDeque<About>,
}

#[derive(Debug)]
struct Kept {
    signed: Signed<Vote>,
    vote: Vote,
    /// The key's contradiction about this was told.
    told: bool,
}

impl Heard {
    /// Takes a validator's vote. The contradiction, if it is the first of this key about this work in this round.
    pub fn vote(
        &mut self,
        job: JobKey,
        provider: &Name,
        signed: &Signed<Vote>,
        vote: &Verified<Vote>,
    ) -> Option<Contradiction> {
        let about = (vote.round, vote.lease, vote.key());
        let Some(kept) = self.kept.get_mut(&about) else {
            self.keep(about, Kept { signed: signed.clone(), vote: (**vote).clone(), told: false });
            return None;
        };
        if kept.vote.differs(vote).next().is_none() {
            // Who stands in for others is asked about more units: the vote that says the most is compared with.
            if vote.units.len() > kept.vote.units.len() {
                (kept.signed, kept.vote) = (signed.clone(), (**vote).clone());
            }
            return None;
        }
        if std::mem::replace(&mut kept.told, true) {
            return None;
        }
        Some(Contradiction { provider: provider.clone(), job, first: kept.signed.clone(), second: signed.clone() })
    }

    fn keep(&mut self, about: About, kept: Kept) {
        if self.order.len() >= MAX_KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.kept.remove(&oldest);
        }
        self.order.push_back(about);
        self.kept.insert(about, kept);
    }
}
