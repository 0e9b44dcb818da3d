//! The rows of an instance: how a turn's records become one batch, and how they are read back.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Map;

use super::index;
use super::view::{InstanceSummary, LogLine, Status};
use crate::journal::{Batch, Expectation, Journal, Key, Scan, StoreError, keys, row};
use crate::machine::record::{ActivationId, Created, End, Record, Stamped};
use crate::machine::state::Errand;
use crate::model::{InstanceId, Json};

/// So many rows are read at a time: a row is one append, usually under a few KiB.
const ROWS_AT_ONCE: usize = 256;

/// What an idempotency key's row says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct StartRow {
    /// The instance it made.
    pub(super) instance: InstanceId,
    /// The SHA-256 of the request, hexadecimal.
    pub(super) request: String,
}

/// The summary of an instance that was just created.
pub(super) fn summary_of(id: InstanceId, created: &Created, at: jiff::Timestamp) -> InstanceSummary {
    InstanceSummary {
        id,
        name: created.name.clone(),
        pack: created.pack.clone(),
        pack_version: created.pack_version.clone(),
        workflow: created.workflow.clone(),
        service: created.service.clone(),
        parent: created.parent.clone(),
        tenant: created.tenant.clone(),
        created_by: created.created_by.clone(),
        rerun_of: created.rerun_of,
        status: Status::Running,
        cancelling: false,
        created_at: at,
        updated_at: at,
        ended_at: None,
        input: (*created.input).clone(),
        output: None,
        error: None,
        waiting_for: None,
    }
}

/// Brings the end into a summary.
pub(super) fn end_summary(summary: &mut InstanceSummary, end: &End, at: jiff::Timestamp) {
    summary.updated_at = at;
    summary.ended_at = Some(at);
    match end {
        End::Completed { output } => {
            summary.status = Status::Completed;
            summary.output = Some((**output).clone());
        }
        End::Faulted { error } => {
            summary.status = Status::Faulted;
            summary.error = Some(error.clone());
        }
        End::Cancelled => summary.status = Status::Cancelled,
    }
}

/// The end among some records.
pub(super) fn end_in(records: &[Stamped]) -> Option<(&End, jiff::Timestamp)> {
    match records.last() {
        Some(Stamped { record: Record::Ended { end }, at, .. }) => Some((end, *at)),
        _ => None,
    }
}

/// Adds the records of one append. No second writer can slip in between: the row must be new.
pub(super) fn append(batch: Batch, id: InstanceId, records: &[Stamped]) -> Batch {
    let Some(first) = records.first() else { return batch };
    let key = keys::records(id, first.seq);
    batch.expect(Expectation::Absent(key.clone())).put(key, row::encode(&records))
}

/// Adds what an attempt logged.
pub(super) fn add_log(batch: Batch, id: InstanceId, errand: Errand, lines: &[LogLine]) -> Batch {
    if lines.is_empty() {
        return batch;
    }
    let ActivationId(activation) = errand.activation;
    batch.put(keys::log(id, activation, errand.attempt, errand.probe), row::encode(&lines))
}

/// Adds the rows that change when an instance ends. `before` is its index until then.
pub(super) fn add_end(batch: Batch, before: &[Key], summary: &InstanceSummary) -> Batch {
    index::moved(batch, before, summary)
        .put(keys::instance(summary.id), row::encode(summary))
        .delete(keys::active(summary.id))
        .delete(keys::snapshot(summary.id))
}

/// An instance's stored summary.
pub(super) fn summary(journal: &dyn Journal, id: InstanceId) -> Result<Option<InstanceSummary>, StoreError> {
    journal.get(&keys::instance(id))?.map(|bytes| row::decode(&bytes)).transpose()
}

/// What is known of an instance that is about to be cancelled.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The context that its tasks have exported last.
    pub(super) context: Option<Arc<Json>>,
    /// The checkpoint that one of its attempts has stored last.
    pub(super) checkpoint: Option<Arc<Json>>,
}

/// Reads an instance's history from its end until everything is found.
pub(super) fn known(journal: &dyn Journal, id: InstanceId) -> Result<Known, StoreError> {
    let (mut known, mut after) = (Known::default(), None);
    loop {
        let scan = Scan { prefix: keys::history(id), after, reverse: true, limit: ROWS_AT_ONCE };
        let rows = journal.scan(scan)?;
        for row in &rows {
            let records: Vec<Stamped> = row::decode(&row.value).map_err(|error| which(&row.key, &error))?;
            records.into_iter().rev().for_each(|record| known.take(record.record));
            if known.context.is_some() && known.checkpoint.is_some() {
                return Ok(known);
            }
        }
        match rows.last() {
            Some(last) if rows.len() == ROWS_AT_ONCE => after = Some(last.key.clone()),
            _ => return Ok(known),
        }
    }
}

impl Known {
    fn take(&mut self, record: Record) {
        match record {
            Record::Left { context, .. } | Record::Handled { context, .. } => {
                self.context = self.context.take().or(context);
            }
            Record::Checkpoint { value, .. } => self.checkpoint = self.checkpoint.take().or(Some(value)),
            _ => {}
        }
    }
}

/// An instance's stored summary without its input and output.
pub(super) fn brief(journal: &dyn Journal, id: InstanceId) -> Result<Option<InstanceSummary>, StoreError> {
    let stored = journal.get(&keys::instance(id))?;
    Ok(stored.map(|bytes| row::decode::<Brief>(&bytes)).transpose()?.map(|Brief(summary)| summary))
}

/// A summary whose large members were passed over while it was read.
pub(super) struct Brief(pub(super) InstanceSummary);

impl<'de> Deserialize<'de> for Brief {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = deserializer.deserialize_map(BriefVisitor)?;
        serde_json::from_value(members.into()).map(Self).map_err(D::Error::custom)
    }
}

struct BriefVisitor;

impl<'de> Visitor<'de> for BriefVisitor {
    type Value = Map<String, Json>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a summary")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut summary: A) -> Result<Self::Value, A::Error> {
        let mut members = Map::from_iter([("input".to_owned(), Json::Null)]);
        while let Some(name) = summary.next_key::<String>()? {
            match name.as_str() {
                "input" | "output" => drop(summary.next_value::<IgnoredAny>()?),
                _ => drop(members.insert(name, summary.next_value()?)),
            }
        }
        Ok(members)
    }
}

/// Shows the records after `after` (0: all) one by one, in order, until `show` wants no more.
pub(super) fn records<E: From<StoreError>>(
    journal: &dyn Journal,
    id: InstanceId,
    after: u64,
    mut show: impl FnMut(Stamped) -> Result<bool, E>,
) -> Result<(), E> {
    let mut position = row_with(journal, id, after.saturating_add(1))?;
    loop {
        let scan = Scan { prefix: keys::history(id), after: position, reverse: false, limit: ROWS_AT_ONCE };
        let rows = journal.scan(scan)?;
        let Some(last) = rows.last() else { return Ok(()) };
        position = Some(last.key.clone());
        let full = rows.len() == ROWS_AT_ONCE;
        for row in rows {
            let records: Vec<Stamped> = row::decode(&row.value).map_err(|error| which(&row.key, &error))?;
            for record in records {
                if record.seq > after && !show(record)? {
                    return Ok(());
                }
            }
        }
        if !full {
            return Ok(());
        }
    }
}

/// Says which row of a history cannot be read.
fn which(key: &[u8], error: &StoreError) -> StoreError {
    let first = keys::number_of(key).unwrap_or_default();
    StoreError(format!("read the row of its history that begins with record {first}: {error}"))
}

/// The key just before the row that holds record `seq`, to scan from.
fn row_with(journal: &dyn Journal, id: InstanceId, seq: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let upper = keys::records(id, seq.saturating_add(1));
    let scan = Scan { prefix: keys::history(id), after: Some(upper), reverse: true, limit: 2 };
    // The first is the row itself, the second the one to start after.
    Ok(journal.scan(scan)?.into_iter().nth(1).map(|row| row.key))
}
