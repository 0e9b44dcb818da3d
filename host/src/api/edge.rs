//! The one layer around all routes: request identifiers, refusal of requests meant for other hosts or sent by other sites'
//! pages, panics turned into problems, problems turned into documents, one log line per request. It reads no body.

use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;

use super::caller::RequestId;
use super::cors;
use super::front::Settings;
use super::problem::{Kind, MEDIA_TYPE, Problem};
use super::soda::refusal::Asked;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request identifier's characters, at most: room for a UUID with a prefix, and the log stays readable.
const REQUEST_ID_CHARACTERS_MAX: usize = 64;

/// What the layer knows.
#[derive(Debug)]
pub struct Edge {
    settings: Settings,
    /// Tells the identifiers of this run from those of another.
    run: u32,
    requests: AtomicU64,
}

/// Which `Host` headers are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hosts {
    /// Loopback names and addresses, and these names (lower case, without port). A page that rebinds its own name to
    /// 127.0.0.1 is refused.
    LoopbackAnd(Vec<String>),
    /// Any: the server listens to the network under names it does not know.
    Any,
}

impl Edge {
    /// A layer with these settings.
    pub fn new(settings: impl Into<Settings>) -> Arc<Self> {
        Arc::new(Self { settings: settings.into(), run: rand::random(), requests: AtomicU64::new(0) })
    }

    /// The caller's identifier where it is a plain word, else a new one.
    fn request_id(&self, headers: &HeaderMap) -> HeaderValue {
        match headers.get(REQUEST_ID) {
            Some(value) if is_plain(value.as_bytes()) => value.clone(),
            _ => {
                let number = self.requests.fetch_add(1, Ordering::Relaxed);
                let text = format!("{:08x}-{number:x}", self.run);
                HeaderValue::from_str(&text).expect("hexadecimal digits and a hyphen are a valid header value")
            }
        }
    }

    fn admit(&self, request: &Request) -> Result<(), Problem> {
        let host = host_of(request);
        if !self.settings.hosts.answers(host.as_deref()) {
            return Err(misdirected(host.as_deref()));
        }
        match origin_of(request.headers()) {
            Some(origin) if Some(&origin) == authority_of(request).as_ref() => Ok(()),
            Some(_) if !cors::admits(&self.settings.origins, request.headers()) => Err(cross_origin()),
            _ => Ok(()),
        }
    }
}

impl Hosts {
    fn answers(&self, host: Option<&str>) -> bool {
        match (self, host) {
            (Self::Any, _) => true,
            (Self::LoopbackAnd(_), None) => false,
            (Self::LoopbackAnd(names), Some(host)) => is_loopback(host) || names.iter().any(|name| name == host),
        }
    }
}

fn is_plain(text: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    (1..=REQUEST_ID_CHARACTERS_MAX).contains(&text.len()) && text.iter().all(plain)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.octets()[0] == Ipv4Addr::LOCALHOST.octets()[0],
        Ok(IpAddr::V6(address)) => address.is_loopback(),
        Err(_) => host == "localhost",
    }
}

/// The authority a request is for: of the target where it has one (RFC 9112, 3.2.2), else of `Host`.
fn authority_of(request: &Request) -> Option<Authority> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.clone());
    }
    let mut values = request.headers().get_all(header::HOST).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    Authority::try_from(value.as_bytes()).ok()
}

fn host_of(request: &Request) -> Option<String> {
    authority_of(request).map(|authority| authority.host().to_ascii_lowercase())
}

/// The authority of the page that sent the request; a page without one (`null`) gives one that equals none.
fn origin_of(headers: &HeaderMap) -> Option<Authority> {
    let origin = headers.get(header::ORIGIN)?.to_str().unwrap_or_default();
    let authority =
        origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")).unwrap_or("null.invalid");
    Some(authority.parse().unwrap_or(Authority::from_static("null.invalid")))
}

fn misdirected(host: Option<&str>) -> Problem {
    let cure = match host {
        Some(host) => format!(
            "this server does not answer for the host `{host}`: use `localhost` or start the server \
             with `--allow-host {host}`"
        ),
        None => "send one valid `Host` header, such as `Host: localhost`".to_owned(),
    };
    Problem::new(Kind::MisdirectedRequest, cure)
}

fn cross_origin() -> Problem {
    Problem::new(
        Kind::CrossOrigin,
        "the request's `Origin` is another site; call the API from a program, or start the server with `--cors-origin` and \
         that origin",
    )
}

/// The layer itself.
pub async fn edge(State(edge): State<Arc<Edge>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = edge.request_id(request.headers());
    let id = request_id.to_str().unwrap_or_default().to_owned();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    request.extensions_mut().insert(RequestId(id.as_str().into()));
    let of_soda = Asked::of(&request);
    let admitted = edge.admit(&request);
    let is_foreign = admitted.is_ok() && cors::admits(&edge.settings.origins, request.headers());
    let origin = request.headers().get(header::ORIGIN).filter(|_| is_foreign).cloned();
    let response = match (admitted, cors::preflight(&method, request.headers()).filter(|_| is_foreign)) {
        (Err(problem), _) => problem.into_response(),
        (Ok(()), Some(answer)) => answer,
        (Ok(()), None) => caught(next.run(request)).await,
    };
    let mut response = documented(response, of_soda, uri.path(), &id);
    cors::allow(origin.as_ref(), &mut response);
    let (status, elapsed_us) = (response.status().as_u16(), started.elapsed().as_micros() as u64);
    tracing::debug!(request_id = id, %method, path = uri.path(), status, elapsed_us, "answered");
    response.headers_mut().insert(REQUEST_ID, request_id);
    response
}

async fn caught(handling: impl Future<Output = Response>) -> Response {
    // Handlers share only handles whose invariants no panic of a handler can break.
    match AssertUnwindSafe(handling).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
            Problem::internal(format!("a handler panicked: {text}")).into_response()
        }
    }
}

/// Gives an error response its problem document, or what SODA has in its place.
fn documented(mut response: Response, of_soda: Option<Asked>, path: &str, request_id: &str) -> Response {
    let carried = response.extensions_mut().remove::<Problem>();
    let is_bare = is_bare_error(&response) && !(of_soda.is_some() && is_json(&response));
    let bare = || is_bare.then(|| Problem::of_bare(&response));
    let Some(problem) = carried.or_else(bare) else { return response };
    if problem.kind.status().is_server_error() {
        let cause = problem.cause.as_deref().unwrap_or(&problem.detail);
        tracing::error!(
            request_id,
            path,
            problem = problem.kind.name(),
            cause,
            "answered with a problem of the server"
        );
    }
    let told = match of_soda {
        Some(asked) => asked.tell(problem),
        None => problem.render(path, request_id),
    };
    with_headers_of(response, told)
}

/// The answer, with what the layers within said in headers, such as what is left of a quota; what was said of the body is of
/// another one now.
fn with_headers_of(before: Response, mut told: Response) -> Response {
    const OF_BODY: [HeaderName; 3] = [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::ETAG];
    for (name, value) in before.headers() {
        if !OF_BODY.contains(name) && !told.headers().contains_key(name) {
            told.headers_mut().insert(name.clone(), value.clone());
        }
    }
    told
}

fn is_json(response: &Response) -> bool {
    response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json")
}

fn is_bare_error(response: &Response) -> bool {
    let status = response.status();
    let is_document = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == MEDIA_TYPE);
    (status.is_client_error() || status.is_server_error()) && !is_document
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request {
        let mut builder = Request::builder().uri("/v1/packs");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(Body::empty()).unwrap()
    }

    fn admitted(hosts: &Hosts, headers: &[(&str, &str)]) -> Result<(), Kind> {
        Edge::new(hosts.clone()).admit(&request(headers)).map_err(|problem| problem.kind)
    }

    #[test]
    fn a_rebound_name_is_refused_and_loopback_is_not() {
        let hosts = Hosts::LoopbackAnd(vec!["orchestrator.example".to_owned()]);
        let good = ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.8.9.1", "[::1]:80", "Orchestrator.example:8080"];
        for host in good {
            assert_eq!(admitted(&hosts, &[("host", host)]), Ok(()), "{host}");
        }
        let bad = ["evil.example", "localhost.evil.example", "10.0.0.1", "[::2]", "127.0.0.1.evil.example", "", "a b"];
        for host in bad {
            assert_eq!(admitted(&hosts, &[("host", host)]), Err(Kind::MisdirectedRequest), "{host}");
            assert_eq!(admitted(&Hosts::Any, &[("host", host)]), Ok(()), "{host}");
        }
        let twice = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(admitted(&hosts, &twice), Err(Kind::MisdirectedRequest));
        assert_eq!(admitted(&hosts, &[]), Err(Kind::MisdirectedRequest));
    }

    #[test]
    fn a_page_of_another_site_is_refused() {
        for hosts in [Hosts::Any, Hosts::LoopbackAnd(Vec::new())] {
            let from = |origin| admitted(&hosts, &[("host", "localhost:8080"), ("origin", origin)]);
            assert_eq!(from("http://localhost:8080"), Ok(()));
            for origin in ["https://evil.example", "http://localhost:3000", "null", "", "file://"] {
                assert_eq!(from(origin), Err(Kind::CrossOrigin), "{origin}");
            }
        }
    }

    #[test]
    fn a_request_identifier_is_kept_only_where_it_is_a_plain_word() {
        let edge = Edge::new(Hosts::Any);
        let id = |value: &str| edge.request_id(request(&[("x-request-id", value)]).headers());
        assert_eq!(id("a-B_9.x"), "a-B_9.x");
        for bad in ["", "a b", "a\"b", &"x".repeat(65)] {
            let made = id(bad);
            assert!(made != bad && is_plain(made.as_bytes()), "{bad}");
        }
        assert_ne!(id(""), id(""));
    }

    async fn answer(router: axum::Router, request: Request) -> (axum::http::Response<()>, serde_json::Value) {
        let (head, body) = tower::ServiceExt::oneshot(router, request).await.unwrap().into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        (axum::http::Response::from_parts(head, ()), serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_that_names_the_request_and_not_the_cause() {
        async fn breaks() -> &'static str {
            panic!("the key is hunter2")
        }
        let layer = axum::middleware::from_fn_with_state(Edge::new(Hosts::Any), edge);
        let router = axum::Router::new().route("/v1/packs", axum::routing::get(breaks)).layer(layer);
        let (head, document) = answer(router, request(&[("x-request-id", "r-1")])).await;
        assert_eq!((head.status().as_u16(), &head.headers()["x-request-id"]), (500, &HeaderValue::from_static("r-1")));
        assert_eq!((&document["requestId"], &document["type"]), (&"r-1".into(), &"/problems/internal".into()));
        assert!(!document.to_string().contains("hunter2"), "{document}");
    }

    #[tokio::test]
    async fn an_error_without_a_document_gets_one() {
        let layer = axum::middleware::from_fn_with_state(Edge::new(Hosts::Any), edge);
        let bare = axum::http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let router = axum::Router::new().route("/v1/packs", axum::routing::get(async move || bare)).layer(layer);
        let (head, document) = answer(router, request(&[])).await;
        assert_eq!(head.headers()["content-type"], MEDIA_TYPE);
        assert_eq!((&document["status"], &document["instance"]), (&415.into(), &"/v1/packs".into()));
    }
}
