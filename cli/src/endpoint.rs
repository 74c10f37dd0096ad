//! Talking to a small HTTP endpoint of the platform: through the API server's service proxy, or directly where the platform
//! runs as plain processes.

use std::io::Write;

use anyhow::Context as _;
use futures::AsyncReadExt as _;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use kube::Client;
use orion_protocol::ledger::api::{MAX_TOKEN_BYTES, TOKEN_HEADER};

/// An answer that says why it is none is read so far.
const MAX_WORDS: usize = 4096;

/// Where the endpoint is, and what it lets us in for.
pub struct Endpoint {
    place: Place,
    token: Option<HeaderValue>,
}

enum Place {
    /// Through the API server, with the path of the service's proxy.
    Proxy { client: Client, base: String },
    /// A URL without a slash at its end.
    Direct(String),
}

impl Endpoint {
    /// Behind the API server: `base` is the path of the service's proxy.
    pub fn proxy(client: Client, base: String) -> Endpoint {
        Endpoint { place: Place::Proxy { client, base }, token: None }
    }

    /// At a URL.
    pub fn direct(url: &str) -> Endpoint {
        Endpoint { place: Place::Direct(url.trim_end_matches('/').to_owned()), token: None }
    }

    /// Shows this token with every request.
    pub fn with_token(self, token: Option<&str>) -> anyhow::Result<Endpoint> {
        let Some(token) = token.map(str::trim) else { return Ok(self) };
        anyhow::ensure!(
            !token.is_empty() && token.len() <= MAX_TOKEN_BYTES,
            "a token has 1 to {MAX_TOKEN_BYTES} bytes"
        );
        let mut token = HeaderValue::from_str(token).context("a token is one line of text")?;
        token.set_sensitive(true);
        Ok(Endpoint { token: Some(token), ..self })
    }

    fn request(&self, method: Method) -> http::request::Builder {
        let request = Request::builder().method(method);
        match &self.token {
            Some(token) => request.header(TOKEN_HEADER, token),
            None => request,
        }
    }

    /// Writes what is at `path` to `sink`; gives its length in bytes.
    pub async fn fetch(&self, path: &str, sink: &mut impl Write) -> anyhow::Result<u64> {
        match &self.place {
            Place::Proxy { client, base } => {
                let request = self.request(Method::GET).uri(format!("{base}{path}"));
                let request = request.body(Vec::new()).context("asking")?;
                let body = client.request_stream(request).await.with_context(|| format!("fetching {path}"))?;
                let mut body = std::pin::pin!(body);
                let (mut buffer, mut length) = (vec![0; 64 * 1024], 0);
                loop {
                    let read = body.read(&mut buffer).await.with_context(|| format!("fetching {path}"))?;
                    if read == 0 {
                        return Ok(length);
                    }
                    sink.write_all(&buffer[..read]).context("writing what was fetched")?;
                    length += read as u64;
                }
            }
            Place::Direct(url) => {
                let client: HttpClient<_, Empty<Bytes>> = HttpClient::builder(TokioExecutor::new()).build_http();
                let request = self.request(Method::GET).uri(format!("{url}{path}"));
                let request = request.body(Empty::new()).with_context(|| format!("{url} is no URL"))?;
                let mut answer = client.request(request).await.with_context(|| format!("fetching {url}{path}"))?;
                if !answer.status().is_success() {
                    let (status, words) = read(path, answer, MAX_WORDS).await?;
                    anyhow::bail!("fetching {url}{path}: {status}: {}", String::from_utf8_lossy(&words).trim());
                }
                let mut length = 0;
                while let Some(frame) = answer.frame().await {
                    if let Ok(data) = frame.with_context(|| format!("fetching {url}{path}"))?.into_data() {
                        sink.write_all(&data).context("writing what was fetched")?;
                        length += data.len() as u64;
                    }
                }
                Ok(length)
            }
        }
    }

    /// Sends `body` to `path`; gives the status and the answer, of at most `max` bytes.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        max: usize,
    ) -> anyhow::Result<(StatusCode, Vec<u8>)> {
        let request = self.request(method);
        match &self.place {
            Place::Proxy { client, base } => {
                let request =
                    request.uri(format!("{base}{path}")).body(kube::client::Body::from(body)).context("asking")?;
                let answer = client.send(request).await.with_context(|| format!("asking {path}"))?;
                read(path, answer, max).await
            }
            Place::Direct(url) => {
                let client: HttpClient<_, Full<Bytes>> = HttpClient::builder(TokioExecutor::new()).build_http();
                let request = request.uri(format!("{url}{path}")).body(Full::from(body));
                let request = request.with_context(|| format!("{url} is no URL"))?;
                let answer = client.request(request).await.with_context(|| format!("asking {url}{path}"))?;
                read(path, answer, max).await
            }
        }
    }

    /// What is at `path`, if it is at most `max` bytes long.
    pub async fn get(&self, path: &str, max: usize) -> anyhow::Result<Vec<u8>> {
        let mut sink = Bounded { bytes: Vec::new(), max };
        self.fetch(path, &mut sink).await?;
        Ok(sink.bytes)
    }
}

async fn read<B>(path: &str, answer: http::Response<B>, max: usize) -> anyhow::Result<(StatusCode, Vec<u8>)>
where
    B: hyper::body::Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let status = answer.status();
    let body = Limited::new(answer.into_body(), max).collect().await;
    let body = body.map_err(anyhow::Error::from_boxed).with_context(|| format!("reading the answer of {path}"))?;
    Ok((status, body.to_bytes().into()))
}

/// A buffer that refuses to grow without end.
struct Bounded {
    bytes: Vec<u8>,
    max: usize,
}

impl Write for Bounded {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + data.len() > self.max {
            return Err(std::io::Error::other(format!("more than {} bytes", self.max)));
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
