//! Services: what can be ordered, from packs and made here.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::caller::Caller;
use super::extract::{InPath, InQuery, parse};
use super::list::List;
use super::problem::{Fault, Kind, Problem};
use super::rooms::{Rooms, aside};
use super::template::{InTemplate, patched, settled};
use crate::model::{Json as Data, Principal, ServiceName, TenantName};
use crate::service::{Origin, Service, ServiceError, Template};

/// Which services to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only under this heading.
    group: Option<String>,
    /// Only with this tag.
    tag: Option<String>,
    /// Only from packs, or only made over the interface.
    #[param(inline)]
    origin: Option<Origin>,
    /// Only those that are switched on, or off.
    enabled: Option<bool>,
    /// Only where the name, the heading, the description or a tag has these words, in any case.
    q: Option<String>,
}

/// What changes of a pack's service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Switch {
    /// Whether it can be ordered in this tenant.
    enabled: bool,
}

/// Lists the services that can be ordered, by name; those that are switched off too.
#[utoipa::path(get, path = "/v1/services", tag = "catalogue", params(Which), responses(
    (status = 200, description = "All services that fit.", body = List<Service>),
    (status = 400, description = "`invalid-parameter`."),
))]
pub async fn list_services(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InQuery(which): InQuery<Which>,
) -> Result<Json<List<Service>>, Problem> {
    let services = aside(move || visible(&rooms, &caller)).await?;
    Ok(Json(List::whole(services.into_iter().filter(|service| which.fits(service)))))
}

/// Makes a service.
#[utoipa::path(post, path = "/v1/services", tag = "catalogue",
    request_body(description = "JSON or YAML.", content(
        (Template = "application/json", examples(
            ("least" = (summary = "the least", value = json!({"name": "gold volume", "pack": "storage",
                "workflow": "provision-volume"}))),
            ("several" = (summary = "several workflows, a form of its own, values that are set", value = json!({
                "name": "block storage", "group": "storage", "description": "Volumes of the gold class.",
                "tags": ["block", "gold"], "icon": "harddisk",
                "workflows": [{"name": "provision", "pack": "storage", "workflow": "provision-volume"},
                    {"name": "extend", "pack": "storage", "version": "1.0.0", "workflow": "extend-volume"}],
                "inputSchema": {"type": "object", "properties": {"name": {"type": "string", "ui:autofocus": true}}},
                "uiSchema": {"ui:order": ["name", "*"]},
                "inputDefaults": {"profileId": "gold"}, "lockedInputs": ["profileId"],
            }))),
        )),
        (Template = "application/yaml"),
    )),
    responses(
        (status = 201, description = "Made.", body = Service,
            headers(("Location" = String, description = "The service's path."))),
        (status = 409, description = "`service-exists`, or `limit-reached`: the tenant has 1,000."),
        (status = 413, description = "`body-too-large`: above 1 MiB."),
        (status = 415, description = "`unsupported-media-type`."),
        (status = 422, description = "`invalid-body`: each fault with its pointer; a workflow that is not installed is one."),
    ))]
pub async fn create_service(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InTemplate(template): InTemplate<Template>,
) -> Result<Response, Problem> {
    let made = rooms.services.create(&caller.tenant, &caller.subject, template).await?;
    let location = [(header::LOCATION, path_of("services", made.name.as_str())?)];
    Ok((StatusCode::CREATED, location, Json(made)).into_response())
}

/// Shows a service.
#[utoipa::path(get, path = "/v1/services/{name}", tag = "catalogue",
    params(("name" = String, Path, description = "The service's name.", example = "volume provision")),
    responses(
        (status = 200, description = "The service.", body = Service),
        (status = 404, description = "`unknown-service`."),
    ))]
pub async fn get_service(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(name): InPath<ServiceName>,
) -> Result<Json<Service>, Problem> {
    check_sees(&caller, &name)?;
    let service = aside(move || rooms.services.get(&caller.tenant, &name).map_err(Problem::from)).await?;
    Ok(Json(service))
}

/// Makes a service or replaces it whole.
#[utoipa::path(put, path = "/v1/services/{name}", tag = "catalogue",
    params(("name" = String, Path, description = "The service's name.", example = "gold volume")),
    request_body(description = "JSON or YAML.", content(
        (Template = "application/json", example = json!({"pack": "storage", "workflow": "provision-volume",
            "group": "storage", "inputDefaults": {"profileId": "gold"}})),
        (Template = "application/yaml"),
    )),
    responses(
        (status = 200, description = "Replaced.", body = Service),
        (status = 201, description = "Made.", body = Service),
        (status = 409, description = "`service-of-pack`, `conflict`, or `limit-reached`: the tenant has 1,000."),
        (status = 413, description = "`body-too-large`: above 1 MiB."),
        (status = 415, description = "`unsupported-media-type`."),
        (status = 422, description = "`invalid-body`."),
    ))]
pub async fn put_service(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(name): InPath<ServiceName>,
    InTemplate(template): InTemplate<Template>,
) -> Result<(StatusCode, Json<Service>), Problem> {
    check_sees(&caller, &name)?;
    let (service, made) = rooms.services.put(&caller.tenant, &caller.subject, &name, template, None).await?;
    Ok((if made { StatusCode::CREATED } else { StatusCode::OK }, Json(service)))
}

/// Changes members of a service (RFC 7396: `null` takes one out). Of a pack's service only `enabled`, in this tenant.
#[utoipa::path(patch, path = "/v1/services/{name}", tag = "catalogue",
    params(("name" = String, Path, description = "The service's name.", example = "gold volume")),
    request_body(description = "The members that change, in JSON or YAML.", content(
        (Object = "application/merge-patch+json", example = json!({"enabled": false, "description": null})),
        (Object = "application/json", example = json!({"enabled": false})),
        (Object = "application/yaml"),
    )),
    responses(
        (status = 200, description = "Changed.", body = Service),
        (status = 404, description = "`unknown-service`."),
        (status = 409, description = "`service-of-pack`, or `conflict`."),
        (status = 413, description = "`body-too-large`: above 1 MiB."),
        (status = 415, description = "`unsupported-media-type`."),
        (status = 422, description = "`invalid-body`."),
    ))]
pub async fn patch_service(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(name): InPath<ServiceName>,
    InTemplate(patch): InTemplate<serde_json::Map<String, Data>>,
) -> Result<Json<Service>, Problem> {
    check_sees(&caller, &name)?;
    let patch = Data::Object(patch);
    settled(|| change(&rooms, &caller, &name, &patch)).await.map(Json)
}

/// Removes a service. Its instances stay.
#[utoipa::path(delete, path = "/v1/services/{name}", tag = "catalogue",
    params(("name" = String, Path, description = "The service's name.")),
    responses(
        (status = 204, description = "Removed."),
        (status = 404, description = "`unknown-service`."),
        (status = 409, description = "`service-of-pack`, or `conflict`."),
    ))]
pub async fn delete_service(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(name): InPath<ServiceName>,
) -> Result<StatusCode, Problem> {
    check_sees(&caller, &name)?;
    rooms.services.delete(&caller.tenant, &name, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn change(rooms: &Rooms, caller: &Principal, name: &ServiceName, patch: &Data) -> Result<Service, Problem> {
    let tenant = &caller.tenant;
    match rooms.services.template(tenant, name) {
        // What cannot be ordered any more, because its pack is gone, can still be switched off.
        Ok(_) if says_only_enabled(patch) => switch(rooms, tenant, name, patch).await,
        Ok((template, revision)) => {
            let says_one = ["pack", "version", "workflow"].iter().any(|member| !patch[*member].is_null());
            let says_several = !patch["workflows"].is_null();
            let template = if says_one && !says_several { template.single() } else { template };
            let template = patched(&template, patch)?;
            Ok(rooms.services.put(tenant, &caller.subject, name, template, Some(revision)).await?.0)
        }
        Err(ServiceError::OfPack { .. }) => switch(rooms, tenant, name, patch).await,
        Err(error) => Err(error.into()),
    }
}

fn says_only_enabled(patch: &Data) -> bool {
    patch.as_object().is_some_and(|members| members.len() == 1 && members.get("enabled").is_some_and(Data::is_boolean))
}

/// Switches a service on or off; of a pack's service nothing else changes.
async fn switch(rooms: &Rooms, tenant: &TenantName, name: &ServiceName, patch: &Data) -> Result<Service, Problem> {
    let other = patch.as_object().and_then(|members| members.keys().find(|member| *member != "enabled"));
    if let Some(member) = other {
        let text = format!("service `{name}` is brought by a pack; of it only `enabled` changes, and not `{member}`");
        return Err(Problem::new(Kind::ServiceOfPack, text));
    }
    let Switch { enabled } = parse(&serde_json::to_vec(patch).map_err(Problem::internal)?)?;
    Ok(rooms.services.enable(tenant, name, enabled).await?)
}

/// The services that somebody sees.
///
/// # Errors
/// The store cannot be read.
pub(super) fn visible(rooms: &Rooms, caller: &Principal) -> Result<Vec<Service>, Problem> {
    let all = rooms.services.list(&caller.tenant)?;
    Ok(all.into_iter().filter(|service| caller.may_order(&service.name)).collect())
}

/// To somebody who may order some services only, the others are not there.
pub(super) fn check_sees(caller: &Principal, name: &ServiceName) -> Result<(), Problem> {
    if caller.may_order(name) { Ok(()) } else { Err(Problem::unknown_service(name)) }
}

/// The path of something below `/v1`.
pub(super) fn path_of(resource: &str, name: &str) -> Result<HeaderValue, Problem> {
    let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
    HeaderValue::try_from(format!("/v1/{resource}/{name}")).map_err(Problem::internal)
}

impl Which {
    fn fits(&self, service: &Service) -> bool {
        self.group.as_ref().is_none_or(|group| *group == service.group)
            && self.tag.as_ref().is_none_or(|tag| service.tags.contains(tag))
            && self.origin.is_none_or(|origin| origin == service.origin)
            && self.enabled.is_none_or(|enabled| enabled == service.enabled)
            && self.q.as_ref().is_none_or(|words| has_words(service, words))
    }
}

fn has_words(service: &Service, words: &str) -> bool {
    let texts = [service.name.as_str(), &service.group, service.description.as_deref().unwrap_or_default()];
    let texts = texts.into_iter().chain(service.tags.iter().map(String::as_str));
    let text = texts.map(str::to_lowercase).collect::<Vec<_>>().join("\n");
    words.to_lowercase().split_whitespace().all(|word| text.contains(word))
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        let text = error.to_string();
        match error {
            ServiceError::NotFound(_) => Self::new(Kind::UnknownService, text),
            ServiceError::Exists(_) => Self::new(Kind::ServiceExists, text),
            ServiceError::OfPack { .. } => Self::new(Kind::ServiceOfPack, text),
            ServiceError::Invalid(wrong) => {
                let faults = wrong.into_iter().map(|wrong| Fault::at(wrong.pointer, wrong.message));
                Self::new(Kind::InvalidBody, text).with(faults)
            }
            ServiceError::TooMany(_) => Self::new(Kind::LimitReached, text),
            ServiceError::Changed(_) => Self::new(Kind::Conflict, text),
            ServiceError::Store(error) => Self::store(error),
        }
    }
}
