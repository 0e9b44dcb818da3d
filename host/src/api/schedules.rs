//! Schedules: what starts by itself, at a time, by a rhythm, or by cron; made here, or standing in a pack's workflow.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::caller::Caller;
use super::extract::{IdempotencyKey, InPath, InQuery, parse};
use super::instances::{Wait, answer, check_may_start};
use super::list::List;
use super::problem::{Fault, Kind, Problem};
use super::rooms::{Rooms, aside};
use super::services::{check_sees, path_of};
use super::template::{InTemplate, patched, settled};
use crate::coordinator::view::InstanceSummary;
use crate::coordinator::{ScheduleError, ScheduleTemplate, ScheduleView};
use crate::model::{Json as Data, Principal, ScheduleName, ServiceName, WorkflowName};
use crate::service::Origin;

/// Which schedules to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only from packs, or only made over the interface.
    #[param(inline)]
    origin: Option<Origin>,
    /// Only those that order this service.
    #[param(value_type = Option<String>)]
    service: Option<ServiceName>,
    /// Only those that start this workflow.
    #[param(value_type = Option<String>)]
    workflow: Option<WorkflowName>,
    /// Only those that are switched on, or off.
    enabled: Option<bool>,
}

/// What changes of a pack's schedule.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Switch {
    /// Whether it fires.
    enabled: bool,
}

/// Lists the schedules, by name; those of packs in the tenant `default`, in which they start their instances.
#[utoipa::path(get, path = "/v1/schedules", tag = "schedules", params(Which), responses(
    (status = 200, description = "All schedules that fit.", body = List<ScheduleView>),
    (status = 400, description = "`invalid-parameter`."),
))]
pub async fn list_schedules(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InQuery(which): InQuery<Which>,
) -> Result<Json<List<ScheduleView>>, Problem> {
    let schedules = rooms.coordinator.schedules();
    let tenant = caller.tenant.clone();
    let all = aside(move || schedules.list(&tenant)).await?;
    Ok(Json(List::whole(all.into_iter().filter(|schedule| sees(&caller, schedule) && which.fits(schedule)))))
}

/// Makes a schedule. Each of its times starts exactly one instance, in this tenant and as the caller's; times that pass
/// while no server runs are caught up by one.
#[utoipa::path(post, path = "/v1/schedules", tag = "schedules",
    request_body(description = "JSON or YAML.", content(
        (ScheduleTemplate = "application/json", examples(
            ("cron" = (summary = "each working day at three, by the clocks of a zone", value = json!({
                "name": "nightly-sync", "service": "bucket sync", "input": {"source": "a", "target": "b"},
                "cron": "0 3 * * mon-fri", "timeZone": "Europe/Berlin"}))),
            ("once" = (summary = "once", value = json!({"name": "move", "pack": "storage",
                "workflow": "provision-volume", "input": {"sizeGib": 10}, "at": "2030-01-01T03:00:00+01:00"}))),
            ("every" = (summary = "every quarter of an hour", value = json!({"name": "look", "service": "check",
                "every": "PT15M"}))),
        )),
        (ScheduleTemplate = "application/yaml"),
    )),
    responses(
        (status = 201, description = "Made.", body = ScheduleView,
            headers(("Location" = String, description = "The schedule's path."))),
        (status = 404, description = "`unknown-service`, or `unknown-workflow`."),
        (status = 409, description = "`schedule-exists`, `workflow-not-at-hand`, or `limit-reached`: the tenant has 1,000."),
        (status = 413, description = "`body-too-large`: above 1 MiB."),
        (status = 415, description = "`unsupported-media-type`."),
        (status = 422, description = "`invalid-body`, or `invalid-input`: what it is to start refuses the input."),
    ))]
pub async fn create_schedule(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InTemplate(template): InTemplate<ScheduleTemplate>,
) -> Result<Response, Problem> {
    check_target(&caller, &template)?;
    let made = rooms.coordinator.schedules().create(&caller.tenant, &caller.subject, template).await?;
    let location = [(header::LOCATION, path_of("schedules", &made.name)?)];
    Ok((StatusCode::CREATED, location, Json(made)).into_response())
}

/// Shows a schedule.
#[utoipa::path(get, path = "/v1/schedules/{name}", tag = "schedules",
    params(("name" = String, Path, description = "Its name; of a pack's, `workflow@pack`.", example = "nightly-sync")),
    responses(
        (status = 200, description = "The schedule.", body = ScheduleView),
        (status = 404, description = "`unknown-schedule`."),
    ))]
pub async fn get_schedule(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(name): InPath<String>,
) -> Result<Json<ScheduleView>, Problem> {
    seen(&rooms, &caller, &name).map(Json)
}

/// Makes a schedule or replaces it whole. With the same times it goes on as it does: one that fired once does not fire
/// again.
#[utoipa::path(put, path = "/v1/schedules/{name}", tag = "schedules",
    params(("name" = String, Path, description = "Its name.", example = "nightly-sync")),
    request_body(description = "JSON or YAML.", content(
        (ScheduleTemplate = "application/json", example = json!({"service": "bucket sync", "every": "PT1H"})),
        (ScheduleTemplate = "application/yaml"),
    )),
    responses(
        (status = 200, description = "Replaced.", body = ScheduleView),
        (status = 201, description = "Made.", body = ScheduleView),
        (status = 400, description = "`invalid-parameter`: the name."),
        (status = 404, description = "`unknown-service`, or `unknown-workflow`."),
        (status = 409, description = "`schedule-of-pack`, `conflict`, `workflow-not-at-hand`, or `limit-reached`."),
        (status = 413, description = "`body-too-large`: above 1 MiB."),
        (status = 415, description = "`unsupported-media-type`."),
        (status = 422, description = "`invalid-body`, or `invalid-input`."),
    ))]
pub async fn put_schedule(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(name): InPath<String>,
    InTemplate(template): InTemplate<ScheduleTemplate>,
) -> Result<(StatusCode, Json<ScheduleView>), Problem> {
    check_target(&caller, &template)?;
    if let Ok(found) = rooms.coordinator.schedules().get(&caller.tenant, &name) {
        check_not_of_pack(&found)?;
        check_hidden(&caller, &found)?;
    }
    let name = ScheduleName::parse(&name).map_err(|error| Problem::new(Kind::InvalidParameter, error.to_string()))?;
    let schedules = rooms.coordinator.schedules();
    let (schedule, made) = schedules.put(&caller.tenant, &caller.subject, &name, template, None).await?;
    Ok((if made { StatusCode::CREATED } else { StatusCode::OK }, Json(schedule)))
}

/// Changes members of a schedule (RFC 7396: `null` takes one out). Of a pack's schedule only `enabled`.
#[utoipa::path(patch, path = "/v1/schedules/{name}", tag = "schedules",
    params(("name" = String, Path, description = "Its name; of a pack's, `workflow@pack`.", example = "nightly-sync")),
    request_body(description = "The members that change, in JSON or YAML.", content(
        (Object = "application/merge-patch+json", example = json!({"enabled": false})),
        (Object = "application/json", example = json!({"cron": null, "every": "PT1H"})),
        (Object = "application/yaml"),
    )),
    responses(
        (status = 200, description = "Changed.", body = ScheduleView),
        (status = 404, description = "`unknown-schedule`, `unknown-service`, or `unknown-workflow`."),
        (status = 409, description = "`schedule-of-pack`, `conflict`, or `workflow-not-at-hand`."),
        (status = 413, description = "`body-too-large`: above 1 MiB."),
        (status = 415, description = "`unsupported-media-type`."),
        (status = 422, description = "`invalid-body`, or `invalid-input`."),
    ))]
pub async fn patch_schedule(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(name): InPath<String>,
    InTemplate(patch): InTemplate<serde_json::Map<String, Data>>,
) -> Result<Json<ScheduleView>, Problem> {
    seen(&rooms, &caller, &name)?;
    let patch = Data::Object(patch);
    settled(|| change(&rooms, &caller, &name, &patch)).await.map(Json)
}

/// Removes a schedule. Instances that it started stay.
#[utoipa::path(delete, path = "/v1/schedules/{name}", tag = "schedules",
    params(("name" = String, Path, description = "Its name.")),
    responses(
        (status = 204, description = "Removed."),
        (status = 404, description = "`unknown-schedule`."),
        (status = 409, description = "`schedule-of-pack`, or `conflict`."),
    ))]
pub async fn delete_schedule(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(name): InPath<String>,
) -> Result<StatusCode, Problem> {
    seen(&rooms, &caller, &name)?;
    rooms.coordinator.schedules().delete(&caller.tenant, &name, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Starts now what a schedule starts, as the caller's; its times stay as they are, and it may be switched off.
#[utoipa::path(post, path = "/v1/schedules/{name}/run", tag = "schedules",
    params(
        ("name" = String, Path, description = "Its name; of a pack's, `workflow@pack`.", example = "nightly-sync"),
        Wait,
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters. The same key gives \
         the instance that was started first."),
    ),
    responses(
        (status = 201, description = "Started.", body = InstanceSummary,
            headers(("Location" = String, description = "The instance's path."))),
        (status = 200, description = "Started earlier with the same `Idempotency-Key`.", body = InstanceSummary),
        (status = 404, description = "`unknown-schedule`, or `unknown-workflow`."),
        (status = 409, description = "`workflow-not-at-hand`: what it starts is gone or switched off."),
        (status = 422, description = "`invalid-input`, or `idempotency-key-reused`."),
    ))]
pub async fn run_schedule(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(name): InPath<String>,
    InQuery(wait): InQuery<Wait>,
    IdempotencyKey(key): IdempotencyKey,
) -> Result<Response, Problem> {
    let wait = wait.duration()?;
    seen(&rooms, &caller, &name)?;
    let started = rooms.coordinator.schedules().run(&caller.tenant, &name, &caller.subject, key).await?;
    answer(&rooms, started, wait).await
}

async fn change(rooms: &Rooms, caller: &Principal, name: &str, patch: &Data) -> Result<ScheduleView, Problem> {
    let schedules = rooms.coordinator.schedules();
    match schedules.template(&caller.tenant, name) {
        Ok((template, revision)) => {
            let template = patched(&template, patch)?;
            check_target(caller, &template)?;
            let name = ScheduleName::parse(name).map_err(Problem::internal)?;
            Ok(schedules.put(&caller.tenant, &caller.subject, &name, template, Some(revision)).await?.0)
        }
        Err(ScheduleError::OfPack(_)) => switch(rooms, caller, name, patch).await,
        Err(error) => Err(error.into()),
    }
}

/// Switches a pack's schedule on or off.
async fn switch(rooms: &Rooms, caller: &Principal, name: &str, patch: &Data) -> Result<ScheduleView, Problem> {
    let other = patch.as_object().and_then(|members| members.keys().find(|member| *member != "enabled"));
    if let Some(member) = other {
        let text = format!("schedule `{name}` stands in a pack; of it only `enabled` changes, and not `{member}`");
        return Err(Problem::new(Kind::ScheduleOfPack, text));
    }
    let Switch { enabled } = parse(&serde_json::to_vec(patch).map_err(Problem::internal)?)?;
    Ok(rooms.coordinator.schedules().switch(&caller.tenant, name, enabled).await?)
}

fn check_not_of_pack(schedule: &ScheduleView) -> Result<(), Problem> {
    match schedule.origin {
        Origin::Pack => Err(ScheduleError::OfPack(schedule.name.clone()).into()),
        Origin::Api => Ok(()),
    }
}

/// Somebody who may order some services only schedules those only.
fn check_target(caller: &Principal, template: &ScheduleTemplate) -> Result<(), Problem> {
    match (&template.service, &template.workflow) {
        (Some(service), _) => check_sees(caller, service),
        (None, Some(workflow)) => check_may_start(caller, workflow),
        (None, None) => Ok(()),
    }
}

fn sees(caller: &Principal, schedule: &ScheduleView) -> bool {
    match &schedule.service {
        Some(service) => caller.may_order(service),
        None => caller.services.is_none(),
    }
}

fn check_hidden(caller: &Principal, schedule: &ScheduleView) -> Result<(), Problem> {
    if sees(caller, schedule) { Ok(()) } else { Err(ScheduleError::NotFound(schedule.name.clone()).into()) }
}

/// A schedule that the caller sees.
fn seen(rooms: &Rooms, caller: &Principal, name: &str) -> Result<ScheduleView, Problem> {
    let schedule = rooms.coordinator.schedules().get(&caller.tenant, name)?;
    check_hidden(caller, &schedule)?;
    Ok(schedule)
}

impl Which {
    fn fits(&self, schedule: &ScheduleView) -> bool {
        self.origin.is_none_or(|origin| origin == schedule.origin)
            && self.service.as_ref().is_none_or(|service| Some(service) == schedule.service.as_ref())
            && self.workflow.as_ref().is_none_or(|workflow| Some(workflow) == schedule.workflow.as_ref())
            && self.enabled.is_none_or(|enabled| enabled == schedule.enabled)
    }
}

impl From<ScheduleError> for Problem {
    fn from(error: ScheduleError) -> Self {
        let text = error.to_string();
        match error {
            ScheduleError::NotFound(_) => Self::new(Kind::UnknownSchedule, text),
            ScheduleError::Exists(_) => Self::new(Kind::ScheduleExists, text),
            ScheduleError::OfPack(_) => Self::new(Kind::ScheduleOfPack, text),
            ScheduleError::Invalid(wrong) => {
                let faults = wrong.into_iter().map(|wrong| Fault::at(wrong.pointer, wrong.message));
                Self::new(Kind::InvalidBody, text).with(faults)
            }
            ScheduleError::Order(error) => error.into(),
            ScheduleError::Start(error) => error.into(),
            ScheduleError::TooMany(_) => Self::new(Kind::LimitReached, text),
            ScheduleError::Changed(_) => Self::new(Kind::Conflict, text),
            ScheduleError::Store(error) => Self::store(error),
        }
    }
}
