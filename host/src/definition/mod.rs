//! Workflow text becomes a validated, compiled [`graph::Program`]: parse (positions kept), schema, lint, compile.
//! Nothing behind this room knows the DSL. It does no I/O; functions and actions are looked up through a trait.

mod compile;
pub mod cron;
pub mod diagnostic;
pub mod diagram;
pub mod duration;
pub mod evaluate;
pub mod expression;
pub mod filter;
pub mod graph;
mod lint;
pub mod path;
pub mod profile;
pub mod schema;
pub mod yaml;

use std::sync::Arc;

use jiff::SignedDuration;

pub use diagnostic::{Diagnostic, Position, Severity, Source};

use crate::model::{ActionName, Effect, Json, PackName};
use evaluate::Evaluate;
use graph::{ActionRef, Program};

/// A workflow that may run.
#[derive(Debug)]
pub struct Compiled {
    /// The program.
    pub program: Program,
    /// What is probably not meant, in the order of the text.
    pub warnings: Vec<Diagnostic>,
}

/// The actions that a workflow may call.
pub trait Actions {
    /// Finds an action: in the workflow's own pack when `pack` is absent, in its own version when `version` is.
    ///
    /// # Errors
    /// There is none of that name; the error carries what is near.
    fn action(
        &self,
        pack: Option<&PackName>,
        version: Option<&semver::Version>,
        name: &ActionName,
    ) -> Result<ActionDeclaration, LookupError>;
}

/// What a pack says about one of its actions.
#[derive(Debug, Clone)]
pub struct ActionDeclaration {
    /// The action, exact.
    pub action: ActionRef,
    /// How a call may be repeated.
    pub effect: Effect,
    /// How long one attempt may take.
    pub timeout: SignedDuration,
    /// The schema of its input (JSON Schema 2020-12); absent: any.
    pub input: Option<Arc<Json>>,
    /// The schema of its output; absent: any.
    pub output: Option<Arc<Json>>,
    /// Whether it answers the `probe` phase.
    pub probe: bool,
    /// Whether it answers the `undo` phase.
    pub undo: bool,
}

/// Why there is no such action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No pack of that name is installed.
    #[error("no pack `{pack}` is installed")]
    Pack {
        /// The pack asked for.
        pack: PackName,
        /// The packs there are.
        known: Vec<String>,
    },
    /// The pack is not installed in that version.
    #[error("pack `{pack}` is not installed in version {version}")]
    Version {
        /// The pack asked for.
        pack: PackName,
        /// The version asked for.
        version: semver::Version,
        /// The versions there are.
        known: Vec<String>,
    },
    /// The pack has no action of that name.
    #[error("pack `{pack}` has no action `{action}`")]
    Action {
        /// The pack that was looked in.
        pack: PackName,
        /// The action asked for.
        action: ActionName,
        /// The actions it has.
        known: Vec<String>,
    },
}

/// Compiles a workflow.
///
/// # Errors
/// All findings, warnings included, in the order of the text, when at least one of them is an error.
pub fn compile(
    source: Source<'_>,
    actions: &dyn Actions,
    evaluator: &dyn Evaluate,
) -> Result<Compiled, Vec<Diagnostic>> {
    compile::compile(source, actions, evaluator)
}
