//! What the commands on files share: the packs at hand, the evaluator, reading a file.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::cli::error::Error;
use crate::cli::output::printable;
use crate::definition::Diagnostic;
use crate::desk::SharedActions;
use crate::desk::actions::{Folders, pack_above};
use crate::desk::tools::Tools;
use crate::model::PackName;

/// Bytes of a workflow's file, at most; what the language's reader takes is less.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Where the actions are that a workflow calls.
#[derive(Debug, Args)]
pub(super) struct Desk {
    /// The folder of a pack whose actions are called; by default the pack that the file stands in.
    #[arg(long = "pack", value_name = "DIR")]
    pub(super) packs: Vec<PathBuf>,
    /// Where compiled code is kept; by default below the user's cache folder.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

/// The packs at hand of one file.
pub(super) struct AtHand {
    /// Their actions.
    pub(super) actions: SharedActions,
    /// The pack of the file itself, if that is known.
    pub(super) own: Option<PackName>,
    /// The other workflows in them: path and text.
    pub(super) workflows: Vec<(String, String)>,
}

impl Desk {
    pub(super) fn is_empty(&self) -> bool {
        self.packs.is_empty() && self.cache.is_none()
    }

    pub(super) fn tools(&self) -> Result<Tools, Error> {
        tools(self.cache.as_deref())
    }

    /// The packs that a file's calls are looked up in: the one it stands in, and those that were named.
    pub(super) fn at_hand(&self, file: &Path) -> Result<AtHand, Error> {
        let above = pack_above(file);
        let same = |one: &Path, other: &Path| {
            std::fs::canonicalize(one).is_ok_and(|one| std::fs::canonicalize(other).is_ok_and(|other| one == other))
        };
        let named = self.packs.iter().filter(|named| above.as_ref().is_none_or(|above| !same(named, above)));
        let folders: Vec<&Path> = above.iter().chain(named).map(PathBuf::as_path).collect();
        let all = Folders::read(folders).map_err(Error::Failed)?;
        let is_other = |(path, _): &(String, String)| !same(Path::new(path), file);
        let workflows = all.workflows.into_iter().filter(is_other).collect();
        Ok(AtHand { actions: Arc::new(all.actions), own: all.names.into_iter().next(), workflows })
    }
}

/// Sandbox and evaluator, with a cache in this folder or else below the user's cache folder.
pub(in crate::cli) fn tools(cache: Option<&Path>) -> Result<Tools, Error> {
    let cache = cache.map(Path::to_owned).or_else(default_cache);
    Tools::open(cache.as_deref()).map_err(Error::Failed)
}

fn default_cache() -> Option<PathBuf> {
    let given = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    given.or_else(home).map(|folder| folder.join("orchestrator"))
}

/// Whether an argument means a file and not a workflow of an installed pack.
pub(super) fn is_file(argument: &str) -> bool {
    let path = Path::new(argument);
    path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") || path.is_file()
}

/// A file's text.
pub(super) fn text_of(path: &Path) -> Result<String, Error> {
    let wrong = |reason: String| Error::Usage(format!("read `{}`: {reason}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    let read = read.map_err(|error| wrong(error.to_string()))?;
    match read as u64 > FILE_BYTES_MAX {
        true => Err(wrong(format!("it is larger than the {} MiB that are read", FILE_BYTES_MAX >> 20))),
        false => Ok(text),
    }
}

/// Findings as a compiler prints them.
pub(super) fn report(findings: &[Diagnostic]) -> String {
    findings.iter().map(|finding| printable(&finding.to_string())).collect::<Vec<_>>().join("\n\n")
}
