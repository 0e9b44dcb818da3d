//! The server itself: whether it is well, which version it is, what its problem types mean.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::InPath;
use super::problem::{self, Kind, Problem};
use super::rooms::Rooms;
use crate::door::Figures;

/// Whether the server takes work, and how busy it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Always `ok`: a server that takes no work answers with a problem.
    #[schema(example = "ok")]
    pub status: String,
    /// Instances that have not ended, the suspended ones left out.
    pub instances_live: u64,
    /// Instances that cannot be taken up.
    pub instances_suspended: u64,
    /// Instances started since the server was.
    pub instances_started: u64,
    /// Instances ended since the server was started.
    pub instances_ended: u64,
    /// Attempts that run at the moment.
    pub attempts_running: u64,
    /// Batches the store committed since the server was started.
    pub journal_commits: u64,
    /// Times the store made commits durable since the server was started; many commits share one.
    pub journal_syncs: u64,
    /// Until when the server's certificate is valid, where it speaks TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub certificate_expires: Option<Timestamp>,
}

/// Which server this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// The program's version.
    #[schema(example = "0.1.0")]
    pub version: String,
    /// The interface's version: the first part of its paths.
    #[schema(example = "v1")]
    pub api: String,
    /// The formats of `pack.yaml` it reads.
    pub pack_formats: Vec<u64>,
    /// Whether requests are authenticated: `required`, or `none` where whoever reaches the server may do everything.
    #[schema(example = "required")]
    pub authentication: String,
    /// The worlds a pack's components may be built for.
    #[schema(example = json!(["orchestrator:pack/action@0.1"]))]
    pub worlds: Vec<String>,
}

/// Tells whether the server takes work.
#[utoipa::path(get, path = "/v1/health", tag = "server", responses(
    (status = 200, description = "The server takes work.", body = Health),
    (status = 503, description = "It takes none: `stopping` or `store-unavailable`."),
))]
pub async fn get_health(State(rooms): State<Arc<Rooms>>) -> Result<Json<Health>, Problem> {
    check_ready(&rooms)?;
    let counters = rooms.coordinator.counters();
    Ok(Json(Health {
        status: "ok".to_owned(),
        instances_live: counters.live as u64,
        instances_suspended: counters.suspended as u64,
        instances_started: counters.started,
        instances_ended: counters.ended.total(),
        attempts_running: counters.attempts_running as u64,
        journal_commits: counters.journal.commits,
        journal_syncs: counters.journal.syncs,
        certificate_expires: rooms.metrics.door().and_then(Figures::certificate_expires),
    }))
}

/// What a probe is told where all is well.
pub(super) const WELL: &str = "ok\n";

fn check_live(rooms: &Rooms) -> Result<(), Problem> {
    match rooms.coordinator.closed() {
        // A server that stops is closed as well, and lives.
        Some(reason) if !rooms.stopping.is_cancelled() => Err(Problem::store(reason)),
        _ => Ok(()),
    }
}

fn check_ready(rooms: &Rooms) -> Result<(), Problem> {
    if rooms.stopping.is_cancelled() {
        return Err(Problem::stopping());
    }
    check_live(rooms)
}

/// Tells whether the server is alive; where it is not, it must be started again.
#[utoipa::path(get, path = "/livez", tag = "server", responses(
    (status = 200, description = "It is, though perhaps not ready.", body = String, content_type = "text/plain"),
    (status = 503, description = "It cannot go on without a new start: `store-unavailable`."),
))]
pub async fn get_livez(State(rooms): State<Arc<Rooms>>) -> Result<&'static str, Problem> {
    check_live(&rooms).map(|()| WELL)
}

/// Tells whether the server is ready for requests.
#[utoipa::path(get, path = "/readyz", tag = "server", responses(
    (status = 200, description = "It is.", body = String, content_type = "text/plain"),
    (status = 503, description = "It starts (`busy`), stops (`stopping`), or cannot go on (`store-unavailable`)."),
))]
pub async fn get_readyz(State(rooms): State<Arc<Rooms>>) -> Result<&'static str, Problem> {
    check_ready(&rooms).map(|()| WELL)
}

/// Tells which version the server is.
#[utoipa::path(get, path = "/v1/version", tag = "server", responses(
    (status = 200, description = "The versions.", body = Version),
))]
pub async fn get_version(State(rooms): State<Arc<Rooms>>) -> Json<Version> {
    Json(Version {
        authentication: if rooms.identity.is_required() { "required" } else { "none" }.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api: "v1".to_owned(),
        pack_formats: crate::pack::manifest::FORMATS.to_vec(),
        worlds: crate::pack::manifest::WORLDS.map(str::to_owned).to_vec(),
    })
}

/// Explains a problem type.
#[utoipa::path(get, path = "/problems/{name}", tag = "server",
    params(("name" = String, Path, description = "The last segment of a problem's `type`.", example = "unknown-instance")),
    responses(
        (status = 200, description = "What it means and what to do.", body = String, content_type = "text/markdown"),
        (status = 404, description = "`unknown-problem`."),
    ))]
pub async fn get_problem(InPath(name): InPath<String>) -> Result<impl IntoResponse, Problem> {
    let unknown = || Problem::new(Kind::UnknownProblem, "take the `type` of a problem document as it is");
    let text = problem::description(&name).ok_or_else(unknown)?;
    Ok(([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], format!("# {text}")))
}
