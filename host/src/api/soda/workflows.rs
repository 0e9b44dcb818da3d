//! Workflows at SODA: a map by `definition_source`, each with what StackStorm tells of an action.

use std::sync::Arc;

use axum::Json as Body;
use axum::extract::State;
use serde_json::{Map, json};

use super::form::{self, Names};
use super::offer::workflow_id;
use super::refusal::{Refusal, Refused};
use super::request::Here;
use crate::api::rooms::Rooms;
use crate::model::Json;
use crate::pack::WorkflowView;

/// What runs them.
const RUNNER: &str = "orchestrator";

/// Maps the workflows that there are.
#[utoipa::path(get, path = "/v1beta/orchestration/workflows", tag = "soda", operation_id = "soda_list_all_workflows",
    responses(
        (status = 200, description = "Workflows by `definition_source`.", body = Object,
            example = json!({ "opensds.provision-volume": { "ref": "opensds.provision-volume", "pack": "storage" } })),
        (status = 403, description = "The caller may not read.", body = Refused),
    ))]
pub async fn list_all_workflows(State(rooms): State<Arc<Rooms>>, _: Here) -> Result<Body<Json>, Refusal> {
    super::aside(move || Ok(Body(mapped(&rooms)))).await
}

/// Maps the workflows that there are.
#[utoipa::path(get, path = "/v1beta/{tenant}/orchestration/workflows", tag = "soda", operation_id = "soda_list_workflows",
    params(("tenant" = String, Path, description = "The tenant.")),
    responses(
        (status = 200, description = "Workflows by `definition_source`.", body = Object),
        (status = 403, description = "Not a tenant of the caller, or not allowed.", body = Refused),
    ))]
pub async fn list_workflows(State(rooms): State<Arc<Rooms>>, _: Here) -> Result<Body<Json>, Refusal> {
    super::aside(move || Ok(Body(mapped(&rooms)))).await
}

/// Shows one workflow.
#[utoipa::path(get, path = "/v1beta/{tenant}/orchestration/workflows/{id}", tag = "soda", operation_id = "soda_get_workflow",
    params(
        ("tenant" = String, Path, description = "The tenant."),
        ("id" = String, Path, description = "The workflow's `ref` or `id`.", example = "opensds.provision-volume"),
    ),
    responses(
        (status = 200, description = "The workflow.", body = Object),
        (status = 404, description = "`{}`: there is none.", body = Refused),
    ))]
pub async fn get_workflow(State(rooms): State<Arc<Rooms>>, here: Here) -> Result<Body<Json>, Refusal> {
    super::aside(move || {
        let Json::Object(all) = mapped(&rooms) else { return Err(Refusal::Nothing) };
        let is = |workflow: &Json| workflow["id"] == here.id.as_str() || workflow["ref"] == here.id.as_str();
        all.into_iter().map(|(_, workflow)| workflow).find(is).map(Body).ok_or(Refusal::Nothing)
    })
    .await
}

fn mapped(rooms: &Rooms) -> Json {
    let mut all = Map::new();
    for view in rooms.catalog.workflows() {
        let name = rooms.soda.settings().name_of(&view.pack, &view.name);
        let told = told(rooms, &name, &view);
        all.insert(name, told);
    }
    Json::Object(all)
}

fn told(rooms: &Rooms, name: &str, view: &WorkflowView) -> Json {
    let names = Names(rooms.soda.settings().source(name));
    let description = view.entry.summary.as_ref().or(view.entry.title.as_ref());
    json!({
        "ref": name,
        "name": view.name,
        "pack": view.pack,
        "version": view.version,
        "description": description.map(String::as_str).unwrap_or_default(),
        "parameters": form::form(view.entry.input.as_ref(), names),
        "runner_type": RUNNER,
        "entry_point": view.entry.path,
        "enabled": true,
        "id": workflow_id(&view.pack, &view.name),
        "uid": format!("action:{}:{}", view.pack, view.name),
        "tags": [],
        "notify": {},
    })
}
