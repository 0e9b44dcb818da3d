//! `orchctl workflow check`: everything that is wrong with workflows in files, as a compiler prints it, as data, or for
//! code scanners.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::desk::{Desk, report, text_of};
use super::sarif;
use crate::cli::Context;
use crate::cli::error::Error;
use crate::cli::output::{Format, aside, line};
use crate::definition::evaluate::Evaluate;
use crate::definition::{Diagnostic, Severity, Source, yaml};
use crate::desk::check;

/// Files of one check, at most; the bound stops a walk through a whole disk.
const FILES_MAX: usize = 4_096;

/// Folders inside each other that are walked, at most.
const DEPTH_MAX: usize = 16;

#[derive(Debug, Args)]
pub(in crate::cli) struct Check {
    /// Files with workflows, or folders that are searched for them.
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    desk: Desk,
}

impl Check {
    pub(in crate::cli) fn execute(&self, context: &Context) -> Result<(), Error> {
        let tools = self.desk.tools()?;
        let findings = self.findings(&*tools.evaluator, |file, findings| match context.output.is_for_people() {
            true => tell(file, findings),
            false => Ok(()),
        })?;
        match context.output.format() {
            Format::Sarif => context.output.data(&sarif::log(&findings))?,
            _ if context.output.is_for_people() => {}
            _ => context.output.data(&json!({ "items": findings }))?,
        }
        verdict(&findings)
    }

    /// All findings, file by file.
    pub(super) fn findings(
        &self,
        evaluator: &dyn Evaluate,
        mut told: impl FnMut(&Path, &[Diagnostic]) -> Result<(), Error>,
    ) -> Result<Vec<Diagnostic>, Error> {
        let mut all = Vec::new();
        for file in self.files()? {
            let findings = self.one(&file, evaluator)?;
            told(&file, &findings)?;
            all.extend(findings);
        }
        Ok(all)
    }

    fn one(&self, file: &Path, evaluator: &dyn Evaluate) -> Result<Vec<Diagnostic>, Error> {
        let (path, text) = (file.display().to_string(), text_of(file)?);
        let at_hand = self.desk.at_hand(file)?;
        let source = Source { path: &path, text: &text };
        Ok(check::check(source, &at_hand.actions, at_hand.own.as_ref(), evaluator))
    }

    /// The files that are named, and those in the folders that look like workflows.
    fn files(&self) -> Result<Vec<PathBuf>, Error> {
        let mut files = Vec::new();
        for path in &self.paths {
            match path.is_dir() {
                true => walk(path, 0, &mut files)?,
                false => files.push(path.clone()),
            }
        }
        match files.is_empty() {
            true => Err(Error::Usage("there is no workflow in these folders".to_owned())),
            false => Ok(files),
        }
    }
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let wrong = |error: std::io::Error| Error::Usage(format!("read `{}`: {error}", folder.display()));
    let mut entries: Vec<_> =
        std::fs::read_dir(folder).map_err(wrong)?.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, hidden) = (entry.path(), entry.file_name().as_encoded_bytes().starts_with(b"."));
        // A link may lead in a circle, or out of what was meant.
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && !hidden && depth < DEPTH_MAX {
            walk(&path, depth + 1, files)?;
        } else if kind.is_file() && !hidden && is_workflow(&path) {
            files.push(path);
        }
        if files.len() > FILES_MAX {
            return Err(Error::Usage(format!("more than {FILES_MAX} workflows; name smaller folders")));
        }
    }
    Ok(())
}

/// Whether a file found in a folder looks like a workflow: YAML that says which `dsl` it is, or no longer is YAML but
/// speaks of one.
fn is_workflow(path: &Path) -> bool {
    if !path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") {
        return false;
    }
    let Ok(text) = text_of(path) else { return false };
    match yaml::parse(&text, "") {
        Ok(tree) => tree.get("document").is_some_and(|document| document.get("dsl").is_some()),
        Err(_) => text.lines().any(|line| line.starts_with("document:")),
    }
}

fn tell(file: &Path, findings: &[Diagnostic]) -> Result<(), Error> {
    if !findings.is_empty() {
        aside(&format!("{}\n", report(findings)));
    }
    match findings.iter().any(|finding| finding.severity == Severity::Error) {
        true => Ok(()),
        false => line(&format!("{}: sound", file.display())),
    }
}

fn verdict(findings: &[Diagnostic]) -> Result<(), Error> {
    match findings.iter().filter(|finding| finding.severity == Severity::Error).count() {
        0 => Ok(()),
        1 => Err(Error::Failed("there is one error".to_owned())),
        errors => Err(Error::Failed(format!("there are {errors} errors"))),
    }
}
