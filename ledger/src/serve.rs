//! Connections: HTTP/1 over plain TCP inside the cluster, so many at most, each with a bound on how long a request's head
//! may take and on how long a reader may stall, and a bounded farewell when the process ends.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::stall::Stall;

/// How long requests may still run once the process is told to end.
const FAREWELL: Duration = Duration::from_secs(5);
/// The wait after a failed accept, such as for lack of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What a connection may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; the rest wait in the kernel's queue.
    pub connections: usize,
    /// A request's head must arrive within this time, and an idle connection ends after it.
    pub head: Duration,
    /// A connection ends when its reader takes nothing of an answer for so long.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { connections: 512, head: Duration::from_mins(1), stall: Duration::from_secs(30) }
    }
}

/// Serves until `stop` comes.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: impl Future<Output = ()>) {
    let connections = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let accept = async {
            // The semaphore is never closed.
            let permit = connections.clone().acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = &mut stop => break,
            accepted = accept => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(limits.head);
        let stream = TokioIo::new(Stall::new(stream, limits.stall));
        let connection = graceful.watch(http.serve_connection(stream, service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke");
            }
            drop(permit);
        });
    }
    if tokio::time::timeout(FAREWELL, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were cut off at the end");
    }
}
