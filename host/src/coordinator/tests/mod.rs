//! The coordinator over a journal in memory, with a script in the place of the sandbox.

mod children;
mod cleanup;
mod events;
mod faults;
mod follows;
mod heartbeat;
mod lifecycle;
mod snapshots;
mod suspended;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, FutureExt as _};
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::watch;

use super::perform::{Attempt, Finding, Observe};
use super::view::*;
use super::*;
use crate::clock::SimClock;
use crate::definition::graph::Program;
use crate::journal::memory::MemoryJournal;
use crate::machine::record::{Created, Record};
use crate::machine::testing::{Plain, program};
use crate::model::*;

/// Workflows by name, all of the pack `test` 1.0.0.
#[derive(Default)]
pub(super) struct Shelf(pub(super) BTreeMap<String, Arc<Program>>);

impl Shelf {
    pub(super) fn of(definition: Json) -> Self {
        Self([("flow".to_owned(), Arc::new(program(definition)))].into())
    }

    fn find(&self, name: &WorkflowName) -> Result<Arc<Program>, ProgramError> {
        self.0.get(name.as_str()).cloned().ok_or_else(|| ProgramError::NotFound(format!("there is no {name}")))
    }
}

impl Programs for Shelf {
    fn resolve(
        &self,
        _: &PackName,
        _: Option<&semver::Version>,
        workflow: &WorkflowName,
    ) -> Result<Resolved, ProgramError> {
        Ok(Resolved { program: self.find(workflow)?, version: semver::Version::new(1, 0, 0) })
    }

    fn pinned(&self, created: &Created) -> Result<Arc<Program>, ProgramError> {
        self.find(&created.workflow)
    }
}

type Answer = BoxFuture<'static, Result<Success, Failure>>;
type Act = dyn Fn(&Attempt, Arc<dyn Observe>) -> Answer + Send + Sync;

/// The world outside: what was called, what took effect, and what comes back.
pub(super) struct World {
    act: Box<Act>,
    /// Calls in order: action, key, attempt.
    pub(super) calls: Mutex<Vec<(String, String, u32)>>,
    /// Actions that took effect, by key.
    pub(super) effects: Mutex<BTreeSet<(String, String)>>,
    pub(super) probes: Mutex<u32>,
    pub(super) called: watch::Sender<usize>,
}

impl World {
    pub(super) fn new(act: impl Fn(&Attempt, Arc<dyn Observe>) -> Answer + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            act: Box::new(act),
            calls: Mutex::default(),
            effects: Mutex::default(),
            probes: Mutex::default(),
            called: watch::Sender::new(0),
        })
    }

    /// Every call succeeds with what it was passed.
    pub(super) fn echo() -> Arc<Self> {
        Self::new(|attempt, _| gives(attempt.call.arguments.clone()))
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.calls.lock().unwrap().iter().map(|(name, _, _)| name.clone()).collect()
    }

    /// Waits until so many attempts were begun.
    pub(super) async fn called(&self, times: usize) {
        self.called.subscribe().wait_for(|called| *called >= times).await.unwrap();
    }
}

pub(super) fn gives(output: Json) -> Answer {
    std::future::ready(Ok(Success { output, ..Success::default() })).boxed()
}

pub(super) fn fails(status: u16) -> Answer {
    let problem = Problem { kind: String::new(), status, title: "no".to_owned(), detail: String::new() };
    std::future::ready(Err(Failure { reaction: Reaction::Permanent, problem })).boxed()
}

pub(super) fn hangs() -> Answer {
    std::future::pending().boxed()
}

impl Perform for World {
    fn run(&self, attempt: Attempt, observer: Arc<dyn Observe>) -> Answer {
        let name = attempt.call.callee.action().unwrap().action.to_string();
        self.calls.lock().unwrap().push((name.clone(), attempt.call.key.clone(), attempt.call.attempt));
        self.effects.lock().unwrap().insert((name, attempt.call.key.clone()));
        self.called.send_modify(|called| *called += 1);
        (self.act)(&attempt, observer)
    }

    /// Answers truly, for a world that echoes.
    fn probe(&self, attempt: Attempt, _: Arc<dyn Observe>) -> BoxFuture<'static, Result<Finding, Failure>> {
        *self.probes.lock().unwrap() += 1;
        let done = self
            .effects
            .lock()
            .unwrap()
            .contains(&(attempt.call.callee.action().unwrap().action.to_string(), attempt.call.key));
        let success = Success { output: attempt.call.arguments, ..Success::default() };
        std::future::ready(Ok(if done { Finding::Done(success) } else { Finding::NotDone })).boxed()
    }
}

/// A clock on which every wait is over at once, and the time is then what was waited for.
#[derive(Default)]
pub(super) struct JumpClock(Mutex<Timestamp>);

impl Clock for JumpClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn sleep_until(&self, due: Timestamp) -> BoxFuture<'static, ()> {
        let mut now = self.0.lock().unwrap();
        *now = due.max(*now);
        std::future::ready(()).boxed()
    }
}

pub(super) fn new_year() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// The parts of a coordinator; a restart takes the same ones.
#[derive(Clone)]
pub(super) struct Kit {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) world: Arc<World>,
    pub(super) attempts_max: usize,
    pub(super) events: EventSettings,
}

impl Kit {
    pub(super) fn new(definition: Json, world: Arc<World>) -> Self {
        Self {
            journal: Arc::new(MemoryJournal::new()),
            clock: Arc::new(SimClock::new(new_year())),
            shelf: Arc::new(Shelf::of(definition)),
            world,
            attempts_max: 8,
            events: EventSettings::default(),
        }
    }

    pub(super) async fn start(&self) -> Handle {
        let parts = Parts {
            journal: self.journal.clone(),
            clock: self.clock.clone(),
            programs: self.shelf.clone(),
            perform: self.world.clone(),
            evaluator: Arc::new(Plain),
            random: Box::new(|| 0.5),
            attempts_max: self.attempts_max,
            events: self.events.clone(),
            closed: crate::coordinator::none_closed(),
        };
        Coordinator::start(parts).await.unwrap()
    }
}

pub(super) fn order(input: Json) -> Start {
    Start {
        pack: PackName::parse("test").unwrap(),
        version: None,
        workflow: WorkflowName::parse("flow").unwrap(),
        service: None,
        name: None,
        input,
        idempotency_key: None,
        tenant: TenantName::standard(),
        created_by: None,
        rerun_of: None,
        asked: None,
        note: None,
    }
}

/// Somebody who sees everything in the tenant `default`.
pub(super) fn anybody() -> Arc<Principal> {
    Arc::new(Principal::anonymous(TenantName::standard()))
}

pub(super) fn keyed(key: &str, input: Json) -> Start {
    Start { idempotency_key: Some(key.to_owned()), ..order(input) }
}

/// Waits for the end of an instance.
pub(super) async fn ended(handle: &Handle, id: InstanceId) -> InstanceSummary {
    let events = handle.follow(id, 0).unwrap();
    let records: Vec<_> = events
        .filter_map(|event| async move {
            match &**event {
                Event::Record { record, .. } => Some(record.clone()),
                _ => None,
            }
        })
        .collect()
        .await;
    assert!(matches!(records.last().map(|last| &last.record), Some(Record::Ended { .. })), "{records:?}");
    let sequence: Vec<_> = records.iter().map(|record| record.seq).collect();
    assert_eq!(sequence, (1..=records.len() as u64).collect::<Vec<_>>(), "no gap and no duplicate");
    handle.instance(id).unwrap()
}
