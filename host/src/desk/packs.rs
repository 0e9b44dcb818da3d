//! What a run was given: packs whose actions it really calls, installed into a temporary folder and granted what the
//! author gave on the command line; hosts, stand-ins, secrets. A connection that a pack asks for is the mapped base URL of that name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use url::Url;

use super::perform::{Performer, Ways};
use super::tools::Tools;
use crate::clock::SystemClock;
use crate::connection::Connections;
use crate::connection::call::Allowed;
use crate::connection::declaration::Connection;
use crate::connection::secrets::SecretStore;
use crate::coordinator::{Sandboxed, caller};
use crate::definition::{Diagnostic, Severity};
use crate::journal::Journal;
use crate::journal::memory::MemoryJournal;
use crate::model::{ConnectionName, PackName, SecretName, TenantName};
use crate::notification::AllNotifications;
use crate::pack::Catalog;
use crate::pack::catalog::{InstallError, Pack};
use crate::pack::grants::Grants;

/// What was given, as long as it is used.
pub struct Packs {
    /// What is installed.
    pub catalog: Arc<Catalog>,
    connections: Arc<Connections>,
    secrets: SecretStore,
    notifications: Arc<AllNotifications>,
    tools: Arc<Tools>,
    _folder: tempfile::TempDir,
}

/// What a run gives its packs.
#[derive(Debug, Default)]
pub struct Given {
    /// The folders of built packs.
    pub folders: Vec<PathBuf>,
    /// The folder of the pack that the workflow stands in. It is installed as well where it is built and sound; else its
    /// actions are known, and not at hand.
    pub own: Option<PathBuf>,
    /// Connections as an admin declares them; their secrets are those of the run.
    pub connections: BTreeMap<ConnectionName, Connection>,
    /// The hosts and stand-ins.
    pub ways: Ways,
    /// Secrets by name.
    pub secrets: BTreeMap<SecretName, Vec<u8>>,
}

impl Packs {
    /// Installs the packs and grants them what they ask for and were given.
    ///
    /// # Errors
    /// A pack has errors or is not built, or the machine fails; the text says which and why.
    pub async fn open(given: &Given, tools: Arc<Tools>) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| format!("make a temporary folder: {error}"))?;
        let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
        let secrets = SecretStore::open(journal.clone(), &folder.path().join("key")).map_err(text)?;
        let connections = Connections::open(journal.clone(), secrets.clone()).map_err(text)?;
        let notifications = AllNotifications::open(journal.clone(), Arc::new(SystemClock)).map_err(text)?;
        let (sandbox, evaluator) = (tools.sandbox.clone(), tools.evaluator.clone());
        let catalog = Catalog::open(journal, &folder.path().join("packs"), sandbox, evaluator).map_err(text)?;
        let packs = Self { catalog, connections, secrets, notifications, tools, _folder: folder };
        packs.give(given).await?;
        packs.install(given).await?;
        packs.install_own(given).await?;
        Ok(packs)
    }

    /// Who performs the calls of a run that was given this.
    ///
    /// # Errors
    /// TLS cannot be set up on this machine.
    pub fn performer(&self, given: &Given) -> Result<Performer, String> {
        let rooms = Sandboxed {
            catalog: self.catalog.clone(),
            connections: self.connections.clone(),
            secrets: self.secrets.clone(),
            notifications: self.notifications.clone(),
            sandbox: self.tools.sandbox.clone(),
            caller: caller(Arc::new(SystemClock))?,
        };
        let tenant = TenantName::standard();
        let names = self.connections.list(&tenant).into_iter().map(|(name, _)| name);
        let ways = given.ways.clone();
        let allowed = Allowed {
            // The pack of each call takes its place.
            pack: PackName::parse("desk").expect("a fixed text that fits the rule"),
            connections: names
                .filter_map(|name| Some((name.clone(), self.connections.client(&tenant, &name)?)))
                .collect(),
            hosts: Arc::new(move |url| ways.reach(url)),
            secrets: given.secrets.keys().map(|name| (name.clone(), name.clone())).collect(),
            secret_store: Some(self.secrets.of(&tenant)),
            tenant: tenant.clone(),
        };
        Ok(Performer { rooms, ways: given.ways.clone(), allowed })
    }

    /// Stores secrets and makes connections of the mapped names.
    async fn give(&self, given: &Given) -> Result<(), String> {
        let tenant = TenantName::standard();
        for (name, value) in &given.secrets {
            self.secrets.of(&tenant).put(name, value).await.map_err(text)?;
        }
        for (name, url) in &given.ways.mapped {
            // A host with a dot is no connection's name.
            let Ok(name) = ConnectionName::parse(name) else { continue };
            self.connections.put(&tenant, &name, connection(url)?).await.map_err(text)?;
        }
        for (name, declared) in &given.connections {
            let put = self.connections.put(&tenant, name, declared.clone()).await;
            put.map_err(|error| format!("take the connection `{name}`: {error}"))?;
        }
        Ok(())
    }

    async fn install_own(&self, given: &Given) -> Result<(), String> {
        let Some(own) = given.own.as_ref().filter(|own| !given.folders.iter().any(|named| same(named, own))) else {
            return Ok(());
        };
        // What is wrong with the workflow itself is told by the run, with its place.
        match self.catalog.install_directory(own).await {
            Ok(installed) => self.grant(&installed.pack, given).await,
            Err(_) => Ok(()),
        }
    }

    async fn install(&self, given: &Given) -> Result<(), String> {
        // A pack may call another one that is named after it: what fails is tried again while something succeeds.
        let mut open: Vec<&PathBuf> = given.folders.iter().collect();
        loop {
            let (mut failed, before) = (Vec::new(), open.len());
            for folder in std::mem::take(&mut open) {
                match self.catalog.install_directory(folder).await {
                    Ok(installed) => self.grant(&installed.pack, given).await?,
                    Err(error) => failed.push((folder, error)),
                }
            }
            match failed.first() {
                None => return Ok(()),
                Some((folder, error)) if failed.len() == before => {
                    return Err(format!("install `{}`: {}", folder.display(), told(error)));
                }
                Some(_) => open = failed.into_iter().map(|(folder, _)| folder).collect(),
            }
        }
    }

    async fn grant(&self, pack: &Pack, given: &Given) -> Result<(), String> {
        let manifest = &pack.manifest;
        let is_mapped = |name: &&ConnectionName| self.connections.get(&TenantName::standard(), name).is_some();
        let is_given = |name: &&SecretName| given.secrets.contains_key(*name);
        let itself = |name: &ConnectionName| (name.clone(), name.clone());
        let hosts = manifest.actions.values().flat_map(|action| &action.uses.hosts);
        let grants = Grants {
            connections: manifest.connections.keys().filter(is_mapped).map(itself).collect(),
            secrets: manifest.secrets.keys().filter(is_given).map(|name| (name.clone(), name.clone())).collect(),
            hosts: hosts.filter(|host| given.ways.allowed.contains(host)).cloned().collect(),
        };
        self.catalog.put_grants(&TenantName::standard(), &manifest.name, grants).await.map_err(text)
    }
}

/// Whether two paths are one folder.
fn same(one: &Path, other: &Path) -> bool {
    std::fs::canonicalize(one).is_ok_and(|one| std::fs::canonicalize(other).is_ok_and(|other| one == other))
}

/// A connection without authentication.
fn connection(url: &Url) -> Result<Connection, String> {
    serde_json::from_value(json!({ "baseUrl": url.as_str() })).map_err(text)
}

fn told(error: &InstallError) -> String {
    let findings: &[Diagnostic] = match error {
        InstallError::Findings(findings) => findings,
        _ => &[],
    };
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    let lines: Vec<_> = errors.map(|finding| format!("{}: {}", finding.path, finding.message)).collect();
    match lines.is_empty() {
        false => lines.join("; "),
        true => {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(error);
            while let Some(inner) = cause {
                text.push_str(&format!(": {inner}"));
                cause = inner.source();
            }
            text
        }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
