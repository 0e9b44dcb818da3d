//! What a state asks of the outside. Commands are derived from the state, never stored: after a crash the same fold
//! gives the same commands.

use jiff::{SignedDuration, Timestamp};

use super::record::ActivationId;
use crate::definition::graph::{Callee, NodeId};
use crate::model::Json;

/// Something the coordinator has to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Run an attempt in the sandbox and bring back its result.
    Call(Call),
    /// Ask an action whether an attempt took effect.
    Probe(Call),
    /// Wake the machine at this time (the earliest of all timers and deadlines).
    Wake(Timestamp),
}

/// One attempt at an action.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Which activation calls.
    pub activation: ActivationId,
    /// The node, for its reference and its action's declaration.
    pub node: NodeId,
    /// From 1.
    pub attempt: u32,
    /// Who is called.
    pub callee: Callee,
    /// See [`crate::definition::graph::Act::detached`].
    pub detached: bool,
    /// The idempotency key.
    pub key: String,
    /// What is passed.
    pub arguments: Json,
    /// The last checkpoint of an earlier attempt.
    pub checkpoint: Option<Json>,
    /// How long the attempt may take.
    pub timeout: SignedDuration,
    /// See [`crate::definition::graph::Act::heartbeat`].
    pub heartbeat: Option<SignedDuration>,
}
