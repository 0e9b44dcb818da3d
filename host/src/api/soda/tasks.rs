//! Tasks at SODA: what an execution did. An instance is its own execution, so that its identifier is all it takes.

use std::sync::Arc;

use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;

use super::instances;
use super::refusal::{Refusal, Refused, is_absent};
use super::request::{Asks, Here};
use super::view;
use crate::api::rooms::Rooms;
use crate::coordinator::InstanceError;
use crate::coordinator::view::{InstanceSummary, TaskView};
use crate::model::Json;

/// What is said of an execution whose tasks cannot be named.
const NO_TASKS: &str = "error getting tasks";

/// Tells how an execution went, with its tasks.
#[utoipa::path(get, path = "/v1beta/{tenant}/orchestration/tasks/{id}", tag = "soda", operation_id = "soda_get_task",
    params(("tenant" = String, Path, description = "The tenant."), ("id" = String, Path, description = "The instance.")),
    responses(
        (status = 200, description = "The execution.", body = Object,
            example = json!({ "id": "0199c1f0-0000-7000-8000-000000000000", "start": "2026-11-21T06:29:23Z",
                "end": "2026-11-21T06:29:41Z", "status": "succeeded", "published": { "volumeId": "v-1" }, "tasks": [] })),
        (status = 404, description = "`{\"response\": …}` or `\"error getting tasks\"`.", body = Refused),
    ))]
pub async fn get_task(State(rooms): State<Arc<Rooms>>, here: Here) -> Result<Body<Json>, Refusal> {
    super::aside(move || {
        let (summary, tasks) = tasks_of(&rooms, &here, &here.id)?;
        Ok(Body(view::execution(&summary, &tasks)))
    })
    .await
}

/// Lists the tasks of an instance.
#[utoipa::path(get, path = "/v1beta/{tenant}/orchestration/tasks", tag = "soda", operation_id = "soda_list_tasks",
    params(
        ("tenant" = String, Path, description = "The tenant."),
        ("instance" = Option<String>, Query, description = "The instance; required. `instance_id` means the same."),
    ),
    responses(
        (status = 200, description = "Its tasks in the order in which they were entered.", body = Vec<Object>),
        (status = 400, description = "No instance is named.", body = Refused),
        (status = 404, description = "`{\"response\": …}` or `\"error getting tasks\"`.", body = Refused),
    ))]
pub async fn list_tasks(State(rooms): State<Arc<Rooms>>, here: Here, asks: Asks) -> Result<Body<Vec<Json>>, Refusal> {
    let id = asks.text("instance").or_else(|| asks.text("instance_id")).map(str::to_owned);
    let id = id.ok_or_else(|| Refusal::text("required parameter instance is missing: /tasks?instance=ID"))?;
    super::aside(move || {
        let (_, tasks) = tasks_of(&rooms, &here, &id)?;
        Ok(Body(tasks.iter().map(view::task).collect()))
    })
    .await
}

fn tasks_of(rooms: &Rooms, here: &Here, id: &str) -> Result<(InstanceSummary, Vec<TaskView>), Refusal> {
    let summary = instances::instance(rooms, here, id).map_err(|refusal| match refusal {
        Refusal::Nothing => Refusal::no_execution(),
        other => other,
    })?;
    match rooms.coordinator.tasks(summary.id) {
        Ok(tasks) => Ok((summary, tasks)),
        Err(error) if is_absent(&error) => Err(Refusal::no_execution()),
        Err(InstanceError::NoProgram(..) | InstanceError::Damaged(..)) => {
            Err(Refusal::Text(StatusCode::NOT_FOUND, NO_TASKS.to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}
