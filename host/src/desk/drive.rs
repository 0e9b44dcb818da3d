//! Drives one run: starts the instance, gives it events and time whenever it has come to rest, and says what came of it.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use jiff::SignedDuration;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::clock::DeskClock;
use super::idle::{Counted, Idle};
use super::shelf::Shelf;
use super::{Outcome, Plan, TaskRun, Time};
use crate::clock::Clock as _;
use crate::coordinator::events::cloud_event::CloudEvent;
use crate::coordinator::view::{Event, InstanceSummary, Status};
use crate::coordinator::{ATTEMPTS_MAX_DEFAULT, Coordinator, EventSettings, Handle, Parts, Start, StartError};
use crate::model::{InstanceId, Json, standard};

/// A run that makes more records than this goes round in circles; its journal is held in memory.
const RECORDS_MAX: u64 = 1_000_000;

/// So often the clock jumps without anything coming of it, before nothing is expected to come at all.
const IDLE_JUMPS_MAX: u32 = 1_000;

/// So long events are kept: longer than any wait of the language, so that nothing forgets them during a run.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 365 * 300);

/// What is to be done.
pub(super) struct Work {
    pub(super) plan: Plan,
    pub(super) shelf: Arc<Shelf>,
}

/// Runs to the end, on this thread; nobody waiting for the answer any more ends it too.
pub(super) fn run(work: Work, answer: oneshot::Sender<Outcome>) {
    let idle = Arc::new(Idle::default());
    let parked = idle.clone();
    let runtime = Builder::new_current_thread().enable_all().on_thread_park(move || parked.parked()).build();
    match runtime {
        Ok(runtime) => runtime.block_on(answered(work, idle, answer)),
        Err(error) => {
            let outcome = Outcome::stopped(Status::Suspended, format!("no runtime for the run: {error}"));
            // Whoever asked may be gone.
            let _ = answer.send(outcome);
        }
    }
}

async fn answered(work: Work, idle: Arc<Idle>, mut answer: oneshot::Sender<Outcome>) {
    let outcome = tokio::select! {
        outcome = drive(work, idle) => outcome,
        () = answer.closed() => return,
    };
    let _ = answer.send(outcome);
}

async fn drive(work: Work, idle: Arc<Idle>) -> Outcome {
    let clock = DeskClock::new(work.plan.time, idle.clone());
    let coordinator = match Coordinator::start(parts(&work, &clock, &idle)).await {
        Ok(coordinator) => coordinator,
        Err(error) => return Outcome::stopped(Status::Suspended, error.to_string()),
    };
    let started = coordinator.start(order(&work)).await;
    let outcome = match started {
        Err(StartError::InvalidInput(violations)) => invalid(&violations),
        Err(error) => Outcome::stopped(Status::Suspended, error.to_string()),
        Ok(started) => {
            let events = work.plan.events.into();
            let run = Run { coordinator: coordinator.clone(), id: started.summary.id, events, clock, idle, given: 0 };
            run.finish().await
        }
    };
    coordinator.shutdown().await;
    outcome
}

fn parts(work: &Work, clock: &DeskClock, idle: &Arc<Idle>) -> Parts {
    let plan = &work.plan;
    Parts {
        journal: plan.journal.clone(),
        clock: Arc::new(clock.clone()),
        programs: work.shelf.clone(),
        perform: Arc::new(Counted { perform: plan.perform.clone(), idle: idle.clone() }),
        evaluator: plan.evaluator.clone(),
        random: match plan.time {
            Time::Real => Box::new(rand::random),
            Time::Skip(_) => Box::new(|| 0.5),
        },
        attempts_max: ATTEMPTS_MAX_DEFAULT,
        events: EventSettings { window: KEPT, dedup: KEPT, ..EventSettings::default() },
    }
}

fn order(work: &Work) -> Start {
    let program = work.shelf.main();
    Start {
        pack: Shelf::pack_of(program),
        version: Some(program.version.clone()),
        workflow: program.name.clone(),
        service: None,
        name: None,
        input: work.plan.input.clone(),
        idempotency_key: None,
    }
}

/// An input that its schema refuses faults a run, as the language has it.
fn invalid(violations: &[String]) -> Outcome {
    let mut error = standard::error(standard::VALIDATION, "the input does not fit its schema", violations.join("; "));
    error.instance = Some("/input/schema".to_owned());
    let (output, tasks, warnings) = (None, Vec::new(), Vec::new());
    Outcome { status: Status::Faulted, output, error: Some(error), tasks, stopped: None, warnings }
}

struct Run {
    coordinator: Handle,
    id: InstanceId,
    events: VecDeque<Json>,
    clock: DeskClock,
    idle: Arc<Idle>,
    /// Events that were given so far.
    given: usize,
}

impl Run {
    async fn finish(mut self) -> Outcome {
        let stopped = self.follow().await;
        let mut outcome = match self.coordinator.instance(self.id) {
            Ok(summary) => told(summary),
            Err(error) => return Outcome::stopped(Status::Suspended, error.to_string()),
        };
        outcome.stopped = stopped;
        match self.coordinator.tasks(self.id) {
            Ok(tasks) => outcome.tasks = tasks.into_iter().map(TaskRun::from).collect(),
            Err(error) => outcome.stopped = outcome.stopped.or(Some(error.to_string())),
        }
        outcome
    }

    /// Follows the instance; the reason, where it is left before its end.
    async fn follow(&mut self) -> Option<String> {
        let records = match self.coordinator.follow(self.id, 0) {
            Ok(records) => records,
            Err(error) => return Some(error.to_string()),
        };
        let mut records = pin!(records);
        let (mut made, mut jumps) = (0_u64, 0_u32);
        let idle = self.idle.clone();
        idle.stir();
        loop {
            tokio::select! {
                biased;
                event = records.next() => match event {
                    None => return None,
                    Some(Event::Record { .. }) => (made, jumps) = (made + 1, 0),
                    Some(_) => {}
                },
                () = idle.rest() => match self.rested().await {
                    Ok(()) => jumps += 1,
                    Err(reason) => return Some(reason),
                },
            }
            if made > RECORDS_MAX {
                return Some(format!("it was stopped after {RECORDS_MAX} records: it seems to go round in circles"));
            }
            if jumps > IDLE_JUMPS_MAX {
                return Some(self.waits_for_ever());
            }
        }
    }

    /// Gives a run at rest what it waits for: the next event, else the next time.
    async fn rested(&mut self) -> Result<(), String> {
        if self.idle.is_calling() {
            return Ok(());
        }
        if let Some(event) = self.events.pop_front() {
            self.idle.stir();
            return self.deliver(event).await;
        }
        let (next, now) = (self.clock.next(), self.clock.now());
        match next.filter(|due| due.duration_since(now) < KEPT / 2) {
            // The machine's clock goes on by itself.
            Some(due) => {
                self.clock.jump(due);
                Ok(())
            }
            None => Err(self.waits_for_ever()),
        }
    }

    /// Gives the instance an event, as somebody outside would.
    async fn deliver(&mut self, event: Json) -> Result<(), String> {
        self.given += 1;
        let event = CloudEvent::structured(completed(event, self.given))
            .map_err(|reason| format!("event {} is no CloudEvent: {reason}", self.given))?;
        self.coordinator.take_events(vec![event]).await.map(drop).map_err(|error| error.to_string())
    }

    fn waits_for_ever(&self) -> String {
        let waits = self.coordinator.instance(self.id).ok().and_then(|summary| summary.waiting_for);
        match waits {
            Some(waits) => format!("it waits for something that will never come: {waits}; feed events with --events"),
            None => "it waits for something that will never come; feed events with --events".to_owned(),
        }
    }
}

/// An event with what its author left out.
fn completed(event: Json, number: usize) -> Json {
    let Json::Object(mut members) = event else { return event };
    members.entry("specversion").or_insert_with(|| Json::from("1.0"));
    members.entry("id").or_insert_with(|| Json::from(number.to_string()));
    members.entry("source").or_insert_with(|| Json::from("/desk"));
    Json::Object(members)
}

fn told(summary: InstanceSummary) -> Outcome {
    let (tasks, warnings) = (Vec::new(), Vec::new());
    Outcome { status: summary.status, output: summary.output, error: summary.error, tasks, stopped: None, warnings }
}
