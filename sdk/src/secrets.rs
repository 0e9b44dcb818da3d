//! A secret's own bytes, for the rare action that cannot leave authentication to a connection. Needs its own grant.
//!
//! ```
//! let outside = orchestrator_sdk::testing::Outside::new();
//! outside.secret("signing-key", b"s3cret");
//! assert_eq!(orchestrator_sdk::secrets::reveal("signing-key").unwrap(), b"s3cret");
//! assert_eq!(orchestrator_sdk::secrets::reveal("other").unwrap_err().problem.status, 403);
//! ```

use crate::{Error, Reaction, outside, standard};

/// Why the host did not give a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevealError {
    /// Not granted; the text has the line to request and the command to grant.
    Denied(String),
    /// Granted, but no such secret is stored; the text has the command to store it.
    Missing(String),
}

/// Gives a secret's bytes, by its name in `pack.yaml`. Every call is recorded in the instance's journal, without the
/// value.
///
/// # Errors
/// Permanent: `authorization` 403 when it is not granted, `configuration` 400 when it is not stored.
pub fn reveal(name: &str) -> Result<Vec<u8>, Error> {
    outside::reveal(name).map_err(|error| match error {
        RevealError::Denied(detail) => {
            Error::new(Reaction::Permanent, standard::AUTHORIZATION, 403, "Secret not granted", detail)
        }
        RevealError::Missing(detail) => {
            Error::new(Reaction::Permanent, standard::CONFIGURATION, 400, "Secret not stored", detail)
        }
    })
}

/// Gives a secret as text.
///
/// # Errors
/// As [`reveal`], and `configuration` 400 when the secret is not UTF-8.
pub fn reveal_text(name: &str) -> Result<String, Error> {
    String::from_utf8(reveal(name)?).map_err(|_| {
        let detail = format!("secret `{name}` is not UTF-8 text: store it again");
        Error::new(Reaction::Permanent, standard::CONFIGURATION, 400, "Secret not text", detail)
    })
}
