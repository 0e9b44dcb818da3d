//! `orchctl pack check`: what an installation on a server would say, and what a person would miss, on this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::report;
use crate::cli::Context;
use crate::cli::error::Error;
use crate::cli::output::{aside, line};
use crate::cli::workflow::desk::tools;
use crate::definition::{Diagnostic, Severity};
use crate::desk::check_pack::{self, Built};
use crate::desk::tools::Tools;

#[derive(Debug, Args)]
pub(in crate::cli) struct Check {
    /// The packs' folders.
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// The folder of another pack whose actions these call.
    #[arg(long = "with", value_name = "DIR")]
    with: Vec<PathBuf>,
    /// Where compiled code is kept; by default below the user's cache folder.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

impl Check {
    pub(in crate::cli) async fn execute(&self, context: &Context) -> Result<(), Error> {
        let tools = Arc::new(tools(self.cache.as_deref())?);
        let mut all = Vec::new();
        for folder in &self.folders {
            let findings = self.one(folder, &tools).await?;
            if context.output.is_for_people() {
                tell(folder, &findings)?;
            }
            all.extend(findings);
        }
        if !context.output.is_for_people() {
            context.output.data(&json!({ "items": all }))?;
        }
        match all.iter().filter(|finding| finding.severity == Severity::Error).count() {
            0 => Ok(()),
            1 => Err(Error::Failed("there is one error".to_owned())),
            errors => Err(Error::Failed(format!("there are {errors} errors"))),
        }
    }

    /// All findings in one pack, which may call the actions of the others.
    async fn one(&self, folder: &Path, tools: &Arc<Tools>) -> Result<Vec<Diagnostic>, Error> {
        let others: Vec<PathBuf> =
            self.with.iter().chain(&self.folders).filter(|other| *other != folder).cloned().collect();
        let checked = check_pack::check(folder, &others, tools, Built::Optional).map_err(Error::Failed)?;
        let mut findings = checked.findings;
        if checked.named.is_some() {
            findings.extend(check_pack::check_tests(folder, &others, tools).await.map_err(Error::Failed)?);
        }
        Ok(findings)
    }
}

fn tell(folder: &Path, findings: &[Diagnostic]) -> Result<(), Error> {
    if !findings.is_empty() {
        aside(&format!("{}\n", report(findings)));
    }
    match findings.iter().any(|finding| finding.severity == Severity::Error) {
        true => Ok(()),
        false => line(&format!("{}: sound", folder.display())),
    }
}
