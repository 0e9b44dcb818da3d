//! A double of the notifications backend of Backstage: creating by a service's token under both paths, groups that expand
//! to their members, scopes, the refusals with their bodies, and the reading side by a user's token. Faults are in the
//! hands of the test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::published::Document;

/// The token of a service, as `backend.auth.externalAccess` has it.
pub const SERVICE_TOKEN: &str = "backstage-service-token";

/// The token of a signed-in user, who may read and not create.
pub const USER_TOKEN: &str = "backstage-user-token";

/// The user behind [`USER_TOKEN`].
pub const USER: &str = "user:default/ann";

/// Who the service's token stands for.
const ORIGIN: &str = "external:orchestrator";

/// Bytes of a request's body that are read.
const BODY_BYTES_MAX: usize = 1 << 20;

/// A running double. Dropping it stops it.
pub struct Backstage {
    /// The base URL, without a slash at the end.
    pub url: String,
    world: Arc<Mutex<World>>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct World {
    groups: BTreeMap<String, Vec<String>>,
    rows: Vec<Value>,
    faults: Vec<Trouble>,
    requests: Vec<Value>,
    switched_off: Vec<String>,
    only_short_path: bool,
    next: u32,
}

/// What goes wrong with the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// This status, before it has any effect.
    Status(u16),
    /// No answer, after it has had its effect.
    HangAfterEffect,
    /// No answer and no effect.
    Hang,
}

/// How Backstage publishes its interface.
const PUBLISHED: Document = Document::BackstageNotifications;

impl Backstage {
    /// Starts one on a free port, with a group `group:default/ops` of ann and bob.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on the loopback");
        let address = listener.local_addr().expect("a bound listener has an address");
        let members = vec![USER.to_owned(), "user:default/bob".to_owned()];
        let groups = BTreeMap::from([("group:default/ops".to_owned(), members)]);
        let world = Arc::new(Mutex::new(World { groups, ..World::default() }));
        let app = axum::Router::new().fallback(serve).with_state(world.clone());
        let server =
            tokio::spawn(async move { axum::serve(listener, app).await.expect("a double serves until dropped") });
        Self { url: format!("http://{address}"), world, server }
    }

    /// Serves only `/api/notifications`, as older versions do.
    pub fn only_short_path(&self) {
        self.world().only_short_path = true;
    }

    /// This user has switched our notifications off.
    pub fn switch_off(&self, user: &str) {
        self.world().switched_off.push(user.to_owned());
    }

    /// Trouble with the next request.
    pub fn trouble(&self, trouble: Trouble) {
        self.world().faults.push(trouble);
    }

    /// The notifications kept, the oldest first.
    pub fn notifications(&self) -> Vec<Value> {
        self.world().rows.clone()
    }

    /// The bodies of the requests that were let in.
    pub fn requests(&self) -> Vec<Value> {
        self.world().requests.clone()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no holder of this lock panics")
    }
}

impl Drop for Backstage {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(State(world): State<Arc<Mutex<World>>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_else(|_| Bytes::new());
    let token = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
    let (answer, hangs) = {
        let mut world = world.lock().expect("no holder of this lock panics");
        let trouble = (!world.faults.is_empty()).then(|| world.faults.remove(0));
        match trouble {
            Some(Trouble::Status(status)) => (error(status, "InjectedError", "this was asked for"), false),
            Some(Trouble::Hang) => (json_answer(200, json!([])), true),
            trouble => {
                let answer = world.route(head.method.as_str(), head.uri.path(), token.as_deref(), &body);
                (answer, trouble == Some(Trouble::HangAfterEffect))
            }
        }
    };
    if hangs {
        std::future::pending::<()>().await;
    }
    answer
}

impl World {
    fn route(&mut self, method: &str, path: &str, token: Option<&str>, body: &[u8]) -> Response {
        let user = match token {
            Some(SERVICE_TOKEN) => None,
            Some(USER_TOKEN) => Some(USER),
            _ => return error(401, "AuthenticationError", "Missing credentials"),
        };
        let long = path == "/api/notifications/notifications" && !self.only_short_path;
        match (method, path, user) {
            ("POST", "/api/notifications", None) => self.create(body),
            ("POST", _, None) if long => self.create(body),
            ("POST", "/api/notifications" | "/api/notifications/notifications", Some(_)) => {
                error(403, "NotAllowedError", "This endpoint does not allow 'user' credentials")
            }
            ("GET", "/api/notifications", Some(user)) => self.list(user),
            ("GET", _, Some(user)) if long => self.list(user),
            _ => error(404, "NotFoundError", &format!("Not Found: {path}")),
        }
    }

    fn create(&mut self, body: &[u8]) -> Response {
        let Ok(asked) = serde_json::from_slice::<Value>(body) else {
            return error(400, "InputError", "Malformed request body");
        };
        self.requests.push(asked.clone());
        if let Some(misfit) = PUBLISHED.misfit("NotificationSendOptions", &asked) {
            return error(400, "InputError", &misfit);
        }
        if let Err(message) = check(&asked) {
            return error(400, "InputError", message);
        }
        let users = match asked["recipients"]["type"].as_str() {
            Some("broadcast") => vec![Value::Null],
            _ => self.resolve(&asked["recipients"]["entityRef"]),
        };
        let rows: Vec<_> = users.into_iter().map(|user| self.keep(&asked["payload"], user)).collect();
        json_answer(200, Value::Array(rows))
    }

    /// The users behind references: groups expand, and nobody comes twice.
    fn resolve(&self, references: &Value) -> Vec<Value> {
        let references = match references {
            Value::String(one) => vec![one.clone()],
            many => many.as_array().into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
        };
        let mut users: Vec<String> = Vec::new();
        for reference in references {
            let members = match self.groups.get(&reference) {
                Some(members) => members.clone(),
                None if reference.starts_with("user:") => vec![reference],
                None => Vec::new(),
            };
            users.extend(members);
        }
        users.sort();
        users.dedup();
        users.into_iter().filter(|user| !self.switched_off.contains(user)).map(Value::String).collect()
    }

    /// Makes a row, or updates the one of the same scope, user and origin, which is unread again.
    fn keep(&mut self, payload: &Value, user: Value) -> Value {
        let mut payload = payload.clone();
        if payload["severity"].is_null() {
            payload["severity"] = json!("normal");
        }
        let scope = payload["scope"].clone();
        let same = |row: &&mut Value| !scope.is_null() && row["payload"]["scope"] == scope && row["user"] == user;
        if let Some(row) = self.rows.iter_mut().find(same) {
            (row["payload"], row["read"], row["updated"]) = (payload, Value::Null, json!("2026-01-01T00:00:01.000Z"));
            return row.clone();
        }
        self.next += 1;
        let row = json!({
            "id": format!("00000000-0000-4000-8000-{:012}", self.next),
            "user": user, "created": "2026-01-01T00:00:00.000Z", "saved": null, "read": null, "updated": null,
            "origin": ORIGIN, "payload": payload,
        });
        let misfit = PUBLISHED.misfit("Notification", &row);
        assert!(misfit.is_none(), "the double answers as Backstage does: {misfit:?}");
        self.rows.push(row.clone());
        row
    }

    fn list(&self, user: &str) -> Response {
        let hers = |row: &&Value| row["user"].is_null() || row["user"] == user;
        let rows: Vec<_> = self.rows.iter().rev().filter(hers).cloned().collect();
        json_answer(200, json!({ "totalCount": rows.len(), "notifications": rows }))
    }
}

fn check(asked: &Value) -> Result<(), &'static str> {
    if asked["payload"]["title"].as_str().is_none_or(str::is_empty) {
        return Err("Invalid notification: missing title");
    }
    match asked["recipients"]["type"].as_str() {
        None if asked["recipients"].is_null() => return Err("Invalid notification: missing recipients"),
        Some("broadcast") => {}
        Some("entity") if !asked["recipients"]["entityRef"].is_null() => {}
        _ => return Err("Invalid recipients type, please use either 'broadcast' or 'entity'"),
    }
    let link = asked["payload"]["link"].as_str().unwrap_or("/");
    let relative = !link.contains("://") && !link.contains(':');
    match relative || link.starts_with("http://") || link.starts_with("https://") {
        true => Ok(()),
        false => Err("Only HTTP/HTTPS links are allowed"),
    }
}

fn error(status: u16, name: &str, message: &str) -> Response {
    let body = json!({
        "error": { "name": name, "message": message },
        "request": { "method": "POST", "url": "/api/notifications" },
        "response": { "statusCode": status },
    });
    let misfit = PUBLISHED.misfit("Error", &body);
    assert!(misfit.is_none(), "the double answers as Backstage does: {misfit:?}");
    json_answer(status, body)
}

fn json_answer(status: u16, body: Value) -> Response {
    let status = StatusCode::from_u16(status).expect("the double answers with valid statuses");
    (status, [(header::CONTENT_TYPE, "application/json; charset=utf-8")], body.to_string()).into_response()
}
