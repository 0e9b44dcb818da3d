//! `orchctl instance`: what runs and what ran.

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::client::Page;
use super::error::Error;
use super::output::{Column, cell, items, line};
use super::{Context, follow_up, watch};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List instances, newest first.
    #[command(after_help = "Example: orchctl instance list --status running --service 'volume provision'")]
    List(List),
    /// Show an instance.
    #[command(after_help = "Example: orchctl instance get 0195b0c0-2f7e-7000-8000-000000000001")]
    Get(Id),
    /// Ask for an instance to be cancelled.
    #[command(after_help = "Example: orchctl instance cancel 0195b0c0-2f7e-7000-8000-000000000001")]
    Cancel(Id),
    /// Suspend an instance: what is out ends, nothing new begins.
    #[command(after_help = "Example: orchctl instance suspend 0195b0c0-2f7e-7000-8000-000000000001")]
    Suspend(Id),
    /// Let a suspended instance go on, or try again to take it up.
    #[command(after_help = "Example: orchctl instance resume 0195b0c0-2f7e-7000-8000-000000000001")]
    Resume(Id),
    /// Let a faulted instance go on from the task that failed.
    #[command(after_help = "Example: orchctl instance retry 0195b0c0-2f7e-7000-8000-000000000001")]
    Retry(Id),
    /// Delete an instance that has ended, with its history.
    #[command(after_help = "Example: orchctl instance delete 0195b0c0-2f7e-7000-8000-000000000001")]
    Delete(Id),
    /// List an instance's tasks with their attempts.
    #[command(after_help = "Example: orchctl instance tasks 0195b0c0-2f7e-7000-8000-000000000001")]
    Tasks(Id),
    /// List an instance's records.
    #[command(after_help = "Example: orchctl instance history 0195b0c0-2f7e-7000-8000-000000000001 -o json")]
    History(Id),
    /// List what an instance's attempts logged.
    #[command(after_help = "Example: orchctl instance logs 0195b0c0-2f7e-7000-8000-000000000001")]
    Logs(Id),
    /// Follow an instance to its end; exits with 1 if it does not complete.
    #[command(after_help = "Example: orchctl instance watch 0195b0c0-2f7e-7000-8000-000000000001")]
    Watch(Id),
    /// List what a finished instance recommends to run next.
    #[command(after_help = "Example: orchctl instance follow-ups 0195b0c0-2f7e-7000-8000-000000000001")]
    FollowUps(Id),
    /// Order what a finished instance recommends; what it knows already is prefilled.
    FollowUp(follow_up::FollowUp),
}

#[derive(Debug, Args)]
pub(super) struct Id {
    /// The instance's identifier.
    id: String,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only with this status.
    #[arg(long, value_parser = ["pending", "running", "waiting", "suspended", "cancelled", "faulted", "completed"])]
    status: Option<String>,
    /// Only of this service.
    #[arg(long)]
    service: Option<String>,
    /// Only of this workflow.
    #[arg(long)]
    workflow: Option<String>,
    /// At most so many, 1 to 200.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    limit: u16,
    /// Where the page starts, as the one before told.
    #[arg(long)]
    cursor: Option<String>,
}

const LIST: &[Column] = &[
    ("ID", &["/id"]),
    ("STATUS", &["/status"]),
    ("SERVICE", &["/service", "/workflow"]),
    ("NAME", &["/name"]),
    ("CREATED", &["/createdAt"]),
    ("ENDED", &["/endedAt"]),
];

const SHOW: &[Column] = &[
    ("Id", &["/id"]),
    ("Name", &["/name"]),
    ("Status", &["/status"]),
    ("Waiting for", &["/waitingFor"]),
    ("Service", &["/service"]),
    ("Workflow", &["/workflow"]),
    ("Pack", &["/pack"]),
    ("Pack version", &["/packVersion"]),
    ("Created", &["/createdAt"]),
    ("Ended", &["/endedAt"]),
    ("Input", &["/input"]),
    ("Output", &["/output"]),
    ("Error", &["/error/title"]),
    ("Detail", &["/error/detail"]),
    ("Error type", &["/error/type"]),
    ("Task", &["/error/instance"]),
];

pub(super) const TASKS: &[Column] = &[
    ("TASK", &["/shown", "/name"]),
    ("STATUS", &["/status"]),
    ("ACTION", &["/action"]),
    ("ATTEMPTS", &["/tries"]),
    ("STARTED", &["/startedAt"]),
    ("ENDED", &["/endedAt"]),
    ("ERROR", &["/error/detail", "/error/title"]),
];

const HISTORY: &[Column] = &[
    ("SEQ", &["/seq"]),
    ("AT", &["/at"]),
    ("RECORD", &["/record"]),
    ("ACTIVATION", &["/activation"]),
    ("WHAT", &["/what"]),
];

/// Shows an instance.
pub(super) fn show(context: &Context, instance: &Json) -> Result<(), Error> {
    context.output.thing(instance, SHOW)
}

impl Command {
    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        let client = context.client()?;
        match self {
            Self::List(list) => list.execute(context).await,
            Self::Get(Id { id }) => show(context, &client.get(&["instances", id], &[]).await?),
            Self::Cancel(Id { id }) => {
                let answer = client.post(&["instances", id, "cancel"], &json!({}), Default::default()).await?;
                context.output.said(&format!("instance {id} is being cancelled"), &answer)
            }
            Self::Suspend(Id { id }) => {
                let answer = client.post(&["instances", id, "suspend"], &json!({}), Default::default()).await?;
                context.output.said(&format!("instance {id} is suspended"), &answer)
            }
            Self::Resume(Id { id }) => {
                let answer = client.post(&["instances", id, "resume"], &json!({}), Default::default()).await?;
                context.output.said(&format!("instance {id} goes on"), &answer)
            }
            Self::Retry(Id { id }) => {
                let answer = client.post(&["instances", id, "retry"], &json!({}), Default::default()).await?;
                context.output.said(&format!("instance {id} goes on from the task that failed"), &answer)
            }
            Self::Delete(Id { id }) => {
                client.delete(&["instances", id], &[]).await?;
                context.output.said(&format!("instance {id} is deleted"), &json!({ "id": id }))
            }
            Self::Tasks(Id { id }) => {
                let mut tasks = client.all(&["instances", id, "tasks"], &[], Page::WHOLE).await?;
                if context.output.is_for_people() {
                    dress_tasks(&mut tasks);
                }
                context.output.list(&tasks, TASKS)
            }
            Self::History(Id { id }) => {
                let mut history = client.all(&["instances", id, "history"], &[], Page::RECORDS).await?;
                if context.output.is_for_people() {
                    dress_history(&mut history);
                }
                context.output.list(&history, HISTORY)
            }
            Self::Logs(Id { id }) => {
                let logs = client.all(&["instances", id, "logs"], &[], Page::WHOLE).await?;
                match context.output.is_for_people() {
                    true => items(&logs).iter().try_for_each(|log| line(&log_line(log))),
                    false => context.output.data(&logs),
                }
            }
            Self::Watch(Id { id }) => watch::to_the_end(context, &client, id).await,
            Self::FollowUps(Id { id }) => follow_up::list(context, id).await,
            Self::FollowUp(follow_up) => follow_up.execute(context).await,
        }
    }
}

impl List {
    async fn execute(&self, context: &Context) -> Result<(), Error> {
        let limit = self.limit.to_string();
        let given = [
            ("status", &self.status),
            ("service", &self.service),
            ("workflow", &self.workflow),
            ("cursor", &self.cursor),
        ];
        let mut query: Vec<(&str, &str)> = vec![("limit", &limit)];
        query.extend(given.into_iter().filter_map(|(key, value)| Some((key, value.as_deref()?))));
        let list = context.client()?.get(&["instances"], &query).await?;
        context.output.list(&list, LIST)?;
        match list.get("next").and_then(Json::as_str) {
            Some(next) if context.output.is_for_people() => line(&format!("more: --cursor {next}")),
            _ => Ok(()),
        }
    }
}

/// Adds what a table of tasks shows: nesting, iterations, the number of attempts.
pub(super) fn dress_tasks(tasks: &mut Json) {
    let Some(items) = tasks.get_mut("items").and_then(Json::as_array_mut) else { return };
    let depths = depths(items);
    for (task, depth) in items.iter_mut().zip(depths) {
        let iteration =
            task.get("iteration").and_then(Json::as_u64).map(|number| format!(" [{number}]")).unwrap_or_default();
        let shown = format!("{}{}{iteration}", "  ".repeat(depth), task["name"].as_str().unwrap_or_default());
        let tries = task.get("attempts").and_then(Json::as_array).map(Vec::len).filter(|tries| *tries > 0);
        task["shown"] = json!(shown);
        task["tries"] = json!(tries);
    }
}

/// How deep each task lies in others; a parent stands before its children.
fn depths(tasks: &[Json]) -> Vec<usize> {
    let mut known = std::collections::HashMap::new();
    tasks
        .iter()
        .map(|task| {
            let parent = task.get("parent").and_then(Json::as_u64);
            let depth = parent.and_then(|parent| known.get(&parent)).map_or(0, |depth: &usize| depth + 1);
            if let Some(id) = task.get("id").and_then(Json::as_u64) {
                known.insert(id, depth);
            }
            depth
        })
        .collect()
}

/// Adds one word or two about what a record says.
fn dress_history(history: &mut Json) {
    let Some(items) = history.get_mut("items").and_then(Json::as_array_mut) else { return };
    for record in items {
        let pointers = [
            "/due",
            "/error/detail",
            "/error/title",
            "/status",
            "/secret",
            "/outcome/failed/problem/title",
            "/workflow",
        ];
        let mut what = cell(record, &pointers);
        if what == "-" {
            let attempt = record.get("attempt").map(|attempt| format!("attempt {attempt}"));
            let outcome = record.get("outcome").map(|outcome| match outcome {
                Json::String(text) => text.clone(),
                outcome => outcome.as_object().and_then(|outcome| outcome.keys().next().cloned()).unwrap_or_default(),
            });
            what = attempt.into_iter().chain(outcome).collect::<Vec<_>>().join(": ");
        }
        record["what"] = if what.is_empty() { Json::Null } else { json!(what) };
    }
}

/// A log line as people read it.
pub(super) fn log_line(log: &Json) -> String {
    let level = cell(log, &["/level"]).to_uppercase();
    format!("{} {level:5} {}", cell(log, &["/at"]), cell(log, &["/message"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_shown_with_their_nesting_and_attempts() {
        let mut tasks = json!({"items": [
            {"id": 1, "name": "copy", "attempts": []},
            {"id": 2, "parent": 1, "name": "one", "iteration": 0, "attempts": [{}, {}]},
            {"id": 3, "parent": 2, "name": "inner", "attempts": []},
        ]});
        dress_tasks(&mut tasks);
        let shown: Vec<_> =
            items(&tasks).iter().map(|task| (task["shown"].as_str().unwrap(), &task["tries"])).collect();
        assert_eq!(shown, [("copy", &Json::Null), ("  one [0]", &json!(2)), ("    inner", &Json::Null)]);
    }

    #[test]
    fn records_are_told_in_a_word_or_two() {
        let mut history = json!({"items": [
            {"record": "timer-set", "due": "2026-01-12T10:00:00Z"},
            {"record": "result", "attempt": 2, "outcome": {"ok": {"output": 1}}},
            {"record": "result", "attempt": 1, "outcome": "interrupted"},
            {"record": "left"},
        ]});
        dress_history(&mut history);
        let told: Vec<_> = items(&history).iter().map(|record| record["what"].clone()).collect();
        assert_eq!(
            told,
            [json!("2026-01-12T10:00:00Z"), json!("attempt 2: ok"), json!("attempt 1: interrupted"), Json::Null]
        );
    }

    #[test]
    fn a_log_line_reads_like_one() {
        let log = json!({"at": "2026-01-12T10:00:00.5Z", "level": "warn", "message": "slow"});
        assert_eq!(log_line(&log), "2026-01-12T10:00:00Z WARN  slow");
    }
}
