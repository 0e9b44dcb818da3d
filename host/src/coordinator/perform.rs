//! The seam between the coordinator and whoever runs attempts: the sandbox with a pack's grants in the server, a script
//! in tests.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::machine::command::Call;
use crate::model::{Failure, InstanceId, Json, Success};

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
    /// The task's reference.
    pub reference: String,
    /// The call.
    pub call: Call,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// The attempt took effect, with this success.
    Done(Success),
    /// It did not; calling again is safe.
    NotDone,
    /// It cannot be told, or the action has no probe.
    Unknown,
}

/// What an attempt tells while it runs.
pub trait Observe: Send + Sync + 'static {
    /// A line for people.
    fn log(&self, level: LogLevel, message: String);
    /// Newest progress.
    fn progress(&self, measures: Vec<Measure>, note: Option<String>);
    /// Stores a checkpoint; durable when the future ends well.
    fn checkpoint(&self, value: Json) -> BoxFuture<'static, Result<(), String>>;
    /// Notes that a secret's bytes were read; durable when the future ends well.
    fn secret_revealed(&self, secret: String) -> BoxFuture<'static, Result<(), String>>;
    /// Whether the instance is being cancelled.
    fn cancelled(&self) -> bool;
}

/// How much a line matters.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// For the author's eyes.
    Trace,
    /// For finding faults.
    Debug,
    /// Worth knowing.
    Info,
    /// Worth a look.
    Warn,
    /// Something failed.
    Error,
}

/// How far one unit of work has come.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Measure {
    /// `objects`, `bytes`, …
    pub unit: String,
    /// So many are done.
    pub done: u64,
    /// Of so many, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}
