//! The other fold of an instance's records: what its tasks did, for people. It lets the machine's state tell what the
//! records leave out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::view::{AttemptView, Status, TaskView};
use crate::definition::graph::{NodeKind, Program};
use crate::journal::StoreError;
use crate::machine::apply::ApplyError;
use crate::machine::record::{ActivationId, End, Entered, Outcome, Record, Stamped};
use crate::machine::state::State;
use crate::model::{InstanceId, Json};

/// So many activations are shown, the newest: a loop may make any number.
const TASKS_MAX: usize = 10_000;

/// Why tasks cannot be shown.
#[derive(Debug)]
pub(super) enum FoldError {
    /// The history does not fit.
    Damaged(ApplyError),
    /// The journal cannot be read.
    Store(StoreError),
}

impl From<StoreError> for FoldError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The tasks of an instance, up to some record.
pub(super) struct Tasks {
    program: Arc<Program>,
    state: State,
    views: BTreeMap<u64, TaskView>,
    /// Those that have not ended.
    open: BTreeSet<u64>,
}

impl Tasks {
    pub(super) fn new(id: InstanceId, program: Arc<Program>) -> Self {
        Self { program, state: State::new(id), views: BTreeMap::new(), open: BTreeSet::new() }
    }

    pub(super) fn into_views(mut self) -> Vec<TaskView> {
        if self.state.suspended().is_some() {
            for id in std::mem::take(&mut self.open) {
                self.change(ActivationId(id), |view| view.status = Status::Suspended);
            }
        }
        self.views.into_values().collect()
    }

    /// Takes the next record.
    pub(super) fn take(&mut self, stamped: &Stamped) -> Result<(), FoldError> {
        let output = match &stamped.record {
            Record::Left { activation, output, .. } => output.clone().or_else(|| self.state.raw_output_of(*activation)),
            _ => None,
        };
        self.state.apply(&self.program, stamped).map_err(FoldError::Damaged)?;
        self.show(&stamped.record, stamped.at, output);
        Ok(())
    }

    fn show(&mut self, record: &Record, at: Timestamp, output: Option<Arc<Json>>) {
        match record {
            Record::Entered(entered) => self.entered(entered, at),
            Record::Intent { activation, attempt, .. } => self.change(*activation, |view| {
                let (attempt, outcome) = (*attempt, "running".to_owned());
                view.attempts.push(AttemptView { attempt, started_at: at, ended_at: None, outcome, error: None });
            }),
            Record::Result { activation, outcome, .. } => self.change(*activation, |view| ended(view, outcome, at)),
            Record::Armed { activation, .. } => self.change(*activation, |view| view.status = Status::Waiting),
            Record::Matched { activation, ends: true, .. } => {
                self.change(*activation, |view| view.status = Status::Running);
            }
            Record::TimerSet { activation, due } => self.change(*activation, |view| waits(view, Some(*due))),
            Record::TimerFired { activation } => self.change(*activation, |view| waits(view, None)),
            Record::Retried { activation, retry, due, .. } => {
                self.change(*activation, |view| {
                    view.retries = *retry;
                    waits(view, *due);
                });
                self.close_gone(at);
            }
            Record::Left { activation, .. } => {
                self.change(*activation, |view| {
                    view.output = output.map(Arc::unwrap_or_clone);
                    close(view, Status::Completed, at);
                });
                self.close_gone(at);
            }
            Record::Failed { activation, error } => {
                self.change(*activation, |view| {
                    view.error = Some(error.clone());
                    close(view, Status::Faulted, at);
                });
                self.close_gone(at);
            }
            Record::Caught { .. } => self.close_gone(at),
            Record::Ended { end } => self.close_all(end, at),
            Record::Reopened { .. } => self.reopen(),
            _ => {}
        }
    }

    fn entered(&mut self, entered: &Entered, at: Timestamp) {
        let node = self.program.node(entered.node);
        if node.hidden {
            return;
        }
        let action = match &node.kind {
            NodeKind::Act(act) => Some(act.callee.to_string()),
            _ => None,
        };
        let input = self.state.input_of(entered.activation);
        let view = TaskView {
            id: entered.activation.0,
            parent: self.visible_around(entered.parent),
            name: node.name.to_string(),
            reference: node.reference.clone(),
            iteration: self.iteration_around(entered.parent, entered.lane),
            status: Status::Running,
            action,
            started_at: at,
            ended_at: None,
            input: input.map(|input| Json::clone(input)).unwrap_or_default(),
            output: None,
            error: None,
            retries: 0,
            due: None,
            attempts: Vec::new(),
            progress: None,
        };
        self.views.insert(view.id, view);
        self.open.insert(entered.activation.0);
        if self.views.len() > TASKS_MAX {
            self.forget_oldest();
        }
    }

    /// Forgets the oldest that has ended; the open ones are few and what a reader wants.
    fn forget_oldest(&mut self) {
        let oldest = self.views.keys().find(|id| !self.open.contains(id)).copied();
        oldest.map(|id| self.views.remove(&id));
    }

    /// The nearest activation around that people see.
    fn visible_around(&self, mut around: Option<ActivationId>) -> Option<u64> {
        while let Some(id) = around {
            let (node, parent) = self.state.place_of(id)?;
            if !self.program.node(node).hidden {
                return Some(id.0);
            }
            around = parent;
        }
        None
    }

    /// The iteration of the nearest loop around.
    fn iteration_around(&self, mut around: Option<ActivationId>, mut lane: Option<u64>) -> Option<u64> {
        while let Some(id) = around {
            let (node, parent) = self.state.place_of(id)?;
            let side_by_side = lane.filter(|_| matches!(self.program.node(node).kind, NodeKind::Each(_)));
            if let Some(index) = side_by_side.or_else(|| self.state.iteration_of(id)) {
                return Some(index);
            }
            (around, lane) = (parent, self.state.lane_of(id));
        }
        None
    }

    fn change(&mut self, activation: ActivationId, change: impl FnOnce(&mut TaskView)) {
        if let Some(view) = self.views.get_mut(&activation.0) {
            change(view);
        }
    }

    /// Closes those that the state has dropped: a node that is over takes along what is inside it.
    fn close_gone(&mut self, at: Timestamp) {
        let gone: Vec<_> =
            self.open.iter().copied().filter(|id| self.state.place_of(ActivationId(*id)).is_none()).collect();
        for id in gone {
            self.open.remove(&id);
            self.change(ActivationId(id), |view| close(view, Status::Cancelled, at));
        }
    }

    fn close_all(&mut self, end: &End, at: Timestamp) {
        let status = if matches!(end, End::Faulted { .. }) { Status::Faulted } else { Status::Cancelled };
        for id in std::mem::take(&mut self.open) {
            self.change(ActivationId(id), |view| close(view, status, at));
        }
    }
}

impl Tasks {
    /// Opens what is live again.
    fn reopen(&mut self) {
        let live: Vec<_> = self.state.live().collect();
        for id in live {
            self.change(id, |view| {
                view.ended_at = None;
                view.error = None;
                view.status = Status::Running;
            });
            if self.views.contains_key(&id.0) {
                self.open.insert(id.0);
            }
        }
    }
}

/// Closes a view, unless it is closed.
fn close(view: &mut TaskView, status: Status, at: Timestamp) {
    if view.ended_at.is_some() {
        return;
    }
    view.status = status;
    view.ended_at = Some(at);
    view.due = None;
    if let Some(running) = view.attempts.last_mut().filter(|attempt| attempt.ended_at.is_none()) {
        running.outcome = "interrupted".to_owned();
        running.ended_at = Some(at);
    }
}

fn waits(view: &mut TaskView, due: Option<Timestamp>) {
    view.due = due;
    view.status = if due.is_some() { Status::Waiting } else { Status::Running };
}

fn ended(view: &mut TaskView, outcome: &Outcome, at: Timestamp) {
    let Some(attempt) = view.attempts.last_mut() else { return };
    attempt.ended_at = Some(at);
    let (word, error) = match outcome {
        Outcome::Ok(_) => ("succeeded", None),
        Outcome::Failed(failure) => ("failed", Some(failure.error())),
        Outcome::Interrupted => ("interrupted", None),
    };
    attempt.outcome = word.to_owned();
    attempt.error = error;
}
