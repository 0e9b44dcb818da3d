//! `orchctl workflow show`: a workflow of an installed pack, or the one in a file, as text or as a picture.

use std::path::Path;

use clap::Args;
use serde_json::json;

use super::desk::{Desk, is_file, report, text_of};
use super::split;
use crate::cli::Context;
use crate::cli::error::Error;
use crate::cli::output::{Column, Format, line};
use crate::definition::diagram::{mermaid, outline};
use crate::definition::graph::Program;
use crate::definition::{Source, compile};
use crate::desk::actions::DeskActions;

#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    /// PACK/WORKFLOW, or a file that holds one.
    workflow: String,
    /// Print only its text.
    #[arg(long)]
    text: bool,
    /// The pack's version; by default its latest.
    #[arg(long, value_name = "VERSION")]
    pack_version: Option<String>,
    #[command(flatten)]
    desk: Desk,
}

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

/// Shows a workflow of an installed pack.
pub(super) async fn installed(context: &Context, workflow: &str) -> Result<(), Error> {
    let (pack, workflow) = split(workflow)?;
    context.output.thing(&context.client()?.get(&["workflows", pack, workflow], &[]).await?, SHOW)
}

impl Show {
    pub(in crate::cli) async fn execute(&self, context: &Context) -> Result<(), Error> {
        if is_file(&self.workflow) {
            return self.file(context, Path::new(&self.workflow));
        }
        if !self.desk.is_empty() {
            return Err(Error::Usage(format!("`{}` is no file, and these flags are for files", self.workflow)));
        }
        let (pack, workflow) = split(&self.workflow)?;
        let client = context.client()?;
        if *context.output.format() == Format::Mermaid {
            return line(client.text(&["workflows", pack, workflow, "diagram"]).await?.trim_end());
        }
        let version = self.pack_version.as_deref().map(|version| ("version", version));
        let answer = client.get(&["workflows", pack, workflow], version.as_slice()).await?;
        match (self.text, answer.get("text").and_then(|text| text.as_str())) {
            (true, Some(text)) => line(text.trim_end()),
            _ => context.output.thing(&answer, SHOW),
        }
    }

    fn file(&self, context: &Context, file: &Path) -> Result<(), Error> {
        let text = text_of(file)?;
        if self.text {
            return line(text.trim_end());
        }
        let program = self.program(file, &text)?;
        let picture = || mermaid(&program, |_| None);
        match context.output.format() {
            Format::Mermaid => line(picture().trim_end()),
            Format::Table | Format::Wide => line(outline(&program).trim_end()),
            _ => context.output.data(&json!({
                "namespace": program.namespace, "name": program.name, "version": program.version,
                "title": program.title, "summary": program.summary, "outline": outline(&program), "mermaid": picture(),
            })),
        }
    }

    fn program(&self, file: &Path, text: &str) -> Result<Program, Error> {
        let tools = self.desk.tools()?;
        let at_hand = self.desk.at_hand(file)?;
        let actions = DeskActions::new(at_hand.actions, at_hand.own, true);
        let path = file.display().to_string();
        let compiled = compile(Source { path: &path, text }, &actions, &*tools.evaluator);
        compiled.map(|compiled| compiled.program).map_err(|findings| Error::Failed(report(&findings)))
    }
}
