//! Secrets: written, told by name and version, and removed; never read back.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::caller::Caller;
use super::extract::{InJson, InPath};
use super::list::List;
use super::problem::Problem;
use super::rooms::Rooms;
use crate::connection::secrets::SecretView;
use crate::model::SecretName;

/// A secret's value. It has no `Debug`, so that it cannot reach a log.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSecret {
    /// The value, at most 64 KiB.
    #[schema(format = Password)]
    value: String,
}

/// A secret, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = NamedSecret)]
pub struct Named {
    /// Its name.
    #[schema(value_type = String, example = "storage-token")]
    name: SecretName,
    /// Another one for each value that was stored; absent where it was stored before there were versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "3f9a1c5e77b0d264")]
    version: Option<String>,
}

impl From<SecretView> for Named {
    fn from(SecretView { name, version }: SecretView) -> Self {
        Self { name, version }
    }
}

/// Lists the names of the secrets of the caller's tenant in order.
#[utoipa::path(get, path = "/v1/secrets", tag = "secrets", responses(
    (status = 200, description = "All names with their versions.", body = List<Named>),
))]
pub async fn list_secrets(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
) -> Result<Json<List<Named>>, Problem> {
    let secrets = rooms.secrets.of(&caller.tenant).list()?;
    Ok(Json(List::whole(secrets.into_iter().map(Named::from))))
}

/// Tells that there is a secret, and which version of it; never its value.
#[utoipa::path(get, path = "/v1/secrets/{name}", tag = "secrets",
    params(("name" = String, Path, description = "The secret's name.")),
    responses(
        (status = 200, description = "There is one.", body = Named),
        (status = 404, description = "`unknown-secret`."),
    ))]
pub async fn get_secret(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(name): InPath<SecretName>,
) -> Result<Json<Named>, Problem> {
    let found = rooms.secrets.of(&caller.tenant).get(&name)?;
    found.map(|secret| Json(secret.into())).ok_or_else(|| Problem::unknown_secret(&name))
}

/// Stores a secret, encrypted; replaces the one of that name.
#[utoipa::path(put, path = "/v1/secrets/{name}", tag = "secrets",
    params(("name" = String, Path, description = "The secret's name.")),
    request_body = NewSecret,
    responses(
        (status = 204, description = "Stored, durably."),
        (status = 413, description = "`body-too-large`: the value is above 64 KiB."),
    ))]
pub async fn put_secret(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(name): InPath<SecretName>,
    InJson(secret): InJson<NewSecret>,
) -> Result<StatusCode, Problem> {
    let value = Zeroizing::new(secret.value);
    rooms.secrets.of(&caller.tenant).put(&name, value.as_bytes()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a secret. Connections that name it fail to authenticate from then on.
#[utoipa::path(delete, path = "/v1/secrets/{name}", tag = "secrets",
    params(("name" = String, Path, description = "The secret's name.")),
    responses(
        (status = 204, description = "Removed."),
        (status = 404, description = "`unknown-secret`."),
    ))]
pub async fn delete_secret(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InPath(name): InPath<SecretName>,
) -> Result<StatusCode, Problem> {
    match rooms.secrets.of(&caller.tenant).delete(&name).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::unknown_secret(&name)),
    }
}
