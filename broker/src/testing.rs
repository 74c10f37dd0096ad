//! A real nats-server that belongs to a test: free port, temporary directory, killed when dropped, configured by the same
//! renderer as every other installation.
//!
//! The binary is `ORION_NATS_SERVER`, else `nats-server` on the PATH, else the newest under the cache directory's `orion`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use tokio::process::{Child, Command};

use orion_protocol::Name;

use crate::connection::{Broker, Settings, UserKey, connect};
use crate::permissions::{Permissions, Role, inbox_prefix};
use crate::server_config::{self, Server, User};

/// How long a server may take to listen, or a client to connect.
const START_WAIT: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How deep the cache directory is searched.
const CACHE_DEPTH: usize = 5;

/// A running nats-server with one operator, one platform worker, some providers and an identity that may do everything.
pub struct NatsServer {
    child: Option<Child>,
    dir: tempfile::TempDir,
    binary: PathBuf,
    port: u16,
    operator: UserKey,
    platform: UserKey,
    admin: UserKey,
    providers: Vec<(Name, UserKey)>,
}

impl NatsServer {
    /// Starts one with these providers.
    pub async fn start(providers: &[&str]) -> io::Result<NatsServer> {
        let key = || UserKey::generate().map_err(io::Error::other);
        let named = |name: &&str| Ok((name.parse().map_err(io::Error::other)?, key()?));
        let providers = providers.iter().map(named).collect::<io::Result<_>>()?;
        let (dir, binary) = (tempfile::tempdir()?, find_binary()?);
        let (operator, platform, admin) = (key()?, key()?, key()?);
        let mut server = NatsServer { child: None, dir, binary, port: 0, operator, platform, admin, providers };
        server.run().await?;
        Ok(server)
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Kills the server at once; its files stay.
    pub async fn stop(&mut self) -> io::Result<()> {
        match self.child.take() {
            Some(mut child) => child.kill().await,
            None => Ok(()),
        }
    }

    /// Starts it again after [`NatsServer::stop`], on the same port, with the same files.
    pub async fn restart(&mut self) -> io::Result<()> {
        self.stop().await?;
        self.run().await
    }

    /// A connection as the operator.
    pub async fn operator(&self) -> io::Result<Broker> {
        self.connect(&self.operator, &inbox_prefix(Role::Operator)).await
    }

    /// A connection as the platform's worker.
    pub async fn platform(&self) -> io::Result<Broker> {
        self.connect(&self.platform, &inbox_prefix(Role::Platform { providers: &[] })).await
    }

    /// A connection as one of the providers.
    pub async fn provider(&self, name: &str) -> io::Result<Broker> {
        let (name, key) = self.provider_key(name)?;
        self.connect(key, &inbox_prefix(Role::Provider(name))).await
    }

    /// A connection that may do everything.
    pub async fn admin(&self) -> io::Result<Broker> {
        self.connect(&self.admin, "_INBOX").await
    }

    /// The seeds of the platform's worker and of a provider, for programs that connect themselves.
    pub fn platform_seed(&self) -> &str {
        &self.platform.seed
    }

    /// A provider's seed.
    pub fn provider_seed(&self, name: &str) -> io::Result<&str> {
        self.provider_key(name).map(|(_, key)| key.seed.as_str())
    }

    fn provider_key(&self, name: &str) -> io::Result<(&Name, &UserKey)> {
        let found = self.providers.iter().find(|(have, _)| have.as_str() == name);
        found.map(|(name, key)| (name, key)).ok_or_else(|| io::Error::other(format!("no provider {name}")))
    }

    async fn connect(&self, key: &UserKey, inbox: &str) -> io::Result<Broker> {
        let settings =
            Settings { url: self.url(), seed: key.seed.clone(), inbox_prefix: inbox.into(), name: "test".into() };
        let broker = connect(&settings).await.map_err(io::Error::other)?;
        wait_for("a connection", || broker.is_connected().then_some(())).await?;
        Ok(broker)
    }

    async fn run(&mut self) -> io::Result<()> {
        let config = self.dir.path().join("nats.conf");
        std::fs::write(&config, self.config().map_err(io::Error::other)?)?;
        let log = std::fs::File::create(self.dir.path().join("nats.log"))?;
        let child = Command::new(&self.binary)
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let id = child.id().unwrap_or_default();
        self.child = Some(child);
        let (path, log) = (self.dir.path(), self.dir.path().join("nats.log"));
        let port = wait_for("a server that listens", || read_port(path, id)).await;
        self.port = port.map_err(|error| {
            io::Error::other(format!("{error}; its log:\n{}", std::fs::read_to_string(&log).unwrap_or_default()))
        })?;
        Ok(())
    }

    fn config(&self) -> Result<String, server_config::ConfigError> {
        let port = if self.port == 0 { "-1".to_owned() } else { self.port.to_string() };
        let server = Server {
            listen: format!("127.0.0.1:{port}"),
            http: None,
            store_dir: self.dir.path().join("store"),
            max_memory_bytes: 64 << 20,
            max_file_bytes: 64 << 30,
            ports_file_dir: Some(self.dir.path().to_owned()),
        };
        let providers: Vec<(Name, String)> =
            self.providers.iter().map(|(name, key)| (name.clone(), key.public.clone())).collect();
        let mut users = server_config::users(&self.operator.public, &self.platform.public, &providers)?;
        let all = Permissions { publish: vec![">".into()], subscribe: vec![">".into()] };
        users.push(User { nkey: self.admin.public.clone(), permissions: all });
        server_config::render(&server, &users)
    }
}

/// Looks again and again until `look` gives something; fails after 20 s.
pub async fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> io::Result<T> {
    let looking = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let waited = tokio::time::timeout(START_WAIT, looking).await;
    waited.map_err(|_| io::Error::other(format!("waited {} s for {what}", START_WAIT.as_secs())))
}

/// The port from the file that the server writes once it listens.
fn read_port(dir: &Path, id: u32) -> Option<u16> {
    #[derive(serde::Deserialize)]
    struct Ports {
        nats: Vec<String>,
    }
    let text = std::fs::read(dir.join(format!("nats-server_{id}.ports"))).ok()?;
    let ports: Ports = serde_json::from_slice(&text).ok()?;
    ports.nats.first()?.rsplit(':').next()?.parse().ok()
}

/// Where the server's binary is.
pub fn find_binary() -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os("ORION_NATS_SERVER") {
        return Ok(path.into());
    }
    if let Ok(path) = which::which("nats-server") {
        return Ok(path);
    }
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), PathBuf::from);
    let mut newest = None;
    search(&cache.join("orion"), CACHE_DEPTH, &mut newest);
    let missing = || io::Error::other("no nats-server: set ORION_NATS_SERVER, or let cargo xtask build it");
    newest.map(|(_, path)| path).ok_or_else(missing)
}

fn search(dir: &Path, depth: usize, newest: &mut Option<(SystemTime, PathBuf)>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let (path, Ok(about)) = (entry.path(), entry.metadata()) else { continue };
        if about.is_dir() && depth > 0 {
            search(&path, depth - 1, newest);
        } else if about.is_file() && entry.file_name() == "nats-server" {
            let found = (about.modified().unwrap_or(SystemTime::UNIX_EPOCH), path);
            *newest = newest.take().max(Some(found));
        }
    }
}
