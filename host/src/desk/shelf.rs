//! The workflows of a run: the one that was asked for and those it may run.

use std::sync::Arc;

use super::Plan;
use crate::coordinator::{Named, ProgramError, Programs, Resolved};
use crate::definition::graph::Program;
use crate::definition::{Compiled, Diagnostic, Severity, Source, compile};
use crate::machine::record::Created;
use crate::model::{PackName, WorkflowName};

/// The workflows, the one that was asked for first.
pub(super) struct Shelf {
    programs: Vec<Arc<Program>>,
    /// Why siblings are not on it.
    refused: Vec<String>,
}

impl Shelf {
    /// Compiles the plan's texts; what is wrong with a sibling matters only to who runs it.
    pub(super) fn compile(plan: &Plan) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let compiled = |path: &str, text: &str| compile(Source { path, text }, &*plan.actions, &*plan.evaluator);
        let Compiled { program, warnings } = compiled(&plan.path, &plan.text)?;
        let mut shelf = Self { programs: vec![Arc::new(program)], refused: Vec::new() };
        for (path, text) in &plan.siblings {
            match compiled(path, text) {
                Ok(sibling) => shelf.programs.push(Arc::new(sibling.program)),
                Err(findings) => {
                    let first = findings.into_iter().find(|finding| finding.severity == Severity::Error);
                    let said = |found: Diagnostic| format!("`{path}` has errors, the first: {}", found.message);
                    shelf.refused.extend(first.map(said));
                }
            }
        }
        Ok((shelf, warnings))
    }

    /// The workflow that was asked for.
    pub(super) fn main(&self) -> &Arc<Program> {
        &self.programs[0]
    }

    /// The pack a program seems to be of: its namespace. Any label is a pack's name, and a namespace is a label.
    pub(super) fn pack_of(program: &Program) -> PackName {
        PackName::parse(&program.namespace).expect("a compiled program's namespace is a label")
    }

    fn find(&self, pack: &PackName, version: Option<&semver::Version>, name: &WorkflowName) -> Option<&Arc<Program>> {
        let named = self.programs.iter().filter(|program| program.name == *name && Self::pack_of(program) == *pack);
        named.filter(|program| version.is_none_or(|version| *version == program.version)).max_by_key(|p| &p.version)
    }

    fn missing(&self, pack: &PackName, name: &WorkflowName) -> ProgramError {
        let known: Vec<_> =
            self.programs.iter().map(|program| format!("{}/{}", program.namespace, program.name)).collect();
        let refused: String = self.refused.iter().map(|reason| format!("; {reason}")).collect();
        let known = known.join(", ");
        ProgramError::NotFound(format!("there is no workflow `{pack}/{name}` on the desk; there are {known}{refused}"))
    }
}

impl Programs for Shelf {
    fn resolve(
        &self,
        pack: &PackName,
        version: Option<&semver::Version>,
        workflow: &WorkflowName,
    ) -> Result<Resolved, ProgramError> {
        let program = self.find(pack, version, workflow).ok_or_else(|| self.missing(pack, workflow))?;
        Ok(Resolved { program: program.clone(), version: program.version.clone() })
    }

    /// By the names and versions of the documents alone: on the desk there are no packs around them.
    fn named(
        &self,
        _: (&PackName, &semver::Version),
        namespace: &str,
        workflow: &WorkflowName,
        version: Option<&semver::Version>,
    ) -> Result<Named, ProgramError> {
        let pack = PackName::parse(namespace).map_err(|error| ProgramError::NotFound(error.to_string()))?;
        let resolved = self.resolve(&pack, version, workflow)?;
        Ok(Named { pack, resolved })
    }

    fn pinned(&self, created: &Created) -> Result<Arc<Program>, ProgramError> {
        let found = self.programs.iter().find(|program| program.digest == created.definition).cloned();
        found.ok_or_else(|| self.missing(&created.pack, &created.workflow))
    }
}
