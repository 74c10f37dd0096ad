//! Providers and their live workers: a fold of heartbeats. Who is silent for 8 s is lost.

use std::collections::{BTreeMap, BTreeSet};

use orion_protocol::messages::{Alive, Role};
use orion_protocol::subjects::PLATFORM;
use orion_protocol::{Name, PublicKey};

use crate::Millis;
use crate::effect::ProviderInfo;

/// A worker: its provider's name and its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId {
    /// The provider.
    pub provider: Name,
    /// The worker.
    pub worker: Name,
}

/// At most so many workers are followed a provider; more are ignored, so that nobody fills the leader's memory.
const MAX_WORKERS_PER_PROVIDER: usize = 1024;
/// Who was not heard for so long is lost.
const LOST_MS: Millis = Alive::LOST_S * 1000;
/// At most so many leases that are not known are looked at a provider and second: verifying a signature takes some 0.1 ms, and
/// a provider may send as many as the broker lets it. What is left over is listed again by the next heartbeat.
const LOOKS_A_SECOND: u32 = 256;

/// Who is there.
#[derive(Debug, Default)]
pub struct Fleet {
    providers: BTreeMap<Name, ProviderInfo>,
    /// Leases that each provider's heartbeats made us look at, since that moment.
    looks: BTreeMap<Name, (Millis, u32)>,
    /// Owners of all keys that the ledger knew when the leadership began.
    registered: BTreeMap<PublicKey, Name>,
    workers: BTreeMap<WorkerId, Worker>,
    assignments: u64,
}

#[derive(Debug)]
struct Worker {
    alive: Alive,
    seen: Millis,
    ready: bool,
    held: u32,
    last_assigned: u64,
}

/// Whom a duty wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its role.
    pub role: Role,
    /// What is needed of its device.
    pub needs: Needs,
}

/// What a duty needs of a worker's device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: it moves bytes.
    Nothing,
    /// It computes exactly.
    Device,
    /// It computes exactly, and kernels of users are kept from the provider's files.
    Kernels,
}

/// A live worker, for status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerView {
    /// Which.
    pub id: WorkerId,
    /// Its role.
    pub role: Role,
    /// Device class, in hex.
    pub class: String,
    /// Driver.
    pub driver: String,
    /// Leases that it holds, of so many.
    pub slots: (u32, u32),
    /// Whether it runs kernels of users.
    pub kernels: bool,
    /// What its device computes wrongly.
    pub fault: Option<String>,
}

impl Worker {
    /// Whether it lives, computes exactly, and is as wanted.
    fn is(&self, wanted: Wanted, now: Millis) -> bool {
        let Wanted { role, needs } = wanted;
        let fits = match needs {
            Needs::Nothing => true,
            Needs::Device => self.alive.fault.is_none(),
            Needs::Kernels => self.alive.fault.is_none() && self.alive.kernels,
        };
        self.alive.role == role && fits && self.seen + LOST_MS >= now
    }
}

impl Fleet {
    /// Keys and owners that the ledger knows, whether they are still approved or not.
    pub fn set_registered(&mut self, owners: Vec<(PublicKey, Name)>) {
        self.registered = owners.into_iter().collect();
    }

    /// Replaces the providers; workers of others, and of those that are retired, are forgotten.
    pub fn set_providers(&mut self, providers: Vec<ProviderInfo>) {
        self.providers = providers.into_iter().map(|provider| (provider.name.clone(), provider)).collect();
        let providers = &self.providers;
        self.workers.retain(|id, _| providers.get(&id.provider).is_some_and(|provider| !provider.retired));
    }

    /// Takes in a heartbeat; nothing when it counts for nothing, else whether the worker is new or was lost, so that its
    /// consumer must be made sure of.
    pub fn beat(&mut self, id: &WorkerId, alive: Alive, now: Millis) -> Option<bool> {
        let provider = self.providers.get(&id.provider)?;
        // The platform's identity does the platform's work, and nobody else's does.
        let platform = provider.name.as_str() == PLATFORM;
        if provider.retired || alive.check().is_err() || (alive.role == Role::Platform) != platform {
            return None;
        }
        if let Some(worker) = self.workers.get_mut(id) {
            let lost = worker.seen + LOST_MS < now;
            worker.ready &= !lost;
            worker.seen = now;
            worker.alive = alive;
            return Some(lost);
        }
        let of_provider = self.workers.keys().filter(|other| other.provider == id.provider).count();
        if of_provider >= MAX_WORKERS_PER_PROVIDER {
            return None;
        }
        self.workers.insert(id.clone(), Worker { alive, seen: now, ready: false, held: 0, last_assigned: 0 });
        Some(true)
    }

    /// Whether a lease that this provider's worker lists, and that is not known, may be looked at now.
    pub fn may_look(&mut self, provider: &Name, now: Millis) -> bool {
        let (since, looks) = self.looks.entry(provider.clone()).or_default();
        if now >= *since + 1000 {
            (*since, *looks) = (now, 0);
        }
        *looks += 1;
        *looks <= LOOKS_A_SECOND
    }

    /// The worker's consumer exists.
    pub fn ready(&mut self, id: &WorkerId) {
        if let Some(worker) = self.workers.get_mut(id) {
            worker.ready = true;
        }
    }

    /// Whether the worker was heard lately.
    pub fn is_alive(&self, id: &WorkerId, now: Millis) -> bool {
        self.workers.get(id).is_some_and(|worker| worker.seen + LOST_MS >= now)
    }

    /// Forgets workers that are long gone.
    pub fn expire(&mut self, now: Millis) {
        self.workers.retain(|_, worker| worker.seen + 10 * LOST_MS >= now);
    }

    /// Whether the provider with this key has such a live worker, busy or not.
    pub fn has(&self, key: &PublicKey, wanted: Wanted, now: Millis) -> bool {
        self.any(wanted, now, |_, provider| provider.key == *key)
    }

    /// Whether such a live worker, busy or not, suits.
    pub fn any(&self, wanted: Wanted, now: Millis, suits: impl Fn(&WorkerId, &ProviderInfo) -> bool) -> bool {
        let live = self.workers.iter().filter(|(_, worker)| worker.is(wanted, now));
        live.filter_map(|(id, _)| Some((id, self.providers.get(&id.provider)?)))
            .any(|(id, provider)| suits(id, provider))
    }

    /// All slots of the live workers of a role.
    pub fn slots(&self, role: Role, now: Millis) -> usize {
        let live = self.workers.values().filter(|worker| worker.alive.role == role && worker.seen + LOST_MS >= now);
        live.map(|worker| worker.alive.slots as usize).sum()
    }

    /// The worker that should take the next such lease: ready, with a free slot, `suits`; the freest, and among equals the
    /// one that waited longest.
    pub fn pick(
        &self,
        wanted: Wanted,
        now: Millis,
        suits: impl Fn(&WorkerId, &ProviderInfo) -> bool,
    ) -> Option<(WorkerId, &ProviderInfo)> {
        let free = |worker: &Worker| worker.alive.slots.saturating_sub(worker.held);
        self.workers
            .iter()
            .filter(|(_, worker)| worker.is(wanted, now) && worker.ready && free(worker) > 0)
            .filter_map(|(id, worker)| Some((id, worker, self.providers.get(&id.provider)?)))
            .filter(|(id, _, provider)| suits(id, provider))
            .max_by_key(|(_, worker, _)| (free(worker), std::cmp::Reverse(worker.last_assigned)))
            .map(|(id, _, provider)| (id.clone(), provider))
    }

    /// A lease was given to the worker.
    pub fn hold(&mut self, id: &WorkerId) {
        self.assignments += 1;
        if let Some(worker) = self.workers.get_mut(id) {
            worker.held += 1;
            worker.last_assigned = self.assignments;
        }
    }

    /// A lease of the worker ended.
    pub fn release(&mut self, id: &WorkerId) {
        if let Some(worker) = self.workers.get_mut(id) {
            worker.held = worker.held.saturating_sub(1);
        }
    }

    /// The provider of this name.
    pub fn provider(&self, name: &Name) -> Option<&ProviderInfo> {
        self.providers.get(name)
    }

    /// The provider with this key.
    pub fn provider_by_key(&self, key: &PublicKey) -> Option<&ProviderInfo> {
        self.providers.values().find(|provider| provider.key == *key)
    }

    /// Who owns this key, approved or not.
    pub fn owner_of(&self, key: &PublicKey) -> Option<&Name> {
        self.provider_by_key(key).map(|provider| &provider.owner).or_else(|| self.registered.get(key))
    }

    /// Owners of all providers but the platform.
    pub fn owners(&self) -> BTreeSet<&Name> {
        let suits = |provider: &&ProviderInfo| provider.name.as_str() != PLATFORM && !provider.retired;
        let others = self.providers.values().filter(suits);
        others.map(|provider| &provider.owner).collect()
    }

    /// Keys of validating providers that have such a live worker, ascending; at most `max`.
    pub fn eligible_validators(&self, wanted: Wanted, now: Millis, max: usize) -> Vec<PublicKey> {
        let keys: BTreeSet<PublicKey> = self
            .providers
            .values()
            .filter(|provider| provider.validates && provider.name.as_str() != PLATFORM)
            .filter(|provider| self.has(&provider.key, wanted, now))
            .map(|provider| provider.key)
            .collect();
        keys.into_iter().take(max).collect()
    }

    /// Live workers.
    pub fn view(&self, now: Millis) -> Vec<WorkerView> {
        let live = self.workers.iter().filter(|(_, worker)| worker.seen + LOST_MS >= now);
        live.map(|(id, worker)| WorkerView {
            id: id.clone(),
            role: worker.alive.role,
            class: worker.alive.class.to_string(),
            driver: worker.alive.driver.clone(),
            slots: (worker.held, worker.alive.slots),
            kernels: worker.alive.kernels,
            fault: worker.alive.fault.clone(),
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use orion_protocol::Digest;

    use super::*;

    const NOW: Millis = 1_000_000;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn id(worker: &str) -> WorkerId {
        WorkerId { provider: name("acme"), worker: name(worker) }
    }

    fn alive(kernels: bool, fault: Option<&str>) -> Alive {
        Alive {
            role: Role::Worker,
            class: Digest::of(b"a class"),
            driver: "a driver".to_owned(),
            slots: 2,
            leases: Vec::new(),
            version: "1".to_owned(),
            kernels,
            fault: fault.map(str::to_owned),
        }
    }

    /// One provider's workers: what each is called, whether it runs kernels, and what its device computes wrongly.
    fn fleet(workers: &[(&str, bool, Option<&str>)]) -> Fleet {
        let mut fleet = Fleet::default();
        let key = PublicKey([7; 32]);
        let provider = ProviderInfo { name: name("acme"), key, owner: name("alice"), validates: true, retired: false };
        fleet.set_providers(vec![provider]);
        for (worker, kernels, fault) in workers {
            assert_eq!(fleet.beat(&id(worker), alive(*kernels, *fault), NOW), Some(true));
            fleet.ready(&id(worker));
        }
        fleet
    }

    fn picked(fleet: &Fleet, needs: Needs) -> Option<String> {
        let wanted = Wanted { role: Role::Worker, needs };
        let picked = fleet.pick(wanted, NOW, |_, _| true).map(|(id, _)| id.worker.to_string());
        // Whoever asks whether there is one gets the same answer.
        assert_eq!(fleet.has(&PublicKey([7; 32]), wanted, NOW), picked.is_some());
        assert_eq!(fleet.eligible_validators(wanted, NOW, 1).len(), usize::from(picked.is_some()));
        picked
    }

    #[test]
    fn a_duty_goes_only_to_a_worker_whose_device_does_it() {
        let bare = fleet(&[("bare", false, None)]);
        assert_eq!(picked(&bare, Needs::Nothing).as_deref(), Some("bare"));
        assert_eq!(picked(&bare, Needs::Device).as_deref(), Some("bare"));
        assert_eq!(picked(&bare, Needs::Kernels), None);
        let wrong = fleet(&[("wrong", true, Some("x + y of 0 0 0 gives 1, not 0"))]);
        assert_eq!(picked(&wrong, Needs::Nothing).as_deref(), Some("wrong"));
        assert_eq!(picked(&wrong, Needs::Device), None);
        assert_eq!(picked(&wrong, Needs::Kernels), None);
        let all = fleet(&[("a-bare", false, None), ("b-whole", true, None), ("c-wrong", true, Some("exp of 0"))]);
        assert_eq!(picked(&all, Needs::Kernels).as_deref(), Some("b-whole"));
        assert_ne!(picked(&all, Needs::Device).as_deref(), Some("c-wrong"));
        assert!(picked(&all, Needs::Nothing).is_some());
    }

    #[test]
    fn the_newest_heartbeat_says_what_a_worker_does() {
        let mut fleet = fleet(&[("one", true, None)]);
        assert!(picked(&fleet, Needs::Kernels).is_some());
        assert_eq!(fleet.beat(&id("one"), alive(true, Some("sin of 1")), NOW), Some(false));
        assert_eq!(picked(&fleet, Needs::Device), None);
        assert_eq!(fleet.view(NOW)[0].fault.as_deref(), Some("sin of 1"));
        assert_eq!(fleet.beat(&id("one"), alive(false, None), NOW), Some(false));
        assert!(picked(&fleet, Needs::Device).is_some());
        assert_eq!(picked(&fleet, Needs::Kernels), None);
        // What a heartbeat may not say leaves things as they were.
        assert_eq!(fleet.beat(&id("one"), alive(true, Some(&"x".repeat(Alive::MAX_FAULT + 1))), NOW), None);
        assert!(picked(&fleet, Needs::Device).is_some());
    }
}
