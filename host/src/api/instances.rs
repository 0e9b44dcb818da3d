//! Instances: start, get, cancel, delete. What happens inside one is in `tasks.rs` and `events.rs`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::SignedDuration;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::caller::Caller;
use super::extract::{IdempotencyKey, InJson, InPath, InQuery};
use super::problem::{Fault, Kind, Problem};
use super::rooms::Rooms;
use super::services::check_sees;
use crate::coordinator::view::InstanceSummary;
use crate::coordinator::{Start, StartError, Started};
use crate::model::{InstanceId, Json as Data, PackName, Principal, ServiceName, WorkflowName};

/// Seconds a request may wait for an instance's end: below the common limits of proxies.
const WAIT_SECONDS_MAX: u64 = 300;

/// Characters of an instance's name, at most: a line in a table.
const NAME_CHARACTERS_MAX: usize = 255;

/// What is to be started: `service` (and one of its workflows), or `pack` and `workflow`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewInstance {
    /// The service to order.
    #[schema(value_type = Option<String>, example = "volume provision")]
    pub service: Option<ServiceName>,
    /// The pack of the workflow to start.
    #[schema(value_type = Option<String>)]
    pub pack: Option<PackName>,
    /// The pack's version; by default the newest.
    #[schema(value_type = Option<String>)]
    pub version: Option<semver::Version>,
    /// The workflow to start; beside `service`, the name of one of its workflows, by default the first.
    #[schema(value_type = Option<String>)]
    pub workflow: Option<WorkflowName>,
    /// A name for people, at most 255 characters.
    pub name: Option<String>,
    /// The input; by default `{}`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub input: Data,
}

/// How long to wait for the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Wait {
    /// Seconds to wait for the instance's end, 0 to 300; it is answered as it stands then.
    #[param(minimum = 0, maximum = 300)]
    wait: Option<u64>,
}

/// Starts an instance. It exists, durably, when this is answered.
#[utoipa::path(post, path = "/v1/instances", tag = "instances",
    params(
        Wait,
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters. The same key with \
         the same body gives the instance that was started first."),
    ),
    request_body(content = NewInstance, examples(
        ("service" = (summary = "order a service", value = json!({"service": "volume provision", "input": {"sizeGib": 10}}))),
        ("choice" = (summary = "one of a service's workflows", value = json!({"service": "block storage",
            "workflow": "extend", "input": {"sizeGib": 20}}))),
        ("workflow" = (summary = "start a workflow", value = json!({"pack": "storage", "workflow": "provision-volume",
            "name": "first try", "input": {"sizeGib": 10}}))),
    )),
    responses(
        (status = 201, description = "Started.", body = InstanceSummary,
            headers(("Location" = String, description = "The instance's path."))),
        (status = 200, description = "Started earlier with the same `Idempotency-Key`.", body = InstanceSummary),
        (status = 404, description = "`unknown-service`, `unknown-pack` or `unknown-workflow`."),
        (status = 409, description = "`service-disabled`, or `workflow-not-at-hand`."),
        (status = 413, description = "`body-too-large`: above 1 MiB."),
        (status = 422, description = "`invalid-body`, `invalid-input` or `idempotency-key-reused`."),
    ))]
pub async fn start_instance(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InQuery(wait): InQuery<Wait>,
    IdempotencyKey(key): IdempotencyKey,
    InJson(asked): InJson<NewInstance>,
) -> Result<Response, Problem> {
    let wait = wait.duration()?;
    let start = start_of(&rooms, &caller, asked, key)?;
    let pack = start.pack.clone();
    let started = rooms.coordinator.start(start).await.map_err(|error| match error {
        StartError::NotFound(_) if rooms.catalog.latest(&pack).is_none() => Problem::unknown_pack(&pack),
        error => error.into(),
    })?;
    answer(&rooms, started, wait).await
}

/// The answer to a start: the instance, after a wait for its end.
pub(super) async fn answer(rooms: &Rooms, started: Started, wait: SignedDuration) -> Result<Response, Problem> {
    let Started { summary, replayed } = started;
    let summary = waited(rooms, summary, wait).await?;
    let status = if replayed { StatusCode::OK } else { StatusCode::CREATED };
    let location = HeaderValue::try_from(format!("/v1/instances/{}", summary.id)).map_err(Problem::internal)?;
    Ok((status, [(header::LOCATION, location)], Json(summary)).into_response())
}

/// Tells where an instance stands.
#[utoipa::path(get, path = "/v1/instances/{id}", tag = "instances",
    params(("id" = String, Path, format = "uuid", description = "The instance's identifier."), Wait),
    responses(
        (status = 200, description = "The instance.", body = InstanceSummary),
        (status = 404, description = "`unknown-instance`."),
    ))]
pub async fn get_instance(
    State(rooms): State<Arc<Rooms>>,
    InPath(id): InPath<InstanceId>,
    InQuery(wait): InQuery<Wait>,
) -> Result<Json<InstanceSummary>, Problem> {
    let wait = wait.duration()?;
    let summary = rooms.coordinator.instance(id)?;
    waited(&rooms, summary, wait).await.map(Json)
}

/// Asks for an instance's cancellation: running attempts are interrupted, nothing new starts.
#[utoipa::path(post, path = "/v1/instances/{id}/cancel", tag = "instances",
    params(("id" = String, Path, format = "uuid", description = "The instance's identifier.")),
    responses(
        (status = 202, description = "Asked for, durably; the instance as it stands.", body = InstanceSummary),
        (status = 404, description = "`unknown-instance`."),
        (status = 409, description = "`instance-ended`: there is nothing left to cancel; `instance-suspended`."),
    ))]
pub async fn cancel_instance(
    State(rooms): State<Arc<Rooms>>,
    InPath(id): InPath<InstanceId>,
) -> Result<(StatusCode, Json<InstanceSummary>), Problem> {
    rooms.coordinator.cancel(id, None).await?;
    Ok((StatusCode::ACCEPTED, Json(rooms.coordinator.instance(id)?)))
}

/// Suspends an instance: attempts that run end and what they give is kept, nothing new begins, and no time runs out until
/// it is resumed. One that is suspended stays so.
#[utoipa::path(post, path = "/v1/instances/{id}/suspend", tag = "instances",
    params(("id" = String, Path, format = "uuid", description = "The instance's identifier.")),
    responses(
        (status = 202, description = "Suspended, durably; the instance as it stands.", body = InstanceSummary),
        (status = 404, description = "`unknown-instance`."),
        (status = 409, description = "`instance-ended`; `instance-suspended`: it cannot be taken up."),
    ))]
pub async fn suspend_instance(
    State(rooms): State<Arc<Rooms>>,
    InPath(id): InPath<InstanceId>,
) -> Result<(StatusCode, Json<InstanceSummary>), Problem> {
    rooms.coordinator.suspend(id, None).await?;
    Ok((StatusCode::ACCEPTED, Json(rooms.coordinator.instance(id)?)))
}

/// Lets a suspended instance go on: what came meanwhile, and what time brought, takes effect now. One that could not be
/// taken up is tried again. One that is not suspended goes on as it does.
#[utoipa::path(post, path = "/v1/instances/{id}/resume", tag = "instances",
    params(("id" = String, Path, format = "uuid", description = "The instance's identifier.")),
    responses(
        (status = 202, description = "It goes on; the instance as it stands.", body = InstanceSummary),
        (status = 404, description = "`unknown-instance`."),
        (status = 409, description = "`instance-ended`; `instance-suspended`: it still cannot be taken up."),
    ))]
pub async fn resume_instance(
    State(rooms): State<Arc<Rooms>>,
    InPath(id): InPath<InstanceId>,
) -> Result<(StatusCode, Json<InstanceSummary>), Problem> {
    rooms.coordinator.resume(id, None).await?;
    Ok((StatusCode::ACCEPTED, Json(rooms.coordinator.instance(id)?)))
}

/// Lets a faulted instance go on from the task that failed, which begins anew; what was done before stays done. Limits do
/// not count the time in between.
#[utoipa::path(post, path = "/v1/instances/{id}/retry", tag = "instances",
    params(("id" = String, Path, format = "uuid", description = "The instance's identifier.")),
    responses(
        (status = 202, description = "It goes on; the instance as it stands.", body = InstanceSummary),
        (status = 404, description = "`unknown-instance`."),
        (status = 409, description = "`instance-not-retried`: it has not faulted, failed at no task, or another \
            instance runs it."),
    ))]
pub async fn retry_instance(
    State(rooms): State<Arc<Rooms>>,
    InPath(id): InPath<InstanceId>,
) -> Result<(StatusCode, Json<InstanceSummary>), Problem> {
    rooms.coordinator.retry(id, None).await?;
    Ok((StatusCode::ACCEPTED, Json(rooms.coordinator.instance(id)?)))
}

/// Deletes an ended instance with its history.
#[utoipa::path(delete, path = "/v1/instances/{id}", tag = "instances",
    params(("id" = String, Path, format = "uuid", description = "The instance's identifier.")),
    responses(
        (status = 204, description = "Deleted."),
        (status = 404, description = "`unknown-instance`."),
        (status = 409, description = "`instance-not-ended`: cancel it first."),
    ))]
pub async fn delete_instance(
    State(rooms): State<Arc<Rooms>>,
    InPath(id): InPath<InstanceId>,
) -> Result<StatusCode, Problem> {
    rooms.coordinator.delete(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a request to start means once its service is looked up.
pub(super) fn start_of(
    rooms: &Rooms,
    caller: &Principal,
    asked: NewInstance,
    idempotency_key: Option<String>,
) -> Result<Start, Problem> {
    check_name(asked.name.as_deref())?;
    let (tenant, created_by) = (caller.tenant.clone(), Some(caller.subject.clone()));
    let name = asked.name;
    let (rerun_of, given) = (None, asked.input);
    match (asked.service, asked.pack, asked.workflow) {
        (None, Some(pack), Some(workflow)) => {
            check_may_start(caller, &workflow)?;
            let (version, service, input) = (asked.version, None, given);
            let asked = None;
            let start = Start {
                pack,
                version,
                workflow,
                service,
                name,
                input,
                idempotency_key,
                tenant,
                created_by,
                rerun_of,
                asked,
                note: None,
            };
            Ok(start)
        }
        (Some(service), None, workflow) if asked.version.is_none() => {
            check_sees(caller, &service)?;
            let order = rooms.services.order(&tenant, &service, workflow.as_ref(), &given)?;
            Ok(Start {
                pack: order.pack,
                version: Some(order.version),
                workflow: order.workflow,
                service: Some(service),
                name,
                input: order.input,
                idempotency_key,
                tenant,
                created_by,
                rerun_of,
                asked: Some(as_asked(workflow, given)),
                note: None,
            })
        }
        _ => {
            let message = "give either `service` (and `workflow`, where it has several), or `pack` (with or without \
                           `version`) and `workflow`";
            Err(Problem::new(Kind::InvalidBody, message).with([Fault::at("", message)]))
        }
    }
}

/// What an idempotency key of an order stands for: its input, and the workflow where it names one.
fn as_asked(workflow: Option<WorkflowName>, input: Data) -> Data {
    match workflow {
        Some(workflow) => serde_json::json!([workflow, input]),
        None => input,
    }
}

/// Somebody who may order some services only starts no workflow past them.
pub(super) fn check_may_start(caller: &Principal, workflow: &WorkflowName) -> Result<(), Problem> {
    match &caller.services {
        None => Ok(()),
        Some(_) => {
            let text = format!("workflow `{workflow}` is started through the services that you may order only");
            Err(Problem::new(Kind::UnknownWorkflow, text))
        }
    }
}

pub(super) fn check_name(name: Option<&str>) -> Result<(), Problem> {
    let fits =
        |name: &str| (1..=NAME_CHARACTERS_MAX).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    match name {
        Some(name) if !fits(name) => {
            let message = format!("use 1 to {NAME_CHARACTERS_MAX} printable characters");
            Err(Problem::new(Kind::InvalidBody, format!("/name: {message}")).with([Fault::at("/name", message)]))
        }
        _ => Ok(()),
    }
}

impl Wait {
    /// How long that is.
    ///
    /// # Errors
    /// `invalid-parameter` above five minutes.
    pub(super) fn duration(&self) -> Result<SignedDuration, Problem> {
        match self.wait.unwrap_or(0) {
            seconds @ 0..=WAIT_SECONDS_MAX => Ok(SignedDuration::from_secs(seconds as i64)),
            _ => Err(Problem::new(Kind::InvalidParameter, format!("set `wait` to 0 to {WAIT_SECONDS_MAX} seconds"))),
        }
    }
}

/// The instance at its end, or as it stands when the time is over or the server stops.
async fn waited(rooms: &Rooms, summary: InstanceSummary, wait: SignedDuration) -> Result<InstanceSummary, Problem> {
    if wait.is_zero() || summary.status.is_final() {
        return Ok(summary);
    }
    let id = summary.id;
    match rooms.stopping.run_until_cancelled(rooms.coordinator.wait(id, wait)).await {
        Some(summary) => Ok(summary?),
        None => Ok(rooms.coordinator.instance(id)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_at_most_five_minutes() {
        let wait = |wait| Wait { wait }.duration().map_err(|problem| problem.kind);
        assert_eq!(wait(None), Ok(SignedDuration::ZERO));
        assert_eq!(wait(Some(300)), Ok(SignedDuration::from_secs(300)));
        for bad in [301, u64::MAX] {
            assert_eq!(wait(Some(bad)), Err(Kind::InvalidParameter));
        }
    }

    #[test]
    fn a_name_for_people_is_one_printable_line() {
        assert!(check_name(None).is_ok() && check_name(Some("first try")).is_ok());
        for bad in ["", "a\nb", &"x".repeat(256)] {
            assert_eq!(check_name(Some(bad)).unwrap_err().kind, Kind::InvalidBody, "{bad:?}");
        }
    }
}
