//! What the rest of the program does with schedules: those of the workflows of packs, which stand in the workflow and are
//! the tenant's `default`, and those that people made, each in its tenant. Durable on return.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::template::{LastFire, MadeRow, ScheduleTemplate, Timing};
use super::{Place, ScheduleRow, made};
use crate::coordinator::start::{self, Start, StartError, Started};
use crate::coordinator::{Handle, Shared};
use crate::definition::schema;
use crate::journal::{Batch, Expectation, Key, Scan, StoreError, keys, row};
use crate::model::{Json, PackName, ScheduleName, ServiceName, TenantName, WorkflowName};
use crate::service::{OrderError, Origin, Wrong};

/// Schedules that a tenant makes, at most. Requests that run side by side may exceed it by their number.
const SCHEDULES_MAX: usize = 1000;

/// Times a change is tried where the schedule fires at the same time.
const TRIES_MAX: usize = 20;

/// A schedule as it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Schedule)]
pub struct ScheduleView {
    /// Its name, the only one in its tenant; that of a pack's is `workflow@pack`.
    #[schema(example = "nightly-sync")]
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The service it orders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "bucket sync")]
    pub service: Option<ServiceName>,
    /// The pack of the workflow it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub pack: Option<PackName>,
    /// The pack's version; absent: the newest at each fire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub version: Option<semver::Version>,
    /// The workflow it starts; beside `service`, the name of one of its workflows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub workflow: Option<WorkflowName>,
    /// The input of each instance.
    #[serde(default, skip_serializing_if = "Json::is_null")]
    #[schema(value_type = Option<Object>)]
    pub input: Json,
    /// When it fires, once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
    /// When it fires again and again, as a cron expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// How often it fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
    /// How long after the end of its last instance it fires; of packs only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The events it fires at, as the workflow says them; of packs only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub on: Option<Json>,
    /// The zone whose clocks `cron` goes by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Whether it fires.
    pub enabled: bool,
    /// Whether it was to fire once, and its time is over.
    pub done: bool,
    /// When it fires next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next: Option<Timestamp>,
    /// Its last fire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastFire>,
    /// Who made it.
    #[schema(inline)]
    pub origin: Origin,
    /// Who made it over the interface; its instances are hers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
    /// When somebody changed it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub updated_at: Option<Timestamp>,
    /// Counts its changes by people, from 1; 0 for a pack's.
    pub revision: u64,
}

/// Why a schedule is not changed, or not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// There is none of that name.
    #[error("there is no schedule `{0}`; GET /v1/schedules lists them")]
    NotFound(String),
    /// The name is taken.
    #[error("there is a schedule `{0}` already; take another name, or PUT /v1/schedules/{0} to replace it")]
    Exists(ScheduleName),
    /// A pack brings it.
    #[error(
        "schedule `{0}` stands in a workflow of a pack: it can be switched off by `enabled`, everything else changes with the pack"
    )]
    OfPack(String),
    /// It cannot be so; everything that is wrong.
    #[error("the schedule cannot be so: {}", first(.0))]
    Invalid(Vec<Wrong>),
    /// What it is to order cannot be ordered.
    #[error(transparent)]
    Order(OrderError),
    /// What it is to start cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The tenant has as many as it may.
    #[error("the tenant has {0} schedules, as many as there may be; delete one")]
    TooMany(usize),
    /// It is not as the caller expected, or was changed at the same time.
    #[error("schedule `{0}` was changed in the meantime; read it again, then repeat the change")]
    Changed(String),
    /// The store failed, or no work is taken.
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

/// All schedules of the coordinator.
#[derive(Clone)]
pub struct Schedules(Arc<Shared>);

impl Handle {
    /// The schedules.
    pub fn schedules(&self) -> Schedules {
        Schedules(self.0.clone())
    }
}

/// A schedule that a name leads to.
enum Named {
    Own(Key, Box<MadeRow>),
    OfPack(Place, Box<ScheduleRow>),
}

impl Schedules {
    /// The schedules of a tenant, by name.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn list(&self, tenant: &TenantName) -> Result<Vec<ScheduleView>, ScheduleError> {
        let rows = self.0.journal.scan(Scan::prefix(keys::own_schedules(tenant), usize::MAX))?;
        let own = rows.iter().map(|found| Ok(own_view(row::decode(&found.value)?)));
        let mut all = own.collect::<Result<Vec<_>, StoreError>>()?;
        if tenant.is_standard() {
            for found in self.0.journal.scan(Scan::prefix(keys::schedules(), usize::MAX))? {
                let Some(place) = found.key.get(1..).and_then(keys::place_of) else { continue };
                all.push(self.pack_view(&place, row::decode(&found.value)?));
            }
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    /// One schedule of a tenant.
    ///
    /// # Errors
    /// There is none of that name, or the journal cannot be read.
    pub fn get(&self, tenant: &TenantName, name: &str) -> Result<ScheduleView, ScheduleError> {
        Ok(match self.find(tenant, name)? {
            Named::Own(_, row) => own_view(*row),
            Named::OfPack(place, row) => self.pack_view(&place, *row),
        })
    }

    /// Makes a schedule.
    ///
    /// # Errors
    /// The name is taken, or see [`ScheduleError`].
    pub async fn create(
        &self,
        tenant: &TenantName,
        by: &str,
        template: ScheduleTemplate,
    ) -> Result<ScheduleView, ScheduleError> {
        let timing = template.check().map_err(ScheduleError::Invalid)?;
        let Some(name) = template.name.clone() else {
            return Err(ScheduleError::Invalid(vec![Wrong::at("/name", "give the schedule a name")]));
        };
        let key = keys::own_schedule(tenant, &name);
        if made::read(&self.0, &key)?.is_some() {
            return Err(ScheduleError::Exists(name));
        }
        match self.make(tenant, by, name, template, &timing).await {
            Err(ScheduleError::Changed(_)) => match made::read(&self.0, &key)? {
                Some(row) => Err(ScheduleError::Exists(row.name)),
                None => Err(ScheduleError::Store(StoreError("the schedule was just deleted; try again".to_owned()))),
            },
            made => made,
        }
    }

    /// Makes a schedule or replaces it; the second value says whether it is new. With the same times it goes on as it
    /// does, so that one which fired once does not fire again. `expected` is the revision that it must have now.
    ///
    /// # Errors
    /// See [`ScheduleError`].
    pub async fn put(
        &self,
        tenant: &TenantName,
        by: &str,
        name: &ScheduleName,
        template: ScheduleTemplate,
        expected: Option<u64>,
    ) -> Result<(ScheduleView, bool), ScheduleError> {
        if template.name.as_ref().is_some_and(|other| other != name) {
            let message = format!("the path says `{name}`; give the same name or leave it out");
            return Err(ScheduleError::Invalid(vec![Wrong::at("/name", message)]));
        }
        let template = ScheduleTemplate { name: Some(name.clone()), ..template };
        let timing = template.check().map_err(ScheduleError::Invalid)?;
        let key = keys::own_schedule(tenant, name);
        for _ in 0..TRIES_MAX {
            let found = made::read(&self.0, &key)?;
            if expected.is_some_and(|expected| found.as_ref().map(|row| row.revision) != Some(expected)) {
                return Err(ScheduleError::Changed(name.to_string()));
            }
            let Some(before) = found else {
                return self.make(tenant, by, name.clone(), template, &timing).await.map(|view| (view, true));
            };
            let after = self.replaced(&before, &template, &timing)?;
            self.check_target(tenant, &after)?;
            // Where it has just fired, the change is made to what it is by now.
            if after == before || made::write(&self.0, &key, &before, &after).await? {
                self.0.agenda.refresh(&self.0, &key)?;
                return Ok((own_view(after), false));
            }
        }
        Err(ScheduleError::Changed(name.to_string()))
    }

    /// What somebody said of a schedule, with its revision: what a partial change starts from.
    ///
    /// # Errors
    /// There is none of that name, or a pack brings it.
    pub fn template(&self, tenant: &TenantName, name: &str) -> Result<(ScheduleTemplate, u64), ScheduleError> {
        match self.find(tenant, name)? {
            Named::Own(_, row) => Ok((row.declared, row.revision)),
            Named::OfPack(..) => Err(ScheduleError::OfPack(name.to_owned())),
        }
    }

    /// Switches a pack's schedule on or off.
    ///
    /// # Errors
    /// There is none of that name, or people made it.
    pub async fn switch(&self, tenant: &TenantName, name: &str, on: bool) -> Result<ScheduleView, ScheduleError> {
        let Named::OfPack(place, row) = self.find(tenant, name)? else {
            return Err(ScheduleError::NotFound(name.to_owned()));
        };
        let key = keys::schedule_off(&place.0, &place.1);
        let batch = Batch::default();
        made::commit(&self.0, if on { batch.delete(key) } else { batch.put(key, Bytes::new()) }).await?;
        self.0.agenda.switch(place.clone(), on);
        Ok(self.pack_view(&place, *row))
    }

    /// Removes a schedule that people made. Instances that it started stay.
    ///
    /// # Errors
    /// There is none of that name, a pack brings it, or it was changed at the same time.
    pub async fn delete(&self, tenant: &TenantName, name: &str, expected: Option<u64>) -> Result<(), ScheduleError> {
        for _ in 0..TRIES_MAX {
            let Named::Own(key, row) = self.find(tenant, name)? else {
                return Err(ScheduleError::OfPack(name.to_owned()));
            };
            if expected.is_some_and(|expected| expected != row.revision) {
                return Err(ScheduleError::Changed(name.to_owned()));
            }
            let same = Expectation::Equals(key.clone(), row::encode(&*row));
            if made::commit(&self.0, Batch::default().expect(same).delete(key.clone())).await? {
                return Ok(self.0.agenda.refresh(&self.0, &key)?);
            }
        }
        Err(ScheduleError::Changed(name.to_owned()))
    }

    /// Starts now what a schedule starts. Its times stay as they are.
    ///
    /// # Errors
    /// There is none of that name, or see [`StartError`].
    pub async fn run(
        &self,
        tenant: &TenantName,
        name: &str,
        by: &str,
        idempotency_key: Option<String>,
    ) -> Result<Started, ScheduleError> {
        let by = Some(by.to_owned());
        match self.find(tenant, name)? {
            Named::Own(key, row) => {
                let started = made::start(&self.0, tenant, &row, by, idempotency_key).await?;
                let last = LastFire { at: self.0.clock.now(), instance: Some(started.summary.id), problem: None };
                made::settle(&self.0, &key, &row, None, last).await?;
                Ok(started)
            }
            Named::OfPack((pack, workflow), _) => {
                let start = Start {
                    pack,
                    version: None,
                    workflow,
                    service: None,
                    name: None,
                    input: Json::Null,
                    idempotency_key,
                    tenant: tenant.clone(),
                    created_by: by,
                    rerun_of: None,
                    asked: None,
                    note: None,
                };
                Ok(start::start(&self.0, start).await?)
            }
        }
    }

    /// How many schedules a tenant has made.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn held(&self, tenant: &TenantName) -> Result<usize, ScheduleError> {
        Ok(self.0.journal.scan(Scan::prefix(keys::own_schedules(tenant), usize::MAX))?.len())
    }

    fn find(&self, tenant: &TenantName, name: &str) -> Result<Named, ScheduleError> {
        let unknown = || ScheduleError::NotFound(name.to_owned());
        if let Some((workflow, pack)) = name.split_once('@') {
            let place = (PackName::parse(pack), WorkflowName::parse(workflow));
            let (Ok(pack), Ok(workflow)) = place else { return Err(unknown()) };
            let bytes = self.0.journal.get(&keys::schedule(&pack, &workflow))?.filter(|_| tenant.is_standard());
            let row = row::decode(&bytes.ok_or_else(unknown)?)?;
            return Ok(Named::OfPack((pack, workflow), Box::new(row)));
        }
        let own = ScheduleName::parse(name).map_err(|_| unknown())?;
        let key = keys::own_schedule(tenant, &own);
        let row = made::read(&self.0, &key)?.ok_or_else(unknown)?;
        Ok(Named::Own(key, Box::new(row)))
    }

    async fn make(
        &self,
        tenant: &TenantName,
        by: &str,
        name: ScheduleName,
        declared: ScheduleTemplate,
        timing: &Timing,
    ) -> Result<ScheduleView, ScheduleError> {
        let now = self.0.clock.now();
        timing.check_ahead(now).map_err(|wrong| ScheduleError::Invalid(vec![wrong]))?;
        let count = self.held(tenant)?;
        if count >= SCHEDULES_MAX {
            return Err(ScheduleError::TooMany(count));
        }
        let key = keys::own_schedule(tenant, &name);
        let due = timing.first(now).filter(|_| declared.is_on());
        let row = MadeRow {
            id: self.0.new_id(now).0,
            revision: 1,
            name,
            created_by: Some(by.to_owned()),
            created_at: now,
            updated_at: now,
            declared,
            due,
            last: None,
        };
        self.check_target(tenant, &row)?;
        let batch = Batch::default().expect(Expectation::Absent(key.clone())).put(key.clone(), row::encode(&row));
        if !made::commit(&self.0, batch).await? {
            return Err(ScheduleError::Changed(row.name.to_string()));
        }
        self.0.agenda.refresh(&self.0, &key)?;
        Ok(own_view(row))
    }

    /// The row after somebody replaced what she said of the schedule.
    fn replaced(
        &self,
        before: &MadeRow,
        template: &ScheduleTemplate,
        timing: &Timing,
    ) -> Result<MadeRow, ScheduleError> {
        if before.declared == *template {
            return Ok(before.clone());
        }
        let now = self.0.clock.now();
        let mut after =
            MadeRow { revision: before.revision + 1, updated_at: now, declared: template.clone(), ..before.clone() };
        let same = before.declared.same_timing(template);
        if !same {
            timing.check_ahead(now).map_err(|wrong| ScheduleError::Invalid(vec![wrong]))?;
        }
        let goes_on = same && before.declared.is_on();
        after.due = match timing {
            _ if !template.is_on() => None,
            _ if goes_on => before.due,
            // It has fired, or its time passed while it was switched off.
            Timing::At(at) if same && (before.last.is_some() || *at <= now) => None,
            timing => timing.first(now),
        };
        Ok(after)
    }

    /// Refuses what could not be started if it fired now.
    fn check_target(&self, tenant: &TenantName, row: &MadeRow) -> Result<(), ScheduleError> {
        let declared = &row.declared;
        if let Some(service) = &declared.service {
            let order = self.0.programs.order(tenant, service, declared.workflow.as_ref(), &declared.input);
            return match order {
                // It may be switched on again before the schedule fires.
                Ok(_) | Err(OrderError::Disabled(_)) => Ok(()),
                Err(error) => Err(ScheduleError::Order(error)),
            };
        }
        let start = made::meant(&self.0, tenant, row)?;
        let found = self.0.programs.resolve(&start.pack, start.version.as_ref(), &start.workflow);
        let program = found.map_err(StartError::from)?.program;
        let Some(id) = program.frame.input_schema else { return Ok(()) };
        let input = start::given(start.input);
        match schema::violations(&program.schema(id).validator, &input, schema::VIOLATIONS_MAX) {
            none if none.is_empty() => Ok(()),
            violations => Err(ScheduleError::Start(StartError::InvalidInput(violations))),
        }
    }

    fn pack_view(&self, place: &Place, row: ScheduleRow) -> ScheduleView {
        let (pack, workflow) = place;
        let text = |member: &str| row.schedule.get(member).map(shown);
        let enabled = !self.0.agenda.is_off(place);
        ScheduleView {
            name: format!("{workflow}@{pack}"),
            description: None,
            service: None,
            pack: Some(pack.clone()),
            version: Some(row.version.clone()),
            workflow: Some(workflow.clone()),
            input: Json::Null,
            at: None,
            cron: text("cron"),
            every: text("every"),
            after: text("after"),
            on: row.schedule.get("on").cloned(),
            time_zone: None,
            enabled,
            done: false,
            next: row.due.filter(|_| enabled),
            last: row.last,
            origin: Origin::Pack,
            created_by: None,
            created_at: None,
            updated_at: None,
            revision: 0,
        }
    }
}

/// A length of time as it is told: ISO 8601, whichever way the workflow says it.
fn shown(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => {
            crate::definition::duration::read(other).map_or_else(|_| other.to_string(), |duration| duration.to_string())
        }
    }
}

fn own_view(row: MadeRow) -> ScheduleView {
    let declared = row.declared;
    let enabled = declared.is_on();
    ScheduleView {
        name: row.name.into(),
        done: declared.at.is_some() && row.due.is_none() && (row.last.is_some() || enabled),
        description: declared.description,
        service: declared.service,
        pack: declared.pack,
        version: declared.version,
        workflow: declared.workflow,
        input: declared.input,
        at: declared.at,
        cron: declared.cron,
        every: declared.every,
        after: None,
        on: None,
        time_zone: declared.time_zone,
        enabled,
        next: row.due,
        last: row.last,
        origin: Origin::Api,
        created_by: row.created_by,
        created_at: Some(row.created_at),
        updated_at: Some(row.updated_at),
        revision: row.revision,
    }
}
