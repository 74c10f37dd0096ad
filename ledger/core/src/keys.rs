//! Whose keys do what, and which do nothing any more. A key that has had a role never gets another one.
//!
//! A lease says its epoch and no time, so the operator's keys are told apart by epoch: the key that opened an epoch signs its leases,
//! also those that come after it was replaced. Where a key is lost, none of the leases of the operators before count any more.

use std::collections::BTreeMap;

use orion_protocol::PublicKey;
use orion_protocol::ledger::Genesis;

/// The keys of operator and platform, and all keys that were replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    /// Each with the first epoch that it may open, ascending; never empty, and the last one may wait for its epoch.
    pub(crate) operators: Vec<(u64, PublicKey)>,
    /// The last one is in force; never empty.
    pub(crate) platforms: Vec<PublicKey>,
    pub(crate) revoked: BTreeMap<PublicKey, Revoked>,
}

/// What became of a key that signs nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Revoked {
    /// Whether somebody else may have it.
    pub(crate) lost: bool,
    /// The key in its place.
    pub(crate) heir: PublicKey,
}

impl Keys {
    pub(crate) fn new(genesis: &Genesis) -> Keys {
        let Genesis { operator, platform, .. } = genesis;
        Keys { operators: vec![(0, *operator)], platforms: vec![*platform], revoked: BTreeMap::new() }
    }

    /// The key that signs the leases of an epoch.
    pub(crate) fn operator_at(&self, epoch: u64) -> Option<PublicKey> {
        self.operators.iter().rev().find(|(from, _)| *from <= epoch).map(|(_, key)| *key)
    }

    /// The key that opens the next epoch.
    pub(crate) fn next_operator(&self) -> Option<PublicKey> {
        self.operators.last().map(|(_, key)| *key)
    }

    /// The key that speaks for the platform's money while this epoch lasts: that of its leases, or its heir, where it was lost.
    pub(crate) fn custodian(&self, epoch: u64) -> Option<PublicKey> {
        self.operator_at(epoch).filter(|key| !self.is_revoked(key)).or_else(|| self.next_operator())
    }

    /// The platform worker's key.
    pub(crate) fn platform(&self) -> Option<PublicKey> {
        self.platforms.last().copied()
    }

    /// Whether this is, or was, the platform worker's.
    pub(crate) fn is_platform(&self, key: &PublicKey) -> bool {
        self.platforms.contains(key)
    }

    pub(crate) fn is_revoked(&self, key: &PublicKey) -> bool {
        self.revoked.contains_key(key)
    }

    /// Whether nothing counts that this key may have signed and that is not in the log.
    pub(crate) fn is_lost(&self, key: &PublicKey) -> bool {
        self.revoked.get(key).is_some_and(|revoked| revoked.lost)
    }

    /// The key in force in the place of this one.
    pub(crate) fn heir(&self, key: PublicKey) -> PublicKey {
        let mut heir = key;
        // A new key has never had a role, so this comes to an end.
        while let Some(revoked) = self.revoked.get(&heir) {
            heir = revoked.heir;
        }
        heir
    }

    /// Whether every key that was replaced has an heir in the end.
    pub(crate) fn ends(&self) -> bool {
        let steps = |key: &PublicKey| std::iter::successors(Some(*key), |key| Some(self.revoked.get(key)?.heir));
        self.revoked.keys().all(|key| steps(key).take(self.revoked.len() + 2).count() < self.revoked.len() + 2)
    }

    /// Whether the key is, or was, operator's or platform's, or was replaced in any role.
    pub(crate) fn knows(&self, key: &PublicKey) -> bool {
        self.is_revoked(key) || self.is_platform(key) || self.operators.iter().any(|(_, one)| one == key)
    }

    pub(crate) fn revoke(&mut self, old: PublicKey, heir: PublicKey, lost: bool) {
        self.revoked.entry(old).or_insert(Revoked { lost, heir }).lost |= lost;
    }

    /// Puts a new operator in the place of the last one, from the epoch after this.
    pub(crate) fn rotate_operator(&mut self, epoch: u64, new: PublicKey, lost: bool) {
        let waits = self.operators.last().copied().filter(|(from, _)| *from > epoch);
        if let Some((_, key)) = waits {
            // It never opened an epoch, so it signed no lease.
            self.operators.pop();
            self.revoke(key, new, lost);
        }
        if lost {
            let before: Vec<PublicKey> = self.operators.iter().map(|(_, key)| *key).collect();
            for key in before {
                self.revoke(key, new, true);
            }
        }
        self.operators.push((epoch.saturating_add(1), new));
    }

    /// The last operator has opened its epoch: the one before has nothing to sign any more.
    pub(crate) fn epoch_opened(&mut self) {
        if let [.., (_, old), (_, new)] = self.operators[..] {
            self.revoke(old, new, false);
        }
    }
}
