//! Connections: a tenant's named ways to outside systems. A declaration names its secrets and never contains one.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::Caller;
use super::extract::{InJson, InPath};
use super::list::List;
use super::problem::Problem;
use super::rooms::Rooms;
use crate::connection::declaration::Connection;
use crate::model::ConnectionName;

/// A connection with its name.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = NamedConnection)]
pub struct Named {
    /// Its name.
    #[schema(value_type = String, example = "block-storage")]
    name: ConnectionName,
    /// Its declaration.
    #[serde(flatten)]
    connection: Connection,
}

/// Lists the connections of the caller's tenant in order of their names.
#[utoipa::path(get, path = "/v1/connections", tag = "connections", responses(
    (status = 200, description = "All connections.", body = List<Named>),
))]
pub async fn list_connections(State(rooms): State<Arc<Rooms>>, Caller(caller): Caller) -> Json<List<Named>> {
    let named = |(name, connection)| Named { name, connection };
    Json(List::whole(rooms.connections.list(&caller.tenant).into_iter().map(named)))
}

/// Gives a connection.
#[utoipa::path(get, path = "/v1/connections/{name}", tag = "connections",
    params(("name" = String, Path, description = "The connection's name.")),
    responses(
        (status = 200, description = "The connection.", body = Named),
        (status = 404, description = "`unknown-connection`."),
    ))]
pub async fn get_connection(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(name): InPath<ConnectionName>,
) -> Result<Json<Named>, Problem> {
    let connection = rooms.connections.get(&caller.tenant, &name).ok_or_else(|| Problem::unknown_connection(&name))?;
    Ok(Json(Named { name, connection }))
}

/// Makes or replaces a connection. Attempts under way keep the old one; the next attempt uses the new one.
#[utoipa::path(put, path = "/v1/connections/{name}", tag = "connections",
    params(("name" = String, Path, description = "The connection's name.")),
    request_body(content = Connection, example = json!({
        "baseUrl": "https://storage.example/v1beta/tenant",
        "authentication": {"scheme": "bearer", "token": "storage-token"},
    })),
    responses(
        (status = 200, description = "Replaced.", body = Named),
        (status = 201, description = "Made.", body = Named),
        (status = 422, description = "`invalid-body`."),
    ))]
pub async fn put_connection(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(name): InPath<ConnectionName>,
    InJson(connection): InJson<Connection>,
) -> Result<(StatusCode, Json<Named>), Problem> {
    let made = rooms.connections.put(&caller.tenant, &name, connection.clone()).await?;
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(Named { name, connection })))
}

/// Removes a connection. Attempts under way keep it; later ones are denied.
#[utoipa::path(delete, path = "/v1/connections/{name}", tag = "connections",
    params(("name" = String, Path, description = "The connection's name.")),
    responses(
        (status = 204, description = "Removed."),
        (status = 404, description = "`unknown-connection`."),
    ))]
pub async fn delete_connection(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(name): InPath<ConnectionName>,
) -> Result<StatusCode, Problem> {
    match rooms.connections.delete(&caller.tenant, &name).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::unknown_connection(&name)),
    }
}
