//! I27: replay gives the same in one thread and in many, from good logs and from bad ones.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::num::NonZeroUsize;
use std::time::Instant;

use orion_ledger_core::ahead::Ahead;
use orion_ledger_core::{Chain, Replay, ReplayError, verify};
use orion_protocol::cbor;
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody};
use orion_protocol::ledger::tx::Transaction;

use crate::support::{Ballot, Work, World, export_of, key, spec};
use crate::{STEPS, histories};

fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

fn replayed(world: &World, log: &[Vec<u8>], count: usize) -> Result<Chain, ReplayError> {
    let mut ahead = Ahead::new(Replay::new(world.chain.id().clone()), threads(count));
    log.iter().try_for_each(|leaf| ahead.leaf(leaf))?;
    ahead.finish()
}

/// An error with all that caused it.
fn words(error: &ReplayError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// One leaf after the other, nothing read ahead: what all others must be.
fn plain(world: &World, log: &[Vec<u8>]) -> Result<Chain, ReplayError> {
    let mut replay = Replay::new(world.chain.id().clone());
    log.iter().try_for_each(|leaf| replay.leaf(leaf).map(|_| ()))?;
    replay.finish()
}

#[test]
fn i27_replay_is_the_same_in_one_thread_and_many() {
    let (mut good, mut bad) = (0, 0);
    histories(|mut history| {
        for _ in 0..STEPS / 2 {
            history.step();
        }
        let world = &history.world;
        let want = plain(world, &world.log).unwrap();
        assert_eq!(want.snapshot(), world.chain.snapshot());
        for count in [1, 2, 3, 8] {
            let have = replayed(world, &world.log, count).unwrap();
            assert_eq!((have.seal_ref(), have.snapshot()), (want.seal_ref(), want.snapshot()), "{count} threads");
            good += 1;
        }
        for _ in 0..12 {
            let mut log = world.log.clone();
            // A bit, or a leaf that is not there, or there twice.
            let at = usize::try_from(history.random.below(log.len() as u64)).unwrap();
            match history.random.below(8) {
                0 => drop(log.remove(at)),
                1 => log.insert(at, log[at].clone()),
                _ => {
                    let byte = usize::try_from(history.random.below(log[at].len() as u64)).unwrap();
                    log[at][byte] ^= 1 << history.random.below(8);
                }
            }
            let said = |outcome: Result<Chain, ReplayError>| match outcome {
                Ok(chain) => Ok(chain.seal_ref()),
                Err(error) => Err(words(&error)),
            };
            let want = said(plain(world, &log));
            // The time of the last seal hangs together with nothing that comes before it: the root under a checkpoint shows it.
            assert_ne!(
                want.as_ref().ok(),
                Some(&world.chain.seal_ref()),
                "a log that is not what it was is taken for it"
            );
            for count in [1, 3] {
                assert_eq!(said(replayed(world, &log, count)), want, "{count} threads");
                bad += 1;
            }
        }
    });
    println!("{good} replays of good logs and {bad} of bad ones");
}

/// A log in which much is signed: rounds of 32 shards.
fn signed_much(jobs: u8) -> World {
    let mut world = World::new();
    for number in 1..=jobs {
        let task = spec(number, 64, 2, 2);
        assert_eq!(world.open_escrow(&task), Code::Ok);
        let work: Vec<Work> = (0..32).map(|shard| world.signers.work(&task, shard, 1, key(11).public(), &[])).collect();
        let all: Vec<&Work> = work.iter().collect();
        let closed = world.close_round(&task, &all);
        assert_eq!(world.judge(&task, &closed, &all, &Ballot::default()), Code::Ok);
    }
    world
}

#[test]
fn i27_a_bad_signature_deep_in_a_transaction_is_judged_alike_in_one_thread_and_many() {
    let mut world = World::new();
    let task = spec(1, 4, 2, 2);
    assert_eq!(world.open_escrow(&task), Code::Ok);
    let good = world.signers.work(&task, 0, 1, key(11).public(), &[]);
    let mut bad = world.signers.work(&task, 1, 1, key(11).public(), &[]);
    // The envelope is in order, a signature in it is not.
    let mut bytes = cbor::to_vec(&bad.entry.commitment);
    *bytes.last_mut().unwrap() ^= 1;
    bad.entry.commitment = cbor::from_slice("commitment", &bytes, 1 << 16).unwrap();
    let mut entries = world.close_tx(&task, &[&good]);
    let wrong = spec(2, 4, 2, 2);
    let foreign = world.signers.work(&wrong, 0, 1, key(12).public(), &[]);
    for (entry, code) in [(bad.entry, Code::BadCommitment), (foreign.entry, Code::BadLease)] {
        entries.entries.push(entry);
        assert_eq!(world.send(&Transaction::CloseRound(entries.clone())), code);
        entries.entries.pop();
    }
    for count in [1, 4] {
        assert_eq!(replayed(&world, &world.log, count).unwrap().snapshot(), world.chain.snapshot());
    }
    // The refusal turned into a success is found by all.
    let at = world.log.len() - 2;
    let mut leaf = Leaf::from_bytes(&world.log[at]).unwrap();
    let LeafBody::Transaction(_, receipt) = &mut leaf.body else { panic!("not a transaction") };
    receipt.code = Code::Ok;
    world.log[at] = leaf.to_bytes();
    let refused = [1, 4].map(|count| words(&replayed(&world, &world.log, count).err().unwrap()));
    assert_eq!(refused[0], refused[1]);
    assert!(refused[0].contains("its receipt says Ok, the rules say"), "{}", refused[0]);
}

#[test]
fn i27_an_export_verifies_to_the_same_on_any_number_of_threads() {
    let world = signed_much(8);
    let (export, vkey) = export_of(&world.signers, &world.chain.seal_ref(), &world.log);
    let most = std::thread::available_parallelism().map_or(2, NonZeroUsize::get).max(2);
    let timed = |count: usize| {
        let start = Instant::now();
        let (checkpoint, chain) = verify::chain_on(threads(count), export.as_slice(), &vkey).unwrap();
        (start.elapsed(), checkpoint, chain.snapshot())
    };
    let (alone, checkpoint, snapshot) = timed(1);
    let (together, same, other) = timed(most);
    assert_eq!((checkpoint, snapshot), (same, other));
    println!("{} leaves: {alone:?} on 1 thread, {together:?} on {most}", world.log.len());
    // Cut off in the middle: what is wrong with the leaves before comes first, else where it ends.
    let cut = &export[..export.len() - 100];
    let [one, many] =
        [1, most].map(|count| verify::chain_on(threads(count), cut, &vkey).err().map(|error| error.to_string()));
    assert_eq!(one, many);
    assert!(one.is_some_and(|error| error.starts_with("cannot read the export at leaf")));
}
