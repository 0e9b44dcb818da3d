//! What of the inbox an instance was offered. The machine decides what fits and passes over what the instance consumed
//! before, so that an event may be offered any number of times and must be offered once: to everything that listens when
//! it arrives, and to everything that begins to listen within its window.

use std::future::pending;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;

use super::{Arrival, Events};
use crate::journal::StoreError;
use crate::machine::record::{Record, Stamped};

/// An instance's place in the inbox.
pub(in crate::coordinator) struct Offers {
    events: Arc<Events>,
    arrived: watch::Receiver<u64>,
    /// Everything up to this number was offered.
    offered: u64,
    /// What came earlier is too old.
    since: Timestamp,
    /// The first look after a start of the server: what came while a listener waited is never too old.
    catching_up: bool,
}

impl Offers {
    /// For an instance that was just created.
    pub(in crate::coordinator) fn new(events: &Arc<Events>) -> Self {
        let since = events.window_start();
        Self { events: events.clone(), arrived: events.arrivals(), offered: 0, since, catching_up: false }
    }

    /// For one that was recovered.
    pub(in crate::coordinator) fn recovered(events: &Arc<Events>) -> Self {
        Self { since: Timestamp::MIN, catching_up: true, ..Self::new(events) }
    }

    /// Goes back to the beginning of the window where something began to listen.
    pub(in crate::coordinator) fn take(&mut self, records: &[Stamped]) {
        if !records.iter().any(|stamped| matches!(stamped.record, Record::Armed { .. })) {
            return;
        }
        self.offered = 0;
        if !self.catching_up {
            self.since = self.events.window_start();
        }
    }

    /// The next events to offer; never any where nothing listens. May be dropped and asked again.
    pub(in crate::coordinator) async fn next(&mut self, listens: bool) -> Result<Vec<Arrival>, StoreError> {
        if !listens {
            pending::<()>().await;
        }
        loop {
            let newest = *self.arrived.borrow_and_update();
            if self.offered < newest {
                let (arrivals, reached) = self.events.read(self.offered, newest, self.since)?;
                self.offered = reached;
                if !arrivals.is_empty() {
                    return Ok(arrivals);
                }
                tokio::task::consume_budget().await;
                continue;
            }
            self.catching_up = false;
            // The sender lives as long as `events`.
            let _ = self.arrived.changed().await;
        }
    }
}
