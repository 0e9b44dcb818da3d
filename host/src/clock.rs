//! The one door to time. Everything that needs the hour or has to wait asks a [`Clock`]; tests move a [`SimClock`].

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

/// Tells the time and waits for it.
pub trait Clock: Send + Sync + 'static {
    /// The time now, UTC.
    fn now(&self) -> Timestamp;
    /// Ends at `due`, at once if that has passed.
    fn sleep_until(&self, due: Timestamp) -> BoxFuture<'static, ()>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// A longer wait is cut into pieces of this length, so that a suspended or corrected machine clock is noticed.
const NAP_MAX: SignedDuration = SignedDuration::from_secs(60);

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep_until(&self, due: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            loop {
                let left = due.duration_since(Timestamp::now());
                if left <= SignedDuration::ZERO {
                    return;
                }
                tokio::time::sleep(left.min(NAP_MAX).unsigned_abs()).await;
            }
        })
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug, Clone)]
pub struct SimClock(Arc<SimTime>);

#[derive(Debug)]
struct SimTime {
    now: Mutex<Timestamp>,
    moved: Notify,
}

impl SimClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(SimTime { now: Mutex::new(now), moved: Notify::new() }))
    }

    /// Moves the clock forward and wakes those whose time has come.
    pub fn advance(&self, by: SignedDuration) {
        let mut now = self.0.now.lock().expect("no holder of this lock panics");
        *now = now.saturating_add(by).expect("a signed duration always saturates");
        drop(now);
        self.0.moved.notify_waiters();
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        *self.0.now.lock().expect("no holder of this lock panics")
    }

    fn sleep_until(&self, due: Timestamp) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        Box::pin(async move {
            loop {
                let moved = clock.0.moved.notified();
                tokio::pin!(moved);
                moved.as_mut().enable(); // Registered before the look at the time, so that no move is missed.
                if clock.now() >= due {
                    return;
                }
                moved.await;
            }
        })
    }
}
