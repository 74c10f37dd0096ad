//! The ledger and its witnesses over HTTP: what is witnessed, what is not, and that nobody waits for it. The witnesses are made
//! of the core's parts: they judge what they are sent and replay nothing.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use orion_ledger_core::log::note::{KeyType, Note, NoteSigner};
use orion_ledger_core::log::trust::Trust;
use orion_ledger_core::log::witness_wire::{AddCheckpoint, Answer, Refusal};
use orion_ledger_core::{Checkpoint, VerifierKey};
use orion_protocol::ids::TxId;
use orion_protocol::ledger::api::{LeafProof, WitnessView, Witnesses};
use orion_protocol::ledger::tx::*;
use orion_protocol::{Digest, JobId, SecretKey, Signed, cbor};
use support::world::{self, Keys};
use support::{Client, Home};

const PATIENCE: Duration = Duration::from_secs(30);

/// How a witness answers.
#[derive(Clone, Debug)]
enum Manner {
    /// By the specification.
    Honest,
    /// 422, with these words.
    Refuses(&'static str),
    /// As if by a key that nobody knows.
    Forges,
    /// Honest to so many, and silent to others until it becomes something else.
    Lets(usize),
}

#[derive(Debug)]
struct State {
    manner: Manner,
    last: Option<Checkpoint>,
    /// Old sizes that it was sent.
    olds: Vec<u64>,
}

/// A witness on a thread of its own, until the test ends.
struct Witness {
    name: &'static str,
    secret: SecretKey,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Witness {
    fn start(name: &'static str, number: u8) -> Witness {
        let witness = Witness::lost(name, number);
        witness.come(TcpListener::bind(witness.address).unwrap());
        witness
    }

    /// Nobody answers at its address.
    fn lost(name: &'static str, number: u8) -> Witness {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = State { manner: Manner::Honest, last: None, olds: Vec::new() };
        let secret = SecretKey::from_seed(&[number; 32]);
        Witness { name, secret, address: listener.local_addr().unwrap(), state: Arc::new(Mutex::new(state)) }
    }

    /// It answers from now on.
    fn come(&self, listener: TcpListener) {
        let state = self.state.clone();
        let signer = self.signer();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &signer, &state);
            }
        });
    }

    fn signer(&self) -> NoteSigner {
        NoteSigner::new(&format!("{}.example", self.name), KeyType::Cosignature, self.secret.clone()).unwrap()
    }

    fn becomes(&self, manner: Manner) {
        self.state.lock().unwrap().manner = manner;
    }

    /// Its line in a trust policy.
    fn line(&self) -> String {
        format!("witness {} {} http://{}\n", self.name, self.signer().key(), self.address)
    }
}

/// One request a connection.
fn serve(mut stream: TcpStream, signer: &NoteSigner, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line).unwrap();
    assert!(line.is_empty() || line.starts_with("POST /add-checkpoint "), "{line}");
    while reader.read_line(&mut line).unwrap() > 2 {
        let header = line.lines().last().unwrap().to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    while !lets(&mut state.lock().unwrap().manner) {
        support::pass(Duration::from_millis(10));
    }
    let answer = answer(&body, signer, &mut state.lock().unwrap());
    let (status, kind, body) = (answer.status(), answer.content_type(), answer.body());
    let head = format!("HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n", body.len());
    let _ = stream.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes());
}

/// Whether it answers now.
fn lets(manner: &mut Manner) -> bool {
    let Manner::Lets(left) = manner else { return true };
    let lets = *left > 0;
    *left = left.saturating_sub(1);
    lets
}

fn answer(body: &[u8], signer: &NoteSigner, state: &mut State) -> Answer {
    let request = AddCheckpoint::parse(body).unwrap();
    state.olds.push(request.old);
    if let Manner::Refuses(words) = state.manner {
        return Answer::Refused(Refusal::Inconsistent, words.to_owned());
    }
    let judged = match request.judge(&[vkey()], state.last.as_ref()) {
        Ok(judged) => judged,
        Err(answer) => return answer,
    };
    state.last = Some(judged);
    let forger = NoteSigner::new(signer.key().name(), KeyType::Cosignature, SecretKey::from_seed(&[99; 32])).unwrap();
    let signer = if matches!(state.manner, Manner::Forges) { &forger } else { signer };
    Answer::Cosigned(vec![signer.sign(request.note.text(), 1_800_000_000)])
}

fn vkey() -> VerifierKey {
    let genesis = Keys::new().genesis();
    VerifierKey::new(&genesis.chain(), genesis.checkpoint)
}

/// A policy that asks for `least` of these.
fn policy(witnesses: &[&Witness], least: usize) -> String {
    let lines: String = witnesses.iter().map(|witness| witness.line()).collect();
    let names: Vec<&str> = witnesses.iter().map(|witness| witness.name).collect();
    format!("log {}\n{lines}group all {least} {}\nquorum all\n", vkey(), names.join(" "))
}

fn with_policy(witnesses: &[&Witness], least: usize) -> Home {
    let home = Home::new();
    std::fs::write(home.trust(), policy(witnesses, least)).unwrap();
    home
}

fn deposit(client: Client, number: u64) -> u64 {
    let keys = Keys::new();
    let chain = keys.genesis().chain();
    let consumer = Consumer { account: world::consumer(&chain) };
    let id = TxId::derive("Deposit", &JobId::NONE, number, 0);
    let deposit = Transaction::Deposit(Deposit { consumer, amount: 5 });
    let signed: Signed<_> = deposit.sign(&chain, &keys.issuer, 0, id);
    client.submit(&signed).seal.size
}

fn seen(client: Client) -> Witnesses {
    cbor::from_slice("witnesses", &client.get("/v1/witnesses").body, 1 << 20).unwrap()
}

/// What is seen once `good` says so.
#[expect(clippy::disallowed_methods, reason = "waits for a state with a deadline, and there is nobody to be woken by")]
fn until(client: Client, good: impl Fn(&Witnesses) -> bool) -> Witnesses {
    let end = Instant::now() + PATIENCE;
    loop {
        let seen = seen(client);
        if good(&seen) {
            return seen;
        }
        assert!(Instant::now() < end, "this is all that came: {seen:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn witnessed(size: u64) -> impl Fn(&Witnesses) -> bool {
    move |seen| seen.witnessed.as_ref().is_some_and(|witnessed| witnessed.size >= size)
}

fn view<'a>(seen: &'a Witnesses, name: &str) -> &'a WitnessView {
    seen.witnesses.iter().find(|view| view.name == name).unwrap()
}

#[test]
fn a_log_is_witnessed_once_its_quorum_has_cosigned_it() {
    let (ann, bob, carl) = (Witness::start("ann", 21), Witness::start("bob", 22), Witness::start("carl", 23));
    let home = with_policy(&[&ann, &bob, &carl], 2);
    let ledger = home.start();
    let client = ledger.client();
    for number in 0..3 {
        let size = deposit(client, number);
        let seen = until(client, witnessed(size));
        let witnessed = seen.witnessed.as_ref().unwrap();
        assert!(seen.quorum && !seen.blocked && witnessed.by.len() >= 2, "{seen:?}");
        // Nobody has to believe the ledger.
        let trust = Trust::parse(&std::fs::read(home.trust()).unwrap()).unwrap();
        let judged = trust.judge(&Note::parse(witnessed.note.as_bytes()).unwrap()).unwrap();
        assert!(judged.accepted() && judged.checkpoint.size == witnessed.size);
    }
    // All three in the end, on the checkpoint that everybody reads.
    let seen = until(client, |seen| seen.witnessed.as_ref().is_some_and(|witnessed| witnessed.by.len() == 3));
    let cosigned = seen.witnessed.unwrap().note;
    assert_eq!(String::from_utf8(client.get("/checkpoint").body).unwrap(), cosigned);
    // So has whoever asks for the proof of a leaf.
    let proof: LeafProof = cbor::from_slice("proof", &client.get("/v1/proofs/0").body, 1 << 20).unwrap();
    assert!(proof.proof.ends_with(&cosigned), "{}", proof.proof);
    // Only a witness that has seen nothing is sent no proof.
    let olds = ann.state.lock().unwrap().olds.clone();
    assert_eq!(olds.iter().filter(|old| **old == 0).count(), 1, "{olds:?}");
    let metrics = String::from_utf8(client.get("/metrics").body).unwrap();
    let size = seen.published;
    assert!(metrics.contains(&format!("orion_ledger_witnessed_size {size}\n")), "{metrics}");
    assert!(metrics.contains("orion_ledger_witness_age_seconds 0\n"), "{metrics}");
    assert!(metrics.contains("orion_ledger_witness_refused{witness=\"ann\"} 0\n"), "{metrics}");
}

#[test]
fn a_lost_witness_delays_what_is_witnessed_and_nothing_else() {
    let (ann, bob) = (Witness::start("ann", 21), Witness::lost("bob", 22));
    let home = with_policy(&[&ann, &bob], 2);
    let ledger = home.start();
    let client = ledger.client();
    let size = deposit(client, 1);
    let seen = until(client, |seen| view(seen, "bob").error.is_some() && view(seen, "ann").size > 0);
    assert!(seen.witnessed.is_none() && !seen.blocked && view(&seen, "bob").refused.is_none(), "{seen:?}");
    bob.come(TcpListener::bind(bob.address).unwrap());
    // The log does not grow: it is the same checkpoint that is asked about again.
    let seen = until(client, witnessed(size));
    assert_eq!(seen.witnessed.unwrap().by, ["ann", "bob"]);
    until(client, |seen| view(seen, "bob").size == size && view(seen, "bob").error.is_none());
}

#[test]
fn what_was_witnessed_stays_over_a_crash_without_any_witness() {
    let home;
    let size;
    {
        let ann = Witness::start("ann", 21);
        home = with_policy(&[&ann], 1);
        let ledger = home.start();
        size = deposit(ledger.client(), 1);
        until(ledger.client(), witnessed(size));
        ledger.kill();
        ann.becomes(Manner::Refuses("out of order"));
    }
    let ledger = home.start();
    assert_eq!(seen(ledger.client()).witnessed.unwrap().size, size);
    // Under another policy the same note may say nothing.
    let (ann, bob) = (Witness::lost("ann", 21), Witness::lost("bob", 22));
    drop(ledger);
    std::fs::write(home.trust(), policy(&[&ann, &bob], 2)).unwrap();
    let ledger = home.start();
    assert!(seen(ledger.client()).witnessed.is_none());
}

#[test]
fn a_witness_that_knows_the_log_tells_its_size_to_a_ledger_that_starts_again() {
    let ann = Witness::start("ann", 21);
    let home = with_policy(&[&ann], 1);
    let ledger = home.start();
    let before = deposit(ledger.client(), 1);
    until(ledger.client(), witnessed(before));
    ledger.kill();
    ann.state.lock().unwrap().olds.clear();
    let ledger = home.start();
    let after = deposit(ledger.client(), 2);
    until(ledger.client(), witnessed(after));
    let olds = ann.state.lock().unwrap().olds.clone();
    assert_eq!(olds[..2], [0, before], "{olds:?}");
}

#[test]
fn a_refusal_is_shown_in_its_own_words_and_blocks_only_what_needs_it() {
    let (ann, bob) = (Witness::start("ann", 21), Witness::start("bob", 22));
    bob.becomes(Manner::Refuses("leaf 2 pays 7 where the rules pay 5"));
    let home = with_policy(&[&ann, &bob], 1);
    let ledger = home.start();
    let size = deposit(ledger.client(), 1);
    let seen = until(ledger.client(), |seen| view(seen, "bob").refused.is_some() && witnessed(size)(seen));
    assert_eq!(view(&seen, "bob").refused.as_deref(), Some("leaf 2 pays 7 where the rules pay 5"));
    assert!(!seen.blocked && seen.witnessed.unwrap().by == ["ann"]);
    drop(ledger);
    let home = with_policy(&[&ann, &bob], 2);
    ann.state.lock().unwrap().last = None;
    let ledger = home.start();
    let size = deposit(ledger.client(), 1);
    let seen = until(ledger.client(), |seen| seen.blocked);
    assert!(seen.witnessed.is_none(), "{seen:?}");
    let metrics = String::from_utf8(ledger.client().get("/metrics").body).unwrap();
    assert!(metrics.contains("orion_ledger_witness_refused{witness=\"bob\"} 1\n"), "{metrics}");
    assert!(metrics.contains("orion_ledger_witness_blocked 1\n"), "{metrics}");
    // One that was mended is believed again.
    bob.becomes(Manner::Honest);
    let seen = until(ledger.client(), witnessed(size));
    assert!(!seen.blocked && view(&seen, "bob").refused.is_none(), "{seen:?}");
}

#[test]
fn a_witness_that_saw_another_log_or_a_longer_one_refuses() {
    let (ann, bob) = (Witness::start("ann", 21), Witness::start("bob", 22));
    let home = with_policy(&[&ann, &bob], 2);
    let origin = vkey().name().to_owned();
    let other = |size| Some(Checkpoint { origin: origin.clone(), size, root: Digest([7; 32]) });
    let ledger = home.start();
    let size = deposit(ledger.client(), 1);
    until(ledger.client(), witnessed(size));
    ledger.kill();
    // As if the log had signed these before.
    ann.state.lock().unwrap().last = other(size);
    bob.state.lock().unwrap().last = other(size + 100);
    let ledger = home.start();
    let both = |seen: &Witnesses| seen.witnesses.iter().all(|view| view.refused.is_some());
    let seen = until(ledger.client(), both);
    assert!(seen.blocked);
    let words = |name| view(&seen, name).refused.clone().unwrap();
    assert!(words("ann").contains("the same size with another root"), "{}", words("ann"));
    assert!(words("bob").contains(&format!("cosigned size {}", size + 100)), "{}", words("bob"));
    // Transactions are acknowledged all the same.
    deposit(ledger.client(), 2);
}

#[test]
fn witnesses_that_somebody_else_showed_more_are_asked_about_the_newest_at_once() {
    let (ann, bob) = (Witness::lost("ann", 21), Witness::lost("bob", 22));
    let home = with_policy(&[&ann, &bob], 2);
    let start = Instant::now();
    let ledger = home.start();
    let client = ledger.client();
    // The first of these is asked about, and is not let go of for ten seconds where nobody answers.
    let sizes: Vec<u64> = (0..4).map(|number| deposit(client, number)).collect();
    until(client, |seen| seen.published == sizes[3] && seen.witnesses.iter().all(|view| view.error.is_some()));
    // `add-checkpoint` is open to all, and so is the newest checkpoint.
    let note = Note::parse(&client.get("/checkpoint").body).unwrap();
    let shown = Checkpoint::of_note(&note, &vkey()).unwrap();
    for witness in [&ann, &bob] {
        witness.state.lock().unwrap().last = Some(shown.clone());
        witness.come(TcpListener::bind(witness.address).unwrap());
    }
    let seen = until(client, |seen| {
        assert!(!seen.blocked && seen.witnesses.iter().all(|view| view.refused.is_none()), "{seen:?}");
        witnessed(sizes[3])(seen)
    });
    assert_eq!(seen.witnessed.unwrap().by, ["ann", "bob"]);
    assert!(start.elapsed() < Duration::from_secs(10), "it was not let go of: {:?}", start.elapsed());
}

#[test]
fn one_that_says_it_was_shown_more_takes_no_quorum_from_the_others() {
    let (ann, bob, carl) = (Witness::start("ann", 21), Witness::start("bob", 22), Witness::start("carl", 23));
    let home = with_policy(&[&ann, &bob, &carl], 2);
    let ledger = home.start();
    let client = ledger.client();
    let first = deposit(client, 1);
    until(client, |seen| seen.witnesses.iter().all(|view| view.size >= first));
    // The next one is asked about, and then there is one more.
    ann.becomes(Manner::Lets(0));
    bob.becomes(Manner::Lets(0));
    let second = deposit(client, 2);
    until(client, |seen| view(seen, "carl").size == second);
    let third = deposit(client, 3);
    until(client, |seen| seen.published == third);
    let note = Note::parse(&client.get("/checkpoint").body).unwrap();
    ann.state.lock().unwrap().last = Some(Checkpoint::of_note(&note, &vkey()).unwrap());
    let asked = ann.state.lock().unwrap().olds.len();
    ann.becomes(Manner::Honest);
    until(client, |_| ann.state.lock().unwrap().olds.len() > asked);
    // Bob is waited for all the same: carl would be asked about the third.
    support::pass(Duration::from_millis(500));
    assert_eq!(view(&seen(client), "carl").size, second);
    bob.becomes(Manner::Honest);
    let seen = until(client, witnessed(third));
    assert!(!seen.blocked && seen.witnesses.iter().all(|view| view.refused.is_none()), "{seen:?}");
}

#[test]
fn one_that_failed_for_long_is_asked_as_soon_as_there_is_another_checkpoint() {
    let (ann, bob) = (Witness::start("ann", 21), Witness::start("bob", 22));
    bob.becomes(Manner::Refuses("out of order"));
    let home = with_policy(&[&ann, &bob], 1);
    let ledger = home.start();
    let client = ledger.client();
    let mut size = deposit(client, 1);
    let olds = || bob.state.lock().unwrap().olds.len();
    // About one checkpoint it is asked with pauses of 250 ms, 500 ms, 1 s and 2 s; the next is of 4 s.
    let before = until(client, |seen| seen.published == size && view(seen, "ann").size == size && olds() > 0);
    assert!(view(&before, "bob").error.is_none());
    let asked = olds();
    until(client, |_| olds() >= asked + 4);
    bob.becomes(Manner::Honest);
    let since = Instant::now();
    size = deposit(client, 2);
    until(client, |seen| view(seen, "bob").size == size);
    assert!(since.elapsed() < Duration::from_secs(3), "after {:?}", since.elapsed());
}

#[test]
fn the_age_counts_from_the_last_checkpoint_that_has_its_quorum() {
    let (ann, bob) = (Witness::start("ann", 21), Witness::start("bob", 22));
    bob.becomes(Manner::Lets(0));
    let home = with_policy(&[&ann, &bob], 2);
    let ledger = home.start();
    let client = ledger.client();
    let age = || {
        let metrics = String::from_utf8(client.get("/metrics").body).unwrap();
        let line = metrics.lines().find_map(|line| line.strip_prefix("orion_ledger_witness_age_seconds "));
        line.unwrap().parse::<u64>().unwrap()
    };
    let first = until(client, |seen| view(seen, "ann").size > 0);
    let first = view(&first, "ann").size;
    let second = deposit(client, 1);
    // Bob is late with the first, and after ten seconds the second is asked about.
    until(client, |seen| view(seen, "ann").size == second);
    assert!(age() >= 9, "{} s", age());
    bob.becomes(Manner::Lets(1));
    let seen = until(client, witnessed(first));
    assert!(seen.witnessed.unwrap().size == first && age() < 7, "{} s", age());
    bob.becomes(Manner::Honest);
    until(client, witnessed(second));
    assert_eq!(age(), 0);
}

#[test]
fn a_cosignature_that_does_not_verify_counts_for_nothing() {
    let ann = Witness::start("ann", 21);
    ann.becomes(Manner::Forges);
    let home = with_policy(&[&ann], 1);
    let ledger = home.start();
    deposit(ledger.client(), 1);
    let seen = until(ledger.client(), |seen| view(seen, "ann").error.is_some());
    assert!(seen.witnessed.is_none() && view(&seen, "ann").size == 0, "{seen:?}");
    let checkpoint = String::from_utf8(ledger.client().get("/checkpoint").body).unwrap();
    assert!(!checkpoint.contains("ann.example"), "{checkpoint}");
}

#[test]
fn without_a_policy_nothing_is_witnessed() {
    let home = Home::new();
    let ledger = home.start();
    let size = deposit(ledger.client(), 1);
    let shown = until(ledger.client(), |seen| seen.published >= size);
    assert_eq!(shown, Witnesses { published: shown.published, ..Witnesses::default() });
    // So it is under a policy that asks for nobody.
    drop(ledger);
    std::fs::write(home.trust(), format!("log {}\nquorum none\n", vkey())).unwrap();
    let ledger = home.start();
    assert!(!seen(ledger.client()).quorum);
}

#[test]
fn policies_that_cannot_be_followed_are_refused_at_the_start() {
    let ann = Witness::lost("ann", 21);
    let home = Home::new();
    let other = VerifierKey::new(&Keys::new().genesis().chain(), SecretKey::from_seed(&[9; 32]).public());
    let good = policy(&[&ann], 1);
    for (text, words) in [
        (good.replace(&vkey().to_string(), &other.to_string()), format!("add the line \"log {}\"", vkey())),
        (good.replace("http://", "https://"), "for https put a proxy of your own before it".to_owned()),
        (good.replace("quorum all", "quorum nobody"), "line 4".to_owned()),
    ] {
        std::fs::write(home.trust(), text).unwrap();
        let said = home.start_refused();
        assert!(said.contains(&words), "{said}");
    }
}
