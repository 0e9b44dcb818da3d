//! Calls against a server of the test's own: each status, redirects, each scheme of authentication, documents, denials.

mod authentication;
pub(crate) mod double;
mod http;
mod openapi;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::clock::SimClock;
use crate::connection::registry::Connections;
use crate::connection::secrets::SecretStore;
use crate::journal::memory::MemoryJournal;
use crate::model::{Reaction, TenantName, sealed, standard};
use double::{Answer, Asked, Double};

/// The caller with a pack that may reach the doubles and has two secrets.
struct Bench {
    caller: Caller,
    clock: SimClock,
    allowed: Allowed,
    connections: Arc<Connections>,
    _folder: tempfile::TempDir,
}

/// The value of the secret that a pack knows as `key`.
const SECRET: &str = "s3cr3t/valüe";

impl Bench {
    async fn new(doubles: &[&Double]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let journal = Arc::new(MemoryJournal::new());
        let store = SecretStore::open(journal.clone(), &folder.path().join("key")).unwrap();
        let connections = Connections::open(journal, store.clone()).unwrap();
        let store = store.of(&TenantName::standard());
        let secret = |name: &str| SecretName::parse(name).unwrap();
        store.put(&secret("stored-key"), format!("{SECRET}\n").as_bytes()).await.unwrap();
        let members = json!({ "username": "ann", "password": SECRET, "token": SECRET }).to_string();
        store.put(&secret("stored-login"), members.as_bytes()).await.unwrap();
        let hosts: Vec<_> = doubles.iter().map(|double| double.host.clone()).collect();
        let reach = move |url: &Url| {
            let host = format!("{}:{}", url.host_str()?, url.port_or_known_default()?);
            hosts.contains(&host).then(|| url.clone())
        };
        let names = [("key", "stored-key"), ("login", "stored-login"), ("gone", "stored-gone")];
        let allowed = Allowed {
            hosts: Arc::new(reach),
            secrets: names.into_iter().map(|(name, stored)| (secret(name), secret(stored))).collect(),
            secret_store: Some(store),
            ..Allowed::nothing(PackName::parse("demo").unwrap())
        };
        let clock = SimClock::new("2026-01-01T00:00:00Z".parse().unwrap());
        let caller = Caller::new(Arc::new(clock.clone()), |text| match text.strip_prefix("yaml ") {
            Some(text) => serde_json::from_str(text).map_err(|error| error.to_string()),
            None => Err("it is no YAML".to_owned()),
        });
        Self { caller: caller.unwrap(), clock, allowed, connections, _folder: folder }
    }

    async fn call(&self, kind: Kind, arguments: Json) -> Result<Json, Failure> {
        let answer = self.caller.call(kind, &arguments, &self.allowed, "the-key", Duration::from_secs(20)).await;
        // Whatever a test looks at: a secret is never in what goes back.
        let shown = format!("{answer:?}");
        assert!(!shown.contains(SECRET) && !shown.contains("s3cr3t%2Fval"), "{shown}");
        answer.map(|success| success.output)
    }

    async fn http(&self, arguments: Json) -> Result<Json, Failure> {
        self.call(Kind::Http, arguments).await
    }

    /// A call that fails: its type's last segment, its status, its detail.
    async fn fails(&self, kind: Kind, arguments: Json) -> (String, u16, String, Reaction) {
        let Failure { reaction, problem } = self.call(kind, arguments).await.unwrap_err();
        let kind = problem.kind.strip_prefix(standard::BASE).unwrap().to_owned();
        (kind, problem.status, problem.detail, reaction)
    }
}

/// A server that gives back what it was asked.
fn echo(asked: &Asked) -> Answer {
    double::json(json!({ "method": asked.method, "target": asked.target, "body": asked.body,
        "type": asked.field("content-type"), "authorization": asked.field("authorization") }))
}

fn nothing<K: Ord, V>() -> BTreeMap<K, V> {
    BTreeMap::new()
}
