//! The notifications of every tenant: each has numbers, limits and rows of its own, and nobody sees another one's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{NotificationError, Notifications};
use crate::clock::Clock;
use crate::journal::scoped::Scoped;
use crate::journal::{Batch, Journal, Scan, StoreError, keys};
use crate::model::TenantName;

/// Rows removed in one batch.
const REMOVED_AT_ONCE: usize = 500;

/// The notifications of all tenants.
pub struct AllNotifications {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    /// Those that were asked for. There are as many at most as there are tenants.
    open: Mutex<BTreeMap<TenantName, Arc<Notifications>>>,
}

impl AllNotifications {
    /// Reads where the tenant `default` stands; the others are read when they are asked for.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn open(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StoreError> {
        let all = Arc::new(Self { journal, clock, open: Mutex::default() });
        all.of(&TenantName::standard())?;
        Ok(all)
    }

    /// A tenant's notifications.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn of(&self, tenant: &TenantName) -> Result<Arc<Notifications>, StoreError> {
        // Held while a tenant is read for the first time, so that there is never a second one that gives numbers.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = open.get(tenant) {
            return Ok(known.clone());
        }
        let journal = Scoped::below(self.journal.clone(), keys::notifications_of(tenant));
        let opened = Notifications::open(journal, self.clock.clone())?;
        open.insert(tenant.clone(), opened.clone());
        Ok(opened)
    }

    /// Removes everything of a tenant that is about to go, so that a later one of its name begins with nothing. The tenant
    /// `default` is left as it is: it never goes.
    ///
    /// # Errors
    /// The store failed; what is left is removed by another call.
    pub async fn forget(&self, tenant: &TenantName) -> Result<(), NotificationError> {
        if tenant.is_standard() {
            return Ok(());
        }
        let of_tenant = self.of(tenant)?;
        let _nobody_posts = of_tenant.changing.lock().await;
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
        loop {
            let rows = self.journal.scan(Scan::prefix(keys::notifications_of(tenant), REMOVED_AT_ONCE))?;
            if rows.is_empty() {
                return Ok(());
            }
            let batch = rows.into_iter().fold(Batch::default(), |batch, row| batch.delete(row.key));
            self.journal.commit(batch).await.map_err(NotificationError::Store)?;
        }
    }
}
