//! What can be ordered: the services that packs bring and those that people make over the interface, side by side. A
//! service of a pack is in every tenant, unless the tenant switched it off; one that people made is in theirs. Each
//! stands for one or several workflows of installed packs. Reading order: what somebody says of a service (`template`),
//! its row (`store`), how it changes (`change`), what an order of it means (`order`).
//!
//! Nothing of it is kept in memory: a look reads the journal and the catalog, so a service tells at any moment whether
//! its workflows are there. It starts nothing.

mod change;
mod order;
mod store;
pub mod template;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

pub use change::ServiceError;
pub use order::{Order, OrderError};
use store::ServiceRow;
pub use template::{Template, Wrong};

use crate::clock::Clock;
use crate::journal::Journal;
use crate::model::{Json, PackName, ServiceName, TenantName, WorkflowName};
use crate::pack::{Catalog, ServiceView};

/// The namespace of the identifiers that names of packs' services become (UUID version 5).
const NAMESPACE: Uuid = Uuid::from_u128(0x5f3c_8a52_7d0e_4b1e_9c55_3b8f_20d6_1e47);

/// Who made a service or a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A pack brings it.
    Pack,
    /// Somebody made it over the interface.
    Api,
}

/// A service as it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// Its identifier; that of a pack's service follows from its name.
    #[schema(value_type = String, format = "uuid", example = "0199c1f0-0000-7000-8000-000000000000")]
    pub id: Uuid,
    /// Its name, the only one in its tenant.
    #[schema(value_type = String, example = "volume provision")]
    pub name: ServiceName,
    /// The heading it is listed under.
    #[schema(example = "provisioning")]
    pub group: String,
    /// What it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Words to find it by.
    #[schema(example = json!(["block", "storage"]))]
    pub tags: Vec<String>,
    /// A picture for people: a URL, a `data:` URL, or the name of one that the client has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
    /// The pack of its first workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "storage")]
    pub pack: Option<PackName>,
    /// The version that an order of the first workflow runs; absent where it is not installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "1.0.0")]
    pub version: Option<semver::Version>,
    /// Its first workflow: the one that runs where an order names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "provision-volume")]
    pub workflow: Option<WorkflowName>,
    /// All its workflows; an order names one.
    pub workflows: Vec<Choice>,
    /// The JSON Schema of what has to be said to order it: its own, else that of its first workflow; absent: anything.
    /// Hints for forms in it (`ui:…`, `x-…`) stand as they were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub input_schema: Option<Json>,
    /// How a form shows the input, for clients; passed through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub ui_schema: Option<Json>,
    /// Members of the input that are set where an order does not give them.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    #[schema(value_type = Option<Object>)]
    pub input_defaults: serde_json::Map<String, Json>,
    /// Those of them that an order may not give.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub locked_inputs: BTreeSet<String>,
    /// A remark for clients on who may order it where; passed through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<String>,
    /// What clients keep with it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Whether it can be ordered, as far as the admin is concerned.
    pub enabled: bool,
    /// Whether at least one of its workflows is installed.
    pub available: bool,
    /// Why not, and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who made it.
    #[schema(inline)]
    pub origin: Origin,
    /// Who made it over the interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// When it was made over the interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
    /// When it was changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub updated_at: Option<Timestamp>,
    /// Counts its changes, from 1; 0 for a pack's service.
    pub revision: u64,
}

/// One of a service's workflows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    /// What an order calls it.
    #[schema(value_type = String, example = "provision-volume")]
    pub name: WorkflowName,
    /// Its pack.
    #[schema(value_type = String, example = "storage")]
    pub pack: PackName,
    /// The version that runs; absent: the newest that is installed when it is ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "1.0.0")]
    pub version: Option<semver::Version>,
    /// The workflow.
    #[schema(value_type = String, example = "provision-volume")]
    pub workflow: WorkflowName,
    /// Whether it is installed.
    pub available: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The JSON Schema of its input, where the service has several workflows and no schema of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub input_schema: Option<Json>,
}

/// All services. Cheap to share.
pub struct Services {
    journal: Arc<dyn Journal>,
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
}

impl Services {
    /// The services of the catalog and of the journal.
    pub fn new(journal: Arc<dyn Journal>, catalog: Arc<Catalog>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { journal, catalog, clock })
    }

    /// What a tenant can order, and what is switched off, by name.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn list(&self, tenant: &TenantName) -> Result<Vec<Service>, ServiceError> {
        let own = store::all(&*self.journal, tenant)?;
        let names: BTreeSet<ServiceName> = own.iter().map(|row| row.declared.name.clone()).collect();
        let mut all: Vec<Service> = own.into_iter().map(|row| self.own(row)).collect();
        for view in self.catalog.services() {
            // What a tenant made under the name before the pack came is what the tenant means by it.
            if !names.contains(&view.name) {
                all.push(self.of_pack(tenant, view)?);
            }
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    /// One service of a tenant.
    ///
    /// # Errors
    /// There is none of that name, or the journal cannot be read.
    pub fn get(&self, tenant: &TenantName, name: &ServiceName) -> Result<Service, ServiceError> {
        if let Some(row) = store::one(&*self.journal, tenant, name)? {
            return Ok(self.own(row));
        }
        match self.catalog.service(name) {
            Some(view) => self.of_pack(tenant, view),
            None => Err(ServiceError::NotFound(name.clone())),
        }
    }

    /// The service of an identifier.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn by_id(&self, tenant: &TenantName, id: Uuid) -> Result<Option<Service>, ServiceError> {
        Ok(self.list(tenant)?.into_iter().find(|service| service.id == id))
    }

    fn of_pack(&self, tenant: &TenantName, view: ServiceView) -> Result<Service, ServiceError> {
        let enabled = !store::is_off(&*self.journal, tenant, &view.name)?;
        let choice = Choice {
            name: view.workflow.clone(),
            pack: view.pack.clone(),
            version: Some(view.version.clone()),
            workflow: view.workflow.clone(),
            available: true,
            reason: None,
            input_schema: None,
        };
        Ok(Service {
            id: Uuid::new_v5(&NAMESPACE, view.name.as_str().as_bytes()),
            name: view.name,
            group: view.group,
            description: view.description,
            tags: view.tags,
            icon: view.icon,
            pack: Some(view.pack),
            version: Some(view.version),
            workflow: Some(view.workflow),
            workflows: vec![choice],
            input_schema: view.input_schema,
            ui_schema: None,
            input_defaults: serde_json::Map::new(),
            locked_inputs: BTreeSet::new(),
            constraint: None,
            annotations: BTreeMap::new(),
            enabled,
            available: true,
            reason: None,
            origin: Origin::Pack,
            created_by: None,
            created_at: None,
            updated_at: None,
            revision: 0,
        })
    }

    fn own(&self, row: ServiceRow) -> Service {
        let ServiceRow { id, revision, created_by, created_at, updated_at, declared } = row;
        let each = declared.workflows.len() > 1 && declared.input_schema.is_none();
        let choices: Vec<Choice> = declared.workflows.iter().map(|target| self.choice(target, each)).collect();
        let first = declared.workflows.first();
        let available = choices.iter().any(|choice| choice.available);
        let reason = choices.iter().find_map(|choice| choice.reason.clone()).filter(|_| !available);
        let of_workflow =
            || first.and_then(|target| self.schema_of(&target.pack, target.version.as_ref(), &target.workflow));
        Service {
            id,
            pack: first.map(|target| target.pack.clone()),
            version: first.and_then(|target| self.version_of(target)),
            workflow: first.map(|target| target.workflow.clone()),
            workflows: choices,
            input_schema: declared.input_schema.clone().or_else(of_workflow),
            name: declared.name,
            group: declared.group,
            description: declared.description,
            tags: declared.tags,
            icon: declared.icon,
            ui_schema: declared.ui_schema,
            input_defaults: declared.input_defaults,
            locked_inputs: declared.locked_inputs,
            constraint: declared.constraint,
            annotations: declared.annotations,
            enabled: declared.enabled,
            available,
            reason,
            origin: Origin::Api,
            created_by,
            created_at: Some(created_at),
            updated_at: Some(updated_at),
            revision,
        }
    }

    fn choice(&self, target: &template::Target, with_schema: bool) -> Choice {
        let reason = self.absent(target);
        let schema = || self.schema_of(&target.pack, target.version.as_ref(), &target.workflow);
        Choice {
            name: target.name.clone(),
            pack: target.pack.clone(),
            version: target.version.clone(),
            workflow: target.workflow.clone(),
            available: reason.is_none(),
            reason,
            input_schema: with_schema.then(schema).flatten(),
        }
    }

    /// Why a workflow is not there, if that is so.
    fn absent(&self, target: &template::Target) -> Option<String> {
        self.catalog
            .find_workflow(&target.pack, target.version.as_ref(), &target.workflow)
            .err()
            .map(|why| why.to_string())
    }

    fn version_of(&self, target: &template::Target) -> Option<semver::Version> {
        let found = self.catalog.find_workflow(&target.pack, target.version.as_ref(), &target.workflow);
        found.ok().map(|pack| pack.manifest.version.clone())
    }

    /// The schema that a workflow has for its input.
    fn schema_of(&self, pack: &PackName, version: Option<&semver::Version>, workflow: &WorkflowName) -> Option<Json> {
        let pack = self.catalog.find_workflow(pack, version, workflow).ok()?;
        pack.workflows.get(workflow)?.input.clone()
    }
}
