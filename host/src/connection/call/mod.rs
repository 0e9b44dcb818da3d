//! The calls that the language itself has, `call: http` and `call: openapi`, made at the edge. Arguments come as JSON with
//! sealed references in the place of secrets; only here are they opened, after the grant was checked, and what goes back
//! (output, error) has none of them. A call reaches a granted host, or a connection by `connection://<name>/<path>`.
//!
//! It knows nothing of workflows: who may reach what comes in as [`Allowed`], and there is no retry beyond what an
//! authentication scheme needs.

mod authentication;
mod digest;
mod failure;
mod http;
mod oauth2;
mod openapi;
mod opener;
mod output;
mod request;
#[cfg(test)]
pub(crate) mod tests;
mod way;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ::http::{HeaderMap, Method, StatusCode};
use bytes::Bytes;
use url::Url;

use super::client::{Client, Outgoing, Payload, RESPONSE_BYTES_MAX};
use super::outside::Outside;
use super::secrets::Secrets;
use crate::clock::Clock;
use crate::model::{ConnectionName, Failure, Json, PackName, SecretName, Success, TenantName};
use oauth2::Tokens;
use openapi::Documents;
use opener::Opener;
use way::Way;

/// Reads YAML as JSON; the text says why it is none. This room has no YAML of its own.
pub type ReadYaml = fn(&str) -> Result<Json, String>;

/// The URL that is really asked for an allowed one, mostly the same; nothing where its host is not granted.
pub type Reach = Arc<dyn Fn(&Url) -> Option<Url> + Send + Sync>;

/// What the calls of a pack's workflows may reach. Everything that is not in here is denied.
#[derive(Clone)]
pub struct Allowed {
    /// The pack, for the text of a denial.
    pub pack: PackName,
    /// The tenant whose call it is: tokens and documents are kept for each by itself.
    pub tenant: TenantName,
    /// The connections, by their name in `pack.yaml`.
    pub connections: BTreeMap<ConnectionName, Arc<Client>>,
    /// The hosts.
    pub hosts: Reach,
    /// The secrets: the name in `pack.yaml`, then the stored secret's name.
    pub secrets: BTreeMap<SecretName, SecretName>,
    /// Where those secrets are stored; needed only where `secrets` is not empty.
    pub secret_store: Option<Secrets>,
}

impl Allowed {
    /// Allows nothing, in the tenant `default`.
    pub fn nothing(pack: PackName) -> Self {
        let (connections, secrets, tenant) = (BTreeMap::new(), BTreeMap::new(), TenantName::standard());
        Self { pack, tenant, connections, hosts: Arc::new(|_| None), secrets, secret_store: None }
    }
}

/// What a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `call: http`; for the arguments see `definition::graph::Callee::Http`.
    Http,
    /// `call: openapi`; for the arguments see `definition::graph::Callee::OpenApi`.
    OpenApi,
}

/// Makes calls. Cheap to clone; clones share tokens and documents, and no two tenants do.
#[derive(Clone)]
pub struct Caller(Arc<Inner>);

struct Inner {
    outside: Outside,
    clock: Arc<dyn Clock>,
    read_yaml: ReadYaml,
    tokens: Tokens,
    documents: Documents,
}

impl Caller {
    /// Makes the caller. Nothing is sent.
    ///
    /// # Errors
    /// TLS cannot be set up on this machine.
    pub fn new(clock: Arc<dyn Clock>, read_yaml: ReadYaml) -> Result<Self, String> {
        Ok(Self::through(Outside::new()?, clock, read_yaml))
    }

    /// The same through an outside of its own.
    pub fn through(outside: Outside, clock: Arc<dyn Clock>, read_yaml: ReadYaml) -> Self {
        let (tokens, documents) = (Tokens::default(), Documents::default());
        Self(Arc::new(Inner { outside, clock, read_yaml, tokens, documents }))
    }

    /// Makes one call, redirects and authentication included, within `timeout`. `key` goes out as `Idempotency-Key` on
    /// POST and PATCH.
    ///
    /// # Errors
    /// What the language calls `communication`, `authentication`, `authorization`, `timeout`, and `configuration` or
    /// `validation` where the arguments are wrong. No text has a secret in it.
    pub async fn call(
        &self,
        kind: Kind,
        arguments: &Json,
        allowed: &Allowed,
        key: &str,
        timeout: Duration,
    ) -> Result<Success, Failure> {
        let opener = Opener::new(allowed);
        let session = Session {
            inner: &self.0,
            opener: &opener,
            key,
            deadline: Instant::now() + timeout,
            effect: AtomicBool::new(false),
        };
        let work = async {
            match kind {
                Kind::Http => http::call(&session, arguments).await,
                Kind::OpenApi => openapi::call(&session, arguments).await,
            }
        };
        let answer = tokio::time::timeout(timeout, work).await;
        let answer = answer.unwrap_or_else(|_| Err(failure::too_late(timeout, session.effect.load(Ordering::Relaxed))));
        match answer {
            Ok(output) => Ok(Success { output, ..Success::default() }),
            Err(failure) => Err(opener.hide_failure(failure)),
        }
    }
}

/// One call on its way.
struct Session<'a> {
    inner: &'a Inner,
    opener: &'a Opener<'a>,
    key: &'a str,
    deadline: Instant,
    /// A request that may not be repeated blindly went out.
    effect: AtomicBool,
}

/// One request, whole.
#[derive(Clone)]
struct Wire {
    method: Method,
    way: Way,
    headers: HeaderMap,
    body: Option<Bytes>,
}

/// One response, whole.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Session<'_> {
    /// Sends one request and reads the whole response.
    async fn send(&self, wire: &Wire) -> Result<Reply, Failure> {
        let repeatable = failure::repeatable(&wire.method);
        if !repeatable {
            self.effect.store(true, Ordering::Relaxed);
        }
        self.deliver(wire, repeatable).await
    }

    /// Sends a request of our own, which has no effect that the workflow could care about.
    async fn fetch(&self, wire: &Wire) -> Result<Reply, Failure> {
        self.deliver(wire, true).await
    }

    async fn deliver(&self, wire: &Wire, repeatable: bool) -> Result<Reply, Failure> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let outgoing = Outgoing {
            method: wire.method.clone(),
            target: String::new(),
            headers: wire.headers.clone(),
            payload: wire.body.clone().map_or(Payload::Empty, Payload::Bytes),
            timeout: Some(left),
            idempotency_key: self.key.to_owned(),
        };
        let incoming = match &wire.way {
            Way::Host { actual, .. } => self.inner.outside.exchange(actual.clone(), outgoing, left).await,
            Way::Connection { client, target, .. } => {
                client.send(Outgoing { target: target.clone(), ..outgoing }).await
            }
        };
        let told = |error| failure::unsent(error, &wire.method, &wire.way, left, repeatable);
        let incoming = incoming.map_err(told)?;
        let (status, headers) = (incoming.status, incoming.headers.clone());
        let body = incoming.collect(RESPONSE_BYTES_MAX).await.map_err(told)?;
        Ok(Reply { status, headers, body })
    }
}
