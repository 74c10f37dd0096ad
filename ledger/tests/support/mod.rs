//! A ledger as a real process: port 0, a directory of its own, killed on drop; and a small client that speaks its HTTP.

#![expect(dead_code, reason = "each test binary uses its own part of this module")]
#![expect(clippy::unwrap_used, reason = "what a fixture cannot do fails its test")]

#[path = "../../core/tests/support/mod.rs"]
pub mod world;

pub mod disk;
pub mod eye;
pub mod local;
pub mod site;

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use orion_protocol::cbor;
use orion_protocol::ledger::Envelope;
use orion_protocol::ledger::api::{Head, Submitted};
use orion_protocol::{Signed, bytes::hex};
use tempfile::TempDir;

/// Nothing takes longer than this on any computer.
const PATIENCE: Duration = Duration::from_secs(30);
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Files that a ledger needs, and its store.
pub struct Home {
    dir: TempDir,
}

impl Home {
    pub fn new() -> Home {
        let home = Home { dir: TempDir::new().unwrap() };
        let keys = world::Keys::new();
        std::fs::write(home.genesis(), hex(&keys.genesis().to_bytes())).unwrap();
        std::fs::write(home.key(), format!("{}\n", hex(&[4; 32]))).unwrap();
        home
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn genesis(&self) -> PathBuf {
        self.dir.path().join("genesis")
    }

    pub fn key(&self) -> PathBuf {
        self.dir.path().join("checkpoint.key")
    }

    /// Exists once somebody says that the log was begun.
    pub fn begun(&self) -> PathBuf {
        self.dir.path().join("begun")
    }

    /// The trust policy, in force where it is there.
    pub fn trust(&self) -> PathBuf {
        self.dir.path().join("trust")
    }

    /// A mark is kept there once the directory exists.
    pub fn mark(&self) -> PathBuf {
        self.dir.path().join("mark")
    }

    /// Another command on the data; says whether it succeeded, and all that it wrote.
    pub fn offline(&self, name: &str, args: &[&str]) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orion-ledger"));
        command.arg(name).arg("--data").arg(self.data()).env("RUST_LOG", "warn");
        if name != "backup" {
            command.arg("--genesis").arg(self.genesis());
        }
        let output = command.args(args).output().unwrap();
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    }

    /// Says who may ask for what, once it is written.
    pub fn tokens(&self) -> PathBuf {
        self.dir.path().join("tokens")
    }

    fn command(&self, publish_interval_ms: u64) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orion-ledger"));
        let flag = |path: &Path| path.as_os_str().to_owned();
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        command.args(["--publish-interval-ms", &publish_interval_ms.to_string()]);
        command.arg("--data").arg(flag(&self.data())).arg("--genesis").arg(flag(&self.genesis()));
        command.arg("--checkpoint-key").arg(flag(&self.key())).arg("--begun").arg(flag(&self.begun()));
        if self.trust().exists() {
            command.arg("--trust").arg(flag(&self.trust()));
        }
        if self.mark().exists() {
            command.arg("--mark").arg(self.mark());
        }
        if self.tokens().exists() {
            command.arg("--tokens").arg(flag(&self.tokens()));
        }
        command.env("RUST_LOG", "warn").stdout(Stdio::piped());
        command
    }

    /// Starts the ledger and waits until it is ready.
    pub fn start(&self) -> Ledger {
        Home::ready(self.command(0))
    }

    /// Starts it and kills it after a while, ready or not.
    pub fn start_and_kill(&self, after: Duration) {
        let mut child = self.command(0).stderr(Stdio::null()).spawn().unwrap();
        pass(after);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The same, with these flags as well.
    pub fn start_with(&self, args: &[&str]) -> Ledger {
        let mut command = self.command(0);
        command.args(args);
        Home::ready(command)
    }

    /// The same, with a disk on which no file can be longer than so many bytes.
    pub fn start_on_a_small_disk(&self, bytes: u64) -> Ledger {
        // A long pause, so that it is a block that fails and no checkpoint.
        let ledger = self.command(3_600_000);
        let mut shell = Command::new("sh");
        // Blocks of 512 bytes; a write past them fails instead of killing.
        let limit = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", bytes / 512);
        shell.args(["-c", &limit, "sh"]).arg(ledger.get_program()).args(ledger.get_args());
        shell.env("RUST_LOG", "off").stdout(Stdio::piped()).stderr(Stdio::null());
        Home::ready(shell)
    }

    fn ready(mut command: Command) -> Ledger {
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        // The line comes, or the process ends: both end this read.
        let line = stdout.lines().next().expect("the ledger ended before it was ready").unwrap();
        let address = line.strip_prefix("listening on ").unwrap().parse().unwrap();
        Ledger { child, address }
    }

    /// Where a witness keeps all that it has.
    pub fn witness_data(&self) -> PathBuf {
        self.dir.path().join("witness")
    }

    /// Starts a witness of the log at this URL, with the key and name of [`eye::signer`], and waits until it is ready.
    pub fn witness(&self, log: &str) -> Ledger {
        let mut command = self.witness_command("witness");
        command.args(["--log", log, "--listen", "127.0.0.1:0"]);
        command.arg("--genesis").arg(self.genesis()).arg("--data").arg(self.witness_data());
        Home::ready(command)
    }

    /// What `witness-key` says.
    pub fn witness_key(&self) -> String {
        let output = self.witness_command("witness-key").output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    fn witness_command(&self, name: &str) -> Command {
        let key = self.dir.path().join("witness.key");
        std::fs::write(&key, hex(&[77; 32])).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_orion-ledger"));
        command.arg(name).arg("--key").arg(key).args(["--name", eye::NAME]);
        command.env("RUST_LOG", "warn").stdout(Stdio::piped());
        command
    }

    /// Starts a ledger that must refuse to run; gives what it says.
    pub fn start_refused(&self) -> String {
        let output = self.command(0).stderr(Stdio::piped()).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }
}

/// Lets time pass, where the moment is the test.
#[expect(clippy::disallowed_methods, reason = "a kill comes at a moment, not after a state")]
pub fn pass(time: Duration) {
    std::thread::sleep(time);
}

/// A running ledger.
pub struct Ledger {
    child: Child,
    pub address: SocketAddr,
}

impl Ledger {
    /// SIGKILL, now.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and wait for the end; gives the exit code.
    pub fn stop(mut self) -> Option<i32> {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        self.child.wait().unwrap().code()
    }

    /// Waits for the end that it comes to by itself; gives the exit code.
    pub fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    pub fn client(&self) -> Client {
        Client { address: self.address }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for whatever is at an address as the install does.
pub fn awaited(address: SocketAddr, seconds: u32) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orion-ledger"));
    command.args(["await", "--url", &format!("http://{address}/"), "--for-seconds", &seconds.to_string()]);
    let output = command.output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// A field of the head.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// A client with one connection a request.
#[derive(Clone, Copy)]
pub struct Client {
    pub address: SocketAddr,
}

impl Client {
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "", &[])
    }

    pub fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.request("POST", path, "", body)
    }

    /// With these lines in its head, each ended by CR LF.
    pub fn request(&self, method: &str, path: &str, lines: &str, body: &[u8]) -> Answer {
        self.send(method, path, lines, body).unwrap()
    }

    /// A request to a ledger that may be gone before it has answered all of it.
    pub fn attempt(&self, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
        self.send(method, path, "", body)
    }

    fn send(&self, method: &str, path: &str, lines: &str, body: &[u8]) -> io::Result<Answer> {
        let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.0\r\nhost: ledger\r\ncontent-length: {length}\r\n{lines}\r\n");
        stream.write_all(head.as_bytes())?;
        // A server that refuses a long body may close before it has read it.
        let _ = stream.write_all(body);
        let mut bytes = Vec::new();
        stream.take(MAX_ANSWER as u64).read_to_end(&mut bytes)?;
        let split = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
        let body = bytes.split_off(split + 4);
        let head = String::from_utf8(bytes).unwrap().to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        if length.is_some_and(|length: usize| length != body.len()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Ok(Answer { status, head, body })
    }

    pub fn submit(&self, tx: &Signed<Envelope>) -> Submitted {
        let answer = self.post("/v1/transactions", &cbor::to_vec(tx));
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        cbor::from_slice("submitted", &answer.body, MAX_ANSWER).unwrap()
    }

    pub fn head(&self) -> Head {
        cbor::from_slice("head", &self.get("/v1/head").body, MAX_ANSWER).unwrap()
    }
}
