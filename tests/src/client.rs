//! A client of the REST API, as a program of somebody else would be written: plain JSON, no types of ours.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use futures_util::{Stream, StreamExt};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::{Value, json};

/// Talks to one server.
#[derive(Clone)]
pub struct Rest {
    url: String,
    http: reqwest::Client,
}

/// An answer of any status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body as JSON; null when it is none.
    pub body: Value,
}

impl Rest {
    /// A client of the server at `url`.
    pub fn new(url: &str) -> Self {
        crate::tls_ready();
        let http = reqwest::Client::builder().tcp_nodelay(true).no_proxy().build();
        Self { url: url.to_owned(), http: http.expect("a client without TLS files can always be built") }
    }

    /// Sends a request; `path` starts with `/v1`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.with_context(|| format!("{method} {path}"))?;
        let status = response.status().as_u16();
        let text = response.bytes().await.with_context(|| format!("{method} {path}"))?;
        Ok(Answer { status, body: serde_json::from_slice(&text).unwrap_or(Value::Null) })
    }

    async fn fine(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let answer = self.send(method.clone(), path, &[], body).await?;
        ensure!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.body);
        Ok(answer.body)
    }

    /// Reads something.
    ///
    /// # Errors
    /// When there is no answer or the answer is a problem.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.fine(Method::GET, path, None).await
    }

    /// Creates or replaces something.
    ///
    /// # Errors
    /// As [`Rest::get`].
    pub async fn put(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.fine(Method::PUT, path, Some(&body)).await
    }

    /// Stores a secret.
    ///
    /// # Errors
    /// As [`Rest::get`].
    pub async fn put_secret(&self, name: &str, value: &str) -> anyhow::Result<()> {
        self.put(&format!("/v1/secrets/{name}"), json!({ "value": value })).await.map(drop)
    }

    /// Makes a connection to an S3 server, signed by SigV4 with a stored secret.
    ///
    /// # Errors
    /// As [`Rest::get`].
    pub async fn put_s3_connection(&self, name: &str, url: &str, access: &str, secret: &str) -> anyhow::Result<()> {
        let authentication = json!({
            "scheme": "aws-sig-v4", "region": crate::s3::REGION, "service": "s3",
            "accessKeyId": access, "secretAccessKey": secret,
        });
        let body = json!({ "baseUrl": url, "authentication": authentication });
        self.put(&format!("/v1/connections/{name}"), body).await.map(drop)
    }

    /// Installs a pack's folder by the command line.
    ///
    /// # Errors
    /// When it is refused.
    pub fn install(&self, binaries: &crate::binaries::Binaries, folder: &Path) -> anyhow::Result<String> {
        binaries.run(&["--server", &self.url, "pack", "install", &folder.to_string_lossy()])
    }

    /// Orders a service; the instance's summary. The same key gives the same instance.
    ///
    /// # Errors
    /// As [`Rest::get`].
    pub async fn order(&self, service: &str, input: Value, key: &str) -> anyhow::Result<Value> {
        let body = json!({ "service": service, "input": input });
        let answer = self.send(Method::POST, "/v1/instances", &[("Idempotency-Key", key)], Some(&body)).await?;
        ensure!(matches!(answer.status, 200 | 201), "order `{service}`: {} {}", answer.status, answer.body);
        Ok(answer.body)
    }

    /// Waits until an instance has ended; its summary.
    ///
    /// # Errors
    /// When it has not ended in time, or the server does not answer.
    pub async fn ended(&self, id: &str, within: Duration) -> anyhow::Result<Value> {
        let start = Instant::now();
        loop {
            let left = within.saturating_sub(start.elapsed()).as_secs().clamp(1, 30);
            let summary = self.get(&format!("/v1/instances/{id}?wait={left}")).await?;
            if is_final(&summary) {
                return Ok(summary);
            }
            if start.elapsed() >= within {
                bail!("instance {id} has not ended after {within:?}: {summary}");
            }
        }
    }

    /// Cancels an instance and waits until what its workflow names in `onCancel` has ended; that one's summary.
    ///
    /// # Errors
    /// As [`Rest::ended`], and when nothing was started to clean up.
    pub async fn cancelled(&self, id: &str, cleaner: &str, within: Duration) -> anyhow::Result<Value> {
        self.fine(Method::POST, &format!("/v1/instances/{id}/cancel"), None).await?;
        let summary = self.ended(id, within).await?;
        ensure!(summary["status"] == "cancelled", "instance {id} ended otherwise: {summary}");
        let listed = self.get(&format!("/v1/instances?workflow={cleaner}")).await?;
        let items = listed["items"].as_array().cloned().unwrap_or_default();
        let own = items.iter().find(|cleaning| cleaning["parent"]["instance"] == id);
        let own = own.with_context(|| format!("no `{cleaner}` was started for {id}: {listed}"))?;
        self.ended(own["id"].as_str().context("an instance has an identifier")?, within).await
    }

    /// Follows an instance's events from the record behind `after` on, as JSON.
    ///
    /// # Errors
    /// When the stream cannot be opened.
    pub async fn events(
        &self,
        id: &str,
        after: Option<u64>,
    ) -> anyhow::Result<impl Stream<Item = anyhow::Result<Value>> + Unpin + use<>> {
        let mut request = self.http.get(format!("{}/v1/instances/{id}/events", self.url));
        if let Some(after) = after {
            request = request.header("Last-Event-ID", after.to_string());
        }
        let response = request.header("Accept", "text/event-stream").send().await?.error_for_status()?;
        Ok(Box::pin(sse(response.bytes_stream())))
    }
}

/// Whether a summary says that nothing more can happen.
pub fn is_final(summary: &Value) -> bool {
    matches!(summary["status"].as_str(), Some("completed" | "faulted" | "cancelled"))
}

/// A path segment of any text.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Cuts a stream of bytes into the JSON of its events; comments and events without data are passed over.
fn sse<E: std::error::Error + Send + Sync + 'static>(
    bytes: impl Stream<Item = Result<bytes::Bytes, E>>,
) -> impl Stream<Item = anyhow::Result<Value>> {
    let state = (Box::pin(bytes), Vec::new());
    futures_util::stream::unfold(state, |(mut bytes, mut buffer): (_, Vec<u8>)| async move {
        loop {
            if let Some(end) = buffer.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = buffer.drain(..end + 2).collect();
                match data(&event) {
                    Some(value) => return Some((value, (bytes, buffer))),
                    None => continue,
                }
            }
            match bytes.next().await? {
                Ok(piece) => buffer.extend_from_slice(&piece),
                Err(error) => return Some((Err(error.into()), (bytes, buffer))),
            }
        }
    })
}

fn data(event: &[u8]) -> Option<anyhow::Result<Value>> {
    let text = String::from_utf8_lossy(event);
    let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim_start).collect();
    (!lines.is_empty()).then(|| serde_json::from_str(&lines.join("\n")).context("an event is not JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_are_cut_wherever_the_network_cuts_them() {
        let text = ": hello\n\nid: 1\nevent: record\ndata: {\"a\":1}\n\ndata: {\"a\":\ndata: 2}\n\n";
        for size in 1..text.len() {
            let pieces =
                text.as_bytes().chunks(size).map(|piece| Ok::<_, std::io::Error>(bytes::Bytes::copy_from_slice(piece)));
            let pieces: Vec<_> = pieces.collect();
            let events: Vec<_> = sse(futures_util::stream::iter(pieces)).collect().await;
            let events: Vec<Value> = events.into_iter().map(|event| event.expect("JSON")).collect();
            assert_eq!(events, [json!({"a": 1}), json!({"a": 2})]);
        }
    }
}
