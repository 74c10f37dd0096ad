//! A small HTTP client for what scenarios ask services directly: one request a connection, answers in memory.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Nobody is waited for longer; a witness may think for 10 s.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer, in bytes.
const MAX: u64 = 64 << 20;

/// Status and body.
pub type Answer = (u16, Vec<u8>);

/// `GET` from a host and port.
pub fn get(host: &str, path: &str) -> Result<Answer> {
    request(host, "GET", path, "", &[])
}

/// `POST` to a host and port.
pub fn post(host: &str, path: &str, body: &[u8]) -> Result<Answer> {
    request(host, "POST", path, "", body)
}

/// `GET` with one more header.
pub fn get_with(host: &str, path: &str, name: &str, value: &str) -> Result<Answer> {
    request(host, "GET", path, &format!("{name}: {value}\r\n"), &[])
}

fn request(host: &str, method: &str, path: &str, header: &str, body: &[u8]) -> Result<Answer> {
    let mut stream = TcpStream::connect(host).with_context(|| format!("connecting to {host}"))?;
    stream.set_read_timeout(Some(PATIENCE)).context("setting a limit")?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.0\r\nhost: {host}\r\n{header}content-length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).with_context(|| format!("asking {host} for {path}"))?;
    let mut bytes = Vec::new();
    stream.take(MAX).read_to_end(&mut bytes).with_context(|| format!("reading {path} from {host}"))?;
    let Some(split) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { bail!("{host} broke off") };
    let body = bytes.split_off(split + 4);
    let head = String::from_utf8_lossy(&bytes);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.with_context(|| format!("{host} answers {head:?}"))?, body))
}
