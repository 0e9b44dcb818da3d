//! The seam between the coordinator and whoever runs attempts: the sandbox with a pack's grants in the server, a script
//! in tests.

use std::sync::Arc;

use futures_util::future::BoxFuture;

pub use crate::capability::{Finding, LogLevel, Measure, Observe};
use crate::machine::command::Call;
use crate::model::{Failure, InstanceId, PackName, Success, TenantName};

/// Runs attempts. Dropping the future of a run interrupts the guest at once.
pub trait Perform: Send + Sync + 'static {
    /// Runs one attempt to its end, within the call's timeout.
    fn run(&self, attempt: Attempt, observer: Arc<dyn Observe>) -> BoxFuture<'static, Result<Success, Failure>>;
    /// Asks whether an attempt of unknown outcome took effect.
    fn probe(&self, attempt: Attempt, observer: Arc<dyn Observe>) -> BoxFuture<'static, Result<Finding, Failure>>;
}

/// One attempt, with what only the coordinator knows.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The instance.
    pub instance: InstanceId,
    /// The instance's tenant, whose grants, connections and secrets hold.
    pub tenant: TenantName,
    /// The pack of its workflow, whose grants hold for the calls that are none of an action.
    pub pack: PackName,
    /// The pack's version.
    pub version: semver::Version,
    /// The task's reference.
    pub reference: String,
    /// The call.
    pub call: Call,
}
