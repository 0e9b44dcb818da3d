//! What happened inside an instance: its tasks with their attempts, its history, what its attempts logged.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::extract::{InPath, InQuery};
use super::list::List;
use super::problem::{Kind, Problem};
use super::rooms::{Rooms, aside};
use crate::coordinator::view::{LogLine, TaskView};
use crate::machine::record::Stamped;
use crate::model::InstanceId;

/// Records on a page where the request does not say.
const RECORDS_DEFAULT: usize = 200;

/// Records on a page, at most.
const RECORDS_MAX: usize = 1000;

/// Which records to give.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Span {
    /// Only records after the one with this number; also the `next` of the page before.
    after: Option<u64>,
    /// Records on the page, 1 to 1000; by default 200.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// One record of an instance's history. Besides these members it has those of its kind.
#[derive(ToSchema)]
#[schema(as = Record)]
#[expect(dead_code, reason = "only the schema is used: records are written by the machine")]
pub struct RecordSchema {
    /// Counts from 1 without gaps.
    seq: u64,
    /// When it was decided.
    #[schema(format = DateTime)]
    at: String,
    /// What kind of fact it is: `created`, `entered`, `intent`, `result`, `left`, `ended`, …
    #[schema(example = "entered")]
    record: String,
}

/// Lists an instance's tasks in the order in which they were entered, each with its attempts and errors.
#[utoipa::path(get, path = "/v1/instances/{id}/tasks", tag = "instances",
    params(("id" = String, Path, format = "uuid", description = "The instance's identifier.")),
    responses(
        (status = 200, description = "The newest 10,000 tasks.", body = List<TaskView>),
        (status = 404, description = "`unknown-instance`."),
        (status = 409, description = "`workflow-not-at-hand` or `instance-suspended`: the tasks cannot be named."),
    ))]
pub async fn list_tasks(
    State(rooms): State<Arc<Rooms>>,
    InPath(id): InPath<InstanceId>,
) -> Result<Json<List<TaskView>>, Problem> {
    let coordinator = rooms.coordinator.clone();
    aside(move || coordinator.tasks(id)).await.map(|tasks| Json(List::whole(tasks)))
}

/// Lists an instance's records, oldest first.
#[utoipa::path(get, path = "/v1/instances/{id}/history", tag = "instances",
    params(("id" = String, Path, format = "uuid", description = "The instance's identifier."), Span),
    responses(
        (status = 200, description = "One page; `next` is the `after` of the next one.", body = List<RecordSchema>),
        (status = 404, description = "`unknown-instance`."),
    ))]
pub async fn list_history(
    State(rooms): State<Arc<Rooms>>,
    InPath(id): InPath<InstanceId>,
    InQuery(span): InQuery<Span>,
) -> Result<Json<List<Stamped>>, Problem> {
    let (after, limit) = span.settle()?;
    let coordinator = rooms.coordinator.clone();
    // One more than asked for tells whether there is a next page.
    let records = aside(move || coordinator.history(id, after, limit + 1)).await?;
    Ok(Json(page(records, limit)))
}

/// Lists what an instance's attempts logged, in order of time.
#[utoipa::path(get, path = "/v1/instances/{id}/logs", tag = "instances",
    params(("id" = String, Path, format = "uuid", description = "The instance's identifier.")),
    responses(
        (status = 200, description = "Of each attempt the newest MiB, of all the newest 10,000 lines.", body = List<LogLine>),
        (status = 404, description = "`unknown-instance`."),
    ))]
pub async fn list_logs(
    State(rooms): State<Arc<Rooms>>,
    InPath(id): InPath<InstanceId>,
) -> Result<Json<List<LogLine>>, Problem> {
    let coordinator = rooms.coordinator.clone();
    aside(move || coordinator.logs(id)).await.map(|lines| Json(List::whole(lines)))
}

impl Span {
    fn settle(&self) -> Result<(u64, usize), Problem> {
        match self.limit.unwrap_or(RECORDS_DEFAULT) {
            limit if (1..=RECORDS_MAX).contains(&limit) => Ok((self.after.unwrap_or(0), limit)),
            _ => Err(Problem::new(Kind::InvalidParameter, format!("set `limit` to 1 to {RECORDS_MAX}"))),
        }
    }
}

fn page(mut records: Vec<Stamped>, limit: usize) -> List<Stamped> {
    let more = records.len() > limit;
    records.truncate(limit);
    let next = records.last().filter(|_| more).map(|last| last.seq.to_string());
    List { items: records, next }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::record::Record;

    #[test]
    fn a_page_of_history_ends_with_the_cursor_of_the_next() {
        let records = |count: u64| -> Vec<Stamped> {
            let record = Record::CancelAsked { by: None };
            (1..=count).map(|seq| Stamped { seq, at: jiff::Timestamp::UNIX_EPOCH, record: record.clone() }).collect()
        };
        let check = |count, items, next: Option<&str>| {
            let list = page(records(count), 2);
            assert_eq!((list.items.len(), list.next.as_deref()), (items, next));
        };
        check(0, 0, None);
        check(2, 2, None);
        check(3, 2, Some("2"));
    }
}
