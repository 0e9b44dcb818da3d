//! The REST client. It turns every way a request can fail into an [`Error`]; it knows no command.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value as Json;
use url::{Host, Url};

use super::error::{Error, Problem};

/// The server where nothing else is said.
pub(super) const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an ordinary answer may take.
const ANSWER: Duration = Duration::from_secs(60);
/// How long an installation may take: a server compiles every component before it answers.
const INSTALL: Duration = Duration::from_secs(600);
/// Items asked for at once where all are wanted; the API's own limit.
const PAGE: &str = "200";

/// A client of one server.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
}

impl Client {
    /// A client of the server at this base URL.
    pub(super) fn new(server: &str) -> Result<Self, Error> {
        let base = base_url(server)?;
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .user_agent(concat!("orchctl/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&base) {
            builder = builder.no_proxy(); // A proxy cannot reach this machine's own loopback.
        }
        // An error only means that a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        if base.scheme() == "http" {
            builder = builder.tls_backend_preconfigured(without_certificates()); // Nothing to look up for plain HTTP.
        }
        let http = builder.build().map_err(|error| Error::Failed(format!("set up the HTTP client: {error}")))?;
        Ok(Self { http, base })
    }

    /// The server's base URL.
    pub(super) fn server(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The URL of a path, given as its segments, which are encoded here.
    pub(super) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v1").extend(segments);
        }
        url
    }

    pub(super) async fn get(&self, segments: &[&str], query: &[(&str, &str)]) -> Result<Json, Error> {
        let mut url = self.url(segments);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.answer(self.request(Method::GET, url)).await
    }

    /// An answer that is text.
    pub(super) async fn text(&self, segments: &[&str]) -> Result<String, Error> {
        let request = self.http.get(self.url(segments)).timeout(ANSWER);
        let response = self.checked(request.header(ACCEPT, "text/*, application/problem+json")).await?;
        response.text().await.map_err(|error| self.unreachable(&error))
    }

    /// Every item of a list, over all its pages.
    pub(super) async fn all(&self, segments: &[&str], query: &[(&str, &str)], page: Page) -> Result<Json, Error> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = query.to_vec();
            if page.limited {
                query.push(("limit", PAGE));
            }
            if let Some(cursor) = &cursor {
                query.push((page.cursor, cursor));
            }
            let mut answer = self.get(segments, &query).await?;
            let Some(Json::Array(more)) = answer.get_mut("items").map(Json::take) else { return Ok(answer) };
            items.extend(more);
            cursor = match answer.get("next") {
                Some(Json::String(next)) => Some(next.clone()),
                Some(Json::Number(next)) => Some(next.to_string()),
                _ => return Ok(serde_json::json!({ "items": items, "next": null })),
            };
        }
    }

    pub(super) async fn post(&self, segments: &[&str], body: &Json, headers: HeaderMap) -> Result<Json, Error> {
        self.answer(self.request(Method::POST, self.url(segments)).json(body).headers(headers)).await
    }

    pub(super) async fn post_query(
        &self,
        segments: &[&str],
        query: &[(&str, &str)],
        body: &Json,
    ) -> Result<Json, Error> {
        let mut url = self.url(segments);
        url.query_pairs_mut().extend_pairs(query);
        self.answer(self.request(Method::POST, url).json(body)).await
    }

    pub(super) async fn put(&self, segments: &[&str], body: &Json) -> Result<Json, Error> {
        self.answer(self.request(Method::PUT, self.url(segments)).json(body)).await
    }

    pub(super) async fn delete(&self, segments: &[&str], query: &[(&str, &str)]) -> Result<Json, Error> {
        let mut url = self.url(segments);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.answer(self.request(Method::DELETE, url)).await
    }

    /// Sends a pack's archive.
    pub(super) async fn install(&self, archive: Vec<u8>) -> Result<Json, Error> {
        let request = self.request(Method::POST, self.url(&["packs"])).timeout(INSTALL);
        self.answer(request.header(CONTENT_TYPE, media_type(&archive)).body(archive)).await
    }

    /// Opens a stream of events; there is none (204) when everything was told already.
    pub(super) async fn events(&self, segments: &[&str], after: Option<&str>) -> Result<Option<Response>, Error> {
        let mut request = self.http.get(self.url(segments)).header(ACCEPT, "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let response = self.checked(request).await?;
        Ok((response.status() != reqwest::StatusCode::NO_CONTENT).then_some(response))
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.http.request(method, url).timeout(ANSWER).header(ACCEPT, "application/json, application/problem+json")
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Json, Error> {
        let response = self.checked(request).await?;
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        match body.is_empty() {
            true => Ok(Json::Null),
            false => serde_json::from_slice(&body).map_err(|error| {
                Error::Failed(format!("read the server's answer: {error}; is {} an orchestrator?", self.server()))
            }),
        }
    }

    async fn checked(&self, request: RequestBuilder) -> Result<Response, Error> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let body = response.bytes().await.unwrap_or_default();
        Err(Error::Answered(Box::new(Problem::read(status.as_u16(), id, &body))))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        let mut text = format!("reach the server at {}: {}", self.server(), without_url(error));
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            text.push_str(&format!(": {inner}"));
            cause = inner.source();
        }
        text.push_str("\nis it running? name another one with --server URL or ORCHESTRATOR_SERVER");
        Error::Unreachable(text)
    }
}

/// How a list is asked for page by page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    /// The query parameter that takes `next`.
    cursor: &'static str,
    /// Whether it takes `limit`.
    limited: bool,
}

impl Page {
    /// Of a list that is always whole.
    pub(super) const WHOLE: Self = Self { cursor: "cursor", limited: false };
    /// Of a list that comes in pages.
    pub(super) const CURSOR: Self = Self { cursor: "cursor", limited: true };
    /// Of records, which are counted.
    pub(super) const RECORDS: Self = Self { cursor: "after", limited: true };
}

fn without_url(error: &reqwest::Error) -> &'static str {
    match error {
        error if error.is_timeout() => "it took too long",
        error if error.is_connect() => "it cannot be connected to",
        _ => "the exchange broke off",
    }
}

fn base_url(server: &str) -> Result<Url, Error> {
    let wrong =
        |reason: String| Error::Usage(format!("`{server}` is not a server's URL: {reason}; write `http://HOST:PORT`"));
    let url = Url::parse(server).map_err(|error| wrong(error.to_string()))?;
    match url.scheme() {
        "http" | "https" if url.query().is_none() && url.fragment().is_none() => Ok(url),
        "http" | "https" => Err(wrong("it has a query or a fragment".to_owned())),
        scheme => Err(wrong(format!("`{scheme}` is neither http nor https"))),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn without_certificates() -> rustls::ClientConfig {
    rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
}

fn media_type(archive: &[u8]) -> &'static str {
    match archive.starts_with(&[0x1f, 0x8b]) {
        true => "application/gzip",
        false => "application/zstd",
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers connections one after the other with these texts, and gives back the requests it got.
    async fn server(answers: Vec<&'static str>) -> (Client, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let requests = tokio::spawn(async move {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 65_536];
                let read = socket.read(&mut request).await.unwrap();
                requests.push(String::from_utf8_lossy(&request[..read]).into_owned());
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
            requests
        });
        (client, requests)
    }

    #[tokio::test]
    async fn names_are_encoded_into_the_path() {
        let (client, requests) =
            server(vec!["HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"]).await;
        client.get(&["services", "volume provision/ü?"], &[("status", "a b")]).await.unwrap();
        let requests = requests.await.unwrap();
        assert!(
            requests[0].starts_with("GET /v1/services/volume%20provision%2F%C3%BC%3F?status=a+b HTTP/1.1"),
            "{}",
            requests[0]
        );
    }

    #[tokio::test]
    async fn a_list_is_read_to_its_last_page() {
        let (client, requests) = server(vec![
            "HTTP/1.1 200 OK\r\ncontent-length: 28\r\nconnection: close\r\n\r\n{\"items\":[1,2],\"next\":\"abc\"}",
            "HTTP/1.1 200 OK\r\ncontent-length: 25\r\nconnection: close\r\n\r\n{\"items\":[3],\"next\":null}",
        ])
        .await;
        let all = client.all(&["packs"], &[], Page::WHOLE).await.unwrap();
        assert_eq!(all["items"], serde_json::json!([1, 2, 3]));
        assert!(requests.await.unwrap()[1].starts_with("GET /v1/packs?cursor=abc "));
    }

    #[tokio::test]
    async fn failures_are_sorted_by_who_has_to_act() {
        let (client, _) = server(vec![
            "HTTP/1.1 404 Not Found\r\nx-request-id: r-9\r\ncontent-length: 21\r\nconnection: close\r\n\r\n{\"title\":\"No service\"}",
            "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>",
        ])
        .await;
        let mut codes = Vec::new();
        for _ in 0..4 {
            codes.push(client.get(&["health"], &[]).await.unwrap_err().exit_code());
        }
        assert_eq!(codes, [4, 5, 1, 3]);
    }

    #[test]
    fn a_server_s_url_is_checked() {
        assert_eq!(Client::new("http://a:1/base/").unwrap().url(&["x"]).as_str(), "http://a:1/base/v1/x");
        for bad in ["", "a:1", "ftp://a", "http://a?x", "127.0.0.1:8080"] {
            assert_eq!(Client::new(bad).unwrap_err().exit_code(), 2, "{bad}");
        }
    }
}
