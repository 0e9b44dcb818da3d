//! The connection loop: accepts, bounds, times out and drains HTTP/1.1 connections. `axum::serve` has no bound on
//! connections and no timeout for slow request heads, so hyper's connections are driven here.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// File descriptors that are left to the store and to outgoing connections.
const DESCRIPTORS_KEPT: usize = 124;

/// Connections at once, at most, however many descriptors there are: each costs some ten kilobytes.
const CONNECTIONS_MAX: usize = 10_000;

/// Connections that event streams leave to requests, where there are enough.
const CONNECTIONS_FOR_REQUESTS: usize = 1_000;

/// How long a request's head may take, and how long a kept connection may be idle before it. Longer than the time that
/// common clients keep a pooled connection unused would be kinder to them; shorter is kinder to us.
const HEAD_SECONDS_MAX: Duration = Duration::from_secs(60);

/// A connection's read buffer, bytes; also the bound of a request's head.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// A pause after a failed accept, which mostly means that no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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

/// Serves until `stopping`, then lets the requests under way end, for as long as `drain` at most. Waiting
/// requests and event streams end at once.
pub async fn serve(listener: TcpListener, router: Router, stopping: CancellationToken, drain: Duration) {
    let (connections, slots) = (TaskTracker::new(), Arc::new(Semaphore::new(connections_max())));
    let cut = CancellationToken::new();
    while let Some((stream, slot)) = next(&listener, &slots, &stopping).await {
        let (router, stopping, cut) = (router.clone(), stopping.clone(), cut.clone());
        connections.spawn(async move {
            let _slot = slot;
            let peer = Peer(stream.peer_addr().ok());
            cut.run_until_cancelled(converse(stream, peer, router, stopping)).await;
        });
    }
    drop(listener); // New clients are refused from here on, instead of waiting in the backlog.
    connections.close();
    if tokio::time::timeout(drain, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "cutting off requests that did not end in time");
        cut.cancel();
        connections.wait().await;
    }
}

/// The next connection and its slot; nothing once the server stops.
async fn next(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    stopping: &CancellationToken,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let accepting = async {
        let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
        (accept(listener).await, slot)
    };
    stopping.run_until_cancelled(accepting).await
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            // Without it, Nagle's algorithm and delayed acknowledgements add about 40 ms to a small answer.
            Ok((stream, _)) if stream.set_nodelay(true).is_ok() => return stream,
            Ok(_) => {}
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Answers the requests of one connection.
pub async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
    stopping: CancellationToken,
) {
    let service = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_SECONDS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
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
