//! Submitters: each has one connection, submits a deposit, waits until it is acknowledged, and takes the next one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use orion_protocol::cbor;
use orion_protocol::ledger::api::Submitted;
use orion_protocol::ledger::leaf::Code;
use tokio::net::TcpStream;

/// At a time.
pub const SUBMITTERS: usize = 64;
/// An answer to a deposit is shorter.
const MAX_ANSWER: usize = 4096;

/// What became of a load.
pub struct Load {
    /// Acknowledged deposits.
    pub entries: u64,
    /// From the first to the last.
    pub time: Duration,
    /// Of each, ascending.
    waits: Vec<Duration>,
}

impl Load {
    /// Acknowledged a second.
    pub fn rate(&self) -> f64 {
        super::per_second(self.entries, self.time)
    }

    /// The wait that `permille` of a thousand do not exceed.
    pub fn wait(&self, permille: usize) -> Duration {
        let at = (self.waits.len() * permille / 1000).min(self.waits.len().saturating_sub(1));
        self.waits.get(at).copied().unwrap_or_default()
    }
}

/// Submits `deposits`, all of them or as many as `time` is enough for. All submitters share one thread, so that the ledger has
/// the rest of the machine.
pub fn run(address: SocketAddr, deposits: &Arc<[Bytes]>, time: Option<Duration>) -> Result<Load> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
    let start = Instant::now();
    let until = time.map(|time| start + time);
    let mut waits = runtime.block_on(async {
        let next = Arc::new(AtomicUsize::new(0));
        let submitters =
            (0..SUBMITTERS).map(|_| tokio::spawn(submitter(address, deposits.clone(), next.clone(), until)));
        let submitters: Vec<_> = submitters.collect();
        let mut waits = Vec::new();
        for submitter in submitters {
            waits.extend(submitter.await.context("a submitter broke")??);
        }
        anyhow::Ok(waits)
    })?;
    let time = start.elapsed();
    waits.sort_unstable();
    Ok(Load { entries: waits.len() as u64, time, waits })
}

async fn submitter(
    address: SocketAddr,
    deposits: Arc<[Bytes]>,
    next: Arc<AtomicUsize>,
    until: Option<Instant>,
) -> Result<Vec<Duration>> {
    let stream = TcpStream::connect(address).await.context("connecting to the ledger")?;
    stream.set_nodelay(true).context("setting up a connection")?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.context("connecting to the ledger")?;
    let connection = tokio::spawn(connection);
    let mut waits = Vec::new();
    while until.is_none_or(|until| Instant::now() < until) {
        let Some(deposit) = deposits.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
        let start = Instant::now();
        submit(&mut sender, deposit.clone()).await?;
        waits.push(start.elapsed());
    }
    connection.abort();
    Ok(waits)
}

async fn submit(sender: &mut SendRequest<Full<Bytes>>, deposit: Bytes) -> Result<()> {
    let request = Request::builder().method(Method::POST).uri("/v1/transactions").header("host", "ledger");
    let request = request.body(Full::new(deposit)).context("making a request")?;
    let answer = sender.send_request(request).await.context("submitting")?;
    let status = answer.status();
    let body = answer.into_body().collect().await.context("reading an answer")?.to_bytes();
    ensure!(status == StatusCode::OK, "the ledger answers {status}: {}", String::from_utf8_lossy(&body));
    let submitted: Submitted = cbor::from_slice("an answer", &body, MAX_ANSWER).context("reading an answer")?;
    ensure!(submitted.receipt.code == Code::Ok, "a deposit was refused: {}", submitted.receipt.code);
    Ok(())
}
