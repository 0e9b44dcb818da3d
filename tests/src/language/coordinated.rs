//! A case through the coordinator: the real loop, a real journal, attempts that are tasks of their own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{BoxFuture, FutureExt as _};
use jiff::Timestamp;
use orchestrator_host::clock::Clock as _;
use orchestrator_host::coordinator::perform::{Attempt, Finding, Observe};
use orchestrator_host::coordinator::{
    Coordinator, EventSettings, Parts, Perform, ProgramError, Programs, Resolved, Scheduled, none_closed,
};
use orchestrator_host::definition::evaluate::Evaluate;
use orchestrator_host::definition::graph::{NodeKind, Program};
use orchestrator_host::journal::Journal;
use orchestrator_host::machine::record::Created;
use orchestrator_host::model::{Effect, Failure, PackName, Success, WorkflowName};

use super::client::{self, Client};
use super::judge::Outcome;
use super::prepared::Prepared;
use super::quiet::{Activity, StepClock, Watched};
use super::world::{Asked, World, echo};

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

    fn scheduled(&self) -> Vec<Scheduled> {
        let pack = PackName::parse("test").expect("`test` is a name");
        let (program, workflow) = (self.main.clone(), self.main.name.clone());
        let found = Scheduled { pack, version: semver::Version::new(1, 0, 0), workflow, program };
        if self.main.schedule.is_some() { vec![found] } else { Vec::new() }
    }
}

/// The outside, behind the seam where the sandbox is in the server.
struct Scripted {
    world: Arc<Mutex<World>>,
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
    fn run(&self, attempt: Attempt, observer: Arc<dyn Observe>) -> BoxFuture<'static, Result<Success, Failure>> {
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
        called.resumed_from(call.checkpoint.as_ref());
        let (ready, reply, checkpoints) = (called.ready, called.reply.clone(), called.checkpoints.clone());
        let (clock, activity, world) = (self.clock.clone(), self.activity.clone(), self.world.clone());
        let (key, from) = (call.key.clone(), call.checkpoint.clone());
        async move {
            // Goes on behind the checkpoint that it was given.
            let passed = checkpoints.iter().position(|saved| Some(saved) == from.as_ref()).map_or(0, |at| at + 1);
            for value in &checkpoints[passed..] {
                with(&world, &key, |called| called.saving = Some(value.clone()));
                if observer.checkpoint(value.clone()).await.is_ok() {
                    with(&world, &key, |called| called.saved = called.saving.take());
                }
                activity.note();
            }
            match ready {
                Some(ready) => clock.sleep_until(ready).await,
                None => std::future::pending().await,
            }
            activity.note();
            with(&world, &key, |called| called.answered = true);
            reply
        }
        .boxed()
    }

    fn probe(&self, attempt: Attempt, _: Arc<dyn Observe>) -> BoxFuture<'static, Result<Finding, Failure>> {
        self.activity.note();
        let found = with(&self.world, &attempt.call.key, |called| called.found());
        // What never arrived was not done.
        std::future::ready(Ok(found.unwrap_or(Finding::NotDone))).boxed()
    }
}

fn with<T>(world: &Mutex<World>, key: &str, look: impl FnOnce(&mut super::world::Called) -> T) -> Option<T> {
    world.lock().unwrap_or_else(PoisonError::into_inner).calls.get_mut(key).map(look)
}

/// What outlives a server: the outside, the time, and the client, who knows what it was answered.
pub struct Beyond {
    /// The outside.
    pub world: Arc<Mutex<World>>,
    /// The time.
    pub now: Timestamp,
    /// The client.
    pub client: Client,
}

impl Beyond {
    /// Before the first server is started.
    pub fn new(prepared: &Prepared) -> Self {
        let world = Arc::new(Mutex::new(World::new(&prepared.case)));
        Self { world, now: super::birth(), client: Client::default() }
    }

    /// Looks at the outside.
    pub fn look<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs a case over a journal, without any harm.
///
/// # Errors
/// The coordinator does what it must not, or the case does not come to rest.
pub async fn run(
    prepared: &Prepared,
    evaluator: &Arc<dyn Evaluate>,
    journal: Arc<dyn Journal>,
) -> anyhow::Result<Outcome> {
    life(prepared, evaluator, journal, &mut Beyond::new(prepared)).await
}

/// One life of a server: from its start to the rest of the case.
///
/// # Errors
/// See [`run`].
pub async fn life(
    prepared: &Prepared,
    evaluator: &Arc<dyn Evaluate>,
    journal: Arc<dyn Journal>,
    beyond: &mut Beyond,
) -> anyhow::Result<Outcome> {
    let activity = Arc::new(Activity::default());
    let clock = StepClock::new(beyond.now, activity.clone());
    if prepared.program.schedule.is_some() {
        activity.wait_for_the_scheduler();
    }
    let shelf = Arc::new(Shelf { main: prepared.program.clone(), children: prepared.children.clone() });
    let chance = prepared.case.chance;
    let (world, perform_clock) = (beyond.world.clone(), clock.clone());
    let perform = Scripted { world, shelf: shelf.clone(), clock: perform_clock, activity: activity.clone() };
    let handle = Coordinator::start(Parts {
        journal: Arc::new(Watched::new(journal.clone(), activity.clone())),
        clock: Arc::new(clock.clone()),
        programs: shelf,
        perform: Arc::new(perform),
        evaluator: evaluator.clone(),
        random: Box::new(move || chance),
        attempts_max: 64,
        events: EventSettings { sinks: beyond.client.sinks(), ..EventSettings::default() },
        closed: none_closed(),
    })
    .await?;
    let stage = client::Stage { prepared, handle: handle.clone(), clock, activity, journal, now: &mut beyond.now };
    let outcome = beyond.client.play(stage).await;
    handle.shutdown().await;
    outcome
}
