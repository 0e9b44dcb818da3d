//! One keep-alive connection to a server, with as little around it as possible: for programs that measure.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// A connection that is used for one request after another.
pub struct KeepAlive {
    sender: SendRequest<Full<Bytes>>,
    address: String,
}

impl KeepAlive {
    /// Connects to the server at this base URL.
    ///
    /// # Errors
    /// When nobody answers there.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        let address = url.strip_prefix("http://").context("give an http URL")?.trim_end_matches('/').to_owned();
        let stream = TcpStream::connect(&address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, address })
    }

    /// Sends a request; the response, of any status.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn send(&mut self, method: &str, path: &str, body: Bytes) -> anyhow::Result<hyper::Response<Incoming>> {
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.address)
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }

    /// Sends a request and reads the answer, which must be a success; how many bytes it had.
    ///
    /// # Errors
    /// When the connection breaks or the answer is a problem.
    pub async fn ask_bytes(&mut self, method: &str, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let response = self.send(method, path, body).await?;
        let status = response.status();
        let bytes = response.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "{method} {path}: {status}: {}", String::from_utf8_lossy(&bytes));
        Ok(bytes)
    }

    /// The same for JSON.
    ///
    /// # Errors
    /// As [`KeepAlive::ask_bytes`].
    pub async fn ask(&mut self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        let bytes = self.ask_bytes(method, path, Bytes::from(body.to_string())).await?;
        Ok(serde_json::from_slice(&bytes)?)
    }
}
