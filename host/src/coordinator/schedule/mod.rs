//! What starts instances by itself: the schedules of the installed workflows, each pack's newest version. One task for all
//! of them. A fire is a start whose idempotency key says what it is for, and only then does the schedule's row move on;
//! so a crash in between repeats the same start and not another.
//!
//! What was missed while no server ran is caught up by one fire; then the rhythm goes on as it was. Schedules of packs run in
//! the tenant `default` and hear its events.

mod agenda;
mod listening;
pub(super) mod made;
#[cfg(test)]
mod made_tests;
pub mod manage;
pub mod template;
#[cfg(test)]
mod tests;
mod timing;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(super) use self::agenda::Agenda;
use self::listening::Held;
use self::template::LastFire;
use super::Shared;
use super::events::Arrival;
use super::programs::Scheduled;
use super::start::{self, Start, StartError};
use crate::definition::graph::{Program, Schedule};
use crate::journal::{Batch, CommitError, Scan, StoreError, keys, row};
use crate::model::{InstanceId, Json, PackName, TenantName, WorkflowName};

/// A workflow with a schedule.
type Place = (PackName, WorkflowName);

/// How far a schedule is (key `t`). Members are only ever added, with a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScheduleRow {
    /// The version of the pack that was last seen.
    version: semver::Version,
    /// The schedule as it is written; another one begins anew.
    schedule: Json,
    /// The next fire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due: Option<Timestamp>,
    /// The instance whose end is waited for (`after`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    running: Option<InstanceId>,
    /// Events up to this number were looked at (`on`).
    #[serde(default)]
    seen: u64,
    /// Events that do not suffice yet (`on`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    held: Vec<Held>,
    /// The last fire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<LastFire>,
}

struct Entry {
    program: Arc<Program>,
    row: ScheduleRow,
    /// Switched off: it does not fire, and what passes is not caught up.
    off: bool,
}

/// All schedules.
pub(super) struct Scheduler {
    shared: Arc<Shared>,
    entries: BTreeMap<Place, Entry>,
    /// Instances whose end is waited for.
    ends: JoinSet<Place>,
    arrived: watch::Receiver<u64>,
    changes: Option<watch::Receiver<u64>>,
    switches: watch::Receiver<u64>,
}

/// What the scheduler was woken by.
enum Woken {
    Stopping,
    Changed,
    Switched,
    Due,
    Arrived,
    Ended(Place),
}

impl Scheduler {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let (arrived, changes) = (shared.mail.arrivals(), shared.programs.changes());
        let switches = shared.agenda.switches();
        Self { shared: shared.clone(), entries: BTreeMap::new(), ends: JoinSet::new(), arrived, changes, switches }
    }

    /// Fires until the server stops.
    pub(super) async fn run(mut self) {
        if let Err(error) = self.serve().await {
            tracing::error!(%error, "schedules do not fire any more; start the server again");
        }
    }

    async fn serve(&mut self) -> Result<(), StoreError> {
        self.align().await?;
        self.forget_gone().await?;
        loop {
            self.fire_due().await?;
            self.take_events().await?;
            match self.wait().await {
                Woken::Stopping => return Ok(()),
                Woken::Changed => self.align().await?,
                Woken::Switched => self.switch().await?,
                Woken::Due | Woken::Arrived => {}
                Woken::Ended(place) => self.ended(&place).await?,
            }
        }
    }

    async fn wait(&mut self) -> Woken {
        let due = self.entries.values().filter(|entry| !entry.off).filter_map(|entry| entry.row.due).min();
        let listens = self.entries.values().any(|entry| matches!(entry.program.schedule, Some(Schedule::On(..))));
        let clock = self.shared.clock.clone();
        let alarm = async move {
            match due {
                Some(due) => clock.sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let changes = self.changes.as_mut();
        let changed = async move {
            let told = match changes {
                Some(changes) => changes.changed().await.is_ok(),
                None => false,
            };
            if !told {
                std::future::pending().await
            }
        };
        tokio::select! {
            biased;
            () = self.shared.stop.cancelled() => Woken::Stopping,
            () = changed => Woken::Changed,
            Ok(()) = self.switches.changed() => Woken::Switched,
            Some(Ok(place)) = self.ends.join_next() => Woken::Ended(place),
            () = alarm => Woken::Due,
            Ok(()) = self.arrived.changed(), if listens => Woken::Arrived,
        }
    }

    /// Takes up what was installed and drops what is gone.
    async fn align(&mut self) -> Result<(), StoreError> {
        if let Some(changes) = &mut self.changes {
            changes.mark_unchanged();
        }
        // Compiling may take a while; nothing else is due that could not wait for it.
        let programs = self.shared.programs.clone();
        let found = tokio::task::spawn_blocking(move || programs.scheduled()).await.unwrap_or_default();
        let known: BTreeMap<Place, Scheduled> =
            found.into_iter().map(|found| ((found.pack.clone(), found.workflow.clone()), found)).collect();
        let gone: Vec<_> = self.entries.keys().filter(|place| !known.contains_key(place)).cloned().collect();
        for place in gone {
            self.entries.remove(&place);
            self.write(Batch::default().delete(keys::schedule(&place.0, &place.1))).await?;
        }
        for (place, found) in known {
            self.take_up(place, found).await?;
        }
        Ok(())
    }

    async fn take_up(&mut self, place: Place, found: Scheduled) -> Result<(), StoreError> {
        let Some(schedule) = &found.program.schedule else { return Ok(()) };
        let text = found.program.definition.get("schedule").cloned().unwrap_or_default();
        let stored = self.shared.journal.get(&keys::schedule(&place.0, &place.1))?;
        let stored = stored.and_then(|bytes| {
            let read: Result<ScheduleRow, _> = row::decode(&bytes);
            read.inspect_err(|error| tracing::error!(%error, "a schedule's row cannot be read; it begins anew")).ok()
        });
        let was_known = self.entries.contains_key(&place);
        let row = match stored.filter(|row| row.schedule == text) {
            // What is in memory may have seen more events than what is stored.
            Some(row) => match self.entries.get(&place) {
                Some(entry) => ScheduleRow { version: found.version, ..entry.row.clone() },
                None => ScheduleRow { version: found.version, ..row },
            },
            None => self.begun(schedule, text, found.version),
        };
        let running = row.running.filter(|_| !was_known);
        let off = self.shared.agenda.is_off(&place);
        self.entries.insert(place.clone(), Entry { program: found.program, row, off });
        self.store(&place).await?;
        if let Some(instance) = running {
            self.watch(place, instance);
        }
        Ok(())
    }

    /// A schedule that begins now.
    fn begun(&self, schedule: &Schedule, text: Json, version: semver::Version) -> ScheduleRow {
        let due = timing::first(schedule, self.shared.clock.now());
        let seen = *self.arrived.borrow();
        ScheduleRow { version, schedule: text, due, running: None, seen, held: Vec::new(), last: None }
    }

    /// Takes over which schedules are switched off. One that is switched on again goes on with its rhythm; what passed
    /// meanwhile is not caught up.
    async fn switch(&mut self) -> Result<(), StoreError> {
        let now = self.shared.clock.now();
        let mut on = Vec::new();
        for (place, entry) in &mut self.entries {
            let was = std::mem::replace(&mut entry.off, self.shared.agenda.is_off(place));
            if let (true, false, Some(due), Some(schedule)) = (was, entry.off, entry.row.due, &entry.program.schedule)
                && due <= now
            {
                entry.row.due = timing::next(schedule, due, now);
                on.push(place.clone());
            }
        }
        for place in on {
            self.store(&place).await?;
        }
        Ok(())
    }

    /// Removes the rows of schedules that went while no server ran.
    async fn forget_gone(&self) -> Result<(), StoreError> {
        let rows = self.shared.journal.scan(Scan::prefix(keys::schedules(), usize::MAX))?;
        let own: Vec<_> = self.entries.keys().map(|(pack, workflow)| keys::schedule(pack, workflow)).collect();
        let gone = rows.into_iter().filter(|row| !own.contains(&row.key));
        self.write(gone.fold(Batch::default(), |batch, row| batch.delete(row.key))).await
    }

    /// Fires what is due, each once however often it was missed.
    async fn fire_due(&mut self) -> Result<(), StoreError> {
        let now = self.shared.clock.now();
        let on = self.entries.iter().filter(|(_, entry)| !entry.off);
        let due = on.filter_map(|(place, entry)| Some((place.clone(), entry.row.due?)));
        let due: Vec<_> = due.filter(|(_, due)| *due <= now).collect();
        for (place, due) in due {
            let Some(last) = self.fire(&place, &due.to_string(), Json::Null).await else { return Ok(()) };
            let Some(entry) = self.entries.get_mut(&place) else { continue };
            let Some(schedule) = &entry.program.schedule else { continue };
            let running = last.instance.filter(|_| matches!(schedule, Schedule::After(_)));
            entry.row.last = Some(last);
            entry.row.running = running;
            entry.row.due = if running.is_some() { None } else { timing::next(schedule, due, now) };
            self.store(&place).await?;
            if let Some(instance) = running {
                self.watch(place, instance);
            }
        }
        Ok(())
    }

    /// Starts an instance. Nothing where the server takes no work: the fire is repeated after the next start. A workflow
    /// that cannot be started is logged, and its schedule goes on.
    async fn fire(&self, (pack, workflow): &Place, what: &str, input: Json) -> Option<LastFire> {
        let start = Start {
            pack: pack.clone(),
            version: None,
            workflow: workflow.clone(),
            service: None,
            name: None,
            input,
            idempotency_key: Some(format!("schedule/{pack}/{workflow}/{what}")),
            tenant: TenantName::standard(),
            created_by: None,
            rerun_of: None,
            asked: None,
            note: None,
        };
        let at = self.shared.clock.now();
        match start::start(&self.shared, start).await {
            Ok(started) => Some(LastFire { at, instance: Some(started.summary.id), problem: None }),
            Err(StartError::Unavailable(_)) if self.shared.check_open().is_err() => None,
            Err(error) => {
                tracing::error!(%pack, %workflow, %error, "a schedule could not start its workflow");
                Some(LastFire { at, instance: None, problem: Some(error.to_string()) })
            }
        }
    }

    /// Tells when an instance has ended, or was deleted.
    fn watch(&mut self, place: Place, instance: InstanceId) {
        let shared = self.shared.clone();
        self.ends.spawn(async move {
            if let Err(error) = shared.over(instance).await {
                tracing::error!(%instance, %error, "look whether the last run of a schedule has ended");
            }
            place
        });
    }

    /// The last instance of an `after` has ended, or is gone.
    async fn ended(&mut self, place: &Place) -> Result<(), StoreError> {
        let Some(entry) = self.entries.get_mut(place) else { return Ok(()) };
        let (Some(instance), Some(Schedule::After(delay))) = (entry.row.running, &entry.program.schedule) else {
            return Ok(());
        };
        let at = match self.shared.summary(instance)? {
            Some(summary) if summary.status.is_final() => summary.ended_at.unwrap_or(summary.updated_at),
            // Only where the store cannot be read: the schedule goes on after the next start of the server.
            Some(_) => return Ok(()),
            None => self.shared.clock.now(),
        };
        entry.row.running = None;
        entry.row.due = Some(timing::later(at, *delay));
        self.store(place).await
    }

    /// Offers what is new in the inbox to the schedules that wait for events.
    async fn take_events(&mut self) -> Result<(), StoreError> {
        let newest = *self.arrived.borrow_and_update();
        loop {
            let Some(mut seen) = self.seen_by_all() else { return Ok(()) };
            if seen >= newest {
                return Ok(());
            }
            let arrivals;
            (arrivals, seen) = self.shared.mail.read(&TenantName::standard(), seen, newest, Timestamp::MIN)?;
            for arrival in &arrivals {
                if !self.offer(arrival).await? {
                    return Ok(());
                }
            }
            for entry in self.entries.values_mut() {
                entry.row.seen = entry.row.seen.max(seen);
            }
        }
    }

    /// The number up to which every schedule that waits for events has seen them.
    fn seen_by_all(&self) -> Option<u64> {
        let listening = self.entries.values().filter(|entry| matches!(entry.program.schedule, Some(Schedule::On(..))));
        listening.map(|entry| entry.row.seen).min()
    }

    /// Offers one event to all; says whether the server still takes work.
    async fn offer(&mut self, arrival: &Arrival) -> Result<bool, StoreError> {
        let unseen = self.entries.iter().filter(|(_, entry)| entry.row.seen < arrival.number);
        for place in unseen.map(|(place, _)| place.clone()).collect::<Vec<_>>() {
            let Some(entry) = self.entries.get_mut(&place) else { continue };
            let Some(Schedule::On(strategy, read)) = &entry.program.schedule else { continue };
            let listening = listening::Listening {
                program: &entry.program,
                evaluator: &*self.shared.evaluator,
                strategy,
                read: *read,
            };
            if entry.off {
                if let Some(entry) = self.entries.get_mut(&place) {
                    entry.row.seen = arrival.number;
                }
                continue;
            }
            let held = entry.row.held.clone();
            let taken = listening.take(held, arrival);
            let mut last = entry.row.last.clone();
            if let Some(input) = taken.fires {
                let what = format!("event-{}", arrival.number);
                last = self.fire(&place, &what, input).await;
                if last.is_none() {
                    return Ok(false);
                }
            }
            let Some(entry) = self.entries.get_mut(&place) else { continue };
            entry.row.last = last;
            entry.row.seen = arrival.number;
            entry.row.held = taken.held;
            // An event that means nothing to it costs no write: it may be looked at again after a restart.
            if taken.changed {
                self.store(&place).await?;
            }
        }
        Ok(true)
    }

    /// Stores how far a schedule is.
    async fn store(&self, place: &Place) -> Result<(), StoreError> {
        let Some(entry) = self.entries.get(place) else { return Ok(()) };
        let (key, value) = (keys::schedule(&place.0, &place.1), row::encode(&entry.row));
        if self.shared.journal.get(&key)?.as_ref() == Some(&value) {
            return Ok(());
        }
        self.write(Batch::default().put(key, value)).await
    }

    async fn write(&self, batch: Batch) -> Result<(), StoreError> {
        if batch.writes.is_empty() {
            return Ok(());
        }
        self.shared.journal.commit(batch).await.map_err(|error| match error {
            CommitError::Unavailable(error) => {
                self.shared.fail(&error);
                error
            }
            error @ CommitError::Conflict(_) => StoreError(error.to_string()),
        })
    }
}
