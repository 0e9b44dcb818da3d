//! The tenants: who shares instances, connections, secrets, services and people. `default` always exists. All of them are
//! in memory, because every request asks for one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use super::{IdentityError, invalid};
use crate::clock::Clock;
use crate::journal::{Batch, Journal, Scan, StoreError, keys, row};
use crate::model::TenantName;

/// Tenants, at most: all are in memory.
pub const TENANTS_MAX: usize = 10_000;

/// A description's characters, at most.
const DESCRIPTION_CHARACTERS_MAX: usize = 1_000;

/// A tenant; the stored row (key `I`, `t`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tenant {
    /// Its name.
    pub name: TenantName,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether its people are let in.
    pub enabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The tenants.
pub struct Tenants {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    all: RwLock<BTreeMap<TenantName, Tenant>>,
    /// Held over a change.
    changing: Mutex<()>,
    /// Those that are disabled.
    closed: watch::Sender<BTreeSet<TenantName>>,
}

impl Tenants {
    pub(super) fn open(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let rows = journal.scan(Scan::prefix(keys::tenants(), 2 * TENANTS_MAX))?;
        let rows = rows.iter().map(|row| row::decode::<Tenant>(&row.value));
        let mut all: BTreeMap<_, _> =
            rows.map(|tenant| tenant.map(|tenant| (tenant.name.clone(), tenant))).collect::<Result<_, _>>()?;
        all.entry(TenantName::standard()).or_insert_with(|| Tenant {
            name: TenantName::standard(),
            description: None,
            enabled: true,
            created_at: Timestamp::UNIX_EPOCH,
        });
        let closed = all.values().filter(|tenant| !tenant.enabled).map(|tenant| tenant.name.clone()).collect();
        let closed = watch::Sender::new(closed);
        Ok(Self { journal, clock, all: RwLock::new(all), changing: Mutex::default(), closed })
    }

    /// Those that are disabled, as they are at each moment.
    pub fn closed(&self) -> watch::Receiver<BTreeSet<TenantName>> {
        self.closed.subscribe()
    }

    /// All, by name.
    pub fn list(&self) -> Vec<Tenant> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// One.
    pub fn get(&self, name: &TenantName) -> Option<Tenant> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Whether its people are let in; nothing where there is none.
    pub fn is_enabled(&self, name: &TenantName) -> Option<bool> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).get(name).map(|tenant| tenant.enabled)
    }

    /// Makes or replaces one; true where it was made. Durable on return.
    ///
    /// # Errors
    /// It breaks a rule, there are too many, or the store failed.
    pub async fn put(
        &self,
        name: TenantName,
        description: Option<String>,
        enabled: bool,
    ) -> Result<(Tenant, bool), IdentityError> {
        let text = description.as_deref().unwrap_or_default();
        if text.chars().count() > DESCRIPTION_CHARACTERS_MAX
            || text.chars().any(|letter| letter.is_control() && letter != '\n')
        {
            let reason = format!("write at most {DESCRIPTION_CHARACTERS_MAX} printable characters");
            return Err(invalid("description", reason));
        }
        if name.is_standard() && !enabled {
            return Err(invalid("enabled", "`default` is always enabled; disable another tenant"));
        }
        let _changing = self.changing.lock().await;
        let earlier = self.get(&name);
        if earlier.is_none() && self.list().len() >= TENANTS_MAX {
            return Err(IdentityError::TooMany(format!("there are {TENANTS_MAX} tenants, as many as there may be")));
        }
        let created_at = earlier.as_ref().map_or_else(|| self.clock.now(), |earlier| earlier.created_at);
        let tenant = Tenant { name: name.clone(), description, enabled, created_at };
        let batch = Batch::default().put(keys::tenant(&name), row::encode(&tenant));
        self.journal.commit(batch).await.map_err(IdentityError::Store)?;
        self.all.write().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), tenant.clone());
        self.closed.send_if_modified(|closed| if enabled { closed.remove(&name) } else { closed.insert(name) });
        Ok((tenant, earlier.is_none()))
    }

    /// Removes one. What belongs to it must be gone; the caller has looked.
    ///
    /// # Errors
    /// There is none, it is `default`, or the store failed.
    pub async fn delete(&self, name: &TenantName) -> Result<(), IdentityError> {
        if name.is_standard() {
            return Err(IdentityError::TenantHeld(name.clone(), "it is the tenant that always exists".to_owned()));
        }
        let _changing = self.changing.lock().await;
        if self.get(name).is_none() {
            return Err(IdentityError::UnknownTenant(name.clone()));
        }
        self.journal.commit(Batch::default().delete(keys::tenant(name))).await.map_err(IdentityError::Store)?;
        self.all.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        self.closed.send_if_modified(|closed| closed.remove(name));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::journal::memory::MemoryJournal;

    fn name(text: &str) -> TenantName {
        TenantName::parse(text).unwrap()
    }

    #[tokio::test]
    async fn the_default_tenant_is_always_there_and_others_come_back_after_a_restart() {
        let journal = Arc::new(MemoryJournal::new());
        let open = || Tenants::open(journal.clone(), Arc::new(SystemClock)).unwrap();
        let tenants = open();
        assert_eq!(tenants.is_enabled(&name("default")), Some(true));
        assert!(tenants.put(name("acme"), Some("Acme".to_owned()), true).await.unwrap().1);
        let (changed, made) = tenants.put(name("acme"), None, false).await.unwrap();
        assert!(!made && !changed.enabled);
        let again = open();
        assert_eq!(again.list(), tenants.list());
        assert_eq!(again.is_enabled(&name("acme")), Some(false));
        assert_eq!((*tenants.closed().borrow()).clone(), BTreeSet::from([name("acme")]));
        assert!(again.closed().borrow().contains(&name("acme")));
        assert_eq!(again.get(&name("acme")).unwrap().created_at, changed.created_at);
        again.delete(&name("acme")).await.unwrap();
        assert_eq!(open().get(&name("acme")), None);
    }

    #[tokio::test]
    async fn what_would_lock_everybody_out_is_refused() {
        let tenants = Tenants::open(Arc::new(MemoryJournal::new()), Arc::new(SystemClock)).unwrap();
        assert!(matches!(tenants.put(name("default"), None, false).await, Err(IdentityError::Invalid { .. })));
        assert!(matches!(tenants.delete(&name("default")).await, Err(IdentityError::TenantHeld(..))));
        assert!(matches!(tenants.delete(&name("acme")).await, Err(IdentityError::UnknownTenant(_))));
        let long = Some("x".repeat(1_001));
        assert!(matches!(tenants.put(name("acme"), long, true).await, Err(IdentityError::Invalid { .. })));
    }

    #[test]
    fn a_stored_tenant_is_still_read() {
        let stored = br#"{"name":"acme","enabled":true,"createdAt":"2026-11-21T22:00:00Z"}"#;
        let tenant: Tenant = row::decode(&[&[1][..], stored].concat()).unwrap();
        assert_eq!((tenant.name, tenant.enabled, tenant.description), (name("acme"), true, None));
    }
}
