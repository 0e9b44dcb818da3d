//! Child instances (`run.workflow`). An attempt at one starts it under a key that only this call has, so that a repetition
//! finds it, and waits for its end without taking a turn among the attempts. The work is done by a task of its own: what
//! was begun is finished although the attempt is dropped, and then the child is cancelled, unless the server stops.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::attempt::Observer;
use super::handle::{Handle, InstanceError};
use super::perform::{LogLevel, Observe as _};
use super::start::{self, Start, StartError, Started};
use super::view::{InstanceSummary, Status};
use super::{Named, Shared, locked, query, recovery};
use crate::definition::graph::{Callee, Program};
use crate::journal::StoreError;
use crate::machine::command::Call;
use crate::machine::record::{Parent, Record, Stamped};
use crate::machine::state::State;
use crate::model::{ErrorObject, Failure, InstanceId, Problem, Reaction, Success, standard};

/// So many instances may run each other: a workflow that runs itself would fill the store otherwise.
const DEPTH_MAX: usize = 32;

/// What is known of children over all instances.
#[derive(Default)]
pub(super) struct Children {
    /// Cancelled once every instance of the last life was taken up: before, a child that is not run may come yet.
    taken_up: CancellationToken,
    /// The keys of the children that instances of the last life wait for, until then.
    awaited: Mutex<BTreeSet<[u8; 32]>>,
}

/// The key under which a call starts its child. Callers' keys are hashed without a prefix.
fn key_of(call: &Call) -> [u8; 32] {
    Sha256::digest(format!("child\0{}", call.key)).into()
}

impl Children {
    /// Notes which children an instance of the last life waits for.
    pub(super) fn expect(&self, state: &State, program: &Program) {
        let calls = state.errands().filter_map(|errand| state.call(program, errand));
        let children = calls.filter(|call| matches!(call.callee, Callee::Workflow { .. }));
        locked(&self.awaited).extend(children.map(|call| key_of(&call)));
    }
}

/// After every instance of the last life was taken up: cancels the children for which nobody waits any more, because the
/// server broke down between the parent's end and theirs.
pub(super) async fn taken_up(shared: &Arc<Shared>) {
    let awaited = std::mem::take(&mut *locked(&shared.children.awaited));
    let live: Vec<_> = locked(&shared.live).keys().copied().collect();
    // Only now may calls start children of this life, which nothing above knows of.
    shared.children.taken_up.cancel();
    for id in live {
        match is_orphan(shared, id, &awaited) {
            Ok(Some(parent)) => {
                tracing::info!(instance = %id, %parent, "nobody waits for a child any more; it is cancelled");
                cancel(shared, id, parent).await;
            }
            Ok(None) => {}
            Err(error) => tracing::error!(instance = %id, %error, "look whether somebody waits for a child"),
        }
    }
}

/// The parent of a child for which nobody waits. A suspended parent may be taken up later.
fn is_orphan(
    shared: &Shared,
    id: InstanceId,
    awaited: &BTreeSet<[u8; 32]>,
) -> Result<Option<InstanceId>, InstanceError> {
    let Some(Parent { instance, detached: false, .. }) = shared.summary(id)?.and_then(|summary| summary.parent) else {
        return Ok(None);
    };
    let Some(Stamped { record: Record::Created(created), .. }) = query::first_record(shared, id)? else {
        return Ok(None);
    };
    let waits = awaited.iter().any(|key| created.start_key.as_deref() == Some(&hex::encode(key)));
    Ok((!waits && shared.damage_of(instance).is_none()).then_some(instance))
}

async fn cancel(shared: &Arc<Shared>, child: InstanceId, parent: InstanceId) {
    match Handle(shared.clone()).cancel(child, Some(format!("instance {parent}"))).await {
        Ok(()) | Err(InstanceError::Ended(..) | InstanceError::NotFound(_)) => {}
        Err(error) => tracing::warn!(instance = %child, %error, "a child could not be cancelled"),
    }
}

/// Runs a child to its end; detached, until it exists.
pub(super) async fn run(shared: Arc<Shared>, observer: Arc<Observer>, call: Call) -> Result<Success, Failure> {
    let (answer, answered) = oneshot::channel();
    let left = CancellationToken::new();
    let _left_when_dropped = left.clone().drop_guard();
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        if let Some(result) = care(&shared, &observer, &call, &left).await {
            // Whoever waited may be gone.
            let _ = answer.send(result);
        }
    });
    match answered.await {
        Ok(result) => result,
        // The server stops, or nobody waits: the journal says where to go on.
        Err(_) => std::future::pending().await,
    }
}

/// Starts the child and waits for it; nothing where the server stops or the attempt was dropped.
async fn care(
    shared: &Arc<Shared>,
    observer: &Observer,
    call: &Call,
    left: &CancellationToken,
) -> Option<Result<Success, Failure>> {
    tokio::select! {
        biased;
        () = shared.stop.cancelled() => return None,
        () = left.cancelled() => return None,
        () = shared.children.taken_up.cancelled() => {}
    }
    let started = match begin(shared, observer, call).await {
        Ok(started) => started,
        Err(_) if shared.stop.is_cancelled() => return None,
        Err(failure) => return Some(Err(failure)),
    };
    let (child, verb) = (started.summary.id, if started.replayed { "waits for" } else { "started" });
    observer.log(LogLevel::Info, format!("{verb} instance {child} of {}", call.callee));
    if call.detached {
        return Some(Ok(Success::default()));
    }
    let end = tokio::select! {
        biased;
        () = shared.stop.cancelled() => None,
        () = left.cancelled() => {
            cancel(shared, child, observer.live.id).await;
            None
        }
        end = ended(shared, child) => Some(end),
    };
    end.map(outcome)
}

async fn begin(shared: &Arc<Shared>, observer: &Observer, call: &Call) -> Result<Started, Failure> {
    let Callee::Workflow { namespace, name, version } = &call.callee else {
        return Err(fault(standard::CONFIGURATION, "not a workflow", "this call is none of a workflow".to_owned()));
    };
    let key = key_of(call);
    if let Some(earlier) = start::find_child(shared, key).map_err(not_started)? {
        return Ok(earlier);
    }
    let live = &observer.live;
    check_depth(shared, live.id)?;
    let own = (&live.pack, &live.version);
    let Named { pack, resolved } =
        shared.programs.named(own, namespace, name, version.as_ref()).map_err(|error| not_started(error.into()))?;
    let summary = super::store::summary(&*shared.journal, live.id).map_err(unreadable)?;
    let (tenant, created_by) = summary.map(|summary| (summary.tenant, summary.created_by)).unwrap_or_default();
    let start = Start {
        pack,
        version: Some(resolved.version),
        workflow: name.clone(),
        service: None,
        name: None,
        input: call.arguments.clone(),
        idempotency_key: None,
        tenant,
        created_by,
        rerun_of: None,
        asked: None,
        note: None,
    };
    let parent = Parent { instance: live.id, task: observer.reference.clone(), detached: call.detached };
    start::start_child(shared, start, key, parent).await.map_err(not_started)
}

/// Refuses a child of an instance that has too many above it.
fn check_depth(shared: &Shared, parent: InstanceId) -> Result<(), Failure> {
    let mut above = Some(parent);
    for _ in 0..DEPTH_MAX {
        let Some(id) = above else { return Ok(()) };
        let summary = super::store::summary(&*shared.journal, id).map_err(unreadable)?;
        above = summary.and_then(|summary| summary.parent).map(|parent| parent.instance);
    }
    let detail = format!(
        "{DEPTH_MAX} instances already run each other above this one; look for a workflow that runs itself without end"
    );
    Err(fault(standard::RUNTIME, "too many workflows inside each other", detail))
}

/// Waits for a child's end.
async fn ended(shared: &Shared, child: InstanceId) -> Result<InstanceSummary, StoreError> {
    shared.over(child).await?.ok_or_else(|| StoreError(format!("instance {child} was deleted")))
}

/// The instance that runs this one and has not taken its end, durably: it would start another one in its place, should the
/// server break down before it has.
pub(super) async fn awaiting(
    shared: &Arc<Shared>,
    child: &InstanceSummary,
) -> Result<Option<InstanceId>, InstanceError> {
    let Some(Parent { instance, .. }) = child.parent else { return Ok(None) };
    let runs = shared.summary(instance)?.is_some_and(|summary| !summary.status.is_final());
    // One that cannot go on is deleted together with what it waits for; nothing would ever be decided otherwise.
    if !runs || shared.damage_of(instance).is_some() {
        return Ok(None);
    }
    // One whose beginning cannot be read keeps its key anyway.
    let Ok(Some(Stamped { record: Record::Created(created), .. })) = query::first_record(shared, child.id) else {
        return Ok(None);
    };
    let (state, program) = recovery::state_of(shared, instance).await.map_err(InstanceError::Unavailable)?;
    let mut calls = state.errands().filter_map(|errand| state.call(&program, errand));
    let awaits = calls.any(|call| created.start_key.as_deref() == Some(&hex::encode(key_of(&call))));
    Ok(awaits.then_some(instance))
}

fn outcome(end: Result<InstanceSummary, StoreError>) -> Result<Success, Failure> {
    let summary = end.map_err(unreadable)?;
    match (summary.status, summary.error) {
        (Status::Completed, _) => Ok(Success { output: summary.output.unwrap_or_default(), ..Success::default() }),
        (_, Some(error)) => Err(passed_on(error)),
        (status, None) => {
            let detail = format!("instance {} was ended before it was done: it is {}", summary.id, status.as_str());
            Err(fault(standard::RUNTIME, "the child workflow was cancelled", detail))
        }
    }
}

/// The child's error as it is; the parent's task becomes its place.
fn passed_on(error: ErrorObject) -> Failure {
    let (title, detail) = (error.title.unwrap_or_default(), error.detail.unwrap_or_default());
    let problem = Problem { kind: error.kind, status: error.status, title, detail };
    Failure { reaction: Reaction::Permanent, problem }
}

fn not_started(error: StartError) -> Failure {
    let title = "the child workflow cannot be started";
    match &error {
        StartError::InvalidInput(_) => fault(standard::VALIDATION, title, error.to_string()),
        StartError::NotFound(_) | StartError::Unusable(_) => fault(standard::CONFIGURATION, title, error.to_string()),
        StartError::KeyReused(_) | StartError::Unavailable(_) => Failure {
            reaction: Reaction::Transient { retry_after_ms: None },
            ..fault(standard::RUNTIME, title, error.to_string())
        },
    }
}

fn unreadable(error: StoreError) -> Failure {
    fault(standard::RUNTIME, "the child workflow is not at hand", error.to_string())
}

fn fault((segment, status): (&str, u16), title: &str, detail: String) -> Failure {
    let kind = format!("{}{segment}", standard::BASE);
    let problem = Problem { kind, status, title: title.to_owned(), detail };
    Failure { reaction: Reaction::Permanent, problem }
}
