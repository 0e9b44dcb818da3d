//! A case through the coordinator: the real loop, a real journal, attempts that are tasks of their own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use futures_util::future::{BoxFuture, FutureExt as _};
use orchestrator_host::clock::Clock as _;
use orchestrator_host::coordinator::events::cloud_event::CloudEvent;
use orchestrator_host::coordinator::perform::{Attempt, Finding, Observe};
use orchestrator_host::coordinator::{
    Coordinator, EventSettings, Handle, Parts, Perform, ProgramError, Programs, Resolved, Start, StartError,
};
use orchestrator_host::definition::evaluate::Evaluate;
use orchestrator_host::definition::graph::{NodeKind, Program};
use orchestrator_host::journal::Journal;
use orchestrator_host::machine::record::Created;
use orchestrator_host::model::{Effect, ErrorObject, Failure, InstanceId, PackName, Success, WorkflowName, standard};

use super::case::{Case, Point};
use super::judge::{self, Outcome};
use super::prepared::Prepared;
use super::pure::unexpected;
use super::quiet::{Activity, StepClock, Watched};
use super::world::{Asked, World, echo};

/// More moves of the clock than this and a case does not end.
const MOVES_MAX: usize = 2_000;
/// So many moves of the clock after the last record, and the instance waits for something that does not come.
const IDLE_MAX: usize = 50;
/// More records than this no case makes.
const RECORDS_MAX: usize = 100_000;

/// The workflows of a case.
struct Shelf {
    main: Arc<Program>,
    children: BTreeMap<String, Arc<Program>>,
}

impl Shelf {
    fn find(&self, name: &WorkflowName) -> Result<Arc<Program>, ProgramError> {
        let child = self.children.values().find(|child| child.name == *name);
        let main = (self.main.name == *name).then_some(&self.main);
        main.or(child).cloned().ok_or_else(|| ProgramError::NotFound(format!("there is no workflow `{name}`")))
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

/// The outside, behind the seam where the sandbox is in the server.
struct Scripted {
    world: Mutex<World>,
    shelf: Arc<Shelf>,
    clock: StepClock,
    activity: Arc<Activity>,
}

impl Scripted {
    /// The effect and the name of the calling task.
    fn caller(&self, attempt: &Attempt) -> (Effect, String) {
        let all = std::iter::once(&self.shelf.main).chain(self.shelf.children.values());
        let node = all.flat_map(|program| &program.nodes).find_map(|node| match &node.kind {
            NodeKind::Act(act) if node.reference == attempt.reference && act.callee == attempt.call.callee => {
                Some((act.effect, node.name.to_string()))
            }
            _ => None,
        });
        node.unwrap_or_default()
    }
}

impl Perform for Scripted {
    fn run(&self, attempt: Attempt, _: Arc<dyn Observe>) -> BoxFuture<'static, Result<Success, Failure>> {
        self.activity.note();
        let (effect, task) = self.caller(&attempt);
        let call = &attempt.call;
        let asked = Asked {
            key: &call.key,
            callee: &call.callee,
            arguments: &call.arguments,
            task: &task,
            activation: Some(call.activation),
            effect,
            at: self.clock.now(),
        };
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let called = world.note(&asked, || echo(&call.arguments));
        called.performed += 1;
        let (ready, reply) = (called.ready, called.reply.clone());
        let (clock, activity) = (self.clock.clone(), self.activity.clone());
        async move {
            match ready {
                Some(ready) => clock.sleep_until(ready).await,
                None => std::future::pending().await,
            }
            activity.note();
            reply
        }
        .boxed()
    }

    fn probe(&self, _: Attempt, _: Arc<dyn Observe>) -> BoxFuture<'static, Result<Finding, Failure>> {
        std::future::ready(Err(unexpected("no case that is not killed asks a probe"))).boxed()
    }
}

/// One coordinator with one instance.
struct Stage {
    case: Arc<Case>,
    handle: Handle,
    id: InstanceId,
    clock: StepClock,
    activity: Arc<Activity>,
    sent: Vec<usize>,
    cancelled: bool,
}

/// Runs a case over a journal.
///
/// # Errors
/// The coordinator does what it must not, or the case does not come to rest.
pub async fn run(
    prepared: &Prepared,
    evaluator: &Arc<dyn Evaluate>,
    journal: Arc<dyn Journal>,
) -> anyhow::Result<Outcome> {
    let activity = Arc::new(Activity::default());
    let clock = StepClock::new(super::birth(), activity.clone());
    let shelf = Arc::new(Shelf { main: prepared.program.clone(), children: prepared.children.clone() });
    let chance = prepared.case.chance;
    let perform = Scripted {
        world: Mutex::new(World::new(&prepared.case)),
        shelf: shelf.clone(),
        clock: clock.clone(),
        activity: activity.clone(),
    };
    let handle = Coordinator::start(Parts {
        journal: Arc::new(Watched::new(journal, activity.clone())),
        clock: Arc::new(clock.clone()),
        programs: shelf,
        perform: Arc::new(perform),
        evaluator: evaluator.clone(),
        random: Box::new(move || chance),
        attempts_max: 64,
        events: EventSettings::default(),
    })
    .await?;
    let outcome = live(prepared, handle.clone(), clock, activity).await;
    handle.shutdown().await;
    outcome
}

async fn live(
    prepared: &Prepared,
    handle: Handle,
    clock: StepClock,
    activity: Arc<Activity>,
) -> anyhow::Result<Outcome> {
    let start = Start {
        pack: PackName::parse("test").context("a name")?,
        version: None,
        workflow: prepared.program.name.clone(),
        service: None,
        name: None,
        input: prepared.case.input.clone(),
        idempotency_key: None,
    };
    let before = prepared.case.events.iter().enumerate().filter(|(_, arrival)| arrival.at.is("before"));
    let before: Vec<usize> = before.map(|(place, _)| place).collect();
    for place in &before {
        let event = CloudEvent::structured(prepared.case.event(*place)).map_err(anyhow::Error::msg)?;
        handle.take_events(vec![event]).await?;
    }
    let started = match handle.start(start).await {
        Ok(started) => started,
        Err(StartError::InvalidInput(why)) => return Ok(refused(&why)),
        Err(error) => bail!("not started: {error}"),
    };
    let case = prepared.case.clone();
    let id = started.summary.id;
    let mut stage = Stage { case, handle, id, clock, activity, sent: before, cancelled: false };
    stage.play().await?;
    let records = stage.handle.history(id, 0, RECORDS_MAX)?;
    Ok(judge::outcome(&prepared.program, &records))
}

/// An input that does not fit is refused before there is an instance.
fn refused(why: &[String]) -> Outcome {
    let error: ErrorObject = standard::error(standard::VALIDATION, "data does not fit its schema", why.join("; "));
    Outcome {
        status: "faulted".to_owned(),
        output: None,
        error: Some(error),
        tasks: Vec::new(),
        calls: Vec::new(),
        emitted: Vec::new(),
        took: jiff::SignedDuration::ZERO,
    }
}

impl Stage {
    /// Goes on until the instance has ended or nothing happens any more.
    async fn play(&mut self) -> anyhow::Result<()> {
        let (mut seen, mut idle) = (0, 0);
        for _ in 0..MOVES_MAX {
            self.activity.rest().await;
            let summary = self.handle.instance(self.id)?;
            if summary.status.is_final() {
                return Ok(());
            }
            if self.send_what_is_due().await? {
                continue;
            }
            let records = self.handle.history(self.id, 0, RECORDS_MAX)?.len();
            idle = if records == seen { idle + 1 } else { 0 };
            seen = records;
            match self.next_time() {
                // What goes on without a record is the coordinator's own housekeeping.
                Some(next) if idle < IDLE_MAX => self.clock.move_to(next),
                _ => return Ok(()),
            }
        }
        bail!("it does not come to rest: {:?}", self.handle.instance(self.id)?.waiting_for)
    }

    fn next_time(&self) -> Option<jiff::Timestamp> {
        let sent = self.open().filter_map(|place| self.case.events[place].at.time());
        let cancel = self.case.cancel_at.iter().filter(|_| !self.cancelled).filter_map(Point::time);
        sent.chain(cancel).chain(self.clock.next_due()).min()
    }

    fn open(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.case.events.len()).filter(|place| !self.sent.contains(place))
    }

    async fn send(&self, place: usize) -> anyhow::Result<()> {
        let event = CloudEvent::structured(self.case.event(place)).map_err(anyhow::Error::msg)?;
        self.handle.take_events(vec![event]).await?;
        Ok(())
    }

    async fn send_what_is_due(&mut self) -> anyhow::Result<bool> {
        let records = self.handle.history(self.id, 0, RECORDS_MAX)?.len() as u64;
        let now = self.clock.now();
        let due = |point: &Point| match point {
            Point::Records { records: wanted } => records >= *wanted,
            word => word.is("waiting") || word.time().is_some_and(|time| time <= now),
        };
        let arriving = self.open().find(|place| due(&self.case.events[*place].at));
        if let Some(place) = arriving {
            self.sent.push(place);
            self.send(place).await?;
            return Ok(true);
        }
        if !self.cancelled && self.case.cancel_at.as_ref().is_some_and(due) {
            self.cancelled = true;
            self.handle.cancel(self.id, None).await?;
            return Ok(true);
        }
        Ok(false)
    }
}
