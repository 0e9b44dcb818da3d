//! What the doubles of JSON interfaces have in common: a server on a free port, the requests that arrived, and trouble
//! that a test arranges for. What a request comes to is the double's own [`Scene`].

use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Bytes of a request's body that are read; the interfaces' own bodies are far smaller.
const BODY_BYTES_MAX: usize = 1 << 20;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `GET`, …
    pub method: String,
    /// As sent, still percent-encoded.
    pub path: String,
    /// Decoded.
    pub query: Vec<(String, String)>,
    /// The `Authorization` header; empty when there was none.
    pub authorization: String,
    /// JSON, or null when there was none.
    pub body: Value,
}

impl Seen {
    /// The first parameter of this name.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What a request is answered with.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body; nothing for none.
    pub body: Option<Vec<u8>>,
    /// Its media type.
    pub media_type: &'static str,
}

impl Answer {
    /// A status without a body.
    pub fn status(status: u16) -> Self {
        Self { status, body: None, media_type: "application/json" }
    }

    /// A status with a JSON body.
    pub fn json(status: u16, body: &Value) -> Self {
        Self { status, body: Some(body.to_string().into_bytes()), media_type: "application/json; charset=utf-8" }
    }
}

/// The state behind a double.
pub trait Scene: Send + 'static {
    /// Has the request's effect and answers it.
    fn answer(&mut self, seen: &Seen) -> Answer;

    /// The double's own answer for trouble of this status.
    fn trouble(&self, status: u16) -> Answer {
        Answer::status(status)
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// This status.
    Status(u16),
    /// No answer, ever.
    Hang,
    /// The connection breaks before the answer is complete.
    Drop,
}

/// Something that goes wrong with one request, or with several.
#[derive(Debug, Clone)]
pub struct Fault {
    method: String,
    path: String,
    times: u32,
    after_effect: bool,
    kind: Trouble,
}

impl Fault {
    /// Trouble with the next request of this method to a path that begins like this, before it has any effect.
    pub fn on(method: &str, path: &str, kind: Trouble) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), times: 1, after_effect: false, kind }
    }

    /// With so many of them, one after another.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    /// After the request has had its effect: only the answer is lost.
    #[must_use]
    pub fn after_effect(self) -> Self {
        Self { after_effect: true, ..self }
    }

    fn strikes(&mut self, seen: &Seen) -> bool {
        let strikes = self.times > 0 && self.method == seen.method && seen.path.starts_with(&self.path);
        self.times -= u32::from(strikes);
        strikes
    }
}

/// A running double. Dropping it stops it.
pub struct Stage<S> {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    shared: Arc<Mutex<Shared<S>>>,
    server: JoinHandle<()>,
}

struct Shared<S> {
    scene: S,
    requests: Vec<Seen>,
    faults: Vec<Fault>,
}

impl<S: Scene> Stage<S> {
    /// Starts a double on a free port.
    pub async fn start(scene: S) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on the loopback");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Mutex::new(Shared { scene, requests: Vec::new(), faults: Vec::new() }));
        let app = axum::Router::new().fallback(serve::<S>).with_state(shared.clone());
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("a double stopped: {error}");
            }
        });
        Self { url: format!("http://{address}"), shared, server }
    }

    /// Arranges for trouble.
    pub fn fault(&self, fault: Fault) {
        lock(&self.shared).faults.push(fault);
    }

    /// The requests that arrived, in order.
    pub fn requests(&self) -> Vec<Seen> {
        lock(&self.shared).requests.clone()
    }

    /// How many requests of this method to a path that begins like this arrived.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let shared = lock(&self.shared);
        shared.requests.iter().filter(|seen| seen.method == method && seen.path.starts_with(path)).count()
    }

    /// Looks at the scene, or changes it.
    pub fn with<T>(&self, look: impl FnOnce(&mut S) -> T) -> T {
        look(&mut lock(&self.shared).scene)
    }
}

impl<S> Drop for Stage<S> {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock<S>(shared: &Mutex<Shared<S>>) -> MutexGuard<'_, Shared<S>> {
    shared.lock().expect("nothing panics while it holds the double's state")
}

async fn serve<S: Scene>(State(shared): State<Arc<Mutex<Shared<S>>>>, request: Request) -> Response {
    let seen = match read(request).await {
        Ok(seen) => seen,
        Err(message) => return (StatusCode::BAD_REQUEST, message).into_response(),
    };
    let (answer, trouble) = lock(&shared).handle(seen);
    match trouble {
        None | Some(Trouble::Status(_)) => respond(answer),
        Some(Trouble::Hang) => std::future::pending().await,
        Some(Trouble::Drop) => broken(),
    }
}

impl<S: Scene> Shared<S> {
    fn handle(&mut self, seen: Seen) -> (Answer, Option<Trouble>) {
        let struck = self.faults.iter_mut().find_map(|fault| fault.strikes(&seen).then(|| fault.clone()));
        let answer = match &struck {
            Some(fault) if !fault.after_effect => Answer::status(500),
            _ => self.scene.answer(&seen),
        };
        self.requests.push(seen);
        match struck.map(|fault| fault.kind) {
            Some(Trouble::Status(status)) => (self.scene.trouble(status), Some(Trouble::Status(status))),
            kind => (answer, kind),
        }
    }
}

async fn read(request: Request) -> Result<Seen, String> {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, BODY_BYTES_MAX).await.map_err(|error| error.to_string())?;
    let body = match bytes.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&bytes).map_err(|error| format!("invalid character: {error}"))?,
    };
    let query = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    Ok(Seen {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: query.into_owned().collect(),
        authorization: authorization(&parts.headers),
        body,
    })
}

fn authorization(headers: &HeaderMap) -> String {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

fn respond(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).expect("a double answers with valid statuses");
    match answer.body {
        None => status.into_response(),
        Some(body) => (status, [(header::CONTENT_TYPE, answer.media_type)], body).into_response(),
    }
}

/// A response that promises more than it sends: the client sees the connection break.
fn broken() -> Response {
    let pieces = stream::iter([
        Ok::<_, std::io::Error>(Bytes::from_static(b"{")),
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
    ]);
    let mut response = Body::from_stream(pieces).into_response();
    response.headers_mut().insert(header::CONTENT_LENGTH, header::HeaderValue::from_static("4096"));
    response
}
