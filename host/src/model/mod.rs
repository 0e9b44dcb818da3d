//! Plain data that every room shares: names, identifiers, failures, effects. No I/O, no clock, no randomness.

mod access;
mod failure;
mod name;
pub mod sealed;
mod success;

pub use access::{Permission, Principal, Role};
pub use failure::{ErrorObject, Failure, Problem, Reaction, standard};
pub use name::{
    ActionName, ComponentName, ConnectionName, Digest, InstanceId, NameError, PackName, ScheduleName, SecretName,
    ServiceName, TaskName, TenantName, TokenName, WorkflowName,
};
pub use sealed::{is_sealed, sealed, unseal};
pub use success::{OutsideResource, ResourceChange, Success};

use serde::{Deserialize, Serialize};

/// JSON as it travels through the engine.
pub type Json = serde_json::Value;

/// What may be done when it is unknown whether an action's call took effect (`effect` in `pack.yaml`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Calling again with the same idempotency key is harmless.
    Idempotent,
    /// Calling again continues from the last checkpoint.
    Resumable,
    /// Must not be called again blindly: probe first, else the outcome is unknown. The default.
    #[default]
    Once,
}
