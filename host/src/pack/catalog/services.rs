//! The services that installed packs bring: those of each pack's latest version, as they are listed and ordered.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Catalog, CatalogError, Pack};
use crate::model::{Json, PackName, ServiceName, WorkflowName};
use crate::pack::manifest::Service;

/// A service that can be ordered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceView {
    /// Its name.
    pub name: ServiceName,
    /// The heading it is listed under.
    pub group: String,
    /// What it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// A picture for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
    /// The pack that brings it.
    pub pack: PackName,
    /// The version that is ordered: the pack's latest.
    pub version: semver::Version,
    /// The workflow behind it.
    pub workflow: WorkflowName,
    /// The schema of what has to be said to order it; absent: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Json>,
}

impl Catalog {
    /// The services that can be ordered, by name.
    pub fn services(&self) -> Vec<ServiceView> {
        let packs: Vec<Arc<Pack>> = self.read().latests().cloned().collect();
        let mut services: Vec<ServiceView> = packs.iter().flat_map(|pack| self.services_of(pack)).collect();
        services.sort_by(|left, right| left.name.cmp(&right.name));
        services
    }

    /// One service.
    pub fn service(&self, name: &ServiceName) -> Option<ServiceView> {
        let (pack, service) = self.declared(name)?;
        Some(self.view_of(&pack, &service))
    }

    /// The schema that a service has of its own, beside its workflow's: an order has to fit both.
    ///
    /// # Errors
    /// Its file cannot be read.
    pub fn service_schema(&self, name: &ServiceName) -> Result<Option<Json>, CatalogError> {
        let Some((pack, Service { input: Some(path), .. })) = self.declared(name) else { return Ok(None) };
        Ok(Some(self.store.schema(pack.digest, &path)?))
    }

    fn declared(&self, name: &ServiceName) -> Option<(Arc<Pack>, Service)> {
        let packs = self.read();
        packs.latests().find_map(|pack| {
            let service = pack.manifest.services.iter().find(|service| service.name == *name)?;
            Some((pack.clone(), service.clone()))
        })
    }

    fn services_of(&self, pack: &Arc<Pack>) -> Vec<ServiceView> {
        pack.manifest.services.iter().map(|service| self.view_of(pack, service)).collect()
    }

    fn view_of(&self, pack: &Pack, service: &Service) -> ServiceView {
        ServiceView {
            name: service.name.clone(),
            group: service.group.clone(),
            description: service.description.clone(),
            tags: service.tags.clone(),
            icon: service.icon.clone(),
            pack: pack.manifest.name.clone(),
            version: pack.manifest.version.clone(),
            workflow: service.workflow.clone(),
            input_schema: self.service_input(pack, service),
        }
    }

    /// The service's own schema, else its workflow's. A file that cannot be read is logged: the list must not fail.
    fn service_input(&self, pack: &Pack, service: &Service) -> Option<Json> {
        let of_workflow = || pack.workflows.get(&service.workflow).and_then(|workflow| workflow.input.clone());
        let Some(path) = &service.input else { return of_workflow() };
        match self.store.schema(pack.digest, path) {
            Ok(schema) => Some(schema),
            Err(error) => {
                tracing::error!(%error, pack = %pack.manifest.name, "read a service's schema");
                None
            }
        }
    }
}
