//! What an action gave back, as data of the journal.

use serde::{Deserialize, Serialize};

use super::Json;

/// What a successful call gave back (WIT `orchestrator:action/types.success`).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Success {
    /// The action's output.
    pub output: Json,
    /// What `undo` needs later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Json>,
    /// Outside resources made or removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<OutsideResource>,
}

/// Something outside that a call made or removed (WIT `orchestrator:action/types.outside-resource`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideResource {
    /// What it is, in the outside system's words.
    pub kind: String,
    /// Its identifier there.
    pub id: String,
    /// Whether it was made (`created`) or removed (`deleted`).
    pub change: ResourceChange,
}

/// What happened to an outside resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResourceChange {
    /// Made.
    Created,
    /// Removed.
    Deleted,
}
