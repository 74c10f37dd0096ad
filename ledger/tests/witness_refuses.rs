//! A witness beside a log that is changed on the way, forks, rolls back or pays wrongly: it refuses, keeps evidence that says no
//! more than it shows, and goes on refusing.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use orion_ledger::witness::Limits;
use orion_ledger_core::log::fork::{Claim, Evidence, Shown};
use orion_ledger_core::log::tile::{FULL, Resource, Tile, partial_tiles};
use orion_ledger_core::log::witness_wire::{Answer, Refusal};
use orion_protocol::ledger::leaf::{Code, Leaf, LeafBody};
use orion_protocol::ledger::tx::Transaction;
use support::eye::{Eye, judged, limits, open, vkey};
use support::site::{Log, Sent, Site};
use support::world::{World, spec};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A world with a job that was paid.
fn paid() -> World {
    let mut world = World::new();
    world.pay(&spec(1, 4, 4, 2));
    world
}

fn deposit(world: &mut World, times: usize) {
    for _ in 0..times {
        assert_eq!(world.deposit(1), Code::Ok);
    }
}

struct Case {
    runtime: Runtime,
    directory: TempDir,
    site: Site,
}

impl Case {
    fn new(log: &Log) -> Case {
        Case { runtime: Runtime::new().unwrap(), directory: TempDir::new().unwrap(), site: Site::new(log.clone()) }
    }

    fn open(&self) -> Eye {
        self.open_with(limits())
    }

    fn open_with(&self, limits: Limits) -> Eye {
        open(&self.runtime, self.directory.path(), &self.site.url(), limits).unwrap()
    }

    fn file(&self) -> Evidence {
        Evidence::parse(&std::fs::read(self.directory.path().join("evidence/1")).unwrap()).unwrap()
    }

    /// A witness that has refused cosigns nothing that is sent, says why, and does the same after a restart.
    fn goes_on_refusing(&self, eye: Eye, log: &Log) {
        let check = |eye: &Eye| {
            let evidence = support::eye::evidence(eye.client);
            assert_eq!(evidence, self.file());
            match eye.send(&log.request(log.size)) {
                Answer::Refused(Refusal::Inconsistent, words) => {
                    let start: String = evidence.words().chars().take(60).collect();
                    assert!(words.contains("has stopped") && words.contains(&start), "{words}");
                }
                other => panic!("not refused: {other:?}"),
            }
            let metrics = String::from_utf8(eye.client.get("/metrics").body).unwrap();
            assert!(metrics.contains("orion_ledger_witness_stopped 1\n"), "{metrics}");
        };
        check(&eye);
        eye.close(&self.runtime);
        let eye = self.open();
        check(&eye);
        eye.close(&self.runtime);
    }
}

/// What somebody does to a file.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// Flips a bit of this byte.
    Flip(usize),
    FlipLast,
    /// Takes the last byte away.
    Cut,
    /// Adds a byte.
    Longer,
}

fn harmed(path: String, harm: Harm) -> impl Fn(&str, Option<Vec<u8>>) -> Sent + Send {
    move |asked, file| match file {
        Some(mut file) if asked == path => {
            let last = file.len() - 1;
            match harm {
                Harm::Flip(at) => file[at] ^= 1,
                Harm::FlipLast => file[last] ^= 1,
                Harm::Cut => file.truncate(last),
                Harm::Longer => file.push(0),
            }
            Sent::File(file)
        }
        Some(file) => Sent::File(file),
        None => Sent::Status(404),
    }
}

/// The evidence that something else was served than what was signed. It proves nothing about the log, and says so; nor is it
/// baseless.
fn served_otherwise(eye: &Eye, log: &Log) -> Evidence {
    let evidence = eye.refused();
    let Claim::Tile { note, leaf } = evidence.claim() else { panic!("{evidence:?}") };
    assert_eq!(note, &log.note());
    assert!(leaf.index < log.size);
    let undecided = Shown::Undecided("nobody signs tiles: who served this is the witness's word");
    assert_eq!(evidence.judge(&vkey()), Ok(undecided), "{}", evidence.words());
    assert!(evidence.words().contains("not who changed it"), "{}", evidence.words());
    evidence
}

#[test]
fn a_changed_byte_of_any_file_is_refused_and_what_was_served_is_kept() {
    let mut world = paid();
    deposit(&mut world, 300);
    let log = Log::of_world(&world);
    let (first, last) = (Tile::at(log.size, 0, 0).unwrap(), partial_tiles(log.size).next().unwrap());
    assert_eq!((first.width, last.level, log.size > 512), (FULL, 0, true));
    let upper = Tile::at(log.size, 1, 0).unwrap();
    let entries = |tile: Tile| Resource::Entries { index: tile.index, width: tile.width }.path();
    let hashes = |tile: Tile| Resource::Hashes(tile).path();
    let cases = [
        // Within the first leaf; its length, which upsets all that follows; within the last.
        (entries(first), Harm::Flip(10), "leaf 0 in tile/entries/000 is not the one"),
        (entries(first), Harm::Flip(1), "leaf 0 in tile/entries/000 is not the one"),
        (entries(first), Harm::FlipLast, "leaf 255 in tile/entries/000 is not"),
        (entries(first), Harm::Cut, "tile/entries/000 is no bundle of 256 leaves: what is served from leaf 255 on"),
        (entries(first), Harm::Longer, "tile/entries/000 is no bundle of 256 leaves: what is served from leaf 256 on"),
        (entries(last), Harm::Flip(10), "is not the one that the log signed"),
        // The first hash of a tile, and its last.
        (hashes(first), Harm::Flip(0), "tile/0/000 does not hash to what the log signed"),
        (hashes(first), Harm::FlipLast, "tile/0/000 does not hash to what the log signed"),
        (hashes(last), Harm::Flip(0), "right edge"),
        (hashes(last), Harm::FlipLast, "right edge"),
        (hashes(upper), Harm::Flip(0), "right edge"),
        (hashes(upper), Harm::FlipLast, "right edge"),
    ];
    for (path, harm, words) in cases {
        let case = Case::new(&log);
        case.site.change(harmed(path.clone(), harm));
        let eye = case.open();
        let evidence = served_otherwise(&eye, &log);
        assert!(evidence.words().contains(words), "{path} {harm:?}: {}", evidence.words());
        // The way being honest again changes nothing.
        case.site.honest();
        case.goes_on_refusing(eye, &log);
    }
}

#[test]
fn the_upper_tiles_of_a_large_log_are_compared_before_anything_is_replayed() {
    // Over 256^2 leaves, none of which is one: what is signed is compared first, and then the first leaf is wrong.
    let leaves: Vec<Vec<u8>> = (0..66_000_u32).map(|at| at.to_be_bytes().to_vec()).collect();
    let log = Log::of(&leaves);
    let tile = Tile::at(log.size, 1, 0).unwrap();
    assert_eq!(tile.width, FULL);
    for harm in [Harm::Flip(0), Harm::Flip(300), Harm::FlipLast] {
        let case = Case::new(&log);
        case.site.change(harmed(Resource::Hashes(tile).path(), harm));
        let eye = case.open();
        let evidence = served_otherwise(&eye, &log);
        assert!(evidence.words().starts_with("tile/1/000 does not hash"), "{harm:?}: {}", evidence.words());
        eye.close(&case.runtime);
    }
    let case = Case::new(&log);
    let eye = case.open();
    let evidence = eye.refused();
    let Claim::Replay { leaf, .. } = evidence.claim() else { panic!("{evidence:?}") };
    assert_eq!((leaf.index, &leaf.bytes, leaf.path.len()), (0, &leaves[0], 17));
    assert!(evidence.words().starts_with("leaf 0 is wrong: cannot be read"), "{}", evidence.words());
    eye.close(&case.runtime);
}

#[test]
fn a_file_that_was_changed_once_is_asked_for_again_and_held_against_nobody() {
    let mut world = paid();
    deposit(&mut world, 20);
    let log = Log::of_world(&world);
    let case = Case::new(&log);
    let (times, width) = (AtomicUsize::new(0), u16::try_from(log.size).unwrap());
    let bundle = Resource::Entries { index: 0, width }.path();
    let served = bundle.clone();
    case.site.change(move |path, file| match file {
        Some(mut file) if path == served && times.fetch_add(1, Ordering::Relaxed) < 2 => {
            file[10] ^= 1;
            Sent::File(file)
        }
        Some(file) => Sent::File(file),
        None => Sent::Status(404),
    });
    let eye = case.open();
    assert!(judged(&log.note(), &eye.send(&log.request(0))).accepted());
    assert_eq!((case.site.asked(&bundle), eye.client.get("/evidence").body), (3, b"[]\n".to_vec()));
    eye.close(&case.runtime);
}

#[test]
fn requests_do_not_make_evidence_of_a_file_that_was_changed_for_a_moment() {
    let log = Log::of_world(&paid());
    let case = Case::new(&log);
    let bundle = Resource::Entries { index: 0, width: u16::try_from(log.size).unwrap() }.path();
    case.site.change(harmed(bundle.clone(), Harm::Flip(10)));
    let limits = Limits { poll: Duration::from_mins(10), replay: Duration::from_millis(200), ..limits() };
    let eye = case.open_with(limits);
    eye.until(|status| status["log"]["trouble"].is_string());
    // Each of these has it look at the log, were it not for what it saw.
    for _ in 0..5 {
        let answer = eye.send(&log.request(0));
        assert!(matches!(answer, Answer::Refused(Refusal::NotYet, _)), "{answer:?}");
    }
    assert!(eye.status()["stopped"].is_null());
    assert_eq!(case.site.asked(&bundle), 1);
    eye.close(&case.runtime);
}

#[test]
fn a_person_who_takes_the_evidence_away_has_it_go_on() {
    let mut world = paid();
    let log = Log::of_world(&world);
    let case = Case::new(&log);
    let width = u16::try_from(log.size).unwrap();
    case.site.change(harmed(Resource::Entries { index: 0, width }.path(), Harm::Flip(10)));
    let eye = case.open();
    eye.refused();
    case.site.honest();
    let folder = case.directory.path().join("evidence");
    std::fs::rename(folder.join("1"), case.directory.path().join("looked-at")).unwrap();
    assert!(matches!(eye.send(&log.request(0)), Answer::Refused(Refusal::Inconsistent, _)), "not while it runs");
    eye.close(&case.runtime);
    let eye = case.open();
    assert!(judged(&log.note(), &eye.send(&log.request(0))).accepted());
    // What is wrong with the log itself is found again.
    let (was, size) = (log.size, world.log.len());
    deposit(&mut world, 1);
    world.log[size] = wrong_leaf(&world.log[size], |leaf| {
        let LeafBody::Transaction(_, receipt) = &mut leaf.body else { panic!("a transaction") };
        receipt.transfers[0].amount += 1;
    });
    let bad = Log::of_world(&world);
    case.site.show(bad.clone());
    eye.refused();
    eye.close(&case.runtime);
    std::fs::remove_file(folder.join("1")).unwrap();
    let eye = case.open();
    let evidence = eye.refused();
    assert!(matches!(evidence.claim(), Claim::Replay { leaf, .. } if leaf.index == was));
    case.goes_on_refusing(eye, &bad);
    // A file that cannot be read stops it like any other.
    std::fs::write(folder.join("1"), "scribbled over").unwrap();
    let eye = case.open();
    assert!(eye.status()["stopped"].as_str().unwrap().contains("cannot be read"));
    eye.close(&case.runtime);
}

fn wrong_leaf(leaf: &[u8], change: impl FnOnce(&mut Leaf)) -> Vec<u8> {
    let mut leaf = Leaf::from_bytes(leaf).unwrap();
    change(&mut leaf);
    leaf.to_bytes()
}

/// Two logs under one key that are the same up to the paid job.
fn forked() -> (World, World) {
    let (mut one, mut other) = (paid(), paid());
    deposit(&mut one, 5);
    assert_eq!(other.deposit(99), Code::Ok);
    deposit(&mut other, 4);
    assert!(one.log.len() == other.log.len() && one.log != other.log);
    (one, other)
}

fn proven(evidence: &Evidence, one: &Log, other: &Log) {
    let Ok(Shown::Fork { a, b, .. }) = evidence.judge(&vkey()) else { panic!("{:?}", evidence.judge(&vkey())) };
    let (small, large) = if one.size <= other.size { (one, other) } else { (other, one) };
    assert_eq!((a.size, b.size), (small.size, large.size));
    let Claim::Fork { a, b, .. } = evidence.claim() else { panic!("{evidence:?}") };
    // Of two of one size either may be the first.
    let notes = [a.to_string(), b.to_string()];
    assert!(notes.contains(&one.note) && notes.contains(&other.note), "{notes:?}");
    assert!(evidence.words().contains("two checkpoints that no one log has"), "{}", evidence.words());
}

#[test]
fn a_second_log_under_the_same_key_is_a_fork_that_proves_itself() {
    let (one, mut other) = forked();
    let same = Log::of_world(&other);
    let larger = {
        deposit(&mut other, 300);
        Log::of_world(&other)
    };
    let log = Log::of_world(&one);
    let smaller = Log::first(&other.log, log.size - 2);
    for (shown, name) in [(&same, "the same size"), (&larger, "larger"), (&smaller, "smaller")] {
        println!("{name}");
        // The log itself shows it.
        let case = Case::new(&log);
        let eye = case.open();
        assert!(judged(&log.note(), &eye.send(&log.request(0))).accepted());
        case.site.show(shown.clone());
        proven(&eye.refused(), &log, shown);
        case.goes_on_refusing(eye, shown);
        if shown.size > log.size {
            continue;
        }
        // The log shows what it did, and sends the other to be cosigned.
        let case = Case::new(&log);
        let eye = case.open();
        assert!(judged(&log.note(), &eye.send(&log.request(0))).accepted());
        let answer = eye.client.post("/add-checkpoint", shown.request(shown.size).to_string().as_bytes());
        let words = String::from_utf8(answer.body.clone()).unwrap();
        assert!(answer.status == 409 && words.contains("two checkpoints"), "{answer:?}");
        proven(&eye.refused(), &log, shown);
        case.goes_on_refusing(eye, &log);
    }
}

#[test]
fn a_fork_in_the_middle_of_a_long_copy_proves_itself_too() {
    let (mut one, mut other) = forked();
    deposit(&mut one, 300);
    deposit(&mut other, 400);
    let (log, larger) = (Log::of_world(&one), Log::of_world(&other));
    let case = Case::new(&log);
    // The last bundle never comes: it has followed the checkpoint, and not reached it.
    let last = partial_tiles(log.size).next().unwrap();
    let missing = Resource::Entries { index: last.index, width: last.width }.path();
    case.site.change(move |path, file| match file {
        Some(file) if path != missing => Sent::File(file),
        _ => Sent::Status(404),
    });
    let eye = case.open_with(Limits { replay: Duration::from_millis(100), ..limits() });
    eye.until(|status| status["log"]["trouble"].as_str().is_some_and(|why| why.contains("404")));
    assert!(matches!(eye.send(&log.request(0)), Answer::Refused(Refusal::NotYet, _)));
    case.site.honest();
    case.site.show(larger.clone());
    proven(&eye.refused(), &log, &larger);
    case.goes_on_refusing(eye, &larger);
}

#[test]
fn an_older_state_of_the_log_is_a_rollback_unless_it_was_an_old_copy() {
    let mut world = paid();
    let old = Log::of_world(&world);
    deposit(&mut world, 5);
    let new = Log::of_world(&world);
    let case = Case::new(&new);
    // An old copy in between, for a moment. It is shorter than what is cosigned, and was not cosigned itself.
    let eye = case.open_with(Limits { stale: Duration::from_mins(10), ..limits() });
    assert!(judged(&new.note(), &eye.send(&new.request(0))).accepted());
    case.site.show(old.clone());
    eye.until(|status| status["log"]["size"] == old.size);
    // Whoever has an old checkpoint can send it: that says nothing about the log.
    assert_eq!(eye.send(&old.request(old.size)), Answer::Size(new.size));
    case.site.show(new.clone());
    eye.until(|status| status["log"]["size"] == new.size);
    assert!(judged(&new.note(), &eye.send(&new.request(new.size))).accepted());
    eye.close(&case.runtime);

    let eye = case.open();
    case.site.show(old.clone());
    let evidence = eye.refused();
    let Claim::Rollback { cosigned, shown } = evidence.claim() else { panic!("{evidence:?}") };
    assert_eq!(shown, &old.note());
    let judged = support::eye::trust().judge(cosigned).unwrap();
    assert!(judged.accepted() && judged.checkpoint.size == new.size, "with the witness's own cosignature");
    assert!(evidence.words().contains("is the witness's word"), "{}", evidence.words());
    assert_eq!(evidence.judge(&vkey()), Ok(Shown::Undecided("which checkpoint came first is the witness's word")));
    case.goes_on_refusing(eye, &old);
}

#[test]
fn an_older_state_before_and_after_the_log_was_away_is_no_rollback_yet() {
    let mut world = paid();
    let old = Log::of_world(&world);
    deposit(&mut world, 5);
    let new = Log::of_world(&world);
    let case = Case::new(&new);
    let stale = Duration::from_secs(3);
    let eye = case.open_with(Limits { stale, ..limits() });
    assert!(judged(&new.note(), &eye.send(&new.request(0))).accepted());
    case.site.show(old.clone());
    eye.until(|status| status["log"]["size"] == old.size);
    case.site.change(|_, _| Sent::Status(502));
    eye.until(|status| status["log"]["trouble"].is_string());
    support::pass(stale);
    case.site.honest();
    // It shows the old one again, for a moment.
    let status = eye.until(|status| status["log"]["trouble"].is_null() || status["stopped"].is_string());
    case.site.show(new.clone());
    assert!(status["stopped"].is_null() && status["log"]["size"] == old.size, "{status}");
    assert!(judged(&new.note(), &eye.send(&new.request(new.size))).accepted());
    eye.close(&case.runtime);
}

/// What was refused for a log of these leaves, which the log's own key signed, after `honest` leaves were cosigned.
fn refused_leaf(world: &World, honest: u64, leaf: u64, words: &str) {
    let bad = Log::of_world(world);
    let good = Log::first(&world.log, honest);
    let case = Case::new(&good);
    let eye = case.open();
    assert!(judged(&good.note(), &eye.send(&good.request(0))).accepted());
    case.site.show(bad.clone());
    // Sent while it is found out: never cosigned.
    let answer = eye.send(&bad.request(honest));
    assert!(matches!(&answer, Answer::Refused(Refusal::Inconsistent, _)), "{answer:?}");
    let evidence = eye.refused();
    let Claim::Replay { note, leaf: shown } = evidence.claim() else { panic!("{evidence:?}") };
    let place = usize::try_from(leaf).unwrap();
    assert_eq!((note, shown.index, &shown.bytes), (&bad.note(), leaf, &world.log[place]));
    let says = evidence.words();
    assert!(says.starts_with(&format!("leaf {leaf} is wrong: ")) && says.contains(words), "{says}");
    assert_eq!(
        evidence.judge(&vkey()),
        Ok(Shown::Undecided("the leaf is the log's; whether it is wrong takes all leaves before it"))
    );
    assert_eq!(eye.status()["cosigned"]["size"], honest);
    assert_eq!(eye.client.get("/checkpoint").status, 200, "what it cosigned it still shows");
    case.goes_on_refusing(eye, &bad);
}

#[test]
fn a_wrong_payment_that_the_logs_own_key_signed_is_refused_with_its_leaf() {
    let mut world = paid();
    let honest = world.log.len() as u64;
    deposit(&mut world, 3);
    // The settlement of the job that is paid next.
    world.pay(&spec(2, 4, 4, 2));
    let settles = |leaf: &Vec<u8>| match Leaf::from_bytes(leaf).unwrap().body {
        LeafBody::Transaction(signed, _) => {
            let keys = orion_ledger_core::Admission::new(&support::world::Keys::new().genesis());
            matches!(keys.check(signed).unwrap().transaction(), Transaction::Settle(_))
        }
        _ => false,
    };
    let leaf = world.log.iter().rposition(settles).unwrap();
    world.log[leaf] = wrong_leaf(&world.log[leaf], |leaf| {
        let LeafBody::Transaction(_, receipt) = &mut leaf.body else { panic!("a transaction") };
        receipt.transfers[0].amount += 1;
    });
    refused_leaf(&world, honest, leaf as u64, "transfer 0 of its receipt is 41 micro-credits, the rules say 40");
}

#[test]
fn a_payment_that_was_made_before_is_refused_although_the_witness_forgot_its_id() {
    let mut world = paid();
    // A ledger that forgets what it ordered orders it again: the witness, whose chain forgets too, asks its store.
    let id = world.id();
    let account = world.account();
    let again = Transaction::Deposit(orion_protocol::ledger::tx::Deposit {
        consumer: orion_protocol::ledger::tx::Consumer { account },
        amount: 7,
    });
    let again = world.sign(&again, id);
    assert_eq!(world.block(vec![again.clone()])[0].code, Code::Ok);
    let honest = world.log.len() as u64;
    assert!(!world.chain.take_records().is_empty());
    assert_eq!(world.block(vec![again])[0].code, Code::Ok);
    refused_leaf(&world, honest, honest, "has the id of the one in leaf");
}

#[test]
fn a_checkpoint_within_a_block_is_refused() {
    let mut world = paid();
    let honest = world.log.len() as u64;
    deposit(&mut world, 1);
    world.log.pop();
    refused_leaf(&world, honest, honest, "within a block");
}

#[test]
fn a_copy_without_what_was_cosigned_is_not_opened() {
    let mut world = paid();
    deposit(&mut world, 3);
    let log = Log::of_world(&world);
    let case = Case::new(&log);
    let eye = case.open();
    assert!(judged(&log.note(), &eye.send(&log.request(0))).accepted());
    eye.close(&case.runtime);
    // Somebody's evidence and state in a directory whose copy is of another log.
    let other = Case::new(&Log::of_world(&forked().1));
    let eye = other.open();
    eye.until(|status| status["replayed"].as_u64() > Some(0));
    eye.close(&other.runtime);
    splice(case.directory.path(), other.directory.path());
    let refused = open(&other.runtime, other.directory.path(), &other.site.url(), limits()).err().unwrap();
    assert!(refused.to_string().contains("the data directory is not whole"), "{refused}");
    // A ledger's own store is no copy; and what is no address of a log is said at once.
    let store = support::local::stored(&world);
    let refused = open(&case.runtime, store.path(), &case.site.url(), limits()).err().unwrap();
    assert!(refused.to_string().contains("that no witness has followed"), "{refused}");
    for url in ["localhost:7070", "https://localhost:7070", "/", "http://x/?y"] {
        assert!(open(&case.runtime, case.directory.path(), url, limits()).is_err(), "{url}");
    }
}

/// Puts what the witness in `from` cosigned into the store in `to`.
fn splice(from: &Path, to: &Path) {
    use redb::{Database, ReadableDatabase as _, TableDefinition};
    const NOTES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("witness");
    let (from, to) = [from, to].map(|folder| Database::open(folder.join("ledger.redb")).unwrap()).into();
    let note = from.begin_read().unwrap().open_table(NOTES).unwrap().get("cosigned").unwrap().unwrap().value().to_vec();
    let write = to.begin_write().unwrap();
    write.open_table(NOTES).unwrap().insert("cosigned", note.as_slice()).unwrap();
    write.commit().unwrap();
}
