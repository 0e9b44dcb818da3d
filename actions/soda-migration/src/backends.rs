//! Backends: the object stores that a multi-cloud service knows.

use orchestrator_sdk::{Context, Error, http, json, log, secrets, standard};
use serde::{Deserialize, Serialize};

use crate::api::{self, MULTICLOUD};

/// The secrets that a new backend's credentials come from, as `pack.yaml` requests them.
const ACCESS: &str = "backend-access-key";
const SECRET: &str = "backend-secret-key";

/// What `find-or-create-backend` is given. A member that is `null` counts as absent.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// `aws-s3`, `ceph-s3`, …; without it, a backend is only looked for.
    pub r#type: Option<String>,
    /// Its region.
    pub region: Option<String>,
    /// Its endpoint, `https://s3.example`.
    pub endpoint: Option<String>,
    /// The bucket that it is bound to, for types that want one.
    pub bucket_name: Option<String>,
}

/// A backend as the API shows it; its credentials never leave this module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// Its identifier.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Its region.
    #[serde(default)]
    pub region: String,
    /// Whether this call made it.
    #[serde(default)]
    pub created: bool,
}

/// Finds a backend by its name, or registers it when its type is given.
///
/// # Errors
/// Permanent 404 when there is none and no type is given; those of the API.
pub fn find_or_create(ctx: &Context, wanted: Wanted) -> Result<Backend, Error> {
    if let Some(backend) = find(&wanted.name)? {
        return Ok(backend);
    }
    let Some(kind) = &wanted.r#type else {
        return Err(Error::permanent(format!("the multi-cloud service has no backend `{}`", wanted.name))
            .with_type(standard::VALIDATION, 404, "No such backend")
            .cure("register it, or order with `backendType`, `backendRegion` and `backendEndpoint`"));
    };
    let mut body = json!({
        "name": wanted.name, "type": kind,
        "region": wanted.region.as_deref().unwrap_or(""), "endpoint": wanted.endpoint.as_deref().unwrap_or(""),
        "access": secrets::reveal_text(ACCESS)?, "security": secrets::reveal_text(SECRET)?,
    });
    if let Some(bucket) = &wanted.bucket_name {
        body["bucketName"] = json!(bucket);
    }
    let response = api::send(http::post(MULTICLOUD, "/backends").json(&body))?;
    if !response.is_success() {
        return Err(api::refused(&response, &format!("register the backend `{}`", wanted.name)));
    }
    let backend = Backend { created: true, ..response.parse()? };
    ctx.created("backend", &backend.id);
    log::info!("registered the backend `{}`", backend.name);
    Ok(backend)
}

fn find(name: &str) -> Result<Option<Backend>, Error> {
    let all: Vec<Backend> = api::list("/backends", "backends", &[("name", name)])?;
    Ok(all.into_iter().find(|backend| backend.name == name))
}
