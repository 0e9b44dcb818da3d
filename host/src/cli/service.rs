//! `orchctl service` and `orchctl run`: what can be ordered, and ordering it.

use clap::{Args, Subcommand};
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::{Value as Json, json};

use super::Context;
use super::client::{Client, Page};
use super::error::Error;
use super::output::Column;
use super::{input, instance, watch};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the services that can be ordered.
    #[command(after_help = "Example: orchctl service list")]
    List,
    /// Show a service and what has to be said to order it.
    #[command(after_help = "Example: orchctl service show 'volume provision'")]
    Show {
        /// Its name.
        name: String,
    },
}

/// Orders a service.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  orchctl run 'volume provision' size=10 hostName=db1 --wait
  orchctl run 'migration bucket' --input @order.json --idempotency-key order-17")]
pub(super) struct Run {
    /// The service's name.
    service: String,
    #[command(flatten)]
    start: Start,
}

/// What starting takes, of a service as of a workflow.
#[derive(Debug, Args)]
pub(super) struct Start {
    /// The input's members. The value is read as the schema of the service says; `KEY:=JSON` takes JSON as it is, and
    /// `a.b=1` reaches into an object.
    #[arg(value_name = "KEY=VALUE")]
    members: Vec<String>,
    /// The input as JSON, or @FILE that holds it (@- for standard input); members are set in it.
    #[arg(long, value_name = "JSON|@FILE")]
    input: Option<String>,
    /// A name for the instance, for people.
    #[arg(long)]
    name: Option<String>,
    /// Follow it to its end; exits with 1 if it does not complete.
    #[arg(long, short)]
    wait: bool,
    /// Starting twice with the same key starts one instance.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

const LIST: &[Column] = &[
    ("NAME", &["/name"]),
    ("GROUP", &["/group"]),
    ("PACK", &["/pack"]),
    ("VERSION", &["/version", "/packVersion"]),
    ("DESCRIPTION", &["/description"]),
];

const SHOW: &[Column] = &[
    ("Name", &["/name"]),
    ("Group", &["/group"]),
    ("Description", &["/description"]),
    ("Pack", &["/pack"]),
    ("Version", &["/version", "/packVersion"]),
    ("Workflow", &["/workflow"]),
];

const INPUT: &[Column] = &[
    ("MEMBER", &["/name"]),
    ("TYPE", &["/type"]),
    ("REQUIRED", &["/required"]),
    ("DEFAULT", &["/default"]),
    ("DESCRIPTION", &["/description", "/title"]),
];

impl Command {
    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        let client = context.client()?;
        match self {
            Self::List => context.output.list(&client.all(&["services"], &[], Page::WHOLE).await?, LIST),
            Self::Show { name } => {
                let service = client.get(&["services", name], &[]).await?;
                context.output.thing(&service, SHOW)?;
                let members = input::members(schema_of(&service));
                match context.output.is_for_people() && !members.is_empty() {
                    true => context.output.list(&json!({ "items": members }), INPUT),
                    false => Ok(()),
                }
            }
        }
    }
}

impl Run {
    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        self.start.execute(context, json!({ "service": self.service }), &["services", &self.service]).await
    }
}

impl Start {
    /// Starts what `of` names; `described` is where its schema is.
    pub(super) async fn execute(&self, context: &Context, of: Json, described: &[&str]) -> Result<(), Error> {
        let client = context.client()?;
        let body = self.body(&client, of, described).await?;
        self.send(context, &client, &["instances"], &body).await
    }

    /// Starts what an address stands for, whose input has this schema.
    pub(super) async fn order(&self, context: &Context, at: &[&str], schema: &Json) -> Result<(), Error> {
        let base = self.input.as_deref().map(input::read).transpose()?;
        let mut body = json!({ "input": input::merge(base, &self.members, schema).map_err(Error::Usage)? });
        if let Some(name) = &self.name {
            body["name"] = json!(name);
        }
        self.send(context, &context.client()?, at, &body).await
    }

    async fn send(&self, context: &Context, client: &Client, at: &[&str], body: &Json) -> Result<(), Error> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &self.idempotency_key {
            let value = HeaderValue::from_str(key)
                .map_err(|_| Error::Usage("an idempotency key has only visible ASCII characters".to_owned()))?;
            headers.insert("idempotency-key", value);
        }
        let started = client.post(at, body, headers).await?;
        if !self.wait {
            return instance::show(context, &started);
        }
        let id = started.get("id").and_then(Json::as_str);
        let id = id.ok_or_else(|| Error::Failed("the server's answer has no instance id".to_owned()))?;
        watch::to_the_end(context, client, id).await
    }

    /// The input of a run on this machine, whose schema is at hand.
    pub(super) fn local_input(&self, schema: &Json) -> Result<Json, Error> {
        if self.wait || self.name.is_some() || self.idempotency_key.is_some() {
            let reason = "--wait, --name and --idempotency-key are for a server; a file is run here, to its end";
            return Err(Error::Usage(reason.to_owned()));
        }
        let base = self.input.as_deref().map(input::read).transpose()?;
        input::merge(base, &self.members, schema).map_err(Error::Usage)
    }

    async fn body(&self, client: &Client, mut body: Json, described: &[&str]) -> Result<Json, Error> {
        let base = self.input.as_deref().map(input::read).transpose()?;
        // Only members have to be read by the schema's types; JSON says its own.
        let schema = match self.members.is_empty() {
            true => Json::Null,
            false => schema_of(&client.get(described, &[]).await?).clone(),
        };
        let input = input::merge(base, &self.members, &schema).map_err(Error::Usage)?;
        body["input"] = input;
        if let Some(name) = &self.name {
            body["name"] = json!(name);
        }
        if let Some(members) = body.as_object_mut() {
            members.retain(|_, value| !value.is_null());
        }
        Ok(body)
    }
}

fn schema_of(described: &Json) -> &Json {
    const NONE: &Json = &Json::Null;
    described.get("inputSchema").or_else(|| described.get("input")).unwrap_or(NONE)
}
