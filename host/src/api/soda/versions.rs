//! The versions of SODA's interface that are spoken here.

use axum::Json as Body;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A version of the interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VersionSpec {
    /// Its name, the first part of its paths.
    #[schema(example = "v1beta")]
    name: String,
    /// `CURRENT`, `SUPPORTED` or `DEPRECATED`.
    #[schema(example = "CURRENT")]
    status: String,
    /// When it was changed last.
    #[schema(format = DateTime, example = "2026-11-21T00:00:00Z")]
    updated: String,
}

/// All versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Versions {
    /// The versions.
    versions: Vec<VersionSpec>,
}

/// One version, both as SODA's interface description has it and as its example has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OneVersion {
    /// The version.
    version: VersionSpec,
    /// The same once more.
    #[serde(flatten)]
    same: VersionSpec,
}

fn v1beta() -> VersionSpec {
    let updated = "2026-11-21T00:00:00Z".to_owned();
    VersionSpec { name: "v1beta".to_owned(), status: "CURRENT".to_owned(), updated }
}

/// Lists the versions of SODA's interface.
#[utoipa::path(get, path = "/", tag = "soda", operation_id = "soda_list_versions", responses(
    (status = 200, description = "The versions.", body = Versions),
))]
pub async fn list_versions() -> Body<Versions> {
    Body(Versions { versions: vec![v1beta()] })
}

/// Shows the version of SODA's interface.
#[utoipa::path(get, path = "/v1beta", tag = "soda", operation_id = "soda_get_version", responses(
    (status = 200, description = "The version.", body = OneVersion),
))]
pub async fn get_version() -> Body<OneVersion> {
    Body(OneVersion { version: v1beta(), same: v1beta() })
}
