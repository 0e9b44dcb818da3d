//! What can be done with an instance, which SODA's own server never had: cancel, pause, resume, retry, run again. Each
//! answers with the instance.

use std::sync::Arc;

use axum::Json as Body;
use axum::extract::State;
use serde_json::Map;

use super::form::Names;
use super::instances::{self, Services, show, started, steered};
use super::parameters;
use super::refusal::{Refusal, Refused};
use super::request::{Here, Optional, text_of};
use crate::api::extract::IdempotencyKey;
use crate::api::problem::Problem;
use crate::api::reruns::{self, NewRun};
use crate::api::rooms::Rooms;
use crate::coordinator::view::InstanceSummary;
use crate::coordinator::{InstanceError, Start};
use crate::model::{Json, Permission};

/// Cancels an instance.
#[utoipa::path(post, path = "/v1beta/{tenant}/orchestration/instances/{id}/cancel", tag = "soda",
    operation_id = "soda_cancel_instance",
    params(("tenant" = String, Path, description = "The tenant."), ("id" = String, Path, description = "The instance.")),
    responses(
        (status = 200, description = "Asked for, durably; the instance as it stands.", body = Object),
        (status = 404, description = "`{}`: there is none.", body = Refused),
        (status = 409, description = "It has ended.", body = Refused),
    ))]
pub async fn cancel_instance(State(rooms): State<Arc<Rooms>>, here: Here) -> Result<Body<Json>, Refusal> {
    let id = steered(&rooms, &here)?.id;
    let done = rooms.coordinator.cancel(id, Some(here.principal.subject.clone())).await;
    after(&rooms, &here, done)
}

/// Pauses an instance: what runs ends, nothing new begins.
#[utoipa::path(post, path = "/v1beta/{tenant}/orchestration/instances/{id}/pause", tag = "soda",
    operation_id = "soda_pause_instance",
    params(("tenant" = String, Path, description = "The tenant."), ("id" = String, Path, description = "The instance.")),
    responses(
        (status = 200, description = "Paused, durably; its `state` is `suspended`.", body = Object),
        (status = 404, description = "`{}`: there is none.", body = Refused),
        (status = 409, description = "It has ended.", body = Refused),
    ))]
pub async fn pause_instance(State(rooms): State<Arc<Rooms>>, here: Here) -> Result<Body<Json>, Refusal> {
    let id = steered(&rooms, &here)?.id;
    let done = rooms.coordinator.suspend(id, Some(here.principal.subject.clone())).await;
    after(&rooms, &here, done)
}

/// Lets a paused instance go on.
#[utoipa::path(post, path = "/v1beta/{tenant}/orchestration/instances/{id}/resume", tag = "soda",
    operation_id = "soda_resume_instance",
    params(("tenant" = String, Path, description = "The tenant."), ("id" = String, Path, description = "The instance.")),
    responses(
        (status = 200, description = "It goes on.", body = Object),
        (status = 404, description = "`{}`: there is none.", body = Refused),
        (status = 409, description = "It has ended, or cannot be taken up.", body = Refused),
    ))]
pub async fn resume_instance(State(rooms): State<Arc<Rooms>>, here: Here) -> Result<Body<Json>, Refusal> {
    let id = steered(&rooms, &here)?.id;
    let done = rooms.coordinator.resume(id, Some(here.principal.subject.clone())).await;
    after(&rooms, &here, done)
}

/// Lets a failed instance go on from the task that failed.
#[utoipa::path(post, path = "/v1beta/{tenant}/orchestration/instances/{id}/retry", tag = "soda",
    operation_id = "soda_retry_instance",
    params(("tenant" = String, Path, description = "The tenant."), ("id" = String, Path, description = "The instance.")),
    responses(
        (status = 200, description = "It goes on.", body = Object),
        (status = 404, description = "`{}`: there is none.", body = Refused),
        (status = 409, description = "It has not failed.", body = Refused),
    ))]
pub async fn retry_instance(State(rooms): State<Arc<Rooms>>, here: Here) -> Result<Body<Json>, Refusal> {
    let id = steered(&rooms, &here)?.id;
    let done = rooms.coordinator.retry(id, Some(here.principal.subject.clone())).await;
    after(&rooms, &here, done)
}

/// Starts a new instance like this one; `parameters` replace single ones.
#[utoipa::path(post, path = "/v1beta/{tenant}/orchestration/instances/{id}/rerun", tag = "soda",
    operation_id = "soda_rerun_instance",
    params(
        ("tenant" = String, Path, description = "The tenant."),
        ("id" = String, Path, description = "The instance."),
        ("Idempotency-Key" = Option<String>, Header, description = "As for a start."),
    ),
    request_body(content = Option<Object>, description = "`name`, `parameters`; both may be left out, and the body too.",
        example = json!({ "name": "once more", "parameters": { "size": 20 } })),
    responses(
        (status = 200, description = "The new instance; `rerun_of` names this one.", body = Object),
        (status = 400, description = "The parameters do not fit.", body = Refused),
        (status = 404, description = "`{}`: there is none.", body = Refused),
        (status = 409, description = "The service is switched off or its workflow is not there.", body = Refused),
    ))]
pub async fn rerun_instance(
    State(rooms): State<Arc<Rooms>>,
    here: Here,
    IdempotencyKey(key): IdempotencyKey,
    Optional(said): Optional,
) -> Result<Body<Json>, Refusal> {
    super::require(&here, Permission::Order)?;
    let before = instances::visible(&rooms, &here)?;
    let action = rooms.soda.settings().name_of(&before.pack, &before.workflow);
    let names = Names(rooms.soda.settings().source(&action));
    let mut note = rooms.coordinator.notes().get(before.id).map_err(Problem::store)?;
    let asked = NewRun::with(changed(&rooms, &before, &said, names), text_of(&said, "name"));
    let id = before.id;
    (note.name, note.updated_at) = (None, None);
    let start = reruns::again(&rooms, &here.principal, before, asked, key);
    let start = start.map(|start| Start { note: Some(note), ..start });
    let summary = started(&rooms, start, names).await?;
    let mut shown = show(&rooms, &here, &summary, &mut Services::default())?;
    shown["rerun_of"] = id.to_string().into();
    Ok(Body(shown))
}

/// The members of the input that are to be different.
fn changed(rooms: &Rooms, before: &InstanceSummary, said: &Map<String, Json>, names: Names<'_>) -> Map<String, Json> {
    let Some(Json::Object(given)) = said.get("parameters") else { return Map::new() };
    let pack = rooms.catalog.get(&before.pack, &before.pack_version);
    let schema = pack.and_then(|pack| pack.workflows.get(&before.workflow)?.input.clone());
    parameters::take(given, schema.as_ref(), names).input
}

fn after(rooms: &Rooms, here: &Here, done: Result<(), InstanceError>) -> Result<Body<Json>, Refusal> {
    done.map_err(Problem::from)?;
    let summary = instances::visible(rooms, here)?;
    show(rooms, here, &summary, &mut Services::default()).map(Body)
}
