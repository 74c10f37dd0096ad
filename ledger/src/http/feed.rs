//! Long answers, a chunk at a time: at most a few wait for the reader, and one that is cut off never looks complete.

use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, Bytes};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Bytes a chunk, about.
pub(super) const CHUNK: usize = 256 * 1024;
/// Chunks that wait for the reader.
const WAITING: usize = 4;
/// A reader must take a chunk within this time.
const STALL: Duration = Duration::from_secs(30);

/// Where an answer's chunks go. Dropped without [`Feed::end`], the answer breaks off.
pub(super) struct Feed {
    /// `None` is the end.
    chunks: mpsc::Sender<Option<Bytes>>,
    /// A long answer's turn lasts as long as it is read.
    _turn: OwnedSemaphorePermit,
}

impl Feed {
    /// A feed and the body that it feeds.
    pub(super) fn new(turn: OwnedSemaphorePermit) -> (Feed, Body) {
        let (chunks, mut waiting) = mpsc::channel(WAITING);
        let mut over = false;
        let stream = futures::stream::poll_fn(move |context| {
            if over {
                return Poll::Ready(None);
            }
            waiting.poll_recv(context).map(|next| match next {
                Some(Some(chunk)) => Some(Ok(chunk)),
                Some(None) => {
                    over = true;
                    None
                }
                None => {
                    over = true;
                    Some(Err(std::io::Error::other("the answer broke off")))
                }
            })
        });
        (Feed { chunks, _turn: turn }, Body::from_stream(stream))
    }

    /// Waits until there is room; says whether anybody still reads.
    pub(super) async fn send(&self, chunk: Bytes) -> bool {
        self.chunks.send_timeout(Some(chunk), STALL).await.is_ok()
    }

    /// The answer is complete.
    pub(super) async fn end(self) {
        // A reader that left needs no end, and one that stalls here has its answer break off.
        let _ = self.chunks.send_timeout(None, STALL).await;
    }
}

/// Whether an answer keeps its turn until it was read.
pub(super) fn is_long(bytes: &[u8]) -> bool {
    bytes.len() > CHUNK
}

/// An answer that is in memory already: whole when it is short, else fed, and cut off when it takes longer than `limit`.
pub(super) fn whole(bytes: Vec<u8>, turn: OwnedSemaphorePermit, limit: Duration) -> Body {
    if !is_long(&bytes) {
        return Body::from(bytes);
    }
    let (feed, body) = Feed::new(turn);
    tokio::spawn(tokio::time::timeout(limit, async move {
        let mut rest = Bytes::from(bytes);
        while !rest.is_empty() {
            let chunk = rest.split_to(rest.len().min(CHUNK));
            if !feed.send(chunk).await {
                return;
            }
        }
        feed.end().await;
    }));
    body
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt as _;
    use tokio::sync::Semaphore;

    use super::*;

    const FOREVER: Duration = Duration::from_mins(1);

    async fn turn(turns: &Arc<Semaphore>) -> OwnedSemaphorePermit {
        turns.clone().acquire_owned().await.expect("it is never closed")
    }

    #[tokio::test]
    async fn an_answer_arrives_as_it_is_whatever_its_length_and_then_the_turn_is_over() {
        let turns = Arc::new(Semaphore::new(1));
        for length in [0, 1, CHUNK, CHUNK + 1, 10 * CHUNK] {
            let bytes: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
            let body = whole(bytes.clone(), turn(&turns).await, FOREVER);
            let read = body.collect().await.expect("it does not break off").to_bytes();
            assert!(read == bytes, "{length} bytes");
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_off_does_not_look_complete() {
        let turns = Arc::new(Semaphore::new(1));
        let (feed, body) = Feed::new(turn(&turns).await);
        assert!(feed.send(Bytes::from_static(b"half")).await);
        drop(feed);
        assert!(body.collect().await.is_err(), "nobody said that it ends");
        let slow = whole(vec![0; 10 * CHUNK], turn(&turns).await, Duration::from_millis(10));
        // The turn comes back although nobody reads.
        drop(turn(&turns).await);
        assert!(slow.collect().await.is_err(), "it took too long");
    }
}
