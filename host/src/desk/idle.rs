//! Notices that a run has come to rest: no task of its runtime has anything to do and no call is under way. The runtime
//! itself says so, just before its only thread sleeps; so there is nothing to guess and nothing to poll.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use crate::coordinator::Perform;
use crate::coordinator::perform::{Attempt, Finding, Observe};
use crate::model::{Failure, Success};

/// Whether a run is at rest.
#[derive(Debug, Default)]
pub(super) struct Idle {
    /// Calls under way.
    calls: AtomicUsize,
    /// Something happened since the last rest was told: a rest is told once.
    stirred: AtomicBool,
    rested: Notify,
}

impl Idle {
    /// Notes that something happens.
    pub(super) fn stir(&self) {
        self.stirred.store(true, Ordering::Relaxed);
    }

    /// Called before the runtime's thread sleeps.
    pub(super) fn parked(&self) {
        if self.calls.load(Ordering::Relaxed) == 0 && self.stirred.swap(false, Ordering::Relaxed) {
            self.rested.notify_one();
        }
    }

    /// Ends when the run has come to rest.
    pub(super) async fn rest(&self) {
        self.rested.notified().await;
    }

    /// Whether a call is under way.
    pub(super) fn is_calling(&self) -> bool {
        self.calls.load(Ordering::Relaxed) > 0
    }
}

/// A call under way.
struct Underway(Arc<Idle>);

impl Underway {
    fn new(idle: &Arc<Idle>) -> Self {
        idle.calls.fetch_add(1, Ordering::Relaxed);
        Self(idle.clone())
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
        self.0.stir();
    }
}

/// Performs calls and counts those that are under way.
pub(super) struct Counted {
    pub(super) perform: Arc<dyn Perform>,
    pub(super) idle: Arc<Idle>,
}

impl Perform for Counted {
    fn run(&self, attempt: Attempt, observer: Arc<dyn Observe>) -> BoxFuture<'static, Result<Success, Failure>> {
        let (underway, call) = (Underway::new(&self.idle), self.perform.run(attempt, observer));
        async move {
            let _underway = underway;
            call.await
        }
        .boxed()
    }

    fn probe(&self, attempt: Attempt, observer: Arc<dyn Observe>) -> BoxFuture<'static, Result<Finding, Failure>> {
        let (underway, call) = (Underway::new(&self.idle), self.perform.probe(attempt, observer));
        async move {
            let _underway = underway;
            call.await
        }
        .boxed()
    }
}
