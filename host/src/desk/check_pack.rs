//! Everything that can be said about a pack's folder without a server: what an installation would say, what a person
//! would miss in its forms, and what is wrong with its tests.

use std::path::{Path, PathBuf};

use super::bare_schemas;
use super::pack_test::PackTest;
use super::tools::Tools;
use crate::definition::Diagnostic;
use crate::model::PackName;
use crate::pack::directory::Directory;
use crate::pack::install::{Beside, CheckError, Rules, check as installable};
use crate::sandbox;

/// Whether the components have to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Built {
    /// Those that are not draw a warning.
    Optional,
    /// Those that are not are errors.
    Required,
}

/// What was found.
#[derive(Debug)]
pub struct Checked {
    /// Everything, errors of the manifest first.
    pub findings: Vec<Diagnostic>,
    /// The pack's name and version, where it is sound.
    pub named: Option<(PackName, semver::Version)>,
}

/// Checks the pack in `folder`, which may call actions of the packs in `others`.
///
/// # Errors
/// A file cannot be read; the text says which and why.
pub fn check(folder: &Path, others: &[PathBuf], tools: &Tools, built: Built) -> Result<Checked, String> {
    let mut beside = Beside::default();
    for other in others {
        let added = Directory::open(other).map_err(CheckError::from).and_then(|directory| beside.add(&directory));
        if let Err(CheckError::Files(error)) = added {
            return Err(format!("read `{}`: {error}", other.display()));
        }
    }
    let directory = Directory::open(folder).map_err(|error| error.to_string())?;
    // A pack that cannot be read is told below.
    let _ = beside.add(&directory);
    let imports = |bytes: &[u8]| sandbox::imports(bytes).map_err(|error| error.to_string());
    let rules =
        Rules { installed: &beside, evaluator: &*tools.evaluator, imports: &imports, built: built == Built::Required };
    match installable(&directory, &rules) {
        Ok(sound) => {
            let mut findings = sound.warnings;
            findings.extend(bare_schemas::look(&directory, &sound.manifest));
            Ok(Checked { findings, named: Some((sound.manifest.name, sound.manifest.version)) })
        }
        Err(CheckError::Findings(findings)) => Ok(Checked { findings, named: None }),
        Err(CheckError::Files(error)) => Err(error.to_string()),
    }
}

/// What is wrong with the tests of a pack that is sound otherwise.
///
/// # Errors
/// A file cannot be read; the text says which and why.
pub async fn check_tests(
    folder: &Path,
    others: &[PathBuf],
    tools: &std::sync::Arc<Tools>,
) -> Result<Vec<Diagnostic>, String> {
    match PackTest::open(folder, others, tools.clone()).await {
        Ok(_) => Ok(Vec::new()),
        Err(super::pack_test::BenchError::Findings(findings)) => Ok(findings),
        Err(super::pack_test::BenchError::Failed(reason)) => Err(reason),
    }
}
