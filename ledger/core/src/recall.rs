//! What came of transactions that were ordered, so that each is ordered once. The chain itself remembers only what was not
//! taken out of it ([`crate::Chain::take_records`]); whoever takes it keeps it, and brings it along as a [`Recall`] when the
//! transaction comes again. So a chain's memory does not grow with its log, and the rules still know no store.

use std::collections::BTreeMap;

use orion_protocol::cbor::{Part, frame_digest};
use orion_protocol::ledger::Transaction;
use orion_protocol::ledger::api::{SealRef, Submitted};
use orion_protocol::ledger::leaf::{Code, Receipt};
use orion_protocol::{Digest, PublicKey, TxId};

use crate::admission::Admitted;
use crate::state::refused;

/// All that an envelope says; two that say the same are the same, whatever their signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Said {
    /// Who signed it.
    pub signer: PublicKey,
    /// Its id, scoped to the signer.
    pub id: TxId,
    /// The epoch it was signed in.
    pub epoch: u64,
    /// SHA3-256 of the payload.
    pub payload: Digest,
}

impl Said {
    /// SHA3(frame("orion/said/v1", signer, id, epoch, payload digest)): a short key for all of it.
    pub fn digest(&self) -> Digest {
        let Said { signer, id, epoch, payload } = self;
        let parts = [Part::Bytes(&signer.0), Part::Bytes(&id.0), Part::U64(*epoch), Part::Bytes(&payload.0)];
        frame_digest("orion/said/v1", &parts)
    }
}

/// Where the log holds what came of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// What was said.
    pub said: Said,
    /// Whether it was refused for its epoch. That does not hold the id: it is filed under [`Said::digest`], and the first
    /// leaf counts. Everything else is filed under signer and id, once.
    pub stale: bool,
    /// Its leaf's index in the log.
    pub leaf: u64,
    /// Its block.
    pub height: u64,
}

/// What is kept outside of the chain about a transaction that comes in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recall {
    /// Who holds its signer's id: the digest of that payload, and what came of it.
    pub sent: Option<(Digest, Submitted)>,
    /// The refusal of an envelope that says the same, for its epoch.
    pub stale: Option<Submitted>,
}

/// What came of a transaction.
#[derive(Clone, Debug)]
pub(crate) struct Fate {
    pub(crate) leaf: u64,
    pub(crate) receipt: Receipt,
    /// Its block's; absent while that is being made.
    pub(crate) seal: Option<SealRef>,
}

impl Fate {
    fn of(submitted: &Submitted) -> Fate {
        let Submitted { leaf, receipt, seal } = submitted;
        Fate { leaf: *leaf, receipt: receipt.clone(), seal: Some(*seal) }
    }
}

/// A transaction that needs no leaf, because there is one already.
pub(crate) enum Seen {
    /// The same was there before.
    Same(Fate),
    /// Other bytes hold its id: their place, with this one's refusal.
    Clash(Fate),
}

/// What the chain itself remembers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    sent: BTreeMap<(PublicKey, TxId), (Said, Fate)>,
    /// Envelopes that were refused for their epoch, which holds no id.
    stale: BTreeMap<Said, Fate>,
    /// Of the block that is being made.
    unsealed: Vec<Said>,
}

impl Memory {
    /// What came of a transaction before. An envelope that was refused for its epoch is refused as long as that is not the
    /// current one.
    pub(crate) fn seen(&self, tx: &Admitted, recall: Option<&Recall>, epoch: u64) -> Option<Seen> {
        let said = tx.said();
        let here = self.sent.get(&(said.signer, said.id)).map(|(holder, fate)| (holder.payload, fate.clone()));
        let kept = || recall?.sent.as_ref().map(|(payload, submitted)| (*payload, Fate::of(submitted)));
        let Some((payload, fate)) = here.or_else(kept) else {
            let here = self.stale.get(&said).cloned();
            let stale = here.or_else(|| recall?.stale.as_ref().map(Fate::of));
            return stale.filter(|_| said.epoch != epoch).map(Seen::Same);
        };
        if payload == said.payload {
            return Some(Seen::Same(fate));
        }
        // Two replicas that race for an epoch use the same id with different nonces.
        let race = matches!(tx.transaction, Transaction::OpenEpoch(_));
        let code = if race { Code::EpochTaken } else { Code::ExistsWithDifferentBytes };
        Some(Seen::Clash(Fate { receipt: refused(code), ..fate }))
    }

    /// Records what came of a transaction. An old leader must not be able to spend ids that its successor needs: a stale
    /// epoch leaves the id free.
    pub(crate) fn remember(&mut self, tx: &Admitted, fate: Fate) {
        let said = tx.said();
        if fate.receipt.code == Code::StaleEpoch {
            self.stale.entry(said).or_insert(fate);
        } else {
            self.sent.insert((said.signer, said.id), (said, fate));
        }
        self.unsealed.push(said);
    }

    /// The block that was being made is sealed.
    pub(crate) fn sealed(&mut self, seal: SealRef) {
        for said in std::mem::take(&mut self.unsealed) {
            let sent = self.sent.get_mut(&(said.signer, said.id)).map(|(_, fate)| fate);
            for fate in sent.into_iter().chain(self.stale.get_mut(&said)) {
                fate.seal.get_or_insert(seal);
            }
        }
    }

    /// Takes everything out that lies in a sealed block.
    pub(crate) fn take(&mut self) -> Vec<Record> {
        let record = |said: Said, stale: bool, fate: &Fate| {
            Some(Record { said, stale, leaf: fate.leaf, height: fate.seal?.height })
        };
        let sent = std::mem::take(&mut self.sent).into_values();
        let stale = std::mem::take(&mut self.stale);
        let sent = sent.filter_map(|(said, fate)| record(said, false, &fate));
        sent.chain(stale.iter().filter_map(|(said, fate)| record(*said, true, fate))).collect()
    }
}
