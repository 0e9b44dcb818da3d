//! `orchctl schedule`: what starts instances by itself, once or again and again.

use clap::{ArgGroup, Args, Subcommand};
use reqwest::header::HeaderMap;
use serde_json::{Value as Json, json};

use super::client::{Client, Page};
use super::error::Error;
use super::listing::Listing;
use super::order::{Wait, schema_of};
use super::output::Column;
use super::update::Update;
use super::{Context, input};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the schedules.
    #[command(after_help = "Examples:
  orchctl schedule list --sort-by next
  orchctl schedule list --service 'storage list' --enabled true")]
    List(List),
    /// Show a schedule.
    #[command(after_help = "Example: orchctl schedule show nightly-list")]
    Show(Name),
    /// Make a schedule.
    #[command(after_help = "Examples:
  orchctl schedule add nightly-list --service 'storage list' --cron '0 2 * * *' --time-zone Europe/Berlin what=volumes
  orchctl schedule add once --workflow storage/list-storage --at 2050-01-01T08:00:00Z what=hosts
  orchctl schedule add hourly --service 'storage list' --every PT1H --disabled
  orchctl schedule add nightly-list -f schedule.yaml")]
    Add(Box<Add>),
    /// Make a schedule, or put another one in its place.
    #[command(after_help = "Example: orchctl schedule set nightly-list --service 'storage list' --cron '0 3 * * *'")]
    Set(Box<Add>),
    /// Change some members of a schedule.
    #[command(after_help = "Example: orchctl schedule update nightly-list cron='0 4 * * *' timeZone=UTC")]
    Update(Update),
    /// Let a schedule start instances.
    #[command(after_help = "Example: orchctl schedule enable nightly-list")]
    Enable(Name),
    /// Keep a schedule from starting instances; what runs goes on.
    #[command(after_help = "Example: orchctl schedule disable nightly-list")]
    Disable(Name),
    /// Start an instance now, beside the schedule's times.
    #[command(after_help = "Example: orchctl schedule run nightly-list --wait")]
    Run {
        /// Its name.
        name: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Remove a schedule; what runs goes on.
    #[command(after_help = "Example: orchctl schedule delete nightly-list")]
    Delete(Name),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only from packs, or only those made over the API.
    #[arg(long, value_parser = ["pack", "api"])]
    origin: Option<String>,
    /// Only those that order this service.
    #[arg(long)]
    service: Option<String>,
    /// Only those that start this workflow.
    #[arg(long)]
    workflow: Option<String>,
    /// Only those that start instances (true), or do not (false).
    #[arg(long, value_name = "BOOLEAN")]
    enabled: Option<bool>,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Debug, Args)]
pub(super) struct Name {
    /// Its name.
    name: String,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("when").args(["at", "cron", "every", "file"]).required(true))]
#[command(group = ArgGroup::new("what").args(["service", "workflow", "file"]).required(true).multiple(true))]
pub(super) struct Add {
    /// Its name.
    name: String,
    /// The service to order.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// The workflow to start, PACK/WORKFLOW; with --service the name of one of its workflows.
    #[arg(long, value_name = "PACK/WORKFLOW")]
    workflow: Option<String>,
    /// Once, at this time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Again and again: minute, hour, day of the month, month, day of the week.
    #[arg(long, value_name = "FIELDS")]
    cron: Option<String>,
    /// Again and again, with so much time in between, `PT1H`.
    #[arg(long, value_name = "DURATION")]
    every: Option<String>,
    /// Where the clock of --cron hangs, `Europe/Berlin` [default: UTC]
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Make it without starting anything until it is enabled.
    #[arg(long)]
    disabled: bool,
    /// The schedule as YAML or JSON, with the members of the API (- for standard input).
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    /// The input as JSON, or @FILE that holds it; members are set in it.
    #[arg(long, value_name = "JSON|@FILE")]
    input: Option<String>,
    /// The input's members, as `orchctl run` takes them.
    #[arg(value_name = "KEY=VALUE")]
    members: Vec<String>,
}

const LIST: &[Column] = &[
    ("NAME", &["/name"]),
    ("STARTS", &["/service", "/workflow"]),
    ("WHEN", &["/cron", "/every", "/at", "/after", "/on"]),
    ("ENABLED", &["/enabled"]),
    ("NEXT", &["/next"]),
    ("LAST", &["/last/at"]),
];

const WIDE: &[Column] = &[
    ("LAST INSTANCE", &["/last/instance"]),
    ("PROBLEM", &["/last/problem/detail", "/last/problem"]),
    ("ORIGIN", &["/origin"]),
    ("PACK", &["/pack"]),
    ("CREATED BY", &["/createdBy"]),
];

const SHOW: &[Column] = &[
    ("Name", &["/name"]),
    ("Description", &["/description"]),
    ("Service", &["/service"]),
    ("Pack", &["/pack"]),
    ("Workflow", &["/workflow"]),
    ("At", &["/at"]),
    ("Cron", &["/cron"]),
    ("Every", &["/every"]),
    ("Time zone", &["/timeZone"]),
    ("Enabled", &["/enabled"]),
    ("Next", &["/next"]),
    ("Last", &["/last/at"]),
    ("Last instance", &["/last/instance"]),
    ("Last problem", &["/last/problem/detail", "/last/problem"]),
    ("Origin", &["/origin"]),
    ("Created by", &["/createdBy"]),
    ("Input", &["/input"]),
];

impl Command {
    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        let client = context.client()?;
        match self {
            Self::List(list) => {
                let enabled = list.enabled.map(|enabled| enabled.to_string());
                let given = [
                    ("origin", list.origin.as_deref()),
                    ("service", list.service.as_deref()),
                    ("workflow", list.workflow.as_deref()),
                    ("enabled", enabled.as_deref()),
                ];
                let query: Vec<_> = given.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
                let all = client.all(&["schedules"], &query, Page::WHOLE).await?;
                context.output.list_wide(&list.listing.apply(all)?, LIST, WIDE)
            }
            Self::Show(Name { name }) => context.output.thing(&client.get(&["schedules", name], &[]).await?, SHOW),
            Self::Add(add) => {
                let body = add.body(&client).await?;
                context.output.thing(&client.post(&["schedules"], &body, HeaderMap::new()).await?, SHOW)
            }
            Self::Set(set) => {
                let body = set.body(&client).await?;
                context.output.thing(&client.put(&["schedules", &set.name], &body).await?, SHOW)
            }
            Self::Update(update) => {
                let patch = update.changes()?;
                context.output.thing(&client.patch(&["schedules", &update.name], &patch).await?, SHOW)
            }
            Self::Enable(Name { name }) => switch(context, &client, name, true).await,
            Self::Disable(Name { name }) => switch(context, &client, name, false).await,
            Self::Run { name, wait } => {
                let started = client.post(&["schedules", name, "run"], &json!({}), HeaderMap::new()).await?;
                wait.followed(context, &client, &started).await
            }
            Self::Delete(Name { name }) => {
                client.delete(&["schedules", name], &[]).await?;
                context.output.said(&format!("schedule `{name}` is removed"), &json!({ "name": name }))
            }
        }
    }
}

async fn switch(context: &Context, client: &Client, name: &str, enabled: bool) -> Result<(), Error> {
    let changed = client.patch(&["schedules", name], &json!({ "enabled": enabled })).await?;
    let how = if enabled { "starts instances" } else { "starts no more instances" };
    context.output.said(&format!("schedule `{name}` {how}"), &changed)
}

impl Add {
    /// The schedule as the API takes it.
    async fn body(&self, client: &Client) -> Result<Json, Error> {
        let mut body = match &self.file {
            Some(file) => input::mapping(file)?,
            None => json!({}),
        };
        body["name"] = json!(self.name);
        self.set_target(&mut body)?;
        let when = [
            ("description", &self.description),
            ("at", &self.at),
            ("cron", &self.cron),
            ("every", &self.every),
            ("timeZone", &self.time_zone),
        ];
        for (member, value) in when.into_iter().filter_map(|(member, value)| Some((member, value.as_ref()?))) {
            body[member] = json!(value);
        }
        if self.disabled {
            body["enabled"] = json!(false);
        }
        if self.input.is_some() || !self.members.is_empty() {
            let schema = self.schema(client, &body).await?;
            let base = self.input.as_deref().map(input::read).transpose()?.or_else(|| body.get("input").cloned());
            body["input"] = input::merge(base, &self.members, &schema).map_err(Error::Usage)?;
        }
        Ok(body)
    }

    fn set_target(&self, body: &mut Json) -> Result<(), Error> {
        match (&self.service, &self.workflow) {
            (Some(service), workflow) => {
                body["service"] = json!(service);
                if let Some(workflow) = workflow {
                    body["workflow"] = json!(workflow);
                }
            }
            (None, Some(workflow)) => {
                let (pack, workflow) = super::workflow::split(workflow)?;
                (body["pack"], body["workflow"]) = (json!(pack), json!(workflow));
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// What the input has to fit; words are read by its types.
    async fn schema(&self, client: &Client, body: &Json) -> Result<Json, Error> {
        let text = |key: &str| body.get(key).and_then(Json::as_str);
        let described = match (text("service"), text("pack"), text("workflow")) {
            (Some(service), ..) => vec!["services", service],
            (None, Some(pack), Some(workflow)) => vec!["workflows", pack, workflow],
            _ => return Ok(Json::Null),
        };
        Ok(schema_of(&client.get(&described, &[]).await?).clone())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::settings::Access;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        add: Add,
    }

    async fn body(arguments: &[&str]) -> Result<Json, String> {
        let line = Line::try_parse_from(["add", "s"].iter().chain(arguments)).map_err(|error| error.to_string())?;
        let client = Client::new(&Access::to("http://127.0.0.1:1")).unwrap();
        line.add.body(&client).await.map_err(|error| format!("{error:?}"))
    }

    #[tokio::test]
    async fn words_become_a_schedule() {
        let nightly = body(&["--service", "x y", "--cron", "0 2 * * *", "--time-zone", "UTC", "--disabled"]).await;
        let expected = json!({"name": "s", "service": "x y", "cron": "0 2 * * *", "timeZone": "UTC", "enabled": false});
        assert_eq!(nightly, Ok(expected));
        let once = body(&["--workflow", "p/w", "--at", "2026-12-01T08:00:00Z"]).await;
        assert_eq!(once, Ok(json!({"name": "s", "pack": "p", "workflow": "w", "at": "2026-12-01T08:00:00Z"})));
    }

    #[tokio::test]
    async fn a_schedule_has_something_to_start_and_one_time_to_do_it() {
        for arguments in
            [&["--service", "x"][..], &["--cron", "* * * * *"], &["--service", "x", "--at", "a", "--every", "b"]]
        {
            assert!(body(arguments).await.is_err(), "{arguments:?}");
        }
        assert!(body(&["--workflow", "w", "--every", "PT1H"]).await.is_err());
    }
}
