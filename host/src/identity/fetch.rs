//! Asks an issuer or a Keystone over HTTP: bounded in time and bytes, over the same TLS as everything else that goes out.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use url::Url;

use super::settings;
use crate::connection;
use crate::model::Json;

/// How long an answer may take: a request of somebody waits for it.
const ANSWER_SECONDS_MAX: Duration = Duration::from_secs(10);

/// An answer's bytes, at most; key sets and tokens have some kilobytes, service catalogs of Keystone up to some hundred.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Asks one system.
#[derive(Debug, Clone)]
pub(super) struct Fetch(reqwest::Client);

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Bytes,
}

impl Fetch {
    /// A client that trusts the authorities in this file, or the common public ones.
    pub(super) fn new(ca: Option<&std::path::Path>) -> Result<Self, String> {
        let ca = settings::certificates(ca)?;
        connection::http_client(ca.as_deref(), None).map(Self)
    }

    /// Sends a request and reads the answer; the error says what went wrong without addresses.
    pub(super) async fn ask(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Option<&Json>,
    ) -> Result<Answer, String> {
        let deadline = Instant::now() + ANSWER_SECONDS_MAX;
        let mut request = self.0.request(method, url).headers(headers);
        if let Some(body) = body {
            request = request.json(body);
        }
        match tokio::time::timeout_at(deadline.into(), read(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} seconds", ANSWER_SECONDS_MAX.as_secs())),
        }
    }

    /// Reads a JSON document.
    pub(super) async fn json(&self, url: Url) -> Result<Json, String> {
        let answer = self.ask(Method::GET, url, HeaderMap::new(), None).await?;
        match answer.status.is_success() {
            true => answer.json(),
            false => Err(format!("it answered with status {}", answer.status.as_u16())),
        }
    }
}

async fn read(request: reqwest::RequestBuilder) -> Result<Answer, String> {
    let failed = |error: reqwest::Error| {
        let error = error.without_url();
        match error.is_connect() {
            true => "it cannot be connected to".to_owned(),
            false => format!("the exchange broke off: {error}"),
        }
    };
    let mut response = request.send().await.map_err(failed)?;
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(format!("its answer is larger than {ANSWER_BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status: response.status(), headers: response.headers().clone(), body: body.freeze() })
}

impl Answer {
    pub(super) fn json(&self) -> Result<Json, String> {
        serde_json::from_slice(&self.body).map_err(|_| "its answer is not JSON".to_owned())
    }
}
