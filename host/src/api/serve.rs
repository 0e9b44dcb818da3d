//! The connection loop: accepts, bounds, times out and drains HTTP/1.1 connections. `axum::serve` has no bound on
//! connections and no timeout for slow request heads, so hyper's connections are driven here.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

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

/// A pause after a failed accept, which mostly means that no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stopping`, then lets the requests under way end, for three seconds at most.
pub async fn serve(listener: TcpListener, router: Router, stopping: CancellationToken) {
    let (connections, slots) = (TaskTracker::new(), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    let cut = CancellationToken::new();
    while let Some(stream) = next(&listener, &slots, &stopping).await {
        let (router, stopping, cut) = (router.clone(), stopping.clone(), cut.clone());
        connections.spawn(async move {
            let (stream, _slot) = stream;
            cut.run_until_cancelled(converse(stream, router, stopping)).await;
        });
    }
    drop(listener); // New clients are refused from here on, instead of waiting in the backlog.
    connections.close();
    if tokio::time::timeout(DRAIN_SECONDS_MAX, connections.wait()).await.is_err() {
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

async fn converse(stream: TcpStream, router: Router, stopping: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_SECONDS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
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
