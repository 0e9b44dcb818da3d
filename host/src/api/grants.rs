//! Grants: what the admin of a tenant allows a pack to use there.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use utoipa::ToSchema;

use super::caller::Caller;
use super::extract::{InJson, InPath};
use super::problem::Problem;
use super::rooms::Rooms;
use crate::model::PackName;
use crate::pack::{GrantError, Grants};

/// What a pack may use in a tenant, in all its versions.
#[derive(ToSchema)]
#[schema(as = Grants)]
#[expect(dead_code, reason = "only the schema is used: the pack room reads and writes grants")]
pub struct GrantsSchema {
    /// The connection behind each connection name of `pack.yaml`.
    #[schema(example = json!({"backend": "block-storage"}))]
    connections: Option<BTreeMap<String, String>>,
    /// The stored secret behind each secret name of `pack.yaml`.
    #[schema(example = json!({}))]
    secrets: Option<BTreeMap<String, String>>,
    /// The hosts that may be reached by absolute URL, as `pack.yaml` asks for them.
    #[schema(example = json!(["api.example:443"]))]
    hosts: Option<Vec<String>>,
}

/// Gives a pack's grants in the caller's tenant.
#[utoipa::path(get, path = "/v1/packs/{name}/grants", tag = "packs",
    params(("name" = String, Path, description = "The pack's name.")),
    responses(
        (status = 200, description = "Its grants; nothing is granted by default.", body = GrantsSchema),
        (status = 404, description = "`unknown-pack`."),
    ))]
pub async fn get_grants(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(name): InPath<PackName>,
) -> Result<Json<Grants>, Problem> {
    rooms.catalog.latest(&name).ok_or_else(|| Problem::unknown_pack(&name))?;
    Ok(Json(rooms.catalog.grants(&caller.tenant, &name)))
}

/// Replaces a pack's grants in the caller's tenant. Attempts under way keep what they had. A connection or secret may be made later.
#[utoipa::path(put, path = "/v1/packs/{name}/grants", tag = "packs",
    params(("name" = String, Path, description = "The pack's name.")),
    request_body = GrantsSchema,
    responses(
        (status = 200, description = "Stored, durably.", body = GrantsSchema),
        (status = 404, description = "`unknown-pack`."),
        (status = 422, description = "`invalid-grants`: something is granted that the pack does not ask for, or a connection \
         for mail in the place of one for requests, or the other way round."),
    ))]
pub async fn put_grants(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(name): InPath<PackName>,
    InJson(grants): InJson<Grants>,
) -> Result<Json<Grants>, Problem> {
    let wrong = rooms.catalog.wrong_kinds(&caller.tenant, &name, &grants, &rooms.connections);
    if !wrong.is_empty() {
        return Err(GrantError::Invalid(wrong).into());
    }
    rooms.catalog.put_grants(&caller.tenant, &name, grants.clone()).await?;
    Ok(Json(grants))
}
