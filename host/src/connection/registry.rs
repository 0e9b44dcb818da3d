//! The connections that an admin made: stored in the journal, each with its live client.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use http::HeaderName;

use super::client::{Client, RESPONSE_BYTES_MAX, forbidden};
use super::declaration::{Authentication, Connection};
use super::secrets::SecretStore;
use crate::journal::{Batch, CommitError, Journal, Scan, StoreError, keys, row};
use crate::model::ConnectionName;

/// More connections are not taken; far above what one installation uses, and each holds a client.
const CONNECTIONS_MAX: usize = 10_000;

/// All connections.
pub struct Connections {
    journal: Arc<dyn Journal>,
    secrets: SecretStore,
    live: RwLock<BTreeMap<ConnectionName, Live>>,
    /// Held over a change, so that journal and memory change in the same order.
    changing: tokio::sync::Mutex<()>,
}

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
        for row in journal.scan(Scan::prefix(keys::connections(), CONNECTIONS_MAX))? {
            let name = std::str::from_utf8(&row.key[1..])
                .ok()
                .and_then(|name| ConnectionName::parse(name).ok())
                .ok_or_else(|| StoreError("read a connection: its key is not a name".to_owned()))?;
            let declaration: Connection = row::decode(&row.value)?;
            live.insert(name.clone(), make(&name, declaration, &secrets)?);
        }
        Ok(Arc::new(Self { journal, secrets, live: RwLock::new(live), changing: tokio::sync::Mutex::default() }))
    }

    /// Makes or replaces a connection; true where it was made. Durable on return; attempts under way keep the old client.
    ///
    /// # Errors
    /// The declaration is wrong (nothing was written), or the store failed.
    pub async fn put(&self, name: &ConnectionName, declaration: Connection) -> Result<bool, ConnectionError> {
        validate(&declaration)?;
        let stored = row::encode(&declaration);
        let live = make(name, declaration, &self.secrets)?;
        let _changing = self.changing.lock().await;
        if self.read().len() >= CONNECTIONS_MAX && self.get(name).is_none() {
            return invalid("name", format!("at most {CONNECTIONS_MAX} connections are kept; delete one"));
        }
        let batch = Batch::default().put(keys::connection(name), stored);
        self.journal.commit(batch).await.map_err(ConnectionError::Store)?;
        let replaced = self.live.write().expect("no holder of this lock panics").insert(name.clone(), live);
        Ok(replaced.is_none())
    }

    /// The declaration.
    pub fn get(&self, name: &ConnectionName) -> Option<Connection> {
        self.read().get(name).map(|live| live.declaration.clone())
    }

    /// All declarations in order of their names.
    pub fn list(&self) -> Vec<(ConnectionName, Connection)> {
        self.read().iter().map(|(name, live)| (name.clone(), live.declaration.clone())).collect()
    }

    /// Removes a connection; whether there was one. Durable on return; attempts under way keep its client.
    ///
    /// # Errors
    /// The store failed.
    pub async fn delete(&self, name: &ConnectionName) -> Result<bool, ConnectionError> {
        let _changing = self.changing.lock().await;
        if self.get(name).is_none() {
            return Ok(false);
        }
        let batch = Batch::default().delete(keys::connection(name));
        self.journal.commit(batch).await.map_err(ConnectionError::Store)?;
        self.live.write().expect("no holder of this lock panics").remove(name);
        Ok(true)
    }

    /// The live client.
    pub fn client(&self, name: &ConnectionName) -> Option<Arc<Client>> {
        self.read().get(name).map(|live| live.client.clone())
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<ConnectionName, Live>> {
        self.live.read().expect("no holder of this lock panics")
    }
}

fn make(name: &ConnectionName, declaration: Connection, secrets: &SecretStore) -> Result<Live, ConnectionError> {
    let client = Client::new(name.clone(), declaration.clone(), secrets.clone());
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

    #[tokio::test]
    async fn connections_survive_a_restart() {
        let (directory, journal) = (tempfile::tempdir().unwrap(), Arc::new(MemoryJournal::new()));
        let connection = declaration(json!({"baseUrl": "https://a.example/v1"}));
        let connections = open(&directory, &journal);
        assert!(connections.put(&name("a"), connection.clone()).await.unwrap());
        assert!(!connections.put(&name("a"), connection.clone()).await.unwrap());
        let connections = open(&directory, &journal);
        assert_eq!(connections.list(), [(name("a"), connection)]);
        assert!(connections.client(&name("a")).is_some());
        assert!(connections.delete(&name("a")).await.unwrap());
        assert!(!connections.delete(&name("a")).await.unwrap());
        assert!(open(&directory, &journal).list().is_empty());
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
        let error = open(&directory, &journal).put(&name("a"), connection).await.unwrap_err();
        assert!(matches!(error, ConnectionError::Invalid { member: "caCertificates", .. }), "{error}");
    }
}
