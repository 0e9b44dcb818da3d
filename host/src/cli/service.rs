//! `orchctl service`: what can be ordered, from packs and of one's own.

use clap::{Args, Subcommand};
use reqwest::header::HeaderMap;
use serde_json::{Value as Json, json};

use super::client::Page;
use super::error::Error;
use super::listing::Listing;
use super::order::{members_line, schema_of};
use super::output::{Column, line};
use super::update::Update;
use super::{Context, input, soda};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the services that can be ordered.
    #[command(after_help = "Examples:
  orchctl service list --group provisioning --tag storage
  orchctl -t default service list")]
    List(List),
    /// Show a service and what has to be said to order it.
    #[command(after_help = "Example: orchctl service show 'volume provision'")]
    Show(Name),
    /// Show a service; with -i as SODA's interface has it.
    #[command(after_help = "Examples:
  orchctl service get 'volume provision'
  orchctl --orch_ip 127.0.0.1 --orch_port 8080 -t default service get -i 5f0c66a1-9d5c-5e0d-a6a9-0c5f4a5b1c11")]
    Get(Get),
    /// Make a service; with -d by SODA's interface.
    #[command(after_help = "Examples:
  orchctl service add -f service.yaml
  orchctl -t default service add -d '{\"name\": \"p\", \"description\": \"d\", \"group\": \"g\", \"user_id\": \"u\", \"workflows\": [{\"definition_source\": \"opensds.snapshot-volume\"}]}'")]
    Add(Add),
    /// Make a service, or put another one in its place.
    #[command(after_help = "Example: orchctl service set 'nightly backup' -f service.yaml")]
    Set {
        /// Its name.
        name: String,
        /// The service as YAML or JSON, with the members of the API (- for standard input).
        #[arg(short, long, value_name = "FILE")]
        file: String,
    },
    /// Change some members of a service.
    #[command(after_help = "Examples:
  orchctl service update 'nightly backup' description='Snapshots a volume' group=backup
  orchctl service update 'nightly backup' --patch '{\"tags\": [\"nightly\"], \"icon\": null}'")]
    Update(Update),
    /// Let a service be ordered.
    #[command(after_help = "Example: orchctl service enable 'volume retire'")]
    Enable(Name),
    /// Keep a service from being ordered; what runs goes on.
    #[command(after_help = "Example: orchctl service disable 'volume retire'")]
    Disable(Name),
    /// Remove a service; a pack's service goes with its pack.
    #[command(after_help = "Example: orchctl service delete 'nightly backup'")]
    Delete(Name),
}

#[derive(Debug, Args)]
pub(super) struct Name {
    /// Its name.
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only of this group.
    #[arg(long)]
    group: Option<String>,
    /// Only with this tag.
    #[arg(long)]
    tag: Option<String>,
    /// Only from packs, or only those made over the API.
    #[arg(long, value_parser = ["pack", "api"])]
    origin: Option<String>,
    /// Only those that can be ordered (true), or cannot (false).
    #[arg(long, value_name = "BOOLEAN")]
    enabled: Option<bool>,
    /// Only with this text in name or description.
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Debug, Args)]
pub(super) struct Get {
    /// Its name.
    #[arg(required_unless_present = "id", conflicts_with = "id")]
    name: Option<String>,
    /// SODA's identifier of it.
    #[arg(short, long)]
    id: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// The service as YAML or JSON, with the members of the API (- for standard input).
    #[arg(short, long, value_name = "FILE", required_unless_present = "data", conflicts_with = "data")]
    file: Option<String>,
    /// The service as JSON, with the members of SODA's interface; or @FILE that holds it.
    #[arg(short, long, value_name = "JSON|@FILE")]
    data: Option<String>,
}

const LIST: &[Column] = &[
    ("NAME", &["/name"]),
    ("GROUP", &["/group"]),
    ("PACK", &["/pack"]),
    ("VERSION", &["/version", "/packVersion"]),
    ("DESCRIPTION", &["/description"]),
];

const WIDE: &[Column] = &[
    ("ORIGIN", &["/origin"]),
    ("ENABLED", &["/enabled"]),
    ("TAGS", &["/tags"]),
    ("CREATED BY", &["/createdBy"]),
    ("UPDATED", &["/updatedAt"]),
    ("ID", &["/id"]),
];

const SHOW: &[Column] = &[
    ("Name", &["/name"]),
    ("Id", &["/id"]),
    ("Group", &["/group"]),
    ("Description", &["/description"]),
    ("Tags", &["/tags"]),
    ("Origin", &["/origin"]),
    ("Enabled", &["/enabled"]),
    ("Pack", &["/pack"]),
    ("Version", &["/version", "/packVersion"]),
    ("Workflow", &["/workflow"]),
    ("Workflows", &["/workflowNames"]),
    ("Available", &["/available"]),
    ("Reason", &["/reason"]),
    ("Created by", &["/createdBy"]),
    ("Created", &["/createdAt"]),
    ("Updated", &["/updatedAt"]),
];

const INPUT: &[Column] = &[
    ("MEMBER", &["/name"]),
    ("TYPE", &["/type"]),
    ("REQUIRED", &["/required"]),
    ("DEFAULT", &["/default"]),
    ("DESCRIPTION", &["/description", "/title"]),
];

impl Command {
    /// Whether SODA's command line has it.
    pub(super) fn is_soda(&self) -> bool {
        match self {
            Self::List(_) => true,
            Self::Get(get) => get.id.is_some(),
            Self::Add(add) => add.data.is_some(),
            _ => false,
        }
    }

    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        match self {
            Self::List(_) if context.soda.is_given() => soda::list_services(context).await,
            Self::List(list) => list.execute(context).await,
            Self::Show(Name { name }) | Self::Get(Get { name: Some(name), .. }) => show(context, name).await,
            Self::Get(Get { id, .. }) => soda::get_service(context, id.as_deref().unwrap_or_default()).await,
            Self::Add(Add { data: Some(data), .. }) => soda::add_service(context, data).await,
            Self::Add(Add { file, .. }) => {
                let body = input::mapping(file.as_deref().unwrap_or("-"))?;
                let made = context.client()?.post(&["services"], &body, HeaderMap::new()).await?;
                context.output.thing(&dressed(made), SHOW)
            }
            Self::Set { name, file } => {
                let mut body = input::mapping(file)?;
                body["name"] = json!(name);
                let set = context.client()?.put(&["services", name], &body).await?;
                context.output.thing(&dressed(set), SHOW)
            }
            Self::Update(update) => {
                let patch = update.changes()?;
                let changed = context.client()?.patch(&["services", &update.name], &patch).await?;
                context.output.thing(&dressed(changed), SHOW)
            }
            Self::Enable(Name { name }) => switch(context, name, true).await,
            Self::Disable(Name { name }) => switch(context, name, false).await,
            Self::Delete(Name { name }) => {
                context.client()?.delete(&["services", name], &[]).await?;
                context.output.said(&format!("service `{name}` is removed"), &json!({ "name": name }))
            }
        }
    }
}

impl List {
    async fn execute(&self, context: &Context) -> Result<(), Error> {
        let enabled = self.enabled.map(|enabled| enabled.to_string());
        let given = [
            ("group", self.group.as_deref()),
            ("tag", self.tag.as_deref()),
            ("origin", self.origin.as_deref()),
            ("enabled", enabled.as_deref()),
            ("q", self.search.as_deref()),
        ];
        let query: Vec<_> = given.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        let list = context.client()?.all(&["services"], &query, Page::WHOLE).await?;
        context.output.list_wide(&self.listing.apply(list)?, LIST, WIDE)
    }
}

async fn show(context: &Context, name: &str) -> Result<(), Error> {
    let service = context.client()?.get(&["services", name], &[]).await?;
    let members = input::members(schema_of(&service));
    let order = format!("orchctl run '{name}' {}", members_line(schema_of(&service)));
    context.output.thing(&dressed(service), SHOW)?;
    if !context.output.is_for_people() {
        return Ok(());
    }
    if !members.is_empty() {
        line("")?;
        context.output.list(&json!({ "items": members }), INPUT)?;
    }
    line(&format!("\nOrder it: {}", order.trim_end()))
}

/// Adds the names of its workflows, where it has several.
fn dressed(mut service: Json) -> Json {
    let workflows = service.get("workflows").and_then(Json::as_array).into_iter().flatten();
    let names: Vec<Json> = workflows.filter_map(|workflow| workflow.get("name")).cloned().collect();
    if names.len() > 1 {
        service["workflowNames"] = json!(names);
    }
    service
}

async fn switch(context: &Context, name: &str, enabled: bool) -> Result<(), Error> {
    let changed = context.client()?.patch(&["services", name], &json!({ "enabled": enabled })).await?;
    let how = if enabled { "can be ordered" } else { "cannot be ordered any more" };
    context.output.said(&format!("service `{name}` {how}"), &changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_workflows_are_told_by_name() {
        let several = dressed(json!({"workflows": [{"name": "a"}, {"name": "b"}]}));
        assert_eq!(several["workflowNames"], json!(["a", "b"]));
        assert!(dressed(json!({"workflows": [{"name": "a"}]})).get("workflowNames").is_none());
    }
}
