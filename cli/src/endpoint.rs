//! Talking to a small HTTP endpoint of the platform: through the API server's service proxy, or directly where the platform
//! runs as plain processes.

use std::io::Write;

use anyhow::Context as _;
use futures::AsyncReadExt as _;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use kube::Client;

/// Where the endpoint is.
pub enum Endpoint {
    /// Through the API server.
    Proxy {
        /// The API server.
        client: Client,
        /// The path of the service's proxy.
        base: String,
    },
    /// A URL without a slash at its end.
    Direct(String),
}

impl Endpoint {
    /// Writes what is at `path` to `sink`; gives its length in bytes.
    pub async fn fetch(&self, path: &str, sink: &mut impl Write) -> anyhow::Result<u64> {
        match self {
            Endpoint::Proxy { client, base } => {
                let request = Request::get(format!("{base}{path}")).body(Vec::new()).context("asking")?;
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
            Endpoint::Direct(url) => {
                let client: HttpClient<_, Empty<Bytes>> = HttpClient::builder(TokioExecutor::new()).build_http();
                let uri = format!("{url}{path}").parse().with_context(|| format!("{url} is no URL"))?;
                let mut answer = client.get(uri).await.with_context(|| format!("fetching {url}{path}"))?;
                anyhow::ensure!(answer.status().is_success(), "fetching {url}{path}: {}", answer.status());
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
        let request = Request::builder().method(method);
        match self {
            Endpoint::Proxy { client, base } => {
                let request =
                    request.uri(format!("{base}{path}")).body(kube::client::Body::from(body)).context("asking")?;
                let answer = client.send(request).await.with_context(|| format!("asking {path}"))?;
                read(path, answer, max).await
            }
            Endpoint::Direct(url) => {
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
