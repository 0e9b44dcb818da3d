//! A double of OpenStack's Keystone, as far as tokens are validated: a service user logs in by password and asks about
//! other people's tokens. Paths, headers and refusals are those of the Identity API v3.

use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The service user's name, its project's name, and its password.
pub const USER: &str = "orchestrator";
/// The password of the service user.
pub const PASSWORD: &str = "service-password";

/// A running double. Dropping it stops it.
pub struct Keystone {
    /// Its address with the version.
    pub url: String,
    state: Shared,
    server: JoinHandle<()>,
}

type Shared = Arc<Mutex<Tokens>>;

/// What it knows.
#[derive(Default)]
struct Tokens {
    /// Tokens of people: text, user, project, roles.
    people: Vec<(String, Value)>,
    /// The service user's token at hand.
    own: Option<String>,
    issued: u32,
    validated: usize,
}

impl Keystone {
    /// Starts a Keystone that knows nobody but the service user.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on the loopback");
        let url = format!("http://{}/v3", listener.local_addr().expect("a bound listener has an address"));
        let state = Shared::default();
        let app = Router::new().route("/v3/auth/tokens", post(log_in).get(validate)).with_state(state.clone());
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("a double stopped: {error}");
            }
        });
        Self { url, state, server }
    }

    /// Lets a person have a token in a project.
    pub fn give(&self, token: &str, user: &str, project: &str, roles: &[&str]) {
        let roles: Vec<_> = roles.iter().map(|name| json!({ "id": format!("r-{name}"), "name": name })).collect();
        let answer = json!({ "token": {
            "methods": ["password"], "user": { "id": user, "name": user, "domain": { "id": "default" } },
            "project": { "id": project, "name": project, "domain": { "id": "default" } },
            "roles": roles, "issued_at": "2026-01-01T00:00:00.000000Z", "expires_at": "2099-01-01T00:00:00.000000Z",
        }});
        lock(&self.state).people.push((token.to_owned(), answer));
    }

    /// Ends the service user's token, as time does.
    pub fn forget_own(&self) {
        lock(&self.state).own = None;
    }

    /// How often somebody asked about a token.
    pub fn validated(&self) -> usize {
        lock(&self.state).validated
    }
}

impl Drop for Keystone {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(state: &Shared) -> MutexGuard<'_, Tokens> {
    state.lock().expect("nothing panics while it holds the double's state")
}

fn refused(status: StatusCode, message: &str) -> Response {
    let body = json!({ "error": { "code": status.as_u16(), "title": status.canonical_reason(), "message": message } });
    (status, axum::Json(body)).into_response()
}

async fn log_in(State(state): State<Shared>, axum::Json(body): axum::Json<Value>) -> Response {
    let user = &body["auth"]["identity"]["password"]["user"];
    if (user["name"].as_str(), user["password"].as_str()) != (Some(USER), Some(PASSWORD)) {
        return refused(StatusCode::UNAUTHORIZED, "The request you have made requires authentication.");
    }
    let mut state = lock(&state);
    state.issued += 1;
    let token = format!("service-token-{}", state.issued);
    state.own = Some(token.clone());
    (StatusCode::CREATED, [("x-subject-token", token)], axum::Json(json!({ "token": {} }))).into_response()
}

async fn validate(State(state): State<Shared>, headers: HeaderMap) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut state = lock(&state);
    if header("x-auth-token").is_none() || header("x-auth-token") != state.own {
        return refused(StatusCode::UNAUTHORIZED, "The request you have made requires authentication.");
    }
    state.validated += 1;
    let asked = header("x-subject-token").unwrap_or_default();
    match state.people.iter().find(|(token, _)| *token == asked) {
        Some((_, answer)) => (StatusCode::OK, axum::Json(answer.clone())).into_response(),
        None => refused(StatusCode::NOT_FOUND, "Could not find token."),
    }
}
