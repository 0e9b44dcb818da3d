//! Sends bytes to a URL that the server's own settings name. No guest comes here, so that nothing is hidden or refused.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use url::Url;

use super::transport::{self, Carrier, Payload, SendError};

/// Sends requests whose answer is only a status.
#[derive(Debug, Clone)]
pub struct Pusher {
    carrier: Carrier,
}

impl Pusher {
    /// Makes the client. Nothing is sent.
    ///
    /// # Errors
    /// TLS cannot be set up on this machine.
    pub fn new() -> Result<Self, String> {
        Ok(Self { carrier: Carrier::Network(transport::client(None, None)?) })
    }

    /// Posts bytes and waits for the status of the answer.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn post(
        &self,
        url: &Url,
        media_type: &'static str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<StatusCode, SendError> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media_type))]);
        let deadline = Instant::now() + timeout;
        let payload = Payload::Bytes(body);
        let incoming = transport::send(&self.carrier, Method::POST, url.clone(), headers, payload, deadline, None);
        let incoming = incoming.await?;
        Ok(incoming.status)
    }
}
