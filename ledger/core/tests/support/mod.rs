//! A world for tests: keys, a chain that logs itself, and the signed statements of every party, honest or not.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]
#![expect(clippy::unwrap_used, reason = "what a fixture cannot do fails its test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use orion_ledger_core::{Admission, Chain, Replay, Signer, VerifierKey};
use orion_protocol::bytes::Name;
use orion_protocol::draw::{self, Draw};
use orion_protocol::dtype::DType;
use orion_protocol::ids::{Account, AccountId, ChainId, JobId, TxId, action_digest};
use orion_protocol::ledger::SealRef;
use orion_protocol::ledger::leaf::{Code, Receipt};
use orion_protocol::ledger::tx::*;
use orion_protocol::merkle::{self, Sha3};
use orion_protocol::statements::*;
use orion_protocol::task::*;
use orion_protocol::{Digest, PublicKey, SecretKey, Signed, cbor};

/// What everything costs here.
pub const POLICY: Policy = Policy::per_work(1_000_000, 20_000, 0, 60_000);
/// When block 0 was made.
pub const START_MS: u64 = 1_700_000_000_000;

/// The key with this number.
pub fn key(number: u8) -> SecretKey {
    static KEYS: LazyLock<Vec<SecretKey>> =
        LazyLock::new(|| (0..=u8::MAX).map(|number| SecretKey::from_seed(&[number; 32])).collect());
    KEYS[usize::from(number)].clone()
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The parties that the genesis names.
pub struct Keys {
    pub operator: SecretKey,
    pub platform: SecretKey,
    pub issuer: SecretKey,
    pub checkpoint: SecretKey,
}

impl Keys {
    pub fn new() -> Keys {
        Keys { operator: key(1), platform: key(2), issuer: key(3), checkpoint: key(4) }
    }

    pub fn genesis(&self) -> Genesis {
        self.genesis_under(POLICY)
    }

    pub fn genesis_under(&self, policy: Policy) -> Genesis {
        Genesis {
            nonce: Digest::of(b"a chain for tests"),
            operator: self.operator.public(),
            platform: self.platform.public(),
            issuer: self.issuer.public(),
            checkpoint: self.checkpoint.public(),
            policy,
            issuers: None,
            bonds: None,
        }
    }
}

/// The consumer of all tests.
pub fn consumer(chain: &ChainId) -> AccountId {
    Account::Consumer { cluster: "cluster", namespace: "demo" }.id(chain)
}

/// A job of `items` items, one a unit, `per_shard` units a shard, 10 operations an item.
pub fn spec(number: u8, items: u64, per_shard: u64, audits: u32) -> TaskSpec {
    spec_under(&POLICY, number, items, per_shard, audits)
}

/// As [`spec`], on a chain with another policy.
pub fn spec_under(policy: &Policy, number: u8, items: u64, per_shard: u64, audits: u32) -> TaskSpec {
    TaskSpec {
        job: JobId([number; 32]),
        workload: Digest::of(b"workload"),
        inputs: vec![Digest::of(b"input")],
        kernel_set: 0,
        units: UnitTable { items, items_per_unit: 1, units_per_shard: per_shard, work_per_item: 10 },
        outputs: vec![OutputSpec { name: name("out"), dtype: DType::Int32, shape: vec![items], layout: None }],
        comparator: Comparator::Exact,
        audits_per_shard: audits,
        price: policy.price,
        fee_ppm: policy.fee_ppm,
        policy: policy.digest(),
    }
}

/// What a unit's digest really is, and what a liar says.
pub fn digest_of(unit: u64, lie: bool) -> Digest {
    Digest::of(&[unit.to_be_bytes().as_slice(), &[u8::from(lie)]].concat())
}

fn salt_of(unit: u64) -> Digest {
    Digest::of(&[b"salt".as_slice(), &unit.to_be_bytes()].concat())
}

/// A shard as somebody computed it.
#[derive(Clone)]
pub struct Work {
    pub entry: RoundEntry,
    pub lease: Digest,
    pub core: LeaseCore,
    pub lies: BTreeSet<u64>,
}

/// Who votes how about a shard.
#[derive(Clone, Default)]
pub struct Ballot {
    /// Validators that give wrong digests.
    pub liars: BTreeSet<PublicKey>,
    /// Validators that do not answer.
    pub silent: BTreeSet<PublicKey>,
}

/// A work lease as it should be.
pub fn lease(spec: &TaskSpec, shard: u32, attempt: u32, provider: PublicKey) -> LeaseCore {
    let (first_unit, units) = spec.units.shard(shard).unwrap();
    LeaseCore {
        kind: LeaseKind::Work,
        task: spec.digest(),
        shard,
        first_unit,
        units,
        token: Token { epoch: 1, attempt, copy: 0 },
        provider,
        worker: name("w0"),
        audit: None,
    }
}

/// Signs for everybody on one chain.
pub struct Signers {
    pub chain: ChainId,
    pub keys: Keys,
    /// By public key; the platform's too.
    pub providers: BTreeMap<PublicKey, SecretKey>,
    pub owners: BTreeMap<PublicKey, String>,
}

impl Signers {
    pub fn new() -> Signers {
        Signers::of(&Keys::new().genesis())
    }

    pub fn of(genesis: &Genesis) -> Signers {
        let keys = Keys::new();
        let chain = genesis.chain();
        let platform = keys.platform.clone();
        let providers = BTreeMap::from([(platform.public(), platform)]);
        Signers { chain, keys, providers, owners: BTreeMap::new() }
    }

    /// A shard, computed; wrong in `lies`.
    pub fn work(&self, spec: &TaskSpec, shard: u32, attempt: u32, provider: PublicKey, lies: &[u64]) -> Work {
        let core = lease(spec, shard, attempt, provider);
        self.work_for(core, lies)
    }

    pub fn work_for(&self, core: LeaseCore, lies: &[u64]) -> Work {
        let lies: BTreeSet<u64> = lies.iter().copied().collect();
        let lease = Signed::new(&self.chain, &self.keys.operator, &core);
        let root = Digest(merkle::root::<Sha3>(&leaves(&core, &lies)));
        let commitment = Commitment {
            lease: lease.digest(&self.chain),
            units: core.units,
            root,
            outputs: vec![Digest::of(b"rows")],
            digest_list: Digest::of(b"list"),
            class: Digest::of(b"class"),
            driver: "pocl".into(),
        };
        self.committed(core, lies, &commitment)
    }

    /// Signs a commitment, whatever it says, as the lease's provider.
    pub fn committed(&self, core: LeaseCore, lies: BTreeSet<u64>, commitment: &Commitment) -> Work {
        let lease = Signed::new(&self.chain, &self.keys.operator, &core);
        let commitment = Signed::new(&self.chain, &self.providers[&core.provider], commitment);
        let ingested = Ingested { commitment: commitment.digest(&self.chain), refused: None };
        let ingested = Signed::new(&self.chain, &self.keys.platform, &ingested);
        let digest = lease.digest(&self.chain);
        Work { entry: RoundEntry { lease, commitment, ingested }, lease: digest, core, lies }
    }

    /// As old logs have it: it does not say by which task.
    pub fn vote(&self, by: PublicKey, round: Digest, lease: Digest, units: Vec<UnitDigest>) -> Signed<Vote> {
        let vote = Vote { round, lease, units, class: Digest::of(b"class"), task: None };
        Signed::new(&self.chain, &self.providers[&by], &vote)
    }

    /// As a worker signs it, about units of the task that its audit lease names.
    pub fn vote_by_task(
        &self,
        by: PublicKey,
        round: Digest,
        (task, lease): (&TaskSpec, Digest),
        units: Vec<UnitDigest>,
    ) -> Signed<Vote> {
        let vote = Vote { round, lease, units, class: Digest::of(b"class"), task: Some(task.digest()) };
        Signed::new(&self.chain, &self.providers[&by], &vote)
    }

    /// The evidence for a shard's verdict, as an honest operator puts it together from what everybody says.
    pub fn evidence(&self, work: &Work, spec: &TaskSpec, closed: &Closed, ballot: &Ballot) -> ShardVerdict {
        let draw = Draw { seed: closed.seed, shard: work.core.shard, attempt: work.core.token.attempt };
        let places = draw.places(work.core.units, spec.audits_per_shard);
        let tree = leaves(&work.core, &work.lies);
        let unit = |place: &u64| {
            let unit = work.core.first_unit + place;
            let path = merkle::path::<Sha3>(&tree, usize::try_from(*place).unwrap());
            let digest = digest_of(unit, work.lies.contains(&unit));
            DrawnUnit { unit, digest, salt: salt_of(unit), path: path.into_iter().map(Digest).collect() }
        };
        let drawn: Vec<DrawnUnit> = places.iter().map(unit).collect();
        let eligible: Vec<(PublicKey, &str)> =
            closed.eligible.iter().map(|key| (*key, self.owners[key].as_str())).collect();
        let order = draw.validators(&eligible, &self.owners[&work.core.provider]);
        let platform = self.keys.platform.public();
        let (mut asked, mut absent) = (BTreeMap::<PublicKey, BTreeSet<u64>>::new(), BTreeSet::new());
        for (j, unit) in drawn.iter().enumerate() {
            let mut candidates = order.candidates(j);
            let voter = candidates.find(|key| {
                let silent = ballot.silent.contains(key);
                if silent {
                    absent.insert(*key);
                }
                !silent
            });
            asked.entry(voter.unwrap_or(platform)).or_default().insert(unit.unit);
        }
        let says =
            |key: &PublicKey, unit: u64| UnitDigest { unit, digest: digest_of(unit, ballot.liars.contains(key)) };
        let mut votes = Vec::new();
        let mut disputed = BTreeSet::new();
        for (key, units) in &asked {
            let said: Vec<UnitDigest> = units.iter().map(|unit| says(key, *unit)).collect();
            let claimed = |unit: u64| digest_of(unit, work.lies.contains(&unit));
            let differs = said.iter().filter(|said| *key != platform && said.digest != claimed(said.unit));
            disputed.extend(differs.map(|said| said.unit));
            votes.push(self.vote(*key, closed.round, work.lease, said));
        }
        let truth = disputed.iter().map(|unit| UnitDigest { unit: *unit, digest: digest_of(*unit, false) }).collect();
        let referee = (!disputed.is_empty()).then(|| self.vote(platform, closed.round, work.lease, truth));
        ShardVerdict { lease: work.lease, drawn, votes, absent: absent.into_iter().collect(), referee }
    }
}

fn leaves(core: &LeaseCore, lies: &BTreeSet<u64>) -> Vec<[u8; 32]> {
    let units = core.first_unit..core.first_unit + core.units;
    units.map(|unit| Sha3::unit_leaf(&salt_of(unit), unit, &digest_of(unit, lies.contains(&unit)))).collect()
}

/// A transaction with the words of these keys, for an envelope of `sender` under this id.
pub fn approve(chain: &ChainId, sender: &SecretKey, id: TxId, inner: &Transaction, by: &[SecretKey]) -> Approved {
    let inner = cbor::to_vec(inner);
    let action = action_digest(&sender.public(), &id, &inner);
    let mut approvals: Vec<_> = by.iter().map(|key| Signed::new(chain, key, &Approval { action })).collect();
    approvals.sort_by_key(Signed::key);
    Approved { inner: inner.into(), approvals }
}

/// A round after its seal.
pub struct Closed {
    pub round: Digest,
    pub seed: Digest,
    pub eligible: Vec<PublicKey>,
}

/// A chain with everybody who acts on it; remembers every leaf.
pub struct World {
    pub signers: Signers,
    pub chain: Chain,
    pub admission: Admission,
    pub log: Vec<Vec<u8>>,
    /// By height; but for blocks that a test made behind the world's back.
    pub seals: Vec<SealRef>,
    pub time_ms: u64,
    next_id: u64,
}

impl World {
    /// Block 0 and epoch 1; nobody registered, no money.
    pub fn bare() -> World {
        World::bare_under(POLICY)
    }

    pub fn bare_under(policy: Policy) -> World {
        World::bare_of(&Keys::new().genesis_under(policy))
    }

    /// As [`World::bare`], from another genesis with the same keys.
    pub fn bare_of(genesis: &Genesis) -> World {
        let signers = Signers::of(genesis);
        let (chain, block) = Chain::start(&genesis.to_bytes(), START_MS).unwrap();
        let admission = Admission::new(genesis);
        let (log, seals) = (block.leaves, vec![block.seal]);
        let mut world = World { signers, chain, admission, log, seals, time_ms: START_MS, next_id: 0 };
        assert_eq!(world.open_epoch(1), Code::Ok);
        world
    }

    /// Three providers of three owners, all validating, and a consumer with 10 million micro-credits.
    pub fn new() -> World {
        World::under(POLICY)
    }

    /// As [`World::new`], with another policy.
    pub fn under(policy: Policy) -> World {
        let mut world = World::bare_under(policy);
        for (number, owner) in [(11, "alice"), (12, "bob"), (13, "carol")] {
            assert_eq!(world.register(number, owner), Code::Ok);
        }
        assert_eq!(world.deposit(10_000_000), Code::Ok);
        world
    }

    pub fn account(&self) -> AccountId {
        consumer(&self.signers.chain)
    }

    pub fn balance(&self, account: &Account<'_>) -> u64 {
        self.chain.account(account.id(&self.signers.chain)).balance
    }

    /// A fresh id.
    pub fn id(&mut self) -> TxId {
        self.next_id += 1;
        let mut id = [0; 16];
        id[8..].copy_from_slice(&self.next_id.to_be_bytes());
        TxId(id)
    }

    /// Signs as whoever may send it, in the current epoch.
    pub fn sign(&mut self, tx: &Transaction, id: TxId) -> Signed<Envelope> {
        let keys = &self.signers.keys;
        match tx {
            Transaction::Deposit(_) | Transaction::Approved(_) => tx.sign(&self.signers.chain, &keys.issuer, 0, id),
            Transaction::OpenEpoch(open) => tx.sign(&self.signers.chain, &keys.operator, open.epoch, id),
            _ => tx.sign(&self.signers.chain, &keys.operator, self.chain.epoch(), id),
        }
    }

    /// Orders envelopes in one block; gives their receipts.
    pub fn block(&mut self, txs: Vec<Signed<Envelope>>) -> Vec<Receipt> {
        self.time_ms += 10;
        let txs: Vec<_> = txs.into_iter().map(|tx| self.admission.check(tx).unwrap()).collect();
        let block = self.chain.finalize_block(self.time_ms, &txs).unwrap();
        if !block.leaves.is_empty() {
            self.seals.push(block.seal);
        }
        self.log.extend(block.leaves);
        self.chain.audit().unwrap();
        block.outcomes.into_iter().map(|outcome| outcome.receipt).collect()
    }

    /// A transaction in a block of its own.
    pub fn receipt(&mut self, tx: &Transaction) -> Receipt {
        let id = self.id();
        let signed = self.sign(tx, id);
        self.block(vec![signed]).remove(0)
    }

    pub fn send(&mut self, tx: &Transaction) -> Code {
        self.receipt(tx).code
    }

    /// A transaction with the words of these keys, in an envelope of the issuer.
    pub fn approved(&mut self, inner: &Transaction, by: &[SecretKey]) -> Receipt {
        let (sender, id) = (self.signers.keys.issuer.clone(), self.id());
        let tx = Transaction::Approved(approve(&self.signers.chain, &sender, id, inner, by));
        let signed = self.sign(&tx, id);
        self.block(vec![signed]).remove(0)
    }

    pub fn open_epoch(&mut self, epoch: u64) -> Code {
        self.send(&Transaction::OpenEpoch(OpenEpoch { epoch, nonce: vec![7; 16].into() }))
    }

    pub fn register(&mut self, number: u8, owner: &str) -> Code {
        let secret = key(number);
        let public = secret.public();
        self.signers.providers.insert(public, secret);
        self.signers.owners.insert(public, owner.into());
        let tx = RegisterProvider { key: public, owner: name(owner), validates: true };
        self.send(&Transaction::RegisterProvider(tx))
    }

    pub fn deposit(&mut self, amount: u64) -> Code {
        let consumer = Consumer { account: self.account() };
        self.send(&Transaction::Deposit(Deposit { consumer, amount }))
    }

    pub fn escrow_tx(&self, spec: &TaskSpec, budget: u64) -> Transaction {
        let consumer = Consumer { account: self.account() };
        Transaction::OpenEscrow(OpenEscrow { consumer, task: spec.object().into(), budget })
    }

    pub fn open_escrow(&mut self, spec: &TaskSpec) -> Code {
        let tx = self.escrow_tx(spec, u64::MAX);
        self.send(&tx)
    }

    /// Every registered provider, ascending.
    pub fn eligible(&self) -> Vec<PublicKey> {
        self.signers.owners.keys().copied().collect()
    }

    pub fn close_tx(&self, spec: &TaskSpec, work: &[&Work]) -> CloseRound {
        let sequence = self.chain.jobs().get(&spec.job).map_or(0, |job| job.rounds.len() as u64);
        let entries = work.iter().map(|work| work.entry.clone()).collect();
        CloseRound { job: spec.job, sequence, entries, eligible: self.eligible() }
    }

    /// Closes a round and gives what its draw hangs on.
    pub fn close_round(&mut self, spec: &TaskSpec, work: &[&Work]) -> Closed {
        let tx = self.close_tx(spec, work);
        let eligible = tx.eligible.clone();
        assert_eq!(self.send(&Transaction::CloseRound(tx)), Code::Ok);
        let chain = &self.signers.chain;
        let commitments: Vec<Digest> = work.iter().map(|work| work.entry.commitment.digest(chain)).collect();
        let round = draw::round_id(&spec.job, &commitments);
        let seal = self.chain.seal_ref();
        let seed = draw::seed(chain, seal.size, &seal.root.0, &round);
        Closed { round, seed, eligible }
    }

    pub fn verdict_tx(&self, spec: &TaskSpec, closed: &Closed, shards: Vec<ShardVerdict>) -> RecordVerdict {
        let sequence = self.chain.jobs().get(&spec.job).map_or(0, |job| job.verdicts);
        RecordVerdict { job: spec.job, round: closed.round, sequence, shards }
    }

    /// Judges shards of a round, all with the same ballot.
    pub fn judge(&mut self, spec: &TaskSpec, closed: &Closed, work: &[&Work], ballot: &Ballot) -> Code {
        let shards = work.iter().map(|work| self.signers.evidence(work, spec, closed, ballot)).collect();
        let tx = self.verdict_tx(spec, closed, shards);
        self.send(&Transaction::RecordVerdict(tx))
    }

    pub fn settle(&mut self, spec: &TaskSpec, page: u64) -> Receipt {
        self.receipt(&Transaction::Settle(Settle { job: spec.job, page }))
    }

    pub fn close(&mut self, spec: &TaskSpec) -> Receipt {
        self.receipt(&Transaction::Close(Close { job: spec.job }))
    }

    /// A whole life of a job: the provider 11 computes its first shard, which is accepted, paid for and closed.
    pub fn pay(&mut self, task: &TaskSpec) {
        assert_eq!(self.open_escrow(task), Code::Ok);
        let work = self.signers.work(task, 0, 1, key(11).public(), &[]);
        let closed = self.close_round(task, &[&work]);
        assert_eq!(self.judge(task, &closed, &[&work], &Ballot::default()), Code::Ok);
        assert_eq!(self.settle(task, 0).code, Code::Ok);
        assert_eq!(self.close(task).code, Code::Ok);
    }

    /// The chain that the log gives from its beginning.
    pub fn replayed(&self) -> Chain {
        let mut replay = Replay::new(self.chain.id().clone());
        for leaf in &self.log {
            replay.leaf(leaf).unwrap();
        }
        replay.finish().unwrap()
    }

    /// The log as an export, and the key that verifies it.
    pub fn export(&self) -> (Vec<u8>, VerifierKey) {
        export_of(&self.signers, &self.chain.seal_ref(), &self.log)
    }
}

pub fn export_of(signers: &Signers, seal: &SealRef, log: &[Vec<u8>]) -> (Vec<u8>, VerifierKey) {
    let mut signer = Signer::new(&signers.chain, signers.keys.checkpoint.clone(), None);
    let note = signer.sign(seal).unwrap();
    let mut bytes = Vec::new();
    orion_ledger_core::export::write(&mut bytes, &note, log.iter().map(Vec::as_slice)).unwrap();
    (bytes, signer.key().clone())
}

/// Small deterministic randomness (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform enough in `[0, n)`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The seed of a random test: from `ORION_SEED`, or fresh. Print it.
pub fn seed() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    let given = std::env::var("ORION_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| std::hash::RandomState::new().build_hasher().finish())
}
