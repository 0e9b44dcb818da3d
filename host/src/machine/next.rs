//! What comes next: an event and the state give records, and whatever these make possible follows at once, until only
//! the outside can move the instance on. So a call's result and the next call's intent are one append.

mod body;
mod call;
mod catching;
mod enter;
mod lanes;
mod listen;

use std::sync::Arc;

use jiff::Timestamp;

use super::Moment;
use super::record::{ActivationId, End, Record, Stamped};
use super::state::{Activation, Alarm, AlarmKind, Block, BlockStage, Body, Inside, Loop, Stage, State, WayOut};
use super::values::{Place, Task};
use crate::definition::evaluate::Evaluate;
use crate::definition::graph::{NodeKind, Program};
use crate::model::{ErrorObject, Failure, Json, Success, standard};

pub use call::key;

/// So many records are decided in one go; then the store and other instances have their turn. A loop without any wait
/// would otherwise never let go.
pub const RECORDS_AT_ONCE_MAX: usize = 256;

/// An instance with more records than this is stopped: at six records for each round it is three weeks of a poll every
/// ten seconds, and a runaway loop would fill the disk.
pub const RECORDS_MAX: u64 = 1_000_000;

/// What the outside brings.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The instance was created; nothing else happened.
    Start,
    /// The server was started again and the attempts that were out are lost.
    Recovered,
    /// An attempt has ended.
    ResultArrived {
        /// Which activation called.
        activation: ActivationId,
        /// Which attempt.
        attempt: u32,
        /// How it ended.
        result: Result<Success, Failure>,
    },
    /// A probe has ended.
    ProbeAnswered {
        /// Which activation was asked about.
        activation: ActivationId,
        /// Which attempt.
        attempt: u32,
        /// What was found.
        found: Found,
    },
    /// An action wants a checkpoint stored.
    CheckpointStored {
        /// Which activation.
        activation: ActivationId,
        /// Which attempt.
        attempt: u32,
        /// The checkpoint.
        value: Arc<Json>,
    },
    /// An action is about to read a secret's bytes.
    SecretRevealed {
        /// Which activation.
        activation: ActivationId,
        /// Which attempt.
        attempt: u32,
        /// Which secret.
        secret: String,
    },
    /// An event is in the inbox. Passed over where the instance consumed it before, or nothing listens for it.
    EventArrived {
        /// Its number in the inbox.
        number: u64,
        /// The CloudEvent in JSON.
        event: Arc<Json>,
    },
    /// Time has passed.
    WakeUp,
    /// Somebody wants nothing new to begin.
    SuspendRequested {
        /// Who, as far as it is known.
        by: Option<String>,
    },
    /// Somebody wants the instance to go on.
    ResumeRequested {
        /// Who, as far as it is known.
        by: Option<String>,
    },
    /// Somebody wants a faulted instance to go on from the task that failed.
    RetryRequested {
        /// Who, as far as it is known.
        by: Option<String>,
    },
    /// Somebody wants the instance cancelled.
    CancelRequested {
        /// Who, as far as it is known.
        by: Option<String>,
    },
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// The attempt took effect, with this success.
    Done(Success),
    /// It did not.
    NotDone,
    /// It cannot be told, for this reason.
    Unknown(String),
}

/// The records that follow from one event, without changing the state.
pub fn decide(program: &Program, state: &State, event: Event, moment: Moment, evaluator: &dyn Evaluate) -> Vec<Record> {
    let mut state = state.clone();
    advance(program, &mut state, [event], moment, evaluator).into_iter().map(|stamped| stamped.record).collect()
}

/// The records that follow from some events, already applied to the state. Events that no longer concern the state (a
/// result of an attempt that was given up) are passed over. The state is ahead of the journal until they are stored:
/// where storing them fails, it must be thrown away.
pub fn advance(
    program: &Program,
    state: &mut State,
    events: impl IntoIterator<Item = Event>,
    moment: Moment,
    evaluator: &dyn Evaluate,
) -> Vec<Stamped> {
    let mut turn = Turn { program, evaluator, moment, state, records: Vec::new() };
    for event in events {
        turn.take(event);
        turn.settle();
    }
    turn.records
}

/// One go of deciding.
pub(super) struct Turn<'a> {
    program: &'a Program,
    evaluator: &'a dyn Evaluate,
    moment: Moment,
    pub(super) state: &'a mut State,
    records: Vec<Stamped>,
}

impl Turn<'_> {
    fn take(&mut self, event: Event) {
        if self.state.stage == Stage::Ended && !matches!(event, Event::RetryRequested { .. }) {
            return;
        }
        match event {
            Event::RetryRequested { by } => self.retry_requested(by),
            Event::Start | Event::WakeUp => {}
            Event::EventArrived { number, event } => self.event_arrived(number, &event),
            Event::Recovered => self.resume_calls(),
            Event::ResultArrived { activation, attempt, result } => self.result_arrived(activation, attempt, result),
            Event::ProbeAnswered { activation, attempt, found } => self.probe_answered(activation, attempt, found),
            Event::CheckpointStored { activation, attempt, value } => {
                self.if_calling(activation, attempt, Record::Checkpoint { activation, attempt, value });
            }
            Event::SecretRevealed { activation, attempt, secret } => {
                self.if_calling(activation, attempt, Record::SecretRevealed { activation, attempt, secret });
            }
            Event::SuspendRequested { by } => self.suspend_requested(by),
            Event::ResumeRequested { by } => self.resume_requested(by),
            Event::CancelRequested { by } if !self.state.cancelling => self.push(Record::CancelAsked { by }),
            Event::CancelRequested { .. } => {}
        }
    }

    /// Goes on until only the outside can: first all that is decided by data, then what is due by time. Limits that a
    /// shielded task held back fire as soon as it has ended.
    fn settle(&mut self) {
        if self.state.suspended.is_some() && !self.state.cancelling {
            return;
        }
        while self.records.len() < RECORDS_AT_ONCE_MAX {
            let Some(records) = self.held_back().or_else(|| self.next()).or_else(|| self.ring()) else { return };
            records.into_iter().for_each(|record| self.push(record));
        }
    }

    pub(super) fn push(&mut self, record: Record) {
        let stamped = Stamped { seq: self.state.seq + 1, at: self.moment.now, record };
        self.state.apply(self.program, &stamped).expect("a decision is legal in the state it was made for");
        self.records.push(stamped);
    }

    /// The next step that needs nothing from outside.
    fn next(&self) -> Option<Vec<Record>> {
        match self.state.stage {
            Stage::Unborn | Stage::Ended => return None,
            _ if self.state.cancelling => return Some(vec![Record::Ended { end: End::Cancelled }]),
            Stage::Created => return Some(vec![self.start()]),
            Stage::Running => {}
        }
        if let Some(way_out) = &self.state.way_out {
            return Some(vec![self.finish(way_out)]);
        }
        if self.state.seq >= RECORDS_MAX {
            return Some(vec![faulted(runaway())]);
        }
        if let Some(token) = self.state.tokens.front() {
            return Some(self.enter(token));
        }
        let live = self.state.activations.values().find(|live| live.is_ready())?;
        Some(self.go_on(live))
    }

    fn go_on(&self, live: &Activation) -> Vec<Record> {
        let record = match &live.body {
            Body::Fresh => self.begin(live),
            Body::Interrupted(attempt) => Ok(call::again(live, attempt)),
            Body::Refused { failure, .. } => Err(self.place(live).placed(failure.error())),
            Body::Done(output) => self.body_done(live, output),
            Body::Loop(each) => self.go_on_loop(live, each),
            Body::Block(block) => return self.go_on_block(live, block),
            Body::Lanes(lanes) => self.go_on_lanes(live, lanes),
            Body::Listening(listening) => self.go_on_listening(live, listening),
            Body::Calling(_) | Body::Probing { .. } | Body::Waiting(_) => {
                unreachable!("an activation that is ready waits for nothing")
            }
        };
        vec![record.unwrap_or_else(|error| Record::Failed { activation: live.id, error })]
    }

    fn go_on_block(&self, live: &Activation, block: &Block) -> Vec<Record> {
        match &block.inside {
            Inside::Broken { error, not_before } => vec![self.broken(live, block, error, *not_before)],
            Inside::Finished(output) => {
                let flow = self.flow_of_block(live, block);
                let left = match &self.program.node(live.node).kind {
                    NodeKind::Scope(declared) if declared.keep_input => self.leave(live, &live.input, true, flow),
                    _ => self.leave(live, output, false, flow),
                };
                vec![left.unwrap_or_else(|error| Record::Failed { activation: live.id, error })]
            }
            Inside::Running => unreachable!("a block that is ready does not run its body"),
        }
    }

    fn place<'s>(&'s self, live: &'s Activation) -> Place<'s> {
        Place {
            program: self.program,
            evaluator: self.evaluator,
            state: self.state,
            around: live.parent,
            lane: live.lane,
            task: Some(Task::of(live)),
            own: &[],
        }
    }

    fn root_place(&self) -> Place<'_> {
        let (program, evaluator, state) = (self.program, self.evaluator, &*self.state);
        Place { program, evaluator, state, around: None, lane: None, task: None, own: &[] }
    }

    /// Enters the workflow's own frame.
    fn start(&self) -> Record {
        let frame = &self.program.frame;
        let raw = &*self.state.raw;
        let place = self.root_place();
        let started = || {
            place.check(frame.input_schema, raw, "the workflow's input")?;
            let input = frame.input_from.as_ref().map(|from| place.template(from, raw)).transpose()?;
            let timeout = frame.timeout.map(|timeout| place.duration(timeout, input.as_ref().unwrap_or(raw)));
            let deadline = timeout.transpose()?.map(|timeout| super::state::later(self.state.created_at, timeout));
            Ok(Record::Started { input: input.map(Arc::new), deadline })
        };
        started().unwrap_or_else(faulted)
    }

    /// Leaves the workflow's own frame.
    fn finish(&self, way_out: &WayOut) -> Record {
        let output = match way_out {
            WayOut::Done(output) => output,
            WayOut::Failed(error) => return faulted(error.clone()),
        };
        let frame = &self.program.frame;
        let place = self.root_place();
        let transformed = || {
            let output = match &frame.output_as {
                Some(transform) => Arc::new(place.template(transform, output)?),
                None => output.clone(),
            };
            place.check(frame.output_schema, &output, "the workflow's output")?;
            Ok(Record::Ended { end: End::Completed { output } })
        };
        transformed().unwrap_or_else(faulted)
    }

    /// The earliest limit that is due by now, where a shielded task has just ended.
    fn held_back(&self) -> Option<Vec<Record>> {
        if !self.state.released || self.state.cancelling {
            return None;
        }
        let limits = self.state.alarms(self.program).filter(|alarm| alarm.kind != AlarmKind::Timer);
        limits.min().filter(|alarm| alarm.due <= self.moment.now).map(|alarm| vec![self.rung(alarm)])
    }

    /// The earliest thing that is due by now.
    fn ring(&self) -> Option<Vec<Record>> {
        let due = self.state.alarms(self.program).min().filter(|alarm| alarm.due <= self.moment.now)?;
        Some(vec![self.rung(due)])
    }

    fn rung(&self, alarm: Alarm) -> Record {
        let Some(activation) = alarm.activation else { return faulted(self.timed_out(None)) };
        match alarm.kind {
            AlarmKind::Timer => Record::TimerFired { activation },
            AlarmKind::Deadline => Record::Failed { activation, error: self.timed_out(Some(activation)) },
            AlarmKind::TryLimit => {
                // The try itself is to decide about this error, so it is its body that fails.
                let child = self.state.activations.values().find(|live| live.parent == Some(activation));
                let child = child.map_or(activation, |child| child.id);
                Record::Failed { activation: child, error: self.timed_out(Some(activation)) }
            }
        }
    }

    fn timed_out(&self, activation: Option<ActivationId>) -> ErrorObject {
        let live = activation.and_then(|id| self.state.activations.get(&id));
        let since = live.map_or(self.state.created_at, |live| live.started_at);
        let what = live.map_or("workflow", |live| self.program.node(live.node).name.as_str());
        let detail = format!("`{what}`, begun at {}, did not end in time", seconds(since));
        let error = standard::error(standard::TIMEOUT, "time ran out", detail);
        ErrorObject { instance: live.map(|live| self.program.node(live.node).reference.clone()), ..error }
    }
}

impl Place<'_> {
    /// The error with its place, if it has none yet.
    fn placed(&self, error: ErrorObject) -> ErrorObject {
        let here = || self.task.map(|task| self.program.node(task.node).reference.clone());
        ErrorObject { instance: error.instance.or_else(here), ..error }
    }
}

fn faulted(error: ErrorObject) -> Record {
    Record::Ended { end: End::Faulted { error } }
}

fn runaway() -> ErrorObject {
    let detail = format!("the instance has made {RECORDS_MAX} records; give its loop a `wait` or an end");
    standard::error(standard::RUNTIME, "the workflow does not come to an end", detail)
}

/// A time without its fraction, for people.
fn seconds(at: Timestamp) -> String {
    let whole = Timestamp::from_second(at.as_second()).unwrap_or(at);
    whole.to_string()
}

/// A loop and a block share this: what an inside that broke means for a node that catches nothing.
fn passed_on(live: &Activation, error: &ErrorObject) -> Record {
    Record::Failed { activation: live.id, error: error.clone() }
}

/// The value that the next iteration starts from, or the error that ended the loop.
fn chained(each: &Loop) -> Result<&Arc<Json>, &ErrorObject> {
    match &each.inside {
        Inside::Finished(value) => Ok(value),
        Inside::Broken { error, .. } => Err(error),
        Inside::Running => unreachable!("a loop that is ready does not run its body"),
    }
}

/// Whether the handler of a try, or the way past it, is what has ended.
fn in_handler(block: &Block) -> bool {
    matches!(block.stage, BlockStage::Handler(_) | BlockStage::Passed)
}
