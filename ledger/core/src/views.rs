//! What a chain says of itself to whoever asks; nothing here changes it.

use std::collections::BTreeMap;

use orion_protocol::ledger::Genesis;
use orion_protocol::ledger::api::{AccountView, Head, JobView, KeysView, OpenJobs, OperatorKey, Policies, SealRef};
use orion_protocol::ledger::leaf::Totals;
use orion_protocol::ledger::tx::{Issuers, Policy, Slash};
use orion_protocol::{AccountId, ChainId, Digest, JobId, PublicKey};

use crate::chain::Chain;
use crate::job::Job;
use crate::rules::{self, NotSlashed};
use crate::state::{Provider, State};

impl Chain {
    /// The chain's id.
    pub fn id(&self) -> &ChainId {
        &self.state.chain
    }

    /// What it started from.
    pub fn genesis(&self) -> &Genesis {
        &self.state.genesis
    }

    /// The last seal.
    pub fn seal_ref(&self) -> SealRef {
        self.seal
    }

    /// Who issues now.
    pub fn issuers(&self) -> &Issuers {
        &self.state.issuers
    }

    /// The key that signs the leases of the current epoch.
    pub fn operator(&self) -> PublicKey {
        self.state.keys.operator_at(self.state.epoch).unwrap_or(self.state.genesis.operator)
    }

    /// The key in force of the platform's worker.
    pub fn platform(&self) -> PublicKey {
        self.state.keys.platform().unwrap_or(self.state.genesis.platform)
    }

    /// Whose keys do what. An operator that was replaced before it opened an epoch signed nothing, and is not there.
    pub fn keys_view(&self) -> KeysView {
        let keys = &self.state.keys;
        let operator = |(from_epoch, key): &(u64, PublicKey)| {
            let (from_epoch, key) = (*from_epoch, *key);
            OperatorKey { from_epoch, key, lost: keys.is_lost(&key) }
        };
        let operators = keys.operators.iter().map(operator).collect();
        let replaced = keys.revoked.keys().filter(|key| self.state.providers.contains_key(key)).copied().collect();
        KeysView { operators, platform: self.platform(), issuers: self.issuers().clone(), replaced }
    }

    /// The key in the place of this one, which may be itself.
    pub fn heir(&self, key: PublicKey) -> PublicKey {
        self.state.keys.heir(key)
    }

    /// The current epoch.
    pub fn epoch(&self) -> u64 {
        self.state.epoch
    }

    /// Registered providers.
    pub fn providers(&self) -> &BTreeMap<PublicKey, Provider> {
        &self.state.providers
    }

    /// Sums of all accounts by kind.
    pub fn totals(&self) -> Totals {
        self.state.book.totals()
    }

    /// Every job that ever had an escrow and was not shed.
    pub fn jobs(&self) -> &BTreeMap<JobId, Job> {
        &self.state.jobs
    }

    /// What a Slash of this sender would take, in micro-credits, or why it would be refused, by the rule itself.
    pub fn would_slash(&self, sender: &PublicKey, tx: &Slash) -> Result<u64, NotSlashed> {
        rules::would_lose(&self.state, sender, tx)
    }

    /// When the ledger next does something by itself, ends an escrow or matures a page: a block with a later time does it.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.state.due.next_ms()
    }

    /// The policy with this id, if jobs may name it.
    pub fn policy(&self, id: &Digest) -> Option<&Policy> {
        self.state.policies.get(id)
    }

    /// All of them, and which one jobs get that name none.
    pub fn policies(&self) -> Policies {
        let State { policies, default_policy, .. } = &self.state;
        Policies { default: *default_policy, policies: policies.values().cloned().collect() }
    }

    /// Where the log stands.
    pub fn head(&self) -> Head {
        // A key that was replaced still has an owner, for rounds that name it, and audits nobody.
        let validates = |key, provider: &Provider| provider.validates && !self.state.keys.is_revoked(key);
        let providers = self.state.providers.iter();
        let providers = providers.map(|(key, provider)| (*key, provider.owner.clone(), validates(key, provider)));
        Head {
            chain: self.id().clone(),
            seal: self.seal_ref(),
            epoch: self.state.epoch,
            providers: providers.collect(),
        }
    }

    /// An account's balance; 0 for one that was never used.
    pub fn account(&self, account: AccountId) -> AccountView {
        AccountView { account, balance: self.state.book.balance_of_id(account) }
    }

    /// A job that was not shed.
    pub fn job(&self, job: &JobId) -> Option<JobView> {
        self.state.jobs.get(job).map(Job::view)
    }

    /// Jobs whose escrow is open.
    pub fn open_jobs(&self) -> OpenJobs {
        let mut jobs: Vec<JobId> = self.state.due.escrows().collect();
        jobs.sort_unstable();
        OpenJobs { jobs }
    }
}
