//! `orchctl run`, and what every start of an instance has in common: the input from words, questions on a terminal, a
//! look at what would be sent, and following it to its end.

use std::time::Duration;

use clap::Args;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::{Value as Json, json};

use super::client::Client;
use super::error::Error;
use super::output::{line, plain};
use super::{Context, ask, input, instance, watch};
use crate::definition::schema;

/// Orders a service.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  orchctl run 'volume provision' name=data size=10 hostId=db1 --wait
  orchctl run 'volume provision' name=data size=10 hostId=db1 --dry-run
  orchctl run 'volume provision' --input @order.json --idempotency-key order-17
  orchctl run 'volume provision' --from 0195b0c0-2f7e-7000-8000-000000000001 size=20 --wait --timeout 2h

On a terminal it asks for what is required and not given; --ask asks for everything, --no-ask for nothing.")]
pub(super) struct Run {
    /// The service's name.
    service: String,
    /// Which of the service's workflows, where it has several.
    #[arg(long, value_name = "NAME")]
    workflow: Option<String>,
    /// Begin with the input of an earlier instance.
    #[arg(long, value_name = "ID")]
    from: Option<String>,
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
    /// Starting twice with the same key starts one instance.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Print what would be sent, checked against the schema, and send nothing.
    #[arg(long)]
    dry_run: bool,
    /// Ask for every member that is not given, also for those that may be left out.
    #[arg(long, conflicts_with = "no_ask")]
    ask: bool,
    /// Never ask for what is missing.
    #[arg(long)]
    no_ask: bool,
    #[command(flatten)]
    wait: Wait,
}

/// Following what was started.
#[derive(Debug, Clone, Args)]
pub(super) struct Wait {
    /// Follow it to its end; exits with 1 if it does not complete.
    #[arg(long, short)]
    wait: bool,
    /// Stop following after so long, `90s`, `5m` or `1h30m`; the instance goes on, and the exit code is 9.
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "wait")]
    timeout: Option<Duration>,
}

/// Reads `90s`, `5m`, `1h 30m` or `PT5M`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let read = text.parse::<jiff::SignedDuration>().map_err(|error| error.to_string());
    let read = read.and_then(|duration| Duration::try_from(duration).map_err(|_| "it is negative".to_owned()));
    read.map_err(|reason| format!("{reason}; write `90s`, `5m` or `1h30m`"))
}

impl Run {
    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        let client = context.client()?;
        let mut of = json!({ "service": self.service });
        if let Some(workflow) = &self.workflow {
            of["workflow"] = json!(workflow);
        }
        if let Some(earlier) = &self.from {
            let earlier = instance::resolve(&client, earlier).await?;
            of["input"] = instance::prefill(&client, &earlier).await?["input"].take();
        }
        self.start.execute(context, &client, of, &["services", &self.service]).await
    }
}

impl Start {
    /// Starts what `of` names, perhaps with an input to begin with; `described` is where its schema is.
    pub(super) async fn execute(
        &self,
        context: &Context,
        client: &Client,
        of: Json,
        described: &[&str],
    ) -> Result<(), Error> {
        // Only what reads by types, asks or checks needs the schema; JSON says its own types.
        let needed = !self.members.is_empty() || self.dry_run || self.asks();
        let schema = match needed {
            true => schema_of(&client.get(described, &[]).await?).clone(),
            false => Json::Null,
        };
        self.order(context, client, &["instances"], of, &schema).await
    }

    /// Starts what an address stands for, whose input has this schema.
    pub(super) async fn order(
        &self,
        context: &Context,
        client: &Client,
        at: &[&str],
        mut body: Json,
        schema: &Json,
    ) -> Result<(), Error> {
        let begun = body.get_mut("input").map(Json::take);
        body["input"] = self.completed(begun, schema)?;
        if let Some(name) = &self.name {
            body["name"] = json!(name);
        }
        if let Some(members) = body.as_object_mut() {
            members.retain(|_, value| !value.is_null());
        }
        match self.dry_run {
            true => rehearsed(context, client, at, &body, schema),
            false => self.send(context, client, at, &body).await,
        }
    }

    /// The input of a run on this machine, whose schema is at hand.
    pub(super) fn local_input(&self, schema: &Json) -> Result<Json, Error> {
        if self.wait.wait || self.name.is_some() || self.idempotency_key.is_some() || self.dry_run {
            let reason =
                "--wait, --name, --idempotency-key and --dry-run are for a server; a file is run here, to its end";
            return Err(Error::Usage(reason.to_owned()));
        }
        self.completed(None, schema)
    }

    /// The input from all that is given and, where somebody sits there, what she answers.
    fn completed(&self, begun: Option<Json>, schema: &Json) -> Result<Json, Error> {
        let base = self.input.as_deref().map(input::read).transpose()?;
        let base = match (begun, base) {
            (Some(mut begun), Some(base)) => {
                input::patch(&mut begun, &base);
                Some(begun)
            }
            (begun, base) => begun.or(base),
        };
        let mut input = input::merge(base, &self.members, schema).map_err(Error::Usage)?;
        if self.asks() {
            ask::complete(&mut input, schema, self.ask)?;
        }
        Ok(input)
    }

    fn asks(&self) -> bool {
        self.ask || (!self.no_ask && ask::is_possible())
    }

    async fn send(&self, context: &Context, client: &Client, at: &[&str], body: &Json) -> Result<(), Error> {
        let mut headers = HeaderMap::new();
        // Who waits wants one instance, also over a connection that breaks; a key of our own sees to that.
        let own = self.wait.wait.then(|| uuid::Uuid::now_v7().to_string());
        if let Some(key) = self.idempotency_key.as_ref().or(own.as_ref()) {
            let value = HeaderValue::from_str(key)
                .map_err(|_| Error::Usage("an idempotency key has only visible ASCII characters".to_owned()))?;
            headers.insert("idempotency-key", value);
        }
        let started = match self.wait.wait {
            true => client.post_surely(at, body, headers).await?,
            false => client.post(at, body, headers).await?,
        };
        self.wait.followed(context, client, &started).await
    }
}

impl Wait {
    /// Follows what was started, if that is wanted; else shows it.
    pub(super) async fn followed(&self, context: &Context, client: &Client, started: &Json) -> Result<(), Error> {
        if !self.wait {
            return instance::show(context, started);
        }
        let id = started.get("id").and_then(Json::as_str);
        let id = id.ok_or_else(|| Error::Failed("the server's answer has no instance id".to_owned()))?;
        watch::to_the_end(context, client, id, self.timeout).await
    }
}

/// Shows what would be sent, and everything that the schema has against it.
fn rehearsed(context: &Context, client: &Client, at: &[&str], body: &Json, schema: &Json) -> Result<(), Error> {
    let request = json!({ "method": "POST", "url": client.url(at).as_str(), "body": body });
    match context.output.is_for_people() {
        true => line(&format!("POST {}\n{}", client.url(at), serde_json::to_string_pretty(body).unwrap_or_default()))?,
        false => context.output.data(&request)?,
    }
    let faults = faults(&body["input"], schema)?;
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Error::Failed(format!("the input does not fit the schema\n  - {}", faults.join("\n  - ")))),
    }
}

/// What a schema has against an input, in the words that give its members.
fn faults(input: &Json, schema: &Json) -> Result<Vec<String>, Error> {
    const SHOWN_MAX: usize = 100; // A longer list is not read.
    if schema.is_null() {
        return Ok(Vec::new());
    }
    let validator = schema::compile(schema).map_err(|error| Error::Failed(format!("read the schema: {error}")))?;
    let told = validator.iter_errors(input).take(SHOWN_MAX).map(|error| {
        let place = error.instance_path().to_string().trim_start_matches('/').replace('/', ".");
        match place.is_empty() {
            true => error.to_string(),
            false => format!("{place}=…: {error}"),
        }
    });
    Ok(told.collect())
}

/// The schema of what a service or a workflow takes.
pub(super) fn schema_of(described: &Json) -> &Json {
    const NONE: &Json = &Json::Null;
    described.get("inputSchema").or_else(|| described.get("input")).unwrap_or(NONE)
}

/// The members that a service takes, in one line.
pub(super) fn members_line(schema: &Json) -> String {
    let members = input::members(schema);
    let word = |member: &Json| {
        let (name, required) = (plain(&member["name"]), member["required"] == "yes");
        if required { format!("{name}=…") } else { format!("[{name}=…]") }
    };
    members.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_people_do() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("1h30m", 5_400), ("PT5M", 300)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "5", "-5m", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_fault_of_an_input_is_told_by_its_word() {
        let schema = json!({"required": ["name"], "properties": {"a": {"properties": {"b": {"type": "integer"}}}}});
        let told = faults(&json!({"a": {"b": "x"}}), &schema).unwrap();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().any(|fault| fault.starts_with("a.b=…: ")), "{told:?}");
        assert_eq!(faults(&json!(1), &Json::Null).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_service_says_in_a_line_what_it_takes() {
        let schema = json!({"required": ["size"], "properties": {"size": {}, "note": {}}});
        assert_eq!(members_line(&schema), "size=… [note=…]");
    }
}
