//! Where a request goes: an absolute URL of a granted host, or a path below a granted connection. Each is checked when it
//! is made, so that whoever has one may send.

use std::sync::Arc;

use url::Url;

use super::super::client::Client;
use super::super::target;
use super::{Allowed, failure};
use crate::model::{ConnectionName, Failure};

/// What an endpoint at a connection begins with.
const CONNECTION: &str = "connection://";

/// A way that is granted.
#[derive(Clone)]
pub(super) enum Way {
    /// To a host.
    Host {
        /// As it was asked for.
        asked: Url,
        /// As it is sent.
        actual: Url,
    },
    /// Through a connection, which has address and credentials.
    Connection {
        /// Its name in `pack.yaml`.
        name: ConnectionName,
        /// Its client.
        client: Arc<Client>,
        /// Path and query below its base URL.
        target: String,
    },
}

impl Way {
    /// Reads an endpoint, with `query` (already encoded) added to its own.
    pub(super) fn of(endpoint: &str, query: &str, allowed: &Allowed) -> Result<Self, Failure> {
        let text = match (query.is_empty(), endpoint.contains('?')) {
            (true, _) => endpoint.to_owned(),
            (false, true) => format!("{endpoint}&{query}"),
            (false, false) => format!("{endpoint}?{query}"),
        };
        match text.strip_prefix(CONNECTION) {
            Some(rest) => Self::below(rest, allowed),
            None => Self::to(target::absolute(&text).map_err(failure::configuration)?, allowed),
        }
    }

    /// The way to a URL that was already read.
    pub(super) fn to(url: Url, allowed: &Allowed) -> Result<Self, Failure> {
        match (allowed.hosts)(&url) {
            Some(actual) => Ok(Self::Host { asked: url, actual }),
            None => Err(failure::denied_host(&allowed.pack, &url)),
        }
    }

    fn below(rest: &str, allowed: &Allowed) -> Result<Self, Failure> {
        let (name, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let granted =
            ConnectionName::parse(name).ok().and_then(|name| Some((name.clone(), allowed.connections.get(&name)?)));
        let Some((name, client)) = granted else { return Err(failure::denied_connection(&allowed.pack, name)) };
        let target = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self::Connection { name, client: client.clone(), target })
    }

    /// Where a `Location` of a response leads.
    pub(super) fn redirected(&self, location: &str, allowed: &Allowed) -> Result<Self, Failure> {
        if let Self::Connection { name, client, .. } = self
            && location.starts_with('/')
        {
            return Ok(Self::Connection { name: name.clone(), client: client.clone(), target: location.to_owned() });
        }
        let joined = match self {
            Self::Host { asked, .. } => asked.join(location),
            Self::Connection { .. } => Url::parse(location),
        };
        let mut url = joined.map_err(|_| failure::misled(location))?;
        url.set_fragment(None);
        if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
            return Err(failure::misled(location));
        }
        Self::to(url, allowed)
    }

    /// Whether what is sent the other way may be sent this way too.
    pub(super) fn same_origin(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Host { asked, .. }, Self::Host { asked: other, .. }) => asked.origin() == other.origin(),
            (Self::Connection { name, .. }, Self::Connection { name: other, .. }) => name == other,
            _ => false,
        }
    }

    /// The whole URI, for the output.
    pub(super) fn uri(&self) -> String {
        match self {
            Self::Host { asked, .. } => asked.to_string(),
            Self::Connection { name, target, .. } => format!("{CONNECTION}{name}{target}"),
        }
    }

    /// Path and query as they are sent, for schemes that sign them. At a connection only its client knows them.
    pub(super) fn sent_target(&self) -> Option<String> {
        let Self::Host { actual, .. } = self else { return None };
        let query = actual.query().map(|query| format!("?{query}")).unwrap_or_default();
        Some(format!("{}{query}", actual.path()))
    }
}

/// Without the query: for messages.
impl std::fmt::Display for Way {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let uri = self.uri();
        formatter.write_str(uri.split('?').next().unwrap_or_default())
    }
}

/// The pattern that would grant exactly this URL's host.
pub(super) fn pattern_of(url: &Url) -> String {
    let scheme = if url.scheme() == "http" { "http://" } else { "" };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{scheme}{}{port}", url.host_str().unwrap_or_default())
}
