//! Workflows: what can be started directly.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{InPath, InQuery};
use super::list::List;
use super::problem::{Kind, Problem};
use super::rooms::{Rooms, aside};
use crate::model::{Json as Data, PackName, WorkflowName};
use crate::pack::catalog::WorkflowEntry;

/// A workflow that can be started.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Workflow)]
pub struct WorkflowItem {
    /// Its pack.
    #[schema(example = "storage")]
    pack: String,
    /// The pack's version.
    #[schema(example = "1.0.0")]
    version: String,
    /// Its name.
    #[schema(example = "provision-volume")]
    name: String,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    /// The digest of its text.
    digest: String,
    /// The JSON Schema of its input; absent: anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    input_schema: Option<Data>,
}

/// A workflow with its text.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct WorkflowText {
    /// The workflow.
    #[serde(flatten)]
    workflow: WorkflowItem,
    /// Its definition as its author wrote it.
    text: String,
}

/// Which version of the pack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OfVersion {
    /// The pack's version; by default the latest.
    #[param(value_type = Option<String>)]
    version: Option<semver::Version>,
}

impl OfVersion {
    /// The version, where one is asked for.
    pub fn version(&self) -> Option<&semver::Version> {
        self.version.as_ref()
    }
}

/// Lists the workflows of every pack's latest version.
#[utoipa::path(get, path = "/v1/workflows", tag = "catalogue", responses(
    (status = 200, description = "All workflows.", body = List<WorkflowItem>),
))]
pub async fn list_workflows(State(rooms): State<Arc<Rooms>>) -> Json<List<WorkflowItem>> {
    let item = |view: crate::pack::WorkflowView| item(&view.pack, &view.version, &view.name, view.entry);
    Json(List::whole(rooms.catalog.workflows().into_iter().map(item)))
}

/// Shows a workflow with its text.
#[utoipa::path(get, path = "/v1/workflows/{pack}/{workflow}", tag = "catalogue",
    params(
        ("pack" = String, Path, description = "The pack's name."),
        ("workflow" = String, Path, description = "The workflow's name."),
        OfVersion,
    ),
    responses(
        (status = 200, description = "The workflow.", body = WorkflowText),
        (status = 404, description = "`unknown-pack` or `unknown-workflow`."),
        (status = 409, description = "`workflow-not-at-hand`: it can no longer be read or compiled."),
    ))]
pub async fn get_workflow(
    State(rooms): State<Arc<Rooms>>,
    InPath((pack, name)): InPath<(PackName, WorkflowName)>,
    InQuery(of): InQuery<OfVersion>,
) -> Result<Json<WorkflowText>, Problem> {
    let installed = match &of.version {
        Some(version) => rooms.catalog.get(&pack, version),
        None => rooms.catalog.latest(&pack),
    };
    let installed = installed.ok_or_else(|| Problem::unknown_pack(&pack))?;
    let entry = installed.workflows.get(&name).cloned();
    let entry =
        entry.ok_or_else(|| Problem::new(Kind::UnknownWorkflow, format!("pack `{pack}` has no such workflow")))?;
    let version = installed.manifest.version.clone();
    let workflow = item(&pack, &version, &name, entry);
    let text = aside(move || rooms.catalog.workflow(&pack, Some(&version), &name).map(|found| found.text.to_string()));
    Ok(Json(WorkflowText { workflow, text: text.await? }))
}

fn item(pack: &PackName, version: &semver::Version, name: &WorkflowName, entry: WorkflowEntry) -> WorkflowItem {
    WorkflowItem {
        pack: pack.to_string(),
        version: version.to_string(),
        name: name.to_string(),
        title: entry.title,
        summary: entry.summary,
        digest: entry.digest.to_string(),
        input_schema: entry.input,
    }
}
