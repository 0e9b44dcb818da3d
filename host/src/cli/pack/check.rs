//! `orchctl pack check`: the checks of an installation, on this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::{chain, files, report};
use crate::cli::Context;
use crate::cli::error::Error;
use crate::cli::output::line;
use crate::definition::evaluate::Evaluate;
use crate::definition::{Diagnostic, Severity};
use crate::pack::directory::Directory;
use crate::pack::install::{Beside, CheckError, Rules, check};
use crate::sandbox::expression::Expressions;
use crate::sandbox::{self, Sandbox, SandboxConfig};

#[derive(Debug, Args)]
pub(in crate::cli) struct Check {
    /// The packs' folders.
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// The folder of another pack whose actions these call.
    #[arg(long = "with", value_name = "DIR")]
    with: Vec<PathBuf>,
}

impl Check {
    pub(in crate::cli) async fn execute(&self, context: &Context) -> Result<(), Error> {
        let (_cache, evaluator) = evaluator()?;
        let mut beside = Beside::default();
        for folder in self.with.iter().chain(&self.folders) {
            // A pack that cannot be read is told when its turn comes.
            let added = Directory::open(folder).map_err(CheckError::from).and_then(|directory| beside.add(&directory));
            if let (Err(CheckError::Files(error)), true) = (added, self.with.contains(folder)) {
                return Err(files(error));
            }
        }
        let mut all = Vec::new();
        for folder in &self.folders {
            let findings = one(folder, &beside, evaluator.as_ref())?;
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
}

/// A sandbox of its own, small and short-lived: expressions are untrusted here as well.
fn evaluator() -> Result<(tempfile::TempDir, Arc<dyn Evaluate>), Error> {
    let failed = |error: &dyn std::error::Error| Error::Failed(chain(error));
    let cache = tempfile::tempdir().map_err(|error| failed(&error))?;
    let config = SandboxConfig {
        cache_dir: cache.path().to_owned(),
        cache_key: rand::random(), // The cache is gone when the check is.
        memory_bytes_max: 64 << 20,
        attempts_max: 2,
    };
    let sandbox = Sandbox::new(config).map_err(|error| failed(&error))?;
    let expressions = Expressions::new(&sandbox).map_err(|error| failed(&error))?;
    Ok((cache, expressions))
}

fn one(folder: &Path, beside: &Beside, evaluator: &dyn Evaluate) -> Result<Vec<Diagnostic>, Error> {
    let directory = Directory::open(folder).map_err(files)?;
    let imports = |bytes: &[u8]| sandbox::imports(bytes).map_err(|error| error.to_string());
    match check(&directory, &Rules { installed: beside, evaluator, imports: &imports, built: false }) {
        Ok(sound) => Ok(sound.warnings),
        Err(CheckError::Findings(findings)) => Ok(findings),
        Err(CheckError::Files(error)) => Err(files(error)),
    }
}

fn tell(folder: &Path, findings: &[Diagnostic]) -> Result<(), Error> {
    if !findings.is_empty() {
        eprintln!("{}\n", report(findings));
    }
    match findings.iter().any(|finding| finding.severity == Severity::Error) {
        true => Ok(()),
        false => line(&format!("{}: sound", folder.display())),
    }
}
