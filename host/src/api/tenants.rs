//! Tenants: made, changed and deleted by server admins; everybody sees her own.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::Caller;
use super::extract::{InJson, InPath};
use super::list::List;
use super::problem::{Kind, Problem};
use super::rooms::{Rooms, aside};
use crate::identity::{IdentityError, tenants};
use crate::model::{Permission, Principal, TenantName};

/// A tenant to be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewTenant {
    /// What it is for, at most 1,000 characters.
    pub description: Option<String>,
    /// Whether its people are let in; by default they are.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub enabled: bool,
}

fn yes() -> bool {
    true
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tenant {
    /// Its name.
    #[schema(example = "acme")]
    name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Whether its people are let in.
    enabled: bool,
    /// When it was made; absent: it was always there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
}

/// Lists the tenants, by name: a server admin sees all, everybody else her own.
#[utoipa::path(get, path = "/v1/tenants", tag = "people", responses(
    (status = 200, description = "The tenants that the caller sees.", body = List<Tenant>),
))]
pub async fn list_tenants(State(rooms): State<Arc<Rooms>>, Caller(caller): Caller) -> Json<List<Tenant>> {
    let all = rooms.identity.tenants.list().into_iter();
    Json(List::whole(all.filter(|tenant| sees(&caller, &tenant.name)).map(Tenant::from)))
}

/// Shows a tenant.
#[utoipa::path(get, path = "/v1/tenants/{name}", tag = "people",
    params(("name" = String, Path, description = "The tenant's name.")),
    responses(
        (status = 200, description = "The tenant.", body = Tenant),
        (status = 404, description = "`unknown-tenant`: there is none, or it is another one than the caller's."),
    ))]
pub async fn get_tenant(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(name): InPath<TenantName>,
) -> Result<Json<Tenant>, Problem> {
    let found = rooms.identity.tenants.get(&name).filter(|tenant| sees(&caller, &tenant.name));
    Ok(Json(found.ok_or(IdentityError::UnknownTenant(name))?.into()))
}

/// Makes a tenant, or replaces what is said about it. A disabled one keeps everything and lets nobody in: its
/// schedules do not fire, nothing new is started in it, and what runs goes on.
#[utoipa::path(put, path = "/v1/tenants/{name}", tag = "people",
    params(("name" = String, Path, description = "The tenant's name.")),
    request_body(content = NewTenant, example = json!({"description": "The Acme department"})),
    responses(
        (status = 200, description = "Replaced, durably.", body = Tenant),
        (status = 201, description = "Made, durably.", body = Tenant,
            headers(("Location" = String, description = "The tenant's path."))),
        (status = 403, description = "`forbidden`."),
        (status = 409, description = "`limit-reached`."),
        (status = 422, description = "`invalid-body`."),
    ))]
pub async fn put_tenant(
    State(rooms): State<Arc<Rooms>>,
    InPath(name): InPath<TenantName>,
    InJson(asked): InJson<NewTenant>,
) -> Result<Response, Problem> {
    let (tenant, is_made) = rooms.identity.tenants.put(name, asked.description, asked.enabled).await?;
    let location = HeaderValue::try_from(format!("/v1/tenants/{}", tenant.name)).map_err(Problem::internal)?;
    let tenant = Json(Tenant::from(tenant));
    match is_made {
        true => Ok((StatusCode::CREATED, [(header::LOCATION, location)], tenant).into_response()),
        false => Ok(tenant.into_response()),
    }
}

/// Deletes a tenant that holds nothing any more.
#[utoipa::path(delete, path = "/v1/tenants/{name}", tag = "people",
    params(("name" = String, Path, description = "The tenant's name.")),
    responses(
        (status = 204, description = "Deleted, durably."),
        (status = 403, description = "`forbidden`."),
        (status = 404, description = "`unknown-tenant`."),
        (status = 409, description = "`tenant-held`: something still belongs to it, or it is `default`."),
    ))]
pub async fn delete_tenant(
    State(rooms): State<Arc<Rooms>>,
    InPath(name): InPath<TenantName>,
) -> Result<StatusCode, Problem> {
    if !name.is_standard() && rooms.identity.tenants.get(&name).is_some() {
        check_empty(&rooms, &name).await?;
    }
    rooms.identity.tenants.delete(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Refuses while something is left, and sweeps out what nobody misses.
async fn check_empty(rooms: &Arc<Rooms>, name: &TenantName) -> Result<(), Problem> {
    let tokens = rooms.identity.tokens.list(Some(name)).len();
    let (looking, wanted) = (rooms.clone(), name.clone());
    let held = aside(move || looking.held(&wanted)).await?;
    if tokens > 0 || !held.is_nothing() {
        let left = format!("{held}, {tokens} tokens are left");
        let cure = format!("the tenant `{name}` cannot be deleted: {left}; delete them, or disable the tenant");
        return Err(Problem::new(Kind::TenantHeld, cure));
    }
    rooms.forget_rest(name).await
}

fn sees(caller: &Principal, tenant: &TenantName) -> bool {
    caller.tenant == *tenant || caller.may(Permission::ManageServer)
}

impl From<tenants::Tenant> for Tenant {
    fn from(tenant: tenants::Tenant) -> Self {
        Self {
            name: tenant.name.into(),
            description: tenant.description,
            enabled: tenant.enabled,
            created_at: Some(tenant.created_at).filter(|at| *at != Timestamp::UNIX_EPOCH),
        }
    }
}
