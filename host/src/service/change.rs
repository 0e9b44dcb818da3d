//! How services change: made, replaced, removed, switched on and off. Each change is one batch that expects the row as
//! it was read, so that of two changes at once one is told that it came too late. Durable on return.

use bytes::Bytes;
use jiff::Timestamp;
use uuid::{NoContext, Uuid};

use super::store::{self, ServiceRow};
use super::template::{Declared, Template, Wrong};
use super::{Origin, Service, Services};
use crate::journal::{Batch, CommitError, Expectation, Scan, StoreError, keys, row};
use crate::model::{PackName, ServiceName, TenantName};

/// Services that a tenant makes, at most: a catalogue that people can read, and a list that is one answer. Requests that
/// run side by side may exceed it by their number.
const SERVICES_MAX: usize = 1000;

/// Why a service is not changed, or not there. Nothing has been changed, except after `Store`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// There is none of that name.
    #[error("there is no service `{0}`; GET /v1/services lists them")]
    NotFound(ServiceName),
    /// The name is taken.
    #[error("there is a service `{0}` already; take another name, or PUT /v1/services/{0} to replace it")]
    Exists(ServiceName),
    /// A pack brings it.
    #[error(
        "service `{service}` is brought by pack `{pack}`: it can be switched off by `enabled`, everything else changes with the pack"
    )]
    OfPack {
        /// The service.
        service: ServiceName,
        /// The pack.
        pack: PackName,
    },
    /// It cannot be so; everything that is wrong.
    #[error("the service cannot be so: {}", first(.0))]
    Invalid(Vec<Wrong>),
    /// The tenant has as many as it may.
    #[error("the tenant has {0} services, as many as there may be; delete one")]
    TooMany(usize),
    /// It is not as the caller expected, or was changed at the same time.
    #[error("service `{0}` was changed in the meantime; read it again, then repeat the change")]
    Changed(ServiceName),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn first(wrong: &[Wrong]) -> String {
    let told = wrong.iter().take(3).map(|wrong| match wrong.pointer.as_str() {
        "" => wrong.message.clone(),
        pointer => format!("{pointer}: {}", wrong.message),
    });
    told.collect::<Vec<_>>().join("; ")
}

impl Services {
    /// Makes a service.
    ///
    /// # Errors
    /// The name is taken, or see [`ServiceError`].
    pub async fn create(&self, tenant: &TenantName, by: &str, template: Template) -> Result<Service, ServiceError> {
        let declared = self.sound(template)?;
        let name = declared.name.clone();
        if self.catalog.service(&name).is_some() {
            return Err(ServiceError::Exists(name));
        }
        match self.make(tenant, by, declared).await {
            Err(ServiceError::Changed(name)) => Err(ServiceError::Exists(name)),
            made => made,
        }
    }

    /// Makes a service or replaces it; the second value says whether it is new. `expected` is the revision that it must
    /// have now, where the caller knows one.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn put(
        &self,
        tenant: &TenantName,
        by: &str,
        name: &ServiceName,
        template: Template,
        expected: Option<u64>,
    ) -> Result<(Service, bool), ServiceError> {
        let template = named(template, name)?;
        let found = store::one(&*self.journal, tenant, name)?;
        if found.is_none() {
            self.check_own(name)?;
        }
        if expected.is_some_and(|expected| found.as_ref().map(|row| row.revision) != Some(expected)) {
            return Err(ServiceError::Changed(name.clone()));
        }
        let declared = self.sound(template)?;
        match found {
            Some(before) => self.replace(tenant, before, declared).await.map(|service| (service, false)),
            None => self.make(tenant, by, declared).await.map(|service| (service, true)),
        }
    }

    /// What somebody said of a service, in full, with its revision: what a partial change starts from.
    ///
    /// # Errors
    /// There is none of that name, or a pack brings it.
    pub fn template(&self, tenant: &TenantName, name: &ServiceName) -> Result<(Template, u64), ServiceError> {
        match store::one(&*self.journal, tenant, name)? {
            Some(row) => Ok((row.declared.into(), row.revision)),
            None => Err(self.check_own(name).err().unwrap_or_else(|| ServiceError::NotFound(name.clone()))),
        }
    }

    /// Switches a service on or off, whoever made it.
    ///
    /// # Errors
    /// There is none of that name, or it was changed at the same time.
    pub async fn enable(&self, tenant: &TenantName, name: &ServiceName, on: bool) -> Result<Service, ServiceError> {
        match store::one(&*self.journal, tenant, name)? {
            Some(before) if before.declared.enabled == on => Ok(self.own(before)),
            Some(before) => {
                let declared = Declared { enabled: on, ..before.declared.clone() };
                self.replace(tenant, before, declared).await
            }
            None => {
                let service = self.get(tenant, name)?;
                let key = keys::service_off(tenant, name);
                let batch = Batch::default();
                let batch = if on { batch.delete(key) } else { batch.put(key, Bytes::new()) };
                self.commit(batch, name).await?;
                Ok(Service { enabled: on, ..service })
            }
        }
    }

    /// Removes a service that somebody made. Instances of it stay.
    ///
    /// # Errors
    /// There is none of that name, a pack brings it, or it was changed at the same time.
    pub async fn delete(
        &self,
        tenant: &TenantName,
        name: &ServiceName,
        expected: Option<u64>,
    ) -> Result<(), ServiceError> {
        let Some(row) = store::one(&*self.journal, tenant, name)? else {
            return Err(self.check_own(name).err().unwrap_or_else(|| ServiceError::NotFound(name.clone())));
        };
        if expected.is_some_and(|expected| expected != row.revision) {
            return Err(ServiceError::Changed(name.clone()));
        }
        let key = keys::own_service(tenant, name);
        let batch = Batch::default().expect(Expectation::Equals(key.clone(), row::encode(&row))).delete(key);
        self.commit(batch, name).await
    }

    /// How many services a tenant has made.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn held(&self, tenant: &TenantName) -> Result<usize, ServiceError> {
        Ok(self.journal.scan(Scan::prefix(keys::own_services(tenant), usize::MAX))?.len())
    }

    /// Refuses what a pack brings.
    fn check_own(&self, name: &ServiceName) -> Result<(), ServiceError> {
        match self.catalog.service(name) {
            Some(view) => Err(ServiceError::OfPack { service: name.clone(), pack: view.pack }),
            None => Ok(()),
        }
    }

    /// A template that can be, with workflows that are installed.
    fn sound(&self, template: Template) -> Result<Declared, ServiceError> {
        let single = template.workflows.is_empty();
        let declared = template.check().map_err(ServiceError::Invalid)?;
        let absent = declared.workflows.iter().enumerate().filter_map(|(at, target)| {
            let place = if single { "/workflow".to_owned() } else { format!("/workflows/{at}") };
            self.absent(target).map(|why| Wrong::at(place, why))
        });
        let mut wrong: Vec<Wrong> = absent.collect();
        if wrong.is_empty() {
            wrong = self.unfit_defaults(&declared);
        }
        if wrong.is_empty() { Ok(declared) } else { Err(ServiceError::Invalid(wrong)) }
    }

    async fn make(&self, tenant: &TenantName, by: &str, declared: Declared) -> Result<Service, ServiceError> {
        let count = self.held(tenant)?;
        if count >= SERVICES_MAX {
            return Err(ServiceError::TooMany(count));
        }
        let now = self.clock.now();
        let row = ServiceRow {
            id: new_id(now),
            revision: 1,
            created_by: Some(by.to_owned()),
            created_at: now,
            updated_at: now,
            declared,
        };
        let name = &row.declared.name;
        let key = keys::own_service(tenant, name);
        let batch = Batch::default().expect(Expectation::Absent(key.clone())).put(key, row::encode(&row));
        self.commit(batch, name).await?;
        Ok(self.own(row))
    }

    async fn replace(
        &self,
        tenant: &TenantName,
        before: ServiceRow,
        declared: Declared,
    ) -> Result<Service, ServiceError> {
        if before.declared == declared {
            return Ok(self.own(before));
        }
        let key = keys::own_service(tenant, &declared.name);
        let expected = Expectation::Equals(key.clone(), row::encode(&before));
        let row = ServiceRow { revision: before.revision + 1, updated_at: self.clock.now(), declared, ..before };
        let batch = Batch::default().expect(expected).put(key, row::encode(&row));
        self.commit(batch, &row.declared.name).await?;
        Ok(self.own(row))
    }

    async fn commit(&self, batch: Batch, name: &ServiceName) -> Result<(), ServiceError> {
        self.journal.commit(batch).await.map_err(|error| match error {
            CommitError::Conflict(_) => ServiceError::Changed(name.clone()),
            CommitError::Unavailable(error) => ServiceError::Store(error),
        })
    }
}

/// The template under the name of its path.
fn named(template: Template, name: &ServiceName) -> Result<Template, ServiceError> {
    match &template.name {
        Some(other) if other != name => {
            let message = format!("the path says `{name}`; give the same name or leave it out");
            Err(ServiceError::Invalid(vec![Wrong::at("/name", message)]))
        }
        _ => Ok(Template { name: Some(name.clone()), ..template }),
    }
}

/// An identifier that sorts by time.
fn new_id(now: Timestamp) -> Uuid {
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, now.subsec_nanosecond().unsigned_abs()))
}

impl Service {
    /// Whether it was made over the interface.
    pub fn is_own(&self) -> bool {
        self.origin == Origin::Api
    }
}
