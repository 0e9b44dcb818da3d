//! Drives one run: starts the instance, gives it events and time whenever it has come to rest, and says what came of it.
//! The process of a run can be made to die at a commit: everything but the journal and the outside is gone then, and
//! the run goes on from what is durable.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::clock::DeskClock;
use super::idle::{Counted, Idle};
use super::pack_test::with_instance;
use super::{Outcome, TaskRun, Time};
use crate::clock::Clock as _;
use crate::coordinator::events::cloud_event::CloudEvent;
use crate::coordinator::view::{Event, InstanceFilter, InstanceSummary, Status};
use crate::coordinator::{
    ATTEMPTS_MAX_DEFAULT, Coordinator, EventSettings, Handle, Parts, Perform, Programs, Start, StartError, none_closed,
};
use crate::definition::evaluate::Evaluate;
use crate::definition::graph::Program;
use crate::journal::Journal;
use crate::journal::faulty::{Crash, CrashJournal};
use crate::machine::record::{Record, Stamped};
use crate::model::{InstanceId, Json, TenantName, standard};

/// A run that makes more records than this goes round in circles; its journal is held in memory.
const RECORDS_MAX: u64 = 1_000_000;

/// So often the clock jumps without anything coming of it, before nothing is expected to come at all.
const IDLE_JUMPS_MAX: u32 = 1_000;

/// Between two looks at an instance that runs without anything that is seen to run.
const MOMENT: std::time::Duration = std::time::Duration::from_millis(2);

/// So long events are kept: longer than any wait of the language, so that nothing forgets them during a run.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 365 * 300);

/// So many instances of a run are told: the one that was ordered and its children.
const INSTANCES_MAX: usize = 1_000;

/// What is to be done.
pub(super) struct Work {
    /// What is ordered.
    pub(super) start: Start,
    /// Where workflows come from.
    pub(super) programs: Arc<dyn Programs>,
    /// Who performs calls.
    pub(super) perform: Arc<dyn Perform>,
    /// Who computes expressions.
    pub(super) evaluator: Arc<dyn Evaluate>,
    /// How waits pass.
    pub(super) time: Time,
    /// Where records go; not used where the process is to die.
    pub(super) journal: Arc<dyn Journal>,
    /// Events that are still to come.
    pub(super) events: Events,
    /// Somebody cancels as soon as this task is entered.
    pub(super) cancel: Option<String>,
    /// Where the process dies, if it is to.
    pub(super) death: Option<Death>,
}

/// A process that dies.
pub(super) struct Death {
    /// After so many commits.
    pub(super) commits: u64,
    /// How its last commit fares.
    pub(super) crash: Crash,
    /// Told when another process takes its place.
    pub(super) reborn: Box<dyn Fn() + Send>,
}

/// What came of a run, with what only its driver knows.
pub(super) struct Ended {
    /// What came of it.
    pub(super) outcome: Outcome,
    /// The instance, where there is one.
    pub(super) instance: Option<InstanceId>,
    /// The histories of the instance and its children.
    pub(super) histories: Vec<History>,
    /// How many batches were committed.
    pub(super) commits: u64,
}

/// What happened in one instance.
pub(super) struct History {
    /// Its workflow.
    pub(super) program: Arc<Program>,
    /// Its records.
    pub(super) records: Vec<Stamped>,
}

impl Ended {
    /// A run that was never begun.
    fn unbegun(outcome: Outcome) -> Self {
        Self { outcome, instance: None, histories: Vec::new(), commits: 0 }
    }

    /// The instance's identifier; nothing where there is none.
    pub(super) fn instance(&self) -> String {
        self.instance.map(|id| id.to_string()).unwrap_or_default()
    }
}

/// Events that are still to come. One that nobody has confirmed is given again, as a sender outside would.
pub(super) struct Events(Mutex<Coming>);

struct Coming {
    left: VecDeque<Json>,
    /// Events that were given so far.
    given: usize,
}

impl Events {
    pub(super) fn new(events: Vec<Json>) -> Self {
        Self(Mutex::new(Coming { left: events.into(), given: 0 }))
    }

    fn coming(&self) -> MutexGuard<'_, Coming> {
        // Held for one look or one change, neither of which can fail half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next event and its number.
    fn next(&self) -> Option<(Json, usize)> {
        let coming = self.coming();
        coming.left.front().map(|event| (event.clone(), coming.given + 1))
    }

    fn confirmed(&self) {
        let mut coming = self.coming();
        coming.left.pop_front();
        coming.given += 1;
    }
}

/// Runs to the end, on this thread; nobody waiting for the answer any more ends it too.
pub(super) fn run(work: &Work, mut answer: oneshot::Sender<Ended>) {
    let ended = match &work.death {
        None => life(work, &work.journal, work.time, &mut answer, None),
        Some(death) => lives(work, death, &mut answer),
    };
    if let Life::Ended(ended) = ended {
        // Whoever asked may be gone.
        let _ = answer.send(*ended);
    }
}

/// How the life of a process ended.
enum Life {
    /// With the run.
    Ended(Box<Ended>),
    /// Before it, at this time of its clock.
    Died(Timestamp),
    /// Nobody wants to know.
    Unwanted,
}

/// Two processes, one after the other.
fn lives(work: &Work, death: &Death, answer: &mut oneshot::Sender<Ended>) -> Life {
    let mortal = Arc::new(CrashJournal::new(death.commits, death.crash));
    let journal: Arc<dyn Journal> = mortal.clone();
    let died = match life(work, &journal, work.time, answer, Some(&mortal)) {
        Life::Died(at) => at,
        life => return life,
    };
    (death.reborn)();
    let time = match work.time {
        Time::Real => Time::Real,
        Time::Skip(_) => Time::Skip(died),
    };
    let journal: Arc<dyn Journal> = Arc::new(mortal.reopen());
    life(work, &journal, time, answer, None)
}

/// One process: whatever it has besides the journal and the outside goes with its runtime.
fn life(
    work: &Work,
    journal: &Arc<dyn Journal>,
    time: Time,
    answer: &mut oneshot::Sender<Ended>,
    mortal: Option<&CrashJournal>,
) -> Life {
    let idle = Arc::new(Idle::default());
    let parked = idle.clone();
    let runtime = Builder::new_current_thread().enable_all().on_thread_park(move || parked.parked()).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let outcome = Outcome::stopped(Status::Suspended, format!("no runtime for the run: {error}"));
            return Life::Ended(Box::new(Ended::unbegun(outcome)));
        }
    };
    let clock = DeskClock::new(time, idle.clone());
    let life = runtime.block_on(async {
        let dies = async {
            match mortal {
                Some(mortal) => mortal.crashed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = dies => Life::Died(clock.now()),
            ended = drive(work, journal, &clock, &idle) => Life::Ended(Box::new(ended)),
            () = answer.closed() => Life::Unwanted,
        }
    });
    runtime.shutdown_background();
    life
}

async fn drive(work: &Work, journal: &Arc<dyn Journal>, clock: &DeskClock, idle: &Arc<Idle>) -> Ended {
    let coordinator = match Coordinator::start(parts(work, journal, clock, idle)).await {
        Ok(coordinator) => coordinator,
        Err(error) => return Ended::unbegun(Outcome::stopped(Status::Suspended, error.to_string())),
    };
    let started = coordinator.start(work.start.clone()).await;
    let mut ended = match started {
        Err(StartError::InvalidInput(violations)) => Ended::unbegun(invalid(&violations)),
        Err(error) => Ended::unbegun(Outcome::stopped(Status::Suspended, error.to_string())),
        Ok(started) => {
            let id = started.summary.id;
            let run = Run { coordinator: coordinator.clone(), id, work, clock: clock.clone(), idle: idle.clone() };
            let outcome = run.finish().await;
            Ended { outcome, instance: Some(id), histories: histories(&coordinator), commits: 0 }
        }
    };
    coordinator.shutdown().await;
    ended.commits = journal.counters().commits;
    ended
}

/// What happened in every instance. What cannot be read is left out: the outcome says why already.
fn histories(coordinator: &Handle) -> Vec<History> {
    let page = coordinator.instances(&InstanceFilter::default(), INSTANCES_MAX, None);
    let ids = page.map(|page| page.items).unwrap_or_default().into_iter().map(|summary| summary.id);
    let history = |id| {
        let records = coordinator.history(id, 0, usize::MAX).ok()?;
        Some(History { program: coordinator.program(id).ok()?, records })
    };
    ids.filter_map(history).collect()
}

fn parts(work: &Work, journal: &Arc<dyn Journal>, clock: &DeskClock, idle: &Arc<Idle>) -> Parts {
    Parts {
        journal: journal.clone(),
        clock: Arc::new(clock.clone()),
        programs: work.programs.clone(),
        perform: Arc::new(Counted { perform: work.perform.clone(), idle: idle.clone() }),
        evaluator: work.evaluator.clone(),
        random: match work.time {
            Time::Real => Box::new(rand::random),
            Time::Skip(_) => Box::new(|| 0.5),
        },
        attempts_max: ATTEMPTS_MAX_DEFAULT,
        events: EventSettings { window: KEPT, dedup: KEPT, ..EventSettings::default() },
        closed: none_closed(),
    }
}

/// An input that its schema refuses faults a run, as the language has it.
fn invalid(violations: &[String]) -> Outcome {
    let mut error = standard::error(standard::VALIDATION, "the input does not fit its schema", violations.join("; "));
    error.instance = Some("/input/schema".to_owned());
    let (output, tasks, warnings) = (None, Vec::new(), Vec::new());
    Outcome { status: Status::Faulted, output, error: Some(error), tasks, stopped: None, warnings }
}

struct Run<'a> {
    coordinator: Handle,
    id: InstanceId,
    work: &'a Work,
    clock: DeskClock,
    idle: Arc<Idle>,
}

impl Run<'_> {
    async fn finish(self) -> Outcome {
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
    async fn follow(&self) -> Option<String> {
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
                event = records.next() => {
                    let event = event?;
                    if let Event::Record { record, .. } = &**event {
                        (made, jumps) = (made + 1, 0);
                        self.cancel_at(&record.record).await;
                    }
                }
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
    async fn rested(&self) -> Result<(), String> {
        if self.idle.is_calling() {
            return Ok(());
        }
        if let Some((event, number)) = self.work.events.next() {
            self.idle.stir();
            return self.deliver(event, number).await;
        }
        let (next, now) = (self.clock.next(), self.clock.now());
        match next.filter(|due| due.duration_since(now) < KEPT / 2) {
            // The machine's clock goes on by itself.
            Some(due) => {
                self.clock.jump(due);
                Ok(())
            }
            None => self.last_look().await,
        }
    }

    /// An instance that runs, as opposed to one that waits, may be between two places where nobody counts it, such as a
    /// thread that reads the journal: it gets a moment.
    async fn last_look(&self) -> Result<(), String> {
        if !self.coordinator.instance(self.id).is_ok_and(|summary| summary.status == Status::Running) {
            return Err(self.waits_for_ever());
        }
        tokio::time::sleep(MOMENT).await;
        self.idle.stir();
        Ok(())
    }

    /// Gives the instance an event, as somebody outside would; `${instance}` in it stands for the instance.
    async fn deliver(&self, event: Json, number: usize) -> Result<(), String> {
        let event = with_instance(&event, &self.id.to_string());
        let event = CloudEvent::structured(completed(event, number))
            .map_err(|reason| format!("event {number} is no CloudEvent: {reason}"))?;
        self.coordinator.take_events(&TenantName::standard(), vec![event]).await.map_err(|error| error.to_string())?;
        self.work.events.confirmed();
        Ok(())
    }

    /// Cancels where the task is entered at which somebody is to.
    async fn cancel_at(&self, record: &Record) {
        let (Some(task), Record::Entered(entered)) = (&self.work.cancel, record) else { return };
        let Ok(program) = self.coordinator.program(self.id) else { return };
        if program.node(entered.node).name.as_str() == task {
            // An instance that has ended meanwhile has nothing to cancel.
            let _ = self.coordinator.cancel(self.id, None).await;
        }
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
