//! Secrets of one call: opened where the grant allows it, remembered, and hidden again in everything that goes back.

use std::sync::{Mutex, PoisonError};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use super::{Allowed, failure};
use crate::model::{Failure, Json, SecretName, unseal};

/// Shorter values are not hidden: they would be found everywhere, and are no secrets.
const HIDDEN_BYTES_MIN: usize = 4;

/// What a hidden value is shown as.
pub(super) const HIDDEN: &str = "***";

/// Opens secrets.
pub(super) struct Opener<'a> {
    allowed: &'a Allowed,
    opened: Mutex<Vec<Zeroizing<String>>>,
}

impl<'a> Opener<'a> {
    pub(super) fn new(allowed: &'a Allowed) -> Self {
        Self { allowed, opened: Mutex::default() }
    }

    pub(super) fn allowed(&self) -> &'a Allowed {
        self.allowed
    }

    /// The text with its references opened.
    pub(super) fn text(&self, text: &str) -> Result<String, Failure> {
        unseal(text, |name| self.reveal(name).map(|value| value.to_string()))
    }

    /// The value with the references in all its texts opened.
    pub(super) fn json(&self, value: &Json) -> Result<Json, Failure> {
        Ok(match value {
            Json::String(text) => Json::String(self.text(text)?),
            Json::Array(items) => Json::Array(items.iter().map(|item| self.json(item)).collect::<Result<_, _>>()?),
            Json::Object(members) => {
                let opened = members.iter().map(|(name, value)| Ok((self.text(name)?, self.json(value)?)));
                Json::Object(opened.collect::<Result<_, Failure>>()?)
            }
            plain => plain.clone(),
        })
    }

    /// A granted secret's text.
    pub(super) fn reveal(&self, name: &str) -> Result<Zeroizing<String>, Failure> {
        let granted = SecretName::parse(name).ok().and_then(|name| self.allowed.secrets.get(&name));
        let (Some(stored), Some(store)) = (granted, &self.allowed.secret_store) else {
            return Err(failure::denied_secret(&self.allowed.pack, name));
        };
        let value = store.reveal(stored).map_err(|error| {
            tracing::error!(secret = %stored, %error, "a granted secret cannot be read");
            failure::unfit_secret(format!(
                "secret `{stored}` cannot be read; store it again: `orchctl secret set {stored}`"
            ))
        })?;
        let Some(value) = value else {
            let text = format!("secret `{stored}` is not stored; store it: `orchctl secret set {stored}`");
            return Err(failure::unfit_secret(text));
        };
        let Ok(text) = std::str::from_utf8(&value) else {
            return Err(failure::unfit_secret(format!("secret `{stored}` is no text; store it again as UTF-8")));
        };
        // A value piped from a file ends in a line feed, which no credential has.
        let text = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
        self.keep(&text);
        Ok(text)
    }

    /// Hides this value too from now on.
    pub(super) fn keep(&self, value: &str) {
        if value.len() < HIDDEN_BYTES_MIN {
            return;
        }
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        for form in [value.to_owned(), utf8_percent_encode(value, NON_ALPHANUMERIC).to_string()] {
            if !opened.iter().any(|known| **known == form) {
                opened.push(Zeroizing::new(form));
            }
        }
        // The longest first: one may be a part of another.
        opened.sort_by_key(|known| std::cmp::Reverse(known.len()));
    }

    /// The text without what was opened.
    pub(super) fn hide(&self, text: &str) -> String {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let found = opened.iter().filter(|value| text.contains(value.as_str())).collect::<Vec<_>>();
        found.into_iter().fold(text.to_owned(), |text, value| text.replace(value.as_str(), HIDDEN))
    }

    /// The value with nothing in its texts of what was opened.
    pub(super) fn hide_json(&self, value: Json) -> Json {
        match value {
            Json::String(text) => Json::String(self.hide(&text)),
            Json::Array(items) => items.into_iter().map(|item| self.hide_json(item)).collect(),
            Json::Object(members) => {
                members.into_iter().map(|(name, value)| (self.hide(&name), self.hide_json(value))).collect()
            }
            plain => plain,
        }
    }

    /// Whether something that was opened is in the bytes.
    pub(super) fn is_in(&self, bytes: &[u8]) -> bool {
        self.hide_bytes(bytes) != bytes
    }

    /// The bytes without what was opened.
    pub(super) fn hide_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.iter().fold(bytes.to_vec(), |bytes, value| replaced(bytes, value.as_bytes()))
    }

    pub(super) fn hide_failure(&self, mut failure: Failure) -> Failure {
        failure.problem.title = self.hide(&failure.problem.title);
        failure.problem.detail = self.hide(&failure.problem.detail);
        failure
    }
}

fn replaced(bytes: Vec<u8>, value: &[u8]) -> Vec<u8> {
    let (mut rest, mut kept) = (bytes.as_slice(), Vec::new());
    while let Some(at) = rest.windows(value.len()).position(|part| part == value) {
        kept.extend_from_slice(&rest[..at]);
        kept.extend_from_slice(HIDDEN.as_bytes());
        rest = &rest[at + value.len()..];
    }
    if kept.is_empty() && rest.len() == bytes.len() {
        return bytes;
    }
    kept.extend_from_slice(rest);
    kept
}
