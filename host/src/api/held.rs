//! What a tenant holds: nobody may take a tenant away under what is still in it.

use super::problem::Problem;
use super::rooms::Rooms;
use crate::model::TenantName;
use crate::service::Origin;

/// Instances are counted up to this number: that there are many is all that matters.
const COUNTED_MAX: usize = 1_000;

/// How much of each kind a tenant holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Instances, ended or not; 1,000 stands for 1,000 or more.
    pub instances: usize,
    /// Connections.
    pub connections: usize,
    /// Secrets.
    pub secrets: usize,
    /// Packs to which something is granted.
    pub grants: usize,
    /// Services that the tenant made.
    pub services: usize,
    /// Schedules that the tenant made: they would start instances for ever.
    pub schedules: usize,
}

impl Held {
    /// Whether it is nothing.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl std::fmt::Display for Held {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { instances, connections, secrets, grants, services, schedules } = self;
        let more = if *instances >= COUNTED_MAX { " or more" } else { "" };
        write!(
            formatter,
            "{instances}{more} instances, {connections} connections, {secrets} secrets, grants to {grants} packs, \
             {services} services, {schedules} schedules"
        )
    }
}

impl Rooms {
    /// What a tenant holds.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn held(&self, tenant: &TenantName) -> Result<Held, Problem> {
        let services = self.services.list(tenant)?;
        let schedules = self.coordinator.schedules().list(tenant)?;
        Ok(Held {
            instances: self.coordinator.count(tenant, COUNTED_MAX)?,
            connections: self.connections.count(tenant),
            secrets: self.secrets.of(tenant).list()?.len(),
            grants: self.catalog.count_grants(tenant),
            services: services.iter().filter(|service| service.origin == Origin::Api).count(),
            schedules: schedules.iter().filter(|schedule| schedule.origin == Origin::Api).count(),
        })
    }

    /// Forgets what a tenant leaves behind that nobody misses, once it holds nothing: its notifications and empty grants.
    /// A later tenant of the same name begins with nothing.
    ///
    /// # Errors
    /// The store failed; it may be repeated.
    pub async fn forget_rest(&self, tenant: &TenantName) -> Result<(), Problem> {
        self.catalog.forget_grants(tenant).await?;
        Ok(self.notifications.forget(tenant).await?)
    }
}
