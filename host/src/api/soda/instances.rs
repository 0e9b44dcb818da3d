//! Instances at SODA: start, list, read, rename, delete. What is read never calls out: it stands in the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json as Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::SignedDuration;
use serde_json::{Map, json};

use super::form::Names;
use super::offer::{self, Offer};
use super::parameters::{self, Taken};
use super::refusal::{Refusal, Refused, is_absent};
use super::request::{Asks, Here, Object, Token, text_of};
use super::view::Shown;
use crate::api::extract::IdempotencyKey;
use crate::api::instances::{NewInstance, start_of};
use crate::api::problem::{Fault, Kind, Problem};
use crate::api::rooms::Rooms;
use crate::clock::{Clock as _, SystemClock};
use crate::coordinator::view::{InstanceFilter, InstanceSummary};
use crate::coordinator::{InstanceError, Start};
use crate::model::{InstanceId, Json, Permission, ServiceName};
use crate::note::InstanceNote;
use crate::service::Choice;

/// Instances on a page, at most.
const LIMIT_MAX: usize = 1000;

/// Instances that may be left out at the beginning of a list; `marker` reaches further.
const OFFSET_MAX: usize = 10_000;

/// Looks into the store for one list: others' instances in between make some of them short.
const LOOKS_MAX: usize = 100;

/// How long a deletion waits for a cancelled instance's end before it answers that it goes on by itself.
const DELETE_WAIT: SignedDuration = SignedDuration::from_secs(5);

/// How long it goes on by itself. An instance that takes longer stays, cancelled, and can be deleted again.
const DELETE_PATIENCE: SignedDuration = SignedDuration::from_hours(1);

/// Starts an instance of a service.
#[utoipa::path(post, path = "/v1beta/{tenant}/orchestration/instances", tag = "soda", operation_id = "soda_run_instance",
    params(
        ("tenant" = String, Path, description = "The tenant."),
        ("X-Auth-Token" = Option<String>, Header, description = "Has to be there, or `Authorization`."),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key with the same body gives the instance \
         that was started first."),
    ),
    request_body(content = Object, description = "`service_id` (or `service_definition_id`), `name`, `parameters`; optional \
        `action`, `description`, `user_id`. Other members are passed over. Any content type.",
        example = json!({ "service_id": "5f3c8a52-7d0e-5b1e-9c55-3b8f20d61e47", "name": "data volume",
            "action": "opensds.provision-volume", "parameters": { "name": "data", "size": "10", "host_id": "h-1" } })),
    responses(
        (status = 200, description = "Started, durably.", body = Object),
        (status = 400, description = "What is missing or wrong; `faultstring` says what does not fit the workflow.", body = Refused),
        (status = 403, description = "Not a tenant of the caller, or not allowed.", body = Refused),
        (status = 409, description = "The service is switched off or its workflow is not there.", body = Refused),
    ))]
pub async fn run_instance(
    State(rooms): State<Arc<Rooms>>,
    _: Token,
    here: Here,
    IdempotencyKey(key): IdempotencyKey,
    Object(said): Object,
) -> Result<Body<Json>, Refusal> {
    super::require(&here, Permission::Order)?;
    let wanted = Wanted::read(&rooms, &here, &said)?;
    let names = Names(rooms.soda.settings().source(&wanted.action));
    let schema = wanted.offer.schema(&rooms, &wanted.choice);
    let Taken { input, ignored } = parameters::take(&wanted.parameters, schema.as_ref(), names);
    let several = wanted.offer.0.workflows.len() > 1;
    let asked = NewInstance {
        service: Some(wanted.offer.0.name.clone()),
        workflow: several.then(|| wanted.choice.name.clone()),
        name: Some(wanted.name.clone()),
        input: Json::Object(input),
        ..NewInstance::default()
    };
    let note = InstanceNote {
        description: text_of(&said, "description"),
        user_id: text_of(&said, "user_id"),
        service_id: Some(wanted.offer.id()),
        ..InstanceNote::default()
    };
    let start = start_of(&rooms, &here.principal, asked, key).map(|start| Start { note: Some(note), ..start });
    let summary = started(&rooms, start, names).await?;
    let mut shown = show(&rooms, &here, &summary, &mut Services::default())?;
    shown["ignored"] = json!(ignored);
    Ok(Body(shown))
}

/// Starts something; what does not fit is told in the words of SODA's parameters.
pub async fn started(
    rooms: &Rooms,
    start: Result<Start, Problem>,
    names: Names<'_>,
) -> Result<InstanceSummary, Refusal> {
    let start = start.map_err(|problem| unfit(problem, names))?;
    let started = rooms.coordinator.start(start).await.map_err(|error| unfit(error.into(), names))?;
    Ok(started.summary)
}

/// An input that does not fit, as StackStorm says it; anything else as it is.
fn unfit(problem: Problem, names: Names<'_>) -> Refusal {
    if !matches!(problem.kind, Kind::InvalidInput) {
        return problem.into();
    }
    let told = |fault: &Fault| {
        let pointer = fault.pointer.as_deref().unwrap_or_default().trim_start_matches("/input").trim_start_matches('/');
        let (member, rest) = pointer.split_once('/').unwrap_or((pointer, ""));
        let parameter = names.parameter(member).unwrap_or_else(|| member.to_owned());
        match (parameter.as_str(), rest) {
            ("", _) => (parameter, in_words(&fault.message, names)),
            (_, "") => (parameter, fault.message.clone()),
            (_, rest) => (format!("{parameter}.{}", rest.replace('/', ".")), fault.message.clone()),
        }
    };
    let faults: Vec<(String, String)> = problem.errors.iter().map(told).collect();
    let sentence = |(parameter, message): &(String, String)| match parameter.as_str() {
        "" => message.clone(),
        parameter => format!("{parameter}: {message}"),
    };
    let text = faults.iter().map(sentence).collect::<Vec<_>>().join("; ");
    let faults =
        faults.iter().map(|(parameter, message)| json!({ "parameter": parameter, "message": message })).collect();
    Refusal::fault(&format!("the parameters do not fit: {text}"), faults)
}

/// A message that names members, in the words of SODA's parameters.
fn in_words(message: &str, names: Names<'_>) -> String {
    let Some(source) = names.0 else { return message.to_owned() };
    let renamed = source.parameters.iter().filter_map(|(parameter, member)| Some((parameter, member.as_ref()?)));
    renamed.fold(message.to_owned(), |text, (parameter, member)| {
        text.replace(&format!("\"{member}\""), &format!("\"{parameter}\""))
    })
}

/// What a start asks for.
struct Wanted {
    offer: Offer,
    choice: Choice,
    action: String,
    name: String,
    parameters: Map<String, Json>,
}

impl Wanted {
    /// Reads a start, in SODA's order of complaints.
    fn read(rooms: &Rooms, here: &Here, said: &Map<String, Json>) -> Result<Self, Refusal> {
        let offer = ["service_id", "service_definition_id"].into_iter().find_map(|name| text_of(said, name));
        let offer = offer.map(|id| offer::of_id(rooms, here, &id)).transpose()?.flatten();
        let offer = offer.ok_or_else(|| Refusal::text("required input service_id is missing or incorrect"))?;
        let name = text_of(said, "name").ok_or_else(|| Refusal::text("required input service 'name' is missing"))?;
        let Some(Json::Object(parameters)) = said.get("parameters") else {
            return Err(Refusal::text("required input action is missing"));
        };
        let (action, choice) = chosen(rooms, &offer, text_of(said, "action").as_deref())?;
        Ok(Self { choice, action, name, parameters: parameters.clone(), offer })
    }
}

/// The workflow of a service that an action names, by default its first.
fn chosen(rooms: &Rooms, offer: &Offer, action: Option<&str>) -> Result<(String, Choice), Refusal> {
    let settings = rooms.soda.settings();
    let workflows = offer.workflows(settings);
    let meant = action.and_then(|action| settings.workflow(action));
    let fits = |source: &str, choice: &Choice| match action {
        None => true,
        Some(action) if action == source => true,
        Some(_) => meant.as_ref() == Some(&(choice.pack.clone(), choice.workflow.clone())),
    };
    let found = workflows.iter().find(|(source, _, choice)| fits(source, choice));
    found.map(|(source, _, choice)| (source.clone(), (*choice).clone())).ok_or_else(|| {
        let known: Vec<&str> = workflows.iter().map(|(source, ..)| source.as_str()).collect();
        let shown: String = action.unwrap_or_default().chars().take(200).collect();
        let service = offer.name();
        Refusal::text(format!("action `{shown}` is not of service `{service}`; it has {}", known.join(", ")))
    })
}

/// Lists the tenant's instances, the newest first.
#[utoipa::path(get, path = "/v1beta/{tenant}/orchestration/instances", tag = "soda", operation_id = "soda_list_instances",
    params(
        ("tenant" = String, Path, description = "The tenant."),
        ("service_def" = Option<String>, Query, description = "Only of this service; `service_id` means the same."),
        ("limit" = Option<usize>, Query, description = "So many at most, 1 to 1000; by default as the server is set."),
        ("offset" = Option<usize>, Query, description = "So many are left out first, up to 10,000."),
        ("marker" = Option<String>, Query, description = "The `X-Next-Marker` of the page before."),
    ),
    responses(
        (status = 200, description = "One page; where there are more, `X-Next-Marker` and `Link` lead on.", body = Vec<Object>),
        (status = 400, description = "A parameter is not valid.", body = Refused),
        (status = 403, description = "Not a tenant of the caller, or not allowed.", body = Refused),
    ))]
pub async fn list_instances(State(rooms): State<Arc<Rooms>>, here: Here, asks: Asks) -> Result<Response, Refusal> {
    super::aside(move || listed(&rooms, &here, &asks)).await
}

/// Lists the instances of a service, the newest first.
#[utoipa::path(get, path = "/v1beta/orchestration/instances/service/{id}", tag = "soda",
    operation_id = "soda_list_instances_of_service",
    params(
        ("id" = String, Path, description = "The service."),
        ("limit" = Option<usize>, Query, description = "So many at most, 1 to 1000."),
        ("marker" = Option<String>, Query, description = "The `X-Next-Marker` of the page before."),
    ),
    responses(
        (status = 200, description = "One page, of the tenant of the caller.", body = Vec<Object>),
        (status = 400, description = "A parameter is not valid.", body = Refused),
    ))]
pub async fn list_instances_of_service(
    State(rooms): State<Arc<Rooms>>,
    here: Here,
    asks: Asks,
) -> Result<Response, Refusal> {
    super::aside(move || {
        let asks = asks.with("service_def", &here.id);
        listed(&rooms, &here, &asks)
    })
    .await
}

fn listed(rooms: &Rooms, here: &Here, asks: &Asks) -> Result<Response, Refusal> {
    let limit = asks.number("limit", usize::MAX)?.unwrap_or(rooms.soda.settings().page_size).clamp(1, LIMIT_MAX);
    let offset = asks.number("offset", OFFSET_MAX)?.unwrap_or(0);
    let service = ["service_def", "service_id", "service_definition_id"].into_iter().find_map(|name| asks.text(name));
    let service = match service.map(|id| offer::of_id(rooms, here, id)).transpose()? {
        Some(None) => return Ok(Body(Vec::<Json>::new()).into_response()),
        found => found.flatten().map(|offer| offer.0.name),
    };
    let caller = &here.principal;
    let filter = InstanceFilter {
        tenant: caller.tenant.clone(),
        service,
        services: caller.services.clone(),
        created_by: (!caller.sees(None)).then(|| caller.subject.clone()),
        ..InstanceFilter::default()
    };
    let (summaries, next) = page(rooms, here, &filter, offset + limit, asks.text("marker"))?;
    let mut services = Services::default();
    let items = summaries.iter().skip(offset).map(|summary| show(rooms, here, summary, &mut services));
    let items = items.collect::<Result<Vec<_>, _>>()?;
    let mut response = Body(items).into_response();
    if let Some(next) = next.and_then(|next| HeaderValue::try_from(next).ok()) {
        let link = format!("<?marker={}&limit={limit}>; rel=\"next\"", next.to_str().unwrap_or_default());
        response.headers_mut().insert("x-next-marker", next);
        response.headers_mut().extend(HeaderValue::try_from(link).ok().map(|link| (header::LINK, link)));
    }
    Ok(response)
}

/// The newest instances that somebody sees, so many as are wanted, and where the next page begins.
fn page(
    rooms: &Rooms,
    here: &Here,
    filter: &InstanceFilter,
    wanted: usize,
    marker: Option<&str>,
) -> Result<(Vec<InstanceSummary>, Option<String>), Refusal> {
    let (mut found, mut cursor) = (Vec::new(), marker.map(str::to_owned));
    for _ in 0..LOOKS_MAX {
        let page =
            rooms.coordinator.instances(filter, wanted - found.len(), cursor.as_deref()).map_err(Problem::from)?;
        found.extend(page.items.into_iter().filter(|summary| sees(here, summary) && is_listed(summary)));
        cursor = page.next;
        if cursor.is_none() || found.len() >= wanted {
            break;
        }
    }
    Ok((found, cursor))
}

/// What another instance runs as a part of itself is shown there.
fn is_listed(summary: &InstanceSummary) -> bool {
    summary.parent.as_ref().is_none_or(|parent| parent.detached)
}

fn sees(here: &Here, summary: &InstanceSummary) -> bool {
    let orders = summary.service.as_ref().is_none_or(|service| here.principal.may_order(service));
    summary.tenant == *here.tenant() && here.principal.sees(summary.created_by.as_deref()) && orders
}

/// Shows an instance.
#[utoipa::path(get, path = "/v1beta/{tenant}/orchestration/instances/{id}", tag = "soda", operation_id = "soda_get_instance",
    params(("tenant" = String, Path, description = "The tenant."), ("id" = String, Path, description = "The instance.")),
    responses(
        (status = 200, description = "The instance.", body = Object,
            example = json!({ "id": "0199c1f0-0000-7000-8000-000000000000", "name": "data volume", "status": "Success",
                "state": "completed", "output": "The volume is ready." })),
        (status = 404, description = "`{}`: there is none.", body = Refused),
    ))]
pub async fn get_instance(State(rooms): State<Arc<Rooms>>, here: Here) -> Result<Body<Json>, Refusal> {
    let summary = visible(&rooms, &here)?;
    show(&rooms, &here, &summary, &mut Services::default()).map(Body)
}

/// Gives an instance another name or description.
#[utoipa::path(put, path = "/v1beta/{tenant}/orchestration/instances/{id}", tag = "soda", operation_id = "soda_put_instance",
    params(("tenant" = String, Path, description = "The tenant."), ("id" = String, Path, description = "The instance.")),
    request_body(content = Object, description = "`name`, `description`; what is left out stays.",
        example = json!({ "name": "data volume", "description": "of the order database" })),
    responses(
        (status = 200, description = "The instance.", body = Object),
        (status = 400, description = "Nothing that can be changed.", body = Refused),
        (status = 404, description = "`{}`: there is none.", body = Refused),
    ))]
pub async fn put_instance(
    State(rooms): State<Arc<Rooms>>,
    here: Here,
    Object(said): Object,
) -> Result<Body<Json>, Refusal> {
    let summary = steered(&rooms, &here)?;
    let (name, description) = (text_of(&said, "name"), text_of(&said, "description"));
    if name.is_none() && description.is_none() {
        return Err(Refusal::new(Kind::InvalidBody, "give a `name` or a `description`; nothing else can be changed"));
    }
    let notes = rooms.coordinator.notes();
    let mut note = notes.get(summary.id).map_err(Problem::store)?;
    note.name = name.or(note.name);
    note.description = description.or(note.description);
    note.updated_at = Some(SystemClock.now());
    notes.put(summary.id, &note).await.map_err(Problem::store)?;
    show(&rooms, &here, &summary, &mut Services::default()).map(Body)
}

/// Deletes an instance; one that runs is cancelled first.
#[utoipa::path(delete, path = "/v1beta/{tenant}/orchestration/instances/{id}", tag = "soda",
    operation_id = "soda_delete_instance",
    params(("tenant" = String, Path, description = "The tenant."), ("id" = String, Path, description = "The instance.")),
    responses(
        (status = 200, description = "`\"Success\"`: deleted.", body = String, content_type = "application/json"),
        (status = 202, description = "`\"Success\"`: cancelled; it is deleted as soon as it has ended.", body = String, content_type = "application/json"),
        (status = 404, description = "`\"Failed\"`: there is none.", body = Refused),
        (status = 409, description = "Another instance runs it.", body = Refused),
    ))]
pub async fn delete_instance(
    State(rooms): State<Arc<Rooms>>,
    here: Here,
) -> Result<(StatusCode, Body<&'static str>), Refusal> {
    let summary = steered(&rooms, &here).map_err(|refusal| match refusal {
        Refusal::Nothing => Refusal::failed(),
        other => other,
    })?;
    let id = summary.id;
    if !summary.status.is_final() {
        match rooms.coordinator.cancel(id, Some(here.principal.subject.clone())).await {
            // It ended meanwhile, or cannot be taken up: both can be deleted.
            Ok(()) | Err(InstanceError::Ended(..) | InstanceError::Damaged(..)) => {}
            Err(error) => return Err(error.into()),
        }
        rooms.coordinator.wait(id, DELETE_WAIT).await.map_err(Problem::from)?;
    }
    match rooms.coordinator.delete(id).await {
        Ok(()) => Ok((StatusCode::OK, Body("Success"))),
        Err(InstanceError::NotEnded(_)) => {
            delete_later(rooms, id);
            Ok((StatusCode::ACCEPTED, Body("Success")))
        }
        Err(error) if is_absent(&error) => Err(Refusal::failed()),
        Err(error) => Err(error.into()),
    }
}

/// Deletes a cancelled instance when it has ended. Whoever asks again while it is under way changes nothing.
fn delete_later(rooms: Arc<Rooms>, id: InstanceId) {
    let Some(leaving) = rooms.soda.leave(id) else { return };
    tokio::spawn(async move {
        let ended = rooms.stopping.run_until_cancelled(rooms.coordinator.wait(id, DELETE_PATIENCE)).await;
        if let Some(Ok(_)) = ended
            && let Err(error) = rooms.coordinator.delete(id).await
        {
            tracing::warn!(instance = %id, %error, "a cancelled instance was not deleted");
        }
        drop(leaving);
    });
}

/// The instance of the path, if there is one that somebody sees.
pub fn visible(rooms: &Rooms, here: &Here) -> Result<InstanceSummary, Refusal> {
    instance(rooms, here, &here.id)
}

/// The instance of an identifier, if there is one that somebody sees.
pub fn instance(rooms: &Rooms, here: &Here, id: &str) -> Result<InstanceSummary, Refusal> {
    let Ok(id) = id.parse::<InstanceId>() else { return Err(Refusal::Nothing) };
    match rooms.coordinator.instance(id) {
        Ok(summary) if sees(here, &summary) => Ok(summary),
        Ok(_) => Err(Refusal::Nothing),
        Err(error) if is_absent(&error) => Err(Refusal::Nothing),
        Err(error) => Err(error.into()),
    }
}

/// The same for somebody who is to change it.
pub fn steered(rooms: &Rooms, here: &Here) -> Result<InstanceSummary, Refusal> {
    let summary = visible(rooms, here)?;
    match here.principal.steers(summary.created_by.as_deref()) {
        true => Ok(summary),
        false => Err(super::forbidden()),
    }
}

/// Identifiers of services by name, looked up once for each list.
pub type Services = BTreeMap<ServiceName, Option<String>>;

/// An instance as SODA's clients see it.
pub fn show(rooms: &Rooms, here: &Here, summary: &InstanceSummary, services: &mut Services) -> Result<Json, Refusal> {
    let settings = rooms.soda.settings();
    let note = rooms.coordinator.notes().get(summary.id).map_err(Problem::store)?;
    let by_name =
        |name: &ServiceName| services.entry(name.clone()).or_insert_with(|| offer::id_of(rooms, here, name)).clone();
    let service_id = note.service_id.clone().or_else(|| summary.service.as_ref().and_then(by_name));
    let action = settings.name_of(&summary.pack, &summary.workflow);
    let (tenant_id, names) = (here.tenant_id.as_str(), Names(settings.source(&action)));
    Ok(Shown { summary, note: &note, tenant_id, service_id, action: &action, names }.to_json())
}
