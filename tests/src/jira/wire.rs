//! What a double of a JSON service over HTTP needs: it keeps the requests, asks its world for the answer, and lets the
//! n-th request of a kind go wrong, before or after its effect.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Bytes of a request's body that are read.
const BODY_BYTES_MAX: usize = 1 << 20;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `GET`, …
    pub method: String,
    /// Decoded by segment.
    pub path: String,
    /// Decoded.
    pub query: Vec<(String, String)>,
    /// With names in lower case.
    pub headers: Vec<(String, String)>,
    /// JSON, or null when there was none.
    pub body: Value,
}

impl Seen {
    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// A parameter of the query.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// A response.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body, if there is one.
    pub body: Option<Value>,
    /// Headers beside the content type.
    pub headers: Vec<(&'static str, String)>,
}

impl Answer {
    /// A status without a body.
    pub fn status(status: u16) -> Self {
        Self { status, body: None, headers: Vec::new() }
    }

    /// A status with a body.
    pub fn json(status: u16, body: Value) -> Self {
        Self { status, body: Some(body), headers: Vec::new() }
    }

    /// The same answer with a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// What a double knows and how it answers.
pub trait World: Send + 'static {
    /// Answers a request and changes what it asks to change.
    fn answer(&mut self, seen: &Seen) -> Answer;

    /// The service's own form of an error.
    fn trouble(&self, status: u16) -> Answer;
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// An error of the service with this status.
    Status(u16),
    /// No answer, ever.
    Hang,
    /// The connection breaks before the answer is complete.
    Drop,
    /// The right answer, late.
    Slow(Duration),
}

/// Something that goes wrong with one request.
#[derive(Debug, Clone)]
pub struct Fault {
    method: String,
    /// A part of the path.
    path: String,
    /// Counts down with every request that fits; strikes at 1.
    nth: u32,
    times: u32,
    after_effect: bool,
    kind: Trouble,
}

impl Fault {
    /// Trouble with the next request of this method to a path that contains this, before it has any effect.
    pub fn on(method: &str, path: &str, kind: Trouble) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), nth: 1, times: 1, after_effect: false, kind }
    }

    /// With the n-th such request from now on, counted from 1.
    #[must_use]
    pub fn nth(self, nth: u32) -> Self {
        Self { nth, ..self }
    }

    /// With so many requests in a row.
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
        if self.times == 0 || self.method != seen.method || !seen.path.contains(&self.path) {
            return false;
        }
        if self.nth > 1 {
            self.nth -= 1;
            return false;
        }
        self.times -= 1;
        true
    }
}

struct Shared<W> {
    world: W,
    requests: Vec<Seen>,
    faults: Vec<Fault>,
}

/// A running double. Dropping it stops it.
pub struct Double<W> {
    /// The address for a connection, without a slash at the end.
    pub url: String,
    shared: Arc<Mutex<Shared<W>>>,
    server: JoinHandle<()>,
}

impl<W: World> Double<W> {
    /// Starts one on a free port.
    pub async fn start(world: W) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on the loopback");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Mutex::new(Shared { world, requests: Vec::new(), faults: Vec::new() }));
        let app = axum::Router::new().fallback(serve::<W>).with_state(shared.clone());
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("a double stopped: {error}");
            }
        });
        Self { url: format!("http://{address}"), shared, server }
    }

    /// Arranges for trouble.
    pub fn fault(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// No more trouble.
    pub fn heal(&self) {
        self.lock().faults.clear();
    }

    /// The requests that arrived, in order.
    pub fn requests(&self) -> Vec<Seen> {
        self.lock().requests.clone()
    }

    /// The requests of this method to a path that contains this.
    pub fn requests_to(&self, method: &str, path: &str) -> Vec<Seen> {
        let fits = |seen: &Seen| seen.method == method && seen.path.contains(path);
        self.requests().into_iter().filter(fits).collect()
    }

    /// Looks at the world, or changes it as a person would.
    pub fn world<T>(&self, look: impl FnOnce(&mut W) -> T) -> T {
        look(&mut self.lock().world)
    }

    fn lock(&self) -> MutexGuard<'_, Shared<W>> {
        lock(&self.shared)
    }
}

impl<W> Drop for Double<W> {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock<W>(shared: &Mutex<Shared<W>>) -> MutexGuard<'_, Shared<W>> {
    shared.lock().expect("nothing panics while it holds the double's state")
}

async fn serve<W: World>(State(shared): State<Arc<Mutex<Shared<W>>>>, request: Request) -> Response {
    let seen = match read(request).await {
        Ok(seen) => seen,
        Err(()) => return StatusCode::BAD_REQUEST.into_response(),
    };
    let (answer, trouble) = lock(&shared).handle(seen);
    match trouble {
        Some(Trouble::Hang) => std::future::pending().await,
        Some(Trouble::Drop) => broken(),
        Some(Trouble::Slow(time)) => {
            // How long an answer takes is what is injected here.
            tokio::time::sleep(time).await;
            respond(answer)
        }
        None | Some(Trouble::Status(_)) => respond(answer),
    }
}

impl<W: World> Shared<W> {
    fn handle(&mut self, seen: Seen) -> (Answer, Option<Trouble>) {
        let struck = self.faults.iter_mut().find_map(|fault| fault.strikes(&seen).then(|| fault.clone()));
        let late = matches!(&struck, Some(fault) if matches!(fault.kind, Trouble::Slow(_)) || fault.after_effect);
        let mut answer = match &struck {
            Some(_) if !late => Answer::status(500),
            _ => self.world.answer(&seen),
        };
        if let Some(Fault { kind: Trouble::Status(status), .. }) = struck {
            answer = self.world.trouble(status);
        }
        self.requests.push(seen);
        (answer, struck.map(|fault| fault.kind))
    }
}

async fn read(request: Request) -> Result<Seen, ()> {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, BODY_BYTES_MAX).await.map_err(drop)?;
    let body = match bytes.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&bytes).map_err(drop)?,
    };
    let path = percent_encoding::percent_decode_str(parts.uri.path()).decode_utf8_lossy().into_owned();
    let query = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Ok(Seen {
        method: parts.method.to_string(),
        path,
        query: query.into_owned().collect(),
        headers: parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body,
    })
}

fn respond(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).expect("the double answers with valid statuses");
    let mut response = match answer.body {
        None => status.into_response(),
        Some(body) => (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response(),
    };
    for (name, value) in answer.headers {
        let value = HeaderValue::from_str(&value).expect("the double's headers are plain text");
        response.headers_mut().insert(name, value);
    }
    response
}

/// A response that promises more than it sends: the client sees the connection break.
fn broken() -> Response {
    let some = stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"{")) });
    let some = some.map(|piece| piece.map_err(|never| match never {}));
    let end = stream::once(async { Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)) });
    let mut response = Body::from_stream(some.chain(end)).into_response();
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("4096"));
    response
}
