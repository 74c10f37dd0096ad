//! `orion put`: puts a file on the platform, part by part, under the digest by which jobs name it. Asks first what is there, so an
//! upload that was cut off goes on, and a file that is there is not sent again.
//!
//! The digest is computed here; the platform computes it again before anybody finds the file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use http::{Method, StatusCode};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use orion_protocol::Digest;
use orion_protocol::digest::Hasher;
use orion_protocol::put::{MAX_OBJECT_BYTES, MAX_PART_BYTES, Progress};
use serde_json::json;

use crate::cluster::{Access, Cluster};
use crate::endpoint::Endpoint;
use crate::{Format, Verdict};

/// `orion put`
#[derive(clap::Args)]
pub struct PutArgs {
    /// The file: an ONNX model, an npy array.
    file: PathBuf,
}

/// A request is tried so often in a row, with a pause: a replica that ends is replaced meanwhile.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);
/// The longest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// Runs the command.
pub async fn run(access: &Access, format: Format, args: &PutArgs) -> anyhow::Result<Verdict> {
    let path = args.file.display();
    let bar = bar(format);
    let source = Source::open(&args.file, &bar)?;
    let (digest, size) = (source.digest, source.size);
    let gateway = Cluster::connect(access).await?.gateway();
    let mut upload = Upload { gateway, source, bar, pause: PAUSE };
    let found = upload.run().await?;
    upload.bar.finish_and_clear();
    match format {
        Format::Json => println!("{}", json!({"digest": digest, "sizeBytes": size})),
        Format::Text => {
            match found {
                Progress { complete: true, .. } => eprintln!("put: {path} is there already, {size} bytes"),
                Progress { stored_bytes: 0, .. } => eprintln!("put: {path} is there now, {size} bytes"),
                Progress { stored_bytes: had, .. } => {
                    eprintln!("put: {path} is there now: went on after {had} of {size} bytes");
                }
            }
            println!("{digest}");
        }
    }
    Ok(Verdict::Good)
}

fn bar(format: Format) -> ProgressBar {
    let bar = ProgressBar::new(0);
    if format == Format::Json {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("{msg:8} {bar:30} {bytes} of {total_bytes}  {bytes_per_sec}  {eta}")
    {
        bar.set_style(style);
    }
    bar
}

/// The file.
struct Source {
    file: File,
    digest: Digest,
    size: u64,
}

impl Source {
    /// Hashes it.
    fn open(path: &Path, bar: &ProgressBar) -> anyhow::Result<Source> {
        let name = path.display();
        let mut file = File::open(path).with_context(|| format!("opening {name}"))?;
        let size = file.metadata().with_context(|| format!("looking at {name}"))?.len();
        ensure!(size > 0, "{name} is empty");
        ensure!(size <= MAX_OBJECT_BYTES, "{name} has {size} bytes, at most {MAX_OBJECT_BYTES} are taken");
        bar.set_length(size);
        bar.set_message("hashing");
        let (mut hasher, mut buffer, mut at) = (Hasher::default(), vec![0; 1 << 20], 0);
        loop {
            let read = file.read(&mut buffer).with_context(|| format!("reading {name}"))?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            at += read as u64;
            bar.set_position(at);
        }
        ensure!(at == size, "{name} changed while it was read");
        Ok(Source { file, digest: hasher.finish(), size })
    }

    /// The part from here on.
    fn part(&mut self, at: u64) -> anyhow::Result<Vec<u8>> {
        let length = MAX_PART_BYTES.min(self.size.saturating_sub(at));
        let mut part = vec![0; usize::try_from(length)?];
        self.file.seek(SeekFrom::Start(at)).context("reading the file")?;
        self.file.read_exact(&mut part).context("the file changed while it was sent")?;
        Ok(part)
    }
}

/// A file on its way.
struct Upload {
    gateway: Endpoint,
    source: Source,
    bar: ProgressBar,
    pause: Duration,
}

/// Why a request came to nothing.
enum Fault {
    /// It may succeed later.
    Passing(anyhow::Error),
    /// It will not.
    Final(anyhow::Error),
}

impl Upload {
    /// Sends what is missing; gives what was there at the beginning.
    async fn run(&mut self) -> anyhow::Result<Progress> {
        self.bar.set_message("sending");
        let (mut found, mut now, mut tries) = (None, None, 0);
        loop {
            let fault = match self.step(now).await {
                Ok(Step::Done) => return found.context("nothing was asked"),
                Ok(Step::At(next)) => {
                    self.bar.set_position(next.stored_bytes);
                    found.get_or_insert(next);
                    let Some(before) = now.replace(next) else { continue };
                    if next.stored_bytes > before.stored_bytes {
                        tries = 0;
                        continue;
                    }
                    anyhow::anyhow!("the platform has {} bytes, which are no more than before", next.stored_bytes)
                }
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Passing(error)) => error,
            };
            tries += 1;
            if tries >= TRIES {
                return Err(fault.context("the upload was cut off: the same command goes on where it stopped"));
            }
            if tries == 1 {
                self.bar.suspend(|| eprintln!("orion: {fault:#}; trying again"));
            }
            tokio::time::sleep(self.pause).await;
            // What was sent last may have come.
            now = None;
        }
    }

    /// The next request: how far it is, then a part, in the end that it becomes an object.
    async fn step(&mut self, now: Option<Progress>) -> Result<Step, Fault> {
        let Source { digest, size, .. } = self.source;
        let object = format!("/v1/objects/{digest}/{size}");
        match now {
            None => self.ask(Method::GET, &object, Vec::new()).await.map(|(_, at)| Step::At(at)),
            Some(now) if !now.complete && now.stored_bytes < size => {
                let at = now.stored_bytes;
                let part = self.source.part(at).map_err(Fault::Final)?;
                let path = format!("{object}/parts/{at}?part={}", Digest::of(&part));
                self.ask(Method::PUT, &path, part).await.map(|(_, at)| Step::At(at))
            }
            Some(_) => {
                let (status, at) = self.ask(Method::POST, &object, Vec::new()).await?;
                Ok(if status == StatusCode::OK { Step::Done } else { Step::At(at) })
            }
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> Result<(StatusCode, Progress), Fault> {
        let (status, answer) = self.gateway.send(method, path, body, MAX_ANSWER).await.map_err(Fault::Passing)?;
        if status == StatusCode::OK || status == StatusCode::CONFLICT {
            let progress = serde_json::from_slice(&answer).context("reading the platform's answer");
            return Ok((status, progress.map_err(Fault::Final)?));
        }
        let error = refused(status, &answer);
        let later = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status)
            || status.is_server_error() && status != StatusCode::INSUFFICIENT_STORAGE;
        Err(if later { Fault::Passing(error) } else { Fault::Final(error) })
    }
}

/// What comes after a request.
enum Step {
    /// The object is so far.
    At(Progress),
    /// It is there.
    Done,
}

/// A refusal in the gateway's words, or in the API server's.
fn refused(status: StatusCode, answer: &[u8]) -> anyhow::Error {
    let text = String::from_utf8_lossy(answer);
    let json: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    let words = json.as_ref().and_then(|json| json.get("message")?.as_str()).unwrap_or(text.trim());
    anyhow::anyhow!("the platform says {status}: {words}")
}

#[cfg(test)]
mod tests;
