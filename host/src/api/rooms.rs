//! What handlers share: the rooms' handles and the bounds on what may be under way at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;
use super::problem::Problem;
use super::serve::followers_max;
use super::soda::Soda;
use crate::connection::Connections;
use crate::connection::secrets::SecretStore;
use crate::coordinator::Handle;
use crate::identity::Identity;
use crate::model::TenantName;
use crate::notification::{AllNotifications, NotificationError, Notifications};
use crate::pack::Catalog;
use crate::service::Services;

/// Packs coming in at once: each is held in memory whole and keeps a core busy while its components are compiled.
const INSTALLS_MAX: usize = 2;

/// Seconds after which a refused follower or installer may try again.
const RETRY_SECONDS: u32 = 5;

/// The rooms behind the API.
pub struct Rooms {
    /// The installed packs.
    pub catalog: Arc<Catalog>,
    /// What can be ordered.
    pub services: Arc<Services>,
    /// The connections.
    pub connections: Arc<Connections>,
    /// The secrets.
    pub secrets: SecretStore,
    /// The instances.
    pub coordinator: Handle,
    /// The server's own notifications, of every tenant.
    pub notifications: Arc<AllNotifications>,
    /// People, tenants and the audit log.
    pub identity: Arc<Identity>,
    /// Cancelled when the server begins to stop: waits and event streams end then.
    pub stopping: CancellationToken,
    /// What monitoring is shown.
    pub metrics: Metrics,
    /// What SODA's interface keeps in memory.
    pub soda: Soda,
    followers: Arc<Semaphore>,
    installs: Arc<Semaphore>,
}

impl Rooms {
    /// The rooms, with nobody following or installing yet.
    #[expect(clippy::too_many_arguments, reason = "one handle a room")]
    pub fn new(
        catalog: Arc<Catalog>,
        services: Arc<Services>,
        connections: Arc<Connections>,
        secrets: SecretStore,
        coordinator: Handle,
        notifications: Arc<AllNotifications>,
        identity: Arc<Identity>,
        stopping: CancellationToken,
    ) -> Arc<Self> {
        let (followers, installs) = (Semaphore::new(followers_max()), Semaphore::new(INSTALLS_MAX));
        let (followers, installs) = (Arc::new(followers), Arc::new(installs));
        let metrics = Metrics::default();
        Arc::new(Self {
            catalog,
            services,
            connections,
            secrets,
            coordinator,
            notifications,
            identity,
            stopping,
            metrics,
            soda: Soda::default(),
            followers,
            installs,
        })
    }

    /// Followers at the moment.
    pub fn followers(&self) -> usize {
        followers_max().saturating_sub(self.followers.available_permits())
    }

    /// The notifications of a tenant.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn notifications_of(&self, tenant: &TenantName) -> Result<Arc<Notifications>, Problem> {
        Ok(self.notifications.of(tenant).map_err(NotificationError::from)?)
    }

    /// A follower's place, given back when dropped.
    ///
    /// # Errors
    /// `busy` where all are taken.
    pub fn follow(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let full = |_| Problem::busy(format!("{} event streams are open", followers_max()), RETRY_SECONDS);
        self.followers.clone().try_acquire_owned().map_err(full)
    }

    /// An installer's place, given back when dropped.
    ///
    /// # Errors
    /// `busy` where all are taken.
    pub fn install(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let full = |_| Problem::busy(format!("{INSTALLS_MAX} packs are being installed"), RETRY_SECONDS);
        self.installs.clone().try_acquire_owned().map_err(full)
    }
}

/// Runs something that reads or computes for long off the async workers.
///
/// # Errors
/// Its own, or `internal` where it panicked.
pub async fn aside<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Problem>
where
    T: Send + 'static,
    E: Into<Problem> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Into::into),
        Err(error) => Err(Problem::internal(format!("work aside: {error}"))),
    }
}
