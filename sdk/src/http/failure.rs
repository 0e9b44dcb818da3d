//! Why there is no response.

use std::fmt;

use super::Origin;
use crate::{Error, Reaction, standard};

/// Why there is no response, with the request it belongs to. `?` turns it into an [`Error`]:
///
/// | kind | reaction |
/// |---|---|
/// | denied, invalid request, too large | permanent |
/// | unavailable, exhausted | transient: nothing was sent |
/// | timeout, interrupted | transient for a request that may be repeated (GET, HEAD, OPTIONS, PUT, DELETE), else unknown |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendError {
    pub(crate) kind: SendErrorKind,
    pub(crate) origin: Origin,
}

/// Why there is no response, sorted by what the caller can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendErrorKind {
    /// Not granted. The text has the line to request and the command to grant.
    Denied(String),
    /// The request itself is wrong; the text says what to change.
    InvalidRequest(String),
    /// Nothing was sent: refused, unresolved, or the connection's circuit is open.
    Unavailable(String),
    /// Time ran out; the request may have taken effect.
    Timeout(String),
    /// Broke after something was sent; the request may have taken effect.
    Interrupted(String),
    /// The response is larger than the limit, given in bytes.
    TooLarge(u64),
    /// The attempt's budget of requests or of exchanges under way is used up.
    Exhausted(String),
}

impl SendError {
    /// What kind of failure it is.
    pub fn kind(&self) -> &SendErrorKind {
        &self.kind
    }

    fn text(&self) -> String {
        match &self.kind {
            SendErrorKind::Denied(text)
            | SendErrorKind::InvalidRequest(text)
            | SendErrorKind::Unavailable(text)
            | SendErrorKind::Timeout(text)
            | SendErrorKind::Interrupted(text)
            | SendErrorKind::Exhausted(text) => text.clone(),
            SendErrorKind::TooLarge(limit) => format!("the response is larger than {limit} bytes"),
        }
    }

    /// What follows when the request may have reached the outside.
    fn after_sending(&self) -> Reaction {
        match self.origin.is_idempotent() {
            true => Reaction::Transient { retry_after: None },
            false => Reaction::Unknown,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.text())
    }
}

impl std::error::Error for SendError {}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        let again = Reaction::Transient { retry_after: None };
        let (reaction, kind, status, title) = match &error.kind {
            SendErrorKind::Denied(_) => (Reaction::Permanent, standard::AUTHORIZATION, 403, "Request not granted"),
            SendErrorKind::InvalidRequest(_) => (Reaction::Permanent, standard::RUNTIME, 500, "Invalid request"),
            SendErrorKind::Unavailable(_) => (again, standard::COMMUNICATION, 503, "Outside unavailable"),
            SendErrorKind::Timeout(_) => (error.after_sending(), standard::COMMUNICATION, 504, "Outside too slow"),
            SendErrorKind::Interrupted(_) => {
                (error.after_sending(), standard::COMMUNICATION, 502, "Exchange interrupted")
            }
            SendErrorKind::TooLarge(_) => (Reaction::Permanent, standard::COMMUNICATION, 502, "Response too large"),
            SendErrorKind::Exhausted(_) => (again, standard::RUNTIME, 500, "Too many requests in one attempt"),
        };
        Error::new(reaction, kind, status, title, error.to_string())
    }
}
