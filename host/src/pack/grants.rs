//! What an admin allowed a pack: which connection stands behind each name in its `pack.yaml`, which secret, which hosts.
//! An action gets only what it itself asks for and the admin allowed; everything else is denied where it is used.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::catalog::{Catalog, CatalogError, Pack};
use super::manifest::Uses;
use crate::capability::{Granted, HostPattern};
use crate::connection::call::Allowed;
use crate::connection::client::Client;
use crate::connection::registry::Connections;
use crate::connection::secrets::SecretStore;
use crate::definition::diagnostic::near;
use crate::definition::graph::ActionRef;
use crate::journal::{Batch, CommitError, Journal, StoreError, keys, row};
use crate::model::{ConnectionName, PackName, SecretName};
use crate::notification::Notifications;

/// A pack's grants; the body of `PUT /v1/packs/{name}/grants` and the stored row (key `g`). They hold for every
/// version of the pack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grants {
    /// The connection behind each connection name of `pack.yaml`.
    #[serde(default)]
    pub connections: BTreeMap<ConnectionName, ConnectionName>,
    /// The stored secret behind each secret name of `pack.yaml`.
    #[serde(default)]
    pub secrets: BTreeMap<SecretName, SecretName>,
    /// The hosts that may be reached by absolute URL, of those that its actions or its workflows ask for.
    #[serde(default)]
    pub hosts: Vec<HostPattern>,
}

/// Why grants cannot be stored. Nothing has been changed, except for `Store`.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// No version of the pack is installed.
    #[error("grant to pack `{0}`: it is not installed")]
    NotFound(PackName),
    /// Something is granted that no installed version asks for; all such things.
    #[error("grant to the pack: {}", .0.iter().map(|wrong| wrong.reason.as_str()).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<WrongGrant>),
    /// The journal failed.
    #[error("store the grants")]
    Store(#[source] CommitError),
}

/// One grant that cannot be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongGrant {
    /// The member of the body, `connections/backend`.
    pub member: String,
    /// What is wrong, and what there is instead.
    pub reason: String,
}

impl Catalog {
    /// A pack's grants; nothing is granted by default.
    pub fn grants(&self, pack: &PackName) -> Grants {
        self.with_grants(|all| all.get(pack).cloned()).unwrap_or_default()
    }

    /// Replaces a pack's grants. Durable on return; attempts under way keep what they had.
    ///
    /// # Errors
    /// See [`GrantError`]. That a connection or secret exists is not asked: it may be made later, and a denial says so.
    pub async fn put_grants(&self, pack: &PackName, grants: Grants) -> Result<(), GrantError> {
        let _alone = self.change().await;
        let versions = self.versions(pack);
        if versions.is_empty() {
            return Err(GrantError::NotFound(pack.clone()));
        }
        let wrong = wrong_grants(&versions, &grants);
        if !wrong.is_empty() {
            return Err(GrantError::Invalid(wrong));
        }
        let batch = Batch::default().put(keys::grants(pack), row::encode(&grants));
        self.journal().commit(batch).await.map_err(GrantError::Store)?;
        self.with_grants(|all| all.insert(pack.clone(), grants));
        Ok(())
    }

    /// What an attempt at this action may use.
    ///
    /// # Errors
    /// The action is not installed.
    pub fn granted(
        &self,
        action: &ActionRef,
        connections: &Connections,
        secrets: &SecretStore,
        notifications: &Arc<Notifications>,
    ) -> Result<Granted, CatalogError> {
        let (_, declared) = self.action_of(action)?;
        let grants = self.grants(&action.pack);
        let mut granted = Granted::nothing(action.pack.clone(), action.action.clone());
        granted.connections = live(&declared.uses, &grants, |name| connections.client(name));
        granted.secrets = allowed(&declared.uses.secrets, &grants.secrets);
        granted.hosts = common(&declared.uses.hosts, &grants.hosts);
        granted.inbox = declared.uses.inbox.then(|| notifications.clone());
        if !granted.secrets.is_empty() {
            granted.secret_store = Some(secrets.clone());
        }
        Ok(granted)
    }

    /// What the calls of this pack's workflows may reach: what the manifest's own `uses` asks for and the admin granted.
    ///
    /// # Errors
    /// That version of the pack is not installed.
    pub fn granted_workflow(
        &self,
        pack: &PackName,
        version: &semver::Version,
        connections: &Connections,
        secrets: &SecretStore,
    ) -> Result<Allowed, CatalogError> {
        let installed = self.find(pack, Some(version))?;
        let (uses, grants) = (&installed.manifest.uses, self.grants(pack));
        let hosts = common(&uses.hosts, &grants.hosts);
        let secrets_allowed = allowed(&uses.secrets, &grants.secrets);
        Ok(Allowed {
            pack: pack.clone(),
            connections: live(uses, &grants, |name| connections.client(name)),
            hosts: Arc::new(move |url| hosts.iter().any(|pattern| pattern.matches(url)).then(|| url.clone())),
            secret_store: (!secrets_allowed.is_empty()).then(|| secrets.clone()),
            secrets: secrets_allowed,
        })
    }
}

/// All grants of the store.
pub(super) fn read_all(journal: &dyn Journal) -> Result<BTreeMap<PackName, Grants>, StoreError> {
    let rows = super::catalog::rows::<Grants>(journal, keys::all_grants())?;
    let named = |(key, grants): (Vec<u8>, Grants)| {
        let name =
            key.get(1..).and_then(|name| std::str::from_utf8(name).ok()).and_then(|name| PackName::parse(name).ok());
        name.map(|name| (name, grants)).ok_or_else(|| StoreError("read the grants: a key is no pack name".to_owned()))
    };
    rows.into_iter().map(named).collect()
}

/// Of the connections that are asked for, those that are granted and exist.
fn live(
    uses: &Uses,
    grants: &Grants,
    client: impl Fn(&ConnectionName) -> Option<Arc<Client>>,
) -> BTreeMap<ConnectionName, Arc<Client>> {
    let granted = allowed(&uses.connections, &grants.connections);
    granted.into_iter().filter_map(|(asked, name)| Some((asked, client(&name)?))).collect()
}

fn allowed<T: Ord + Clone>(asked: &[T], granted: &BTreeMap<T, T>) -> BTreeMap<T, T> {
    asked.iter().filter_map(|name| Some((name.clone(), granted.get(name)?.clone()))).collect()
}

/// The hosts that are both asked for and granted. A pattern is compared as a whole: an admin grants what was asked for,
/// as it was asked for.
fn common(asked: &[HostPattern], granted: &[HostPattern]) -> Vec<HostPattern> {
    asked.iter().filter(|host| granted.contains(host)).cloned().collect()
}

fn wrong_grants(versions: &[Arc<Pack>], grants: &Grants) -> Vec<WrongGrant> {
    let asked =
        |pick: fn(&Pack) -> Vec<String>| -> Vec<String> { versions.iter().flat_map(|pack| pick(pack)).collect() };
    let connections = asked(|pack| pack.manifest.connections.keys().map(ToString::to_string).collect());
    let secrets = asked(|pack| pack.manifest.secrets.keys().map(ToString::to_string).collect());
    let hosts = asked(|pack| {
        let actions = pack.manifest.actions.values().map(|action| &action.uses);
        let hosts = actions.chain([&pack.manifest.uses]).flat_map(|uses| &uses.hosts);
        hosts.map(ToString::to_string).collect()
    });
    let mut wrong = Vec::new();
    let mut look = |kind: &str, name: String, known: &[String]| {
        if !known.contains(&name) {
            wrong.push(WrongGrant { member: format!("{kind}/{name}"), reason: unknown(kind, &name, known) });
        }
    };
    grants.connections.keys().for_each(|name| look("connections", name.to_string(), &connections));
    grants.secrets.keys().for_each(|name| look("secrets", name.to_string(), &secrets));
    grants.hosts.iter().for_each(|host| look("hosts", host.to_string(), &hosts));
    wrong
}

fn unknown(kind: &str, name: &str, known: &[String]) -> String {
    let asks = format!("no installed version of the pack asks for `{name}` under `{kind}`");
    match near(name, known.iter().map(String::as_str)).first() {
        Some(near) => format!("{asks}; did you mean `{near}`?"),
        None if known.is_empty() => format!("{asks}; it asks for none"),
        None => format!("{asks}; it asks for {}", known.join(", ")),
    }
}
