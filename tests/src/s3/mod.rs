//! A real S3-protocol server for tests, the demo and the benchmarks: file-backed, authenticated by SigV4, in this
//! process, on a free port.
//!
//! `store` is what it serves, `client` is how the harness fills and reads buckets. It deliberately has no TLS, no
//! virtual-hosted addressing, no versions and no access rules: what is tested here is moving objects.

pub mod client;
mod parts;
mod store;

pub use client::{Listed, S3Client};
pub use store::{Store, Writes};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use store::GONE_BEFORE;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;

/// The region that requests are signed for; the server takes any, but both ends must name one.
pub const REGION: &str = "us-east-1";

/// A running S3 server. Dropping it closes the port; the files stay.
pub struct S3Server {
    /// The base URL: `http://127.0.0.1:<port>`.
    pub url: String,
    /// The access key that it accepts.
    pub access: String,
    /// The secret key that belongs to it.
    pub secret: String,
    /// What is stored and what was counted, for assertions and faults.
    pub store: Store,
    markers: Markers,
    accepting: JoinHandle<()>,
}

/// Connections of our own that mark where the clients before them end, by their address.
type Markers = Arc<Mutex<BTreeMap<SocketAddr, oneshot::Sender<()>>>>;

async fn accept(listener: TcpListener, service: S3Service, store: Store, markers: Markers) {
    loop {
        let Ok((socket, peer)) = listener.accept().await else { continue };
        if let Some(reached) = markers.lock().await.remove(&peer) {
            store.clients_are_gone();
            // Fails only when nobody waits any more.
            let _ = reached.send(());
            continue;
        }
        // Without it Nagle's algorithm and delayed acknowledgements cost 40 ms on each small request.
        let _ = socket.set_nodelay(true);
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(socket), service.clone());
        tokio::spawn(GONE_BEFORE.scope(store.clients_gone(), connection));
    }
}

impl S3Server {
    /// Starts a server over the buckets in `dir`, which is created when absent. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the directory cannot be read or no port is free.
    pub async fn start(dir: &Path, access: &str, secret: &str) -> anyhow::Result<Self> {
        let store = Store::open(dir).await?;
        let mut builder = S3ServiceBuilder::new(store.clone());
        builder.set_auth(SimpleAuth::from_single(access, secret));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.context("bind a port for S3")?;
        let url = format!("http://{}", listener.local_addr()?);
        let markers = Arc::new(Mutex::new(BTreeMap::new()));
        let accepting = tokio::spawn(accept(listener, service, store.clone(), Arc::clone(&markers)));
        Ok(Self { url, access: access.to_owned(), secret: secret.to_owned(), store, markers, accepting })
    }

    /// Declares the clients gone whose connections were made until now: what takes effect later of what they sent counts
    /// as [`Writes::late`]. A process that was killed may have left requests, even whole connections, in the buffers
    /// between; a connection of our own, which is accepted after those, marks where they end.
    ///
    /// # Errors
    /// When the server does not accept connections.
    pub async fn clients_are_gone(&self) -> anyhow::Result<()> {
        let (reached, mark) = oneshot::channel();
        let address = self.url.trim_start_matches("http://");
        let mut markers = self.markers.lock().await;
        let connection = TcpStream::connect(address).await?;
        markers.insert(connection.local_addr()?, reached);
        drop(markers);
        mark.await.context("the S3 server has stopped")
    }

    /// A client with this server's keys.
    pub fn client(&self) -> S3Client {
        S3Client::new(&self.url, &self.access, &self.secret)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
