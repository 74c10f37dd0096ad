//! I27 and I28: a log gives one state, whoever replays it; a chain goes on from a snapshot as it would have from its genesis.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use orion_ledger_core::{Chain, Replay, SnapshotError, VerifierKey, verify};
use orion_protocol::ledger::SealRef;
use orion_protocol::ledger::leaf::{Leaf, LeafBody};
use orion_protocol::ledger::tx::Genesis;

use crate::support::{World, spec};
use crate::{STEPS, histories};

/// Replays the first `blocks` blocks of a log; with `shed`, everything that nobody has to remember is taken out at once.
fn replayed(world: &World, blocks: usize, shed: bool) -> Chain {
    let size = usize::try_from(world.seals[blocks - 1].size).unwrap();
    let mut replay = Replay::new(world.chain.id().clone());
    for leaf in &world.log[..size] {
        if replay.leaf(leaf).unwrap().is_some() && shed {
            replay.shed();
            replay.take_records();
        }
    }
    replay.finish().unwrap()
}

/// Goes on from `chain` with the leaves that its log has after it.
fn resumed(world: &World, chain: Chain) -> Chain {
    let from = usize::try_from(chain.seal_ref().size).unwrap();
    let mut replay = Replay::resume(chain);
    for leaf in &world.log[from..] {
        replay.leaf(leaf).unwrap();
    }
    replay.finish().unwrap()
}

#[test]
fn i28_a_snapshot_and_the_leaves_after_it_give_what_replay_from_genesis_gives() {
    histories(|mut history| {
        let mut marks = vec![history.world.chain.snapshot()];
        let mut at = vec![history.world.seals.len()];
        for _ in 0..STEPS {
            history.step();
            if history.random.one_in(4) && *at.last().unwrap() < history.world.seals.len() {
                marks.push(history.world.chain.snapshot());
                at.push(history.world.seals.len());
            }
        }
        let world = &history.world;
        let end = replayed(world, world.seals.len(), false);
        let want = end.snapshot();
        assert_eq!(want, world.chain.snapshot(), "the chain that made the log, and one that replayed it");
        assert_eq!(want, replayed(world, world.seals.len(), true).snapshot(), "what is shed is not in it");
        for (blocks, bytes) in at.into_iter().zip(marks) {
            assert_eq!(replayed(world, blocks, false).snapshot(), bytes);
            let chain = Chain::restore(world.chain.genesis(), &bytes, &world.seals[blocks - 1]).unwrap();
            assert_eq!(chain.snapshot(), bytes, "block {blocks}");
            let chain = resumed(world, chain);
            assert_eq!(chain.snapshot(), want, "from block {blocks}");
            assert_eq!((chain.seal_ref(), chain.head()), (end.seal_ref(), end.head()));
            for id in end.open_jobs().jobs {
                assert_eq!(chain.job(&id), end.job(&id));
            }
        }
    });
}

/// A world with money, providers, an open job with a judged round and one that is not, and one that ended.
fn busy() -> World {
    let mut world = World::new();
    let tasks = [spec(1, 4, 2, 2), spec(2, 4, 2, 2)];
    for task in &tasks {
        assert_eq!(world.open_escrow(task), orion_protocol::ledger::Code::Ok);
    }
    let alice = crate::support::key(11).public();
    for (shard, lies) in [(0, vec![0, 1]), (1, vec![])] {
        let work = world.signers.work(&tasks[0], shard, 1, alice, &lies);
        let closed = world.close_round(&tasks[0], &[&work]);
        if shard == 0 {
            world.judge(&tasks[0], &closed, &[&work], &crate::support::Ballot::default());
        }
    }
    assert_eq!(world.settle(&tasks[1], 0).code, orion_protocol::ledger::Code::Ok);
    assert_eq!(world.close(&tasks[1]).code, orion_protocol::ledger::Code::Ok);
    world
}

#[test]
fn i28_a_snapshot_that_does_not_fit_is_refused() {
    let world = busy();
    let (genesis, bytes, seal) = (world.chain.genesis().clone(), world.chain.snapshot(), world.chain.seal_ref());
    let restore = |bytes: &[u8], seal: &SealRef| Chain::restore(&genesis, bytes, seal);
    assert_eq!(restore(&bytes, &seal).unwrap().snapshot(), bytes);

    let other = SealRef { time_ms: seal.time_ms + 1, ..seal };
    assert!(matches!(restore(&bytes, &other), Err(SnapshotError::OtherSeal { .. })));
    let mut foreign = genesis.clone();
    foreign.policy.price += 1;
    assert!(matches!(Chain::restore(&foreign, &bytes, &seal), Err(SnapshotError::OtherChain { .. })));
    assert!(matches!(restore(&bytes[..bytes.len() - 1], &seal), Err(SnapshotError::Unreadable(_))));
    assert!(matches!(restore(&[bytes.as_slice(), &[0]].concat(), &seal), Err(SnapshotError::Unreadable(_))));

    // What is changed is refused, or else is taken for what it says; it is never half read.
    let mut refused = 0;
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        match restore(&changed, &seal) {
            Ok(chain) => assert_eq!(chain.snapshot(), changed, "byte {at}"),
            Err(_) => refused += 1,
        }
    }
    println!("{refused} of {} changed bytes were refused", bytes.len());
    // The tree's edge and every balance are bound by the seal and the sums.
    let nodes = usize::try_from(seal.size.count_ones()).unwrap();
    assert!(refused > nodes * 32, "{refused}");
}

/// The state hash in the last seal of each golden log, as the checker in Python found it (`ledger/checker`).
const STATES: [(&str, &str); 6] = [
    ("v1-dispute", "7a4a35f58fe22a8d4a1c38431b2296682c58998757d3cfc422a72f90190d35f3"),
    ("v1-expiry", "0c848f4d367677cd2aae31377dabda877e4eb956e458028acc670416b663ce17"),
    ("v1-paid-job", "d7059eb4864088982793bcf00787c5d7450e2b64efa85c265037c216a60bd415"),
    ("v1-stale-epochs", "df57bc862c94a8f9becf041a3a37a63c3817a4d1ca988ef379f6b7e7bd5f9772"),
    ("v2-approvals", "cd9e9dd19f4d8c05026dfa891031bcb42d907e7c7aa9a63264beac06fd26cb15"),
    ("v2-vesting", "1db5b18b5a28858ba2adb593b358f0c876e30d986f4dae77c8923592252dd602"),
];

/// Runs in both profiles: `make soak` has it in release.
#[test]
fn i27_golden_logs_replay_to_the_pinned_states_however_this_is_compiled() {
    for (name, state) in STATES {
        let path = format!("{}/tests/golden/{name}.export", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(path).unwrap();
        let (mut leaves, mut at) = (Vec::new(), orion_ledger_core::export::MAGIC.len());
        while at < bytes.len() {
            let length = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
            let end = at + 4 + usize::try_from(length).unwrap();
            leaves.push(&bytes[at + 4..end]);
            at = end;
        }
        let body = |leaf: &[u8]| Leaf::from_bytes(leaf).unwrap().body;
        let LeafBody::Genesis(genesis) = body(leaves[1]) else { panic!("{name}") };
        let genesis = Genesis::from_bytes(&genesis).unwrap();
        let (_, chain) =
            verify::chain(bytes.as_slice(), &VerifierKey::new(&genesis.chain(), genesis.checkpoint)).unwrap();
        let LeafBody::Seal(seal) = body(leaves.last().unwrap()) else { panic!("{name}") };
        assert_eq!((seal.state.to_string().as_str(), seal.totals), (state, chain.totals()), "{name}");
    }
}
