//! The connections that an admin made: stored in the journal, each with its live client.

use std::sync::Arc;

use super::client::Client;
use super::declaration::Connection;
use super::secrets::SecretStore;
use crate::journal::Journal;
use crate::model::ConnectionName;

/// All connections.
pub struct Connections;

/// Why a connection cannot be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The declaration is wrong.
    #[error("{member}: {reason}")]
    Invalid {
        /// The member of the declaration, `baseUrl`, …
        member: &'static str,
        /// What is wrong and what to write instead.
        reason: String,
    },
    /// The store failed.
    #[error("store the connection")]
    Store(#[source] crate::journal::CommitError),
}

impl Connections {
    /// Reads all connections and makes their clients.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn open(_journal: Arc<dyn Journal>, _secrets: SecretStore) -> Result<Arc<Self>, ConnectionError> {
        unreachable!("under construction")
    }

    /// Makes or replaces a connection; whether it was made. Durable on return; attempts under way keep the old client.
    ///
    /// # Errors
    /// The declaration is wrong, or the store failed.
    pub async fn put(&self, _name: &ConnectionName, _connection: Connection) -> Result<bool, ConnectionError> {
        unreachable!("under construction")
    }

    /// The declaration.
    pub fn get(&self, _name: &ConnectionName) -> Option<Connection> {
        unreachable!("under construction")
    }

    /// All declarations in order of their names.
    pub fn list(&self) -> Vec<(ConnectionName, Connection)> {
        unreachable!("under construction")
    }

    /// Removes a connection; whether there was one. Durable on return.
    ///
    /// # Errors
    /// The store failed.
    pub async fn delete(&self, _name: &ConnectionName) -> Result<bool, ConnectionError> {
        unreachable!("under construction")
    }

    /// The live client.
    pub fn client(&self, _name: &ConnectionName) -> Option<Arc<Client>> {
        unreachable!("under construction")
    }
}
