//! What all calls of the API share: the connection, paths, lists by pages and the meaning of its errors.

use std::collections::BTreeSet;
use std::time::Duration;

use orchestrator_sdk::http::{self, Response};
use orchestrator_sdk::{Error, Json, Reaction, standard};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::wire;

/// The connection's name in `pack.yaml`.
pub(crate) const BACKEND: &str = "backend";

/// Volumes below the connection's base URL.
pub(crate) const VOLUMES: &str = "/block/volumes";

/// Attachments below the connection's base URL.
pub(crate) const ATTACHMENTS: &str = "/block/attachments";

/// Snapshots below the connection's base URL.
pub(crate) const SNAPSHOTS: &str = "/block/snapshots";

/// Hosts below the connection's base URL.
pub(crate) const HOSTS: &str = "/host/hosts";

/// Profiles below the connection's base URL.
pub(crate) const PROFILES: &str = "/profiles";

/// Pools below the connection's base URL.
pub(crate) const POOLS: &str = "/pools";

/// Availability zones below the connection's base URL.
pub(crate) const ZONES: &str = "/availabilityZones";

/// The state that an action gives for something that is no longer there. The API itself has no word for it.
pub(crate) const DELETED: &str = "deleted";

/// The state between an accepted deletion and its end.
pub(crate) const DELETING: &str = "deleting";

/// When something that is still changing is worth another try.
pub(crate) const SETTLE: Duration = Duration::from_secs(5);

/// Entries asked for at once: the API's own default.
const PAGE: usize = 50;

/// Pages read at most: 2,000 entries are more than a person can look through, and reading on would use up the attempt.
const PAGES_MAX: usize = 40;

/// The body of every error of the API.
#[derive(Deserialize)]
struct Fault {
    message: String,
}

/// The path of one resource.
pub(crate) fn path(collection: &str, id: &str) -> String {
    format!("{collection}/{}", http::encode_path_segment(id))
}

/// Lists a collection, filtered by the API, page by page. A service that ignores the page gives the same entries again;
/// each is told once.
///
/// # Errors
/// Those of the API, and a permanent one when the list does not end.
pub(crate) fn list<T: DeserializeOwned>(collection: &str, filters: &[(&str, &str)]) -> Result<Vec<T>, Error> {
    let (mut entries, mut seen) = (Vec::new(), BTreeSet::new());
    for page in 0..PAGES_MAX {
        let request =
            filters.iter().fold(http::get(BACKEND, collection), |request, (name, value)| request.query(name, value));
        let response = request.query("limit", PAGE).query("offset", page * PAGE).send()?;
        if !response.is_success() {
            return Err(refused(&response, &format!("list {collection}"), "check the storage service"));
        }
        // An empty list is `null` in older releases.
        let more = wire::parse::<Option<Vec<Json>>>(&response)?.unwrap_or_default();
        let last = more.len() != PAGE;
        let before = seen.len();
        entries.extend(more.into_iter().filter(|entry| seen.insert(entry.to_string())));
        if last || seen.len() == before {
            return entries.into_iter().map(|entry| read_entry(collection, entry)).collect();
        }
    }
    let seen = PAGE * PAGES_MAX;
    Err(Error::permanent(format!("listing {collection} did not end after {seen} entries; narrow it by a filter")))
}

fn read_entry<T: DeserializeOwned>(collection: &str, entry: Json) -> Result<T, Error> {
    serde_json::from_value(entry).map_err(|e| {
        let detail =
            format!("an entry of {collection} was not expected ({e}); check that the connection is the block API");
        Error::new(Reaction::Permanent, standard::COMMUNICATION, 502, "Unexpected response", detail)
    })
}

/// Reads one resource; `None` when there is none.
///
/// # Errors
/// Those of the API.
pub(crate) fn read<T: DeserializeOwned>(collection: &str, id: &str) -> Result<Option<T>, Error> {
    let response = http::get(BACKEND, &path(collection, id)).send()?;
    match response.status() {
        404 => Ok(None),
        _ if response.is_success() => wire::parse(&response).map(Some),
        _ => Err(refused(&response, &format!("read {}", path(collection, id)), "check the identifier")),
    }
}

/// What a deletion came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// There is nothing left to delete.
    Gone,
    /// It is under way.
    Accepted,
    /// Its state does not allow it now; the API's words.
    Refused(Error),
}

/// Asks to delete one resource. Safe to repeat.
///
/// # Errors
/// Those of the API, except that a refusal by state is a value.
pub(crate) fn delete(collection: &str, id: &str) -> Result<Deletion, Error> {
    let response = http::delete(BACKEND, &path(collection, id)).send()?;
    let doing = format!("delete {}", path(collection, id));
    match response.status() {
        404 => Ok(Deletion::Gone),
        _ if response.is_success() => Ok(Deletion::Accepted),
        400 => Ok(Deletion::Refused(refused(&response, &doing, "detach it or wait until it has settled"))),
        _ => Err(refused(&response, &doing, "check the storage service")),
    }
}

/// The error of an unsuccessful response: the API's own words, what was being done, and what to do about it.
pub(crate) fn refused(response: &Response, doing: &str, cure: &str) -> Error {
    let mut error = response.error();
    let Ok(Fault { message }) = wire::parse::<Fault>(response) else { return error.context(doing) };
    match response.status() {
        401 | 403 => error.context(doing),
        status => {
            error.problem.detail = format!("{doing}: the storage API answered {status}: {message}; {cure}");
            if status == 400 {
                return error.with_type(standard::VALIDATION, 400, "Refused by the storage API");
            }
            error
        }
    }
}

/// Whether a refusal was about a state, in the API's words. Where the state allows it by the time somebody looks, it has
/// settled in between, and asking again is all there is to do.
pub(crate) fn is_about_state(error: &Error) -> bool {
    error.problem.detail.contains("status")
}

/// The same refusal, worth another try when what it is about has settled.
pub(crate) fn unsettled(error: Error) -> Error {
    Error::transient(error.problem.detail).retry_after(SETTLE)
}

/// Nothing has this identifier.
pub(crate) fn missing(kind: &str, id: &str) -> Error {
    let detail = format!("there is no {kind} `{id}` in the storage API: it was deleted, or belongs to another tenant");
    Error::new(Reaction::Permanent, standard::COMMUNICATION, 404, "Not found in the storage API", detail)
}

/// What is there is not what was asked for.
pub(crate) fn conflict(detail: String) -> Error {
    Error::new(Reaction::Permanent, standard::VALIDATION, 409, "Conflict with what exists", detail)
}
