//! Live events by server-sent events (the HTML standard's `text/event-stream`). Records carry their number as `id`, so
//! that a client that comes back continues without gap; progress and log lines carry none and are not repeated.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::caller::Caller;
use super::extract::{InPath, InQuery};
use super::problem::{Kind, Problem};
use super::rooms::{Rooms, aside};
use super::streams;
use crate::coordinator::view::Event;
use crate::coordinator::{Common, Told};
use crate::model::InstanceId;

/// Where to begin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct From {
    /// Only records after the one with this number; `Last-Event-ID` goes before it.
    after: Option<u64>,
}

/// What is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Records, progress and log lines.
    #[default]
    Records,
    /// What instances emit and what happens to them, as CloudEvents.
    CloudEvents,
}

/// How all instances are followed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct What {
    /// `records` (the default) or `cloudevents`.
    #[param(inline)]
    format: Option<Format>,
}

/// Follows one instance: first the records it has, then each as it is made, with progress and log lines in between. The
/// stream ends after the record `ended`; a client that comes back after that gets 204, which ends an `EventSource`.
#[utoipa::path(get, path = "/v1/instances/{id}/events", tag = "events",
    params(
        ("id" = String, Path, format = "uuid", description = "The instance's identifier."),
        From,
        ("Last-Event-ID" = Option<u64>, Header, description = "The `id` of the last event received."),
    ),
    responses(
        (status = 200, description = "Events named `record`, `progress` and `log`; `data` is JSON.", body = String,
            content_type = "text/event-stream"),
        (status = 204, description = "The instance has ended and everything was received."),
        (status = 404, description = "`unknown-instance`."),
        (status = 503, description = "`busy`: as many streams are open as the server takes."),
    ))]
pub async fn follow_instance(
    State(rooms): State<Arc<Rooms>>,
    InPath(id): InPath<InstanceId>,
    InQuery(from): InQuery<From>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = last_event_id(&headers)?.or(from.after).unwrap_or(0);
    let place = rooms.follow()?;
    if is_told(&rooms, id, after).await? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let events = rooms.coordinator.follow(id, after)?;
    Ok(streams::respond(&rooms, events.map(|event| text(&event)), place))
}

/// Follows all instances of the caller's tenant that she sees, from now on. A follower that is too slow misses events and
/// is told so by the event `missed`; follow one instance where none may be missed.
#[utoipa::path(get, path = "/v1/events", tag = "events", params(What), responses(
    (status = 200, description = "Events named `record`, `progress`, `log` and `missed`, or `cloudevent` and `missed`, \
        without `id`; `data` is JSON.", body = String, content_type = "text/event-stream"),
    (status = 503, description = "`busy`: as many streams are open as the server takes."),
))]
pub async fn follow_all(
    State(rooms): State<Arc<Rooms>>,
    Caller(caller): Caller,
    InQuery(what): InQuery<What>,
) -> Result<Response, Problem> {
    let place = rooms.follow()?;
    if what.format == Some(Format::CloudEvents) {
        let events = rooms.coordinator.cloud_events(caller).map(|told| match told {
            Told::Event(event) => event.form(|event| streams::text("cloudevent", None, event)),
            Told::Missed => streams::MISSED,
        });
        return Ok(streams::respond(&rooms, events, place));
    }
    let events = rooms.coordinator.subscribe(caller).map(|told| match told {
        Told::Event(event) => streams::without_id(&text(&event)),
        Told::Missed => streams::MISSED,
    });
    Ok(streams::respond(&rooms, events, place))
}

pub(super) fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    match value.to_str().map(str::parse) {
        Ok(Ok(id)) => Ok(Some(id)),
        _ => Err(Problem::new(Kind::InvalidParameter, "set `Last-Event-ID` to the `id` of an event of this stream")),
    }
}

/// Whether the instance has ended and has no record after this one.
async fn is_told(rooms: &Rooms, id: InstanceId, after: u64) -> Result<bool, Problem> {
    if !rooms.coordinator.instance(id)?.status.is_final() {
        return Ok(false);
    }
    let coordinator = rooms.coordinator.clone();
    aside(move || coordinator.history(id, after, 1)).await.map(|records| records.is_empty())
}

/// The text of an event, the same for all who follow.
fn text(event: &Common<Event>) -> Bytes {
    event.form(|event| match event {
        Event::Record { record, .. } => streams::text("record", Some(record.seq), event),
        Event::Progress { .. } => streams::text("progress", None, event),
        Event::Log { .. } => streams::text("log", None, event),
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_follower_comes_back_with_a_number() {
        let read = |value: &'static str| {
            let headers = HeaderMap::from_iter([("last-event-id".parse().unwrap(), HeaderValue::from_static(value))]);
            last_event_id(&headers).map_err(|problem| problem.kind)
        };
        assert_eq!(last_event_id(&HeaderMap::new()), Ok(None));
        assert_eq!(read("17"), Ok(Some(17)));
        for bad in ["", "-1", "x", "99999999999999999999999"] {
            assert_eq!(read(bad), Err(Kind::InvalidParameter), "{bad}");
        }
    }
}
