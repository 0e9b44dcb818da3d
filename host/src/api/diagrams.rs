//! Pictures: a workflow as a Mermaid flowchart, and an instance's with the status of each of its tasks.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;

use super::extract::{InPath, InQuery};
use super::problem::Problem;
use super::rooms::{Rooms, aside};
use super::workflows::OfVersion;
use crate::coordinator::view::{Status, TaskView};
use crate::coordinator::{Handle, InstanceError};
use crate::definition::diagram::{Mark, mermaid};
use crate::definition::graph::{NodeId, Program};
use crate::machine::record::Record;
use crate::model::{InstanceId, PackName, WorkflowName};

/// Records read at a time.
const RECORDS_AT_ONCE: usize = 1000;

/// Draws a workflow as a Mermaid flowchart.
#[utoipa::path(get, path = "/v1/workflows/{pack}/{workflow}/diagram", tag = "catalogue",
    params(
        ("pack" = String, Path, description = "The pack's name."),
        ("workflow" = String, Path, description = "The workflow's name."),
        OfVersion,
    ),
    responses(
        (status = 200, description = "The flowchart; as `text/plain` where that is asked for.", body = String,
            content_type = "text/vnd.mermaid"),
        (status = 404, description = "`unknown-workflow`."),
        (status = 409, description = "`workflow-not-at-hand`: it can no longer be read or compiled."),
    ))]
pub async fn draw_workflow(
    State(rooms): State<Arc<Rooms>>,
    InPath((pack, name)): InPath<(PackName, WorkflowName)>,
    InQuery(of): InQuery<OfVersion>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let program =
        aside(move || rooms.catalog.workflow(&pack, of.version(), &name).map(|found| found.program.clone())).await?;
    Ok(picture(&headers, mermaid(&program, |_| None)))
}

/// Draws an instance's workflow as a Mermaid flowchart; each task's class is its status: `completed`, `running`,
/// `waiting`, `faulted`, `cancelled`, `skipped`, `notReached`.
#[utoipa::path(get, path = "/v1/instances/{id}/diagram", tag = "instances",
    params(("id" = String, Path, format = "uuid", description = "The instance's identifier.")),
    responses(
        (status = 200, description = "The flowchart; as `text/plain` where that is asked for.", body = String,
            content_type = "text/vnd.mermaid"),
        (status = 404, description = "`unknown-instance`."),
        (status = 409, description = "`workflow-not-at-hand` or `instance-suspended`: the tasks cannot be named."),
    ))]
pub async fn draw_instance(
    State(rooms): State<Arc<Rooms>>,
    InPath(id): InPath<InstanceId>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let coordinator = rooms.coordinator.clone();
    let text = aside(move || drawn(&coordinator, id)).await?;
    Ok(picture(&headers, text))
}

fn drawn(coordinator: &Handle, id: InstanceId) -> Result<String, InstanceError> {
    let program = coordinator.program(id)?;
    let mut marks = passed(coordinator, id)?;
    newest(&program, &coordinator.tasks(id)?, &mut marks);
    Ok(mermaid(&program, |node| Some(marks.get(&node).copied().unwrap_or(Mark::NotReached))))
}

/// What the records alone tell: which nodes were entered and which were skipped.
fn passed(coordinator: &Handle, id: InstanceId) -> Result<HashMap<NodeId, Mark>, InstanceError> {
    let (mut marks, mut after) = (HashMap::new(), 0);
    loop {
        let records = coordinator.history(id, after, RECORDS_AT_ONCE)?;
        let Some(last) = records.last() else { return Ok(marks) };
        after = last.seq;
        for stamped in &records {
            match &stamped.record {
                Record::Entered(entered) => drop(marks.insert(entered.node, Mark::Completed)),
                Record::Skipped { node, .. } => drop(marks.insert(*node, Mark::Skipped)),
                _ => {}
            }
        }
    }
}

/// The newest activation of a task counts, an open one before all others.
fn newest(program: &Program, tasks: &[TaskView], marks: &mut HashMap<NodeId, Mark>) {
    let nodes: HashMap<&str, NodeId> =
        (0..).map(NodeId).zip(&program.nodes).map(|(id, node)| (node.reference.as_str(), id)).collect();
    let is_open = |task: &&TaskView| !task.status.is_final();
    for task in tasks.iter().filter(|task| !is_open(task)).chain(tasks.iter().filter(is_open)) {
        if let Some(node) = nodes.get(task.reference.as_str())
            && marks.get(node) != Some(&Mark::Skipped)
        {
            marks.insert(*node, mark(task.status));
        }
    }
}

fn mark(status: Status) -> Mark {
    match status {
        Status::Completed => Mark::Completed,
        Status::Faulted => Mark::Faulted,
        Status::Cancelled => Mark::Cancelled,
        Status::Waiting => Mark::Waiting,
        Status::Pending | Status::Running | Status::Suspended => Mark::Running,
    }
}

fn picture(headers: &HeaderMap, text: String) -> impl IntoResponse + use<> {
    let accepted = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let plain = accepted.contains("text/plain") && !accepted.contains("text/vnd.mermaid");
    let media_type = if plain { "text/plain; charset=utf-8" } else { "text/vnd.mermaid; charset=utf-8" };
    ([(header::CONTENT_TYPE, media_type)], text)
}
