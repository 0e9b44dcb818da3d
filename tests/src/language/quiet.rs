//! A clock that a driver moves, and a journal that tells when it is idle: together they say when a coordinator has done
//! all it can and time may go on. No test sleeps for luck.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use orchestrator_host::clock::Clock;
use orchestrator_host::journal::{Batch, CommitError, Counters, Journal, Row, Scan, StoreError, keys};
use tokio::sync::Notify;

/// So many turns of every task without anything new, and the coordinator is idle: a happening passes through fewer
/// tasks than this.
const TURNS: usize = 40;

/// What is going on.
#[derive(Default)]
pub struct Activity {
    happened: AtomicUsize,
    commits_under_way: AtomicUsize,
    /// The scheduler has not yet seen which workflows there are; it asks on a thread of its own.
    scheduler_asks: AtomicBool,
}

impl Activity {
    /// Something happened.
    pub fn note(&self) {
        self.happened.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits, when it rests, until the scheduler has seen which workflows there are.
    pub fn wait_for_the_scheduler(&self) {
        self.scheduler_asks.store(true, Ordering::SeqCst);
    }

    /// Waits until nothing happens any more. Only on a runtime of one thread.
    pub async fn rest(&self) {
        let mut seen = self.happened.load(Ordering::SeqCst);
        let mut turns = 0;
        while turns < TURNS {
            tokio::task::yield_now().await;
            if self.commits_under_way.load(Ordering::SeqCst) > 0 || self.scheduler_asks.load(Ordering::SeqCst) {
                // They work on threads of their own.
                tokio::time::sleep(std::time::Duration::from_micros(200)).await;
                turns = 0;
            }
            let now = self.happened.load(Ordering::SeqCst);
            turns = if now == seen { turns + 1 } else { 0 };
            seen = now;
        }
    }
}

/// A clock that stands still until it is moved to the next time that somebody waits for.
#[derive(Clone)]
pub struct StepClock(Arc<Steps>);

struct Steps {
    now: Mutex<Timestamp>,
    sleepers: Mutex<BTreeMap<usize, Timestamp>>,
    next: AtomicUsize,
    moved: Notify,
    activity: Arc<Activity>,
}

impl StepClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp, activity: Arc<Activity>) -> Self {
        Self(Arc::new(Steps {
            now: Mutex::new(now),
            sleepers: Mutex::default(),
            next: AtomicUsize::new(0),
            moved: Notify::new(),
            activity,
        }))
    }

    /// The earliest time that somebody waits for.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.0.sleepers.lock().unwrap_or_else(PoisonError::into_inner).values().min().copied()
    }

    /// Moves the clock, never back.
    pub fn move_to(&self, time: Timestamp) {
        let mut now = self.0.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now = time.max(*now);
        drop(now);
        self.0.moved.notify_waiters();
    }
}

/// Takes a sleeper off the list when it wakes or is dropped.
struct Sleeper(Arc<Steps>, usize);

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.sleepers.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

impl Clock for StepClock {
    fn now(&self) -> Timestamp {
        *self.0.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep_until(&self, due: Timestamp) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        Box::pin(async move {
            let steps = &clock.0;
            if clock.now() >= due {
                return;
            }
            let number = steps.next.fetch_add(1, Ordering::SeqCst);
            steps.sleepers.lock().unwrap_or_else(PoisonError::into_inner).insert(number, due);
            let _sleeper = Sleeper(steps.clone(), number);
            steps.activity.note();
            loop {
                let moved = steps.moved.notified();
                tokio::pin!(moved);
                moved.as_mut().enable();
                if clock.now() >= due {
                    return;
                }
                moved.await;
            }
        })
    }
}

/// A journal that tells when it writes.
pub struct Watched {
    inner: Arc<dyn Journal>,
    activity: Arc<Activity>,
}

impl Watched {
    /// Watches a journal.
    pub fn new(inner: Arc<dyn Journal>, activity: Arc<Activity>) -> Self {
        Self { inner, activity }
    }
}

/// One commit under way.
struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.commits_under_way.fetch_sub(1, Ordering::SeqCst);
        self.0.note();
    }
}

impl Journal for Watched {
    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<(), CommitError>> {
        let under_way = UnderWay(self.activity.clone());
        self.activity.commits_under_way.fetch_add(1, Ordering::SeqCst);
        let commit = self.inner.commit(batch);
        Box::pin(async move {
            let _under_way = under_way;
            commit.await
        })
    }

    fn get(&self, key: &[u8]) -> Result<Option<bytes::Bytes>, StoreError> {
        if key.starts_with(&keys::schedules()) {
            // Its row is what the scheduler looks at first.
            self.activity.scheduler_asks.store(false, Ordering::SeqCst);
            self.activity.note();
        }
        self.inner.get(key)
    }

    fn scan(&self, scan: Scan) -> Result<Vec<Row>, StoreError> {
        self.inner.scan(scan)
    }

    fn counters(&self) -> Counters {
        self.inner.counters()
    }
}
