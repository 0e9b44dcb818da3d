//! What all calls of the multi-cloud API share: the connection, lists by pages, and the meaning of its errors, which are
//! plain text, mostly under status 500.

use orchestrator_sdk::http::{self, Request, Response};
use orchestrator_sdk::{Error, Json, Reaction, standard};
use serde::de::DeserializeOwned;

/// The JSON API's connection in `pack.yaml`.
pub(crate) const MULTICLOUD: &str = "multicloud";

/// Entries asked for at once.
const PAGE: usize = 100;

/// Pages read at most: beyond it, the list does not end, and reading on would only use up the attempt.
const PAGES_MAX: usize = 100;

/// Longer words of the service are cut, characters.
const SAID_MAX: usize = 500;

/// What the service says under 500 when a request is wrong and the same again would be as wrong.
const REFUSALS: [&str; 7] = [
    "Name or type is null",
    "Invalid connector type",
    "source is the same as destination",
    "duplicate name",
    "invalid plan name",
    "invalid credentials",
    "not found",
];

/// Sends; what went wrong on the way may be tried again, because every action looks before it makes something.
///
/// # Errors
/// Transient when there is no answer; permanent when the request is not allowed.
pub(crate) fn send(request: Request) -> Result<Response, Error> {
    request.send().map_err(|error| match Error::from(error) {
        error if error.reaction == Reaction::Unknown => {
            Error { reaction: Reaction::Transient { retry_after: None }, ..error }
        }
        error => error,
    })
}

/// Lists a collection page by page; `member` is the list's name in the answer.
///
/// # Errors
/// Those of the API, and a permanent one when the list does not end.
pub(crate) fn list<T: DeserializeOwned>(path: &str, member: &str, filter: &[(&str, &str)]) -> Result<Vec<T>, Error> {
    let mut entries = Vec::new();
    for page in 0..PAGES_MAX {
        let request = http::get(MULTICLOUD, path).query("limit", PAGE).query("offset", page * PAGE);
        let request = filter.iter().fold(request, |request, (name, value)| request.query(name, value));
        let response = send(request)?;
        if !response.is_success() {
            return Err(refused(&response, &format!("list {path}")));
        }
        let mut answer: Json = response.parse()?;
        let more: Option<Vec<T>> = serde_json::from_value(answer[member].take())?;
        let more = more.unwrap_or_default();
        let last = more.len() < PAGE;
        entries.extend(more);
        if last {
            return Ok(entries);
        }
    }
    Err(Error::permanent(format!("listing {path} did not end after {} entries; remove old ones", PAGE * PAGES_MAX)))
}

/// What the service said, as one line.
pub(crate) fn said(response: &Response) -> String {
    let text = response.text();
    let detail = serde_json::from_str::<Json>(&text).ok();
    let detail = detail.as_ref().and_then(|answer| answer["detail"].as_str());
    let said = detail.unwrap_or(&text).split_whitespace().collect::<Vec<_>>().join(" ");
    said.chars().take(SAID_MAX).collect()
}

/// The error of an unsuccessful answer: the service's own words and what was being done. What it says tells a refusal from
/// trouble, because the status does not.
pub(crate) fn refused(response: &Response, doing: &str) -> Error {
    let (status, said) = (response.status(), said(response));
    let detail = format!("{doing}: the multi-cloud service answered {status}: {said}");
    match status {
        401 | 403 => Error::permanent(detail)
            .with_type(standard::AUTHORIZATION, 403, "Refused by the multi-cloud service")
            .cure("check the connection's token and the tenant in its base URL"),
        500.. if !REFUSALS.iter().any(|refusal| said.contains(refusal)) => Error::transient(detail).with_status(status),
        500.. => Error::validation(detail),
        _ => Error::permanent(detail).with_type(standard::COMMUNICATION, status, "Refused by the multi-cloud service"),
    }
}
