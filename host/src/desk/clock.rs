//! The clock of a run: the machine's, or one that stands still until it is told to jump to what is waited for next.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::Time;
use super::idle::Idle;
use crate::clock::{Clock, SystemClock};

/// A clock that knows who waits for it.
#[derive(Clone)]
pub(super) struct DeskClock(Arc<Hours>);

struct Hours {
    idle: Arc<Idle>,
    state: Mutex<State>,
    moved: Notify,
}

struct State {
    /// The time that stands still; absent: the machine's.
    now: Option<Timestamp>,
    /// What is waited for.
    sleepers: BTreeMap<u64, Timestamp>,
    next: u64,
}

impl DeskClock {
    pub(super) fn new(time: Time, idle: Arc<Idle>) -> Self {
        let now = match time {
            Time::Real => None,
            Time::Skip(from) => Some(from),
        };
        let state = Mutex::new(State { now, sleepers: BTreeMap::new(), next: 0 });
        Self(Arc::new(Hours { idle, state, moved: Notify::new() }))
    }

    /// What somebody waits for next.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.state().sleepers.values().min().copied()
    }

    /// Jumps to a later time, where this clock can; whether it did.
    pub(super) fn jump(&self, to: Timestamp) -> bool {
        let mut state = self.state();
        let Some(now) = &mut state.now else { return false };
        *now = to.max(*now);
        drop(state);
        self.0.idle.stir();
        self.0.moved.notify_waiters();
        true
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Held for one look or one change, neither of which can fail half-way.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for DeskClock {
    fn now(&self) -> Timestamp {
        self.state().now.unwrap_or_else(|| SystemClock.now())
    }

    fn sleep_until(&self, due: Timestamp) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        Box::pin(async move {
            let _sleeper = Sleeper::new(&clock, due);
            loop {
                let moved = clock.0.moved.notified();
                tokio::pin!(moved);
                moved.as_mut().enable(); // Registered before the look at the time, so that no move is missed.
                let stands_still = clock.state().now;
                match stands_still {
                    None => return SystemClock.sleep_until(due).await,
                    Some(now) if now >= due => return,
                    Some(_) => moved.await,
                }
            }
        })
    }
}

/// Somebody who waits, as long as it is kept.
struct Sleeper {
    clock: DeskClock,
    number: u64,
}

impl Sleeper {
    fn new(clock: &DeskClock, due: Timestamp) -> Self {
        let mut state = clock.state();
        let number = state.next;
        state.next += 1;
        state.sleepers.insert(number, due);
        drop(state);
        clock.0.idle.stir();
        Self { clock: clock.clone(), number }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.clock.state().sleepers.remove(&self.number);
        self.clock.0.idle.stir();
    }
}
