//! A double of the SODA block API (hotpot, `/v1beta/{tenant}/block/…` and `/host/hosts`): the same paths, bodies, states,
//! refusals and error texts, with every delay and fault in the hands of the test.
//!
//! It has volumes (resize too), attachments and hosts; snapshots and profiles exist only as identifiers that a volume may
//! be made from. It keeps no token service: one fixed token is right.

mod rules;
mod world;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use world::{Answer, Asked, World};
pub use world::{Conduct, Pace};

/// The tenant of the base URL.
pub const TENANT: &str = "e93b4c0934da416eb9c8d120c5d04d96";

/// The header that carries the token.
pub const TOKEN_HEADER: &str = "X-Auth-Token";

/// The one token that is right.
pub const TOKEN: &str = "soda-token";

/// Bytes of a request's body that are read; the API's own bodies are far smaller.
const BODY_BYTES_MAX: usize = 1 << 20;

/// How long a change takes in most tests with [`Pace::After`]: long enough to be seen, short enough to wait for.
pub const MOMENT: Duration = Duration::from_millis(20);

/// A running double. Dropping it stops it.
pub struct Soda {
    /// The base URL for a connection: with `/v1beta/{tenant}`, without a slash at the end.
    pub url: String,
    shared: Arc<Mutex<Shared>>,
    server: JoinHandle<()>,
}

struct Shared {
    world: World,
    requests: Vec<Seen>,
    faults: Vec<Fault>,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `GET`, …
    pub method: String,
    /// Below the base URL: `/block/volumes`, …
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
}

/// Something that goes wrong with one request.
#[derive(Debug, Clone)]
pub struct Fault {
    method: String,
    path: String,
    /// Counts down with every request that fits; strikes at 1.
    nth: u32,
    after_effect: bool,
    kind: Trouble,
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
}

impl Fault {
    /// Trouble with the next request of this method to a path that begins like this, before it has any effect.
    pub fn on(method: &str, path: &str, kind: Trouble) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), nth: 1, after_effect: false, kind }
    }

    /// With the n-th such request from now on, counted from 1.
    #[must_use]
    pub fn nth(self, nth: u32) -> Self {
        Self { nth, ..self }
    }

    /// After the request has had its effect: only the answer is lost.
    #[must_use]
    pub fn after_effect(self) -> Self {
        Self { after_effect: true, ..self }
    }

    /// Whether it strikes this request.
    fn strikes(&mut self, asked: &Asked) -> bool {
        if self.nth == 0 || self.method != asked.method || !asked.path.starts_with(&self.path) {
            return false;
        }
        self.nth -= 1;
        self.nth == 0
    }
}

impl Soda {
    /// Starts one whose states advance at the second look at a resource.
    pub async fn start() -> Self {
        Self::start_with(Pace::Looks(2)).await
    }

    /// Starts one with another pace, on a free port.
    pub async fn start_with(pace: Pace) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on the loopback");
        let address = listener.local_addr().expect("a bound listener has an address");
        let world = World::new(pace);
        let shared = Arc::new(Mutex::new(Shared { world, requests: Vec::new(), faults: Vec::new() }));
        let app = axum::Router::new().fallback(serve).with_state(shared.clone());
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("the double of the block API stopped: {error}");
            }
        });
        Self { url: format!("http://{address}/v1beta/{TENANT}"), shared, server }
    }

    /// Registers a host in these availability zones and gives its identifier.
    pub fn host(&self, zones: &[&str]) -> String {
        self.lock().world.add_host(zones)
    }

    /// Makes a profile known.
    pub fn profile(&self, id: &str) {
        self.lock().world.add_profile(id);
    }

    /// Makes an available snapshot of this size in GB known.
    pub fn snapshot(&self, id: &str, size: u64) {
        self.lock().world.add_snapshot(id, size);
    }

    /// Says how the next volume that is asked for behaves; several calls queue up.
    pub fn next_volume(&self, conduct: Conduct) {
        self.lock().world.volume_conducts.push_back(conduct);
    }

    /// Says how the next attachment behaves. One that fails leaves its volume `available`.
    pub fn next_attachment(&self, conduct: Conduct) {
        self.lock().world.attachment_conducts.push_back(conduct);
    }

    /// Says how the next deletion of a volume behaves. One that fails leaves the volume in `errorDeleting`.
    pub fn next_deletion(&self, conduct: Conduct) {
        self.lock().world.deletion_conducts.push_back(conduct);
    }

    /// Arranges for trouble.
    pub fn fault(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// Ends every change under way, whatever the pace; what is stuck stays stuck.
    pub fn advance(&self) {
        self.lock().world.advance();
    }

    /// The requests that arrived, in order.
    pub fn requests(&self) -> Vec<Seen> {
        self.lock().requests.clone()
    }

    /// The requests of this method to a path that begins like this.
    pub fn requests_to(&self, method: &str, path: &str) -> Vec<Seen> {
        let fits = |seen: &Seen| seen.method == method && seen.path.starts_with(path);
        self.requests().into_iter().filter(fits).collect()
    }

    /// The volumes that exist now.
    pub fn volumes(&self) -> Vec<Value> {
        self.lock().world.volumes_shown()
    }

    /// The attachments that exist now.
    pub fn attachments(&self) -> Vec<Value> {
        self.lock().world.attachments_shown()
    }

    /// How many volumes were ever made.
    pub fn volumes_ever(&self) -> usize {
        self.lock().world.volumes_ever
    }

    /// How many attachments were ever made.
    pub fn attachments_ever(&self) -> usize {
        self.lock().world.attachments_ever
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

impl Drop for Soda {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().expect("nothing panics while it holds the double's state")
}

async fn serve(State(shared): State<Arc<Mutex<Shared>>>, request: Request) -> Response {
    let seen = match read(request).await {
        Ok(seen) => seen,
        Err(message) => return answer(Answer::fault(400, &message)),
    };
    let (response, trouble) = lock(&shared).handle(seen);
    match trouble {
        None => answer(response),
        Some(Trouble::Status(status)) => answer(Answer::fault(status, "the service is in trouble")),
        Some(Trouble::Hang) => std::future::pending().await,
        Some(Trouble::Drop) => broken(),
    }
}

impl Shared {
    fn handle(&mut self, seen: Seen) -> (Answer, Option<Trouble>) {
        let asked = Asked { method: &seen.method, path: &seen.path, query: &seen.query, body: &seen.body };
        let mut struck = None;
        for fault in &mut self.faults {
            if fault.strikes(&asked) {
                struck = Some(fault.clone());
            }
        }
        let answer = match &struck {
            Some(fault) if !fault.after_effect => Answer::fault(500, "never sent"),
            _ if seen.header(TOKEN_HEADER) != Some(TOKEN) => {
                Answer::fault(401, "The request you have made requires authentication.")
            }
            _ => self.world.answer(&asked),
        };
        self.requests.push(seen);
        (answer, struck.map(|fault| fault.kind))
    }
}

async fn read(request: Request) -> Result<Seen, String> {
    let (parts, body) = request.into_parts();
    let prefix = format!("/v1beta/{TENANT}");
    let path = parts.uri.path();
    let Some(path) = path.strip_prefix(&prefix) else { return Err(format!("no such path: {path}")) };
    let bytes = axum::body::to_bytes(body, BODY_BYTES_MAX).await.map_err(|e| e.to_string())?;
    let body = match bytes.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&bytes).map_err(|e| format!("parse the request body failed: {e}"))?,
    };
    let query = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Ok(Seen {
        method: parts.method.to_string(),
        path: path.to_owned(),
        query: query.into_owned().collect(),
        headers: parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body,
    })
}

fn answer(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).expect("the double answers with valid statuses");
    match answer.body {
        None => status.into_response(),
        Some(body) => {
            (status, [(header::CONTENT_TYPE, "application/json; charset=utf-8")], body.to_string()).into_response()
        }
    }
}

/// A response that promises more than it sends: the client sees the connection break.
fn broken() -> Response {
    let pieces = stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"{")) });
    let pieces = futures_util::StreamExt::chain(
        futures_util::StreamExt::map(pieces, |piece| piece.map_err(|never| match never {})),
        stream::once(async { Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)) }),
    );
    let mut response = Body::from_stream(pieces).into_response();
    response.headers_mut().insert(header::CONTENT_LENGTH, header::HeaderValue::from_static("4096"));
    response
}
