//! What a tenant's admin allowed a pack: which connection stands behind each name in its `pack.yaml`, which secret, which hosts.
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
use crate::model::{ConnectionName, PackName, SecretName, TenantName};
use crate::notification::AllNotifications;

/// A pack's grants; the body of `PUT /v1/packs/{name}/grants` and the stored row (key `g`). They hold for every
/// version of the pack, in one tenant.
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

/// Who grants, and to which pack.
pub(super) type Place = (TenantName, PackName);

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
    /// A tenant's grants to a pack; nothing is granted by default.
    pub fn grants(&self, tenant: &TenantName, pack: &PackName) -> Grants {
        self.with_grants(|all| all.get(&(tenant.clone(), pack.clone())).cloned()).unwrap_or_default()
    }

    /// To how many packs a tenant has granted something.
    pub fn count_grants(&self, tenant: &TenantName) -> usize {
        let given = |((owner, _), grants): &(&Place, &Grants)| owner == tenant && **grants != Grants::default();
        self.with_grants(|all| all.iter().filter(given).count())
    }

    /// Takes back all that a tenant has granted. Durable on return.
    ///
    /// # Errors
    /// The journal failed.
    pub async fn forget_grants(&self, tenant: &TenantName) -> Result<(), GrantError> {
        let _alone = self.change().await;
        let own = |all: &mut BTreeMap<Place, Grants>| -> Vec<PackName> {
            all.keys().filter(|(owner, _)| owner == tenant).map(|(_, pack)| pack.clone()).collect()
        };
        let packs = self.with_grants(own);
        let batch = packs.iter().fold(Batch::default(), |batch, pack| batch.delete(keys::grants(tenant, pack)));
        self.journal().commit(batch).await.map_err(GrantError::Store)?;
        self.with_grants(|all| all.retain(|(owner, _), _| owner != tenant));
        Ok(())
    }

    /// Replaces a tenant's grants to a pack. Durable on return; attempts under way keep what they had.
    ///
    /// # Errors
    /// See [`GrantError`]. That a connection or secret exists is not asked: it may be made later, and a denial says so.
    pub async fn put_grants(&self, tenant: &TenantName, pack: &PackName, grants: Grants) -> Result<(), GrantError> {
        let _alone = self.change().await;
        let versions = self.versions(pack);
        if versions.is_empty() {
            return Err(GrantError::NotFound(pack.clone()));
        }
        let wrong = wrong_grants(&versions, &grants);
        if !wrong.is_empty() {
            return Err(GrantError::Invalid(wrong));
        }
        let batch = Batch::default().put(keys::grants(tenant, pack), row::encode(&grants));
        self.journal().commit(batch).await.map_err(GrantError::Store)?;
        self.with_grants(|all| all.insert((tenant.clone(), pack.clone()), grants));
        Ok(())
    }

    /// What an attempt at this action may use in a tenant.
    ///
    /// # Errors
    /// The action is not installed, or the tenant's notifications cannot be read.
    pub fn granted(
        &self,
        tenant: &TenantName,
        action: &ActionRef,
        connections: &Connections,
        secrets: &SecretStore,
        notifications: &AllNotifications,
    ) -> Result<Granted, CatalogError> {
        let (_, declared) = self.action_of(action)?;
        let grants = self.grants(tenant, &action.pack);
        let mut granted = Granted::nothing(action.pack.clone(), action.action.clone());
        granted.connections = live(&declared.uses, &grants, |name| connections.client(tenant, name));
        granted.secrets = allowed(&declared.uses.secrets, &grants.secrets);
        granted.hosts = common(&declared.uses.hosts, &grants.hosts);
        granted.inbox = declared.uses.inbox.then(|| notifications.of(tenant)).transpose()?;
        if !granted.secrets.is_empty() {
            granted.secret_store = Some(secrets.of(tenant));
        }
        Ok(granted)
    }

    /// What the calls of this pack's workflows may reach in a tenant: what the manifest's own `uses` asks for and the admin granted.
    ///
    /// # Errors
    /// That version of the pack is not installed.
    pub fn granted_workflow(
        &self,
        tenant: &TenantName,
        pack: &PackName,
        version: &semver::Version,
        connections: &Connections,
        secrets: &SecretStore,
    ) -> Result<Allowed, CatalogError> {
        let installed = self.find(pack, Some(version))?;
        let (uses, grants) = (&installed.manifest.uses, self.grants(tenant, pack));
        let hosts = common(&uses.hosts, &grants.hosts);
        let secrets_allowed = allowed(&uses.secrets, &grants.secrets);
        Ok(Allowed {
            pack: pack.clone(),
            tenant: tenant.clone(),
            connections: live(uses, &grants, |name| connections.client(tenant, name)),
            hosts: Arc::new(move |url| hosts.iter().any(|pattern| pattern.matches(url)).then(|| url.clone())),
            secret_store: (!secrets_allowed.is_empty()).then(|| secrets.of(tenant)),
            secrets: secrets_allowed,
        })
    }
}

/// All grants of the store.
pub(super) fn read_all(journal: &dyn Journal) -> Result<BTreeMap<Place, Grants>, StoreError> {
    let mut all = BTreeMap::new();
    for prefix in keys::all_grants() {
        for (key, grants) in super::catalog::rows::<Grants>(journal, prefix)? {
            let place = keys::owner_and_name(&key).and_then(|(owner, name)| Some((owner, PackName::parse(name).ok()?)));
            let place = place.ok_or_else(|| StoreError("read the grants: a key is no pack name".to_owned()))?;
            all.insert(place, grants);
        }
    }
    Ok(all)
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
