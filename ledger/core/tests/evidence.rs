//! Evidence files: a fork is shown by the file and the log's key alone, an honest log is never shown to have forked, and
//! what rests on somebody's word is not decided.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::convert::Infallible;

use orion_ledger_core::log::fork::{
    Baseless, Claim, Evidence, EvidenceError, Leaf, MAX_EVIDENCE_BYTES, MAX_WORDS_BYTES, Shown,
};
use orion_ledger_core::log::note::{KeyType, Note, NoteSigner};
use orion_ledger_core::log::prove::{Hashes, consistency, inclusion, prefix};
use orion_ledger_core::log::tile::Tile;
use orion_ledger_core::{Checkpoint, VerifierKey};
use orion_protocol::Digest;
use orion_protocol::merkle::{self, Sha256};
use support::{Random, key};

const LOG: &str = "orion.dev/orion-0123";

fn log() -> NoteSigner {
    NoteSigner::new(LOG, KeyType::Ed25519, key(1)).unwrap()
}

fn vkey() -> VerifierKey {
    VerifierKey::of(log().key().clone()).unwrap()
}

/// A log below 256 leaves that says something else from leaf `from` on.
#[derive(Clone, Copy)]
struct Story {
    size: u64,
    from: u64,
}

impl Story {
    fn leaf(self, at: u64) -> Vec<u8> {
        [at.to_be_bytes().as_slice(), &[u8::from(at >= self.from)]].concat()
    }

    fn checkpoint(self) -> Checkpoint {
        let leaves: Vec<[u8; 32]> = (0..self.size).map(|at| Sha256::leaf(&self.leaf(at))).collect();
        Checkpoint { origin: LOG.into(), size: self.size, root: Digest(merkle::root::<Sha256>(&leaves)) }
    }

    fn note(self) -> Note {
        signed(&self.checkpoint())
    }
}

impl Hashes for Story {
    type Error = Infallible;
    fn hashes(&self, tile: Tile) -> Result<Vec<[u8; 32]>, Infallible> {
        assert_eq!((tile.level, tile.index), (0, 0));
        Ok((0..u64::from(tile.width)).map(|at| Sha256::leaf(&self.leaf(at))).collect())
    }
}

fn signed(checkpoint: &Checkpoint) -> Note {
    let mut note = Note::new(checkpoint.text()).unwrap();
    note.add(log().sign(note.text(), 0)).unwrap();
    note
}

const HONEST: u64 = u64::MAX;

/// The evidence that the second story does not start with the first.
fn fork(one: Story, other: Story) -> Evidence {
    let (small, large) = if one.size < other.size { (one, other) } else { (other, one) };
    let nodes = if small.size == large.size { vec![] } else { prefix(small.size, large.size, &large).unwrap() };
    Evidence::fork(one.note(), other.note(), nodes, "two stories")
}

fn is_fork(result: &Result<Shown, Baseless>) -> bool {
    matches!(result, Ok(Shown::Fork { .. }))
}

#[test]
fn two_stories_of_any_sizes_are_shown_and_one_story_never_is() {
    for large in 1..=20_u64 {
        for small in 1..=large {
            let honest = Story { size: small, from: HONEST };
            for from in [0, small / 2, small - 1] {
                let lie = Story { size: large, from };
                for evidence in [fork(honest, lie), fork(lie, honest)] {
                    let read = Evidence::parse(&evidence.to_bytes()).unwrap();
                    assert_eq!(read, evidence);
                    let Ok(Shown::Fork { a, b, start }) = read.judge(&vkey()) else { panic!("{small} {large} {from}") };
                    let same = small == large;
                    assert!((a.size, b.size) == (small, large) && (same || a == honest.checkpoint()));
                    assert!(start != a.root && (same || start == Story { size: small, from }.checkpoint().root));
                }
            }
            // The lie begins after the smaller one, or nowhere.
            for from in [small, HONEST] {
                let truth = Story { size: large, from };
                let evidence = fork(honest, truth);
                assert_eq!(evidence.judge(&vkey()), Err(Baseless::Agree), "{small} {large} {from}");
            }
        }
    }
}

#[test]
fn no_nodes_make_a_fork_of_an_honest_log() {
    let mut random = Random(11);
    for large in 2..=20_u64 {
        let whole = Story { size: large, from: HONEST };
        for small in 1..large {
            let honest = Story { size: small, from: HONEST };
            let good = prefix(small, large, &whole).unwrap();
            let mut tries = vec![consistency(small, large, &whole).unwrap(), good[1..].to_vec()];
            for other in 1..large {
                tries.push(prefix(other, large, &whole).unwrap());
            }
            for _ in 0..20 {
                let mut nodes = good.clone();
                let at = usize::try_from(random.below(nodes.len() as u64)).unwrap();
                match random.below(4) {
                    0 => nodes[at][0] ^= 1,
                    1 => nodes.push([0; 32]),
                    2 => drop(nodes.remove(at)),
                    _ => nodes.reverse(),
                }
                tries.push(nodes);
            }
            for nodes in tries {
                let result = Evidence::fork(honest.note(), whole.note(), nodes, "").judge(&vkey());
                assert!(!is_fork(&result), "{small} {large}: {result:?}");
            }
        }
    }
    // The sizes swapped by hand, and equal sizes with nodes.
    let (small, large) = (Story { size: 3, from: HONEST }, Story { size: 7, from: HONEST });
    let swapped = Claim::Fork { a: large.note(), b: small.note(), nodes: prefix(3, 7, &large).unwrap() };
    assert_eq!(Evidence::new(swapped, "").judge(&vkey()), Err(Baseless::Sizes));
    let lie = Story { size: 7, from: 2 };
    let evidence = Evidence::fork(large.note(), lie.note(), prefix(3, 7, &lie).unwrap(), "");
    assert_eq!(evidence.judge(&vkey()), Err(Baseless::Nodes));
}

#[test]
fn bare_checkpoints_of_different_sizes_are_not_decided() {
    let (small, lie) = (Story { size: 3, from: HONEST }, Story { size: 7, from: 1 });
    let bare = Evidence::fork(lie.note(), small.note(), vec![], "");
    assert!(matches!(bare.judge(&vkey()), Ok(Shown::Undecided(_))));
    let same = Evidence::fork(lie.note(), Story { size: 7, from: 2 }.note(), vec![], "");
    assert!(is_fork(&same.judge(&vkey())));
}

#[test]
fn an_empty_log_has_one_root() {
    let (empty, large) = (Story { size: 0, from: HONEST }, Story { size: 7, from: HONEST });
    assert_eq!(Evidence::fork(empty.note(), large.note(), vec![], "").judge(&vkey()), Err(Baseless::Agree));
    let lie = signed(&Checkpoint { root: Digest([1; 32]), ..empty.checkpoint() });
    assert!(is_fork(&Evidence::fork(lie.clone(), large.note(), vec![], "").judge(&vkey())));
    assert!(is_fork(&Evidence::fork(lie, empty.note(), vec![], "").judge(&vkey())));
}

#[test]
fn what_the_log_did_not_sign_is_no_evidence() {
    let (one, other) = (Story { size: 3, from: HONEST }, Story { size: 7, from: 1 });
    let evidence = fork(one, other);
    let stranger = NoteSigner::new(LOG, KeyType::Ed25519, key(9)).unwrap();
    let theirs = VerifierKey::of(stranger.key().clone()).unwrap();
    assert!(matches!(evidence.judge(&theirs), Err(Baseless::Unsigned('A', _))));
    let mut forged = Note::new(other.checkpoint().text()).unwrap();
    forged.add(stranger.sign(forged.text(), 0)).unwrap();
    let evidence = Evidence::fork(one.note(), forged, prefix(3, 7, &other).unwrap(), "");
    assert!(matches!(evidence.judge(&vkey()), Err(Baseless::Unsigned('B', _))));
    // A witness's cosignature of a lie says nothing about the log.
    let witness = NoteSigner::new(LOG, KeyType::Cosignature, key(1)).unwrap();
    let mut cosigned = Note::new(other.checkpoint().text()).unwrap();
    cosigned.add(witness.sign(cosigned.text(), 7)).unwrap();
    let evidence = Evidence::fork(one.note(), cosigned, prefix(3, 7, &other).unwrap(), "");
    assert!(matches!(evidence.judge(&vkey()), Err(Baseless::Unsigned('B', _))));
}

#[test]
fn a_changed_byte_leaves_a_fork_only_where_the_words_are() {
    let evidence = fork(Story { size: 4, from: HONEST }, Story { size: 7, from: 1 });
    let file = evidence.to_bytes();
    assert!(is_fork(&evidence.judge(&vkey())));
    let words = file.len() - evidence.words().len();
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut changed = file.clone();
            changed[at] ^= 1 << bit;
            let shown = Evidence::parse(&changed).is_ok_and(|evidence| is_fork(&evidence.judge(&vkey())));
            assert!(!shown || at >= words, "byte {at} bit {bit}");
        }
        assert!(Evidence::parse(&file[..at]).is_err(), "cut at {at}");
    }
    assert_eq!(Evidence::parse(&[file.as_slice(), &[0]].concat()), Err(EvidenceError::Trailing));
}

fn leaf(story: Story, index: u64, bytes: Vec<u8>) -> Leaf {
    Leaf { index, bytes, path: inclusion(story.size, index, &story).unwrap() }
}

#[test]
fn a_rollback_a_wrong_leaf_and_a_wrong_tile_are_checked_and_left_undecided() {
    let story = Story { size: 7, from: HONEST };
    let (large, small) = (story.note(), Story { size: 3, from: HONEST }.note());
    let served = leaf(story, 4, b"not this".to_vec());
    let cases = [
        Claim::Rollback { cosigned: large.clone(), shown: small.clone() },
        Claim::Replay { note: large.clone(), leaf: leaf(story, 4, story.leaf(4)) },
        Claim::Tile { note: large.clone(), leaf: served.clone() },
    ];
    for claim in cases {
        let evidence = Evidence::new(claim, "leaf 4: \u{fc}berweisung");
        let file = evidence.to_bytes();
        assert_eq!(Evidence::parse(&file).unwrap(), evidence);
        assert!(matches!(evidence.judge(&vkey()), Ok(Shown::Undecided(_))), "{evidence:?}");
        let words = file.len() - evidence.words().len();
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1 << (at % 8);
            let judged = Evidence::parse(&changed).ok().map(|evidence| evidence.judge(&vkey()));
            assert!(!judged.as_ref().is_some_and(is_fork), "byte {at}");
            // Whatever was served is not the log's leaf; everything else is bound by the log's signature.
            let bound = !matches!(evidence.claim(), Claim::Tile { .. });
            assert!(!bound || at >= words || !matches!(judged, Some(Ok(_))), "byte {at}: {judged:?}");
        }
    }
    let judge = |claim| Evidence::new(claim, "").judge(&vkey());
    assert_eq!(judge(Claim::Rollback { cosigned: small, shown: large.clone() }), Err(Baseless::Sizes));
    assert_eq!(judge(Claim::Replay { note: large.clone(), leaf: served }), Err(Baseless::NotIncluded(4)));
    assert_eq!(judge(Claim::Tile { note: large, leaf: leaf(story, 4, story.leaf(4)) }), Err(Baseless::Included(4)));
}

#[test]
fn parts_that_do_not_belong_and_lengths_out_of_bounds_are_refused() {
    let story = Story { size: 7, from: HONEST };
    let file = |claim| Evidence::new(claim, "").to_bytes();
    let with_kind = |mut file: Vec<u8>, kind: u8| {
        file[24] = kind;
        Evidence::parse(&file).unwrap_err()
    };
    let fork = file(Claim::Fork { a: story.note(), b: story.note(), nodes: vec![[1; 32]] });
    let replay = file(Claim::Replay { note: story.note(), leaf: leaf(story, 1, vec![7]) });
    assert_eq!(with_kind(fork.clone(), 2), EvidenceError::Part("nodes without a fork"));
    assert_eq!(with_kind(fork.clone(), 3), EvidenceError::Part("a leaf with a second note"));
    assert_eq!(with_kind(replay.clone(), 1), EvidenceError::Part("a fork or rollback without a second note"));
    assert_eq!((with_kind(fork.clone(), 0), with_kind(replay, 5)), (EvidenceError::Kind(0), EvidenceError::Kind(5)));
    assert_eq!(Evidence::parse(b"orion-ledger-evidence 2\n"), Err(EvidenceError::Magic));
    let long = vec![0; MAX_EVIDENCE_BYTES + 1];
    assert_eq!(Evidence::parse(&long), Err(EvidenceError::TooLong(long.len())));
    let mut huge = fork[..25].to_vec();
    huge.extend(u32::MAX.to_be_bytes());
    assert!(matches!(Evidence::parse(&huge), Err(EvidenceError::Length { what: "note A", .. })));
    let many = file(Claim::Fork { a: story.note(), b: story.note(), nodes: vec![[1; 32]; 66] });
    assert!(matches!(Evidence::parse(&many), Err(EvidenceError::Length { what: "the nodes", .. })));
    // Words are for people's terminals.
    let loud = Evidence::fork(story.note(), story.note(), vec![], "a\u{1b}[2Jb\nc\u{9b}");
    assert_eq!(loud.words(), "a [2Jb\nc ");
    let mut file = loud.to_bytes();
    let escape = file.len() - 8;
    assert_eq!(file[escape], b' ');
    file[escape] = 0x1b;
    assert_eq!(Evidence::parse(&file), Err(EvidenceError::Part("the words hold control characters")));
    // Words are cut where a character ends.
    let wordy = Evidence::fork(story.note(), story.note(), vec![], &"\u{20ac}".repeat(2000));
    assert_eq!(wordy.words().len(), MAX_WORDS_BYTES - MAX_WORDS_BYTES % 3);
    assert_eq!(Evidence::parse(&wordy.to_bytes()).unwrap(), wordy);
}
