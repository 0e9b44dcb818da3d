//! The client of a case: starts the instance, sends what the case sends, asks for its cancellation, and moves the time. It
//! outlives servers: what it got no answer for it sends again to the next one.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use orchestrator_host::clock::Clock as _;
use orchestrator_host::coordinator::events::cloud_event::CloudEvent;
use orchestrator_host::coordinator::view::{InstanceFilter, InstanceSummary};
use orchestrator_host::coordinator::{Handle, InstanceError, Start, StartError};
use orchestrator_host::journal::{Journal, Scan, keys};
use orchestrator_host::model::{ErrorObject, InstanceId, PackName, TenantName, standard};
use url::Url;

use super::case::{Point, duration};
use super::judge::{self, Outcome};
use super::prepared::Prepared;
use super::quiet::{Activity, StepClock};
use super::sink::Mailbox;

/// More moves of the clock than this and a case does not end.
const MOVES_MAX: usize = 2_000;
/// So many moves of the clock after the last record, and the instance waits for something that does not come.
const IDLE_MAX: usize = 50;
/// More records than this no case makes.
const RECORDS_MAX: usize = 100_000;
/// More instances than this no schedule of a case makes.
const INSTANCES_MAX: usize = 200;
/// So often a look is taken whether the sink has everything, a fifth of a millisecond apart.
const LOOKS_MAX: usize = 50_000;

/// What a client knows.
#[derive(Default)]
pub struct Client {
    /// The events that were taken.
    sent: Vec<usize>,
    /// Cancelling was taken.
    cancelled: bool,
    /// So many of the requests to suspend and to resume were taken.
    paused: usize,
    /// A server broke down before.
    pub restarted: bool,
    /// Who is told.
    sink: Option<Mailbox>,
}

/// A server for a client.
pub struct Stage<'a> {
    /// The case.
    pub prepared: &'a Prepared,
    /// The server.
    pub handle: Handle,
    /// The time.
    pub clock: StepClock,
    /// What goes on.
    pub activity: Arc<Activity>,
    /// What is durable.
    pub journal: Arc<dyn Journal>,
    /// The time, for the next server.
    pub now: &'a mut Timestamp,
}

impl Stage<'_> {
    fn move_to(&mut self, time: Timestamp) {
        self.clock.move_to(time);
        *self.now = self.clock.now();
    }

    async fn send(&self, place: usize) -> anyhow::Result<()> {
        let event = CloudEvent::structured(self.prepared.case.event(place)).map_err(anyhow::Error::msg)?;
        self.handle.take_events(&TenantName::standard(), vec![event]).await?;
        Ok(())
    }

    fn records(&self, id: InstanceId) -> anyhow::Result<u64> {
        Ok(self.handle.history(id, 0, RECORDS_MAX)?.len() as u64)
    }
}

impl Client {
    /// A client that has a place to which events are sent.
    ///
    /// # Errors
    /// There is no port left.
    pub fn told(&mut self, prepared: &Prepared) -> anyhow::Result<()> {
        if let Some(sink) = &prepared.case.sink {
            self.sink = Some(Mailbox::new(&sink.refuses)?);
        }
        Ok(())
    }

    /// Where events are sent.
    pub fn sinks(&self) -> Vec<Url> {
        self.sink.iter().map(|sink| sink.url().clone()).collect()
    }

    /// Goes on to the end of the case.
    ///
    /// # Errors
    /// The server does what it must not, or the case does not come to rest.
    pub async fn play(&mut self, mut stage: Stage<'_>) -> anyhow::Result<Outcome> {
        if stage.prepared.case.expect.fires.is_some() {
            return self.watch_schedule(&mut stage).await;
        }
        self.send_first(&stage).await?;
        let id = match stage.handle.start(self.order(&stage)?).await {
            Ok(started) => started.summary.id,
            Err(StartError::InvalidInput(why)) => return Ok(refused(&why)),
            Err(error) => bail!("not started: {error}"),
        };
        self.go_on(&mut stage, id).await?;
        let records = stage.handle.history(id, 0, RECORDS_MAX)?;
        let mut outcome = judge::outcome(&stage.prepared.program, &records);
        outcome.told = self.all_told(&mut stage, id).await?;
        Ok(outcome)
    }

    fn order(&self, stage: &Stage<'_>) -> anyhow::Result<Start> {
        Ok(Start {
            pack: PackName::parse("test").context("a name")?,
            version: None,
            workflow: stage.prepared.program.name.clone(),
            service: None,
            name: None,
            input: stage.prepared.case.input.clone(),
            idempotency_key: Some("the order".to_owned()),
            tenant: TenantName::standard(),
            created_by: None,
            rerun_of: None,
            asked: None,
            note: None,
        })
    }

    async fn send_first(&mut self, stage: &Stage<'_>) -> anyhow::Result<()> {
        for (place, arrival) in stage.prepared.case.events.iter().enumerate() {
            if arrival.at.is("before") && !self.sent.contains(&place) {
                stage.send(place).await?;
                self.sent.push(place);
            }
        }
        Ok(())
    }

    /// Until the instance has ended or nothing happens any more.
    async fn go_on(&mut self, stage: &mut Stage<'_>, id: InstanceId) -> anyhow::Result<()> {
        let (mut seen, mut idle) = (0, 0);
        for _ in 0..MOVES_MAX {
            stage.activity.rest().await;
            let summary = stage.handle.instance(id)?;
            if summary.status.is_final() {
                return Ok(());
            }
            if self.does_what_is_due(stage, id).await? {
                continue;
            }
            let records = stage.records(id)?;
            idle = if records == seen { idle + 1 } else { 0 };
            seen = records;
            match self.next_time(stage) {
                // What goes on without a record is the coordinator's own housekeeping.
                Some(next) if idle < IDLE_MAX => stage.move_to(next),
                _ => return Ok(()),
            }
        }
        bail!("it does not come to rest: {:?}", stage.handle.instance(id)?.waiting_for)
    }

    fn next_time(&self, stage: &Stage<'_>) -> Option<Timestamp> {
        let case = &stage.prepared.case;
        let sent = self.open(stage).filter_map(|place| case.events[place].at.time());
        let cancel = case.cancel_at.iter().filter(|_| !self.cancelled).filter_map(Point::time);
        let pause = case.pauses.get(self.paused).and_then(Point::time);
        sent.chain(cancel).chain(pause).chain(stage.clock.next_due()).min()
    }

    fn open<'s>(&'s self, stage: &Stage<'_>) -> impl Iterator<Item = usize> + use<'s> {
        (0..stage.prepared.case.events.len()).filter(|place| !self.sent.contains(place))
    }

    async fn does_what_is_due(&mut self, stage: &Stage<'_>, id: InstanceId) -> anyhow::Result<bool> {
        let (records, now, case) = (stage.records(id)?, stage.clock.now(), &stage.prepared.case);
        let due = |point: &Point| match point {
            Point::Records { records: wanted } => records >= *wanted,
            word => word.is("waiting") || word.time().is_some_and(|time| time <= now),
        };
        if case.pauses.get(self.paused).is_some_and(due) {
            self.pause(stage, id).await?;
            return Ok(true);
        }
        let arriving = self.open(stage).find(|place| due(&case.events[*place].at));
        if let Some(place) = arriving {
            stage.send(place).await?;
            self.sent.push(place);
            return Ok(true);
        }
        if !self.cancelled && case.cancel_at.as_ref().is_some_and(due) {
            match stage.handle.cancel(id, None).await {
                Ok(()) => {}
                // It was taken by a server that did not live to say so.
                Err(InstanceError::Ended(..)) if self.restarted => {}
                Err(error) => bail!("not cancelled: {error}"),
            }
            self.cancelled = true;
            return Ok(true);
        }
        Ok(false)
    }

    /// Suspends at the first point of the list, resumes at the second, and so on.
    async fn pause(&mut self, stage: &Stage<'_>, id: InstanceId) -> anyhow::Result<()> {
        let asked = match self.paused % 2 {
            0 => stage.handle.suspend(id, None).await,
            _ => stage.handle.resume(id, None).await,
        };
        match asked {
            Ok(()) => {}
            Err(InstanceError::Ended(..)) if self.restarted => {}
            Err(error) => bail!("not suspended or resumed: {error}"),
        }
        self.paused += 1;
        Ok(())
    }

    /// Lets the time of a schedule pass and tells which instances there are then.
    async fn watch_schedule(&mut self, stage: &mut Stage<'_>) -> anyhow::Result<Outcome> {
        let case = stage.prepared.case.clone();
        let end = super::birth() + duration(case.runs.as_deref().context("a schedule's case `runs` for a time")?)?;
        loop {
            stage.activity.rest().await;
            let now = stage.clock.now();
            let due = |point: &Point| point.is("before") || point.time().is_some_and(|time| time <= now);
            let arriving = self.open(stage).find(|place| due(&case.events[*place].at));
            if let Some(place) = arriving {
                stage.send(place).await?;
                self.sent.push(place);
                continue;
            }
            match self.next_time(stage) {
                Some(next) if next <= end => stage.move_to(next),
                _ => break,
            }
        }
        let mut found = stage.handle.instances(&InstanceFilter::default(), INSTANCES_MAX, None)?.items;
        found.sort_by_key(|instance| (instance.created_at, instance.id));
        let fire = |instance: InstanceSummary| (instance.created_at.duration_since(super::birth()), instance.input);
        Ok(Outcome { fires: Some(found.into_iter().map(fire).collect()), ..nothing("scheduled") })
    }

    /// Everything that the sink was told of the instance, each once, after it has everything.
    async fn all_told(&mut self, stage: &mut Stage<'_>, id: InstanceId) -> anyhow::Result<Option<Vec<String>>> {
        let Some(sink) = &self.sink else { return Ok(None) };
        for _ in 0..LOOKS_MAX {
            stage.activity.rest().await;
            if stage.journal.scan(Scan::prefix(keys::outbox(), 1))?.is_empty() {
                return sink.told(id).map(Some);
            }
            tokio::time::sleep(std::time::Duration::from_micros(200)).await;
            if let Some(due) = stage.clock.next_due() {
                stage.move_to(due);
            }
        }
        bail!("the sink does not get everything; it has {:?}", sink.told(id)?)
    }
}

/// An input that does not fit is refused before there is an instance.
fn refused(why: &[String]) -> Outcome {
    let error: ErrorObject = standard::error(standard::VALIDATION, "data does not fit its schema", why.join("; "));
    Outcome { error: Some(error), ..nothing("faulted") }
}

fn nothing(status: &str) -> Outcome {
    Outcome { status: status.to_owned(), ..Outcome::default() }
}
