//! A double of a SODA multi-cloud service (gelato): its JSON API (`/v1/{tenant}/…`: backends, plans, jobs) and the part of
//! its S3 API that shows buckets, with the same bodies, states, plain-text errors and gaps, and with every delay and fault
//! in the hands of the test.
//!
//! Objects are keys and lengths; no bytes are kept. It knows no policies, no updates and, as the real one, no way to
//! cancel a job.

mod world;

use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use world::Conduct;
use world::{Answer, Asked, World};

/// The tenant of the base URL.
pub const TENANT: &str = "94b280022d0c4401bcf3b0ea85870519";

/// The header that carries the token.
pub const TOKEN_HEADER: &str = "X-Auth-Token";

/// The one token that is right.
pub const TOKEN: &str = "multicloud-token";

/// Bytes of a request's body that are read; the API's own bodies are far smaller.
const BODY_BYTES_MAX: usize = 1 << 20;

/// A running double. Dropping it stops it.
pub struct Multicloud {
    /// The base URL of the JSON API, without a slash at the end.
    pub url: String,
    /// The base URL of the S3 API.
    pub s3_url: String,
    shared: Arc<Mutex<Shared>>,
    servers: [JoinHandle<()>; 2],
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
    /// Below the base URL.
    pub path: String,
    /// JSON, or null when there was none or it is something else.
    pub body: Value,
}

/// Something that goes wrong with one request.
#[derive(Debug, Clone)]
pub struct Fault {
    method: String,
    path: String,
    /// Counts down with every request that fits; strikes at 1.
    nth: u32,
    after_effect: bool,
    how: How,
}

/// How a fault shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Status(u16),
    Broken,
    Hangs,
}

impl Fault {
    /// Answers the next request of this method to a path that begins like this with a status, before it has any effect.
    pub fn status(method: &str, path: &str, status: u16) -> Self {
        let (method, path) = (method.to_owned(), path.to_owned());
        Self { method, path, nth: 1, after_effect: false, how: How::Status(status) }
    }

    /// Breaks the connection instead of answering.
    pub fn broken(method: &str, path: &str) -> Self {
        Self { how: How::Broken, ..Self::status(method, path, 0) }
    }

    /// Never answers.
    pub fn hanging(method: &str, path: &str) -> Self {
        Self { how: How::Hangs, ..Self::status(method, path, 0) }
    }

    /// After the request has had its effect: only the answer is lost.
    #[must_use]
    pub fn after_effect(self) -> Self {
        Self { after_effect: true, ..self }
    }

    fn strikes(&mut self, method: &str, path: &str) -> bool {
        if self.nth == 0 || self.method != method || !path.starts_with(&self.path) {
            return false;
        }
        self.nth -= 1;
        self.nth == 0
    }
}

impl Multicloud {
    /// Starts one whose jobs take a step at each look, on two free ports.
    pub async fn start() -> Self {
        let shared = Arc::new(Mutex::new(Shared { world: World::new(), requests: Vec::new(), faults: Vec::new() }));
        let (json, first) = listen(shared.clone(), Side::Json).await;
        let (s3, second) = listen(shared.clone(), Side::S3).await;
        Self { url: format!("{json}/v1/{TENANT}"), s3_url: s3, shared, servers: [first, second] }
    }

    /// Registers a backend.
    pub fn backend(&self, name: &str) {
        self.lock().world.add_backend(name, "ceph-s3");
    }

    /// Makes a bucket on a backend, with objects of these lengths under `object/0000`, ….
    pub fn bucket(&self, name: &str, backend: &str, lengths: &[u64]) {
        self.lock().world.add_bucket(name, backend, lengths);
    }

    /// Says how the next job behaves; several calls queue up.
    pub fn next_job(&self, conduct: Conduct) {
        self.lock().world.conducts.push_back(conduct);
    }

    /// Arranges for trouble.
    pub fn fault(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// The requests of this method to a path that begins like this.
    pub fn requests_to(&self, method: &str, path: &str) -> Vec<Seen> {
        let fits = |seen: &&Seen| seen.method == method && seen.path.starts_with(path);
        self.lock().requests.iter().filter(fits).cloned().collect()
    }

    /// The names of the plans that exist now.
    pub fn plans(&self) -> Vec<String> {
        self.lock().world.plan_names()
    }

    /// How many jobs were ever started.
    pub fn jobs_ever(&self) -> usize {
        self.lock().world.jobs_ever()
    }

    /// The backend of a bucket and how many objects are in it.
    pub fn look(&self, bucket: &str) -> Option<(String, usize)> {
        self.lock().world.look(bucket)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

impl Drop for Multicloud {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().expect("nothing panics while it holds the double's state")
}

#[derive(Clone, Copy)]
enum Side {
    Json,
    S3,
}

async fn listen(shared: Arc<Mutex<Shared>>, side: Side) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on the loopback");
    let address = listener.local_addr().expect("a bound listener has an address");
    let app = axum::Router::new().fallback(serve).with_state((shared, side));
    let server = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            eprintln!("the double of the multi-cloud service stopped: {error}");
        }
    });
    (format!("http://{address}"), server)
}

async fn serve(State((shared, side)): State<(Arc<Mutex<Shared>>, Side)>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else { return broken() };
    let query = parts.uri.query().unwrap_or_default();
    let query: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let allowed = match side {
        Side::Json => header(TOKEN_HEADER) == TOKEN,
        Side::S3 => header("authorization").starts_with("AWS4-HMAC-SHA256 "),
    };
    let path = match side {
        Side::Json => parts.uri.path().strip_prefix(&format!("/v1/{TENANT}")).unwrap_or_default().to_owned(),
        Side::S3 => parts.uri.path().to_owned(),
    };
    let asked = Asked { method: parts.method.as_str(), path: &path, query: &query, body: &bytes };
    let (answer, fault) = lock(&shared).handle(&asked, side, allowed);
    match fault.map(|fault| fault.how) {
        None => shown(answer),
        Some(How::Status(status)) => shown(Answer::text(status, "unexpected EOF")),
        Some(How::Broken) => broken(),
        Some(How::Hangs) => std::future::pending().await,
    }
}

impl Shared {
    fn handle(&mut self, asked: &Asked, side: Side, allowed: bool) -> (Answer, Option<Fault>) {
        let struck = self.faults.iter_mut().filter_map(|fault| {
            let strikes = fault.strikes(asked.method, asked.path);
            strikes.then(|| fault.clone())
        });
        let struck = struck.last();
        let answer = match (&struck, side) {
            (Some(fault), _) if !fault.after_effect => Answer::text(500, "never sent"),
            _ if !allowed => Answer::text(401, "Authentication required"),
            (_, Side::Json) => self.world.answer(asked),
            (_, Side::S3) => self.world.answer_s3(asked),
        };
        let body = serde_json::from_slice(asked.body).unwrap_or(Value::Null);
        self.requests.push(Seen { method: asked.method.to_owned(), path: asked.path.to_owned(), body });
        (answer, struck)
    }
}

fn shown(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).expect("the double answers with valid statuses");
    (status, [(header::CONTENT_TYPE, answer.kind)], answer.body).into_response()
}

/// A response that promises more than it sends: the client sees the connection break.
fn broken() -> Response {
    let failed = async { Err::<Vec<u8>, std::io::Error>(std::io::ErrorKind::ConnectionReset.into()) };
    let mut response = Body::from_stream(futures_util::stream::once(failed)).into_response();
    response.headers_mut().insert(header::CONTENT_LENGTH, header::HeaderValue::from_static("4096"));
    response
}
