//! The REST client. It turns every way a request can fail into an [`Error`]; it knows no command. How a server is reached
//! is in `connect`, what is asked after a refusal in `suggest`.

mod connect;
mod suggest;

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value as Json;
use url::Url;

use super::error::{Error, Problem};
use super::settings::Access;

pub(super) use connect::check_address;

/// The server where nothing else is said.
pub(super) const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";
/// How long an ordinary answer may take.
const ANSWER: Duration = Duration::from_secs(60);
/// How long an installation may take: a server compiles every component before it answers.
const INSTALL: Duration = Duration::from_secs(600);
/// Items asked for at once where all are wanted; the API's own limit.
const PAGE: usize = 200;
/// Items of one list that are kept at once, at most; more belong to a program that reads page by page.
const ITEMS_MAX: usize = 1_000_000;
/// So often a request that may be repeated is, when the server cannot be reached, and after so long each.
const REPEATS: (u32, Duration) = (30, Duration::from_secs(1));

/// A client of one server.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    /// What the server is called in messages.
    shown: String,
}

/// An answer as it came, whatever its status.
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Client {
    /// A client of this server.
    pub(super) fn new(access: &Access) -> Result<Self, Error> {
        connect::connect(access)
    }

    /// What the server is called.
    pub(super) fn server(&self) -> &str {
        &self.shown
    }

    /// The URL of a path below `/v1`, given as its segments, which are encoded here.
    pub(super) fn url(&self, segments: &[&str]) -> Url {
        let versioned: Vec<&str> = ["v1"].into_iter().chain(segments.iter().copied()).collect();
        self.root_url(&versioned)
    }

    /// The URL of a path, given as its segments.
    pub(super) fn root_url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    pub(super) async fn get(&self, segments: &[&str], query: &[(&str, &str)]) -> Result<Json, Error> {
        let answer = self.answer(self.request(Method::GET, self.asked(segments, query))).await;
        self.suggested(answer, segments, None).await
    }

    /// An answer that is text.
    pub(super) async fn text(&self, segments: &[&str]) -> Result<String, Error> {
        self.text_at(self.url(segments)).await
    }

    /// An answer that is text, from anywhere on the server.
    pub(super) async fn text_at(&self, url: Url) -> Result<String, Error> {
        let request = self.http.get(url).timeout(ANSWER);
        let response = self.checked(request.header(ACCEPT, "text/*, application/problem+json")).await?;
        response.text().await.map_err(|error| self.unreachable(&error))
    }

    /// Every item of a list, over all its pages.
    pub(super) async fn all(&self, segments: &[&str], query: &[(&str, &str)], page: Page) -> Result<Json, Error> {
        self.some(segments, query, page, None).await
    }

    /// The first items of a list, so many at most, and `next` where there are more.
    pub(super) async fn some(
        &self,
        segments: &[&str],
        query: &[(&str, &str)],
        page: Page,
        wanted: Option<usize>,
    ) -> Result<Json, Error> {
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let left = wanted.map_or(PAGE, |wanted| wanted.saturating_sub(items.len()).min(PAGE)).to_string();
            let mut query = query.to_vec();
            if page.limited {
                query.push(("limit", &left));
            }
            if let Some(cursor) = &cursor {
                query.retain(|(name, _)| *name != page.cursor);
                query.push((page.cursor, cursor));
            }
            let mut answer = self.get(segments, &query).await?;
            let Some(Json::Array(more)) = answer.get_mut("items").map(Json::take) else { return Ok(answer) };
            items.extend(more);
            cursor = match answer.get("next") {
                Some(Json::String(next)) => Some(next.clone()),
                Some(Json::Number(next)) => Some(next.to_string()),
                _ => None,
            };
            if cursor.is_none() || wanted.is_some_and(|wanted| items.len() >= wanted) {
                return Ok(serde_json::json!({ "items": items, "next": cursor }));
            }
            if items.len() >= ITEMS_MAX {
                let cure = "narrow it down by filters, or read it page by page with --limit and --cursor";
                return Err(Error::Failed(format!("the list has more than {ITEMS_MAX} items; {cure}")));
            }
        }
    }

    pub(super) async fn post(&self, segments: &[&str], body: &Json, headers: HeaderMap) -> Result<Json, Error> {
        let answer = self.answer(self.request(Method::POST, self.url(segments)).json(body).headers(headers)).await;
        self.suggested(answer, segments, Some(body)).await
    }

    /// Posts what the server takes once however often it comes: repeated while the server cannot be reached.
    pub(super) async fn post_surely(&self, segments: &[&str], body: &Json, headers: HeaderMap) -> Result<Json, Error> {
        let (repeats, pause) = REPEATS;
        for _ in 0..repeats {
            match self.post(segments, body, headers.clone()).await {
                Err(Error::Unreachable(_)) => tokio::time::sleep(pause).await,
                answer => return answer,
            }
        }
        self.post(segments, body, headers).await
    }

    pub(super) async fn post_query(
        &self,
        segments: &[&str],
        query: &[(&str, &str)],
        body: &Json,
    ) -> Result<Json, Error> {
        self.answer(self.request(Method::POST, self.asked(segments, query)).json(body)).await
    }

    pub(super) async fn put(&self, segments: &[&str], body: &Json) -> Result<Json, Error> {
        let answer = self.answer(self.request(Method::PUT, self.url(segments)).json(body)).await;
        self.suggested(answer, segments, None).await
    }

    /// Changes some members (RFC 7396).
    pub(super) async fn patch(&self, segments: &[&str], body: &Json) -> Result<Json, Error> {
        let request = self.request(Method::PATCH, self.url(segments));
        let request = request.header(CONTENT_TYPE, "application/merge-patch+json").body(body.to_string());
        let answer = self.answer(request).await;
        self.suggested(answer, segments, None).await
    }

    pub(super) async fn delete(&self, segments: &[&str], query: &[(&str, &str)]) -> Result<Json, Error> {
        let answer = self.answer(self.request(Method::DELETE, self.asked(segments, query))).await;
        self.suggested(answer, segments, None).await
    }

    /// Sends a pack's archive.
    pub(super) async fn install(&self, archive: Vec<u8>) -> Result<Json, Error> {
        let request = self.request(Method::POST, self.url(&["packs"])).timeout(INSTALL);
        self.answer(request.header(CONTENT_TYPE, media_type(&archive)).body(archive)).await
    }

    /// Sends a body of a media type of its own.
    pub(super) async fn post_as(&self, segments: &[&str], media_type: &str, body: String) -> Result<Json, Error> {
        let request = self.request(Method::POST, self.url(segments)).header(CONTENT_TYPE, media_type);
        self.answer(request.body(body)).await
    }

    /// Opens a stream of events; there is none (204) when everything was told already.
    pub(super) async fn events(&self, url: Url, after: Option<&str>) -> Result<Option<Response>, Error> {
        let mut request = self.http.get(url).header(ACCEPT, "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let response = self.checked(request).await?;
        Ok((response.status() != StatusCode::NO_CONTENT).then_some(response))
    }

    /// Sends any request and gives its answer as it is.
    pub(super) async fn send(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, Error> {
        let mut request = self.http.request(method, url).timeout(ANSWER).headers(headers);
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?.to_vec();
        Ok(Answer { status, headers, body })
    }

    fn asked(&self, segments: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.url(segments);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
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
        // The layers in between only repeat each other; the first cause is the one to act on.
        let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
        if let Some(first) = causes.last() {
            text.push_str(&format!(": {first}"));
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
        let client = Client::new(&Access::to(&format!("http://{}", listener.local_addr().unwrap()))).unwrap();
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
}
