//! Secrets, encrypted at rest.

use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::journal::{CommitError, Journal};
use crate::model::SecretName;

/// The secrets; a cheap handle.
#[derive(Debug, Clone)]
pub struct SecretStore;

/// Why a secret cannot be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The key file is unusable; the text says what to do.
    #[error("use the key file: {0}")]
    KeyFile(String),
    /// The value is too long.
    #[error("store a secret of {bytes} bytes: at most 65536 are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The stored row was not written with this key, or was changed.
    #[error("decrypt secret `{0}`: it was stored under another key file; store it again")]
    Undecryptable(SecretName),
    /// The store failed.
    #[error("store the secret")]
    Store(#[source] CommitError),
}

impl SecretStore {
    /// Opens the store; makes the key file, readable by its owner only, where there is none.
    ///
    /// # Errors
    /// The key file is readable by others or cannot be read or made.
    pub fn open(_journal: Arc<dyn Journal>, _key_file: &Path) -> Result<Self, SecretError> {
        unreachable!("under construction")
    }

    /// Makes or replaces a secret; whether it was made. Durable on return.
    ///
    /// # Errors
    /// It is longer than 64 KiB, or the store failed.
    pub async fn put(&self, _name: &SecretName, _value: &[u8]) -> Result<bool, SecretError> {
        unreachable!("under construction")
    }

    /// The names, in order.
    ///
    /// # Errors
    /// The store failed.
    pub fn list(&self) -> Result<Vec<SecretName>, SecretError> {
        unreachable!("under construction")
    }

    /// Removes a secret; whether there was one. Durable on return.
    ///
    /// # Errors
    /// The store failed.
    pub async fn delete(&self, _name: &SecretName) -> Result<bool, SecretError> {
        unreachable!("under construction")
    }

    /// A secret's bytes, wiped from memory when dropped.
    ///
    /// # Errors
    /// The store failed or the row was written under another key.
    pub fn reveal(&self, _name: &SecretName) -> Result<Option<Zeroizing<Vec<u8>>>, SecretError> {
        unreachable!("under construction")
    }

    /// A key for another purpose, derived from the key file; different purposes give unrelated keys.
    pub fn derive(&self, _purpose: &str) -> [u8; 32] {
        unreachable!("under construction")
    }
}
