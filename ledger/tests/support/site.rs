//! A log as files over HTTP, out of a test's own hands: whatever it serves can be changed on the way.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use orion_ledger_core::Signer;
use orion_ledger_core::log::note::Note;
use orion_ledger_core::log::prove::{Hashes as _, Levels, consistency};
use orion_ledger_core::log::tile::{FULL, Resource, Tile, write_entry};
use orion_ledger_core::log::witness_wire::AddCheckpoint;
use orion_protocol::Digest;
use orion_protocol::ledger::SealRef;
use orion_protocol::merkle::Sha256;

use super::world::{Keys, World};

/// What comes of a path, in place of what the log says.
pub type Change = Box<dyn Fn(&str, Option<Vec<u8>>) -> Sent + Send>;

/// An answer.
pub enum Sent {
    /// 200 with this body.
    File(Vec<u8>),
    /// This status.
    Status(u16),
    /// 200, and a body without end.
    Endless,
    /// Nothing, while the connection is open.
    Silence,
}

/// A log of these leaves, and a checkpoint over the first of them.
#[derive(Clone)]
pub struct Log {
    pub leaves: Vec<Vec<u8>>,
    pub levels: Levels,
    pub size: u64,
    pub note: String,
}

impl Log {
    /// All of `leaves`, signed by the tests' checkpoint key.
    pub fn of(leaves: &[Vec<u8>]) -> Log {
        Log::first(leaves, leaves.len() as u64)
    }

    /// The first `size` of `leaves`.
    pub fn first(leaves: &[Vec<u8>], size: u64) -> Log {
        let leaves = leaves[..usize::try_from(size).unwrap()].to_vec();
        let hashes: Vec<_> = leaves.iter().map(|leaf| Sha256::leaf(leaf)).collect();
        let root = Digest(orion_protocol::merkle::root::<Sha256>(&hashes));
        Log { leaves, levels: Levels::of(&hashes), size, note: sign(size, root) }
    }

    /// A world's, as it was at its last seal.
    pub fn of_world(world: &World) -> Log {
        Log::of(&world.log)
    }

    pub fn note(&self) -> Note {
        Note::parse(self.note.as_bytes()).unwrap()
    }

    /// The request to cosign it, after `old` leaves were.
    pub fn request(&self, old: u64) -> AddCheckpoint {
        let proof = consistency(old, self.size, &self.levels).unwrap();
        AddCheckpoint { old, proof, note: self.note() }
    }

    /// What a file of it holds.
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        let tile = |level, index, width| Tile::at(self.size, level, index).filter(|tile| tile.width >= width);
        match Resource::parse(path).ok()? {
            Resource::Checkpoint => Some(self.note.clone().into_bytes()),
            Resource::Hashes(Tile { level, index, width }) => {
                tile(level, index, width)?;
                let Ok(hashes) = self.levels.hashes(Tile { level, index, width });
                Some(hashes.concat())
            }
            Resource::Entries { index, width } => {
                tile(0, index, width)?;
                let from = usize::try_from(index * u64::from(FULL)).unwrap();
                let mut bundle = Vec::new();
                for leaf in &self.leaves[from..from + usize::from(width)] {
                    write_entry(&mut bundle, leaf).unwrap();
                }
                Some(bundle)
            }
        }
    }
}

/// A checkpoint under the tests' key, whatever it says.
pub fn sign(size: u64, root: Digest) -> String {
    let keys = Keys::new();
    let mut signer = Signer::new(&keys.genesis().chain(), keys.checkpoint, None);
    signer.sign(&SealRef { height: 0, size, root, time_ms: 0 }).unwrap()
}

struct State {
    log: Log,
    change: Option<Change>,
    asked: Vec<String>,
    over: bool,
}

/// Serves a log until it is dropped.
pub struct Site {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Site {
    pub fn new(log: Log) -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { log, change: None, asked: Vec::new(), over: false }));
        let served = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if served.lock().unwrap().over {
                    return;
                }
                let served = served.clone();
                // Whoever leaves in the middle of an answer is no failure of the site.
                std::thread::spawn(move || stream.and_then(|stream| serve(stream, &served)).ok());
            }
        });
        Site { address, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it is this log.
    pub fn show(&self, log: Log) {
        self.state.lock().unwrap().log = log;
    }

    /// From now on this stands between.
    pub fn change(&self, change: impl Fn(&str, Option<Vec<u8>>) -> Sent + Send + 'static) {
        self.state.lock().unwrap().change = Some(Box::new(change));
    }

    /// From now on nothing does.
    pub fn honest(&self) {
        self.state.lock().unwrap().change = None;
    }

    /// How often a file was asked for.
    pub fn asked(&self, path: &str) -> usize {
        self.state.lock().unwrap().asked.iter().filter(|asked| *asked == path).count()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.state.lock().unwrap().over = true;
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let sent = {
        let mut state = state.lock().unwrap();
        let file = state.log.file(&path);
        state.asked.push(path.clone());
        match (&state.change, file) {
            (Some(change), file) => change(&path, file),
            (None, Some(file)) => Sent::File(file),
            (None, None) => Sent::Status(404),
        }
    };
    match sent {
        Sent::File(body) => {
            let length = body.len();
            stream.write_all(
                format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n").as_bytes(),
            )?;
            stream.write_all(&body)
        }
        Sent::Status(status) => stream
            .write_all(format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes()),
        Sent::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[b'a'; 8192])?;
            }
        }
        Sent::Silence => stream.read_to_end(&mut Vec::new()).map(|_| ()),
    }
}
