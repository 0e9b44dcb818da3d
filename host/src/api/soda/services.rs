//! Services at SODA: list, read, register; and replace and remove, which SODA's own server never had.

use std::sync::Arc;

use axum::Json as Body;
use axum::extract::State;
use serde_json::{Map, json};

use super::offer::{self, Offer, Registered, Registration};
use super::refusal::{Refusal, Refused};
use super::request::{Asks, Here, Object, text_of};
use crate::api::problem::Kind;
use crate::api::rooms::Rooms;
use crate::model::{Json, Permission, ServiceName};

/// Characters of an identifier that a client gives, at most: as many as SODA's column has.
const ID_CHARACTERS_MAX: usize = 36;

/// The words of a removal.
const DONE: &str = "Success";

/// Lists the services, each once, in the form of SODA.
#[utoipa::path(get, path = "/v1beta/{tenant}/orchestration/services", tag = "soda", operation_id = "soda_list_services",
    params(
        ("tenant" = String, Path, description = "The tenant."),
        ("limit" = Option<usize>, Query, description = "So many at most; all when absent."),
        ("offset" = Option<usize>, Query, description = "So many are left out first."),
    ),
    responses(
        (status = 200, description = "The services.", body = Vec<Object>),
        (status = 403, description = "Not a tenant of the caller, or not allowed.", body = Refused),
    ))]
pub async fn list_services(
    State(rooms): State<Arc<Rooms>>,
    here: Here,
    asks: Asks,
) -> Result<Body<Vec<Json>>, Refusal> {
    let offset = asks.number("offset", usize::MAX)?.unwrap_or(0);
    let limit = asks.number("limit", usize::MAX)?.unwrap_or(usize::MAX);
    super::aside(move || {
        let page = offer::all(&rooms, &here)?.into_iter().skip(offset).take(limit);
        Ok(Body(page.map(|offer| offer.shown(&rooms, &here)).collect()))
    })
    .await
}

/// Shows a service in the form of SODA.
#[utoipa::path(get, path = "/v1beta/{tenant}/orchestration/services/{id}", tag = "soda", operation_id = "soda_get_service",
    params(("tenant" = String, Path, description = "The tenant."), ("id" = String, Path, description = "The service.")),
    responses(
        (status = 200, description = "The service.", body = Object,
            example = json!({ "id": "5f3c8a52-7d0e-5b1e-9c55-3b8f20d61e47", "name": "volume provision", "group": "provisioning",
                "workflows": [{ "definition_source": "opensds.provision-volume", "wfe_type": "st2" }] })),
        (status = 404, description = "`{}`: there is none.", body = Refused),
    ))]
pub async fn get_service(State(rooms): State<Arc<Rooms>>, here: Here) -> Result<Body<Json>, Refusal> {
    super::aside(move || Ok(Body(found(&rooms, &here)?.shown(&rooms, &here)))).await
}

/// Registers a service. The same registration once more gives the service that is there.
#[utoipa::path(post, path = "/v1beta/{tenant}/orchestration/services", tag = "soda", operation_id = "soda_add_service",
    params(("tenant" = String, Path, description = "The tenant.")),
    request_body(content = Object, description = "`name`, `description`, `group`, `user_id`, `workflows`; optional `input`, \
        `constraint`, `id`. Any content type.", example = json!({ "name": "volume provision", "group": "provisioning",
        "description": "Makes a volume.", "user_id": "558057c4256545bd8a307c37464003c9",
        "workflows": [{ "definition_source": "opensds.provision-volume", "wfe_type": "st2" }] })),
    responses(
        (status = 200, description = "The service, without its workflows.", body = Object),
        (status = 400, description = "What is missing, or which workflow there is not.", body = Refused),
        (status = 403, description = "Not a tenant of the caller, or not allowed.", body = Refused),
        (status = 409, description = "Its `id` is taken.", body = Refused),
    ))]
pub async fn add_service(
    State(rooms): State<Arc<Rooms>>,
    here: Here,
    Object(said): Object,
) -> Result<Body<Json>, Refusal> {
    super::require(&here, Permission::ManageTenant)?;
    let said = registration(&rooms, &said)?;
    let made = offer::register(&rooms, &here, said).await?;
    Ok(Body(made.registered(&here)))
}

/// Replaces a registered service; what is left out stays.
#[utoipa::path(put, path = "/v1beta/{tenant}/orchestration/services/{id}", tag = "soda", operation_id = "soda_put_service",
    params(("tenant" = String, Path, description = "The tenant."), ("id" = String, Path, description = "The service.")),
    request_body(content = Object, description = "As a registration; each member is optional.",
        example = json!({ "description": "Makes a volume and attaches it." })),
    responses(
        (status = 200, description = "The service.", body = Object),
        (status = 400, description = "What is wrong with it.", body = Refused),
        (status = 404, description = "`{}`: there is none.", body = Refused),
        (status = 409, description = "A pack brings it.", body = Refused),
    ))]
pub async fn put_service(
    State(rooms): State<Arc<Rooms>>,
    here: Here,
    Object(said): Object,
) -> Result<Body<Json>, Refusal> {
    super::require(&here, Permission::ManageTenant)?;
    let offer = found(&rooms, &here)?;
    let said = registration(&rooms, &completed(&rooms, &here, &offer, said))?;
    let replaced = offer::replace(&rooms, &here, &offer, said).await?;
    Ok(Body(replaced.shown(&rooms, &here)))
}

/// Removes a registered service. Its instances stay.
#[utoipa::path(delete, path = "/v1beta/{tenant}/orchestration/services/{id}", tag = "soda",
    operation_id = "soda_delete_service",
    params(("tenant" = String, Path, description = "The tenant."), ("id" = String, Path, description = "The service.")),
    responses(
        (status = 200, description = "`\"Success\"`.", body = String, content_type = "application/json"),
        (status = 404, description = "`\"Failed\"`: there is none.", body = Refused),
        (status = 409, description = "A pack brings it.", body = Refused),
    ))]
pub async fn delete_service(State(rooms): State<Arc<Rooms>>, here: Here) -> Result<Body<&'static str>, Refusal> {
    super::require(&here, Permission::ManageTenant)?;
    let Some(offer) = offer::of_id(&rooms, &here, &here.id)? else { return Err(Refusal::failed()) };
    offer::remove(&rooms, &here, &offer).await?;
    Ok(Body(DONE))
}

fn found(rooms: &Rooms, here: &Here) -> Result<Offer, Refusal> {
    offer::of_id(rooms, here, &here.id)?.ok_or(Refusal::Nothing)
}

/// What is said of a service, with what is there for what is not said.
fn completed(rooms: &Rooms, here: &Here, offer: &Offer, said: Map<String, Json>) -> Map<String, Json> {
    let Json::Object(mut all) = offer.registered(here) else { return said };
    let workflow =
        |(source, engine, _): (String, String, _)| json!({ "definition_source": source, "wfe_type": engine });
    let workflows = offer.workflows(rooms.soda.settings()).into_iter().map(workflow).collect();
    all.insert("workflows".to_owned(), Json::Array(workflows));
    if offer.id() == offer.0.id.to_string() {
        all.remove("id");
    }
    all.extend(said.into_iter().filter(|(name, _)| name != "id"));
    all
}

/// Reads a registration, in SODA's order of complaints.
fn registration(rooms: &Rooms, said: &Map<String, Json>) -> Result<Registration, Refusal> {
    let required = |name| text_of(said, name).ok_or_else(|| Refusal::text("One or more required value missing"));
    let (name, description) = (required("name")?, required("description")?);
    let (group, user_id) = (required("group")?, required("user_id")?);
    let workflows = listed(said.get("workflows"))?;
    let workflows = workflows.iter().map(|workflow| registered(rooms, workflow)).collect::<Result<Vec<_>, _>>()?;
    let given = |name: &str| said.get(name).filter(|value| !value.is_null()).cloned();
    let name = ServiceName::parse(name.trim()).map_err(|error| Refusal::new(Kind::InvalidBody, error.to_string()))?;
    let id = text_of(said, "id");
    if id.as_ref().is_some_and(|id| id.chars().count() > ID_CHARACTERS_MAX || id.contains(['/', '?', '#'])) {
        let text = format!("give an `id` of at most {ID_CHARACTERS_MAX} characters, or none");
        return Err(Refusal::new(Kind::InvalidBody, text));
    }
    Ok(Registration {
        name,
        description,
        group,
        user_id,
        workflows,
        id,
        input: given("input"),
        constraint: given("constraint"),
    })
}

/// The workflows, of which there has to be one; SODA's interface description has an object in the place of the list.
fn listed(workflows: Option<&Json>) -> Result<Vec<Json>, Refusal> {
    match workflows {
        Some(Json::Array(list)) if !list.is_empty() => Ok(list.clone()),
        Some(one @ Json::Object(_)) => Ok(vec![one.clone()]),
        _ => Err(Refusal::text("list of workflows not provided")),
    }
}

fn registered(rooms: &Rooms, workflow: &Json) -> Result<Registered, Refusal> {
    let missing = || Refusal::text("One or more required value of WF missing");
    let workflow = workflow.as_object().ok_or_else(missing)?;
    let source = text_of(workflow, "definition_source").ok_or_else(missing)?;
    let wfe_type = text_of(workflow, "wfe_type").ok_or_else(missing)?;
    let meant = rooms.soda.settings().workflow(&source);
    let shown: String = source.chars().take(200).collect();
    let Some((pack, name)) = meant else {
        let cure = "name a workflow as `pack.workflow`, or map it in the server's settings under `soda.sources`";
        return Err(Refusal::text(format!("there is no workflow `{shown}`; {cure}")));
    };
    match rooms.catalog.latest(&pack).map(|pack| pack.workflows.contains_key(&name)) {
        Some(true) => Ok(Registered { source, wfe_type, pack, workflow: name }),
        Some(false) => Err(Refusal::text(format!("there is no workflow `{shown}`: pack `{pack}` has no `{name}`"))),
        None => Err(Refusal::text(format!("there is no workflow `{shown}` yet: install the pack `{pack}` first"))),
    }
}
