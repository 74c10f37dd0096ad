//! `orion-tamper`: stands between a log and a witness, and passes everything on as it is, until it is told to tamper: from then on
//! the last byte of each bundle of entries is another. For tests: it is in no shipped image.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser as _;

/// Longest request and answer that are passed on, in bytes.
const MAX: u64 = 64 << 20;
/// Nobody is waited for longer.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(clap::Parser)]
struct Flags {
    /// Where the log is: host and port.
    #[arg(long)]
    log: String,
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
}

fn main() -> anyhow::Result<()> {
    let Flags { log, listen } = Flags::parse();
    let listener = TcpListener::bind(listen).with_context(|| format!("listening on {listen}"))?;
    let (log, tampers) = (Arc::<str>::from(log), Arc::new(AtomicBool::new(false)));
    for stream in listener.incoming() {
        let stream = stream.context("accepting a connection")?;
        let (log, tampers) = (log.clone(), tampers.clone());
        std::thread::spawn(move || {
            if let Err(error) = pass(stream, &log, &tampers) {
                eprintln!("{error:#}");
            }
        });
    }
    Ok(())
}

/// One request a connection.
fn pass(mut stream: TcpStream, log: &str, tampers: &AtomicBool) -> anyhow::Result<()> {
    stream.set_read_timeout(Some(PATIENCE)).context("setting a limit")?;
    let mut line = String::new();
    BufReader::new((&stream).take(MAX)).read_line(&mut line).context("reading a request")?;
    let path = match line.split(' ').collect::<Vec<_>>()[..] {
        ["POST", "/tamper", _] => {
            tampers.store(true, Ordering::SeqCst);
            return answer(&mut stream, "200 OK", b"");
        }
        ["GET", "/livez", _] => return answer(&mut stream, "200 OK", b""),
        ["GET", path, _] => path,
        _ => bail!("not a request for a file: {line:?}"),
    };
    let mut up = TcpStream::connect(log).with_context(|| format!("connecting to {log}"))?;
    up.set_read_timeout(Some(PATIENCE)).context("setting a limit")?;
    write!(up, "GET {path} HTTP/1.0\r\nhost: {log}\r\n\r\n").context("asking the log")?;
    let mut bytes = Vec::new();
    up.take(MAX).read_to_end(&mut bytes).context("reading the log's answer")?;
    let split = bytes.windows(4).position(|window| window == b"\r\n\r\n").context("the log's answer has no end")? + 4;
    let status = String::from_utf8_lossy(&bytes[..split]);
    let status =
        status.lines().next().and_then(|line| line.split_once(' ')).map_or("502 x", |(_, status)| status).to_owned();
    let mut body = bytes.split_off(split);
    if tampers.load(Ordering::SeqCst)
        && path.starts_with("/tile/entries/")
        && let Some(last) = body.last_mut()
    {
        *last ^= 1;
    }
    answer(&mut stream, &status, &body)
}

fn answer(stream: &mut TcpStream, status: &str, body: &[u8]) -> anyhow::Result<()> {
    let kind = "content-type: application/octet-stream\r\nconnection: close";
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\n{kind}\r\n\r\n", body.len()).context("answering")?;
    stream.write_all(body).context("answering")
}
