//! What can go wrong with a call, as the errors of the language. Texts name method, host and path, never a query, a field
//! or a body that was sent.

use std::time::Duration;

use ::http::{HeaderMap, Method, StatusCode, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use url::Url;

use super::super::transport::SendError;
use super::way::{Way, pattern_of};
use crate::model::{Failure, PackName, Problem, Reaction, standard};

/// A `Retry-After` beyond this is not believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What others wrote is shown at most this long, characters.
const SHOWN_CHARS_MAX: usize = 300;

fn failure(
    reaction: Reaction,
    (segment, status): (&str, u16),
    title: impl Into<String>,
    detail: impl Into<String>,
) -> Failure {
    let kind = format!("{}{segment}", standard::BASE);
    Failure { reaction, problem: Problem { kind, status, title: title.into(), detail: detail.into() } }
}

const AGAIN: Reaction = Reaction::Transient { retry_after_ms: None };

/// What is asked for is wrong, whatever the outside says.
pub(super) fn configuration(detail: impl Into<String>) -> Failure {
    failure(Reaction::Permanent, standard::CONFIGURATION, "the call is not well formed", detail)
}

/// What is passed does not fit what the callee declares.
pub(super) fn validation(detail: impl Into<String>) -> Failure {
    failure(Reaction::Permanent, standard::VALIDATION, "the arguments do not fit the operation", detail)
}

/// The other side does not accept who we are.
pub(super) fn unauthenticated(detail: impl Into<String>) -> Failure {
    failure(Reaction::Permanent, standard::AUTHENTICATION, "not authenticated", detail)
}

fn denied(detail: String) -> Failure {
    failure(Reaction::Permanent, standard::AUTHORIZATION, "not granted", detail)
}

pub(super) fn denied_host(pack: &PackName, url: &Url) -> Failure {
    let host = shown(&pattern_of(url));
    denied(missing(pack, &format!("host `{host}`"), &format!("hosts: [\"{host}\"]"), &format!("--host {host}")))
}

pub(super) fn denied_connection(pack: &PackName, name: &str) -> Failure {
    let name = shown(name);
    let line = format!("connections: [{name}]");
    denied(missing(pack, &format!("connection `{name}`"), &line, &format!("{name}=<connection>")))
}

pub(super) fn denied_secret(pack: &PackName, name: &str) -> Failure {
    let name = shown(name);
    let line = format!("secrets: [{name}]");
    denied(missing(pack, &format!("secret `{name}`"), &line, &format!("--secret {name}=<secret>")))
}

fn missing(pack: &PackName, what: &str, line: &str, option: &str) -> String {
    format!(
        "{what} is not granted to the workflows of pack `{pack}`; request it in pack.yaml, beside `actions`, with \
         `uses: {{ {line} }}`, then grant it with `orchctl pack grant {pack} {option}`"
    )
}

/// A granted secret that is not there or of no use.
pub(super) fn unfit_secret(detail: String) -> Failure {
    denied(detail)
}

/// The response's `Location` is no place to go to.
pub(super) fn misled(location: &str) -> Failure {
    let location = shown(location.split('?').next().unwrap_or_default());
    communication(500, Reaction::Permanent, "a redirect leads nowhere", format!("`{location}` is no http URL"))
}

pub(super) fn communication(
    status: u16,
    reaction: Reaction,
    title: impl Into<String>,
    detail: impl Into<String>,
) -> Failure {
    failure(reaction, (standard::COMMUNICATION.0, status), title, detail)
}

/// Whether sending a request twice is as good as once (RFC 9110, 9.2.2).
pub(super) fn repeatable(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

/// There is no response.
pub(super) fn unsent(error: SendError, method: &Method, way: &Way, limit: Duration, repeatable: bool) -> Failure {
    let lost = if repeatable { AGAIN } else { Reaction::Unknown };
    let detail = format!("{method} {way}: {error}");
    match error {
        SendError::Invalid(_) => configuration(detail),
        SendError::Unavailable(_) => communication(500, AGAIN, "no connection", detail),
        SendError::Timeout(_) => {
            let detail = format!("{method} {way} did not end within {} ms", limit.as_millis());
            failure(lost, standard::TIMEOUT, "timeout", detail)
        }
        SendError::Interrupted(_) => communication(500, lost, "the connection broke", detail),
        SendError::TooLarge(_) => communication(500, Reaction::Permanent, "the response is too large", detail),
    }
}

/// The call as a whole took too long.
pub(super) fn too_late(limit: Duration, effect: bool) -> Failure {
    let reaction = if effect { Reaction::Unknown } else { AGAIN };
    let detail = format!("the call did not end within {} ms", limit.as_millis());
    failure(reaction, standard::TIMEOUT, "timeout", detail)
}

/// The response's status is not one of success.
pub(super) fn answered(
    method: &Method,
    way: &Way,
    status: StatusCode,
    headers: &HeaderMap,
    body: &str,
    now: Timestamp,
) -> Failure {
    let reaction = match status.as_u16() {
        408 | 425 | 429 | 500.. => Reaction::Transient { retry_after_ms: retry_after(headers, now) },
        _ => Reaction::Permanent,
    };
    let title = format!("answered {}", named(status));
    let said = if body.trim().is_empty() { String::new() } else { format!(": {}", shown(body.trim())) };
    communication(status.as_u16(), reaction, title, format!("{method} {way} was answered {}{said}", named(status)))
}

/// `404 Not Found`.
pub(super) fn named(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default()).trim_end().to_owned()
}

/// `Retry-After`, in seconds or as a date (RFC 9110, 10.2.3), as milliseconds from now.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<u64> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let due = DateTimeParser::new().parse_timestamp(text).ok()?;
            Duration::try_from(due.duration_since(now)).unwrap_or_default()
        }
    };
    u64::try_from(wait.min(RETRY_AFTER_MAX).as_millis()).ok()
}

/// Others' words, without what could steer a terminal.
pub(super) fn shown(text: &str) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = chars.by_ref().take(SHOWN_CHARS_MAX).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_after_is_read_in_both_its_forms() {
        let now = "2015-10-21T07:28:00Z".parse().unwrap();
        let check = |text: &str, expected: Option<u64>| {
            let headers = [(header::RETRY_AFTER, text.parse().unwrap())].into_iter().collect();
            assert_eq!(retry_after(&headers, now), expected, "{text}");
        };
        check("120", Some(120_000));
        check("Wed, 21 Oct 2015 07:28:30 GMT", Some(30_000));
        check("Wed, 21 Oct 2015 07:27:30 GMT", Some(0));
        check("999999999", Some(86_400_000));
        check("soon", None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
