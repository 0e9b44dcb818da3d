//! Where workflows come from: the installed packs in the server, a map in tests.

use std::sync::Arc;

use tokio::sync::watch;

use crate::definition::graph::Program;
use crate::machine::record::Created;
use crate::model::{PackName, WorkflowName};

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

    /// The very workflow that an instance started with.
    ///
    /// # Errors
    /// It is not installed any more, is another one by now, or cannot be read.
    fn pinned(&self, created: &Created) -> Result<Arc<Program>, ProgramError>;

    /// The workflows that start by themselves, each of its pack's newest version. One that cannot be read is left out.
    fn scheduled(&self) -> Vec<Scheduled> {
        Vec::new()
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

/// A workflow found.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The compiled workflow.
    pub program: Arc<Program>,
    /// The version of the pack it was found in.
    pub version: semver::Version,
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
