//! `orchctl workflow run FILE`: runs the workflow in a file here, on a journal in memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value as Json, json};
use url::Url;

use super::desk::{Desk, report, text_of};
use crate::capability::HostPattern;
use crate::cli::Context;
use crate::cli::error::Error;
use crate::cli::input;
use crate::cli::order::Start;
use crate::cli::output::{Column, aside, line};
use crate::connection::declaration::Connection;
use crate::definition::yaml;
use crate::desk::actions::{DeskActions, pack_above};
use crate::desk::packs::{Given, Packs};
use crate::desk::perform::Ways;
use crate::desk::{self, Outcome, Plan, SharedActions, Time};
use crate::model::{ConnectionName, SecretName};

/// Bytes of a secret's file, at most; what a secret may have.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Bytes of a connection's file, at most; certificates are the most of it.
const CONNECTION_BYTES_MAX: u64 = 1 << 20;

/// What a run on this machine takes.
#[derive(Debug, Args)]
pub(super) struct Local {
    /// Waits are over at once: the clock jumps. Only for a file.
    #[arg(long)]
    skip_waits: bool,
    /// A host that calls may reach, `api.example` or `http://127.0.0.1:8080`; others are refused. Only for a file.
    #[arg(long = "allow-host", value_name = "HOST")]
    hosts: Vec<HostPattern>,
    /// A base URL that is asked in the place of a host, or that stands behind a connection a pack asks for. Only for a
    /// file.
    #[arg(long = "map", value_name = "HOST=URL", value_parser = mapping)]
    maps: Vec<(String, Url)>,
    /// A connection that a pack asks for, as `orchctl connection set -f` takes it; the secrets it names come from
    /// `--secret`. Only for a file.
    #[arg(long = "connection", value_name = "NAME=JSON|NAME=@FILE", value_parser = connection)]
    connections: Vec<(ConnectionName, Connection)>,
    /// Events, as a JSON array or one JSON object on each line: the next one comes each time everything waits. Only for
    /// a file.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// A secret. Only for a file.
    #[arg(long = "secret", value_name = "NAME=VALUE|NAME=@FILE", value_parser = secret)]
    secrets: Vec<(SecretName, Value)>,
}

/// A secret's value, which is never shown.
#[derive(Clone)]
pub(in crate::cli) struct Value(pub(in crate::cli) Vec<u8>);

impl std::fmt::Debug for Value {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("…")
    }
}

const TASKS: &[Column] = &[
    ("TASK", &["/name"]),
    ("STATUS", &["/status"]),
    ("STARTED", &["/started"]),
    ("ENDED", &["/ended"]),
    ("ITERATION", &["/iteration"]),
    ("ATTEMPTS", &["/attempts"]),
    ("REFERENCE", &["/reference"]),
];

impl Local {
    pub(super) fn is_empty(&self) -> bool {
        !self.skip_waits
            && self.hosts.is_empty()
            && self.maps.is_empty()
            && self.connections.is_empty()
            && self.events.is_none()
            && self.secrets.is_empty()
    }

    pub(super) async fn execute(&self, context: &Context, file: &str, start: &Start, desk: &Desk) -> Result<(), Error> {
        let outcome = self.outcome(Path::new(file), start, desk).await?;
        if !outcome.warnings.is_empty() {
            aside(&format!("{}\n", report(&outcome.warnings)));
        }
        let data = data(&outcome);
        match context.output.is_for_people() {
            true => tell(context, &outcome, &data)?,
            false => context.output.data(&data)?,
        }
        verdict(&outcome)
    }

    /// Runs it.
    pub(super) async fn outcome(&self, file: &Path, start: &Start, desk: &Desk) -> Result<Outcome, Error> {
        let text = text_of(file)?;
        let input = start.local_input(&schema_of(&text))?;
        let events = self.events.as_deref().map(read_events).transpose()?.unwrap_or_default();
        let tools = Arc::new(desk.tools()?);
        let at_hand = desk.at_hand(file)?;
        let given = self.given(file, desk);
        let packs = Packs::open(&given, tools.clone()).await.map_err(Error::Failed)?;
        // A pack that is installed knows its components as well.
        let installed = at_hand.own.as_ref().is_some_and(|own| packs.catalog.latest(own).is_some());
        let known: SharedActions = match desk.packs.is_empty() && !installed {
            true => at_hand.actions,
            false => packs.catalog.clone(),
        };
        let perform = packs.performer(&given).map_err(Error::Failed)?;
        let plan = Plan {
            path: file.display().to_string(),
            text,
            input,
            events,
            time: if self.skip_waits { Time::Skip(jiff::Timestamp::now()) } else { Time::Real },
            perform: Arc::new(perform),
            journal: desk::memory(),
            evaluator: tools.evaluator.clone(),
            siblings: at_hand.workflows,
            actions: Arc::new(DeskActions::new(known, at_hand.own, true)),
        };
        desk::run(plan).await.map_err(|findings| Error::Failed(report(&findings)))
    }

    fn given(&self, file: &Path, desk: &Desk) -> Given {
        let ways = Ways { allowed: self.hosts.clone(), mapped: self.maps.clone() };
        let secrets: BTreeMap<_, _> =
            self.secrets.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect();
        let connections = self.connections.iter().cloned().collect();
        Given { folders: desk.packs.clone(), own: pack_above(file), ways, secrets, connections }
    }
}

/// What a run gave, as data.
pub(in crate::cli) fn data(outcome: &Outcome) -> Json {
    let mut data = json!({
        "status": outcome.status, "output": outcome.output, "error": outcome.error, "tasks": outcome.tasks,
    });
    if let Some(reason) = &outcome.stopped {
        data["stopped"] = json!(reason);
    }
    data
}

pub(in crate::cli) fn tell(context: &Context, outcome: &Outcome, data: &Json) -> Result<(), Error> {
    line(&format!("status: {}", outcome.status.as_str()))?;
    let pretty = |value: &Json| serde_json::to_string_pretty(value).expect("JSON can always be written as text");
    for part in ["output", "error"].iter().filter(|part| !data[**part].is_null()) {
        line(&format!("{part}: {}", pretty(&data[*part])))?;
    }
    match outcome.tasks.is_empty() {
        true => Ok(()),
        false => context.output.list(&json!({ "items": data["tasks"] }), TASKS),
    }
}

/// What the exit code says.
pub(in crate::cli) fn verdict(outcome: &Outcome) -> Result<(), Error> {
    use crate::desk::Status;
    let error = || {
        let error = outcome.error.as_ref();
        error.map_or_else(String::new, |error| {
            let what = error.title.as_deref().unwrap_or(&error.kind);
            let detail = error.detail.as_deref().map(|detail| format!(": {detail}")).unwrap_or_default();
            format!(": {what} ({}){detail}", error.status)
        })
    };
    match (&outcome.stopped, outcome.status) {
        (Some(reason), _) => Err(Error::Left(reason.clone())),
        (None, Status::Completed) => Ok(()),
        (None, Status::Cancelled) => Err(Error::Cancelled("the workflow was cancelled".to_owned())),
        (None, Status::Faulted) => Err(Error::Failed(format!("the workflow faulted{}", error()))),
        (None, status) => Err(Error::Left(format!("the workflow was left while it was {}", status.as_str()))),
    }
}

/// The schema of the workflow's input, for reading members by its types. A text that is no YAML has none here and is told
/// where it is compiled.
fn schema_of(text: &str) -> Json {
    let tree = yaml::parse(text, "").map(|tree| tree.to_json()).unwrap_or_default();
    tree.pointer("/input/schema/document").cloned().unwrap_or_default()
}

/// A JSON array, or one JSON object on each line.
fn read_events(path: &Path) -> Result<Vec<Json>, Error> {
    let text = text_of(path)?;
    let values: Result<Vec<Json>, _> = match serde_json::from_str::<Json>(&text) {
        Ok(Json::Array(events)) => Ok(events),
        Ok(event) => Ok(vec![event]),
        Err(_) => text.lines().filter(|line| !line.trim().is_empty()).map(serde_json::from_str).collect(),
    };
    let wrong = |reason: String| Error::Usage(format!("read the events of `{}`: {reason}", path.display()));
    let events = values.map_err(|error| wrong(format!("neither a JSON array nor JSON lines: {error}")))?;
    match events.iter().position(|event| event.get("type").and_then(Json::as_str).is_none()) {
        Some(place) => Err(wrong(format!("event {} is no object with a `type`", place + 1))),
        None => Ok(events),
    }
}

fn mapping(text: &str) -> Result<(String, Url), String> {
    let (host, url) = text.split_once('=').ok_or("write HOST=URL")?;
    let url = Url::parse(url).map_err(|error| format!("`{url}` is no URL: {error}"))?;
    match (host.is_empty(), url.scheme()) {
        (true, _) => Err("write HOST=URL".to_owned()),
        (_, "http" | "https") => Ok((host.to_ascii_lowercase(), url)),
        (_, scheme) => Err(format!("`{scheme}` is neither http nor https")),
    }
}

fn connection(text: &str) -> Result<(ConnectionName, Connection), String> {
    let (name, declared) = text.split_once('=').ok_or("write NAME=JSON or NAME=@FILE")?;
    let name = ConnectionName::parse(name).map_err(|error| error.to_string())?;
    let declared = match declared.strip_prefix('@') {
        None => declared.to_owned(),
        Some(path) => {
            let bytes = input::bytes_of(path, CONNECTION_BYTES_MAX)?;
            String::from_utf8(bytes).map_err(|_| format!("`{path}` is not UTF-8 text"))?
        }
    };
    let tree = yaml::parse(&declared, "connection").map_err(|finding| finding.to_string())?;
    let connection = serde_json::from_value(tree.to_json());
    Ok((name, connection.map_err(|error| format!("this is no connection: {error}"))?))
}

pub(in crate::cli) fn secret(text: &str) -> Result<(SecretName, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE or NAME=@FILE")?;
    let name = SecretName::parse(name).map_err(|error| error.to_string())?;
    let value = match value.strip_prefix('@') {
        None => value.as_bytes().to_vec(),
        Some(path) => input::bytes_of(path, SECRET_BYTES_MAX)?,
    };
    Ok((name, Value(value)))
}
