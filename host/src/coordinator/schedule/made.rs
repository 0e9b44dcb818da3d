//! Fires the schedules that people made, each due time exactly once. A fire is a start whose idempotency key names the
//! schedule and its due time, and only then does the row move on; so a crash in between repeats the same start and not
//! another. Nothing is kept but which schedule is due when; the rows are read when their time comes.
//!
//! What was missed while no server ran, or while the tenant was disabled, is caught up by one fire; then the rhythm goes on
//! as it was.

use std::sync::Arc;

use futures_util::StreamExt as _;
use jiff::Timestamp;

use super::template::{LastFire, MadeRow};
use crate::coordinator::Shared;
use crate::coordinator::start::{self, Start, StartError};
use crate::journal::{Batch, CommitError, Expectation, Key, Scan, StoreError, keys, row};
use crate::model::{InstanceId, TenantName};
use crate::service::OrderError;

/// So many fires are under way at once: enough that they share one flush of the journal, few enough that requests have
/// their turn.
const FIRES_AT_ONCE: usize = 16;

/// Rows read at once when the server starts.
const ROWS_AT_ONCE: usize = 256;

/// Times a row is written again where somebody changed it in between; each loser has seen a winner.
const TRIES_MAX: usize = 20;

/// A stored schedule.
pub(super) fn read(shared: &Shared, key: &Key) -> Result<Option<MadeRow>, StoreError> {
    shared.journal.get(key)?.map(|bytes| row::decode(&bytes)).transpose()
}

/// Fires until the server stops.
pub(in crate::coordinator) async fn run(shared: Arc<Shared>) {
    if let Err(error) = serve(&shared).await {
        tracing::error!(%error, "schedules that people made do not fire any more; start the server again");
    }
}

async fn serve(shared: &Arc<Shared>) -> Result<(), StoreError> {
    load(shared)?;
    let mut closed = shared.closed.clone();
    loop {
        let shut = closed.borrow_and_update().clone();
        let may_fire = |key: &Key| shut.is_empty() || tenant_of(key).is_some_and(|tenant| !shut.contains(&tenant));
        let due = shared.agenda.until(shared.clock.now(), may_fire);
        let fires = due.into_iter().map(|(due, key)| fire_due(shared, key, due));
        let mut fires = futures_util::stream::iter(fires).buffer_unordered(FIRES_AT_ONCE);
        while let Some(fired) = fires.next().await {
            if !fired? {
                return Ok(()); // The server takes no work: the fire is repeated after the next start.
            }
        }
        let next = shared.agenda.next(may_fire);
        let alarm = async {
            match next {
                Some(due) => shared.clock.sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return Ok(()),
            () = shared.agenda.changed() => {}
            Ok(()) = closed.changed() => {}
            () = alarm => {}
        }
    }
}

/// Reads which schedules are due when. A row that cannot be read is told and stops no other.
fn load(shared: &Shared) -> Result<(), StoreError> {
    let mut scan = Scan::prefix(keys::all_own_schedules(), ROWS_AT_ONCE);
    loop {
        let rows = shared.journal.scan(scan.clone())?;
        let Some(last) = rows.last() else { return Ok(()) };
        scan.after = Some(last.key.clone());
        for found in &rows {
            if let Err(error) = shared.agenda.refresh(shared, &found.key) {
                tracing::error!(%error, "a schedule's row cannot be read; it does not fire");
            }
        }
    }
}

/// Fires one that is due; says whether the server still takes work.
async fn fire_due(shared: &Arc<Shared>, key: Key, due: Timestamp) -> Result<bool, StoreError> {
    let found = read(shared, &key)?.filter(|row| row.declared.is_on() && row.due == Some(due));
    let (Some(row), Some(tenant)) = (found, tenant_of(&key)) else {
        shared.agenda.refresh(shared, &key)?;
        return Ok(true);
    };
    // A blank is in no key of a client's.
    let once = format!("schedule {} {due}", row.id);
    let started = start(shared, &tenant, &row, row.created_by.clone(), Some(once)).await;
    if started.is_err() && shared.is_closed(&tenant) {
        return Ok(true); // It was closed just now: this time is caught up when it is open again.
    }
    let Some(last) = told(shared, started) else { return Ok(false) };
    settle(shared, &key, &row, Some(due), last).await?;
    Ok(true)
}

/// Starts what a schedule stands for.
pub(super) async fn start(
    shared: &Arc<Shared>,
    tenant: &TenantName,
    row: &MadeRow,
    by: Option<String>,
    idempotency_key: Option<String>,
) -> Result<start::Started, StartError> {
    let start = meant(shared, tenant, row)?;
    let asked = Some(row.declared.input.clone());
    start::start(shared, Start { created_by: by, idempotency_key, asked, ..start }).await
}

/// What is to be started for a schedule, by what is installed now.
pub(super) fn meant(shared: &Shared, tenant: &TenantName, row: &MadeRow) -> Result<Start, StartError> {
    let declared = &row.declared;
    let start = |pack, version, workflow, input| Start {
        pack,
        version,
        workflow,
        service: declared.service.clone(),
        name: Some(row.name.to_string()),
        input,
        idempotency_key: None,
        tenant: tenant.clone(),
        created_by: None,
        rerun_of: None,
        asked: None,
        note: None,
    };
    match (&declared.service, &declared.pack, &declared.workflow) {
        (Some(service), _, workflow) => {
            let order = shared.programs.order(tenant, service, workflow.as_ref(), &declared.input)?;
            Ok(start(order.pack, Some(order.version), order.workflow, order.input))
        }
        (None, Some(pack), Some(workflow)) => {
            Ok(start(pack.clone(), declared.version.clone(), workflow.clone(), declared.input.clone()))
        }
        _ => Err(StartError::NotFound("the schedule names neither a service nor a workflow".to_owned())),
    }
}

impl From<OrderError> for StartError {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::InvalidInput(violations) => Self::InvalidInput(violations),
            OrderError::Store(error) => error.into(),
            OrderError::NotFound(_) | OrderError::NoChoice { .. } => Self::NotFound(error.to_string()),
            OrderError::Disabled(_) | OrderError::NotAtHand(..) => Self::Unusable(error.to_string()),
        }
    }
}

/// What a fire came to; nothing where the server takes no work.
fn told(shared: &Shared, started: Result<start::Started, StartError>) -> Option<LastFire> {
    let at = shared.clock.now();
    let fired = |instance: InstanceId| LastFire { at, instance: Some(instance), problem: None };
    match started {
        Ok(started) => Some(fired(started.summary.id)),
        // The schedule was changed between the start and the note of it.
        Err(StartError::KeyReused(instance)) => Some(fired(instance)),
        Err(StartError::Unavailable(_)) if shared.check_open().is_err() => None,
        Err(error) => Some(LastFire { at, instance: None, problem: Some(error.to_string()) }),
    }
}

/// Notes a fire in the row, unless the schedule is gone, and moves it on where that fire was due.
pub(super) async fn settle(
    shared: &Shared,
    key: &Key,
    fired: &MadeRow,
    due: Option<Timestamp>,
    last: LastFire,
) -> Result<(), StoreError> {
    for _ in 0..TRIES_MAX {
        let Some(before) = read(shared, key)?.filter(|row| row.id == fired.id) else { break };
        let mut after = MadeRow { last: Some(last.clone()), ..before.clone() };
        if let Some(due) = due.filter(|due| before.due == Some(*due)) {
            let timing = before.declared.timing().ok();
            after.due = timing.and_then(|timing| timing.next(due, shared.clock.now()));
        }
        if write(shared, key, &before, &after).await? {
            break;
        }
    }
    shared.agenda.refresh(shared, key)
}

/// Replaces a row that is as it was read; whether it was.
pub(super) async fn write(shared: &Shared, key: &Key, before: &MadeRow, after: &MadeRow) -> Result<bool, StoreError> {
    let expected = Expectation::Equals(key.clone(), row::encode(before));
    commit(shared, Batch::default().expect(expected).put(key.clone(), row::encode(after))).await
}

/// Commits; whether the expectations held.
pub(super) async fn commit(shared: &Shared, batch: Batch) -> Result<bool, StoreError> {
    match shared.journal.commit(batch).await {
        Ok(()) => Ok(true),
        Err(CommitError::Conflict(_)) => Ok(false),
        Err(CommitError::Unavailable(error)) => {
            shared.fail(&error);
            Err(error)
        }
    }
}

/// The tenant in a schedule's key.
fn tenant_of(key: &Key) -> Option<TenantName> {
    let name = key.get(2..)?.split(|byte| *byte == 0).next()?;
    TenantName::parse(std::str::from_utf8(name).ok()?).ok()
}
