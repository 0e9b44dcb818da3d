//! Packs: install, list, show, remove.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{InPath, InQuery, read, require_media_type};
use super::list::List;
use super::problem::{Fault, Problem};
use super::rooms::Rooms;
use crate::definition::Diagnostic;
use crate::model::{Effect, PackName};
use crate::pack::Pack;
use crate::pack::manifest::Action;

/// An archive's bytes, at most; with the bound on installations at once it is also a bound on memory.
const ARCHIVE_BYTES_MAX: usize = 128 << 20;

/// How long an archive may take to arrive: 128 MiB on a slow line.
const ARCHIVE_SECONDS_MAX: Duration = Duration::from_secs(300);

/// What an archive may be called. A type is asked for, because a page of another site can send a body without one.
const ARCHIVE_TYPES: [&str; 5] =
    ["application/octet-stream", "application/zstd", "application/gzip", "application/x-gzip", "application/x-zstd"];

/// An installed version of a pack at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PackSummary {
    /// The pack's name.
    #[schema(example = "storage")]
    name: String,
    /// The version.
    #[schema(example = "1.0.0")]
    version: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// The digest over all its files.
    digest: String,
    /// The bytes of all its files.
    bytes: u64,
    /// When it was installed.
    #[schema(format = DateTime)]
    installed_at: String,
    /// The services it brings.
    services: Vec<String>,
    /// Its workflows.
    workflows: Vec<String>,
}

/// An installed version of a pack.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PackView {
    /// The pack at a glance.
    #[serde(flatten)]
    summary: PackSummary,
    /// The world its components are built for.
    #[schema(example = "orchestrator:pack/action@0.1")]
    world: String,
    /// The connections it asks for, each with what it leads to.
    connections: BTreeMap<String, String>,
    /// The secrets whose bytes it asks for, each with what it opens.
    secrets: BTreeMap<String, String>,
    /// The hosts that its actions ask to reach by absolute URL.
    hosts: Vec<String>,
    /// Its actions.
    actions: BTreeMap<String, ActionView>,
    /// The packs whose actions its workflows call, as `name@version`.
    requires: Vec<String>,
}

/// An action of a pack.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionView {
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// What may be done when it is unknown whether a call took effect: `idempotent`, `resumable` or `once`.
    #[schema(value_type = String, example = "idempotent")]
    effect: Effect,
    /// How long one attempt may take, ISO 8601.
    #[schema(example = "PT30S")]
    timeout: String,
    /// The connections it uses, of those the pack asks for.
    connections: Vec<String>,
    /// The secrets whose bytes it reads.
    secrets: Vec<String>,
    /// The hosts it reaches by absolute URL.
    hosts: Vec<String>,
    /// Whether it posts to the server's own notifications.
    inbox: bool,
    /// Whether it can tell later if a call took effect.
    probe: bool,
    /// Whether it can take back what a call did.
    undo: bool,
}

/// The installed versions of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PackVersions {
    /// The pack's name.
    name: String,
    /// The version that is started and ordered where none is asked for.
    latest: String,
    /// All versions, lowest first.
    versions: Vec<PackSummary>,
}

/// A pack that is installed now.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Installed {
    /// The pack.
    #[serde(flatten)]
    pack: PackView,
    /// What is probably not meant in it.
    warnings: Vec<Fault>,
}

/// Whether to remove a pack that is in use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Removal {
    /// Remove it although instances or other packs use it; they fault at their next call.
    #[serde(default)]
    #[param(default = false)]
    force: bool,
}

/// Lists every installed version of every pack.
#[utoipa::path(get, path = "/v1/packs", tag = "packs", responses(
    (status = 200, description = "All packs, by name and version.", body = List<PackSummary>),
))]
pub async fn list_packs(State(rooms): State<Arc<Rooms>>) -> Json<List<PackSummary>> {
    Json(List::whole(rooms.catalog.list().iter().map(|pack| PackSummary::of(pack))))
}

/// Installs a pack: checks everything, then compiles its components. Installing the same content again changes nothing.
#[utoipa::path(post, path = "/v1/packs", tag = "packs",
    request_body(content = Vec<u8>, content_type = "application/octet-stream",
        description = "A `.tar.zst` or `.tar.gz`, at most 128 MiB."),
    responses(
        (status = 201, description = "Installed.", body = Installed,
            headers(("Location" = String, description = "The pack's path."))),
        (status = 200, description = "The very same pack was installed already.", body = Installed),
        (status = 409, description = "`pack-conflict`: this version has other content, or a service is another pack's."),
        (status = 413, description = "`body-too-large`: above 128 MiB."),
        (status = 415, description = "`unsupported-media-type`."),
        (status = 422, description = "`invalid-pack`: `errors` has file, line, column and cure of each."),
        (status = 503, description = "`busy`: two packs are being installed."),
    ))]
pub async fn install_pack(
    State(rooms): State<Arc<Rooms>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    require_media_type(&headers, &ARCHIVE_TYPES)?;
    let _place = rooms.install()?;
    let archive = read(body, ARCHIVE_BYTES_MAX, ARCHIVE_SECONDS_MAX).await?;
    let installation = rooms.catalog.install_archive(archive).await?;
    let pack = PackView::of(&installation.pack);
    let location = format!("/v1/packs/{}/{}", pack.summary.name, pack.summary.version);
    let location = HeaderValue::try_from(location).map_err(Problem::internal)?;
    let status = if installation.created { StatusCode::CREATED } else { StatusCode::OK };
    let warnings = installation.warnings.iter().map(fault).collect();
    Ok((status, [(header::LOCATION, location)], Json(Installed { pack, warnings })).into_response())
}

/// Lists the installed versions of a pack.
#[utoipa::path(get, path = "/v1/packs/{name}", tag = "packs",
    params(("name" = String, Path, description = "The pack's name.")),
    responses(
        (status = 200, description = "Its versions.", body = PackVersions),
        (status = 404, description = "`unknown-pack`."),
    ))]
pub async fn get_pack(
    State(rooms): State<Arc<Rooms>>,
    InPath(name): InPath<PackName>,
) -> Result<Json<PackVersions>, Problem> {
    let latest = rooms.catalog.latest(&name).ok_or_else(|| Problem::unknown_pack(&name))?;
    let versions = rooms.catalog.versions(&name).iter().map(|pack| PackSummary::of(pack)).collect();
    Ok(Json(PackVersions { name: name.to_string(), latest: latest.manifest.version.to_string(), versions }))
}

/// Shows a version of a pack.
#[utoipa::path(get, path = "/v1/packs/{name}/{version}", tag = "packs",
    params(
        ("name" = String, Path, description = "The pack's name."),
        ("version" = String, Path, description = "The version.", example = "1.0.0"),
    ),
    responses(
        (status = 200, description = "The pack.", body = PackView),
        (status = 404, description = "`unknown-pack`."),
    ))]
pub async fn get_pack_version(
    State(rooms): State<Arc<Rooms>>,
    InPath((name, version)): InPath<(PackName, semver::Version)>,
) -> Result<Json<PackView>, Problem> {
    let pack = rooms.catalog.get(&name, &version);
    let pack = pack.ok_or_else(|| Problem::unknown_pack(format!("{name} {version}")))?;
    Ok(Json(PackView::of(&pack)))
}

/// Removes a version of a pack.
#[utoipa::path(delete, path = "/v1/packs/{name}/{version}", tag = "packs",
    params(
        ("name" = String, Path, description = "The pack's name."),
        ("version" = String, Path, description = "The version.", example = "1.0.0"),
        Removal,
    ),
    responses(
        (status = 204, description = "Removed."),
        (status = 404, description = "`unknown-pack`."),
        (status = 409, description = "`pack-in-use`: by instances that have not ended, or by another pack."),
    ))]
pub async fn remove_pack(
    State(rooms): State<Arc<Rooms>>,
    InPath((name, version)): InPath<(PackName, semver::Version)>,
    InQuery(removal): InQuery<Removal>,
) -> Result<StatusCode, Problem> {
    let in_use = |name: &PackName, version: &semver::Version| rooms.coordinator.in_use(name, version);
    rooms.catalog.remove(&name, &version, removal.force, in_use).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl PackSummary {
    fn of(pack: &Pack) -> Self {
        let manifest = &pack.manifest;
        Self {
            name: manifest.name.to_string(),
            version: manifest.version.to_string(),
            description: manifest.description.clone(),
            digest: pack.digest.to_string(),
            bytes: pack.bytes,
            installed_at: pack.installed_at.to_string(),
            services: manifest.services.iter().map(|service| service.name.to_string()).collect(),
            workflows: texts(pack.workflows.keys()),
        }
    }
}

impl PackView {
    fn of(pack: &Pack) -> Self {
        let manifest = &pack.manifest;
        let connections = manifest.connections.iter();
        let secrets = manifest.secrets.iter();
        let mut hosts: Vec<_> = manifest.actions.values().flat_map(|action| texts(&action.uses.hosts)).collect();
        hosts.sort();
        hosts.dedup();
        Self {
            summary: PackSummary::of(pack),
            world: manifest.world.clone(),
            connections: connections.map(|(name, asked)| (name.to_string(), asked.description.clone())).collect(),
            secrets: secrets.map(|(name, asked)| (name.to_string(), asked.description.clone())).collect(),
            hosts,
            actions: manifest.actions.iter().map(|(name, action)| (name.to_string(), ActionView::of(action))).collect(),
            requires: pack.requires.iter().map(|pack| format!("{}@{}", pack.name, pack.version)).collect(),
        }
    }
}

impl ActionView {
    fn of(action: &Action) -> Self {
        Self {
            description: action.description.clone(),
            effect: action.effect,
            timeout: action.timeout.to_string(),
            connections: texts(&action.uses.connections),
            secrets: texts(&action.uses.secrets),
            hosts: texts(&action.uses.hosts),
            inbox: action.uses.inbox,
            probe: action.probe,
            undo: action.undo,
        }
    }
}

fn texts<T: ToString>(names: impl IntoIterator<Item = T>) -> Vec<String> {
    names.into_iter().map(|name| name.to_string()).collect()
}

/// A finding in a pack, with its place.
pub fn fault(finding: &Diagnostic) -> Fault {
    Fault {
        pointer: None,
        file: Some(finding.path.clone()),
        line: Some(finding.line.into()),
        column: Some(finding.column.into()),
        code: Some(finding.code.to_owned()),
        message: finding.message.clone(),
        cure: finding.cure.clone(),
    }
}
