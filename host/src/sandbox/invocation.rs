//! One call of an action as data: what goes in and what comes out.

use std::time::Duration;

use crate::capability::Finding;
use crate::model::{ActionName, Json, Success};

/// One call of an action (WIT `orchestrator:action/handler.invocation`).
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The action's name in `pack.yaml`.
    pub action: ActionName,
    /// What to do.
    pub phase: Phase,
    /// The instance's identifier, for messages to people.
    pub instance: String,
    /// The task's reference.
    pub task: String,
    /// The same for every attempt at one task activation.
    pub idempotency_key: String,
    /// From 1.
    pub attempt: u32,
    /// How long the attempt may take once it has a place in the sandbox.
    pub timeout: Duration,
    /// What an earlier attempt stored last.
    pub checkpoint: Option<Json>,
}

/// Which part of an action's contract is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// Do it, with this input.
    Run(Json),
    /// Find out whether an earlier run with this idempotency key and input took effect.
    Probe(Json),
    /// Take back the run that gave this receipt.
    Undo(Json),
}

/// What an action answered, by phase.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// To [`Phase::Run`].
    Succeeded(Success),
    /// To [`Phase::Probe`].
    Probed(Finding),
    /// To [`Phase::Undo`].
    Undone,
    /// The component serves this action but not this phase.
    Unsupported,
}
