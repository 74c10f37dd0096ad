//! One witness, asked over HTTP until it has cosigned what it is asked about.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use orion_ledger_core::log::note::{Note, NoteSignature};
use orion_ledger_core::log::prove::consistency;
use orion_ledger_core::log::trust::Trust;
use orion_ledger_core::log::witness_wire::{AddCheckpoint, Answer, MAX_ANSWER_BYTES, Refusal};
use tokio::sync::{mpsc, watch};

use super::WitnessesError;
use crate::publisher::Published;
use crate::tiles::Tiles;

/// One request: a witness may take 10 s to replay what it is asked about.
const TIMEOUT: Duration = Duration::from_secs(15);
/// First and longest pause before it is asked again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(8));
/// Requests in a row: one that learns the size from which to prove, and one that proves.
const TRIES: usize = 2;

/// What came of asking.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Signature lines, unchecked.
    Cosigned(Vec<NoteSignature>),
    /// Somebody else had it cosign a larger size of this log.
    Ahead,
    /// It contradicts what it was shown: its words.
    Refused(String),
    /// No such answer, and why.
    Failed(String),
}

/// An answer, and to what.
#[derive(Debug)]
pub(super) struct Answered {
    /// The witness, by its place in the policy.
    pub(super) at: usize,
    /// The size that it was asked about.
    pub(super) size: u64,
    pub(super) outcome: Outcome,
}

/// Where witnesses are asked, by their places in the policy. One without a URL is not.
pub(super) fn urls(trust: &Trust) -> Result<Vec<(usize, Uri)>, WitnessesError> {
    let mut urls = Vec::new();
    for (at, witness) in trust.witnesses().iter().enumerate() {
        let Some(url) = &witness.url else {
            tracing::warn!(witness = witness.name, "the trust policy has no URL for a witness: it is not asked");
            continue;
        };
        let refuse = |why| WitnessesError::Url { name: witness.name.clone(), url: url.clone(), why };
        let uri: Uri =
            format!("{}/add-checkpoint", url.trim_end_matches('/')).parse().map_err(|_| refuse("not a URL"))?;
        if uri.scheme_str() != Some("http") || uri.authority().is_none() {
            return Err(refuse("expected http:// and a host; for https put a proxy of your own before it"));
        }
        urls.push((at, uri));
    }
    Ok(urls)
}

/// Asks one witness.
pub(super) struct Asking {
    at: usize,
    url: Uri,
    http: Client<HttpConnector, Full<Bytes>>,
    tiles: Arc<Tiles>,
    /// What it is asked about.
    target: watch::Receiver<Option<Arc<Published>>>,
    /// What anybody may have shown it.
    newest: watch::Receiver<Option<Arc<Published>>>,
    answers: mpsc::Sender<Answered>,
    /// The size that it cosigned last, as far as is known.
    old: u64,
}

impl Asking {
    pub(super) fn new(
        at: usize,
        url: Uri,
        tiles: Arc<Tiles>,
        target: watch::Receiver<Option<Arc<Published>>>,
        newest: watch::Receiver<Option<Arc<Published>>>,
        answers: mpsc::Sender<Answered>,
    ) -> Asking {
        let http = Client::builder(TokioExecutor::new()).build_http();
        Asking { at, url, http, tiles, target, newest, answers, old: 0 }
    }

    /// Until nobody is left who wants to know.
    pub(super) async fn run(mut self) {
        let mut pause = PAUSES.0;
        loop {
            let target = self.target.borrow_and_update().clone();
            let Some(target) = target else {
                if self.target.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let outcome = self.ask(&target).await;
            // There is nothing more to ask it about this one.
            let done = matches!(outcome, Outcome::Cosigned(_) | Outcome::Ahead);
            if self.answers.send(Answered { at: self.at, size: target.size, outcome }).await.is_err() {
                return;
            }
            let changed = if done {
                pause = PAUSES.0;
                self.target.changed().await
            } else {
                let changed = tokio::time::timeout(pause, self.target.changed()).await;
                pause = (pause * 2).min(PAUSES.1);
                // Late: it is asked about the same one again.
                changed.unwrap_or(Ok(()))
            };
            if changed.is_err() {
                return;
            }
        }
    }

    async fn ask(&mut self, target: &Arc<Published>) -> Outcome {
        for _ in 0..TRIES {
            let answer = match self.exchange(target).await {
                Ok(answer) => answer,
                Err(why) => return Outcome::Failed(why),
            };
            match answer {
                Answer::Cosigned(lines) => {
                    self.old = target.size;
                    return Outcome::Cosigned(lines);
                }
                Answer::Size(size) => {
                    // Whoever is ahead was shown a checkpoint, and it is shown only after it is here.
                    let own = self.newest.borrow().as_ref().map_or(0, |newest| newest.size);
                    if size > own {
                        let words = format!(
                            "it has cosigned size {size} of this log, which now has {own}: was an old volume restored?"
                        );
                        return Outcome::Refused(words);
                    }
                    self.old = size;
                    if size > target.size {
                        return Outcome::Ahead;
                    }
                }
                Answer::Refused(refusal, words) => return refused(refusal, &words),
            }
        }
        Outcome::Failed("it says another size each time it is asked".to_owned())
    }

    /// One request and its answer.
    async fn exchange(&self, target: &Arc<Published>) -> Result<Answer, String> {
        let (old, published, tiles) = (self.old, target.clone(), self.tiles.clone());
        let body = tokio::task::spawn_blocking(move || {
            let note = Note::parse(published.note.as_bytes()).map_err(|error| error.to_string())?;
            let proof = consistency(old, published.size, &*tiles).map_err(|error| chain(&error))?;
            Ok(AddCheckpoint { old, proof, note }.to_string())
        });
        let body: Result<String, String> = body.await.map_err(|error| error.to_string())?;
        let body = body.map_err(|why| format!("no proof can be made from size {old}: {why}"))?;
        let exchange = tokio::time::timeout(TIMEOUT, self.send(body)).await;
        let (status, kind, body) = exchange.map_err(|_| format!("no answer within {} s", TIMEOUT.as_secs()))??;
        Answer::parse(status.as_u16(), &kind, &body).map_err(|error| chain(&error))
    }

    async fn send(&self, body: String) -> Result<(StatusCode, String, Bytes), String> {
        let request = Request::builder().method(Method::POST).uri(self.url.clone());
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
        let answer = self.http.request(request).await.map_err(|error| chain(&error))?;
        let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let (status, kind) = (answer.status(), kind.unwrap_or_default().to_owned());
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
        Ok((status, kind, body.map_err(|error| error.to_string())?.to_bytes()))
    }
}

/// Only two answers say that the log is at fault.
fn refused(refusal: Refusal, words: &str) -> Outcome {
    let status = refusal.status();
    let words = if words.is_empty() { format!("it answered {status}") } else { words.to_owned() };
    match refusal {
        Refusal::Fork | Refusal::Inconsistent => Outcome::Refused(words),
        Refusal::BadRequest | Refusal::NotSigned | Refusal::UnknownLog | Refusal::NotYet | Refusal::Other(_) => {
            Outcome::Failed(format!("{status}: {words}"))
        }
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let (mut text, mut source) = (error.to_string(), error.source());
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
