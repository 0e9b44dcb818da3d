//! Events in and out: the inbox that listeners take from, what is emitted, and what sinks are told.
//!
//! ```text
//!  POST /v1/events ─▶ accept ─┐                        ┌─▶ newest ─▶ Offers (one per runner) ─▶ the machine matches
//!                             ├─▶ one batch, numbered ─┤
//!  a turn's records ─▶ commit ┘   (inbox and outbox)   └─▶ outgoing ─▶ Sink (one per URL), followers
//! ```
//!
//! Numbers are given and batches handed to the journal under one lock, and the journal applies batches in that order. So
//! whoever has seen a number as durable finds every smaller one that will ever be there.
//!
//! Every event is a tenant's: only that tenant's instances hear it, and the same `source` and `id` in two tenants are two
//! events. The inbox has one order and one limit for all; sinks are the server's and are sent everything.

pub mod cloud_event;
mod inbox;
pub(super) mod lifecycle;
pub(super) mod offers;
mod outbox;
mod sink;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{broadcast, watch};
use url::Url;

use self::cloud_event::CloudEvent;
use self::inbox::{Numbers, Stored};
use self::outbox::Outbox;
use super::ownership::{Owned, Ownership};
use super::{Common, Shared, locked};
use crate::clock::Clock;
use crate::journal::{Batch, CommitError, Journal, StoreError};
use crate::machine::record::{Record, Stamped};
use crate::model::{Json, TenantName};

pub(super) use inbox::Arrival;

/// Followers that are more events behind than this miss some.
const FOLLOWED_MAX: usize = 4096;

/// After a start nothing is removed for this time: what listened before has looked at everything by then, however long the
/// server was down.
const RECOVERY: SignedDuration = SignedDuration::from_mins(1);

/// So often a batch is tried whose events somebody else stores at the same time. Each time one of them is known.
const TRIES_MAX: usize = 8;

/// How events are kept and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSettings {
    /// So long an event may come before its listener.
    pub window: SignedDuration,
    /// So long an event is known, and dropped when it comes again. Never less than the window.
    pub dedup: SignedDuration,
    /// Who is sent emitted events and what happens to instances.
    pub sinks: Vec<Url>,
}

impl Default for EventSettings {
    /// Ten minutes, a day, nobody.
    fn default() -> Self {
        Self { window: SignedDuration::from_mins(10), dedup: SignedDuration::from_hours(24), sinks: Vec::new() }
    }
}

/// What became of some events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accepted {
    /// Stored.
    pub accepted: usize,
    /// Known already, and dropped.
    pub duplicates: usize,
}

/// Why no event was taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The inbox is full.
    #[error("the inbox holds {} events of the last minutes", inbox::EVENTS_MAX)]
    Full,
    /// The server takes no work: it is stopping or its store failed.
    #[error("no work is taken: {0}")]
    Unavailable(String),
}

impl From<StoreError> for EventError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// What a batch of records has to say to others.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Whose instance tells it.
    pub(super) whose: Arc<Ownership>,
    /// Events for the inbox.
    pub(super) emitted: Vec<Arc<Json>>,
    /// Events for sinks and followers, the emitted ones among them.
    pub(super) outgoing: Vec<Arc<Json>>,
}

/// The inbox and the outbox of a journal.
pub(super) struct Events {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    settings: EventSettings,
    /// A std mutex: it is held while a batch is made and handed over, never across an await.
    numbers: Mutex<Numbers>,
    outbox: Outbox,
    /// The newest durable number of the inbox.
    newest: watch::Sender<u64>,
    /// Nothing is removed before.
    kept_until: Timestamp,
    followers: broadcast::Sender<Owned<Arc<Common<Arc<Json>>>>>,
}

impl Events {
    pub(super) async fn open(
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        mut settings: EventSettings,
    ) -> Result<Self, StoreError> {
        settings.dedup = settings.dedup.max(settings.window);
        let mut sinks = Vec::with_capacity(settings.sinks.len());
        settings.sinks.retain(|sink| {
            !sinks.contains(sink) && {
                sinks.push(sink.clone());
                true
            }
        });
        let kept_until = clock.now().saturating_add(RECOVERY).expect("a signed duration always saturates");
        let numbers = Numbers::open(&*journal)?;
        let outbox = Outbox::open(&journal, &settings.sinks).await?;
        let newest = watch::Sender::new(numbers.newest());
        let followers = broadcast::channel(FOLLOWED_MAX).0;
        Ok(Self { journal, clock, settings, numbers: Mutex::new(numbers), outbox, newest, kept_until, followers })
    }

    /// Whether anybody wants to know what happens to instances.
    pub(super) fn wants_outgoing(&self) -> bool {
        !self.settings.sinks.is_empty() || self.followers.receiver_count() > 0
    }

    /// Commits a batch together with the events it tells of.
    pub(super) async fn commit(&self, batch: Batch, told: Told) -> Result<(), CommitError> {
        if told.emitted.is_empty() && (told.outgoing.is_empty() || self.settings.sinks.is_empty()) {
            self.journal.commit(batch).await?;
            self.follow(told);
            return Ok(());
        }
        let now = self.clock.now();
        let mut stored = Stored::new(batch, &told.whose.tenant);
        let (answer, out) = {
            let mut numbers = locked(&self.numbers);
            for event in &told.emitted {
                let known = inbox::is_known(&*self.journal, &told.whose.tenant, event)?;
                // Never refused: were the event known, the instance's own records must be stored all the same.
                numbers.add(&mut stored, event, now, known, false);
            }
            let (batch, out) = self.outbox.add(std::mem::take(&mut stored.batch), &told.outgoing);
            (self.journal.commit(batch), out)
        };
        self.settle(&stored, answer.await)?;
        self.outbox.durable(out);
        self.follow(told);
        Ok(())
    }

    /// Stores events that came from outside for a tenant. Durable on return.
    pub(super) async fn accept(&self, tenant: &TenantName, events: &[Arc<Json>]) -> Result<Accepted, EventError> {
        for _ in 0..TRIES_MAX {
            // Looked up before the lock; the expectations of the batch hold what changes in between.
            let known = events.iter().map(|event| inbox::is_known(&*self.journal, tenant, event));
            let known: Vec<_> = known.collect::<Result<_, _>>()?;
            let now = self.clock.now();
            let mut stored = Stored::new(Batch::default(), tenant);
            let answer = {
                let mut numbers = locked(&self.numbers);
                if !numbers.has_place(events.len()) {
                    return Err(EventError::Full);
                }
                for (event, known) in events.iter().zip(known) {
                    numbers.add(&mut stored, event, now, known, true);
                }
                // Without events too: a duplicate of what is under way is durable once this is answered.
                self.journal.commit(std::mem::take(&mut stored.batch))
            };
            match self.settle(&stored, answer.await) {
                Ok(()) => return Ok(Accepted { accepted: stored.accepted, duplicates: stored.duplicates }),
                Err(CommitError::Unavailable(error)) => return Err(error.into()),
                Err(CommitError::Conflict(_)) => {}
            }
        }
        Err(EventError::Unavailable("others store the same events over and over; try again".to_owned()))
    }

    fn settle(&self, stored: &Stored, result: Result<(), CommitError>) -> Result<(), CommitError> {
        locked(&self.numbers).settled(stored);
        result?;
        self.newest.send_if_modified(|newest| {
            let more = stored.last > *newest;
            *newest = stored.last.max(*newest);
            more
        });
        Ok(())
    }

    fn follow(&self, Told { whose, outgoing, .. }: Told) {
        for told in outgoing {
            // Fails only where nobody follows.
            let _ = self.followers.send(Owned { whose: whose.clone(), told: Common::new(told) });
        }
    }

    /// Told whenever there is something new in the inbox.
    pub(super) fn arrivals(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// What is emitted and what happens to instances, from now on.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Owned<Arc<Common<Arc<Json>>>>> {
        self.followers.subscribe()
    }

    /// See [`inbox::read`].
    pub(super) fn read(
        &self,
        tenant: &TenantName,
        after: u64,
        until: u64,
        since: Timestamp,
    ) -> Result<(Vec<Arrival>, u64), StoreError> {
        inbox::read(&*self.journal, tenant, after, until, since)
    }

    /// The time before which an event came too early for a listener that begins now.
    pub(super) fn window_start(&self) -> Timestamp {
        self.clock.now().saturating_sub(self.settings.window).expect("a signed duration always saturates")
    }

    /// Removes what is too old, one batch after the other.
    async fn prune(&self) -> Result<(), CommitError> {
        let EventSettings { window, dedup, .. } = self.settings;
        loop {
            let oldest = locked(&self.numbers).oldest;
            let Some(old) = inbox::old(&*self.journal, oldest, self.clock.now(), window, dedup)? else {
                return Ok(());
            };
            self.journal.commit(old.batch).await?;
            locked(&self.numbers).oldest = old.oldest;
        }
    }

    /// When there is something to prune; some more time is given, so that one batch has many rows.
    fn prune_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let EventSettings { window, dedup, .. } = self.settings;
        let oldest = locked(&self.numbers).oldest;
        let due = inbox::expiry(&*self.journal, oldest, window, dedup)?;
        let due = due.map(|due| due.saturating_add(window / 10).expect("a signed duration always saturates"));
        Ok(due.map(|due| due.max(self.kept_until)))
    }
}

/// The events that some records publish.
pub(super) fn emitted(records: &[Stamped]) -> Vec<Arc<Json>> {
    let event = |stamped: &Stamped| match &stamped.record {
        Record::Emitted { event, .. } => Some(event.clone()),
        _ => None,
    };
    records.iter().filter_map(event).collect()
}

/// Stores events; whoever asked may be gone before that is done.
pub(super) async fn accept(
    shared: &Arc<Shared>,
    tenant: &TenantName,
    events: Vec<CloudEvent>,
) -> Result<Accepted, EventError> {
    shared.check_open().map_err(EventError::Unavailable)?;
    let events: Vec<_> = events.into_iter().map(|event| Arc::new(event.into_json())).collect();
    let (store, tenant) = (shared.clone(), tenant.clone());
    let stored = shared.tasks.spawn(async move { store.mail.accept(&tenant, &events).await });
    stored.await.unwrap_or_else(|error| Err(EventError::Unavailable(format!("store the events: {error}"))))
}

/// Starts what works beside the instances: the pruning and the sinks.
pub(super) fn spawn(shared: &Arc<Shared>) -> Result<(), StoreError> {
    for sink in sink::sinks(shared)? {
        shared.tasks.spawn(sink.run());
    }
    let pruning = shared.clone();
    shared.tasks.spawn(async move {
        tokio::select! {
            biased;
            () = pruning.stop.cancelled() => {}
            error = keep_pruned(&pruning) => tracing::error!(%error, "the inbox is not pruned any more"),
        }
    });
    Ok(())
}

async fn keep_pruned(shared: &Arc<Shared>) -> CommitError {
    let mut arrivals = shared.mail.arrivals();
    loop {
        let due = match shared.mail.prune_due() {
            Ok(due) => due,
            Err(error) => return error.into(),
        };
        match due {
            Some(due) => shared.clock.sleep_until(due).await,
            // The sender lives as long as the coordinator.
            None => drop(arrivals.changed().await),
        }
        if let Err(error) = shared.mail.prune().await {
            return error;
        }
    }
}
