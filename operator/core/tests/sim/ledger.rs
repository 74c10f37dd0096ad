//! The real rules behind a queue of one: whatever the core sends is judged by them, so that a wrong draw, verdict or
//! sequence shows as a refusal. Refusals that a core may meet are listed; any other fails the test.

use std::collections::BTreeMap;

use orion_core::Seen;
use orion_ledger_core::{Admission, Chain, Standing};
use orion_protocol::ledger::leaf::Receipt;
use orion_protocol::ledger::tx::{Close, Settle};
use orion_protocol::ledger::{Code, Envelope, Genesis, Submitted, Transaction};
use orion_protocol::{JobId, Signed};

/// The ledger.
pub struct Ledger {
    /// State and log.
    pub chain: Chain,
    admission: Admission,
    /// How often what came of which kind.
    pub codes: BTreeMap<(&'static str, Code), u32>,
    /// Refusals that this history may have, beyond those that any may have.
    pub tolerated: Vec<(&'static str, Code)>,
    /// Where each job's settlement begins in the log, and the last leaf that a leader submitted for it.
    pub leaves: BTreeMap<JobId, (u64, u64)>,
    last_ms: u64,
}

impl Ledger {
    pub fn new(genesis: &Genesis, now: u64) -> Ledger {
        let (chain, _) = Chain::start(&genesis.to_bytes(), now).unwrap();
        Ledger {
            chain,
            admission: Admission::new(genesis),
            codes: BTreeMap::new(),
            tolerated: Vec::new(),
            leaves: BTreeMap::new(),
            last_ms: now,
        }
    }

    /// Cuts a block when a deadline is due.
    pub fn advance(&mut self, now: u64) {
        if self.chain.next_deadline_ms().is_some_and(|deadline| deadline < now) {
            self.last_ms = now.max(self.last_ms + 1);
            self.chain.finalize_block(self.last_ms, &[]).unwrap();
            self.audit();
        }
    }

    /// What it knows of a job, as the service says it: the view, and then where the log stands.
    pub fn job(&self, job: &JobId) -> Option<Seen> {
        Some(Seen { view: Box::new(self.chain.job(job)?), seal: self.chain.seal_ref() })
    }

    /// Orders a transaction in a block of its own. One of an `epoch` that is over may clash with ids of its successor.
    pub fn submit(&mut self, signed: Signed<Envelope>, epoch: u64, now: u64) -> Submitted {
        self.advance(now);
        let stale = epoch < self.chain.epoch();
        let admitted = self.admission.check(signed).expect("what is sent can be ordered");
        let kind = admitted.transaction().kind();
        if self.chain.orderable(&admitted).is_err() {
            // The signer was replaced. Its process sees that by the keys, and leads no more.
            return self.refusal(Code::StaleEpoch);
        }
        let submitted = match self.chain.check_tx(&admitted) {
            Standing::Known(fate) | Standing::Clash(fate) => fate,
            Standing::New => {
                self.last_ms = now.max(self.last_ms + 1);
                let mut block = self.chain.finalize_block(self.last_ms, std::slice::from_ref(&admitted)).unwrap();
                self.audit();
                let submitted = block.outcomes.remove(0);
                if let (Transaction::Settle(Settle { job, .. }) | Transaction::Close(Close { job }), Code::Ok) =
                    (admitted.transaction(), submitted.receipt.code)
                {
                    self.leaves.entry(*job).or_insert((submitted.leaf, 0)).1 = submitted.leaf;
                }
                submitted
            }
        };
        let code = submitted.receipt.code;
        *self.codes.entry((kind, code)).or_default() += 1;
        let fine = matches!(code, Code::Ok | Code::StaleEpoch | Code::EscrowExpired | Code::InsufficientCredits);
        let fine = fine || (stale && code == Code::ExistsWithDifferentBytes);
        assert!(fine || self.tolerated.contains(&(kind, code)), "{kind} was refused: {code}");
        submitted
    }

    /// What a transaction gets that is ordered and refused.
    pub fn refusal(&self, code: Code) -> Submitted {
        let seal = self.chain.seal_ref();
        Submitted { leaf: seal.size, receipt: Receipt { code, transfers: Vec::new() }, seal }
    }

    /// How often a kind ended in this way.
    pub fn count(&self, kind: &'static str, code: Code) -> u32 {
        self.codes.get(&(kind, code)).copied().unwrap_or(0)
    }

    fn audit(&self) {
        self.chain.audit().expect("the identities of money hold at every height");
    }
}
