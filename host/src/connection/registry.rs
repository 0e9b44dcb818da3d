//! The connections that the admins of the tenants made: stored in the journal, each with its live client.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use http::HeaderName;

use super::client::{Client, RESPONSE_BYTES_MAX, forbidden};
use super::declaration::{Authentication, Connection};
use super::secrets::SecretStore;
use crate::journal::{Batch, CommitError, Journal, Scan, StoreError, keys, row};
use crate::model::{ConnectionName, TenantName};

/// More connections are not taken over all tenants; far above what one installation uses, and each holds a client.
const CONNECTIONS_MAX: usize = 10_000;

/// More connections of one tenant are not taken, so that a tenant leaves place to the others.
const CONNECTIONS_OF_TENANT_MAX: usize = 2_000;

/// The connections of all tenants.
pub struct Connections {
    journal: Arc<dyn Journal>,
    secrets: SecretStore,
    live: RwLock<BTreeMap<Place, Live>>,
    /// Held over a change, so that journal and memory change in the same order.
    changing: tokio::sync::Mutex<()>,
}

/// Whose, and its name.
type Place = (TenantName, ConnectionName);

struct Live {
    declaration: Connection,
    client: Arc<Client>,
}

/// Why a connection cannot be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The declaration is wrong.
    #[error("`{member}`: {reason}")]
    Invalid {
        /// The member of the declaration, `baseUrl`, …
        member: &'static str,
        /// What is wrong and what to write instead.
        reason: String,
    },
    /// The store failed.
    #[error("store the connection")]
    Store(#[source] CommitError),
}

impl From<StoreError> for ConnectionError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.into())
    }
}

impl Connections {
    /// Reads all connections and makes their clients.
    ///
    /// # Errors
    /// The store cannot be read, or a stored declaration is no longer valid.
    pub fn open(journal: Arc<dyn Journal>, secrets: SecretStore) -> Result<Arc<Self>, ConnectionError> {
        let mut live = BTreeMap::new();
        for prefix in keys::connections() {
            for row in journal.scan(Scan::prefix(prefix, CONNECTIONS_MAX))? {
                let place = place_of(&row.key)
                    .ok_or_else(|| StoreError("read a connection: its key is not a name".to_owned()))?;
                let made = make(&place, row::decode(&row.value)?, &secrets)?;
                live.insert(place, made);
            }
        }
        Ok(Arc::new(Self { journal, secrets, live: RwLock::new(live), changing: tokio::sync::Mutex::default() }))
    }

    /// Makes or replaces a connection; true where it was made. Durable on return; attempts under way keep the old client.
    ///
    /// # Errors
    /// The declaration is wrong (nothing was written), or the store failed.
    pub async fn put(
        &self,
        tenant: &TenantName,
        name: &ConnectionName,
        declaration: Connection,
    ) -> Result<bool, ConnectionError> {
        validate(&declaration)?;
        let stored = row::encode(&declaration);
        let place = (tenant.clone(), name.clone());
        let live = make(&place, declaration, &self.secrets)?;
        let _changing = self.changing.lock().await;
        if self.get(tenant, name).is_none() {
            self.check_place(tenant)?;
        }
        let batch = Batch::default().put(keys::connection(tenant, name), stored);
        self.journal.commit(batch).await.map_err(ConnectionError::Store)?;
        let replaced = self.live.write().expect("no holder of this lock panics").insert(place, live);
        Ok(replaced.is_none())
    }

    fn check_place(&self, tenant: &TenantName) -> Result<(), ConnectionError> {
        let full = |max: usize| invalid("name", format!("at most {max} connections are kept; delete one"));
        match (self.count(tenant), self.read().len()) {
            (CONNECTIONS_OF_TENANT_MAX.., _) => full(CONNECTIONS_OF_TENANT_MAX),
            (_, CONNECTIONS_MAX..) => full(CONNECTIONS_MAX),
            _ => Ok(()),
        }
    }

    /// The declaration.
    pub fn get(&self, tenant: &TenantName, name: &ConnectionName) -> Option<Connection> {
        self.read().get(&(tenant.clone(), name.clone())).map(|live| live.declaration.clone())
    }

    /// A tenant's declarations in order of their names.
    pub fn list(&self, tenant: &TenantName) -> Vec<(ConnectionName, Connection)> {
        let live = self.read();
        let own = live.iter().filter(|((owner, _), _)| owner == tenant);
        own.map(|((_, name), live)| (name.clone(), live.declaration.clone())).collect()
    }

    /// How many connections a tenant has.
    pub fn count(&self, tenant: &TenantName) -> usize {
        self.read().keys().filter(|(owner, _)| owner == tenant).count()
    }

    /// Removes a connection; whether there was one. Durable on return; attempts under way keep its client.
    ///
    /// # Errors
    /// The store failed.
    pub async fn delete(&self, tenant: &TenantName, name: &ConnectionName) -> Result<bool, ConnectionError> {
        let _changing = self.changing.lock().await;
        if self.get(tenant, name).is_none() {
            return Ok(false);
        }
        let batch = Batch::default().delete(keys::connection(tenant, name));
        self.journal.commit(batch).await.map_err(ConnectionError::Store)?;
        self.live.write().expect("no holder of this lock panics").remove(&(tenant.clone(), name.clone()));
        Ok(true)
    }

    /// The live client.
    pub fn client(&self, tenant: &TenantName, name: &ConnectionName) -> Option<Arc<Client>> {
        self.read().get(&(tenant.clone(), name.clone())).map(|live| live.client.clone())
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<Place, Live>> {
        self.live.read().expect("no holder of this lock panics")
    }
}

fn place_of(key: &[u8]) -> Option<Place> {
    let (tenant, name) = keys::owner_and_name(key)?;
    Some((tenant, ConnectionName::parse(name).ok()?))
}

/// A client with the secrets of its own tenant.
fn make((tenant, name): &Place, declaration: Connection, secrets: &SecretStore) -> Result<Live, ConnectionError> {
    let client = Client::new(name.clone(), declaration.clone(), secrets.of(tenant));
    let client = client.map_err(|reason| ConnectionError::Invalid { member: "caCertificates", reason })?;
    Ok(Live { declaration, client: Arc::new(client) })
}

pub(super) fn invalid<T>(member: &'static str, reason: impl Into<String>) -> Result<T, ConnectionError> {
    Err(ConnectionError::Invalid { member, reason: reason.into() })
}

/// Checks a declaration beyond its shape.
///
/// # Errors
/// [`ConnectionError::Invalid`] with the member and what to write instead.
pub fn validate(connection: &Connection) -> Result<(), ConnectionError> {
    match &connection.mail {
        None => validate_base_url(connection)?,
        Some(settings) => super::mail::settings::validate(connection, settings)?,
    }
    if !(1..=3_600_000).contains(&connection.timeout_ms) {
        return invalid("timeoutMs", "write 1 to 3600000 (one hour)");
    }
    if !(1..=RESPONSE_BYTES_MAX).contains(&connection.response_bytes_max) {
        return invalid("responseBytesMax", format!("write 1 to {RESPONSE_BYTES_MAX} (8 MiB)"));
    }
    if !(1..=1024).contains(&connection.exchanges_max) {
        return invalid("exchangesMax", "write 1 to 1024");
    }
    if let Some(header) = &connection.idempotency_header {
        validate_header("idempotencyHeader", header)?;
    }
    validate_authentication(&connection.authentication)
}

fn validate_base_url(connection: &Connection) -> Result<(), ConnectionError> {
    let url = &connection.base_url;
    let wrong = if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        "write a URL that starts with `https://` (or `http://`) and a host"
    } else if !url.username().is_empty() || url.password().is_some() {
        "remove the user from the URL; credentials belong in `authentication`"
    } else if url.query().is_some() || url.fragment().is_some() {
        "remove the query and the fragment; only a path may follow the host"
    } else {
        return Ok(());
    };
    invalid("baseUrl", wrong)
}

fn validate_authentication(authentication: &Authentication) -> Result<(), ConnectionError> {
    match authentication {
        Authentication::None | Authentication::Bearer { .. } | Authentication::Path { .. } => Ok(()),
        Authentication::Basic { username, .. } => match username.contains(|c: char| c == ':' || c.is_control()) {
            true => invalid("authentication.username", "remove `:` and control characters (RFC 7617)"),
            false => Ok(()),
        },
        Authentication::OAuth2 { token_url, username, password, .. } => {
            if !matches!(token_url.scheme(), "http" | "https") || token_url.host_str().is_none() {
                return invalid("authentication.tokenUrl", "write a URL that starts with `https://` and a host");
            }
            match username.is_some() == password.is_some() {
                true => Ok(()),
                false => invalid("authentication.username", "give `username` and `password` together, or neither"),
            }
        }
        Authentication::Header { name, .. } => validate_header("authentication.name", name),
        Authentication::Hmac { header, .. } => validate_header("authentication.header", header),
        Authentication::AwsSigV4 { region, service, access_key_id, .. } => {
            for (member, text) in [
                ("authentication.region", region),
                ("authentication.service", service),
                ("authentication.accessKeyId", access_key_id),
            ] {
                if text.is_empty() || !text.chars().all(|c| c.is_ascii_graphic() && c != '/' && c != ',') {
                    return invalid(member, "write printable ASCII without spaces, `/` and `,`");
                }
            }
            Ok(())
        }
    }
}

fn validate_header(member: &'static str, text: &str) -> Result<(), ConnectionError> {
    match HeaderName::from_bytes(text.as_bytes()) {
        Ok(name) if !forbidden(&name) => Ok(()),
        Ok(name) => invalid(member, format!("choose another field: `{name}` is set by the host itself")),
        Err(_) => invalid(member, "write a field's name as HTTP allows it, such as `X-Auth-Token`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::memory::MemoryJournal;
    use serde_json::json;

    fn name(text: &str) -> ConnectionName {
        ConnectionName::parse(text).unwrap()
    }

    fn open(directory: &tempfile::TempDir, journal: &Arc<MemoryJournal>) -> Arc<Connections> {
        let secrets = SecretStore::open(journal.clone(), &directory.path().join("key")).unwrap();
        Connections::open(journal.clone(), secrets).unwrap()
    }

    fn declaration(json: serde_json::Value) -> Connection {
        serde_json::from_value(json).unwrap()
    }

    fn tenant(text: &str) -> TenantName {
        TenantName::parse(text).unwrap()
    }

    #[tokio::test]
    async fn connections_survive_a_restart() {
        for owner in [tenant("default"), tenant("red")] {
            let (directory, journal) = (tempfile::tempdir().unwrap(), Arc::new(MemoryJournal::new()));
            let connection = declaration(json!({"baseUrl": "https://a.example/v1"}));
            let connections = open(&directory, &journal);
            assert!(connections.put(&owner, &name("a"), connection.clone()).await.unwrap());
            assert!(!connections.put(&owner, &name("a"), connection.clone()).await.unwrap());
            let connections = open(&directory, &journal);
            assert_eq!(connections.list(&owner), [(name("a"), connection)]);
            assert!(connections.client(&owner, &name("a")).is_some());
            assert!(connections.delete(&owner, &name("a")).await.unwrap());
            assert!(!connections.delete(&owner, &name("a")).await.unwrap());
            assert!(open(&directory, &journal).list(&owner).is_empty());
        }
    }

    #[tokio::test]
    async fn connections_of_two_tenants_do_not_meet() {
        let (directory, journal) = (tempfile::tempdir().unwrap(), Arc::new(MemoryJournal::new()));
        let connections = open(&directory, &journal);
        let at = |host: &str| declaration(json!({"baseUrl": format!("https://{host}.example/")}));
        for (owner, host) in [("default", "one"), ("red", "two")] {
            assert!(connections.put(&tenant(owner), &name("a"), at(host)).await.unwrap(), "it is new in this tenant");
        }
        connections.put(&tenant("red"), &name("b"), at("three")).await.unwrap();
        for connections in [&connections, &open(&directory, &journal)] {
            assert_eq!(connections.list(&tenant("default")), [(name("a"), at("one"))]);
            assert_eq!(connections.list(&tenant("red")), [(name("a"), at("two")), (name("b"), at("three"))]);
            assert!(connections.list(&tenant("blue")).is_empty() && connections.count(&tenant("blue")) == 0);
            assert!(connections.client(&tenant("default"), &name("b")).is_none());
        }
        assert!(!connections.delete(&tenant("blue"), &name("a")).await.unwrap());
        assert!(connections.delete(&tenant("red"), &name("a")).await.unwrap());
        assert!(connections.get(&tenant("default"), &name("a")).is_some());
    }

    #[tokio::test]
    async fn a_tenant_that_has_taken_its_place_leaves_the_others_theirs() {
        let (directory, journal) = (tempfile::tempdir().unwrap(), Arc::new(MemoryJournal::new()));
        let stored = row::encode(&declaration(json!({"baseUrl": "https://a.example/"})));
        let row = |number| (keys::connection(&tenant("red"), &name(&format!("c{number}"))), stored.clone());
        let rows = (0..CONNECTIONS_OF_TENANT_MAX).map(row);
        journal.apply(rows.fold(Batch::default(), |batch, (key, value)| batch.put(key, value))).unwrap();
        let connections = open(&directory, &journal);
        let put = async |owner: &str, named: &str| {
            let connection = declaration(json!({"baseUrl": "https://b.example/"}));
            connections.put(&tenant(owner), &name(named), connection).await
        };
        assert!(matches!(put("red", "more").await, Err(ConnectionError::Invalid { member: "name", .. })));
        assert!(!put("red", "c7").await.unwrap(), "one that is there is replaced");
        assert!(put("blue", "c7").await.unwrap());
    }

    #[test]
    fn a_wrong_declaration_is_refused_at_its_member() {
        let check = |json: serde_json::Value, expected: Option<&str>| {
            let member = match validate(&declaration(json.clone())) {
                Ok(()) => None,
                Err(ConnectionError::Invalid { member, .. }) => Some(member),
                Err(error) => panic!("{error}"),
            };
            assert_eq!(member, expected, "{json}");
        };
        let url = "https://a.example/";
        check(json!({"baseUrl": url}), None);
        check(json!({"baseUrl": "ftp://a.example/"}), Some("baseUrl"));
        check(json!({"baseUrl": "smtp://a.example"}), Some("baseUrl"));
        check(json!({"baseUrl": "https://user:pw@a.example/"}), Some("baseUrl"));
        check(json!({"baseUrl": "https://a.example/?x"}), Some("baseUrl"));
        check(json!({"baseUrl": url, "timeoutMs": 0}), Some("timeoutMs"));
        check(json!({"baseUrl": url, "responseBytesMax": 8388609}), Some("responseBytesMax"));
        check(json!({"baseUrl": url, "exchangesMax": 0}), Some("exchangesMax"));
        check(json!({"baseUrl": url, "idempotencyHeader": "Host"}), Some("idempotencyHeader"));
        check(json!({"baseUrl": url, "idempotencyHeader": "Idempotency-Key"}), None);
        let header = json!({"scheme": "header", "name": "a b", "value": "s"});
        check(json!({"baseUrl": url, "authentication": header}), Some("authentication.name"));
        let hmac = json!({"scheme": "hmac", "key": "s", "header": "Host"});
        check(json!({"baseUrl": url, "authentication": hmac}), Some("authentication.header"));
        check(json!({"baseUrl": url, "authentication": {"scheme": "hmac", "key": "s"}}), None);
        let oauth2 = json!({"scheme": "oauth2", "tokenUrl": "ftp://a", "clientId": "c"});
        check(json!({"baseUrl": url, "authentication": oauth2}), Some("authentication.tokenUrl"));
        let oauth2 = json!({"scheme": "oauth2", "tokenUrl": "https://a/t", "clientId": "c", "username": "ann"});
        check(json!({"baseUrl": url, "authentication": oauth2}), Some("authentication.username"));
        let sigv4 = json!({"scheme": "aws-sig-v4", "region": "", "accessKeyId": "a", "secretAccessKey": "s"});
        check(json!({"baseUrl": url, "authentication": sigv4}), Some("authentication.region"));
    }

    #[tokio::test]
    async fn certificates_that_are_none_are_refused() {
        let (directory, journal) = (tempfile::tempdir().unwrap(), Arc::new(MemoryJournal::new()));
        let connection = declaration(json!({"baseUrl": "https://a.example/", "caCertificates": "no PEM"}));
        let error = open(&directory, &journal).put(&tenant("red"), &name("a"), connection).await.unwrap_err();
        assert!(matches!(error, ConnectionError::Invalid { member: "caCertificates", .. }), "{error}");
    }
}
