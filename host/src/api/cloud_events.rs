//! Events from outside: CloudEvents 1.0 over HTTP, in structured, binary and batched mode. What of a request is an event
//! is found here; the rules of an event itself are the coordinator's.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use percent_encoding::percent_decode;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::Caller;
use super::extract;
use super::given_events::{Batch, Given};
use super::problem::{Fault, Kind, Problem};
use super::rooms::Rooms;
use crate::coordinator::EventError;
use crate::coordinator::events::cloud_event::{CloudEvent, EVENT_BYTES_MAX};

/// One event in its JSON form.
const STRUCTURED: &str = "application/cloudevents+json";

/// An array of such events.
const BATCHED: &str = "application/cloudevents-batch+json";

/// Events in one request, at most.
pub(super) const EVENTS_MAX: usize = 1_000;

/// A batch's bytes, at most: small events are what batches are for.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// How long a body may take to arrive.
const BODY_SECONDS_MAX: Duration = Duration::from_secs(30);

/// Seconds after which an event may have place again.
const RETRY_SECONDS: u32 = 30;

/// What became of the events of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AcceptedEvents {
    /// Stored, durably.
    accepted: usize,
    /// Dropped: an event of this `source` and `id` came before.
    duplicates: usize,
}

/// Takes events. They are stored, durably, when this is answered; whatever listens for them in the caller's tenant gets
/// them in their order.
/// An event may come some minutes before its listener. One that comes again with the same `source` and `id` is dropped,
/// so that a sender may repeat a request whose answer it did not get. Of a batch all events are taken or none.
#[utoipa::path(post, path = "/v1/events", tag = "events",
    request_body(description = "A CloudEvent 1.0 of up to 1 MiB, or up to 1,000 of them in 4 MiB. In binary mode the \
        attributes are in `ce-*` headers and the body is the data, of any type.", content(
        (Object = "application/cloudevents+json"),
        (Vec<Object> = "application/cloudevents-batch+json"),
        (String = "*/*"),
    )),
    responses(
        (status = 202, description = "They are stored.", body = AcceptedEvents),
        (status = 400, description = "`malformed-json`, `broken-body`."),
        (status = 413, description = "`body-too-large`."),
        (status = 415, description = "`unsupported-media-type`."),
        (status = 422, description = "`invalid-body`."),
        (status = 503, description = "`busy`, `store-unavailable`."),
    ))]
pub async fn post_events(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    request: Request,
) -> Result<(StatusCode, Json<AcceptedEvents>), Problem> {
    let (head, body) = request.into_parts();
    let mode = Mode::of(&head.headers)?;
    let bytes_max = if mode == Mode::Batched { BATCH_BYTES_MAX } else { EVENT_BYTES_MAX };
    let body = extract::read(body, bytes_max, BODY_SECONDS_MAX).await?;
    let events = read(mode, &head.headers, &body)?;
    let taken = rooms.coordinator.take_events(&caller.tenant, events).await.map_err(|error| match error {
        EventError::Full => Problem::busy(error, RETRY_SECONDS),
        EventError::Unavailable(_) if rooms.stopping.is_cancelled() => Problem::stopping(),
        EventError::Unavailable(_) => Problem::store(error),
    })?;
    let answer = AcceptedEvents { accepted: taken.accepted, duplicates: taken.duplicates };
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

/// The content modes of the HTTP binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Structured,
    Binary,
    Batched,
}

impl Mode {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let media_type = media_type(headers).unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        match () {
            () if essence.eq_ignore_ascii_case(STRUCTURED) => Ok(Self::Structured),
            () if essence.eq_ignore_ascii_case(BATCHED) => Ok(Self::Batched),
            () if headers.contains_key("ce-specversion") => Ok(Self::Binary),
            () => Err(Problem::new(
                Kind::UnsupportedMediaType,
                format!("set `Content-Type` to {STRUCTURED} or {BATCHED}, or send the attributes in `ce-*` headers"),
            )),
        }
    }
}

fn read(mode: Mode, headers: &HeaderMap, body: &Bytes) -> Result<Vec<CloudEvent>, Problem> {
    match mode {
        Mode::Structured => {
            let event = structured(json(body)?);
            Ok(vec![event.map_err(|message| wrong([Fault::at("", message)]))?])
        }
        Mode::Binary => {
            let event = CloudEvent::binary(attributes(headers)?, media_type(headers), body);
            Ok(vec![event.map_err(|message| wrong([Fault::at("", message)]))?])
        }
        Mode::Batched => batch(json(body)?),
    }
}

fn structured(given: Given) -> Result<CloudEvent, String> {
    match given.twice {
        Some(name) => Err(format!("give the event's `{name}` once")),
        None => CloudEvent::structured(given.value),
    }
}

fn batch(batch: Batch) -> Result<Vec<CloudEvent>, Problem> {
    let Batch::Events { items, count } = batch else {
        return Err(wrong([Fault::at("", "a batch is an array of events")]));
    };
    if count > EVENTS_MAX {
        let message = format!("send at most {EVENTS_MAX} events at once; these are {count}");
        return Err(wrong([Fault::at("", message)]));
    }
    let (mut events, mut faults) = (Vec::with_capacity(items.len()), Vec::new());
    for (index, item) in items.into_iter().enumerate() {
        match structured(item) {
            Ok(event) => events.push(event),
            Err(message) => faults.push(Fault::at(format!("/{index}"), message)),
        }
    }
    if faults.is_empty() { Ok(events) } else { Err(wrong(faults)) }
}

fn json<T: serde::de::DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body)
        .map_err(|error| Problem::new(Kind::MalformedJson, format!("the body is not JSON: {error}")))
}

fn wrong(faults: impl IntoIterator<Item = Fault>) -> Problem {
    Problem::new(Kind::InvalidBody, "an event breaks a rule of CloudEvents 1.0; `errors` says where").with(faults)
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok())
}

/// The attributes in `ce-*` headers.
fn attributes(headers: &HeaderMap) -> Result<Vec<(String, String)>, Problem> {
    let mut attributes: Vec<(String, String)> = Vec::new();
    for (header, value) in headers {
        let Some(name) = header.as_str().strip_prefix("ce-") else { continue };
        let refused =
            |message: &str| Problem::new(Kind::InvalidParameter, format!("send the header `{header}` {message}"));
        if attributes.iter().any(|(known, _)| known == name) {
            return Err(refused("once"));
        }
        let value = decode(value.as_bytes()).ok_or_else(|| refused("as percent-encoded UTF-8"))?;
        attributes.push((name.to_owned(), value));
    }
    Ok(attributes)
}

/// A header's text by the HTTP binding: a quoted string is taken out of its quotes first, then what is percent-encoded is
/// decoded.
fn decode(value: &[u8]) -> Option<String> {
    let inside = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    let plain = inside.map_or_else(|| value.to_vec(), unescape);
    percent_decode(&plain).decode_utf8().ok().map(Into::into)
}

fn unescape(quoted: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter().copied();
    while let Some(byte) = bytes.next() {
        plain.push(if byte == b'\\' { bytes.next().unwrap_or(byte) } else { byte });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_decoded_as_the_binding_says() {
        let check = |value: &str, expected: Option<&str>| {
            assert_eq!(decode(value.as_bytes()).as_deref(), expected, "{value}");
        };
        check("plain", Some("plain"));
        check("Euro%20%E2%82%AC%20%F0%9F%98%80", Some("Euro € 😀"));
        check("100%25", Some("100%"));
        check("100%", Some("100%"));
        check("\"a \\\"b\\\" %41\"", Some("a \"b\" A"));
        check("\"", Some("\""));
        check("%ff", None);
    }
}
