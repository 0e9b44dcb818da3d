//! What a guest may reach: one file per host capability, and here what an attempt was granted and what it tells.
//! It knows nothing of workflows; the sandbox links these capabilities, the coordinator listens.

mod denial;
mod host;
pub(crate) mod http;
mod inbox;
pub(crate) mod log;
pub(crate) mod mail;
mod progress;
#[cfg(test)]
pub(crate) mod recorded;
mod secrets;
pub(crate) mod wit;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;

pub use host::{HostPattern, HostPatternError};

use crate::connection::client::Client;
use crate::connection::secrets::Secrets;
use crate::model::{ActionName, ConnectionName, Json, PackName, SecretName, Success};
use crate::notification::Notifications;

/// What one attempt may use. Everything that is not in here is denied.
#[derive(Clone)]
pub struct Granted {
    /// The pack, for the text of a denial.
    pub pack: PackName,
    /// The action, for the text of a denial.
    pub action: ActionName,
    /// The connections, by their name in `pack.yaml`.
    pub connections: BTreeMap<ConnectionName, Arc<Client>>,
    /// Hosts that may be reached by an absolute URL, without authentication.
    pub hosts: Vec<HostPattern>,
    /// The secrets whose bytes may be read: the name in `pack.yaml`, then the stored secret's name.
    pub secrets: BTreeMap<SecretName, SecretName>,
    /// Where those secrets are stored; needed only where `secrets` is not empty.
    pub secret_store: Option<Secrets>,
    /// The server's own notifications, where the action asks for them.
    pub inbox: Option<Arc<Notifications>>,
}

impl std::fmt::Debug for Granted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Granted")
            .field("pack", &self.pack)
            .field("action", &self.action)
            .field("connections", &self.connections)
            .field("hosts", &self.hosts)
            .field("secrets", &self.secrets)
            .field("inbox", &self.inbox.is_some())
            .finish_non_exhaustive()
    }
}

impl Granted {
    /// Grants nothing.
    pub fn nothing(pack: PackName, action: ActionName) -> Self {
        Self {
            pack,
            action,
            connections: BTreeMap::new(),
            hosts: Vec::new(),
            secrets: BTreeMap::new(),
            secret_store: None,
            inbox: None,
        }
    }
}

/// One attempt's state behind the capabilities. It is made for the attempt and dropped with it.
pub(crate) struct Guest {
    pub(crate) granted: Granted,
    pub(crate) observer: Arc<dyn Observe>,
    /// What the guest holds handles to.
    pub(crate) table: wasmtime::component::ResourceTable,
    pub(crate) http: http::Http,
    pub(crate) mail: mail::Mail,
    pub(crate) log: log::AttemptLog,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// The attempt took effect, with this success.
    Done(Success),
    /// It did not; calling again is safe.
    NotDone,
    /// It cannot be told, or the action has no probe.
    Unknown,
}

/// What an attempt tells while it runs.
pub trait Observe: Send + Sync + 'static {
    /// A line for people.
    fn log(&self, level: LogLevel, message: String);
    /// Newest progress.
    fn progress(&self, measures: Vec<Measure>, note: Option<String>);
    /// Stores a checkpoint; durable when the future ends well.
    fn checkpoint(&self, value: Json) -> BoxFuture<'static, Result<(), String>>;
    /// Notes that a secret's bytes were read; durable when the future ends well.
    fn secret_revealed(&self, secret: String) -> BoxFuture<'static, Result<(), String>>;
    /// Whether the instance is being cancelled.
    fn cancelled(&self) -> bool;
}

/// How much a line matters.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// For the author's eyes.
    Trace,
    /// For finding faults.
    Debug,
    /// Worth knowing.
    Info,
    /// Worth a look.
    Warn,
    /// Something failed.
    Error,
}

/// How far one unit of work has come.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Measure {
    /// `objects`, `bytes`, …
    pub unit: String,
    /// So many are done.
    pub done: u64,
    /// Of so many, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}
