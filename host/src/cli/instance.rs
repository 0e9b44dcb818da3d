//! `orchctl instance`: what runs and what ran.

mod list;
mod logs;
mod tree;

use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::header::HeaderMap;
use serde_json::{Value as Json, json};

use super::client::{Client, Page};
use super::error::Error;
use super::listing::Listing;
use super::order::{Wait, duration};
use super::output::{Column, cell, line};
use super::{Context, event, follow_up, input, soda, watch};

pub(super) use list::resolve;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List instances, newest first.
    #[command(after_help = "Examples:
  orchctl instance list --status running --service 'volume provision'
  orchctl instance list --created-after 2026-11-01T00:00:00Z --all -o csv
  orchctl -t default instance list")]
    List(list::List),
    /// Show an instance; with -i as SODA's interface has it.
    #[command(after_help = "Examples:
  orchctl instance get 0195b0c0-2f7e-7000-8000-000000000001
  orchctl instance get latest -o jsonpath=.output
  orchctl -t default instance get -i 0195b0c0-2f7e-7000-8000-000000000001

An instance is named by its identifier, by the beginning or the end of it where only one fits, or by `latest`.")]
    Get(Which),
    /// Order a service by SODA's interface.
    #[command(after_help = "Examples:
  orchctl -t default instance run -d @soda-order.json
  orchctl -a keystone.example -u admin -p PASSWORD --orch_ip 127.0.0.1 --orch_port 8080 instance run -d @soda-order.json")]
    Run(SodaRun),
    /// Ask for an instance to be cancelled.
    #[command(after_help = "Example: orchctl instance cancel 0195b0c0-2f7e-7000-8000-000000000001")]
    Cancel(Ids),
    /// Suspend an instance: what is out ends, nothing new begins.
    #[command(after_help = "Example: orchctl instance suspend 0195b0c0-2f7e-7000-8000-000000000001")]
    Suspend(Ids),
    /// Let a suspended instance go on, or try again to take it up.
    #[command(after_help = "Example: orchctl instance resume 0195b0c0-2f7e-7000-8000-000000000001")]
    Resume(Ids),
    /// Let a faulted instance go on from the task that failed.
    #[command(after_help = "Example: orchctl instance retry 0195b0c0-2f7e-7000-8000-000000000001")]
    Retry(Ids),
    /// Start the same again, with changes to the input where they are given.
    #[command(after_help = "Examples:
  orchctl instance rerun 0195b0c0-2f7e-7000-8000-000000000001 --wait
  orchctl instance rerun latest size=20")]
    Rerun(Rerun),
    /// Show what would start the same again, as `orchctl run --input` takes it.
    #[command(after_help = "Example: orchctl instance prefill latest -o json")]
    Prefill(Id),
    /// Delete instances that have ended, with their history; with -i by SODA's interface.
    #[command(after_help = "Examples:
  orchctl instance delete 0195b0c0-2f7e-7000-8000-000000000001
  orchctl -t default instance delete -i 0195b0c0-2f7e-7000-8000-000000000001")]
    Delete(Delete),
    /// List an instance's tasks with their attempts.
    #[command(after_help = "Example: orchctl instance tasks 0195b0c0-2f7e-7000-8000-000000000001")]
    Tasks(Id),
    /// Show who started an instance, what it started, and its tasks with how long they took.
    #[command(after_help = "Example: orchctl instance tree 0195b0c0-2f7e-7000-8000-000000000001")]
    Tree(Id),
    /// List an instance's records.
    #[command(after_help = "Example: orchctl instance history 0195b0c0-2f7e-7000-8000-000000000001 -o json")]
    History(History),
    /// List what an instance's attempts logged.
    #[command(after_help = "Examples:
  orchctl instance logs 0195b0c0-2f7e-7000-8000-000000000001
  orchctl instance logs latest -f --level warn")]
    Logs(logs::Logs),
    /// Draw an instance as a Mermaid flowchart.
    #[command(after_help = "Example: orchctl instance diagram latest > instance.mmd")]
    Diagram(Id),
    /// Print an instance's events as they come, one JSON value on a line.
    #[command(after_help = "Example: orchctl instance events 0195b0c0-2f7e-7000-8000-000000000001")]
    Events(Id),
    /// Follow an instance to its end; exits with 1 if it does not complete.
    #[command(after_help = "Example: orchctl instance watch 0195b0c0-2f7e-7000-8000-000000000001 --timeout 10m")]
    Watch(Watch),
    /// List what a finished instance recommends to run next.
    #[command(after_help = "Example: orchctl instance follow-ups 0195b0c0-2f7e-7000-8000-000000000001")]
    FollowUps(Id),
    /// Order what a finished instance recommends; what it knows already is prefilled.
    FollowUp(Box<follow_up::FollowUp>),
}

#[derive(Debug, Args)]
pub(super) struct Id {
    /// The instance.
    id: String,
}

#[derive(Debug, Args)]
pub(super) struct Ids {
    /// The instances.
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// The instance.
    #[arg(required_unless_present = "soda_id", conflicts_with = "soda_id")]
    id: Option<String>,
    /// SODA's identifier of it, which is the same.
    #[arg(short = 'i', long = "id", value_name = "ID")]
    soda_id: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// The instances.
    #[arg(required_unless_present = "soda_id", conflicts_with = "soda_id", value_name = "ID")]
    ids: Vec<String>,
    /// SODA's identifier of it, which is the same.
    #[arg(short = 'i', long = "id", value_name = "ID")]
    soda_id: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct SodaRun {
    /// The order as JSON, with the members of SODA's interface; or @FILE that holds it.
    #[arg(short, long, value_name = "JSON|@FILE")]
    data: String,
}

#[derive(Debug, Args)]
pub(super) struct Rerun {
    /// The instance.
    id: String,
    /// What becomes of a member of the input; `KEY:=JSON` takes JSON, `null` removes it.
    #[arg(value_name = "KEY=VALUE")]
    members: Vec<String>,
    /// The changes as JSON (RFC 7396), or @FILE that holds them.
    #[arg(long, value_name = "JSON|@FILE")]
    input: Option<String>,
    /// A name for the new instance.
    #[arg(long)]
    name: Option<String>,
    /// Run the newest version of the pack, not the one that the instance ran.
    #[arg(long)]
    latest: bool,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Debug, Args)]
pub(super) struct History {
    /// The instance.
    id: String,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Debug, Args)]
pub(super) struct Watch {
    /// The instance.
    id: String,
    /// Stop following after so long, `90s`, `5m` or `1h30m`; the instance goes on, and the exit code is 9.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
}

const SHOW: &[Column] = &[
    ("Id", &["/id"]),
    ("Name", &["/name"]),
    ("Status", &["/status"]),
    ("Waiting for", &["/waitingFor"]),
    ("Service", &["/service"]),
    ("Workflow", &["/workflow"]),
    ("Pack", &["/pack"]),
    ("Pack version", &["/packVersion"]),
    ("Tenant", &["/tenant"]),
    ("Created by", &["/createdBy"]),
    ("Again after", &["/rerunOf"]),
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

const TASKS_WIDE: &[Column] = &[("REFERENCE", &["/reference"]), ("DUE", &["/due"]), ("OUTPUT", &["/output"])];

const PREFILL: &[Column] = &[
    ("Service", &["/service"]),
    ("Pack", &["/pack"]),
    ("Workflow", &["/workflow"]),
    ("Name", &["/name"]),
    ("Input", &["/input"]),
    ("Left out", &["/omitted"]),
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

/// What would start the same again.
pub(super) async fn prefill(client: &Client, id: &str) -> Result<Json, Error> {
    client.get(&["instances", id, "prefill"], &[]).await
}

/// Lists an instance's tasks.
pub(super) async fn tasks(context: &Context, id: &str) -> Result<(), Error> {
    let client = context.client()?;
    let id = resolve(&client, id).await?;
    let mut tasks = client.all(&["instances", &id, "tasks"], &[], Page::WHOLE).await?;
    if context.output.is_for_people() {
        dress_tasks(&mut tasks);
    }
    context.output.list_wide(&tasks, TASKS, TASKS_WIDE)
}

impl Command {
    /// Whether SODA's command line has it.
    pub(super) fn is_soda(&self) -> bool {
        match self {
            Self::List(_) | Self::Run(_) => true,
            Self::Get(which) => which.soda_id.is_some(),
            Self::Delete(delete) => delete.soda_id.is_some(),
            _ => false,
        }
    }

    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        match self {
            Self::List(_) if context.soda.is_given() => soda::list_instances(context).await,
            Self::List(list) => list.execute(context).await,
            Self::Get(Which { soda_id: Some(id), .. }) => soda::get_instance(context, id).await,
            Self::Get(Which { id, .. }) => {
                let client = context.client()?;
                let id = resolve(&client, id.as_deref().unwrap_or_default()).await?;
                show(context, &client.get(&["instances", &id], &[]).await?)
            }
            Self::Run(run) => soda::run_instance(context, &run.data).await,
            Self::Cancel(ids) => ids.each(context, "cancel", "is being cancelled").await,
            Self::Suspend(ids) => ids.each(context, "suspend", "is suspended").await,
            Self::Resume(ids) => ids.each(context, "resume", "goes on").await,
            Self::Retry(ids) => ids.each(context, "retry", "goes on from the task that failed").await,
            Self::Rerun(rerun) => rerun.execute(context).await,
            Self::Prefill(Id { id }) => {
                let client = context.client()?;
                let id = resolve(&client, id).await?;
                context.output.thing(&prefill(&client, &id).await?, PREFILL)
            }
            Self::Delete(delete) => delete.execute(context).await,
            Self::Tasks(Id { id }) => tasks(context, id).await,
            Self::Tree(Id { id }) => tree::show(context, id).await,
            Self::History(history) => history.execute(context).await,
            Self::Logs(logs) => logs.execute(context).await,
            Self::Diagram(Id { id }) => {
                let client = context.client()?;
                let id = resolve(&client, id).await?;
                line(client.text(&["instances", &id, "diagram"]).await?.trim_end())
            }
            Self::Events(Id { id }) => {
                let client = context.client()?;
                let id = resolve(&client, id).await?;
                let url = client.url(&["instances", &id, "events"]);
                event::stream(&client, url, &mut |name, data| {
                    context.output.datum(&json!({ "event": name, "data": data }))
                })
                .await
            }
            Self::Watch(watch) => {
                let client = context.client()?;
                let id = resolve(&client, &watch.id).await?;
                watch::to_the_end(context, &client, &id, watch.timeout).await
            }
            Self::FollowUps(Id { id }) => follow_up::list(context, id).await,
            Self::FollowUp(follow_up) => follow_up.execute(context).await,
        }
    }
}

impl Ids {
    /// Asks for the same of each; the first refusal ends it.
    async fn each(&self, context: &Context, verb: &str, said: &str) -> Result<(), Error> {
        let client = context.client()?;
        for id in &self.ids {
            let id = resolve(&client, id).await?;
            let answer = client.post(&["instances", &id, verb], &json!({}), HeaderMap::new()).await?;
            context.output.said(&format!("instance {id} {said}"), &answer)?;
        }
        Ok(())
    }
}

impl Delete {
    async fn execute(&self, context: &Context) -> Result<(), Error> {
        if let Some(id) = &self.soda_id {
            return soda::delete_instance(context, id).await;
        }
        let client = context.client()?;
        for id in &self.ids {
            let id = resolve(&client, id).await?;
            client.delete(&["instances", &id], &[]).await?;
            context.output.said(&format!("instance {id} is deleted"), &json!({ "id": id }))?;
        }
        Ok(())
    }
}

impl Rerun {
    async fn execute(&self, context: &Context) -> Result<(), Error> {
        let client = context.client()?;
        let id = resolve(&client, &self.id).await?;
        let mut body = json!({});
        if self.input.is_some() || !self.members.is_empty() {
            let base = self.input.as_deref().map(input::read).transpose()?;
            body["input"] = input::merge(base, &self.members, &Json::Null).map_err(Error::Usage)?;
        }
        if let Some(name) = &self.name {
            body["name"] = json!(name);
        }
        if self.latest {
            body["version"] = json!("latest");
        }
        let started = client.post(&["instances", &id, "rerun"], &body, HeaderMap::new()).await?;
        self.wait.followed(context, &client, &started).await
    }
}

impl History {
    async fn execute(&self, context: &Context) -> Result<(), Error> {
        let client = context.client()?;
        let id = resolve(&client, &self.id).await?;
        let history = client.all(&["instances", &id, "history"], &[], Page::RECORDS).await?;
        let mut history = self.listing.apply(history)?;
        if context.output.is_for_people() {
            dress_history(&mut history);
        }
        context.output.list(&history, HISTORY)
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
    use crate::cli::output::items;

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
