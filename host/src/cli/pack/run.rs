//! `orchctl pack run`: one action or one workflow of a pack, on this machine against real connections, without a server.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value as Json, json};

use super::report;
use crate::capability::HostPattern;
use crate::cli::Context;
use crate::cli::error::Error;
use crate::cli::input;
use crate::cli::output::aside;
use crate::cli::workflow::desk::tools;
use crate::cli::workflow::local::{Value, data, secret, tell, verdict};
use crate::connection::declaration::Connection;
use crate::definition::yaml;
use crate::desk::actions::{DeskActions, Folders};
use crate::desk::packs::{Given, Packs};
use crate::desk::perform::Ways;
use crate::desk::tee::{Called, Said, Telling, named};
use crate::desk::{self, Plan, Time};
use crate::model::{ActionName, ConnectionName, PackName, SecretName, WorkflowName};

pub(super) const HELP: &str = "Examples:
  orchctl pack run packs/greeting greet-person --input '{\"words\": \"Hello\", \"name\": \"Ann\"}'
  orchctl pack run packs/storage --workflow provision-volume --input @order.json \\
    --connection backend=@soda.yaml --secret soda-token=@token.txt

A connection is a base URL, or a file (`@FILE`) with the declaration that a server would get:
  {\"baseUrl\": \"https://sds.example/v1\", \"authentication\": {\"scheme\": \"bearer\", \"token\": \"token\"}}";

/// Bytes of a connection's file, at most; a bundle of certificates fits.
const CONNECTION_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Args)]
pub(in crate::cli) struct Run {
    /// The built pack's folder.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The action.
    #[arg(value_name = "ACTION", value_parser = ActionName::parse, conflicts_with = "workflow", required_unless_present = "workflow")]
    action: Option<ActionName>,
    /// A workflow, in the place of an action.
    #[arg(long, value_name = "NAME", value_parser = WorkflowName::parse)]
    workflow: Option<WorkflowName>,
    /// The input: JSON, `@FILE`, or `@-` for standard input.
    #[arg(long, value_name = "JSON|@FILE", default_value = "{}")]
    input: String,
    /// A connection that the pack asks for, and where it leads.
    #[arg(long = "connection", value_name = "NAME=URL|@FILE", value_parser = connection)]
    connections: Vec<(ConnectionName, Connection)>,
    /// A secret that the pack asks for, or that a connection uses.
    #[arg(long = "secret", value_name = "NAME=VALUE|NAME=@FILE", value_parser = secret)]
    secrets: Vec<(SecretName, Value)>,
    /// A host that the pack asks for, `api.example` or `http://127.0.0.1:8080`; others are refused.
    #[arg(long = "allow-host", value_name = "HOST")]
    hosts: Vec<HostPattern>,
    /// Another built pack whose actions are called.
    #[arg(long = "with", value_name = "DIR")]
    with: Vec<PathBuf>,
    /// Where compiled code is kept; by default below the user's cache folder.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

impl Run {
    pub(in crate::cli) async fn execute(&self, context: &Context) -> Result<(), Error> {
        let input = input::read(&self.input)?;
        let tools = Arc::new(tools(self.cache.as_deref())?);
        let given = self.given();
        let own = Folders::read([self.folder.as_path()]).map_err(Error::Failed)?;
        let pack = own.names.first().cloned().ok_or_else(|| Error::Failed("there is no pack".to_owned()))?;
        let (path, text) = self.text(&pack, &own, &input)?;
        let packs = Packs::open(&given, tools.clone()).await.map_err(Error::Failed)?;
        let performer = Arc::new(packs.performer(&given).map_err(Error::Failed)?);
        let plan = Plan {
            siblings: own.workflows.into_iter().filter(|(other, _)| *other != path).collect(),
            path,
            text,
            input,
            events: Vec::new(),
            time: Time::Real,
            perform: Arc::new(Telling { perform: performer, tell: Arc::new(say) }),
            journal: desk::memory(),
            evaluator: tools.evaluator.clone(),
            actions: Arc::new(DeskActions::new(packs.catalog.clone(), Some(pack), false)),
        };
        let outcome = desk::run(plan).await.map_err(|findings| Error::Failed(report(&findings)))?;
        let told = data(&outcome);
        match context.output.is_for_people() {
            true => tell(context, &outcome, &told)?,
            false => context.output.data(&told)?,
        }
        verdict(&outcome)
    }

    fn given(&self) -> Given {
        let ways = Ways { allowed: self.hosts.clone(), mapped: Vec::new() };
        let secrets: BTreeMap<_, _> =
            self.secrets.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect();
        let folders = [&self.folder].into_iter().chain(&self.with).cloned().collect();
        Given { folders, own: None, ways, secrets, connections: self.connections.iter().cloned().collect() }
    }

    /// The text that is run: the workflow's own, or one that only calls the action.
    fn text(&self, pack: &PackName, own: &Folders, input: &Json) -> Result<(String, String), Error> {
        let Some(action) = &self.action else {
            let name = self.workflow.as_ref().map_or("", WorkflowName::as_str);
            let found = own.workflows.iter().find(|(_, text)| name_of(text).as_deref() == Some(name));
            let known: Vec<_> = own.workflows.iter().filter_map(|(_, text)| name_of(text)).collect();
            return found.cloned().ok_or_else(|| {
                Error::Usage(format!("the pack `{pack}` has no workflow `{name}`; it has {}", known.join(", ")))
            });
        };
        let document = json!({ "dsl": "1.0.3", "namespace": pack, "name": "run-action", "version": "1.0.0" });
        let members = input.as_object().ok_or_else(|| {
            Error::Usage("the input of an action is an object: write `--input '{\"name\": …}'`".to_owned())
        })?;
        // By expressions, so that no value is taken for one itself.
        let with = members.keys().map(|name| (name.clone(), json!(format!("${{ .[{}] }}", json!(name)))));
        let call = json!([{ action.as_str(): { "call": action, "with": with.collect::<serde_json::Map<_, _>>() } }]);
        // JSON is YAML.
        let text = json!({ "document": document, "do": call });
        Ok((format!("the action `{action}`"), text.to_string()))
    }
}

fn name_of(text: &str) -> Option<String> {
    let tree = crate::definition::yaml::parse(text, "").ok()?;
    Some(tree.get("document")?.get("name")?.as_text()?.to_owned())
}

/// Tells on standard error what happens.
fn say(callee: &str, called: Called) {
    let text = match called {
        Called::Begins(1) => format!("{callee} begins"),
        Called::Begins(attempt) => format!("{callee} begins, attempt {attempt}"),
        Called::Says(Said::Log(level, line)) => format!("  {} {line}", named(level)),
        Called::Says(Said::Progress(measures, note)) => {
            let shown = measures.iter().map(|measure| match measure.total {
                Some(total) => format!("{} of {total} {}", measure.done, measure.unit),
                None => format!("{} {}", measure.done, measure.unit),
            });
            let parts: Vec<String> = shown.chain(note).collect();
            format!("  {}", parts.join(", "))
        }
        Called::Ended(Ok(())) => format!("{callee} has ended"),
        Called::Ended(Err(failure)) => {
            let problem = failure.problem;
            format!("{callee} has failed: {} ({}): {}", problem.title, problem.status, problem.detail)
        }
    };
    aside(&text);
}

fn connection(text: &str) -> Result<(ConnectionName, Connection), String> {
    let (name, given) = text.split_once('=').ok_or("write NAME=URL or NAME=@FILE")?;
    let name = ConnectionName::parse(name).map_err(|error| error.to_string())?;
    let declaration: Json = match given.strip_prefix('@') {
        None => json!({ "baseUrl": given }),
        Some(path) => {
            let bytes = input::bytes_of(path, CONNECTION_BYTES_MAX)?;
            let text = std::str::from_utf8(&bytes).map_err(|error| format!("`{path}` is not text: {error}"))?;
            // JSON is YAML, too.
            yaml::parse(text, path).map_err(|finding| finding.to_string())?.to_json()
        }
    };
    let declaration: Connection = serde_json::from_value(declaration).map_err(|error| error.to_string())?;
    crate::connection::registry::validate(&declaration).map_err(|error| error.to_string())?;
    Ok((name, declaration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_a_url_or_a_declaration_in_a_file() {
        let (name, made) = connection("backend=https://a.example/v1").unwrap();
        assert_eq!((name.as_str(), made.base_url.as_str()), ("backend", "https://a.example/v1"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), r#"{"baseUrl": "https://a.example", "timeoutMs": 5}"#).unwrap();
        assert_eq!(connection(&format!("a=@{}", file.path().display())).unwrap().1.timeout_ms, 5);
        std::fs::write(file.path(), "baseUrl: https://a.example\ntimeoutMs: 6\n").unwrap();
        assert_eq!(connection(&format!("a=@{}", file.path().display())).unwrap().1.timeout_ms, 6);
        for wrong in ["a", "a=ftp://x", "a=@/no/such/file", "A B=https://a.example"] {
            assert!(connection(wrong).is_err(), "{wrong}");
        }
    }
}
