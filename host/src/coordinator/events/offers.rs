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
use crate::model::TenantName;

/// An instance's place in the inbox.
pub(in crate::coordinator) struct Offers {
    events: Arc<Events>,
    tenant: TenantName,
    arrived: watch::Receiver<u64>,
    /// Everything up to this number was offered.
    offered: u64,
    /// What came earlier is too old.
    since: Timestamp,
    /// The first look after a start of the server: what came while a listener waited is never too old.
    catching_up: bool,
}

impl Offers {
    /// For an instance of a tenant that was just created.
    pub(in crate::coordinator) fn new(events: &Arc<Events>, tenant: &TenantName) -> Self {
        let (since, tenant) = (events.window_start(), tenant.clone());
        Self { events: events.clone(), tenant, arrived: events.arrivals(), offered: 0, since, catching_up: false }
    }

    /// For one that was recovered.
    pub(in crate::coordinator) fn recovered(events: &Arc<Events>, tenant: &TenantName) -> Self {
        Self { since: Timestamp::MIN, catching_up: true, ..Self::new(events, tenant) }
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
                let (arrivals, reached) = self.events.read(&self.tenant, self.offered, newest, self.since)?;
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
