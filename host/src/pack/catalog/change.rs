//! The way in and the way out. A pack is checked in a folder of its own, put in its place under the name of its digest,
//! and then made installed by one batch of rows; whatever fails before leaves nothing behind.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use cap_std::fs::Dir;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::store::Incoming;
use super::{Catalog, PAGE, Pack, WorkflowEntry};
use crate::clock::{Clock, SystemClock};
use crate::definition::Diagnostic;
use crate::journal::{Batch, CommitError, Expectation, Journal, Key, Scan, StoreError, keys, row};
use crate::model::{Digest, Json, PackName, ServiceName};
use crate::pack::archive;
use crate::pack::directory::{Directory, FilesError};
use crate::pack::install::{CheckError, PackVersion, Rules, Sound, SoundWorkflow, check};
use crate::sandbox;

/// A pack that is installed now.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The pack.
    pub pack: Arc<Pack>,
    /// Whether this call installed it; `false` when the very same pack was there already.
    pub created: bool,
    /// What is probably not meant in it.
    pub warnings: Vec<Diagnostic>,
}

/// Why a pack cannot be installed. Nothing has been changed when this is returned, except for `Store`, after which the
/// pack may turn out to be installed when the server is started again.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The pack has to be changed; everything that is wrong with it.
    #[error("install the pack: it has errors, the first of {}: {}", .0.len(), first(.0))]
    Findings(Vec<Diagnostic>),
    /// The archive or folder has to be changed.
    #[error("install the pack")]
    Refused(#[source] FilesError),
    /// This version is installed with other content.
    #[error(
        "install pack `{pack}`: this version is installed with other content ({installed}); give the new content a higher version in `pack.yaml`"
    )]
    Conflict {
        /// The pack.
        pack: PackVersion,
        /// The digest that is installed.
        installed: Digest,
    },
    /// Another pack has a service of that name.
    #[error(
        "install the pack: its service `{service}` is already brought by pack `{pack}`; rename it or remove that pack"
    )]
    ServiceTaken {
        /// The service.
        service: ServiceName,
        /// The pack that has it.
        pack: PackName,
    },
    /// The machine failed.
    #[error("install the pack")]
    Machine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The journal failed.
    #[error("install the pack")]
    Store(#[source] CommitError),
}

fn first(findings: &[Diagnostic]) -> &str {
    findings.first().map_or("", |finding| &finding.message)
}

impl From<FilesError> for InstallError {
    fn from(error: FilesError) -> Self {
        match error {
            FilesError::Refused { .. } => Self::Refused(error),
            FilesError::Io { .. } => Self::Machine(Box::new(error)),
        }
    }
}

impl From<CheckError> for InstallError {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Findings(findings) => Self::Findings(findings),
            CheckError::Files(error) => error.into(),
        }
    }
}

/// Why a pack cannot be removed. Nothing has been changed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// It is not installed.
    #[error("remove pack `{0}`: it is not installed")]
    NotFound(PackVersion),
    /// Instances that have not ended use it.
    #[error(
        "remove pack `{0}`: instances that have not ended use it; wait for them, cancel them, or force the removal"
    )]
    InUse(PackVersion),
    /// Workflows of other packs call its actions.
    #[error("remove pack `{pack}`: workflows of `{by}` call its actions; remove that pack first, or force the removal")]
    Required {
        /// The pack.
        pack: PackVersion,
        /// One of the packs that need it.
        by: PackVersion,
    },
    /// The journal failed.
    #[error("remove the pack")]
    Store(#[source] CommitError),
}

/// Which pack has a service of a name (key `s`).
#[derive(Debug, Serialize, Deserialize)]
struct ServiceRow {
    pack: PackName,
}

/// A pack that was checked, in a folder of its own.
struct Checked {
    incoming: Incoming,
    directory: Directory,
    sound: Sound,
}

impl Catalog {
    /// Installs a pack from the bytes of a `.tar.zst` or `.tar.gz`. Durable on return. Installing the same content
    /// again is no error; it goes on to its end when the future is dropped.
    ///
    /// # Errors
    /// See [`InstallError`].
    pub async fn install_archive(self: &Arc<Self>, archive: Bytes) -> Result<Installation, InstallError> {
        self.install(move |target| archive::unpack(&archive, target)).await
    }

    /// Installs a pack from a folder of this machine; otherwise like [`Catalog::install_archive`].
    ///
    /// # Errors
    /// See [`InstallError`].
    pub async fn install_directory(self: &Arc<Self>, folder: &Path) -> Result<Installation, InstallError> {
        let folder = folder.to_owned();
        self.install(move |target| Directory::open(&folder)?.copy_to(target)).await
    }

    async fn install(
        self: &Arc<Self>,
        fill: impl FnOnce(&Dir) -> Result<(), FilesError> + Send + 'static,
    ) -> Result<Installation, InstallError> {
        let catalog = self.clone();
        // In a task of its own: were it dropped between the rows and the memory, the two would tell different stories.
        let task = tokio::spawn(async move {
            let _alone = catalog.change().await;
            let checking = catalog.clone();
            let checked = tokio::task::spawn_blocking(move || checking.check(fill));
            let checked = checked.await.map_err(|error| InstallError::Machine(Box::new(error)))??;
            catalog.admit(checked).await
        });
        task.await.map_err(|error| InstallError::Machine(Box::new(error)))?
    }

    fn check(&self, fill: impl FnOnce(&Dir) -> Result<(), FilesError>) -> Result<Checked, InstallError> {
        let incoming = self.store.incoming()?;
        let folder = incoming.open()?;
        fill(&folder)?;
        let directory = Directory::scan(folder)?;
        let imports = |bytes: &[u8]| sandbox::imports(bytes).map_err(|error| error.to_string());
        let rules = Rules { installed: self, evaluator: self.evaluator.as_ref(), imports: &imports, built: true };
        let sound = check(&directory, &rules)?;
        Ok(Checked { incoming, directory, sound })
    }

    async fn admit(&self, checked: Checked) -> Result<Installation, InstallError> {
        let Checked { incoming, directory, sound } = checked;
        let digest = directory.digest();
        let id = PackVersion { name: sound.manifest.name.clone(), version: sound.manifest.version.clone() };
        if let Some(pack) = self.get(&id.name, &id.version) {
            return match pack.digest == digest {
                true => Ok(Installation { pack, created: false, warnings: sound.warnings }),
                false => Err(InstallError::Conflict { pack: id, installed: pack.digest }),
            };
        }
        self.services_free(&sound)?;
        self.precompile(&directory, &sound).await?;
        let bytes = directory.bytes();
        drop(directory);
        incoming.place(digest)?;
        let (pack, warnings) = stored(sound, digest, bytes);
        self.commit_new(&pack).await?;
        let pack = Arc::new(pack);
        self.write().add(pack.clone());
        self.changes.send_modify(|changes| *changes += 1);
        Ok(Installation { pack, created: true, warnings })
    }

    fn services_free(&self, sound: &Sound) -> Result<(), InstallError> {
        let state = self.read();
        for service in &sound.manifest.services {
            let others = state.all().filter(|pack| pack.manifest.name != sound.manifest.name);
            let taken =
                others.into_iter().find(|pack| pack.manifest.services.iter().any(|other| other.name == service.name));
            if let Some(pack) = taken {
                let (service, pack) = (service.name.clone(), pack.manifest.name.clone());
                return Err(InstallError::ServiceTaken { service, pack });
            }
        }
        Ok(())
    }

    /// Compiles every component, which also finds what only compiling finds: a wrong type, a missing export.
    async fn precompile(&self, directory: &Directory, sound: &Sound) -> Result<(), InstallError> {
        let mut findings = Vec::new();
        for (name, component) in &sound.manifest.components {
            let Some(digest) = sound.components.get(name) else { continue };
            let Some(bytes) = directory.read(&component.path)? else { continue };
            if let Err(error) = self.sandbox.load(*digest, &bytes).await {
                let path = component.path.as_str();
                let source = crate::definition::Source { path, text: "" };
                let message = format!("the component `{name}` cannot be loaded: {error}");
                let finding = Diagnostic::error("bad-component", source, crate::definition::Position::START, message);
                findings.push(finding.cure("build it against the world that `world` names, with `orchctl pack build`"));
            }
        }
        match findings.is_empty() {
            true => Ok(()),
            false => Err(InstallError::Findings(findings)),
        }
    }

    async fn commit_new(&self, pack: &Pack) -> Result<(), InstallError> {
        let key = keys::pack(&pack.manifest.name, &pack.manifest.version);
        let mut batch = Batch::default().expect(Expectation::Absent(key.clone())).put(key, row::encode(pack));
        for service in &pack.manifest.services {
            let value = row::encode(&ServiceRow { pack: pack.manifest.name.clone() });
            batch = batch.put(keys::service(&service.name), value);
        }
        let committed = self.journal.commit(batch).await;
        if let Err(CommitError::Conflict(_)) = committed {
            self.discard(pack.digest); // Certainly not written. After a failed store it may be, and the folder stays.
        }
        committed.map_err(InstallError::Store)
    }

    fn discard(&self, digest: Digest) {
        if let Err(error) = self.store.remove(digest) {
            tracing::warn!(%error, "remove a pack's folder; it is swept when the server starts again");
        }
    }

    /// Removes a version of a pack. Durable on return. `in_use` tells whether instances that have not ended use it;
    /// a forced removal does not ask, and such instances fault at their next call.
    ///
    /// # Errors
    /// See [`RemoveError`].
    pub async fn remove(
        &self,
        name: &PackName,
        version: &semver::Version,
        force: bool,
        in_use: impl Fn(&PackName, &semver::Version) -> bool,
    ) -> Result<(), RemoveError> {
        let _alone = self.change().await;
        let id = PackVersion { name: name.clone(), version: version.clone() };
        let pack = self.get(name, version).ok_or_else(|| RemoveError::NotFound(id.clone()))?;
        if !force {
            if in_use(name, version) {
                return Err(RemoveError::InUse(id));
            }
            if let Some(by) = self.list().iter().find(|other| other.requires.contains(&id)) {
                return Err(RemoveError::Required { pack: id, by: by.id() });
            }
        }
        self.journal.commit(self.removal(&pack)).await.map_err(RemoveError::Store)?;
        self.write().remove(&pack);
        self.changes.send_modify(|changes| *changes += 1);
        self.discard(pack.digest);
        Ok(())
    }

    /// The pack's row, and the rows of the services that no other version of it brings.
    fn removal(&self, pack: &Pack) -> Batch {
        let rest = self.versions(&pack.manifest.name).into_iter().filter(|other| other.digest != pack.digest);
        let kept: Vec<ServiceName> = rest
            .flat_map(|other| other.manifest.services.iter().map(|service| service.name.clone()).collect::<Vec<_>>())
            .collect();
        let mut batch = Batch::default().delete(keys::pack(&pack.manifest.name, &pack.manifest.version));
        for service in pack.manifest.services.iter().filter(|service| !kept.contains(&service.name)) {
            batch = batch.delete(keys::service(&service.name));
        }
        batch
    }
}

fn stored(sound: Sound, digest: Digest, bytes: u64) -> (Pack, Vec<Diagnostic>) {
    let entry = |workflow: &SoundWorkflow| WorkflowEntry {
        path: workflow.path.clone(),
        title: workflow.program.title.clone(),
        summary: workflow.program.summary.clone(),
        digest: workflow.program.digest,
        input: input_schema(&workflow.program.definition),
        scheduled: workflow.program.schedule.is_some(),
    };
    let workflows = sound.workflows.iter().map(|(name, workflow)| (name.clone(), entry(workflow))).collect();
    let pack = Pack {
        digest,
        bytes,
        installed_at: SystemClock.now(),
        manifest: sound.manifest,
        components: sound.components,
        workflows,
        requires: sound.requires.into_iter().collect(),
    };
    (pack, sound.warnings)
}

/// The schema that a definition has for its input.
fn input_schema(definition: &Json) -> Option<Json> {
    definition.pointer("/input/schema/document").cloned()
}

/// Every row under a prefix, decoded, with its key.
pub(in crate::pack) fn rows<T: DeserializeOwned>(
    journal: &dyn Journal,
    prefix: Key,
) -> Result<Vec<(Key, T)>, StoreError> {
    let mut all = Vec::new();
    let mut scan = Scan::prefix(prefix, PAGE);
    loop {
        let page = journal.scan(scan.clone())?;
        let last = page.last().map(|row| row.key.clone());
        let full = page.len() == PAGE;
        for found in page {
            all.push((found.key, row::decode(&found.value)?));
        }
        match last {
            Some(last) if full => scan.after = Some(last),
            _ => return Ok(all),
        }
    }
}
