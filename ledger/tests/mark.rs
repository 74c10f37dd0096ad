//! For one size at most one root is ever signed: not after a crash between any two steps of a checkpoint, not from an old copy
//! of the volume, not by two ledgers at a time. What decides is the mark outside of the volume.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use orion_ledger::mark::{FileMark, Mark, MarkError, SocketMark};
use orion_ledger::node::{Ended, Node, NodeError, Past};
use orion_ledger::publisher::{Published, Publishing};
use orion_ledger::store::{Store, StoreError};
use orion_ledger_core::{Chain, Checkpoint};
use orion_protocol::ids::TxId;
use orion_protocol::ledger::mark::Marked;
use orion_protocol::ledger::tx::*;
use orion_protocol::{Digest, JobId, Signed};
use support::local::{close, open_with};
use support::world::{self, Keys};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a mark does when it is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Moves,
    /// Nothing happens, and nobody hears why.
    Fails,
    /// It moves, and nobody hears of it.
    Unheard,
}

/// A mark in memory, which outlives volumes and ledgers.
#[derive(Clone)]
struct Kept(Arc<Mutex<(Marked, Fate)>>);

impl Kept {
    fn new() -> Kept {
        Kept(Arc::new(Mutex::new((Marked { version: "0".into(), signed: None }, Fate::Moves))))
    }

    fn fate(&self, fate: Fate) {
        self.0.lock().unwrap().1 = fate;
    }

    fn signed(&self) -> Option<(u64, Digest)> {
        self.0.lock().unwrap().0.signed
    }

    fn publishing(&self) -> Publishing {
        Publishing { interval: Duration::ZERO, mark: Some(Box::new(self.clone())) }
    }
}

impl Mark for Kept {
    fn read(&self) -> Result<Marked, MarkError> {
        Ok(self.0.lock().unwrap().0.clone())
    }

    fn advance(&self, version: &str, size: u64, root: &Digest) -> Result<String, MarkError> {
        let (marked, fate) = &mut *self.0.lock().unwrap();
        let silent = || MarkError::Keeper { path: "memory".into(), why: "silence".into() };
        if *fate == Fate::Fails {
            return Err(silent());
        }
        if marked.version != version {
            return Err(MarkError::Moved);
        }
        let next = version.parse::<u64>().unwrap() + 1;
        *marked = Marked { version: next.to_string(), signed: Some((size, *root)) };
        if *fate == Fate::Unheard { Err(silent()) } else { Ok(marked.version.clone()) }
    }
}

/// All roots that were ever seen signed, by size.
#[derive(Default)]
struct Seen(BTreeMap<u64, Digest>);

impl Seen {
    fn note(&mut self, published: &Published) {
        let text = orion_ledger_core::log::note::Note::parse(published.note.as_bytes()).unwrap();
        let Checkpoint { size, root, .. } = Checkpoint::from_text(text.text()).unwrap();
        assert_eq!((size, root), (published.size, published.root));
        let before = *self.0.entry(size).or_insert(root);
        assert_eq!(before, root, "two roots of size {size} were signed");
    }

    /// What a volume holds.
    fn stored(&mut self, directory: &Path) {
        let store = Store::open(directory).unwrap();
        store.snapshot().unwrap().published().unwrap().iter().for_each(|published| self.note(published));
    }
}

fn deposit(number: u64) -> Signed<Envelope> {
    let keys = Keys::new();
    let chain = keys.genesis().chain();
    let consumer = Consumer { account: world::consumer(&chain) };
    let id = TxId::derive("Deposit", &JobId::NONE, number, 0);
    Transaction::Deposit(Deposit { consumer, amount: 1 }).sign(&chain, &keys.issuer, 0, id)
}

fn submit(runtime: &Runtime, node: &Node, number: u64) {
    let tx = node.admission().check(deposit(number)).unwrap();
    runtime.block_on(node.submit(tx)).unwrap();
}

fn start(runtime: &Runtime, directory: &Path, mark: &Kept) -> Result<(Node, Ended), NodeError> {
    open_with(runtime, directory, Past::Unknown, mark.publishing())
}

/// The newest checkpoint once it covers all that is committed.
fn published(runtime: &Runtime, node: &Node) -> Published {
    let size = runtime.block_on(node.look(Chain::seal_ref)).unwrap().size;
    let newest = runtime.block_on(node.published(PATIENCE)).unwrap().expect("a checkpoint");
    assert_eq!(newest.size, size);
    Published::clone(&newest)
}

fn copy(from: &Path) -> TempDir {
    let to = TempDir::new().unwrap();
    std::fs::copy(from.join("ledger.redb"), to.path().join("ledger.redb")).unwrap();
    to
}

/// A volume and its mark, a copy of the volume, and what was signed so far.
fn begun(runtime: &Runtime) -> (TempDir, TempDir, Kept, Seen) {
    let (volume, mark, mut seen) = (TempDir::new().unwrap(), Kept::new(), Seen::default());
    let (node, ended) = start(runtime, volume.path(), &mark).unwrap();
    submit(runtime, &node, 1);
    seen.note(&published(runtime, &node));
    close(runtime, node, ended);
    let old = copy(volume.path());
    (volume, old, mark, seen)
}

#[test]
fn i29_a_crash_between_any_two_steps_of_a_checkpoint_leaves_one_root_for_a_size() {
    let runtime = Runtime::new().unwrap();
    for fate in [Fate::Fails, Fate::Unheard, Fate::Moves] {
        for restored in [false, true] {
            let (volume, old, mark, mut seen) = begun(&runtime);
            let (node, ended) = start(&runtime, volume.path(), &mark).unwrap();
            mark.fate(fate);
            submit(&runtime, &node, 2);
            let size = runtime.block_on(node.look(Chain::seal_ref)).unwrap().size;
            if fate == Fate::Moves {
                seen.note(&published(&runtime, &node));
            }
            // The end gives it one more try, which comes to the same.
            close(&runtime, node, ended);
            seen.stored(volume.path());
            mark.fate(Fate::Moves);
            let moved = mark.signed().unwrap().0 == size;
            assert_eq!(moved, fate != Fate::Fails);

            if !restored {
                let (node, ended) = start(&runtime, volume.path(), &mark).unwrap();
                assert_eq!(published(&runtime, &node).size, size);
                submit(&runtime, &node, 3);
                seen.note(&published(&runtime, &node));
                close(&runtime, node, ended);
                seen.stored(volume.path());
                continue;
            }
            let again = start(&runtime, old.path(), &mark);
            if moved {
                let refused = again.err();
                assert!(
                    matches!(refused, Some(NodeError::Behind { own, marked }) if own < size && marked == size),
                    "{fate:?}: {refused:?}"
                );
                continue;
            }
            // Nothing was signed over the block that is lost: the old volume goes on, and the newer one is refused.
            let (node, ended) = again.unwrap();
            submit(&runtime, &node, 4);
            seen.note(&published(&runtime, &node));
            close(&runtime, node, ended);
            let refused = start(&runtime, volume.path(), &mark).err();
            assert!(matches!(refused, Some(NodeError::Forked(at)) if at == size), "{refused:?}");
            seen.stored(volume.path());
        }
    }
}

#[test]
fn i29_of_two_ledgers_with_one_key_only_one_goes_on() {
    let runtime = Runtime::new().unwrap();
    let (volume, old, mark, mut seen) = begun(&runtime);
    let (one, one_ended) = start(&runtime, volume.path(), &mark).unwrap();
    let (two, two_ended) = start(&runtime, old.path(), &mark).unwrap();
    submit(&runtime, &one, 2);
    seen.note(&published(&runtime, &one));
    // Acknowledged by a ledger that does not know yet that it is not the only one.
    submit(&runtime, &two, 3);
    let halted = runtime.block_on(async { tokio::time::timeout(PATIENCE, two_ended).await }).unwrap().unwrap();
    assert!(matches!(halted, Err(NodeError::Forked(_))), "{halted:?}");
    seen.note(&two.board().newest().borrow().clone().unwrap());
    drop(two);
    submit(&runtime, &one, 4);
    seen.note(&published(&runtime, &one));
    close(&runtime, one, one_ended);
}

#[test]
fn i29_a_volume_claims_one_root_for_a_size_and_never_a_smaller_one() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let (one, two) = (Digest([1; 32]), Digest([2; 32]));
    store.claim(5, &one).unwrap();
    store.claim(5, &one).unwrap();
    for (size, root) in [(5, two), (4, one), (0, one)] {
        let refused = store.claim(size, &root);
        assert!(matches!(refused, Err(StoreError::Claimed { claimed: 5, .. })), "{refused:?}");
    }
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.snapshot().unwrap().claimed().unwrap(), Some((5, one)));
    store.claim(6, &two).unwrap();
}

#[test]
fn i29_a_volume_that_claims_more_than_it_has_is_not_gone_on_with() {
    let runtime = Runtime::new().unwrap();
    let (volume, _, mark, _) = begun(&runtime);
    // As an import does that is cut off after its first leaves.
    let store = Store::open(volume.path()).unwrap();
    let own = store.snapshot().unwrap().size().unwrap();
    store.claim(own + 5, &Digest::of(b"a root that was signed")).unwrap();
    drop(store);
    for mark in [mark.publishing(), Kept::new().publishing()] {
        let refused = open_with(&runtime, volume.path(), Past::Unknown, mark).err().unwrap();
        assert!(
            matches!(refused, NodeError::Behind { own: have, marked } if (have, marked) == (own, own + 5)),
            "{refused}"
        );
    }
}

#[test]
fn a_mark_that_knows_less_than_the_volume_is_told_while_nothing_happens() {
    let runtime = Runtime::new().unwrap();
    let (volume, _, mark, _) = begun(&runtime);
    let (signed, lost) = (mark.signed(), Kept::new());
    let (node, ended) = start(&runtime, volume.path(), &lost).unwrap();
    let told = (0..500).any(|_| {
        std::thread::park_timeout(Duration::from_millis(20));
        lost.signed() == signed
    });
    assert!(told && signed.is_some(), "{:?} is not {signed:?}", lost.signed());
    close(&runtime, node, ended);
}

#[test]
fn without_its_mark_a_ledger_answers_and_publishes_nothing_new() {
    let runtime = Runtime::new().unwrap();
    let (volume, _, mark, _) = begun(&runtime);
    let (node, ended) = start(&runtime, volume.path(), &mark).unwrap();
    let before = published(&runtime, &node);
    mark.fate(Fate::Fails);
    submit(&runtime, &node, 2);
    submit(&runtime, &node, 3);
    let newest = runtime.block_on(node.published(Duration::from_millis(100))).unwrap();
    assert_eq!(newest.as_deref(), Some(&before));
    mark.fate(Fate::Moves);
    assert!(published(&runtime, &node).size > before.size, "it comes by itself when the mark is back");
    close(&runtime, node, ended);
}

#[test]
fn an_empty_volume_is_refused_under_a_mark_also_when_nobody_says_that_the_log_was_begun() {
    let runtime = Runtime::new().unwrap();
    let (_, _, mark, _) = begun(&runtime);
    let empty = TempDir::new().unwrap();
    let refused = start(&runtime, empty.path(), &mark).err();
    assert!(matches!(refused, Some(NodeError::Behind { own: 0, .. })), "{refused:?}");
    let said = refused.unwrap().to_string();
    assert!(said.contains("orion-ledger import --data DIR"), "{said}");
}

#[test]
fn a_mark_in_a_directory_is_moved_under_its_version_and_never_lies_in_the_volume() {
    let (directory, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mark = FileMark::open(directory.path(), data.path()).unwrap();
    let first = mark.read().unwrap();
    assert_eq!(first.signed, None);
    let root = Digest([7; 32]);
    let version = mark.advance(&first.version, 3, &root).unwrap();
    assert!(matches!(mark.advance(&first.version, 4, &root), Err(MarkError::Moved)));
    let other = FileMark::open(directory.path(), data.path()).unwrap();
    assert_eq!(other.read().unwrap(), Marked { version: version.clone(), signed: Some((3, root)) });
    other.advance(&version, 4, &root).unwrap();
    assert_eq!(mark.read().unwrap().signed, Some((4, root)));

    std::fs::write(directory.path().join("mark"), "size 4\n").unwrap();
    assert!(matches!(mark.read(), Err(MarkError::Text { .. })));
    std::fs::create_dir(data.path().join("mark")).unwrap();
    for inside in [data.path().to_owned(), data.path().join("mark")] {
        assert!(matches!(FileMark::open(&inside, data.path()), Err(MarkError::Inside(_))));
    }
    let path = directory.path().to_owned();
    drop(directory);
    assert!(mark.read().is_err(), "a directory that is gone is no empty mark");
    assert!(FileMark::open(&path, data.path()).is_err());
}

/// A keeper that answers every request so.
fn keeper(runtime: &Runtime, status: StatusCode, answer: &'static str) -> (TempDir, SocketMark) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("keeper.sock");
    let _within = runtime.enter();
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let answers = move || async move { (status, answer) };
    let router = Router::new().route("/mark", get(answers).put(answers));
    runtime.spawn(async move { axum::serve(listener, router).await });
    (directory, SocketMark::new(&path, runtime.handle().clone()))
}

#[test]
fn a_keeper_is_believed_only_where_it_makes_sense() {
    let runtime = Runtime::new().unwrap();
    let root = Digest([0xab; 32]);
    let marked =
        concat!("version 7\nsize 9\nroot ", "abababababababababababababababab", "abababababababababababababababab\n");
    let (_directory, mark) = keeper(&runtime, StatusCode::OK, marked);
    assert_eq!(mark.read().unwrap(), Marked { version: "7".into(), signed: Some((9, root)) });
    assert_eq!(mark.advance("6", 9, &root).unwrap(), "7");
    assert!(matches!(mark.advance("6", 10, &root), Err(MarkError::Keeper { .. })), "that is not where it was moved");

    let (_directory, mark) = keeper(&runtime, StatusCode::CONFLICT, "");
    assert!(matches!(mark.advance("6", 9, &root), Err(MarkError::Moved)));
    let (_directory, mark) = keeper(&runtime, StatusCode::SERVICE_UNAVAILABLE, "no API server\u{1b}[2J");
    let said = mark.read().unwrap_err().to_string();
    assert!(said.contains("503") && said.contains("no API server") && !said.contains('\u{1b}'), "{said}");
    let (_directory, mark) = keeper(&runtime, StatusCode::OK, "size 9");
    assert!(matches!(mark.read(), Err(MarkError::Text { .. })));
    let long: &'static str = Box::leak("x".repeat(1 << 20).into_boxed_str());
    let (directory, mark) = keeper(&runtime, StatusCode::OK, long);
    assert!(matches!(mark.read(), Err(MarkError::Keeper { .. })));
    drop(directory);
    let since = Instant::now();
    assert!(matches!(mark.read(), Err(MarkError::Keeper { .. })), "nobody is there");
    assert!(since.elapsed() < PATIENCE);
}
