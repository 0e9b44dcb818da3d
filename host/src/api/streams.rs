//! Event streams (the HTML standard's `text/event-stream`): the text of an event, made once for all who follow, and the
//! answer that carries it. A follower holds one event at a time; who reads too slowly is cut by the connection.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::rooms::Rooms;

/// A comment is sent after so long without an event: below the idle limits of common proxies.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// That comment.
const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// Says to a follower of many that she was too slow and that events are lost to her.
pub const MISSED: Bytes = Bytes::from_static(b"event: missed\ndata: {}\n\n");

/// What the line of an identifier begins with; it is the first line of an event.
const ID: &[u8] = b"id: ";

/// The text of an event.
pub fn text(name: &str, id: Option<u64>, data: &impl Serialize) -> Bytes {
    let mut text = id.map_or_else(Vec::new, |id| [ID, id.to_string().as_bytes(), b"\n"].concat());
    text.extend_from_slice(format!("event: {name}\ndata: ").as_bytes());
    serde_json::to_writer(&mut text, data).expect("events have text keys and finite numbers");
    text.extend_from_slice(b"\n\n");
    text.into()
}

/// The same text without its identifier; it is not copied.
pub fn without_id(text: &Bytes) -> Bytes {
    match text.iter().position(|byte| *byte == b'\n') {
        Some(end) if text.starts_with(ID) => text.slice(end + 1..),
        _ => text.clone(),
    }
}

/// The answer that tells events until the server stops. The follower's place is free again when it is dropped.
pub fn respond(
    rooms: &Rooms,
    events: impl Stream<Item = Bytes> + Send + 'static,
    place: OwnedSemaphorePermit,
) -> Response {
    let stopping = rooms.stopping.clone();
    let events = Box::pin(events.take_until(async move { stopping.cancelled().await }));
    let told = stream::unfold((events, place), async |(mut events, place)| {
        let text = match tokio::time::timeout(KEEP_ALIVE, events.next()).await {
            Ok(text) => text?,
            Err(_) => COMMENT,
        };
        Some((Ok::<_, Infallible>(text), (events, place)))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(told)).into_response()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_told_with_and_without_its_identifier_from_one_text() {
        let whole = text("record", Some(17), &json!({ "a": "b\nid: c" }));
        assert_eq!(whole, "id: 17\nevent: record\ndata: {\"a\":\"b\\nid: c\"}\n\n");
        let rest = without_id(&whole);
        assert_eq!(rest, "event: record\ndata: {\"a\":\"b\\nid: c\"}\n\n");
        assert_eq!(rest.as_ptr(), whole[7..].as_ptr(), "it is not copied");
        let plain = text("log", None, &json!({}));
        assert_eq!((without_id(&plain), plain), ("event: log\ndata: {}\n\n".into(), "event: log\ndata: {}\n\n".into()));
    }
}
