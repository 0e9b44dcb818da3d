//! What is installed: packs with all their versions, the services and workflows they bring, and what is compiled of
//! them. A pack's files lie in a folder named by the pack's digest and never change; its row in the journal is what
//! makes it installed. A folder without a row is left over from something that failed and is swept away at the opening.
//!
//! It starts nothing and runs nothing. Grants are in `grants`, the way in and out in `catalog/change.rs`, the services in
//! `catalog/services.rs`.

mod change;
mod scheduled;
mod services;
mod store;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(super) use change::rows;
pub use change::{InstallError, Installation, RemoveError};
pub use services::ServiceView;

use super::directory::{FilesError, PackPath};
use super::grants::{Grants, Place};
use super::install::{Declarations, PackVersion, Scope};
use super::manifest::{Action, Manifest};
use crate::definition::evaluate::Evaluate;
use crate::definition::graph::{ActionRef, Program};
use crate::definition::{self, ActionDeclaration, Actions, LookupError, Source};
use crate::journal::{Journal, StoreError};
use crate::model::{ActionName, ComponentName, Digest, Json, PackName, WorkflowName};
use crate::sandbox::{Component, Sandbox};
use store::Store;

/// An installed pack as it is stored (key `p`). Members are only ever added, with a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pack {
    /// The digest over all its files; also the name of its folder.
    pub digest: Digest,
    /// The bytes of all its files.
    pub bytes: u64,
    /// When it was installed.
    pub installed_at: Timestamp,
    /// What it says about itself.
    pub manifest: Manifest,
    /// Its components' digests.
    pub components: BTreeMap<ComponentName, Digest>,
    /// Its workflows.
    pub workflows: BTreeMap<WorkflowName, WorkflowEntry>,
    /// The other packs whose actions its workflows call.
    #[serde(default)]
    pub requires: Vec<PackVersion>,
}

/// A workflow as its pack's row lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowEntry {
    /// Its file.
    pub path: PackPath,
    /// Its title, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it does, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The digest of its text.
    pub digest: Digest,
    /// The schema of its input, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Json>,
    /// Whether it starts by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scheduled: bool,
}

/// A workflow of an installed pack, compiled.
#[derive(Debug, Clone)]
pub struct Workflow {
    /// Its pack.
    pub pack: PackName,
    /// The pack's version.
    pub version: semver::Version,
    /// Its compiled form.
    pub program: Arc<Program>,
    /// Its text.
    pub text: Arc<str>,
}

/// A workflow as it is listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowView {
    /// Its pack.
    pub pack: PackName,
    /// The pack's latest version, which this one is of.
    pub version: semver::Version,
    /// Its name.
    pub name: WorkflowName,
    /// What the pack's row says of it.
    #[serde(flatten)]
    pub entry: WorkflowEntry,
}

/// Why something of a pack is not at hand.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// There is nothing of that name; the text says what there is instead.
    #[error("{0}")]
    NotFound(String),
    /// It is installed and cannot be used: files are damaged, or what it needs is gone.
    #[error("{0}")]
    Unusable(String),
    /// A file cannot be read.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The journal cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All installed packs. Cheap to share; readers never wait for an installation.
pub struct Catalog {
    journal: Arc<dyn Journal>,
    store: Store,
    sandbox: Arc<Sandbox>,
    evaluator: Arc<dyn Evaluate>,
    state: RwLock<State>,
    /// One change at a time: checks against what is installed must still hold when the rows are written.
    changing: tokio::sync::Mutex<()>,
    /// Counts the changes.
    changes: tokio::sync::watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    packs: BTreeMap<PackName, BTreeMap<semver::Version, Arc<Pack>>>,
    grants: BTreeMap<Place, Grants>,
    // What is made of packs when first needed. Bounded by what is installed: an entry goes with its pack.
    declarations: BTreeMap<PackVersion, Arc<Declarations>>,
    workflows: BTreeMap<(PackVersion, WorkflowName), Arc<Workflow>>,
    components: BTreeMap<Digest, Arc<Component>>,
}

/// Rows read at once when the catalog is opened; pages keep a large store from filling the memory twice.
const PAGE: usize = 256;

impl Catalog {
    /// Reads what is installed and sweeps away what is left over.
    ///
    /// # Errors
    /// The journal cannot be read, or the folder cannot be made or read.
    pub fn open(
        journal: Arc<dyn Journal>,
        folder: &Path,
        sandbox: Arc<Sandbox>,
        evaluator: Arc<dyn Evaluate>,
    ) -> Result<Arc<Self>, CatalogError> {
        let store = Store::open(folder)?;
        let mut state = State::default();
        for pack in rows::<Pack>(journal.as_ref(), crate::journal::keys::packs())? {
            state.add(Arc::new(scheduled::complete(&store, pack.1)));
        }
        state.grants = super::grants::read_all(journal.as_ref())?;
        store.sweep(&state.all().map(|pack| pack.digest).collect())?;
        let changing = tokio::sync::Mutex::new(());
        let changes = tokio::sync::watch::Sender::new(0);
        Ok(Arc::new(Self { journal, store, sandbox, evaluator, state: RwLock::new(state), changing, changes }))
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        // Each holder of the lock changes one map at a time and cannot fail half way, so poison means nothing here.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Told whenever a pack came or went.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Every installed pack, by name and version.
    pub fn list(&self) -> Vec<Arc<Pack>> {
        self.read().all().cloned().collect()
    }

    /// The installed versions of a pack, lowest first.
    pub fn versions(&self, name: &PackName) -> Vec<Arc<Pack>> {
        self.read().packs.get(name).into_iter().flat_map(|versions| versions.values().cloned()).collect()
    }

    /// One version of a pack.
    pub fn get(&self, name: &PackName, version: &semver::Version) -> Option<Arc<Pack>> {
        self.read().packs.get(name)?.get(version).cloned()
    }

    /// The latest version of a pack: the highest that is no prerelease, else the highest.
    pub fn latest(&self, name: &PackName) -> Option<Arc<Pack>> {
        self.read().latest(name).cloned()
    }

    /// The workflows of every pack's latest version.
    pub fn workflows(&self) -> Vec<WorkflowView> {
        let state = self.read();
        let view = |pack: &Arc<Pack>| {
            let (name, version) = (pack.manifest.name.clone(), pack.manifest.version.clone());
            let workflows = pack.workflows.clone().into_iter();
            workflows.map(move |(workflow, entry)| WorkflowView {
                pack: name.clone(),
                version: version.clone(),
                name: workflow,
                entry,
            })
        };
        state.latests().flat_map(view).collect()
    }

    /// A workflow of a pack: of the version, or of the latest. Compiled once and kept.
    ///
    /// # Errors
    /// There is none of that name, or it can no longer be compiled.
    pub fn workflow(
        &self,
        name: &PackName,
        version: Option<&semver::Version>,
        workflow: &WorkflowName,
    ) -> Result<Arc<Workflow>, CatalogError> {
        let pack = self.find(name, version)?;
        let at = PackVersion { name: name.clone(), version: pack.manifest.version.clone() };
        let key = (at, workflow.clone());
        if let Some(known) = self.read().workflows.get(&key) {
            return Ok(known.clone());
        }
        let compiled = Arc::new(self.compile(&pack, workflow)?);
        let mut state = self.write();
        if state.installed(&pack) {
            state.workflows.insert(key, compiled.clone());
        }
        Ok(compiled)
    }

    /// The program of an exact workflow.
    ///
    /// # Errors
    /// See [`Catalog::workflow`].
    pub fn program_by(
        &self,
        name: &PackName,
        version: &semver::Version,
        workflow: &WorkflowName,
    ) -> Result<Arc<Program>, CatalogError> {
        self.workflow(name, Some(version), workflow).map(|workflow| workflow.program.clone())
    }

    /// The workflow that another one names by `document.namespace`, `document.name` and, if at all, `document.version`.
    /// The namespace is a pack's name first, else the namespace of a workflow in any pack; the caller's own pack, in its
    /// own version, comes before the others, and later versions before earlier ones.
    ///
    /// # Errors
    /// There is none, or it can no longer be compiled.
    pub fn workflow_named(
        &self,
        own: (&PackName, &semver::Version),
        namespace: &str,
        name: &WorkflowName,
        version: Option<&semver::Version>,
    ) -> Result<Arc<Workflow>, CatalogError> {
        let candidates = self.candidates(own, namespace, name);
        let mut unusable = None;
        for (pack, by_name) in candidates {
            let found = match self.workflow(&pack.manifest.name, Some(&pack.manifest.version), name) {
                Ok(found) => found,
                Err(error) => {
                    unusable.get_or_insert(error);
                    continue;
                }
            };
            let fits = by_name || found.program.namespace == namespace;
            if fits && version.is_none_or(|version| found.program.version == *version) {
                return Ok(found);
            }
        }
        Err(unusable.unwrap_or_else(|| {
            let exact = version.map(|version| format!(" in version {version}")).unwrap_or_default();
            CatalogError::NotFound(format!(
                "no installed pack has a workflow `{name}` of namespace `{namespace}`{exact}; install the pack, or \
                 correct `run.workflow`"
            ))
        }))
    }

    /// The packs that have a workflow of the name, best first, and whether the pack's own name is the namespace.
    fn candidates(
        &self,
        (own, version): (&PackName, &semver::Version),
        namespace: &str,
        workflow: &WorkflowName,
    ) -> Vec<(Arc<Pack>, bool)> {
        let state = self.read();
        let latests: Vec<_> = state.latests().map(|pack| pack.digest).collect();
        let having = state.all().filter(|pack| pack.workflows.contains_key(workflow));
        let mut found: Vec<_> = having.map(|pack| (pack.clone(), pack.manifest.name.as_str() == namespace)).collect();
        found.sort_by(|(one, one_named), (other, other_named)| {
            let rank = |pack: &Pack, named: bool| {
                let mine = pack.manifest.name == *own;
                (named, mine, mine && pack.manifest.version == *version, latests.contains(&pack.digest))
            };
            let by_rank = rank(other, *other_named).cmp(&rank(one, *one_named));
            by_rank.then_with(|| other.manifest.version.cmp(&one.manifest.version))
        });
        found
    }

    fn compile(&self, pack: &Pack, workflow: &WorkflowName) -> Result<Workflow, CatalogError> {
        let Manifest { name, version, .. } = &pack.manifest;
        let known = || names(pack.workflows.keys());
        let entry = pack.workflows.get(workflow).ok_or_else(|| {
            CatalogError::NotFound(format!("pack `{name}` {version} has no workflow `{workflow}`; it has {}", known()))
        })?;
        let text = self.store.text(pack.digest, &entry.path)?;
        let own = self.declarations(pack)?;
        let scope = Scope { own: &own, installed: self };
        let source = Source { path: entry.path.as_str(), text: &text };
        let compiled = definition::compile(source, &scope, self.evaluator.as_ref()).map_err(|findings| {
            let first = findings.first().map(|finding| finding.message.clone()).unwrap_or_default();
            CatalogError::Unusable(format!(
                "workflow `{workflow}` of pack `{name}` {version} no longer compiles: {first}"
            ))
        })?;
        let program = Arc::new(compiled.program);
        Ok(Workflow { pack: name.clone(), version: version.clone(), program, text: text.into() })
    }

    fn declarations(&self, pack: &Pack) -> Result<Arc<Declarations>, CatalogError> {
        let key = pack.id();
        if let Some(known) = self.read().declarations.get(&key) {
            return Ok(known.clone());
        }
        let mut schemas = BTreeMap::new();
        for action in pack.manifest.actions.values() {
            for path in action.input.iter().chain(&action.output) {
                schemas.insert(path.clone(), Arc::new(self.store.schema(pack.digest, path)?));
            }
        }
        let made = Arc::new(Declarations::new(&pack.manifest, &pack.components, &schemas));
        let mut state = self.write();
        if state.installed(pack) {
            state.declarations.insert(key, made.clone());
        }
        Ok(made)
    }

    /// The component of an action, compiled and linked; loaded once and kept.
    ///
    /// # Errors
    /// The action is not installed, or with another component than the reference is pinned to, or cannot be loaded.
    pub async fn component(&self, action: &ActionRef) -> Result<Arc<Component>, CatalogError> {
        if let Some(known) = self.read().components.get(&action.component) {
            return Ok(known.clone());
        }
        let (pack, declared) = self.action_of(action)?;
        let path = pack.manifest.components.get(&declared.component).map(|component| component.path.clone());
        let actual = pack.components.get(&declared.component);
        let (Some(path), true) = (path, actual == Some(&action.component)) else {
            return Err(CatalogError::Unusable(format!(
                "action `{}` of pack `{}` {} is now served by another component than this instance started with",
                action.action, action.pack, action.version
            )));
        };
        let bytes = self.store.component(pack.digest, path, action.component).await?;
        let loaded = self.sandbox.load(action.component, &bytes).await;
        let loaded = loaded.map_err(|error| CatalogError::Unusable(error.to_string()))?;
        let mut state = self.write();
        if state.installed(&pack) {
            state.components.insert(action.component, loaded.clone());
        }
        Ok(loaded)
    }

    /// The pack and declaration of an exact action.
    pub(super) fn action_of(&self, action: &ActionRef) -> Result<(Arc<Pack>, Action), CatalogError> {
        let pack = self.find(&action.pack, Some(&action.version))?;
        let declared = pack.manifest.actions.get(&action.action).cloned().ok_or_else(|| {
            let known = names(pack.manifest.actions.keys());
            CatalogError::NotFound(format!("pack `{}` has no action `{}`; it has {known}", action.pack, action.action))
        })?;
        Ok((pack, declared))
    }

    /// The version of a pack, or the latest.
    pub(super) fn find(&self, name: &PackName, version: Option<&semver::Version>) -> Result<Arc<Pack>, CatalogError> {
        let state = self.read();
        let Some(versions) = state.packs.get(name) else {
            let known = names(state.packs.keys());
            return Err(CatalogError::NotFound(format!("no pack `{name}` is installed; installed are {known}")));
        };
        let found = version.map_or_else(|| state.latest(name), |version| versions.get(version));
        found.cloned().ok_or_else(|| {
            let version = version.map(ToString::to_string).unwrap_or_default();
            let known = names(versions.keys());
            CatalogError::NotFound(format!(
                "pack `{name}` is not installed in version {version}; installed are {known}"
            ))
        })
    }

    /// The pack that has a workflow, in the version or its latest. Nothing is compiled.
    ///
    /// # Errors
    /// There is none; the text says what there is.
    pub fn find_workflow(
        &self,
        name: &PackName,
        version: Option<&semver::Version>,
        workflow: &WorkflowName,
    ) -> Result<Arc<Pack>, CatalogError> {
        let pack = self.find(name, version)?;
        if pack.workflows.contains_key(workflow) {
            return Ok(pack);
        }
        let (version, known) = (&pack.manifest.version, names(pack.workflows.keys()));
        Err(CatalogError::NotFound(format!("pack `{name}` {version} has no workflow `{workflow}`; it has {known}")))
    }

    /// The folder of an installed pack, for messages.
    pub fn folder(&self, pack: &Pack) -> PathBuf {
        self.store.folder(pack.digest)
    }

    pub(super) fn journal(&self) -> &dyn Journal {
        self.journal.as_ref()
    }

    pub(super) fn with_grants<T>(&self, look: impl FnOnce(&mut BTreeMap<Place, Grants>) -> T) -> T {
        look(&mut self.write().grants)
    }

    pub(super) async fn change(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.changing.lock().await
    }
}

impl Actions for Catalog {
    /// Finds an action of an installed pack, by default of its latest version. Without a pack there is nothing to find.
    fn action(
        &self,
        pack: Option<&PackName>,
        version: Option<&semver::Version>,
        name: &ActionName,
    ) -> Result<ActionDeclaration, LookupError> {
        let state = self.read();
        let unknown = |pack: &PackName| LookupError::Pack { pack: pack.clone(), known: texts(state.packs.keys()) };
        let Some(pack) = pack else {
            let nowhere = PackName::parse("none").expect("a fixed text that fits the rule");
            return Err(unknown(&nowhere));
        };
        let versions = state.packs.get(pack).ok_or_else(|| unknown(pack))?;
        let found = version.map_or_else(|| state.latest(pack), |version| versions.get(version)).cloned();
        let known = texts(versions.keys());
        drop(state);
        let missing = || {
            let version = version.cloned().unwrap_or(semver::Version::new(0, 0, 0));
            LookupError::Version { pack: pack.clone(), version, known }
        };
        let found = found.ok_or_else(missing)?;
        // A pack whose files are damaged has, as far as callers are concerned, no actions; the log has the reason.
        let declarations = self.declarations(&found).map_err(|error| {
            tracing::error!(%error, %pack, "read an installed pack");
            LookupError::Action { pack: pack.clone(), action: name.clone(), known: Vec::new() }
        })?;
        declarations.get(name)
    }
}

impl Pack {
    /// Its name and version.
    pub fn id(&self) -> PackVersion {
        PackVersion { name: self.manifest.name.clone(), version: self.manifest.version.clone() }
    }
}

impl State {
    fn all(&self) -> impl Iterator<Item = &Arc<Pack>> {
        self.packs.values().flat_map(BTreeMap::values)
    }

    fn latest(&self, name: &PackName) -> Option<&Arc<Pack>> {
        let versions = self.packs.get(name)?;
        let released = versions.iter().rev().find(|(version, _)| version.pre.is_empty());
        released.or_else(|| versions.iter().next_back()).map(|(_, pack)| pack)
    }

    fn latests(&self) -> impl Iterator<Item = &Arc<Pack>> {
        self.packs.keys().filter_map(|name| self.latest(name))
    }

    fn installed(&self, pack: &Pack) -> bool {
        let known = self.packs.get(&pack.manifest.name).and_then(|versions| versions.get(&pack.manifest.version));
        known.is_some_and(|known| known.digest == pack.digest)
    }

    fn add(&mut self, pack: Arc<Pack>) {
        let Manifest { name, version, .. } = &pack.manifest;
        self.packs.entry(name.clone()).or_default().insert(version.clone(), pack.clone());
    }

    fn remove(&mut self, pack: &Pack) {
        let id = pack.id();
        if let Some(versions) = self.packs.get_mut(&id.name) {
            versions.remove(&id.version);
            if versions.is_empty() {
                self.packs.remove(&id.name);
            }
        }
        self.declarations.remove(&id);
        self.workflows.retain(|(pack, _), _| *pack != id);
        let used: Vec<Digest> = self.all().flat_map(|pack| pack.components.values().copied()).collect();
        self.components.retain(|digest, _| used.contains(digest));
    }
}

fn texts<T: ToString>(names: impl Iterator<Item = T>) -> Vec<String> {
    names.map(|name| name.to_string()).collect()
}

/// A list for a message.
fn names<T: ToString>(names: impl Iterator<Item = T>) -> String {
    match texts(names) {
        names if names.is_empty() => "none".to_owned(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests;
