//! Who the caller is to the server.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{Caller, Known};
use crate::model::{Permission, Role};

/// The caller, as the server knows her.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Whoami {
    /// Who: stable and unique on this server. Instances that she starts carry it as `createdBy`.
    #[schema(example = "token:ci")]
    pub subject: String,
    /// The tenant that requests act in.
    #[schema(example = "default")]
    pub tenant: String,
    /// What she is to it.
    pub roles: Vec<Role>,
    /// What these roles give.
    #[schema(value_type = Vec<String>, example = json!(["read", "order"]))]
    pub permissions: Vec<Permission>,
    /// The only services that she sees and may order; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<String>>,
    /// How she was known: `token`, `oidc`, `keystone`, or `none` where the server authenticates nobody.
    #[schema(example = "token")]
    pub authentication: String,
}

/// Tells who the caller is, in which tenant, and what she may.
#[utoipa::path(get, path = "/v1/whoami", tag = "people", responses(
    (status = 200, description = "The caller.", body = Whoami),
    (status = 401, description = "`unauthenticated`."),
))]
pub async fn whoami(Caller(caller): Caller, Known(means): Known) -> Json<Whoami> {
    let services = caller.services.as_ref().map(|services| services.iter().map(ToString::to_string).collect());
    Json(Whoami {
        subject: caller.subject.clone(),
        tenant: caller.tenant.to_string(),
        roles: caller.roles.iter().copied().collect(),
        permissions: Permission::ALL.into_iter().filter(|permission| caller.may(*permission)).collect(),
        services,
        authentication: means.as_str().to_owned(),
    })
}
