//! Once more: what to send to order what an earlier instance did, and running it again at once.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use utoipa::ToSchema;

use super::caller::Caller;
use super::extract::{IdempotencyKey, InPath, InQuery};
use super::instances::{Wait, answer, check_may_start, check_name};
use super::problem::{Kind, Problem};
use super::rooms::{Rooms, aside};
use super::services::check_sees;
use super::template::{InJsonIfAny, merge};
use crate::coordinator::view::InstanceSummary;
use crate::coordinator::{Start, StartError};
use crate::model::{InstanceId, Json as Data, PackName, Principal, ServiceName, WorkflowName, is_sealed};
use crate::service::{Order, Service, ServiceError};

/// What stands in the place of a value that is not shown.
const HIDDEN: &str = "***";

/// Levels of the input that are looked at for hidden values.
const DEPTH_MAX: usize = 64;

/// What to send to `POST /v1/instances` to do again what an instance did.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Prefill {
    /// The service, where it can still be ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "volume provision")]
    service: Option<ServiceName>,
    /// The pack of the workflow, where there is no service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pack: Option<PackName>,
    /// The workflow; beside `service`, the name of one of its workflows, where it has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    workflow: Option<WorkflowName>,
    /// The instance's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Its input, without what is secret and what the service sets.
    #[schema(value_type = Object)]
    input: Data,
    /// What was left out because it is secret, as JSON pointers into the input; take this member out before you send it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    omitted: Vec<String>,
}

/// Which version of the pack runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Version {
    /// The one that the earlier instance ran.
    #[default]
    Same,
    /// The newest that is installed.
    Latest,
}

/// What is different this time.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewRun {
    /// Members that change in the earlier input (RFC 7396: `null` takes one out).
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    input: Map<String, Data>,
    /// A name for people, at most 255 characters; by default that of the earlier instance.
    name: Option<String>,
    /// Which version of the pack runs; by default the same.
    #[serde(default)]
    #[schema(inline)]
    pub(super) version: Version,
}

impl NewRun {
    /// The same version once more, with other members of the input and perhaps another name.
    pub(super) fn with(input: Map<String, Data>, name: Option<String>) -> Self {
        Self { input, name, version: Version::Same }
    }
}

/// Tells what to send to do again what an instance did. Secret values are left out: those that the schema marks by
/// `writeOnly` or `format: password`.
#[utoipa::path(get, path = "/v1/instances/{id}/prefill", tag = "instances",
    params(("id" = String, Path, format = "uuid", description = "The instance's identifier.")),
    responses(
        (status = 200, description = "A body for `POST /v1/instances`.", body = Prefill),
        (status = 404, description = "`unknown-instance`."),
    ))]
pub async fn prefill_instance(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(id): InPath<InstanceId>,
) -> Result<Json<Prefill>, Problem> {
    let summary = rooms.coordinator.instance(id)?;
    aside(move || prefill(&rooms, &caller, summary)).await.map(Json)
}

/// Runs again what an instance did, with its input as it was or with changes. The new instance's `rerunOf` names the
/// earlier one.
#[utoipa::path(post, path = "/v1/instances/{id}/rerun", tag = "instances",
    params(
        ("id" = String, Path, format = "uuid", description = "The identifier of the earlier instance."),
        Wait,
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters. The same key with \
         the same body gives the instance that was started first."),
    ),
    request_body(content = Option<NewRun>, example = json!({"input": {"sizeGib": 20}, "version": "latest"})),
    responses(
        (status = 201, description = "Started.", body = InstanceSummary,
            headers(("Location" = String, description = "The instance's path."))),
        (status = 200, description = "Started earlier with the same `Idempotency-Key`.", body = InstanceSummary),
        (status = 404, description = "`unknown-instance`, or `unknown-service`."),
        (status = 409, description = "`workflow-not-at-hand`: this version is not installed any more; \
            `service-disabled`."),
        (status = 413, description = "`body-too-large`: above 1 MiB."),
        (status = 415, description = "`unsupported-media-type`."),
        (status = 422, description = "`invalid-body`, `invalid-input` or `idempotency-key-reused`."),
    ))]
pub async fn rerun_instance(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(id): InPath<InstanceId>,
    InQuery(wait): InQuery<Wait>,
    IdempotencyKey(key): IdempotencyKey,
    InJsonIfAny(asked): InJsonIfAny<NewRun>,
) -> Result<Response, Problem> {
    let wait = wait.duration()?;
    check_name(asked.name.as_deref())?;
    let summary = rooms.coordinator.instance(id)?;
    let start = again(&rooms, &caller, summary, asked, key)?;
    let started = rooms.coordinator.start(start).await.map_err(|error| match error {
        StartError::NotFound(text) => not_at_hand(&text),
        error => error.into(),
    })?;
    answer(&rooms, started, wait).await
}

fn not_at_hand(text: &str) -> Problem {
    Problem::new(Kind::WorkflowNotAtHand, format!("{text}; say `\"version\": \"latest\"` to run the newest one"))
}

/// What is to be started to run an instance again.
pub(super) fn again(
    rooms: &Rooms,
    caller: &Principal,
    summary: InstanceSummary,
    asked: NewRun,
    idempotency_key: Option<String>,
) -> Result<Start, Problem> {
    let service = service_of(rooms, caller, &summary)?;
    let stands_for = json!([asked.input, asked.version]);
    let mut input = summary.input.clone();
    if let Some(service) = &service {
        take_locked(service, &mut input);
    }
    if !asked.input.is_empty() {
        merge(&mut input, &Data::Object(asked.input));
    }
    let version = Some(summary.pack_version.clone()).filter(|_| asked.version == Version::Same);
    let mut start = Start {
        pack: summary.pack.clone(),
        version,
        workflow: summary.workflow.clone(),
        service: None,
        name: asked.name.or_else(|| summary.name.clone()),
        input,
        idempotency_key,
        tenant: summary.tenant.clone(),
        created_by: Some(caller.subject.clone()),
        rerun_of: Some(summary.id),
        asked: Some(stands_for),
        note: None,
    };
    match service {
        Some(service) => {
            let order = ordered_again(rooms, &service, &start)?;
            (start.service, start.input) = (Some(service.name), order.input);
            (start.version, start.workflow) = (Some(order.version), order.workflow);
        }
        None => check_may_start(caller, &summary.workflow)?,
    }
    Ok(start)
}

fn ordered_again(rooms: &Rooms, service: &Service, start: &Start) -> Result<Order, Problem> {
    let version = match &start.version {
        Some(version) => version.clone(),
        None => {
            let latest = rooms.catalog.latest(&start.pack).ok_or_else(|| Problem::unknown_pack(&start.pack))?;
            latest.manifest.version.clone()
        }
    };
    let target = (&start.pack, &version, &start.workflow);
    rooms.services.order_again(&start.tenant, &service.name, target, &start.input).map_err(|error| match error {
        crate::service::OrderError::NotAtHand(_, text) => not_at_hand(&text),
        error => error.into(),
    })
}

/// The service that an instance was ordered through; nothing where there was none, or it is gone.
fn service_of(rooms: &Rooms, caller: &Principal, summary: &InstanceSummary) -> Result<Option<Service>, Problem> {
    let Some(name) = &summary.service else { return Ok(None) };
    check_sees(caller, name)?;
    match rooms.services.get(&summary.tenant, name) {
        Ok(service) => Ok(Some(service)),
        Err(ServiceError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Takes out what the service sets itself.
fn take_locked(service: &Service, input: &mut Data) {
    if let Data::Object(members) = input {
        members.retain(|name, _| !service.locked_inputs.contains(name));
    }
}

fn prefill(rooms: &Rooms, caller: &Principal, summary: InstanceSummary) -> Result<Prefill, Problem> {
    let service = service_of(rooms, caller, &summary)?;
    let mut input = summary.input;
    let of_workflow = rooms.catalog.find_workflow(&summary.pack, Some(&summary.pack_version), &summary.workflow).ok();
    let of_workflow = of_workflow.and_then(|pack| pack.workflows.get(&summary.workflow)?.input.clone());
    let own = service.as_ref().and_then(|service| service.input_schema.clone());
    let schemas: Vec<&Data> = [&own, &of_workflow].into_iter().flatten().collect();
    let mut omitted = Vec::new();
    omit(&mut input, &schemas, "", DEPTH_MAX, &mut omitted);
    let orderable = service.filter(|service| service.enabled).and_then(|service| {
        let of_it = |choice: &&crate::service::Choice| {
            choice.pack == summary.pack && choice.workflow == summary.workflow && choice.available
        };
        let choice = service.workflows.iter().find(of_it)?.name.clone();
        take_locked(&service, &mut input);
        Some((service.name, Some(choice).filter(|_| service.workflows.len() > 1)))
    });
    Ok(match orderable {
        Some((service, workflow)) => {
            Prefill { service: Some(service), pack: None, workflow, name: summary.name, input, omitted }
        }
        None => {
            let (pack, workflow) = (Some(summary.pack), Some(summary.workflow));
            Prefill { service: None, pack, workflow, name: summary.name, input, omitted }
        }
    })
}

/// Takes out what is secret: by what the schemas say of it, or because it is hidden already.
fn omit(value: &mut Data, schemas: &[&Data], at: &str, depth: usize, omitted: &mut Vec<String>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    match value {
        Data::Object(members) => {
            let names: Vec<String> = members.keys().cloned().collect();
            for name in names {
                let Some(member) = members.get_mut(&name) else { continue };
                let place = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                let of: Vec<&Data> = schemas.iter().filter_map(|schema| schema.get("properties")?.get(&name)).collect();
                if is_secret(member, &of) {
                    members.remove(&name);
                    omitted.push(place);
                } else {
                    omit(member, &of, &place, depth, omitted);
                }
            }
        }
        Data::Array(items) => {
            let of: Vec<&Data> = schemas.iter().filter_map(|schema| schema.get("items")).collect();
            for (number, item) in items.iter_mut().enumerate() {
                let place = format!("{at}/{number}");
                match is_secret(item, &of) {
                    // The others keep their places.
                    true => {
                        *item = Data::Null;
                        omitted.push(place);
                    }
                    false => omit(item, &of, &place, depth, omitted),
                }
            }
        }
        _ => {}
    }
}

fn is_secret(value: &Data, schemas: &[&Data]) -> bool {
    let text = value.as_str().unwrap_or_default();
    let marked = |schema: &&Data| {
        let password = schema.get("format").and_then(Data::as_str) == Some("password");
        let hint = schema.get("ui:widget").and_then(Data::as_str) == Some("password");
        password || hint || schema.get("writeOnly").and_then(Data::as_bool) == Some(true)
    };
    text == HIDDEN || is_sealed(text) || schemas.iter().any(marked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_left_out_with_its_place() {
        let schema = json!({"properties": {
            "password": {"format": "password"}, "key": {"writeOnly": true}, "pin": {"ui:widget": "password"},
            "inner": {"properties": {"a/b": {"writeOnly": true}}}, "list": {"items": {"writeOnly": true}},
        }});
        let sealed = crate::model::sealed("name");
        let mut input = json!({"password": "x", "key": {"a": 1}, "pin": 1234, "plain": "y", "hidden": "***",
            "sealed": format!("Bearer {sealed}"), "inner": {"a/b": 1, "c": ["***", 2]}, "list": ["p", "q"]});
        let mut omitted = Vec::new();
        omit(&mut input, &[&schema], "", DEPTH_MAX, &mut omitted);
        assert_eq!(input, json!({"plain": "y", "inner": {"c": [null, 2]}, "list": [null, null]}));
        let expected =
            ["/password", "/key", "/pin", "/hidden", "/sealed", "/inner/a~1b", "/inner/c/0", "/list/0", "/list/1"];
        assert_eq!(omitted, expected);
    }
}
