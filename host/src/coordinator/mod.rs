//! Joins machine, journal, packs and sandbox: the handle, the per-instance loop, timers, recovery. What happens next is
//! not decided here but by the machine; what a guest may do is not decided here but by the grants behind [`Perform`].
//!
//! ```text
//!  Handle ──start──▶ one commit: records, summary, indexes ──▶ Runner (one task per instance, owns the State)
//!    │                                                          │  decide ▸ commit ▸ publish ▸ issue errands
//!    ├──cancel──────────────── mailbox ────────────────────────▶│
//!    └──queries ▸ journal + Live (what only memory knows)       ├──▶ attempts (Perform), observed, results come back
//!       follow  ▸ journal, then the broadcast of events ◀───────┘    to the same task
//! ```

mod attempt;
mod child;
mod cleanup;
mod common;
mod ends;
pub mod events;
mod fold;
mod follow;
mod handle;
mod index;
mod installed;
mod listing;
mod live;
mod ownership;
pub mod perform;
mod programs;
mod query;
mod recovery;
mod reopen;
mod runner;
mod sandboxed;
mod schedule;
mod snapshot;
mod start;
mod store;
#[cfg(test)]
mod tests;
pub mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::{Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::definition::evaluate::Evaluate;
use crate::journal::{Journal, StoreError};
use crate::machine::Moment;
use crate::model::{InstanceId, TenantName};

pub use common::{Common, Told};
pub use ends::EndCounts;
pub use events::{Accepted, EventError, EventSettings};
pub use handle::{Counters, Handle, InstanceError};
pub use index::index_of;
pub use installed::InstalledPrograms;
pub use ownership::Ownership;
pub use perform::Perform;
pub use programs::{Named, Ordered, ProgramError, Programs, Resolved, Scheduled};
pub use sandboxed::{Sandboxed, caller, read_yaml};
pub use schedule::manage::{ScheduleError, ScheduleView, Schedules};
pub use schedule::template::{LastFire, ScheduleTemplate};
pub use start::{Start, StartError, Started};

use events::Events;
use live::{Damaged, Live};
use ownership::Owned;

/// Followers that are more events behind than this read the journal again instead.
const EVENTS_BUFFERED: usize = 4096;

/// A good number of attempts at once for [`Parts::attempts_max`]: they mostly wait for the outside, and each holds a
/// sandbox with its memory.
pub const ATTEMPTS_MAX_DEFAULT: usize = 256;

/// What the coordinator joins.
pub struct Parts {
    /// Where records go.
    pub journal: Arc<dyn Journal>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where workflows come from.
    pub programs: Arc<dyn Programs>,
    /// Who runs attempts.
    pub perform: Arc<dyn Perform>,
    /// Who computes expressions.
    pub evaluator: Arc<dyn Evaluate>,
    /// Gives uniform numbers in [0, 1), for jitter.
    pub random: Box<dyn Fn() -> f64 + Send + Sync>,
    /// How many attempts run at once, over all instances; the others wait their turn. At least 1.
    pub attempts_max: usize,
    /// How events are kept and where they go.
    pub events: EventSettings,
    /// The tenants that are disabled: nothing new is started in them, and what runs goes on.
    pub closed: Closed,
}

/// Which tenants are disabled, as they are at each moment.
pub type Closed = watch::Receiver<BTreeSet<TenantName>>;

/// No tenant, ever.
pub fn none_closed() -> Closed {
    watch::Sender::default().subscribe()
}

/// The engine of all instances of one journal.
pub struct Coordinator;

impl Coordinator {
    /// Takes up every instance that has not ended and is ready for new ones. An instance that cannot be taken up is
    /// reported as suspended, with the reason, and stops nobody else.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn start(parts: Parts) -> Result<Handle, StoreError> {
        index::bring_up(&*parts.journal).await?;
        let mail = Events::open(parts.journal.clone(), parts.clock.clone(), parts.events.clone()).await?;
        let shared = Arc::new(Shared::new(parts, mail));
        recovery::recover(&shared).await?;
        child::taken_up(&shared).await;
        events::spawn(&shared)?;
        shared.agenda.load_switches(&*shared.journal)?;
        shared.tasks.spawn(schedule::Scheduler::new(&shared).run());
        shared.tasks.spawn(schedule::made::run(shared.clone()));
        Ok(Handle(shared))
    }
}

/// What the handle, the runners and the attempts have in common.
struct Shared {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    programs: Arc<dyn Programs>,
    perform: Arc<dyn Perform>,
    evaluator: Arc<dyn Evaluate>,
    random: Box<dyn Fn() -> f64 + Send + Sync>,
    /// Fair: attempts get their turn in the order in which they asked.
    permits: Arc<Semaphore>,
    attempts_max: usize,
    events: broadcast::Sender<Arc<Owned<Arc<Common<view::Event>>>>>,
    /// The inbox and the outbox.
    mail: Arc<Events>,
    /// A std mutex, as for the other maps: it is held for a look or an insertion, never across an await.
    live: Mutex<BTreeMap<InstanceId, Arc<Live>>>,
    damaged: Mutex<BTreeMap<InstanceId, Damaged>>,
    /// Told whenever an instance was deleted, or one that could not be taken up was tried again.
    moved: watch::Sender<u64>,
    /// Gives identifiers that sort by time, within one millisecond too.
    identifiers: Mutex<uuid::ContextV7>,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Why the store takes nothing more, once that is so.
    failed: OnceLock<StoreError>,
    /// What is awaited of other instances; see `child`.
    children: child::Children,
    closed: Closed,
    /// Which schedules are due, and which are switched off.
    agenda: schedule::Agenda,
    started: AtomicU64,
    ends: ends::Ends,
}

impl Shared {
    fn new(parts: Parts, mail: Events) -> Self {
        let attempts_max = parts.attempts_max.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            journal: parts.journal,
            clock: parts.clock,
            programs: parts.programs,
            perform: parts.perform,
            evaluator: parts.evaluator,
            random: parts.random,
            permits: Arc::new(Semaphore::new(attempts_max)),
            attempts_max,
            events: broadcast::channel(EVENTS_BUFFERED).0,
            mail: Arc::new(mail),
            live: Mutex::default(),
            damaged: Mutex::default(),
            moved: watch::Sender::new(0),
            identifiers: Mutex::new(uuid::ContextV7::new()),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            failed: OnceLock::new(),
            children: child::Children::default(),
            closed: parts.closed,
            agenda: schedule::Agenda::default(),
            started: AtomicU64::new(0),
            ends: ends::Ends::default(),
        }
    }

    fn is_closed(&self, tenant: &TenantName) -> bool {
        self.closed.borrow().contains(tenant)
    }

    fn moment(&self) -> Moment {
        Moment { now: self.clock.now(), chance: (self.random)() }
    }

    /// An identifier that says when the instance was created.
    fn new_id(&self, now: jiff::Timestamp) -> InstanceId {
        let (seconds, nanos) = (u64::try_from(now.as_second()).unwrap_or(0), now.subsec_nanosecond().unsigned_abs());
        let context = locked(&self.identifiers);
        InstanceId(uuid::Uuid::new_v7(uuid::Timestamp::from_unix(&*context, seconds, nanos)))
    }

    fn live(&self, id: InstanceId) -> Option<Arc<Live>> {
        locked(&self.live).get(&id).cloned()
    }

    fn damage_of(&self, id: InstanceId) -> Option<String> {
        locked(&self.damaged).get(&id).map(|damaged| damaged.why.clone())
    }

    /// Takes no more work: what is durable is no longer known.
    fn fail(&self, error: &StoreError) {
        if self.failed.set(error.clone()).is_ok() {
            tracing::error!(%error, "the store failed; no work is taken until the server is started again");
        }
        self.stop.cancel();
    }

    fn publish(&self, whose: &Arc<Ownership>, event: impl FnOnce() -> view::Event) {
        if self.events.receiver_count() > 0 {
            // Fails only where the last follower has just gone.
            let _ = self.events.send(Arc::new(Owned { whose: whose.clone(), told: Common::new(event()) }));
        }
    }
}

/// Takes a lock whose holders cannot panic half-way: each makes one look or one change.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
