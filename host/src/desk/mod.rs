//! What a pack author has on the desk, without a server: a workflow's text is checked, or run in this process on a
//! journal in memory. The machine, the coordinator and the sandbox are those of the server; the clock, the way out and
//! the events come from the author.

pub mod actions;
mod bare_schemas;
pub mod check;
pub mod check_pack;
mod clock;
mod drive;
mod idle;
pub mod pack_test;
pub mod packs;
pub mod perform;
mod shelf;
pub mod tee;
pub mod template;
#[cfg(test)]
mod tests;
pub mod tools;

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::oneshot;

pub use crate::coordinator::view::Status;
use crate::coordinator::view::TaskView;
use crate::coordinator::{Perform, Start};
use crate::definition::evaluate::Evaluate;
use crate::definition::{Actions, Diagnostic};
use crate::journal::Journal;
use crate::model::{ErrorObject, Json, TenantName};

/// The actions a workflow may call, as everybody shares them.
pub type SharedActions = Arc<dyn Actions + Send + Sync>;

/// A journal that is gone with the run.
pub fn memory() -> Arc<dyn Journal> {
    Arc::new(crate::journal::memory::MemoryJournal::new())
}

/// One workflow to be run.
pub struct Plan {
    /// What the text is called in messages.
    pub path: String,
    /// The workflow's text.
    pub text: String,
    /// Its raw input; `null` becomes `{}`.
    pub input: Json,
    /// Events in the order in which they come: one each time everything waits.
    pub events: Vec<Json>,
    /// How waits pass.
    pub time: Time,
    /// Who performs calls.
    pub perform: Arc<dyn Perform>,
    /// Where records go.
    pub journal: Arc<dyn Journal>,
    /// Who computes expressions.
    pub evaluator: Arc<dyn Evaluate>,
    /// The paths and texts of other workflows, for `run.workflow`.
    pub siblings: Vec<(String, String)>,
    /// What may be called.
    pub actions: SharedActions,
}

/// How waits pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// As they do.
    Real,
    /// At once: the clock stands still at this time and jumps to the next that somebody waits for whenever nothing else
    /// is under way. Chance is always a half, so that two runs are the same.
    Skip(Timestamp),
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Where the instance stands.
    pub status: Status,
    /// Its output, once completed.
    pub output: Option<Json>,
    /// Its error, once faulted.
    pub error: Option<ErrorObject>,
    /// Its tasks in the order in which they started.
    pub tasks: Vec<TaskRun>,
    /// Why it was not run to its end, if it was not.
    pub stopped: Option<String>,
    /// What is probably not meant in the text.
    pub warnings: Vec<Diagnostic>,
}

/// One activation of a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskRun {
    /// Its name.
    pub name: String,
    /// Its reference: a JSON pointer into the definition.
    pub reference: String,
    /// How it ended, or where it stands.
    pub status: Status,
    /// When it was entered.
    pub started: Timestamp,
    /// When it was left, failed or was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// The iteration of the loop around it, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iteration: Option<u64>,
    /// How many attempts its call took; 0 for a task that calls nobody.
    pub attempts: usize,
}

impl From<TaskView> for TaskRun {
    fn from(view: TaskView) -> Self {
        Self {
            name: view.name,
            reference: view.reference,
            status: view.status,
            started: view.started_at,
            ended: view.ended_at,
            iteration: view.iteration,
            attempts: view.attempts.len(),
        }
    }
}

impl Outcome {
    /// A run that could not be carried on, for this reason.
    fn stopped(status: Status, reason: impl Into<String>) -> Self {
        let (output, error, tasks, warnings) = (None, None, Vec::new(), Vec::new());
        Self { status, output, error, tasks, stopped: Some(reason.into()), warnings }
    }
}

/// Runs a workflow on a thread of its own, to its end or until nothing can move it on any more. Dropping the future
/// stops it.
///
/// # Errors
/// All findings, when the text does not compile.
pub async fn run(plan: Plan) -> Result<Outcome, Vec<Diagnostic>> {
    let (shelf, warnings) = shelf::Shelf::compile(&plan)?;
    let main = shelf.main();
    let start = Start {
        pack: shelf::Shelf::pack_of(main),
        version: Some(main.version.clone()),
        workflow: main.name.clone(),
        service: None,
        name: None,
        input: plan.input,
        idempotency_key: None,
        tenant: TenantName::standard(),
        created_by: None,
        rerun_of: None,
        asked: None,
        note: None,
    };
    let work = drive::Work {
        start,
        programs: Arc::new(shelf),
        perform: plan.perform,
        evaluator: plan.evaluator,
        time: plan.time,
        journal: plan.journal,
        events: drive::Events::new(plan.events),
        cancel: None,
        death: None,
    };
    let outcome = match done(work).await {
        Ok(ended) => ended.outcome,
        Err(reason) => Outcome::stopped(Status::Suspended, reason),
    };
    Ok(Outcome { warnings, ..outcome })
}

/// Does the work on a thread of its own. Dropping the future stops it.
async fn done(work: drive::Work) -> Result<drive::Ended, String> {
    let (answer, ended) = oneshot::channel();
    let thread = std::thread::Builder::new().name("desk".to_owned()).spawn(move || drive::run(&work, answer));
    match thread {
        Ok(_) => ended.await.map_err(|_| "the run failed half-way".to_owned()),
        Err(error) => Err(format!("no thread for the run: {error}")),
    }
}
