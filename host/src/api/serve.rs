//! The connection loop: accepts, bounds, times out and drains HTTP/1.1 connections. `axum::serve` has no bound on
//! connections and no timeout for slow request heads, so hyper's connections are driven here.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::future::join_all;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gate::{Entrance, Gate};
use crate::door::patience::Patient;
use crate::door::{Accepted, Doors, Figures, Listener, Stream};

/// File descriptors that are left to the store and to outgoing connections.
const DESCRIPTORS_KEPT: usize = 124;

/// Connections at once, at most, however many descriptors there are: each costs some ten kilobytes.
const CONNECTIONS_MAX: usize = 10_000;

/// Connections that event streams leave to requests, where there are enough.
const CONNECTIONS_FOR_REQUESTS: usize = 1_000;

/// How long a request's head may take, and how long a kept connection may be idle before it. Longer than the time that
/// common clients keep a pooled connection unused would be kinder to them; shorter is kinder to us.
const HEAD_SECONDS_MAX: Duration = Duration::from_secs(60);

/// How long a client may take nothing of what is sent to it: longer than a network is away that comes back, and a follower
/// who stopped reading does not keep events in memory for longer.
const READ_SECONDS_MAX: Duration = Duration::from_secs(60);

/// A connection's read buffer, bytes; also the bound of a request's head.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// The address that a request comes from; a unix socket has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub Option<SocketAddr>);

/// Connections that are taken at once: as many as this process may have descriptors for. The first call raises the soft limit
/// of descriptors to the hard one.
pub fn connections_max() -> usize {
    static BOUND: LazyLock<usize> = LazyLock::new(|| {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        let current = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit.maximum,
            Err(_) => limit.current,
        };
        let descriptors = current.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
        descriptors.saturating_sub(DESCRIPTORS_KEPT).clamp(1, CONNECTIONS_MAX)
    });
    *BOUND
}

/// Event streams that are open at once: each holds a connection, and requests need some too.
pub fn followers_max() -> usize {
    let connections = connections_max();
    (connections / 2).max(connections.saturating_sub(CONNECTIONS_FOR_REQUESTS))
}

/// Serves until `stopping`, then lets the requests under way end, for as long as `drain` at most. Waiting requests and event
/// streams end at once.
pub async fn serve(doors: Doors, gate: Gate, stopping: CancellationToken, drain: Duration) {
    let (slots, cut) = (Arc::new(Semaphore::new(connections_max())), CancellationToken::new());
    let serving =
        Serving { gate, figures: doors.figures.clone(), connections: TaskTracker::new(), slots, stopping, cut };
    join_all(doors.listeners.iter().map(|listener| serving.take(listener))).await;
    drop(doors); // New clients are refused from here on, instead of waiting in the backlog.
    serving.drain(drain).await;
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
    async fn drain(self, most: Duration) {
        self.connections.close();
        if tokio::time::timeout(most, self.connections.wait()).await.is_err() {
            tracing::warn!(connections = self.connections.len(), "cutting off requests that did not end in time");
            self.cut.cancel();
            self.connections.wait().await;
        }
    }
}

async fn begin(accepted: Accepted, gate: Gate, figures: &Figures, stopping: CancellationToken) {
    match stopping.run_until_cancelled(accepted.open(figures)).await {
        Some(Ok((stream, visitor))) => converse(stream, Entrance::new(gate, visitor), stopping).await,
        Some(Err(error)) => tracing::debug!(%error, "a handshake failed"),
        None => {}
    }
}

async fn converse(stream: Box<dyn Stream>, entrance: Entrance, stopping: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_SECONDS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        // Who ends her writing after a whole request still reads: she gets the answer. Who is gone is found out by writing.
        .half_close(true)
        .serve_connection(TokioIo::new(Patient::new(stream, READ_SECONDS_MAX)), entrance);
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
