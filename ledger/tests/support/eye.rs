//! A witness in the test's own process, with its HTTP.

use std::path::Path;
use std::time::{Duration, Instant};

use orion_ledger::witness::{Config, Door, Limits, Witness, WitnessError, router};
use orion_ledger::{clock, serve};
use orion_ledger_core::VerifierKey;
use orion_ledger_core::log::fork::Evidence;
use orion_ledger_core::log::note::{KeyType, Note, NoteSigner};
use orion_ledger_core::log::trust::{Judged, Trust};
use orion_ledger_core::log::witness_wire::{AddCheckpoint, Answer};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::world::{Keys, key};
use super::{Client, PATIENCE};

pub const NAME: &str = "witness.example/orion";

/// Short enough for tests, and long enough for a busy machine where something must *not* have run out.
pub fn limits() -> Limits {
    Limits {
        poll: Duration::from_millis(100),
        file: Duration::from_secs(20),
        replay: Duration::from_secs(20),
        stale: Duration::from_millis(500),
        ..Limits::default()
    }
}

pub fn signer() -> NoteSigner {
    NoteSigner::new(NAME, KeyType::Cosignature, key(77)).unwrap()
}

/// The log's key.
pub fn vkey() -> VerifierKey {
    let genesis = Keys::new().genesis();
    VerifierKey::new(&genesis.chain(), genesis.checkpoint)
}

/// A policy that asks for this witness's cosignature.
pub fn trust() -> Trust {
    let policy = format!("log {}\nwitness w {}\nquorum w\n", vkey(), signer().key());
    Trust::parse(policy.as_bytes()).unwrap()
}

/// A running witness.
pub struct Eye {
    pub client: Client,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<()>,
}

/// Starts one on this directory.
pub fn open(runtime: &Runtime, directory: &Path, log: &str, limits: Limits) -> Result<Eye, WitnessError> {
    let (directory, log) = (directory.to_owned(), log.to_owned());
    let (genesis, clock) = (Keys::new().genesis(), clock::wall());
    let config = Config { log, genesis, signer: signer(), clock, limits };
    let open = runtime.spawn_blocking(move || Witness::open(&directory, config));
    let (witness, _) = runtime.block_on(open).unwrap()?;
    let door = Door::new(&limits);
    door.ready(witness);
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async move {
        let _ = stopped.await;
    };
    let served = runtime.spawn(serve::serve(listener, router(door), serve::Limits::default(), stopped));
    Ok(Eye { client: Client { address }, stop: Some(stop), served })
}

impl Eye {
    /// Ends it; its directory may be opened again then.
    pub fn close(mut self, runtime: &Runtime) {
        drop(self.stop.take());
        runtime.block_on(self.served).unwrap();
    }

    pub fn send(&self, request: &AddCheckpoint) -> Answer {
        send(self.client, request)
    }

    pub fn status(&self) -> serde_json::Value {
        status(self.client)
    }

    /// Waits until the status says something.
    pub fn until(&self, says: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        until(self.client, says)
    }

    /// Waits until it has stopped; gives the only evidence that it keeps.
    pub fn refused(&self) -> Evidence {
        self.until(|status| status["stopped"].is_string());
        evidence(self.client)
    }
}

pub fn send(client: Client, request: &AddCheckpoint) -> Answer {
    try_send(client, request).unwrap()
}

/// The answer, unless the witness ends before it comes.
pub fn try_send(client: Client, request: &AddCheckpoint) -> Option<Answer> {
    let answer = client.try_request("POST", "/add-checkpoint", request.to_string().as_bytes())?;
    let kind = answer.header("content-type").unwrap_or_default().to_owned();
    let parsed = Answer::parse(answer.status, &kind, &answer.body).unwrap();
    let retry = answer.header("retry-after");
    assert_eq!(retry.is_some(), answer.status == 503, "{answer:?}");
    Some(parsed)
}

pub fn status(client: Client) -> serde_json::Value {
    serde_json::from_slice(&client.get("/status").body).unwrap()
}

pub fn until(client: Client, says: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    let deadline = Instant::now() + 2 * PATIENCE;
    loop {
        let status = status(client);
        if says(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "still {status}");
        pass(Duration::from_millis(20));
    }
}

/// Lets a while go by. Asking without a pause would keep the processor from whoever is waited for.
pub fn pass(pause: Duration) {
    let (_keep, never) = std::sync::mpsc::channel::<()>();
    let _ = never.recv_timeout(pause);
}

/// The one file of evidence that a witness keeps.
pub fn evidence(client: Client) -> Evidence {
    let list: serde_json::Value = serde_json::from_slice(&client.get("/evidence").body).unwrap();
    let [one] = &list.as_array().unwrap()[..] else { panic!("one file of evidence, not {list}") };
    let file = client.get(&format!("/evidence/{}", one["number"])).body;
    let evidence = Evidence::parse(&file).unwrap();
    assert_eq!((one["words"].as_str(), one["bytes"].as_u64()), (Some(evidence.words()), Some(file.len() as u64)));
    assert_eq!(status(client)["stopped"].as_str(), Some(evidence.words()));
    evidence
}

/// The note with the cosignature of an answer, judged by the policy.
pub fn judged(note: &Note, answer: &Answer) -> Judged {
    let Answer::Cosigned(lines) = answer else { panic!("not cosigned: {answer:?}") };
    let mut note = note.clone();
    for line in lines {
        note.add(line.clone()).unwrap();
    }
    trust().judge(&note).unwrap()
}
