//! Answers about one instance from the journal, with what memory knows of it while it runs.

use std::collections::VecDeque;
use std::sync::Arc;

use super::fold::{FoldError, Tasks};
use super::handle::InstanceError;
use super::view::{LogLine, TaskView};
use super::{Shared, locked, store};
use crate::definition::graph::Program;
use crate::journal::{Scan, StoreError, keys, row};
use crate::machine::record::{Record, Stamped};
use crate::model::InstanceId;

/// So many lines are told.
const LINES_MAX: usize = 10_000;

/// So many log rows are read at a time: each holds up to a MiB.
const LOG_ROWS_AT_ONCE: usize = 16;

pub(super) fn history(
    shared: &Shared,
    id: InstanceId,
    after: u64,
    limit: usize,
) -> Result<Vec<Stamped>, InstanceError> {
    require(shared, id)?;
    let mut found = Vec::new();
    if limit > 0 {
        store::records(&*shared.journal, id, after, |record| -> Result<bool, StoreError> {
            found.push(record);
            Ok(found.len() < limit)
        })?;
    }
    Ok(found)
}

pub(super) fn first_record(shared: &Shared, id: InstanceId) -> Result<Option<Stamped>, InstanceError> {
    Ok(history(shared, id, 0, 1)?.into_iter().next())
}

pub(super) fn program(shared: &Shared, id: InstanceId) -> Result<Arc<Program>, InstanceError> {
    let first = first_record(shared, id)?;
    let Some(Stamped { record: Record::Created(created), .. }) = first else {
        require(shared, id)?;
        return Err(InstanceError::NoProgram(id, "its history does not begin with its creation".to_owned()));
    };
    match shared.live(id) {
        Some(live) => Ok(live.program.clone()),
        None => shared.programs.pinned(&created).map_err(|error| InstanceError::NoProgram(id, error.to_string())),
    }
}

pub(super) fn tasks(shared: &Shared, id: InstanceId) -> Result<Vec<TaskView>, InstanceError> {
    let mut tasks = Tasks::new(id, program(shared, id)?);
    store::records(&*shared.journal, id, 0, |record| tasks.take(&record).map(|()| true)).map_err(
        |error| match error {
            FoldError::Damaged(error) => InstanceError::Damaged(id, error.to_string()),
            FoldError::Store(error) => error.into(),
        },
    )?;
    let mut views = tasks.into_views();
    if let Some(live) = shared.live(id) {
        let progress = locked(&live.progress);
        views.iter_mut().for_each(|view| view.progress = progress.get(&view.id).cloned());
    }
    Ok(views)
}

pub(super) fn logs(shared: &Shared, id: InstanceId) -> Result<Vec<LogLine>, InstanceError> {
    require(shared, id)?;
    // The running ones first, so that an attempt which ends in between is in one of the two.
    let running: Vec<_> = shared
        .live(id)
        .map(|live| locked(&live.observers).iter().map(|(errand, observer)| (*errand, Arc::clone(observer))).collect())
        .unwrap_or_default();
    let mut lines = VecDeque::new();
    let mut after = None;
    let mut stored = Vec::new();
    loop {
        let scan = Scan { prefix: keys::logs(id), after, reverse: false, limit: LOG_ROWS_AT_ONCE };
        let rows = shared.journal.scan(scan)?;
        let Some(last) = rows.last() else { break };
        after = Some(last.key.clone());
        for row in rows {
            let told: Vec<LogLine> = row::decode(&row.value)?;
            lines.extend(told);
            stored.push(row.key);
            let surplus = lines.len().saturating_sub(LINES_MAX);
            lines.drain(..surplus);
        }
    }
    for (errand, observer) in running {
        if !stored.contains(&keys::log(id, errand.activation.0, errand.attempt, errand.probe)) {
            lines.extend(observer.lines());
        }
    }
    let mut lines: Vec<_> = lines.into();
    lines.sort_by_key(|line| line.at);
    lines.drain(..lines.len().saturating_sub(LINES_MAX));
    Ok(lines)
}

fn require(shared: &Shared, id: InstanceId) -> Result<(), InstanceError> {
    match store::summary(&*shared.journal, id)? {
        Some(_) => Ok(()),
        None => Err(InstanceError::NotFound(id)),
    }
}
