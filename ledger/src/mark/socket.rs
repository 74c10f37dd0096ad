//! A mark that somebody else keeps: HTTP/1 over a Unix socket. So the process that answers strangers needs no right to write
//! anywhere else (decision 0020): `orion-operator keeper` beside it does.
//!
//! `GET /mark` answers the mark; `PUT /mark`, with the version that was seen and what to move it to, answers the moved one, or
//! 409 when it is at another version.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use orion_protocol::Digest;
use orion_protocol::ledger::mark::{MAX_MARK_BYTES, Marked};
use tokio::net::UnixStream;
use tokio::runtime::Handle;

use super::{Mark, MarkError};

/// One request, from connecting to the last byte.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A refusal's words are longer than a mark.
const MAX_ANSWER: usize = 4 * MAX_MARK_BYTES;

/// A mark behind a socket.
pub struct SocketMark {
    path: PathBuf,
    runtime: Handle,
}

impl SocketMark {
    /// The mark that is kept at this socket. Calls must come from threads that may block.
    pub fn new(path: &Path, runtime: Handle) -> SocketMark {
        SocketMark { path: path.to_owned(), runtime }
    }

    fn keeper(&self, why: String) -> MarkError {
        MarkError::Keeper { path: self.path.display().to_string(), why }
    }

    fn ask(&self, method: Method, body: String) -> Result<Marked, MarkError> {
        let asked = async { tokio::time::timeout(TIMEOUT, exchange(&self.path, method, body)).await };
        let (status, bytes) = match self.runtime.block_on(asked) {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(self.keeper(error.to_string())),
            Err(_) => return Err(self.keeper(format!("no answer within {TIMEOUT:?}"))),
        };
        match status {
            StatusCode::OK => Marked::parse(&bytes)
                .map_err(|source| MarkError::Text { path: self.path.display().to_string(), source }),
            StatusCode::CONFLICT => Err(MarkError::Moved),
            status => Err(self.keeper(format!("{status}: {}", String::from_utf8_lossy(&bytes).escape_debug()))),
        }
    }
}

/// One request on a connection of its own: they are seldom.
async fn exchange(
    path: &Path,
    method: Method,
    body: String,
) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let stream = UnixStream::connect(path).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder().method(method).uri("/mark").header("host", "keeper");
    let request = request.body(Full::<Bytes>::from(body))?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let bytes = Limited::new(answer.into_body(), MAX_ANSWER).collect().await?.to_bytes();
        Ok((status, bytes))
    };
    // The connection is driven as long as the answer is awaited.
    let driven = async {
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = answer => answer,
        () = driven => Err("the connection ended".into()),
    }
}

impl Mark for SocketMark {
    fn read(&self) -> Result<Marked, MarkError> {
        self.ask(Method::GET, String::new())
    }

    fn advance(&self, version: &str, size: u64, root: &Digest) -> Result<String, MarkError> {
        let to = Marked { version: version.to_owned(), signed: Some((size, *root)) };
        let moved = self.ask(Method::PUT, to.text())?;
        if moved.signed == to.signed {
            Ok(moved.version)
        } else {
            Err(self.keeper("it moved the mark somewhere else".into()))
        }
    }
}
