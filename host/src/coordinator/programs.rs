//! Where workflows come from: the installed packs in the server, a map in tests.

use std::sync::Arc;

use tokio::sync::watch;

use crate::definition::graph::Program;
use crate::machine::record::Created;
use crate::model::{Json, PackName, ServiceName, TenantName, WorkflowName};
use crate::service::OrderError;

/// Finds compiled workflows.
pub trait Programs: Send + Sync + 'static {
    /// The workflow of a pack: of the version, or of the newest one.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    fn resolve(
        &self,
        pack: &PackName,
        version: Option<&semver::Version>,
        workflow: &WorkflowName,
    ) -> Result<Resolved, ProgramError>;

    /// The workflow that another one names by `document.namespace`, `document.name` and, if at all, `document.version`;
    /// `own` is the other one's pack. Here it is one of the pack of that name, or of the own one.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    fn named(
        &self,
        own: (&PackName, &semver::Version),
        namespace: &str,
        workflow: &WorkflowName,
        version: Option<&semver::Version>,
    ) -> Result<Named, ProgramError> {
        let fits = |found: &Resolved| version.is_none_or(|version| found.program.version == *version);
        if let Ok(pack) = PackName::parse(namespace)
            && let Ok(resolved) = self.resolve(&pack, None, workflow)
            && fits(&resolved)
        {
            return Ok(Named { pack, resolved });
        }
        let resolved = self.resolve(own.0, Some(own.1), workflow)?;
        match resolved.program.namespace == namespace && fits(&resolved) {
            true => Ok(Named { pack: own.0.clone(), resolved }),
            false => {
                Err(ProgramError::NotFound(format!("there is no workflow `{workflow}` of namespace `{namespace}`")))
            }
        }
    }

    /// The very workflow that an instance started with.
    ///
    /// # Errors
    /// It is not installed any more, is another one by now, or cannot be read.
    fn pinned(&self, created: &Created) -> Result<Arc<Program>, ProgramError>;

    /// The workflows that start by themselves, each of its pack's newest version. One that cannot be read is left out.
    fn scheduled(&self) -> Vec<Scheduled> {
        Vec::new()
    }

    /// What an order of a tenant's service means by now.
    ///
    /// # Errors
    /// There is no such service, or nothing can be started for it.
    fn order(
        &self,
        _tenant: &TenantName,
        service: &ServiceName,
        _workflow: Option<&WorkflowName>,
        _input: &Json,
    ) -> Result<Ordered, OrderError> {
        Err(OrderError::NotFound(service.clone()))
    }

    /// Told whenever [`Self::scheduled`] may answer otherwise; nothing where it never does.
    fn changes(&self) -> Option<watch::Receiver<u64>> {
        None
    }
}

/// A workflow with a schedule.
#[derive(Debug, Clone)]
pub struct Scheduled {
    /// Its pack.
    pub pack: PackName,
    /// The pack's version.
    pub version: semver::Version,
    /// Its name.
    pub workflow: WorkflowName,
    /// Its compiled form.
    pub program: Arc<Program>,
}

/// What is to be started for an order of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Ordered {
    /// The pack.
    pub pack: PackName,
    /// Its version.
    pub version: semver::Version,
    /// The workflow.
    pub workflow: WorkflowName,
    /// The input, completed.
    pub input: Json,
}

/// A workflow found.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The compiled workflow.
    pub program: Arc<Program>,
    /// The version of the pack it was found in.
    pub version: semver::Version,
}

/// A workflow found by the names that its document has.
#[derive(Debug, Clone)]
pub struct Named {
    /// Its pack.
    pub pack: PackName,
    /// The workflow.
    pub resolved: Resolved,
}

/// Why a workflow is not at hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// There is none by that name; the text says what there is instead.
    #[error("{0}")]
    NotFound(String),
    /// It is there and cannot be used.
    #[error("{0}")]
    Unusable(String),
}
