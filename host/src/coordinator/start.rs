//! A new instance: everything about it, up to the first thing that needs the outside, is one commit.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::events::lifecycle::Lifecycle;
use super::live::Live;
use super::runner::{Runner, publish, retire};
use super::store::{self, StartRow};
use super::view::InstanceSummary;
use super::{ProgramError, Resolved, Shared, index, locked};
use crate::definition::schema;
use crate::journal::{Batch, CommitError, Expectation, StoreError, keys, row};
use crate::machine::next::{self, Event};
use crate::machine::record::{Created, Parent, Record, Stamped};
use crate::machine::state::State;
use crate::model::{InstanceId, Json, PackName, ServiceName, TenantName, WorkflowName};
use crate::note::InstanceNote;

/// What is to be started.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// The pack.
    pub pack: PackName,
    /// Its version; absent: the newest.
    pub version: Option<semver::Version>,
    /// The workflow in it.
    pub workflow: WorkflowName,
    /// The service it was ordered through, already looked up.
    pub service: Option<ServiceName>,
    /// A name that a person gives it.
    pub name: Option<String>,
    /// The raw input; `null` counts as absent and becomes `{}`.
    pub input: Json,
    /// The caller's idempotency key: the same key and request give the same instance.
    pub idempotency_key: Option<String>,
    /// The tenant it is to belong to.
    pub tenant: TenantName,
    /// Who starts it, as [`crate::model::Principal::subject`].
    pub created_by: Option<String>,
    /// The instance that this one runs again.
    pub rerun_of: Option<InstanceId>,
    /// The input as it was asked for, where `input` was completed since: what an idempotency key stands for does not
    /// change with what it is completed by.
    pub asked: Option<Json>,
    /// What is noted on it from its first moment.
    pub note: Option<InstanceNote>,
}

/// An instance that was started, by this call or by an earlier one with the same key.
#[derive(Debug, Clone, PartialEq)]
pub struct Started {
    /// The instance.
    pub summary: InstanceSummary,
    /// Whether an earlier call had started it.
    pub replayed: bool,
}

/// Why nothing was started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// There is no such workflow; the text says what there is.
    #[error("{0}")]
    NotFound(String),
    /// The workflow is there and cannot be used; the text says why.
    #[error("{0}")]
    Unusable(String),
    /// The input does not fit the workflow's schema.
    #[error("the input does not fit the workflow's schema: {}", .0.join("; "))]
    InvalidInput(Vec<String>),
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request, which started instance {0}; use a new key")]
    KeyReused(InstanceId),
    /// The server takes no work: it is stopping or its store failed.
    #[error("no work is taken: {0}")]
    Unavailable(String),
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<ProgramError> for StartError {
    fn from(error: ProgramError) -> Self {
        match error {
            ProgramError::NotFound(text) => Self::NotFound(text),
            ProgramError::Unusable(text) => Self::Unusable(text),
        }
    }
}

/// What the task of a parent begins with that recommended the instance and does not run it.
pub(super) const FOLLOW_UPS: &str = "follow-ups/";

/// A caller's key and what it asked for.
struct Key {
    hash: [u8; 32],
    request: String,
}

/// Starts an instance, or finds the one that its key has started.
pub(super) async fn start(shared: &Arc<Shared>, start: Start) -> Result<Started, StartError> {
    check_open(shared, &start.tenant)?;
    let start = Start { input: given(start.input), ..start };
    let key = start.idempotency_key.as_deref().map(|key| Key::of(key, &start));
    started(shared, start, key, None).await
}

/// Starts an instance that follows another one, or finds the one that its key has started.
pub(super) async fn start_after(shared: &Arc<Shared>, start: Start, parent: Parent) -> Result<Started, StartError> {
    check_open(shared, &start.tenant)?;
    let start = Start { input: given(start.input), ..start };
    let key = start.idempotency_key.as_deref().map(|key| Key::of(key, &start).after(&parent));
    started(shared, start, key, Some(parent)).await
}

/// Refuses what is new in a disabled tenant. What runs there goes on, with its children and clean-ups.
fn check_open(shared: &Shared, tenant: &TenantName) -> Result<(), StartError> {
    match shared.is_closed(tenant) {
        true => {
            Err(StartError::Unusable(format!("the tenant `{tenant}` is disabled; enable it to start anything in it")))
        }
        false => Ok(()),
    }
}

/// Starts a child, or finds the one that this call's key has started.
pub(super) async fn start_child(
    shared: &Arc<Shared>,
    start: Start,
    key: [u8; 32],
    parent: Parent,
) -> Result<Started, StartError> {
    let start = Start { input: given(start.input), ..start };
    started(shared, start, Some(Key { hash: key, request: CHILD.to_owned() }), Some(parent)).await
}

/// An absent input is `{}`.
pub(super) fn given(input: Json) -> Json {
    if input.is_null() { Json::Object(serde_json::Map::new()) } else { input }
}

/// What a child's key asks for: the key stands for one call with recorded arguments, whatever its name leads to by now.
const CHILD: &str = "child";

/// The child that this call's key has started, if it has. One that was deleted before its end is not started again.
pub(super) fn find_child(shared: &Shared, key: [u8; 32]) -> Result<Option<Started>, StartError> {
    let found = replay(shared, &Key { hash: key, request: CHILD.to_owned() })?;
    match (&found, shared.journal.get(&keys::start(&key))?) {
        (None, Some(_)) => Err(StartError::Unusable("its instance was deleted before it had ended".to_owned())),
        _ => Ok(found),
    }
}

async fn started(
    shared: &Arc<Shared>,
    start: Start,
    key: Option<Key>,
    parent: Option<Parent>,
) -> Result<Started, StartError> {
    shared.check_open().map_err(StartError::Unavailable)?;
    if let Some(key) = &key
        && let Some(earlier) = replay(shared, key)?
    {
        return Ok(earlier);
    }
    let Resolved { program, version } =
        shared.programs.resolve(&start.pack, start.version.as_ref(), &start.workflow)?;
    if let Some(id) = program.frame.input_schema {
        let validator = &program.schema(id).validator;
        let violations = schema::violations(validator, &start.input, schema::VIOLATIONS_MAX);
        if !violations.is_empty() {
            return Err(StartError::InvalidInput(violations));
        }
    }
    let created = Created {
        pack: start.pack,
        pack_version: version,
        workflow: start.workflow,
        definition: program.digest,
        actions: program.actions().cloned().collect(),
        service: start.service,
        name: start.name,
        input: Arc::new(start.input),
        start_key: key.as_ref().map(|key| hex::encode(key.hash)),
        parent,
        tenant: start.tenant,
        created_by: start.created_by,
        rerun_of: start.rerun_of,
    };
    let birth = Birth { note: start.note, ..Birth::new(shared, created, program) };
    birth.commit(shared, key).await
}

/// An instance on its way into the journal.
struct Birth {
    program: Arc<crate::definition::graph::Program>,
    summary: InstanceSummary,
    state: State,
    records: Vec<Stamped>,
    note: Option<InstanceNote>,
}

impl Birth {
    fn new(shared: &Shared, created: Created, program: Arc<crate::definition::graph::Program>) -> Self {
        let moment = shared.moment();
        let id = shared.new_id(moment.now);
        let summary = store::summary_of(id, &created, moment.now);
        let mut state = State::new(id);
        let first = Stamped { seq: 1, at: moment.now, record: Record::Created(Box::new(created)) };
        state.apply(&program, &first).expect("every history begins with its creation");
        let mut records = vec![first];
        records.extend(next::advance(&program, &mut state, [Event::Start], moment, &*shared.evaluator));
        Self { program, summary, state, records, note: None }
    }

    async fn commit(mut self, shared: &Arc<Shared>, key: Option<Key>) -> Result<Started, StartError> {
        let batch = self.batch(key.as_ref());
        let id = self.summary.id;
        let mut lifecycle = Lifecycle::new(id, &Arc::new(self.summary.whose()));
        lifecycle.prepare(&State::new(id), shared.mail.wants_outgoing());
        let told = lifecycle.take(&self.program, &self.records);
        // Known before it is durable, so that nobody who sees the row finds no owner; taken back where it fails.
        let (live, inbox) = Live::new(&self.summary, self.program, &self.state);
        let live = Arc::new(live);
        locked(&shared.live).insert(id, live.clone());
        let committed = shared.mail.commit(batch, told).await;
        if let Err(error) = committed {
            retire(shared, &live);
            return refused(shared, error, key.as_ref());
        }
        shared.started.fetch_add(1, Ordering::Relaxed);
        if let Some(end) = self.state.end() {
            shared.ends.count(end);
            retire(shared, &live);
        }
        publish(shared, &live, &self.records);
        if self.state.end().is_none() {
            live.fill(&mut self.summary);
            Runner::new(shared.clone(), live, self.state, inbox).telling(lifecycle).spawn(None);
        }
        Ok(Started { summary: self.summary, replayed: false })
    }

    fn batch(&mut self, key: Option<&Key>) -> Batch {
        let summary = &mut self.summary;
        let id = summary.id;
        let mut batch = store::append(Batch::default(), id, &self.records);
        if let Some(first) = summary.parent.as_ref().filter(|parent| parent.task.starts_with(FOLLOW_UPS)) {
            batch = batch.put(keys::follow_up(first.instance, id), Bytes::new());
        }
        if let Some(key) = key {
            let start = StartRow { instance: id, request: key.request.clone() };
            let place = keys::start(&key.hash);
            batch = batch.expect(Expectation::Absent(place.clone())).put(place, row::encode(&start));
        }
        if let Some(note) = &self.note {
            batch = batch.put(keys::instance_note(id), row::encode(note));
        }
        match store::end_in(&self.records) {
            Some((end, at)) => store::end_summary(summary, end, at),
            None => batch = batch.put(keys::active(id), Bytes::new()),
        }
        index::moved(batch, &[], summary).put(keys::instance(id), row::encode(summary))
    }
}

fn refused(shared: &Shared, error: CommitError, key: Option<&Key>) -> Result<Started, StartError> {
    match (error, key) {
        (CommitError::Unavailable(error), _) => {
            shared.fail(&error);
            Err(error.into())
        }
        // Somebody else used the key in the meantime.
        (CommitError::Conflict(_), Some(key)) => replay(shared, key)?
            .ok_or_else(|| StartError::Unavailable("the instance of this key was just deleted; try again".to_owned())),
        (CommitError::Conflict(_), None) => {
            Err(StartError::Unavailable("the new identifier is taken; try again".to_owned()))
        }
    }
}

/// The instance that the key has started, if it has.
fn replay(shared: &Shared, key: &Key) -> Result<Option<Started>, StartError> {
    let Some(bytes) = shared.journal.get(&keys::start(&key.hash))? else { return Ok(None) };
    let earlier: StartRow = row::decode(&bytes)?;
    if earlier.request != key.request {
        return Err(StartError::KeyReused(earlier.instance));
    }
    let summary = shared.summary(earlier.instance)?;
    Ok(summary.map(|summary| Started { summary, replayed: true }))
}

impl Key {
    fn of(key: &str, start: &Start) -> Self {
        let what = match &start.service {
            // Which version a service stands for may change between two tries of one order.
            Some(service) => serde_json::json!([service]),
            None => serde_json::json!([start.pack, start.version, start.workflow]),
        };
        let input = given(start.asked.as_ref().unwrap_or(&start.input).clone());
        let mut asked = serde_json::json!([what, start.name, sorted(&input)]);
        if let (Some(again), Json::Array(asked)) = (start.rerun_of, &mut asked) {
            asked.push(serde_json::json!({ "rerunOf": again }));
        }
        let request = hex::encode(Sha256::digest(asked.to_string()));
        let hash = match start.tenant.is_standard() {
            true => Sha256::digest(key),
            // A NUL is in no key, so that a tenant's keys meet nobody else's.
            false => Sha256::digest(format!("{}\0{key}", start.tenant)),
        };
        Self { hash: hash.into(), request }
    }

    /// The same for what follows another instance: that it does is part of what is asked for.
    fn after(self, parent: &Parent) -> Self {
        let asked = format!("{}\0{}\0{}", self.request, parent.instance, parent.task);
        Self { request: hex::encode(Sha256::digest(asked)), ..self }
    }
}

/// The same data with the members of every object in one order: how a client orders them is no difference.
fn sorted(value: &Json) -> Json {
    match value {
        Json::Array(items) => items.iter().map(sorted).collect(),
        Json::Object(members) => {
            let mut members: Vec<_> = members.iter().map(|(name, value)| (name.clone(), sorted(value))).collect();
            members.sort_by(|one, other| one.0.cmp(&other.0));
            Json::Object(members.into_iter().collect())
        }
        plain => plain.clone(),
    }
}
