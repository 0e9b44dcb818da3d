//! A response, and which error an unsuccessful one is.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::Origin;
use crate::{Error, Reaction, standard};

/// Characters of a response's body that stand in an error: enough for a message, too little for a page of HTML.
const EXCERPT_CHARACTERS: usize = 500;

/// One response; any status is a response, not an error, until it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    origin: Origin,
    raw: Raw,
}

/// What the host gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Raw {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn new(origin: Origin, raw: Raw) -> Self {
        Self { origin, raw }
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.raw.status
    }

    /// Whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.raw.status)
    }

    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.raw.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All headers in the order received. Headers of authentication are already removed.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.raw.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The body, at most 8 MiB.
    pub fn bytes(&self) -> &[u8] {
        &self.raw.body
    }

    /// Takes the body.
    pub fn into_bytes(self) -> Vec<u8> {
        self.raw.body
    }

    /// The body as text; bytes that are not UTF-8 become `U+FFFD`.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw.body).into_owned()
    }

    /// The JSON of a successful response.
    ///
    /// # Errors
    /// Those of [`Response::error_for_status`], and those of [`Response::parse`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        match self.is_success() {
            true => self.parse(),
            false => Err(self.error()),
        }
    }

    /// The JSON of a response of any status, such as an error's body.
    ///
    /// # Errors
    /// `communication` 502 when the body does not have the asked form: permanent, or unknown where the request may
    /// have had an effect (a POST that was answered, but not readably).
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.raw.body).map_err(|e| {
            let reaction = if self.origin.is_idempotent() { Reaction::Permanent } else { Reaction::Unknown };
            let detail = format!(
                "{} answered {} with a body that was not expected ({e}): {}",
                self.origin,
                self.raw.status,
                self.excerpt()
            );
            Error::new(reaction, standard::COMMUNICATION, 502, "Unexpected response", detail)
        })
    }

    /// The response itself when it is successful (200 to 299).
    ///
    /// # Errors
    /// Otherwise the error that [`Response::error`] describes.
    pub fn error_for_status(self) -> Result<Self, Error> {
        match self.is_success() {
            true => Ok(self),
            false => Err(self.error()),
        }
    }

    /// The error that this response is, with an excerpt of its body:
    ///
    /// | status | reaction | type |
    /// |---|---|---|
    /// | 401, 403 | permanent; the detail names the connection to check | `authentication`, `authorization` |
    /// | 408, 500 and up, to a request that may be repeated (GET, HEAD, OPTIONS, PUT, DELETE) | transient | `communication` |
    /// | 408, 500 and up, to any other (POST, PATCH) | unknown: it may have taken effect | `communication` |
    /// | 425, 429, 503 | transient, `Retry-After` (seconds) honoured | `communication` |
    /// | any other | permanent | `communication` |
    pub fn error(&self) -> Error {
        let status = self.raw.status;
        let (kind, title) = match status {
            401 => (standard::AUTHENTICATION, "Not authenticated outside"),
            403 => (standard::AUTHORIZATION, "Not allowed outside"),
            _ => (standard::COMMUNICATION, "Outside answered with an error"),
        };
        let mut detail = format!("{} answered {status}: {}", self.origin, self.excerpt());
        if matches!(status, 401 | 403) && !self.origin.connection.is_empty() {
            let connection = &self.origin.connection;
            detail.push_str(&format!("; check the credentials of the connection granted as `{connection}`"));
        }
        Error::new(self.reaction(), kind, status, title, detail)
    }

    fn reaction(&self) -> Reaction {
        let retry_after = self.header("retry-after").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        match self.raw.status {
            425 | 429 | 503 => Reaction::Transient { retry_after },
            408 | 500.. if self.origin.is_idempotent() => Reaction::Transient { retry_after },
            408 | 500.. => Reaction::Unknown,
            _ => Reaction::Permanent,
        }
    }

    fn excerpt(&self) -> String {
        let text = self.text();
        let text = text.trim();
        match text.char_indices().nth(EXCERPT_CHARACTERS) {
            _ if text.is_empty() => "no body".to_owned(),
            None => text.to_owned(),
            Some((end, _)) => format!("{}…", &text[..end]),
        }
    }
}
