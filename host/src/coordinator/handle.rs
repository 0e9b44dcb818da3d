//! What the rest of the program does with instances. A handle is cheap to clone; all clones are one coordinator.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::{Stream, StreamExt as _, stream};
use jiff::SignedDuration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::oneshot;

use super::ends::EndCounts;
use super::events::cloud_event::CloudEvent;
use super::events::{self, Accepted, EventError};
use super::live::{Live, Message};
use super::start::{self, Start, StartError, Started};
use super::view::{Event, InstanceFilter, InstanceSummary, LogLine, Page, Status, TaskView};
use super::{Common, Shared, Told, child, cleanup, follow, index, listing, locked, query, recovery, reopen, store};
use crate::definition::graph::Program;
use crate::journal::{self, Batch, Scan, StoreError, keys};
use crate::machine::next::Event as Happened;
use crate::machine::record::{Parent, Record, Stamped};
use crate::model::{InstanceId, Json, PackName, Principal, TenantName};
use crate::note::Notes;

/// So many rows go in one batch when an instance is deleted, so that others have their turn in between.
const DELETED_AT_ONCE: usize = 500;

/// So many follow-ups of one instance are told.
const FOLLOW_UPS_MAX: usize = 1000;

/// The engine, for everybody outside.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Shared>);

/// Why something could not be done with an instance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstanceError {
    /// There is no such instance.
    #[error("there is no instance {0}")]
    NotFound(InstanceId),
    /// It must have ended for this.
    #[error("instance {0} has not ended; cancel it first")]
    NotEnded(InstanceId),
    /// It has ended, so that this makes no sense any more.
    #[error("instance {0} has already ended: it is {status}", status = .1.as_str())]
    Ended(InstanceId, Status),
    /// It cannot be taken up and is left as it is; the text says why. It can be deleted.
    #[error("instance {0} is suspended: {1}")]
    Damaged(InstanceId, String),
    /// Its workflow is not at hand, so that its tasks have no names.
    #[error("the tasks of instance {0} cannot be shown: {1}")]
    NoProgram(InstanceId, String),
    /// It has ended, and the instance that runs it has not taken its end.
    #[error("instance {0} has ended, but instance {1}, which runs it, has not taken its end; delete it after that")]
    Awaited(InstanceId, InstanceId),
    /// It cannot go on from a task that failed; the text says why.
    #[error("instance {0} cannot be tried again: {1}")]
    NotRetried(InstanceId, String),
    /// The cursor is none that a listing gave.
    #[error("the cursor is not one that a listing gave; leave it out to begin at the newest")]
    BadCursor,
    /// The server takes no work: it is stopping or its store failed.
    #[error("no work is taken: {0}")]
    Unavailable(String),
}

impl From<StoreError> for InstanceError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// How busy the coordinator is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Instances that have not ended, the suspended ones left out.
    pub live: usize,
    /// Instances that somebody suspended, or that cannot be taken up.
    pub suspended: usize,
    /// Attempts that run at the moment.
    pub attempts_running: usize,
    /// Instances started since the server was.
    pub started: u64,
    /// Instances ended since the server was started, by how they did.
    pub ended: EndCounts,
    /// What the journal did.
    pub journal: journal::Counters,
}

impl Handle {
    /// Starts an instance. Durable on return, together with its first steps.
    ///
    /// # Errors
    /// See [`StartError`]; nothing was written then, except where the store failed in the middle.
    pub async fn start(&self, start: Start) -> Result<Started, StartError> {
        start::start(&self.0, start).await
    }

    /// Starts what a finished instance recommends; see [`Handle::start`]. The new instance's parent is `follows`, which it
    /// does not depend on any more.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start_follow_up(
        &self,
        start: Start,
        follows: InstanceId,
        recommended: &str,
    ) -> Result<Started, StartError> {
        let task = format!("{}{recommended}", start::FOLLOW_UPS);
        start::start_after(&self.0, start, Parent { instance: follows, task, detached: true }).await
    }

    /// What was ordered because an instance recommended it, by what it was recommended as, the oldest first.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn ordered_after(&self, id: InstanceId) -> Result<Vec<(String, InstanceId)>, InstanceError> {
        let rows = self.0.journal.scan(Scan::prefix(keys::follow_ups(id), FOLLOW_UPS_MAX))?;
        let mut found = Vec::new();
        for then in rows.iter().filter_map(|row| keys::instance_of(&row.key)) {
            let parent = self.0.summary(then)?.and_then(|summary| summary.parent);
            let task = parent.and_then(|parent| parent.task.strip_prefix(start::FOLLOW_UPS).map(str::to_owned));
            found.extend(task.map(|task| (task, then)));
        }
        Ok(found)
    }

    /// An instance at a glance, with what it waits for at the moment.
    ///
    /// # Errors
    /// There is none, or the journal cannot be read.
    pub fn instance(&self, id: InstanceId) -> Result<InstanceSummary, InstanceError> {
        self.0.summary(id)?.ok_or(InstanceError::NotFound(id))
    }

    /// Instances in the order of the filter, at most `limit`. A page may be short, or empty, although there is a next one.
    ///
    /// # Errors
    /// The cursor is none of ours, or the journal cannot be read.
    pub fn instances(
        &self,
        filter: &InstanceFilter,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<InstanceSummary>, InstanceError> {
        listing::instances(&self.0, filter, limit, cursor)
    }

    /// How many instances a tenant has, ended or not; of many only that there are `max`.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn count(&self, tenant: &TenantName, max: usize) -> Result<usize, InstanceError> {
        Ok(index::count(&*self.0.journal, tenant, max)?)
    }

    /// The activations of an instance's tasks in the order in which they were entered, the newest 10,000 of them.
    ///
    /// # Errors
    /// There is no such instance, its workflow is not at hand, its history is damaged, or the journal cannot be read.
    pub fn tasks(&self, id: InstanceId) -> Result<Vec<TaskView>, InstanceError> {
        query::tasks(&self.0, id)
    }

    /// The very workflow that an instance runs.
    ///
    /// # Errors
    /// There is no such instance, or its workflow is not at hand.
    pub fn program(&self, id: InstanceId) -> Result<Arc<Program>, InstanceError> {
        query::program(&self.0, id)
    }

    /// The records after number `after` (0: from the first), at most `limit`.
    ///
    /// # Errors
    /// There is no such instance, or the journal cannot be read.
    pub fn history(&self, id: InstanceId, after: u64, limit: usize) -> Result<Vec<Stamped>, InstanceError> {
        query::history(&self.0, id, after, limit)
    }

    /// What an instance's attempts logged, in order of time: of each the newest MiB, of all the newest 10,000 lines.
    /// Lines of an attempt that was under way when the server stopped, in whichever way, are lost.
    ///
    /// # Errors
    /// There is no such instance, or the journal cannot be read.
    pub fn logs(&self, id: InstanceId) -> Result<Vec<LogLine>, InstanceError> {
        query::logs(&self.0, id)
    }

    /// Cancels an instance. On return that is durable and its attempts are being interrupted.
    ///
    /// # Errors
    /// There is no such instance, it has ended, it is suspended, or no work is taken.
    pub async fn cancel(&self, id: InstanceId, by: Option<String>) -> Result<(), InstanceError> {
        self.0.check_open().map_err(InstanceError::Unavailable)?;
        let Some(live) = self.0.live(id) else { return Err(self.not_live(id)) };
        cleanup::before_cancelling(&self.0, id).await?;
        live.cancelling.store(true, Ordering::Relaxed);
        match deliver(&live, Happened::CancelRequested { by }).await {
            true => Ok(()),
            false => Err(self.not_live(id)),
        }
    }

    /// Suspends an instance: attempts that are out end and what they give is kept, and nothing new begins. Durable on
    /// return. One that is suspended stays so.
    ///
    /// # Errors
    /// There is no such instance, it has ended, it cannot be taken up, or no work is taken.
    pub async fn suspend(&self, id: InstanceId, by: Option<String>) -> Result<(), InstanceError> {
        self.halt(id, true, Happened::SuspendRequested { by }).await
    }

    /// Lets a suspended instance go on; one that could not be taken up is tried again. Durable on return. One that is not
    /// suspended goes on as it does.
    ///
    /// # Errors
    /// As [`Self::suspend`].
    pub async fn resume(&self, id: InstanceId, by: Option<String>) -> Result<(), InstanceError> {
        self.0.check_open().map_err(InstanceError::Unavailable)?;
        if recovery::try_again(&self.0, id).await {
            tracing::info!(instance = %id, "an instance that could not be taken up is tried again");
        }
        self.halt(id, false, Happened::ResumeRequested { by }).await
    }

    /// Lets a faulted instance go on from the task that failed. Durable on return.
    ///
    /// # Errors
    /// There is no such instance, it has not faulted, no task of it failed, its parent has taken its end, its history or
    /// its workflow cannot be read, or no work is taken.
    pub async fn retry(&self, id: InstanceId, by: Option<String>) -> Result<(), InstanceError> {
        self.0.check_open().map_err(InstanceError::Unavailable)?;
        reopen::reopen(&self.0, id, by).await
    }

    async fn halt(&self, id: InstanceId, suspended: bool, event: Happened) -> Result<(), InstanceError> {
        self.0.check_open().map_err(InstanceError::Unavailable)?;
        let Some(live) = self.0.live(id) else { return Err(self.not_live(id)) };
        let is_so = || locked(&live.posture).suspended.is_some() == suspended;
        // Somebody else may have asked for the same in the meantime.
        match is_so() || deliver(&live, event).await || (is_so() && self.0.live(id).is_some()) {
            true => Ok(()),
            false => Err(self.not_live(id)),
        }
    }

    /// Why an instance that nobody runs cannot be cancelled.
    fn not_live(&self, id: InstanceId) -> InstanceError {
        if let Some(why) = self.0.damage_of(id) {
            return InstanceError::Damaged(id, why);
        }
        match self.instance(id) {
            Ok(summary) if summary.status.is_final() => InstanceError::Ended(id, summary.status),
            Ok(_) => InstanceError::Unavailable(
                self.0.check_open().err().unwrap_or_else(|| "the instance is not being run; try again".to_owned()),
            ),
            Err(error) => error,
        }
    }

    /// Removes an ended (or suspended) instance with all its rows. After a crash in the middle it may be repeated.
    ///
    /// # Errors
    /// There is no such instance, it has not ended, or no work is taken.
    pub async fn delete(&self, id: InstanceId) -> Result<(), InstanceError> {
        self.0.check_open().map_err(InstanceError::Unavailable)?;
        let summary = self.instance(id)?;
        if !summary.status.is_final() && self.0.damage_of(id).is_none() {
            return Err(InstanceError::NotEnded(id));
        }
        match child::awaiting(&self.0, &summary).await? {
            Some(parent) if summary.status.is_final() => return Err(InstanceError::Awaited(id, parent)),
            // Its key stays, so that the parent finds that it was deleted, and starts no other.
            Some(_) => {}
            None => self.delete_key(id).await?,
        }
        for prefix in [keys::history(id), keys::logs(id), keys::follow_ups(id)] {
            self.delete_all(prefix).await?;
        }
        let mut batch = Batch::default()
            .delete(keys::instance(id))
            .delete(keys::active(id))
            .delete(keys::snapshot(id))
            .delete(keys::instance_note(id));
        if let Some(parent) = &summary.parent {
            batch = batch.delete(keys::follow_up(parent.instance, id));
        }
        // What memory shows of one that could not be taken up is not what its index says.
        let stored = store::summary(&*self.0.journal, id)?.unwrap_or(summary);
        batch = index::index_of(&stored).into_iter().fold(batch, Batch::delete);
        self.commit(batch).await?;
        locked(&self.0.damaged).remove(&id);
        self.0.moved.send_modify(|moves| *moves += 1);
        Ok(())
    }

    /// Frees the idempotency key first: it stands in the first record only.
    async fn delete_key(&self, id: InstanceId) -> Result<(), InstanceError> {
        let first = query::first_record(&self.0, id);
        let Ok(Some(Stamped { record: Record::Created(created), .. })) = first else { return Ok(()) };
        let mut hash = [0; 32];
        match created.start_key.map(|key| hex::decode_to_slice(key, &mut hash)) {
            Some(Ok(())) => self.commit(Batch::default().delete(keys::start(&hash))).await,
            _ => Ok(()),
        }
    }

    async fn delete_all(&self, prefix: journal::Key) -> Result<(), InstanceError> {
        loop {
            let rows = self.0.journal.scan(Scan::prefix(prefix.clone(), DELETED_AT_ONCE))?;
            if rows.is_empty() {
                return Ok(());
            }
            self.commit(rows.into_iter().fold(Batch::default(), |batch, row| batch.delete(row.key))).await?;
        }
    }

    async fn commit(&self, batch: Batch) -> Result<(), InstanceError> {
        self.0.journal.commit(batch).await.map_err(|error| {
            if let journal::CommitError::Unavailable(error) = &error {
                self.0.fail(error);
            }
            InstanceError::Unavailable(error.to_string())
        })
    }

    /// Waits until the instance has ended, at most for `timeout`, and tells where it stands then.
    ///
    /// # Errors
    /// There is no such instance, or the journal cannot be read.
    pub async fn wait(&self, id: InstanceId, timeout: SignedDuration) -> Result<InstanceSummary, InstanceError> {
        if let Some(live) = self.0.live(id) {
            let due = self.0.clock.now().saturating_add(timeout).expect("a signed duration always saturates");
            tokio::select! {
                () = live.ended.cancelled() => {}
                () = self.0.stop.cancelled() => {}
                () = self.0.clock.sleep_until(due) => {}
            }
        }
        self.instance(id)
    }

    /// What happens from now on, to all instances that somebody sees. A follower that falls behind misses events and is
    /// told so; use [`Self::follow`] where none may be missed.
    pub fn subscribe(&self, who: Arc<Principal>) -> impl Stream<Item = Told<Event>> + Send + use<> {
        follow::subscribe(&self.0, who)
    }

    /// Takes events from outside for a tenant. Durable on return; what listens there gets them in the order of the list.
    ///
    /// # Errors
    /// The inbox is full, or no work is taken; nothing was stored then, except where the store failed in the middle.
    pub async fn take_events(&self, tenant: &TenantName, events: Vec<CloudEvent>) -> Result<Accepted, EventError> {
        events::accept(&self.0, tenant, events).await
    }

    /// What the instances that somebody sees emit and what happens to them, as CloudEvents, from now on. A follower that
    /// falls behind misses some and is told so.
    pub fn cloud_events(&self, who: Arc<Principal>) -> impl Stream<Item = Told<Arc<Json>>> + Send + use<> {
        let (events, stop) = (self.0.mail.subscribe(), self.0.stop.clone());
        let events = stream::unfold((events, who), async |(mut events, who)| {
            loop {
                match events.recv().await {
                    Ok(event) if event.whose.is_seen_by(&who) => {
                        return Some((Told::Event(event.told.clone()), (events, who)));
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => return Some((Told::Missed, (events, who))),
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        events.take_until(async move { stop.cancelled().await })
    }

    /// All records of an instance after number `after`, from the journal and then as they are made, without gap or
    /// duplicate, with progress and log lines in between. Ends after the record that ends the instance.
    ///
    /// # Errors
    /// There is no such instance, or the journal cannot be read. A journal that fails later ends the stream.
    pub fn follow(
        &self,
        id: InstanceId,
        after: u64,
    ) -> Result<impl Stream<Item = Arc<Common<Event>>> + Send + use<>, InstanceError> {
        self.instance(id)?;
        Ok(follow::follow(&self.0, id, after))
    }

    /// Whether an instance that has not ended needs that version of the pack.
    pub fn in_use(&self, pack: &PackName, version: &semver::Version) -> bool {
        locked(&self.0.live).values().any(|live| live.pack == *pack && live.version == *version)
            || locked(&self.0.damaged)
                .values()
                .any(|damaged| damaged.pack.as_ref().is_some_and(|(name, exact)| name == pack && exact == version))
    }

    /// What clients of another interface keep with instances.
    pub fn notes(&self) -> Notes {
        Notes::new(self.0.journal.clone())
    }

    /// How busy it is.
    pub fn counters(&self) -> Counters {
        let (all, halted) = {
            let live = locked(&self.0.live);
            (live.len(), live.values().filter(|live| locked(&live.posture).suspended.is_some()).count())
        };
        Counters {
            live: all - halted,
            suspended: halted + locked(&self.0.damaged).len(),
            attempts_running: self.0.attempts_max.saturating_sub(self.0.permits.available_permits()),
            started: self.0.started.load(Ordering::Relaxed),
            ended: self.0.ends.counts(),
            journal: self.0.journal.counters(),
        }
    }

    /// Why no work is taken, if that is so.
    pub fn closed(&self) -> Option<String> {
        self.0.check_open().err()
    }

    /// Stops: takes no more work, interrupts every attempt without a result, and returns when no task is left. What was
    /// under way goes on when a coordinator is started on the same journal.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

/// Tells an instance's task something; whether that is durable and has made a difference.
async fn deliver(live: &Live, event: Happened) -> bool {
    let (stored, durable) = oneshot::channel();
    live.mailbox.send(Message { event, stored }).await.is_ok() && matches!(durable.await, Ok(Ok(())))
}

impl Shared {
    /// Waits until an instance has ended or was deleted; nothing then in the second case. A suspended one is waited for: a
    /// person may resume it.
    pub(super) async fn over(&self, id: InstanceId) -> Result<Option<InstanceSummary>, StoreError> {
        let mut moved = self.moved.subscribe();
        loop {
            moved.mark_unchanged();
            let live = self.live(id);
            match self.summary(id)? {
                Some(summary) if !summary.status.is_final() => {}
                over => return Ok(over),
            }
            let ended = async {
                match live {
                    Some(live) => live.ended.cancelled().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = ended => {}
                // The sender lives as long as `self`.
                _ = moved.changed() => {}
            }
        }
    }

    /// Says why no work is taken, if that is so.
    pub(super) fn check_open(&self) -> Result<(), String> {
        match self.failed.get() {
            Some(error) => Err(error.to_string()),
            None if self.stop.is_cancelled() => Err("the server is stopping".to_owned()),
            None => Ok(()),
        }
    }

    /// The stored summary, with what memory knows of a running instance.
    pub(super) fn summary(&self, id: InstanceId) -> Result<Option<InstanceSummary>, StoreError> {
        let Some(mut summary) = store::summary(&*self.journal, id)? else { return Ok(None) };
        self.fill(&mut summary);
        Ok(Some(summary))
    }

    /// Brings what memory knows into a summary.
    pub(super) fn fill(&self, summary: &mut InstanceSummary) {
        if summary.status.is_final() {
            return;
        }
        if let Some(live) = self.live(summary.id) {
            live.fill(summary);
        } else if let Some(why) = self.damage_of(summary.id) {
            summary.status = Status::Suspended;
            summary.waiting_for = Some(why);
        }
    }
}
