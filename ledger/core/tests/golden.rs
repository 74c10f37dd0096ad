//! Logs that releases wrote: `v1` the first one, before earnings could vest, `v2` the one that lets them, and knows approvals, `v3`
//! the one in which keys follow each other, stakes are lost and policies are published. They verify for ever, to the same seal, root
//! and sums; and what happens in them still
//! makes the same bytes, so that no rule that came later changes an old one.
//!
//! The files are never written again. One of a later format is added under a name of its own, by
//! `ORION_ADD_GOLDEN=1 cargo test -p orion-ledger-core --test golden`, which makes what is missing and replaces nothing.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;

use orion_ledger_core::verify;
use orion_protocol::ids::reserve_id;
use orion_protocol::ledger::SealRef;
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody, Receipt, Totals};
use orion_protocol::ledger::tx::*;
use orion_protocol::merkle::{Sha256, Tree};
use orion_protocol::statements::UnitDigest;
use orion_protocol::task::{InferenceWorkload, TaskSpec, Workload};
use orion_protocol::{Digest, JobId, SecretKey};
use support::{Ballot, Keys, POLICY, Work, World, export_of, key, spec, spec_under};

/// The bytes of the golden log with this name.
fn golden(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}; see the head of this file"))
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.export"))
}

/// Two shards, worked and audited, paid and closed; a second deposit, a refused budget, a repeated transaction.
fn paid_job() -> World {
    let mut world = World::new();
    let task = spec(1, 6, 3, 2);
    let dear = world.escrow_tx(&task, 1);
    assert_eq!(world.send(&dear), Code::BudgetTooSmall);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let alice = key(11).public();
    let shards = [world.signers.work(&task, 0, 1, alice, &[]), world.signers.work(&task, 1, 1, alice, &[])];
    let work: Vec<&Work> = shards.iter().collect();
    let closed = world.close_round(&task, &work);
    assert_eq!(world.judge(&task, &closed, &work, &Ballot::default()), Code::Ok);
    assert_eq!(world.close(&task).code, Code::NotSettled);
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    assert_eq!(world.close(&task).code, Code::Ok);
    assert_eq!(world.deposit(7), Code::Ok);
    world
}

/// A worker that lies, validators that lie and are silent, the referee, a second attempt.
fn dispute() -> World {
    let mut world = World::new();
    let task = spec(1, 4, 4, 4);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let [alice, bob, carol] = [11, 12, 13].map(|number| key(number).public());
    let bad = world.signers.work(&task, 0, 1, alice, &[0, 2]);
    let closed = world.close_round(&task, &[&bad]);
    let ballot = Ballot { silent: BTreeSet::from([carol]), ..Ballot::default() };
    assert_eq!(world.judge(&task, &closed, &[&bad], &ballot), Code::Ok);
    let good = world.signers.work(&task, 0, 2, bob, &[]);
    let closed = world.close_round(&task, &[&good]);
    let ballot = Ballot { liars: BTreeSet::from([carol]), ..Ballot::default() };
    assert_eq!(world.judge(&task, &closed, &[&good], &ballot), Code::Ok);
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    assert_eq!(world.close(&task).code, Code::Ok);
    world
}

/// Three escrows past their deadline in one block: one with two pages of pay, one with its first page paid, one with a round
/// that nobody judged.
fn expiry() -> World {
    let mut world = World::new();
    let tasks = [spec(3, 102, 1, 1), spec(1, 102, 1, 1), spec(2, 3, 3, 1)];
    for task in &tasks {
        assert_eq!(world.open_escrow(task), Code::Ok);
    }
    for task in &tasks[..2] {
        for from in (0..102).step_by(32) {
            let shards = from..102.min(from + 32);
            let shards: Vec<Work> =
                shards.map(|shard| world.signers.work(task, shard, 1, key(11).public(), &[])).collect();
            let work: Vec<&Work> = shards.iter().collect();
            let closed = world.close_round(task, &work);
            assert_eq!(world.judge(task, &closed, &work, &Ballot::default()), Code::Ok);
        }
    }
    assert_eq!(world.settle(&tasks[1], 0).code, Code::Ok);
    let unjudged = world.signers.work(&tasks[2], 0, 1, key(12).public(), &[]);
    world.close_round(&tasks[2], &[&unjudged]);
    world.time_ms += POLICY.escrow_ms;
    assert_eq!(world.deposit(1), Code::Ok);
    assert_eq!(world.chain.totals().escrows, 0);
    world
}

/// Envelopes of epochs that are over and to come; the last block repeats a refusal, as the first ledgers wrote it.
fn stale_epochs() -> World {
    let mut world = World::bare();
    let signed = |world: &mut World, job: u8, epoch| {
        let (tx, id) = (Transaction::Close(Close { job: JobId([job; 32]) }), world.id());
        tx.sign(&world.signers.chain, &world.signers.keys.operator, epoch, id)
    };
    let (old, early) = (signed(&mut world, 1, 1), signed(&mut world, 2, 3));
    assert_eq!(world.open_epoch(2), Code::Ok);
    let codes: Vec<Code> = world.block(vec![old.clone(), early.clone()]).iter().map(|one| one.code).collect();
    assert_eq!(codes, [Code::StaleEpoch; 2]);
    assert_eq!(world.open_epoch(3), Code::Ok);
    assert_eq!(world.block(vec![early])[0].code, Code::NoSuchJob);
    // The block of another refusal, with the leaf of the first one put in its place: no sum and no state differs.
    let other = signed(&mut world, 3, 1);
    assert_eq!(world.block(vec![other])[0].code, Code::StaleEpoch);
    let at = world.log.len() - 2;
    let mut leaf = Leaf::from_bytes(&world.log[at]).unwrap();
    leaf.body = LeafBody::Transaction(old, Receipt { code: Code::StaleEpoch, transfers: Vec::new() });
    world.log[at] = leaf.to_bytes();
    world
}

/// Earnings that vest for 20 s: of a job that was closed, and of one that ran out; all but the last page matured.
fn vesting() -> World {
    let policy = Policy { vesting_ms: 20_000, ..POLICY };
    let mut world = World::under(policy.clone());
    let tasks = [1, 2].map(|number| spec_under(&policy, number, 4, 4, 2));
    for task in &tasks {
        assert_eq!(world.open_escrow(task), Code::Ok);
        let work = world.signers.work(task, 0, 1, key(11).public(), &[]);
        let closed = world.close_round(task, &[&work]);
        assert_eq!(world.judge(task, &closed, &[&work], &Ballot::default()), Code::Ok);
    }
    assert_eq!(world.settle(&tasks[0], 0).code, Code::Ok);
    assert_eq!(world.close(&tasks[0]).code, Code::Ok);
    world.time_ms += policy.vesting_ms;
    assert_eq!(world.deposit(1), Code::Ok);
    world.time_ms += policy.escrow_ms;
    assert_eq!(world.deposit(2), Code::Ok);
    assert!(world.chain.totals().vesting > 0 && world.chain.totals().providers > 0);
    world
}

/// Three issuers of whom two decide, a withdrawal from a reserve, one that lapses, one that is given up, and other issuers.
fn approvals() -> World {
    let issuer = Keys::new().issuer;
    let keys = |numbers: &[u8]| {
        let mut keys: Vec<_> = numbers.iter().map(|number| key(*number).public()).chain([issuer.public()]).collect();
        keys.sort_unstable();
        keys
    };
    let issuers = Some(Issuers { threshold: 2, keys: keys(&[31, 32]) });
    let mut world = World::bare_of(&Genesis { issuers, ..Keys::new().genesis() });
    for (number, owner) in [(11, "alice"), (12, "bob")] {
        assert_eq!(world.register(number, owner), Code::Ok);
    }
    let both = [issuer.clone(), key(31)];
    let consumer = Consumer { account: world.account() };
    let deposit = Transaction::Deposit(Deposit { consumer, amount: 100_000 });
    assert_eq!(world.send(&deposit), Code::NotEnoughApprovals);
    assert_eq!(world.approved(&deposit, &both).code, Code::Ok);
    let task = spec(1, 40, 40, 2);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    assert_eq!(world.send(&Transaction::TopUp(TopUp { job: task.job, amount: 50 })), Code::Ok);
    let work = world.signers.work(&task, 0, 1, key(11).public(), &[]);
    let closed = world.close_round(&task, &[&work]);
    assert_eq!(world.judge(&task, &closed, &[&work], &Ballot::default()), Code::Ok);
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    assert_eq!(world.close(&task).code, Code::Ok);
    let expires_ms = world.time_ms + 200;
    let reserves = [150, 100, 50].map(|amount| {
        let (tx, id) = (Transaction::Reserve(Reserve { amount, expires_ms }), world.id());
        let signed = tx.sign(&world.signers.chain, &key(11), 0, id);
        assert_eq!(world.block(vec![signed])[0].code, Code::Ok);
        reserve_id(&key(11).public(), &id)
    });
    let from = Purse::Available(key(11).public());
    let withdraw = |amount, reserve| Transaction::Withdraw(Withdraw { from, amount, to: Digest::of(b"bank"), reserve });
    let owned = [issuer.clone(), key(31), key(11)];
    assert_eq!(world.approved(&withdraw(101, None), &owned).code, Code::InsufficientCredits);
    assert_eq!(world.approved(&withdraw(151, Some(reserves[0])), &owned).code, Code::ReserveOver);
    assert_eq!(world.approved(&withdraw(120, Some(reserves[0])), &owned).code, Code::Ok);
    assert_eq!(world.approved(&Transaction::Release(Release { reserve: reserves[1] }), &both).code, Code::Ok);
    assert_eq!(
        world.approved(&Transaction::Issuers(Issuers { threshold: 1, keys: keys(&[33]) }), &both).code,
        Code::Ok
    );
    world.time_ms = expires_ms;
    assert_eq!(world.deposit(1), Code::Ok, "one word is enough now, and the third reserve lapses");
    world
}

/// Every key is replaced: alice's by herself, bob's because it was lost, the platform's, and the operator's twice, the second time because
/// it was lost; what was committed to before is judged and paid after.
fn rotations() -> World {
    let mut world = World::new();
    let Keys { operator, platform, issuer, .. } = Keys::new();
    let task = spec(1, 12, 2, 2);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let work = [0, 1].map(|shard| world.signers.work(&task, shard, 1, key(11).public(), &[]));
    let closed = [0, 1].map(|at| world.close_round(&task, &[&work[at]]));
    let rotate = |role, old: &SecretKey, new: u8, lost| {
        Transaction::Rotate(Rotate { role, old: old.public(), new: key(new).public(), lost })
    };
    let mut done = |tx: &Transaction, by: &[SecretKey]| assert_eq!(world.approved(tx, by).code, Code::Ok);
    done(&rotate(KeyRole::Provider, &key(11), 51, false), &[issuer.clone(), key(11)]);
    done(&rotate(KeyRole::Provider, &key(12), 52, true), &[issuer.clone(), operator.clone()]);
    done(&rotate(KeyRole::Platform, &platform, 53, false), std::slice::from_ref(&issuer));
    done(&rotate(KeyRole::Operator, &operator, 54, false), std::slice::from_ref(&issuer));
    assert_eq!(world.register(12, "bob"), Code::Revoked);
    world.signers.keys.operator = key(54);
    assert_eq!(world.open_epoch(2), Code::Ok);
    world.signers.keys.platform = key(53);
    world.signers.providers.insert(key(53).public(), key(53));
    let silent = Ballot { silent: BTreeSet::from([key(12).public()]), ..Ballot::default() };
    assert_eq!(world.judge(&task, &closed[0], &[&work[0]], &silent), Code::Ok);
    let stolen = rotate(KeyRole::Operator, &key(54), 55, true);
    assert_eq!(world.approved(&stolen, std::slice::from_ref(&issuer)).code, Code::Ok);
    world.signers.keys.operator = key(55);
    assert_eq!(world.open_epoch(3), Code::Ok);
    assert_eq!(world.judge(&task, &closed[1], &[&work[1]], &silent), Code::Ok);
    let late = world.signers.work(&task, 2, 1, key(13).public(), &[]);
    let late = world.close_tx(&task, &[&late]);
    assert_eq!(world.send(&Transaction::CloseRound(late)), Code::BadValidator, "alice's old key");
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    assert_eq!(world.close(&task).code, Code::Ok);
    let from = Purse::Available(key(11).public());
    let withdraw = Transaction::Withdraw(Withdraw { from, amount: 10, to: Digest::of(b"bank"), reserve: None });
    assert_eq!(world.approved(&withdraw, &[issuer, key(51)]).code, Code::Ok);
    world
}

/// Stakes that are made, taken back, and free again; a validator that said two things, and loses of all it has.
fn stakes() -> World {
    let policy = Policy { vesting_ms: 20_000, ..POLICY };
    let bonds = Some(Bonds { unbonding_ms: 30_000, slash_ppm: 800_000 });
    let mut world = World::bare_of(&Genesis { bonds, ..Keys::new().genesis_under(policy.clone()) });
    for (number, owner) in [(11, "alice"), (12, "bob"), (13, "carol")] {
        assert_eq!(world.register(number, owner), Code::Ok);
    }
    assert_eq!(world.deposit(10_000_000), Code::Ok);
    let workload = Workload::Inference(InferenceWorkload {
        model: 0,
        dims: Vec::new(),
        tensors: Vec::new(),
        results: vec!["out".into()],
    });
    let workload = workload.object();
    let task =
        |number| TaskSpec { workload: Digest::of(&workload), kernel_set: 1, ..spec_under(&policy, number, 8, 4, 2) };
    world.pay(&task(1));
    world.time_ms += policy.vesting_ms;
    assert_eq!(world.deposit(1), Code::Ok);
    let (chain, alice) = (world.signers.chain.clone(), key(11));
    let send = |world: &mut World, tx: &Transaction| {
        let id = world.id();
        world.block(vec![tx.sign(&chain, &alice, 0, id)]).remove(0).code
    };
    for amount in [25, 10] {
        assert_eq!(send(&mut world, &Transaction::Stake(Stake { amount })), Code::Ok);
        assert_eq!(send(&mut world, &Transaction::Unstake), Code::Ok);
        world.time_ms += 12_000;
    }
    assert_eq!(send(&mut world, &Transaction::Unstake), Code::InsufficientCredits);
    assert_eq!(send(&mut world, &Transaction::Stake(Stake { amount: 3 })), Code::Ok);
    let task = task(2);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let work =
        [0, 1].map(|shard| world.signers.work(&task, shard, 1, key(11 + u8::try_from(shard).unwrap()).public(), &[]));
    let closed = world.close_round(&task, &[&work[0], &work[1]]);
    assert_eq!(world.judge(&task, &closed, &[&work[0], &work[1]], &Ballot::default()), Code::Ok);
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    let vote = |lie| {
        let said = vec![UnitDigest { unit: 5, digest: support::digest_of(5, lie) }];
        world.signers.vote_by_task(alice.public(), closed.round, (&task, work[1].lease), said)
    };
    let (lease, object) = (work[1].entry.lease.clone(), task.object().into());
    let slash = Slash { workload: workload.into(), task: object, lease, first: vote(false), second: vote(true) };
    let slash = Transaction::Slash(Box::new(slash));
    let id = world.id();
    let by_operator = slash.sign(&world.signers.chain, &world.signers.keys.operator, 0, id);
    assert_eq!(world.block(vec![by_operator])[0].code, Code::Ok);
    assert_eq!(world.close(&task).code, Code::Ok);
    world.time_ms += policy.vesting_ms;
    assert_eq!(world.deposit(1), Code::Ok);
    assert_eq!(send(&mut world, &Transaction::Stake(Stake { amount: 4 })), Code::Ok);
    world
}

/// Policies that are published and refused, and jobs under three of them: the genesis', one that pays little for audits and holds
/// earnings back, and a pool, which is the default from then on; of one pool nothing was accepted.
fn policies() -> World {
    let mut world = World::new();
    let issuer = [world.signers.keys.issuer.clone()];
    let cheap = Policy { vesting_ms: 20_000, validator_ppm: Some(333_333), ..POLICY };
    let split = Split { workers: 850_000, validators: 120_000, treasury: 30_000 };
    let pool = Policy { fee_ppm: 0, mode: Mode::Pool(split), ..POLICY };
    let publish = |policy: &Policy| Transaction::PublishPolicy(PublishPolicy { policy: policy.to_bytes().into() });
    let dear = Policy { price: Policy::MAX_PRICE + 1, ..POLICY };
    assert_eq!(world.open_escrow(&spec_under(&pool, 1, 4, 4, 2)), Code::UnknownPolicy);
    for (policy, code) in [(&cheap, Code::Ok), (&dear, Code::PolicyPrice), (&pool, Code::Ok)] {
        assert_eq!(world.approved(&publish(policy), &issuer).code, code);
    }
    let default = Transaction::Params(Params { policy: pool.digest() });
    assert_eq!(world.approved(&default, &issuer).code, Code::Ok);
    for (number, policy) in [(2, &POLICY), (3, &cheap), (4, &pool)] {
        world.pay(&spec_under(policy, number, 31, 31, 2));
    }
    let nothing = spec_under(&pool, 5, 4, 4, 4);
    assert_eq!(world.open_escrow(&nothing), Code::Ok);
    let lie = world.signers.work(&nothing, 0, 1, key(12).public(), &[1]);
    let closed = world.close_round(&nothing, &[&lie]);
    assert_eq!(world.judge(&nothing, &closed, &[&lie], &Ballot::default()), Code::Ok);
    world.time_ms += POLICY.escrow_ms;
    assert_eq!(world.deposit(1), Code::Ok, "the pool runs out, and the other one's pay has vested");
    world
}

/// The export of a world whose last leaves may have been replaced: its checkpoint is over the leaves as they are.
fn export(world: &World) -> Vec<u8> {
    let mut tree = Tree::<Sha256>::default();
    for leaf in &world.log {
        tree.push(Sha256::leaf(leaf));
    }
    let seal = SealRef { root: Digest(tree.root()), ..world.chain.seal_ref() };
    export_of(&world.signers, &seal, &world.log).0
}

/// What a golden log must verify to.
struct Pinned {
    name: &'static str,
    made: fn() -> World,
    height: u64,
    size: u64,
    root: &'static str,
    totals: Totals,
}

/// Deposited, then consumers, escrows, vesting, providers, treasury and withdrawn; nothing at stake.
fn totals([deposited, consumers, escrows, vesting, providers, treasury, withdrawn]: [u64; 7]) -> Totals {
    Totals { deposited, consumers, escrows, vesting, providers, treasury, withdrawn, ..Totals::default() }
}

fn pinned() -> [Pinned; 9] {
    [
        Pinned {
            name: "v1-paid-job",
            made: paid_job,
            height: 13,
            size: 28,
            root: "3a08f64de63a56ba92e48d42fe61a34bd99744353549306af4a2c1f7d16980f4",
            totals: totals([10_000_007, 9_999_905, 0, 0, 100, 2, 0]),
        },
        Pinned {
            name: "v1-dispute",
            made: dispute,
            height: 12,
            size: 26,
            root: "7a43791f8eef9bf8885c6065effad9162fb5ff728a836b2aa535d51097149f3f",
            totals: totals([10_000_000, 9_999_898, 0, 0, 100, 2, 0]),
        },
        Pinned {
            name: "v1-expiry",
            made: expiry,
            height: 27,
            size: 60,
            root: "ca3341fca204098776e1c3e863873e79ce6561b08a2e443402de4dbe7238aff0",
            totals: totals([10_000_001, 9_995_841, 0, 0, 4_080, 80, 0]),
        },
        Pinned {
            name: "v1-stale-epochs",
            made: stale_epochs,
            height: 6,
            size: 15,
            root: "e3aca960736a77e291ae69fb2509fe6f59464ff7d6fd6936c389997cd8bcff36",
            totals: totals([0, 0, 0, 0, 0, 0, 0]),
        },
        Pinned {
            name: "v2-vesting",
            made: vesting,
            height: 15,
            size: 34,
            root: "a0a7b1999d1f8be3f6d8df68eb0181f8fac14a0cc74c6f528ac07511eee2c5b7",
            totals: totals([10_000_003, 9_999_881, 0, 60, 60, 2, 0]),
        },
        Pinned {
            name: "v2-approvals",
            made: approvals,
            height: 20,
            size: 43,
            root: "63b0feabfc7398ada064f8b7e746f6233516f7e327717a49ddb51e078fcbefff",
            totals: totals([100_001, 99_573, 0, 0, 300, 8, 120]),
        },
        Pinned {
            name: "v3-rotations",
            made: rotations,
            height: 22,
            size: 46,
            root: "00b13b4e7457c3cc18eedc7d4792d37e5d3baec67723d1ba43ff84415aff3f25",
            totals: totals([10_000_000, 9_999_919, 0, 0, 70, 1, 10]),
        },
        Pinned {
            name: "v3-stakes",
            made: stakes,
            height: 25,
            size: 56,
            root: "4f9d6c226f9266f92fb609915a4e98c3327a62a218fac4b3dee38d754962585d",
            totals: Totals { stakes: 4, slash_pool: 60, ..totals([10_000_002, 9_999_829, 0, 0, 106, 3, 0]) },
        },
        Pinned {
            name: "v3-policies",
            made: policies,
            height: 29,
            size: 62,
            root: "bade8fb22715c9752439c684a8f3402284220c5e0cf800b50c3c779b26a691de",
            totals: totals([10_000_001, 9_999_033, 0, 0, 947, 21, 0]),
        },
    ]
}

#[test]
fn old_logs_verify_to_the_seal_root_and_sums_that_they_always_had() {
    for Pinned { name, made, height, size, root, totals } in pinned() {
        let vkey = made().export().1;
        let (checkpoint, chain) = verify::chain(golden(name).as_slice(), &vkey).unwrap();
        let seal = chain.seal_ref();
        let have = (seal.height, seal.size, seal.root.to_string(), chain.totals());
        assert_eq!(have, (height, size, root.to_owned(), totals), "{name}");
        assert_eq!((checkpoint.size, checkpoint.root), (seal.size, seal.root), "{name}");
    }
}

#[test]
fn what_happened_in_old_logs_makes_the_same_bytes_today() {
    for Pinned { name, made, .. } in pinned() {
        let bytes = export(&made());
        if std::env::var_os("ORION_ADD_GOLDEN").is_some() && !path(name).exists() {
            std::fs::write(path(name), &bytes).unwrap();
        }
        assert!(bytes == golden(name), "{name} is not what it was");
    }
}
