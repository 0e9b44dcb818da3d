//! The actions that a workflow on the desk may call: those of the packs at hand. Of a pack that is not at hand nothing is
//! known; a call of it is taken as it is, because the server that it is meant for may have it.

use std::path::{Path, PathBuf};

use jiff::SignedDuration;

use crate::definition::graph::ActionRef;
use crate::definition::{ActionDeclaration, Actions, LookupError};
use crate::model::{ActionName, Digest, Effect, PackName};
use crate::pack::directory::{Directory, MANIFEST, PackPath};
use crate::pack::install::Beside;
use crate::pack::manifest;

use super::SharedActions;

/// The timeout of an attempt at an action that nothing is known of.
const TIMEOUT: SignedDuration = manifest::TIMEOUT_DEFAULT;

/// The actions of the packs at hand.
pub struct DeskActions {
    packs: SharedActions,
    /// The pack that the workflow stands in.
    own: Option<PackName>,
    /// Whether an action of a pack that is not at hand is taken as it is.
    lenient: bool,
}

impl DeskActions {
    /// The actions of `packs`; the workflow's own pack is `own`, if it is known.
    pub fn new(packs: SharedActions, own: Option<PackName>, lenient: bool) -> Self {
        Self { packs, own, lenient }
    }
}

impl Actions for DeskActions {
    fn action(
        &self,
        pack: Option<&PackName>,
        version: Option<&semver::Version>,
        name: &ActionName,
    ) -> Result<ActionDeclaration, LookupError> {
        let pack = pack.or(self.own.as_ref());
        match self.packs.action(pack, version, name) {
            Err(LookupError::Pack { .. }) if self.lenient => Ok(unknown(pack, version, name)),
            answer => answer,
        }
    }
}

/// An action of which only the name is known: the most careful effect, any input.
fn unknown(pack: Option<&PackName>, version: Option<&semver::Version>, name: &ActionName) -> ActionDeclaration {
    let pack = pack.cloned().unwrap_or_else(|| PackName::parse("unknown").expect("a fixed text that fits the rule"));
    let version = version.cloned().unwrap_or(semver::Version::new(0, 0, 0));
    let action = ActionRef { pack, version, action: name.clone(), component: Digest::of(b"") };
    let (input, output) = (None, None);
    ActionDeclaration { action, effect: Effect::Once, timeout: TIMEOUT, input, output, probe: false, undo: false }
}

/// What stands in folders of packs, as far as checks and runs need it.
#[derive(Debug, Default)]
pub struct Folders {
    /// Their actions.
    pub actions: Beside,
    /// Their names, in the order of the folders.
    pub names: Vec<PackName>,
    /// The paths and texts of their workflows.
    pub workflows: Vec<(String, String)>,
}

impl Folders {
    /// Reads folders of packs.
    ///
    /// # Errors
    /// One of them holds no pack, or its manifest has errors; the text says which and why.
    pub fn read<'p>(folders: impl IntoIterator<Item = &'p Path>) -> Result<Self, String> {
        let mut all = Self::default();
        for folder in folders {
            all.add(folder).map_err(|reason| format!("read the pack `{}`: {reason}", folder.display()))?;
        }
        Ok(all)
    }

    fn add(&mut self, folder: &Path) -> Result<(), String> {
        let directory = Directory::open(folder).map_err(|error| error.to_string())?;
        let parsed = manifest(&directory)?;
        self.actions.add(&directory).map_err(|error| error.to_string())?;
        for path in &parsed.workflows {
            // A workflow that is named and not there is for `orchctl pack check`.
            let Ok(Some(content)) = directory.read(path) else { continue };
            let text = String::from_utf8_lossy(&content).into_owned();
            self.workflows.push((folder.join(path.as_str()).display().to_string(), text));
        }
        self.names.push(parsed.name);
        Ok(())
    }
}

/// A pack's manifest.
pub(super) fn manifest(directory: &Directory) -> Result<manifest::Manifest, String> {
    let path = PackPath::parse(MANIFEST).map_err(|error| error.to_string())?;
    let content = directory.read(&path).map_err(|error| error.to_string())?;
    let content = content.ok_or_else(|| format!("it has no `{MANIFEST}`"))?;
    let text = String::from_utf8(content).map_err(|_| format!("`{MANIFEST}` is not UTF-8 text"))?;
    let parsed = manifest::parse(&text, MANIFEST).map_err(|findings| {
        findings
            .first()
            .map_or_else(String::new, |first| format!("`{MANIFEST}` has errors, the first: {}", first.message))
    })?;
    Ok(parsed.manifest)
}

/// The folder of the pack that a file stands in: the nearest one above it with a manifest.
pub fn pack_above(file: &Path) -> Option<PathBuf> {
    let file = std::path::absolute(file).ok()?;
    file.ancestors().skip(1).find(|folder| folder.join(MANIFEST).is_file()).map(Path::to_owned)
}
