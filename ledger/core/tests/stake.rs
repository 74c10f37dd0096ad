//! Stakes, the time in which they are taken back, and how they are lost.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::collections::BTreeMap;

use orion_ledger_core::report::{Report, Sums};
use orion_ledger_core::{Chain, Unorderable, verify};
use orion_protocol::ids::{Account, TxId, unbonding_id};
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody, Receipt};
use orion_protocol::ledger::tx::*;
use orion_protocol::ledger::{Submitted, Transaction};
use orion_protocol::price::price_of;
use orion_protocol::statements::{UnitDigest, Vote};
use orion_protocol::task::{InferenceWorkload, KernelWorkload, TaskSpec, Workload, unit_digest};
use orion_protocol::{Digest, JobId, PublicKey, SecretKey, Signed};
use support::{Ballot, Keys, POLICY, Random, START_MS, Work, World, key, seed, spec_under};

/// Earnings vest for 50 s.
const VESTING: Policy = Policy { vesting_ms: 50_000, ..POLICY };
/// Stakes are bound for 20 s, and half of everything is lost.
const BONDS: Bonds = Bonds { unbonding_ms: 20_000, slash_ppm: 500_000 };

/// Three providers, and a consumer with credits.
fn world(policy: &Policy, bonds: Option<Bonds>) -> World {
    let mut world = World::bare_of(&Genesis { bonds, ..Keys::new().genesis_under(policy.clone()) });
    for (number, owner) in [(11, "alice"), (12, "bob"), (13, "carol")] {
        assert_eq!(world.register(number, owner), Code::Ok);
    }
    assert_eq!(world.deposit(10_000_000), Code::Ok);
    world
}

/// The three providers with what they earned in a job of 30 units each, matured.
fn earned(policy: &Policy, bonds: Option<Bonds>) -> World {
    let mut world = world(policy, bonds);
    let task = spec_under(policy, 200, 90, 30, 1);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let work =
        [11, 12, 13].map(|number| world.signers.work(&task, u32::from(number) - 11, 1, key(number).public(), &[]));
    let work: Vec<&Work> = work.iter().collect();
    let closed = world.close_round(&task, &work);
    assert_eq!(world.judge(&task, &closed, &work, &Ballot::default()), Code::Ok);
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    assert_eq!(world.close(&task).code, Code::Ok);
    pass(&mut world, policy.vesting_ms);
    world
}

/// Lets time pass, and a block be made.
fn pass(world: &mut World, ms: u64) {
    world.time_ms += ms;
    assert_eq!(world.deposit(1), Code::Ok);
}

fn sent_by(world: &mut World, sender: &SecretKey, tx: &Transaction) -> Receipt {
    let (chain, id) = (world.signers.chain.clone(), world.id());
    world.block(vec![tx.sign(&chain, sender, 0, id)]).remove(0)
}

fn stake(amount: u64) -> Transaction {
    Transaction::Stake(Stake { amount })
}

/// What a provider has: available, at stake, unbonding.
fn has(world: &World, key: PublicKey) -> [u64; 3] {
    [Account::Available(key), Account::Stake(key), Account::Unbonding(key)].map(|account| world.balance(&account))
}

/// The log verifies from its beginning, and a snapshot gives the same chain.
fn check_history(world: &World) {
    let (bytes, vkey) = world.export();
    let (_, replayed) = verify::chain(bytes.as_slice(), &vkey).unwrap();
    assert_eq!(replayed.snapshot(), world.chain.snapshot());
    let restored = Chain::restore(world.chain.genesis(), &world.chain.snapshot(), &world.chain.seal_ref()).unwrap();
    assert_eq!(restored.snapshot(), world.chain.snapshot());
}

#[test]
fn a_stake_that_is_taken_back_is_free_when_its_time_has_passed_and_not_before() {
    let mut world = earned(&POLICY, Some(BONDS));
    let alice = key(11);
    let all = has(&world, alice.public())[0];
    assert!(all > 200);
    assert_eq!(sent_by(&mut world, &alice, &stake(0)).code, Code::OutOfBounds);
    assert_eq!(sent_by(&mut world, &alice, &stake(all + 1)).code, Code::InsufficientCredits);
    assert_eq!(sent_by(&mut world, &alice, &Transaction::Unstake).code, Code::InsufficientCredits);
    for amount in [100, 50] {
        assert_eq!(sent_by(&mut world, &alice, &stake(amount)).code, Code::Ok);
    }
    assert_eq!(has(&world, alice.public()), [all - 150, 150, 0]);
    let reserve = Reserve { amount: all - 149, expires_ms: world.time_ms + 1_000 };
    assert_eq!(sent_by(&mut world, &alice, &Transaction::Reserve(reserve)).code, Code::InsufficientCredits);

    let (chain, id) = (world.signers.chain.clone(), world.id());
    world.block(vec![Transaction::Unstake.sign(&chain, &alice, 0, id)]);
    let until_ms = world.time_ms + BONDS.unbonding_ms;
    assert_eq!(world.chain.next_deadline_ms(), Some(until_ms));
    assert_eq!(has(&world, alice.public()), [all - 150, 0, 150]);
    assert_eq!(world.chain.totals().unbonding, 150);
    world.time_ms = until_ms - 10;
    assert_eq!(world.deposit(1), Code::Ok);
    assert_eq!(has(&world, alice.public()), [all - 150, 0, 150], "in the moment itself");
    assert_eq!(world.deposit(1), Code::Ok);
    assert_eq!(has(&world, alice.public()), [all, 0, 0], "in the first block past it");
    let lapsed = world.log.iter().find_map(|leaf| match Leaf::from_bytes(leaf).unwrap().body {
        LeafBody::Lapse(id, receipt) => Some((id, receipt.transfers.len())),
        _ => None,
    });
    assert_eq!(lapsed, Some((unbonding_id(&alice.public(), &id), 1)));
    check_history(&world);
}

#[test]
fn stakes_are_their_providers_and_bounded_in_number() {
    let mut world = earned(&POLICY, None);
    let alice = key(11);
    let tx = stake(1).sign(&world.signers.chain, &key(66), 0, TxId([1; 16]));
    let tx = world.admission.check(tx).unwrap();
    assert!(matches!(world.chain.orderable(&tx), Err(Unorderable::UnknownSigner(_))));
    let issuer = Keys::new().issuer;
    for tx in [stake(1), Transaction::Unstake] {
        assert_eq!(sent_by(&mut world, &issuer, &tx).code, Code::NotAllowed);
        assert_eq!(world.approved(&tx, std::slice::from_ref(&issuer)).code, Code::NotAllowed);
        let (chain, id) = (world.signers.chain.clone(), world.id());
        assert_eq!(world.block(vec![tx.sign(&chain, &alice, 1, id)])[0].code, Code::OutOfBounds, "in an epoch");
    }
    for _ in 0..16 {
        assert_eq!(sent_by(&mut world, &alice, &stake(1)).code, Code::Ok);
        assert_eq!(sent_by(&mut world, &alice, &Transaction::Unstake).code, Code::Ok);
    }
    assert_eq!(sent_by(&mut world, &alice, &stake(1)).code, Code::Ok);
    assert_eq!(sent_by(&mut world, &alice, &Transaction::Unstake).code, Code::OutOfBounds);
    // Without them a stake is bound for a week.
    pass(&mut world, 7 * 86_400_000 - 1_000);
    assert_eq!(has(&world, alice.public())[1..], [1, 16]);
    pass(&mut world, 1_000);
    assert_eq!(has(&world, alice.public())[1..], [1, 0]);
    assert_eq!(sent_by(&mut world, &alice, &Transaction::Unstake).code, Code::Ok);
    check_history(&world);
}

#[test]
fn a_genesis_fixes_bonds_that_make_sense() {
    let start =
        |bonds| Chain::start(&Genesis { bonds: Some(bonds), ..Keys::new().genesis() }.to_bytes(), START_MS).is_ok();
    assert!(start(BONDS) && start(Bonds { unbonding_ms: 1, slash_ppm: 1_000_000 }));
    for (unbonding_ms, slash_ppm) in [(0, 0), (Bonds::MAX_UNBONDING_MS + 1, 0), (1, 1_000_001)] {
        assert!(!start(Bonds { unbonding_ms, slash_ppm }));
    }
}

/// What the test believes of one provider: available, at stake, and what is bound until when.
#[derive(Default)]
struct Model {
    available: u64,
    stake: u64,
    bound: Vec<(u64, u64)>,
}

#[test]
fn i04_stakes_balance_alone_at_every_height() {
    let seed = seed();
    println!("ORION_SEED={seed}");
    let mut random = Random(seed);
    let mut world = earned(&POLICY, Some(BONDS));
    let mut models: BTreeMap<u8, Model> = BTreeMap::new();
    for number in 11..14 {
        let available = has(&world, key(number).public())[0];
        models.insert(number, Model { available, ..Model::default() });
    }
    let mut freed = 0;
    for _ in 0..400 {
        let number = 11 + u8::try_from(random.below(3)).unwrap();
        let (time_ms, model) = (world.time_ms + 10, models.get_mut(&number).unwrap());
        match random.below(12) {
            0..=5 => {
                let amount = random.below(60);
                let code = sent_by(&mut world, &key(number), &stake(amount)).code;
                let want = match amount {
                    0 => Code::OutOfBounds,
                    _ if amount > model.available => Code::InsufficientCredits,
                    _ => Code::Ok,
                };
                assert_eq!(code, want);
                if code == Code::Ok {
                    model.available -= amount;
                    model.stake += amount;
                }
            }
            6..=8 => {
                let code = sent_by(&mut world, &key(number), &Transaction::Unstake).code;
                let bound = model.bound.iter().filter(|(until_ms, _)| *until_ms >= time_ms).count();
                let want = if model.stake == 0 { Code::InsufficientCredits } else { Code::Ok };
                assert_eq!(code, if want == Code::Ok && bound >= 16 { Code::OutOfBounds } else { want });
                if code == Code::Ok {
                    model.bound.push((time_ms + BONDS.unbonding_ms, std::mem::take(&mut model.stake)));
                }
            }
            _ => {
                let ms = random.below(15_000);
                pass(&mut world, ms);
            }
        }
        let mut totals = [0; 3];
        for (number, model) in &mut models {
            let past = |(until_ms, _): &(u64, u64)| *until_ms < world.time_ms;
            let free: u64 = model.bound.iter().filter(|one| past(one)).map(|(_, amount)| *amount).sum();
            model.bound.retain(|one| !past(one));
            model.available += free;
            freed += free;
            let bound: u64 = model.bound.iter().map(|(_, amount)| *amount).sum();
            let have = has(&world, key(*number).public());
            assert_eq!(have, [model.available, model.stake, bound]);
            totals.iter_mut().zip(have).for_each(|(sum, have)| *sum += have);
        }
        let sums = world.chain.totals();
        assert_eq!([sums.providers, sums.stakes, sums.unbonding], totals);
    }
    assert!(freed > 0);
    check_history(&world);
}

/// A workload whose bits are the platform's own, and a job of it of 10 units in 5 shards.
fn model() -> Workload {
    Workload::Inference(InferenceWorkload { model: 0, dims: vec![], tensors: vec![], results: vec!["out".into()] })
}

fn task(policy: &Policy, number: u8) -> TaskSpec {
    let workload = Digest::of(&model().object());
    TaskSpec { workload, kernel_set: 1, ..spec_under(policy, number, 10, 2, 2) }
}

/// A job in which bob, who voted, is found to have voted in two ways.
struct Case {
    world: World,
    task: TaskSpec,
    tx: Slash,
}

impl Case {
    /// Closed, all pay pending.
    fn new(policy: &Policy, bonds: Bonds) -> Case {
        Case::of(earned(policy, Some(bonds)), task(policy, 1))
    }

    /// Alice computes two shards and bob one; everybody votes about the others'.
    fn of(mut world: World, task: TaskSpec) -> Case {
        let bob = key(12).public();
        assert_eq!(world.open_escrow(&task), Code::Ok);
        let work =
            [(0, 11), (1, 11), (2, 12)].map(|(shard, by)| world.signers.work(&task, shard, 1, key(by).public(), &[]));
        let all: Vec<&Work> = work.iter().collect();
        let closed = world.close_round(&task, &all);
        assert_eq!(world.judge(&task, &closed, &all, &Ballot::default()), Code::Ok);
        let vote = |wrong: &[u64]| {
            let said = [0, 1].map(|unit| UnitDigest { unit, digest: support::digest_of(unit, wrong.contains(&unit)) });
            world.signers.vote_by_task(bob, closed.round, (&task, work[0].lease), said.to_vec())
        };
        let (first, second) = (vote(&[]), vote(&[1]));
        let (workload, object) = (model().object().into(), task.object().into());
        let tx = Slash { workload, task: object, lease: work[0].entry.lease.clone(), first, second };
        Case { world, task, tx }
    }

    fn paid(mut self) -> Case {
        assert_eq!(self.world.settle(&self.task, 0).code, Code::Ok);
        self
    }

    fn closed(self) -> Case {
        let mut case = self.paid();
        assert_eq!(case.world.close(&case.task).code, Code::Ok);
        case
    }

    /// What comes of it, which is what the chain said before.
    fn slash(&mut self, tx: &Slash) -> Receipt {
        let issuer = Keys::new().issuer;
        let would = self.world.chain.would_slash(&issuer.public(), tx).map_err(|why| why.code());
        let receipt = sent_by(&mut self.world, &issuer, &Transaction::Slash(Box::new(tx.clone())));
        let lost = receipt.transfers.iter().map(|one| one.amount).sum();
        assert_eq!(would, if receipt.code == Code::Ok { Ok(lost) } else { Err(receipt.code) });
        receipt
    }

    /// What bob has pending in the job, at stake, and unbonding.
    fn bobs(&self) -> [u64; 3] {
        let bob = key(12).public();
        [Account::Vesting(bob, self.task.job), Account::Stake(bob), Account::Unbonding(bob)]
            .map(|one| self.world.balance(&one))
    }
}

#[test]
fn i24_two_votes_of_one_key_that_differ_are_enough_to_slash_it() {
    let mut case = Case::new(&VESTING, BONDS).closed();
    let good = case.tx.clone();
    let bob = key(12);
    let chain = case.world.signers.chain.clone();
    let vote = |by: &SecretKey, change: &dyn Fn(&mut Vote)| {
        let mut vote: Vote = good.second.verify(&chain, &bob.public()).unwrap().into_inner();
        change(&mut vote);
        Signed::new(&chain, by, &vote)
    };
    let with = |second| Slash { second, ..good.clone() };
    let one = UnitDigest { unit: 0, digest: support::digest_of(0, false) };
    let outside = UnitDigest { unit: 9, digest: Digest::ZERO };
    let far = |vote: &mut Vote, digest| vote.units = vec![UnitDigest { digest, ..outside }];
    let other_work = case.world.signers.work(&case.task, 1, 1, key(11).public(), &[]);
    let user = TaskSpec { workload: Digest::of(b"a kernel of the user's"), ..case.task.clone() };
    let nothing = [
        ("the same vote", with(good.first.clone())),
        ("that says the same", with(vote(&bob, &|vote| vote.units[1].digest = support::digest_of(1, false)))),
        ("about other units", with(vote(&bob, &|vote| vote.units = vec![one]))),
        ("of another key", with(vote(&key(13), &|_| ()))),
        ("about another round", with(vote(&bob, &|vote| vote.round = Digest::ZERO))),
        ("about another lease", with(vote(&bob, &|vote| vote.lease = Digest::ZERO))),
        ("that says no task", with(vote(&bob, &|vote| vote.task = None))),
        ("about another task", with(vote(&bob, &|vote| vote.task = Some(Digest::ZERO)))),
        ("with another lease", Slash { lease: other_work.entry.lease, ..good.clone() }),
        ("with another task", Slash { task: user.object().into(), ..good.clone() }),
        ("with another workload", Slash { workload: b"another".to_vec().into(), ..good.clone() }),
        (
            "about units that are not the lease's",
            Slash {
                first: vote(&bob, &|vote| far(vote, Digest::ZERO)),
                second: vote(&bob, &|vote| far(vote, Digest::of(b""))),
                ..good.clone()
            },
        ),
    ];
    for (why, tx) in nothing {
        assert_eq!(case.slash(&tx).code, Code::NotSlashable, "{why}");
    }
    let forged =
        Signed::new(&chain, &key(13), &good.lease.verify(&chain, &Keys::new().operator.public()).unwrap().into_inner());
    assert_eq!(case.slash(&Slash { lease: forged, ..good.clone() }).code, Code::BadLease);
    let sent = Transaction::Slash(Box::new(good.clone()));
    for by in [key(13), bob.clone()] {
        let tx = case.world.admission.check(sent.sign(&chain, &by, 0, TxId([9; 16]))).unwrap();
        assert!(matches!(case.world.chain.orderable(&tx), Err(Unorderable::UnknownSigner(_))));
    }

    // The log itself never holds both: the shard is judged.
    let receipt = case.slash(&good);
    assert_eq!(receipt.code, Code::Ok);
    assert!(!receipt.transfers.is_empty());
    assert_eq!(case.slash(&good).code, Code::NotSlashable, "once for a job");
    let swapped = Slash { first: good.second.clone(), second: good.first.clone(), ..good };
    assert_eq!(case.slash(&swapped).code, Code::NotSlashable);
    check_history(&case.world);
}

/// Whoever gives leases can have one audited lease computed under two tasks, and both votes are honest.
#[test]
fn two_honest_votes_by_two_tasks_about_one_lease_slash_nobody() {
    let mut case = Case::new(&VESTING, BONDS);
    let bob = key(12).public();
    assert_eq!(sent_by(&mut case.world, &key(12), &stake(200)).code, Code::Ok);
    let mut case = case.closed();
    let tx = case.tx.clone();
    let (chain, lease) = (case.world.signers.chain.clone(), tx.lease.digest(&case.world.signers.chain));
    let round = tx.first.verify(&chain, &bob).unwrap().round;
    let honest = |task: &TaskSpec| {
        let said = vec![UnitDigest { unit: 0, digest: unit_digest(&task.digest(), 0, &[]) }];
        case.world.signers.vote_by_task(bob, round, (task, lease), said)
    };
    let other = TaskSpec { job: JobId([77; 32]), ..case.task.clone() };
    let votes = [honest(&case.task), honest(&other)];
    let before = case.bobs();
    for [first, second] in [[0, 1], [1, 0], [1, 1]].map(|pair| pair.map(|at| votes[at].clone())) {
        assert_eq!(case.slash(&Slash { first, second, ..tx.clone() }).code, Code::NotSlashable);
    }
    assert_eq!(case.bobs(), before);
    let wrong = UnitDigest { unit: 0, digest: Digest::ZERO };
    let second = case.world.signers.vote_by_task(bob, round, (&case.task, lease), vec![wrong]);
    assert_eq!(case.slash(&Slash { first: votes[0].clone(), second, ..tx }).code, Code::Ok, "two by one task do");
    check_history(&case.world);
}

#[test]
fn nobody_is_slashed_by_default_nor_for_a_users_kernel_nor_before_the_pay_is_known_nor_for_a_lost_key() {
    let off = Bonds { slash_ppm: 0, ..BONDS };
    let mut case = Case::new(&VESTING, off).closed();
    let tx = case.tx.clone();
    assert_eq!(case.slash(&tx).code, Code::NotSlashable);

    let kernel = Workload::Kernel(KernelWorkload {
        source: "kernel void k(global orion_float *p) {}".into(),
        entry_point: "k".into(),
        global_size: vec![10],
        local_size: None,
        defines: vec![],
        arguments: vec![],
    });
    for kernel_set in [0, 1] {
        let task = TaskSpec { workload: Digest::of(&kernel.object()), kernel_set, ..task(&VESTING, 1) };
        let mut case = Case::of(earned(&VESTING, Some(BONDS)), task).closed();
        let tx = Slash { workload: kernel.object().into(), ..case.tx.clone() };
        assert_eq!(case.slash(&tx).code, Code::NotSlashable, "of kernel set {kernel_set}");
    }

    let mut case = Case::new(&VESTING, BONDS);
    let tx = case.tx.clone();
    assert_eq!(case.slash(&tx).code, Code::NotSettled);
    let rotate = Rotate { role: KeyRole::Provider, old: key(12).public(), new: key(62).public(), lost: true };
    let Keys { operator, issuer, .. } = Keys::new();
    assert_eq!(case.world.approved(&Transaction::Rotate(rotate), &[operator, issuer]).code, Code::Ok);
    let mut case = case.paid();
    assert_eq!(case.slash(&tx).code, Code::Revoked);
    check_history(&case.world);
}

#[test]
fn a_key_that_was_replaced_answers_for_what_it_said() {
    let mut case = Case::new(&VESTING, BONDS);
    let tx = case.tx.clone();
    assert_eq!(sent_by(&mut case.world, &key(12), &stake(200)).code, Code::Ok);
    let rotate = Rotate { role: KeyRole::Provider, old: key(12).public(), new: key(62).public(), lost: false };
    assert_eq!(case.world.approved(&Transaction::Rotate(rotate), &[key(12), Keys::new().issuer]).code, Code::Ok);
    let mut case = case.closed();
    let before = case.bobs();
    assert_eq!((before[1], before[2]), (0, 200), "taken back, not free");
    assert_eq!(case.slash(&tx).code, Code::Ok);
    assert_eq!(case.bobs().iter().sum::<u64>(), before.iter().sum::<u64>().div_ceil(2));
    check_history(&case.world);
}

#[test]
fn i13_a_slash_takes_pending_pay_first_then_the_stake_and_never_more_than_both() {
    let seed = seed();
    println!("ORION_SEED={seed}");
    let mut random = Random(seed);
    for _ in 0..25 {
        let ppm = if random.one_in(4) { 1_000_000 } else { 1 + u32::try_from(random.below(1_000_000)).unwrap() };
        let mut case = Case::new(&VESTING, Bonds { slash_ppm: ppm, ..BONDS });
        let tx = case.tx.clone();
        let mut put = |amount, back| {
            if amount > 0 {
                assert_eq!(sent_by(&mut case.world, &key(12), &stake(amount)).code, Code::Ok);
            }
            if back && amount > 0 {
                assert_eq!(sent_by(&mut case.world, &key(12), &Transaction::Unstake).code, Code::Ok);
            }
        };
        for _ in 0..random.below(3) {
            put(random.below(60), true);
        }
        put(random.below(120), false);
        let mut case = case.closed();
        let (before, others) = (case.bobs(), case.world.chain.totals());
        let [consumer, pool] = [case.world.chain.account(case.world.account()).balance, others.slash_pool];
        let due = u128::from(before.iter().sum::<u64>()) * u128::from(ppm) / 1_000_000;
        let code = if due == 0 { Code::NotSlashable } else { Code::Ok };
        assert_eq!(case.slash(&tx).code, code, "{due} of {before:?}");
        if due == 0 {
            continue;
        }
        let (after, sums) = (case.bobs(), case.world.chain.totals());
        let taken: Vec<u64> = before.iter().zip(after).map(|(before, after)| before - after).collect();
        let lost: u64 = taken.iter().sum();
        assert_eq!(u128::from(lost), due, "the part that was fixed");
        let mut left = lost;
        for (taken, before) in taken.iter().zip(before) {
            assert_eq!(*taken, left.min(before), "in their order");
            left -= taken;
        }
        // One unit of 10 operations was told in two ways.
        let price = price_of(10, VESTING.price).unwrap();
        let back = case.world.chain.account(case.world.account()).balance - consumer;
        assert_eq!((back, sums.slash_pool - pool), (lost.min(price), lost - lost.min(price)));
        assert_eq!(sums.deposited, others.deposited);
        check_history(&case.world);
    }
}

#[test]
fn a_report_says_what_was_taken_back_of_what_was_paid() {
    // Before the job is closed and after it, and from who has more at stake than pending.
    for (closed, at_stake) in [(false, 0), (true, 0), (true, 300)] {
        let mut case = Case::new(&VESTING, BONDS);
        if at_stake > 0 {
            assert_eq!(sent_by(&mut case.world, &key(12), &stake(at_stake)).code, Code::Ok);
        }
        let mut case = if closed { case.closed() } else { case.paid() };
        let tx = case.tx.clone();
        let report = |case: &Case| {
            let (bytes, vkey) = case.world.export();
            verify::log(bytes.as_slice(), &vkey).unwrap()
        };
        let before = report(&case);
        let [pending, ..] = case.bobs();
        assert_eq!(case.slash(&tx).code, Code::Ok);
        let taken_back = pending - case.bobs()[0];
        assert!(taken_back > 0);
        // Also when what was left of it has matured, and nothing is pending any more.
        pass(&mut case.world, VESTING.vesting_ms);
        let after = report(&case);

        let job = |report: &Report| report.job(&case.task.job).unwrap().clone();
        let mut want = job(&before).payouts;
        for payout in &mut want {
            assert_eq!(payout.taken_back, 0);
            if payout.provider == key(12).public() {
                assert_eq!(payout.worker + payout.validator, pending);
                payout.taken_back = taken_back;
            }
        }
        assert_eq!((job(&after).payouts, want.len()), (want, 3));
        assert_eq!(job(&after).sums, Sums { taken_back, ..job(&before).sums });
        assert_eq!(after.sums, Sums { taken_back, ..before.sums });
        assert!(after.sums.add_up() && !Sums { taken_back: after.sums.escrowed + 1, ..after.sums }.add_up());
        check_history(&case.world);
    }
}

#[test]
fn i14_what_was_slashed_never_matures_and_nothing_matures_before_the_window_ends() {
    for ppm in [1, 300_000, 500_000, 1_000_000] {
        let mut case = Case::new(&VESTING, Bonds { slash_ppm: ppm, ..BONDS }).closed();
        let tx = case.tx.clone();
        let paid_ms = case.world.time_ms - 10;
        let bob = key(12).public();
        let [before, ..] = case.bobs();
        let had = has(&case.world, bob)[0];
        // The last block in which the pay is still pending; it can be slashed until there.
        case.world.time_ms = paid_ms + VESTING.vesting_ms - 20;
        let _ = case.slash(&tx);
        let [pending, ..] = case.bobs();
        assert_eq!(u128::from(before - pending), u128::from(before) * u128::from(ppm) / 1_000_000);
        assert_eq!(has(&case.world, bob)[0], had, "nothing before the end");
        assert_eq!(case.world.deposit(1), Code::Ok);
        assert_eq!(has(&case.world, bob)[0], had, "nor in the moment itself");
        assert_eq!(case.world.deposit(1), Code::Ok);
        assert_eq!(has(&case.world, bob)[0], had + pending, "what is left of it, after");
        assert_eq!((case.bobs()[0], case.world.chain.totals().vesting), (0, 0));
        check_history(&case.world);
    }
    let mut late = Case::new(&VESTING, BONDS).closed();
    let tx = late.tx.clone();
    pass(&mut late.world, VESTING.vesting_ms);
    assert_eq!(sent_by(&mut late.world, &key(12), &stake(1)).code, Code::Ok);
    assert_eq!(late.slash(&tx).code, Code::NotSlashable, "all has matured");
    check_history(&late.world);
}

#[test]
fn without_a_window_a_stake_is_lost_until_the_job_is_closed() {
    let mut case = Case::new(&POLICY, BONDS).paid();
    let tx = case.tx.clone();
    assert_eq!(case.slash(&tx).code, Code::NotSlashable, "nothing to lose");
    assert_eq!(sent_by(&mut case.world, &key(12), &stake(100)).code, Code::Ok);
    assert_eq!(case.slash(&tx).code, Code::Ok);
    assert_eq!(case.bobs(), [0, 50, 0]);
    let mut case = Case::new(&POLICY, BONDS).closed();
    assert_eq!(sent_by(&mut case.world, &key(12), &stake(100)).code, Code::Ok);
    let tx = case.tx.clone();
    assert_eq!(case.slash(&tx).code, Code::NotSlashable);
}

/// Its own word would count for nothing once it is out of force, and no rotation of a provider's key takes it back.
#[test]
fn a_key_of_the_operators_stakes_nothing() {
    let mut world = world(&POLICY, Some(BONDS));
    let Keys { operator, issuer, .. } = Keys::new();
    assert_eq!(world.register(1, "operator"), Code::Ok);
    let task = spec_under(&POLICY, 1, 90, 30, 1);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let work = world.signers.work(&task, 0, 1, operator.public(), &[]);
    let closed = world.close_round(&task, &[&work]);
    assert_eq!(world.judge(&task, &closed, &[&work], &Ballot::default()), Code::Ok);
    assert_eq!(world.settle(&task, 0).code, Code::Ok);
    let earned = has(&world, operator.public());
    assert!(earned[0] > 1);
    assert_eq!(sent_by(&mut world, &operator, &stake(1)).code, Code::NotAllowed, "in force");
    let rotate = Rotate { role: KeyRole::Operator, old: operator.public(), new: key(53).public(), lost: false };
    assert_eq!(world.approved(&Transaction::Rotate(rotate), &[issuer]).code, Code::Ok);
    assert_eq!(sent_by(&mut world, &operator, &stake(1)).code, Code::NotAllowed, "about to be replaced");
    assert_eq!(has(&world, operator.public()), earned);
    check_history(&world);
}

#[test]
fn who_loses_all_its_pay_takes_nobody_elses_liability_away() {
    for order in [[12, 13], [13, 12]] {
        let mut world = earned(&VESTING, Some(Bonds { slash_ppm: 1_000_000, ..BONDS }));
        assert_eq!(sent_by(&mut world, &key(13), &stake(100)).code, Code::Ok);
        let workload = Digest::of(&model().object());
        let task = TaskSpec { workload, kernel_set: 1, ..spec_under(&VESTING, 1, 2, 2, 2) };
        assert_eq!(world.open_escrow(&task), Code::Ok);
        // Alice lied and gets nothing; of the others only bob is asked, so that the only page is his.
        let work = world.signers.work(&task, 0, 1, key(11).public(), &[0, 1]);
        let closed = world.close_round(&task, &[&work]);
        let ballot = Ballot { silent: [key(13).public()].into(), ..Ballot::default() };
        assert_eq!(world.judge(&task, &closed, &[&work], &ballot), Code::Ok);
        assert_eq!(world.settle(&task, 0).code, Code::Ok);
        assert_eq!(world.close(&task).code, Code::Ok);
        assert!(world.chain.totals().vesting > 0);
        let slash = |world: &World, by: u8| {
            let vote = |lie| {
                let said = vec![UnitDigest { unit: 0, digest: support::digest_of(0, lie) }];
                world.signers.vote_by_task(key(by).public(), closed.round, (&task, work.lease), said)
            };
            let (workload, object) = (model().object().into(), task.object().into());
            let (lease, first, second) = (work.entry.lease.clone(), vote(false), vote(true));
            Transaction::Slash(Box::new(Slash { workload, task: object, lease, first, second }))
        };
        for by in order {
            let tx = slash(&world, by);
            assert_eq!(sent_by(&mut world, &Keys::new().issuer, &tx).code, Code::Ok, "{by} of {order:?}");
        }
        assert_eq!((world.chain.totals().vesting, has(&world, key(13).public())[1]), (0, 0));
        check_history(&world);
        // The emptied page ends when it would have ended.
        assert_eq!(sent_by(&mut world, &key(11), &stake(100)).code, Code::Ok);
        pass(&mut world, VESTING.vesting_ms);
        let tx = slash(&world, 11);
        assert_eq!(sent_by(&mut world, &Keys::new().issuer, &tx).code, Code::NotSlashable, "the window is over");
        check_history(&world);
    }
}

/// A chain that forgets jobs, as the service's does, judges a slash as one that remembers them.
#[test]
fn a_slash_needs_nothing_of_a_job_that_was_shed() {
    let case = Case::new(&VESTING, BONDS).closed();
    let Case { mut world, tx, .. } = case;
    let mut forgetful = world.chain.clone();
    assert_eq!(forgetful.shed().len(), 2);
    let restored = Chain::restore(world.chain.genesis(), &world.chain.snapshot(), &world.chain.seal_ref()).unwrap();
    let (chain, id) = (world.signers.chain.clone(), world.id());
    let signed = Transaction::Slash(Box::new(tx)).sign(&chain, &Keys::new().operator, 0, id);
    let tx = world.admission.check(signed).unwrap();
    let time_ms = world.time_ms + 10;
    let blocks = [&mut world.chain, &mut forgetful, &mut { restored }]
        .map(|chain| chain.finalize_block(time_ms, std::slice::from_ref(&tx)).unwrap());
    let Submitted { receipt, .. } = &blocks[0].outcomes[0];
    assert_eq!(receipt.code, Code::Ok, "the operator may send it too");
    assert!(blocks[0] == blocks[1] && blocks[0] == blocks[2]);
    assert_eq!(forgetful.snapshot(), world.chain.snapshot());
}
