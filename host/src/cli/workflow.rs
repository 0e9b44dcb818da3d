//! `orchctl workflow`: the workflows of the installed packs, and those in files of this machine, for which no server is
//! needed.

mod check;
pub(super) mod desk;
pub(super) mod local;
mod sarif;
mod show;

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::client::Page;
use super::error::Error;
use super::listing::Listing;
use super::order::Start;
use super::output::{Column, Format, cell, line};
use super::{Context, soda};
use crate::definition::profile::WORKFLOW_SCHEMA;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the workflows of every pack's latest version.
    #[command(after_help = "Examples:
  orchctl workflow list
  orchctl -t default workflow list")]
    List(Listing),
    /// Show a workflow of an installed pack; without a name list all as SODA's interface has them.
    #[command(after_help = "Examples:
  orchctl workflow get storage/provision-volume
  orchctl --orch_ip 127.0.0.1 --orch_port 8080 -t default workflow get")]
    Get {
        /// PACK/WORKFLOW.
        workflow: Option<String>,
    },
    /// Draw a workflow of an installed pack as a Mermaid flowchart.
    #[command(after_help = "Example: orchctl workflow diagram storage/provision-volume > flow.mmd")]
    Diagram {
        /// PACK/WORKFLOW.
        workflow: String,
        /// The pack's version; by default its latest.
        #[arg(long, value_name = "VERSION")]
        pack_version: Option<String>,
    },
    /// Show a workflow of an installed pack, or the one in a file.
    #[command(after_help = "Examples:
  orchctl workflow show storage/provision-volume
  orchctl workflow show packs/greeting/workflows/greeting.yaml -o mermaid")]
    Show(show::Show),
    /// Start a workflow directly, without a service; or run the one in a file here, without a server.
    #[command(after_help = RUN_HELP)]
    Run(Box<Run>),
    /// Check workflows as an installation would. Needs no server.
    #[command(after_help = "Examples:
  orchctl workflow check packs/storage/workflows
  orchctl workflow check flow.yaml --pack packs/storage -o sarif > flow.sarif")]
    Check(check::Check),
    /// Print the JSON Schema of the language, for editors.
    #[command(after_help = "Example: orchctl workflow schema > workflow.schema.json")]
    Schema,
}

const RUN_HELP: &str = "Examples:
  orchctl workflow run storage/list-storage what=hosts --wait
  orchctl workflow run flow.yaml --input '{\"size\": 10}' --skip-waits -o json
  orchctl workflow run flow.yaml --map jira.example=http://127.0.0.1:9000 --secret token=@token.txt
  orchctl workflow run flow.yaml --pack packs/storage --connection backend=@soda.yaml --secret soda-token=@token.txt

Exit codes of a run on this machine:
  0  completed
  1  faulted, or the file has errors
  2  wrong usage
  6  cancelled
  7  it was left: it waits for something that will never come, or goes round in circles";

#[derive(Debug, Args)]
pub(super) struct Run {
    /// PACK/WORKFLOW, or a file that holds one.
    workflow: String,
    /// The pack's version; by default its latest.
    #[arg(long, value_name = "VERSION")]
    pack_version: Option<String>,
    #[command(flatten)]
    start: Start,
    #[command(flatten)]
    local: local::Local,
    #[command(flatten)]
    desk: desk::Desk,
}

const LIST: &[Column] =
    &[("WORKFLOW", &["/shown"]), ("VERSION", &["/version", "/packVersion"]), ("TITLE", &["/title", "/summary"])];

const WIDE: &[Column] = &[("SUMMARY", &["/summary"]), ("DIGEST", &["/digest"])];

impl Command {
    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        match self {
            Self::List(_) | Self::Get { workflow: None } if context.soda.is_given() => {
                soda::list_workflows(context).await
            }
            Self::Get { workflow: None } => soda::list_workflows(context).await,
            Self::Get { workflow: Some(workflow) } => show::installed(context, workflow).await,
            Self::List(listing) => {
                let list = context.client()?.all(&["workflows"], &[], Page::WHOLE).await?;
                let mut list = listing.apply(list)?;
                if !matches!(context.output.format(), Format::Json | Format::Yaml | Format::JsonPath(_)) {
                    dress(&mut list);
                }
                context.output.list_wide(&list, LIST, WIDE)
            }
            Self::Diagram { workflow, pack_version } => {
                let (pack, workflow) = split(workflow)?;
                let client = context.client()?;
                let mut url = client.url(&["workflows", pack, workflow, "diagram"]);
                if let Some(version) = pack_version {
                    url.query_pairs_mut().append_pair("version", version);
                }
                line(client.text_at(url).await?.trim_end())
            }
            Self::Show(show) => show.execute(context).await,
            Self::Run(run) => run.execute(context).await,
            Self::Check(check) => check.execute(context),
            Self::Schema => line(WORKFLOW_SCHEMA.trim_end()),
        }
    }

    /// Whether SODA's command line has it.
    pub(super) fn is_soda(&self) -> bool {
        matches!(self, Self::List(_) | Self::Get { workflow: None })
    }

    /// Whether its output can be in the format of code scanners.
    pub(super) fn speaks_sarif(&self) -> bool {
        matches!(self, Self::Check(_))
    }

    /// Whether its output can be a picture.
    pub(super) fn draws(&self) -> bool {
        matches!(self, Self::Show(_))
    }
}

impl Run {
    async fn execute(&self, context: &Context) -> Result<(), Error> {
        if desk::is_file(&self.workflow) {
            if self.pack_version.is_some() {
                return Err(Error::Usage("--pack-version is for a workflow of an installed pack".to_owned()));
            }
            return self.local.execute(context, &self.workflow, &self.start, &self.desk).await;
        }
        if !self.local.is_empty() || !self.desk.is_empty() {
            let reason = format!("`{}` is no file, and these flags are for a run on this machine", self.workflow);
            return Err(Error::Usage(reason));
        }
        let (pack, workflow) = split(&self.workflow)?;
        let of = json!({ "pack": pack, "version": self.pack_version, "workflow": workflow });
        self.start.execute(context, &context.client()?, of, &["workflows", pack, workflow]).await
    }
}

/// Adds what other commands call each.
fn dress(list: &mut Json) {
    for item in list.get_mut("items").and_then(Json::as_array_mut).into_iter().flatten() {
        item["shown"] = json!(format!("{}/{}", cell(item, &["/pack"]), cell(item, &["/name", "/workflow"])));
    }
}

/// The pack and the workflow that a word names.
pub(super) fn split(text: &str) -> Result<(&str, &str), Error> {
    let wrong = || {
        Error::Usage(format!(
            "`{text}` names no workflow; write a file, or PACK/WORKFLOW as `orchctl workflow list` shows"
        ))
    };
    text.split_once('/').filter(|(pack, workflow)| !pack.is_empty() && !workflow.is_empty()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests;
