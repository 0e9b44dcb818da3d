//! Services: what can be ordered.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::Caller;
use super::extract::InPath;
use super::list::List;
use super::problem::Problem;
use super::rooms::{Rooms, aside};
use crate::model::{Json as Data, ServiceName};
use crate::pack::ServiceView;

/// A service that can be ordered.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// Its name.
    #[schema(example = "volume provision")]
    name: String,
    /// The heading it is listed under.
    #[schema(example = "provisioning")]
    group: String,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// The pack that brings it.
    #[schema(example = "storage")]
    pack: String,
    /// The version that is ordered: the pack's latest.
    #[schema(example = "1.0.0")]
    version: String,
    /// The workflow behind it.
    #[schema(example = "provision-volume")]
    workflow: String,
    /// The JSON Schema of what has to be said to order it; absent: anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    input_schema: Option<Data>,
}

/// Lists the services that can be ordered, by name.
#[utoipa::path(get, path = "/v1/services", tag = "catalogue", responses(
    (status = 200, description = "All services.", body = List<Service>),
))]
pub async fn list_services(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
) -> Result<Json<List<Service>>, Problem> {
    let services = aside(move || Ok::<_, Problem>(rooms.catalog.services())).await?;
    let hers = services.into_iter().filter(|service| caller.may_order(&service.name));
    Ok(Json(List::whole(hers.map(Service::from))))
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
    InPath(name): InPath<ServiceName>,
) -> Result<Json<Service>, Problem> {
    let service = aside(move || rooms.catalog.service(&name).ok_or_else(|| Problem::unknown_service(&name))).await?;
    Ok(Json(service.into()))
}

impl From<ServiceView> for Service {
    fn from(view: ServiceView) -> Self {
        Self {
            name: view.name.into(),
            group: view.group,
            description: view.description,
            pack: view.pack.into(),
            version: view.version.to_string(),
            workflow: view.workflow.into(),
            input_schema: view.input_schema,
        }
    }
}
