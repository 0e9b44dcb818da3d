//! The connection loop: accepts, bounds, times out and drains HTTP/1.1 connections. `axum::serve` has no bound on
//! connections and no timeout for slow request heads, so hyper's connections are driven here.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gate::{Entrance, Gate};
use crate::door::{Accepted, Doors, Figures, Listener, Stream};

/// Connections at once. Each costs some kilobytes and one file descriptor; 900 leave room for the store and for outgoing
/// connections under the common limit of 1,024 descriptors.
const CONNECTIONS_MAX: usize = 900;

/// How long a request's head may take, and how long a kept connection may be idle before it. Longer than the time that
/// common clients keep a pooled connection unused would be kinder to them; shorter is kinder to us.
const HEAD_SECONDS_MAX: Duration = Duration::from_secs(60);

/// A connection's read buffer, bytes; also the bound of a request's head.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// How long requests under way may take to end once the server stops. Waiting requests and event streams end at once.
const DRAIN_SECONDS_MAX: Duration = Duration::from_secs(3);

/// Serves until `stopping`, then lets the requests under way end, for three seconds at most.
pub async fn serve(doors: Doors, gate: Gate, stopping: CancellationToken) {
    let (slots, cut) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), CancellationToken::new());
    let serving =
        Serving { gate, figures: doors.figures.clone(), connections: TaskTracker::new(), slots, stopping, cut };
    join_all(doors.listeners.iter().map(|listener| serving.take(listener))).await;
    drop(doors); // New clients are refused from here on, instead of waiting in the backlog.
    serving.drain().await;
}

/// What all connections share.
struct Serving {
    gate: Gate,
    figures: Arc<Figures>,
    connections: TaskTracker,
    slots: Arc<Semaphore>,
    stopping: CancellationToken,
    cut: CancellationToken,
}

impl Serving {
    /// Takes connections until the server stops.
    async fn take(&self, listener: &Listener) {
        while let Some((accepted, slot)) = self.next(listener).await {
            let (gate, figures) = (self.gate.clone(), self.figures.clone());
            let (stopping, cut) = (self.stopping.clone(), self.cut.clone());
            self.connections.spawn(async move {
                let (_slot, _counted) = (slot, figures.connection());
                cut.run_until_cancelled(begin(accepted, gate, &figures, stopping)).await;
            });
        }
    }

    /// The next connection and its slot; nothing once the server stops.
    async fn next(&self, listener: &Listener) -> Option<(Accepted, OwnedSemaphorePermit)> {
        let accepting = async {
            let slot = self.slots.clone().acquire_owned().await.expect("the semaphore is never closed");
            (listener.accept().await, slot)
        };
        self.stopping.run_until_cancelled(accepting).await
    }

    /// Lets the requests under way end.
    async fn drain(self) {
        self.connections.close();
        if tokio::time::timeout(DRAIN_SECONDS_MAX, self.connections.wait()).await.is_err() {
            tracing::warn!(connections = self.connections.len(), "cutting off requests that did not end in time");
            self.cut.cancel();
            self.connections.wait().await;
        }
    }
}

async fn begin(accepted: Accepted, gate: Gate, figures: &Figures, stopping: CancellationToken) {
    match stopping.run_until_cancelled(accepted.open(figures)).await {
        Some(Ok((stream, peer))) => converse(stream, Entrance::new(gate, peer), stopping).await,
        Some(Err(error)) => tracing::debug!(%error, "a handshake failed"),
        None => {}
    }
}

async fn converse(stream: Box<dyn Stream>, entrance: Entrance, stopping: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_SECONDS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), entrance);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}
