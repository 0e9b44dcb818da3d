//! The rows of services that people made, and the marks of packs' services that are switched off.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::template::Declared;
use crate::journal::{Journal, Scan, StoreError, keys, row};
use crate::model::{ServiceName, TenantName};

/// A service that somebody made (key `y` `s`). Members are only ever added, with a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceRow {
    pub(super) id: Uuid,
    /// Counts the changes, from 1.
    pub(super) revision: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) created_by: Option<String>,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) declared: Declared,
}

/// The services that a tenant made. Their number is bounded where they are made.
pub(super) fn all(journal: &dyn Journal, tenant: &TenantName) -> Result<Vec<ServiceRow>, StoreError> {
    let rows = journal.scan(Scan::prefix(keys::own_services(tenant), usize::MAX))?;
    rows.iter().map(|found| row::decode(&found.value)).collect()
}

/// One that a tenant made.
pub(super) fn one(
    journal: &dyn Journal,
    tenant: &TenantName,
    name: &ServiceName,
) -> Result<Option<ServiceRow>, StoreError> {
    journal.get(&keys::own_service(tenant, name))?.map(|bytes| row::decode(&bytes)).transpose()
}

/// Whether a tenant switched this pack's service off.
pub(super) fn is_off(journal: &dyn Journal, tenant: &TenantName, name: &ServiceName) -> Result<bool, StoreError> {
    Ok(journal.get(&keys::service_off(tenant, name))?.is_some())
}
