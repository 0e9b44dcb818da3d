//! The workflows of the installed packs, for the coordinator.

use std::sync::Arc;

use tokio::sync::watch;

use super::programs::{Named, Ordered, ProgramError, Programs, Resolved, Scheduled};
use crate::definition::graph::Program;
use crate::machine::record::Created;
use crate::model::{Json, PackName, ServiceName, TenantName, WorkflowName};
use crate::pack::catalog::WorkflowView;
use crate::pack::{Catalog, CatalogError};
use crate::service::{OrderError, Services};

/// Finds workflows in the catalog.
pub struct InstalledPrograms {
    /// The packs.
    pub catalog: Arc<Catalog>,
    /// What can be ordered.
    pub services: Arc<Services>,
}

impl Programs for InstalledPrograms {
    fn resolve(
        &self,
        pack: &PackName,
        version: Option<&semver::Version>,
        workflow: &WorkflowName,
    ) -> Result<Resolved, ProgramError> {
        let found = self.catalog.workflow(pack, version, workflow)?;
        Ok(Resolved { program: found.program.clone(), version: found.version.clone() })
    }

    fn named(
        &self,
        own: (&PackName, &semver::Version),
        namespace: &str,
        workflow: &WorkflowName,
        version: Option<&semver::Version>,
    ) -> Result<Named, ProgramError> {
        let found = self.catalog.workflow_named(own, namespace, workflow, version)?;
        let resolved = Resolved { program: found.program.clone(), version: found.version.clone() };
        Ok(Named { pack: found.pack.clone(), resolved })
    }

    fn pinned(&self, created: &Created) -> Result<Arc<Program>, ProgramError> {
        let program = self.catalog.program_by(&created.pack, &created.pack_version, &created.workflow)?;
        if program.digest == created.definition {
            return Ok(program);
        }
        Err(ProgramError::Unusable(format!(
            "workflow `{}` of pack `{}` {} is another one than the instance started with; install the original again",
            created.workflow, created.pack, created.pack_version
        )))
    }

    fn scheduled(&self) -> Vec<Scheduled> {
        let listed = self.catalog.workflows().into_iter().filter(|view| view.entry.scheduled);
        let read = |view: WorkflowView| {
            let WorkflowView { pack, version, name: workflow, .. } = view;
            match self.catalog.program_by(&pack, &version, &workflow) {
                Ok(program) => Some(Scheduled { pack, version, workflow, program }),
                Err(error) => {
                    tracing::error!(%pack, %version, %workflow, %error, "a workflow with a schedule cannot be read");
                    None
                }
            }
        };
        listed.filter_map(read).collect()
    }

    fn order(
        &self,
        tenant: &TenantName,
        service: &ServiceName,
        workflow: Option<&WorkflowName>,
        input: &Json,
    ) -> Result<Ordered, OrderError> {
        let order = self.services.order(tenant, service, workflow, input)?;
        Ok(Ordered { pack: order.pack, version: order.version, workflow: order.workflow, input: order.input })
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.catalog.changes())
    }
}

impl From<CatalogError> for ProgramError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::NotFound(text) => Self::NotFound(text),
            CatalogError::Unusable(text) => Self::Unusable(text),
            CatalogError::Files(_) | CatalogError::Store(_) => Self::Unusable(error.to_string()),
        }
    }
}
