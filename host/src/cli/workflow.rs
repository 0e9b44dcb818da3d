//! `orchctl workflow`: the workflows of the installed packs.

use clap::{Args, Subcommand};
use serde_json::json;

use super::Context;
use super::client::Page;
use super::error::Error;
use super::output::{Column, line};
use super::service::Start;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the workflows of every pack's latest version.
    #[command(after_help = "Example: orchctl workflow list")]
    List,
    /// Show a workflow.
    #[command(after_help = "Example: orchctl workflow show storage/provision-volume")]
    Show {
        /// PACK/WORKFLOW.
        workflow: String,
        /// Print only its text.
        #[arg(long)]
        text: bool,
    },
    /// Start a workflow directly, without a service.
    #[command(after_help = "Example: orchctl workflow run storage/provision-volume size=10 --wait")]
    Run(Run),
}

#[derive(Debug, Args)]
pub(super) struct Run {
    /// PACK/WORKFLOW.
    workflow: String,
    /// The pack's version; by default its latest.
    #[arg(long, value_name = "VERSION")]
    pack_version: Option<String>,
    #[command(flatten)]
    start: Start,
}

const LIST: &[Column] = &[
    ("PACK", &["/pack"]),
    ("VERSION", &["/version", "/packVersion"]),
    ("WORKFLOW", &["/name", "/workflow"]),
    ("TITLE", &["/title", "/summary"]),
];

const SHOW: &[Column] = &[
    ("Pack", &["/pack"]),
    ("Version", &["/version", "/packVersion"]),
    ("Workflow", &["/name", "/workflow"]),
    ("Title", &["/title"]),
    ("Summary", &["/summary"]),
    ("Actions", &["/actions"]),
    ("Input", &["/inputSchema", "/input"]),
    ("Digest", &["/digest"]),
];

impl Command {
    pub(super) async fn execute(&self, context: &Context) -> Result<(), Error> {
        let client = context.client()?;
        match self {
            Self::List => context.output.list(&client.all(&["workflows"], &[], Page::WHOLE).await?, LIST),
            Self::Show { workflow, text } => {
                let (pack, workflow) = split(workflow)?;
                let answer = client.get(&["workflows", pack, workflow], &[]).await?;
                match (text, answer.get("text").and_then(|text| text.as_str())) {
                    (true, Some(text)) => line(text.trim_end()),
                    _ => context.output.thing(&answer, SHOW),
                }
            }
            Self::Run(run) => {
                let (pack, workflow) = split(&run.workflow)?;
                let of = json!({ "pack": pack, "version": run.pack_version, "workflow": workflow });
                run.start.execute(context, of, &["workflows", pack, workflow]).await
            }
        }
    }
}

fn split(text: &str) -> Result<(&str, &str), Error> {
    let wrong =
        || Error::Usage(format!("`{text}` names no workflow; write PACK/WORKFLOW, as `orchctl workflow list` shows"));
    text.split_once('/').filter(|(pack, workflow)| !pack.is_empty() && !workflow.is_empty()).ok_or_else(wrong)
}
