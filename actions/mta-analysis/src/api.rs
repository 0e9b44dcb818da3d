//! What all calls of the hub share: the connection, paths, and the meaning of its errors.

use orchestrator_sdk::http::{self, Request, Response, SendError};
use orchestrator_sdk::{Error, Reaction, standard};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The connection's name in `pack.yaml`.
pub(crate) const HUB: &str = "hub";

/// The body of most errors of the hub.
#[derive(Deserialize)]
struct Fault {
    error: String,
}

/// Something of the hub that another thing names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ref {
    /// Its identifier.
    pub id: u64,
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// A request that asks for JSON: the hub answers in YAML or as a page otherwise, where a proxy says so.
pub(crate) fn asking(request: Request) -> Request {
    request.header("Accept", "application/json")
}

/// Lists a collection. The hub gives it whole; an empty one may be `null`.
///
/// # Errors
/// Those of the hub.
pub(crate) fn list<T: DeserializeOwned>(path: &str) -> Result<Vec<T>, Error> {
    let response = asking(http::get(HUB, path)).send().map_err(|error| too_long(error, path))?;
    match response.is_success() {
        true => Ok(response.parse::<Option<Vec<T>>>()?.unwrap_or_default()),
        false => Err(refused(&response, &format!("list {path}"), "check the hub")),
    }
}

/// Reads one thing; `None` when there is none.
///
/// # Errors
/// Those of the hub.
pub(crate) fn read<T: DeserializeOwned>(path: &str) -> Result<Option<T>, Error> {
    let response = asking(http::get(HUB, path)).send().map_err(|error| too_long(error, path))?;
    match response.status() {
        404 => Ok(None),
        _ if response.is_success() => response.parse().map(Some),
        _ => Err(refused(&response, &format!("read {path}"), "check the hub")),
    }
}

/// Deletes one thing. One that is gone is a success: the hub itself answers 204 then.
///
/// # Errors
/// Those of the hub.
pub(crate) fn delete(path: &str) -> Result<(), Error> {
    let response = http::delete(HUB, path).send()?;
    match response.status() {
        404 => Ok(()),
        _ if response.is_success() => Ok(()),
        _ => Err(refused(&response, &format!("delete {path}"), "check the hub")),
    }
}

/// The error of an unsuccessful response: the hub's own words, what was being done, and what to do about it.
pub(crate) fn refused(response: &Response, doing: &str, cure: &str) -> Error {
    let mut error = response.error();
    let status = response.status();
    if matches!(status, 401 | 403) {
        let cure = "the hub wants a bearer token of a user with the role tackle-admin or tackle-architect: give the \
                    connection the scheme `oauth2` or `bearer`";
        return error.context(doing).cure(cure);
    }
    let Ok(Fault { error: said }) = response.parse::<Fault>() else { return error.context(doing) };
    error.problem.detail = format!("{doing}: the hub answered {status}: {said}; {cure}");
    match status {
        400 => error.with_type(standard::VALIDATION, 400, "Refused by the hub"),
        _ => error,
    }
}

/// Nothing has this identifier.
pub(crate) fn missing(kind: &str, id: impl std::fmt::Display) -> Error {
    let detail = format!("there is no {kind} `{id}` in the hub: somebody deleted it");
    Error::new(Reaction::Permanent, standard::COMMUNICATION, 404, "Not found in the hub", detail)
}

/// What is there is not what was asked for.
pub(crate) fn conflict(detail: String) -> Error {
    Error::new(Reaction::Permanent, standard::VALIDATION, 409, "Conflict with what exists", detail)
}

/// A setting is missing in the hub.
pub(crate) fn unprepared(detail: String) -> Error {
    Error::new(Reaction::Permanent, standard::CONFIGURATION, 400, "The hub is not prepared for this", detail)
}

fn too_long(error: SendError, path: &str) -> Error {
    let is_large = matches!(error.kind(), http::SendErrorKind::TooLarge(_));
    let error = Error::from(error);
    match is_large {
        true => error.cure(&format!("delete what is old under {path} in the hub")),
        false => error,
    }
}
