//! A real S3-protocol server for tests, the demo and the benchmarks: file-backed, authenticated by SigV4, in this
//! process, on a free port.
//!
//! `store` is what it serves, `client` is how the harness fills and reads buckets. It deliberately has no TLS, no
//! virtual-hosted addressing, no versions and no access rules: what is tested here is moving objects.

pub mod client;
mod store;

pub use client::{Listed, S3Client};
pub use store::{Store, Writes};

use std::path::Path;

use anyhow::Context;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
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
    accepting: JoinHandle<()>,
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
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { continue };
                // Without it Nagle's algorithm and delayed acknowledgements cost 40 ms on each small request.
                let _ = socket.set_nodelay(true);
                let service = service.clone();
                tokio::spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .timer(TokioTimer::new())
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        Ok(Self { url, access: access.to_owned(), secret: secret.to_owned(), store, accepting })
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
