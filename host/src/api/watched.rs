//! Streams whose caller is looked at again. Whoever follows events proves who it is once, when the stream is opened; a
//! stream that stays open for days must not outlive the token that opened it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::Response;
use futures_util::StreamExt;

use super::authentication::{self, Asked};
use super::rooms::Rooms;

/// How long a stream goes on at most when its caller may not follow any more. Tests do not wait for it.
const LOOK_AGAIN: Duration = if cfg!(test) { Duration::from_millis(20) } else { Duration::from_secs(10) };

/// What it takes to let the caller of a request in once more.
pub(super) struct Watch {
    rooms: Arc<Rooms>,
    asked: Asked,
    headers: HeaderMap,
}

impl Watch {
    /// Keeps of a request what proves who sends it and where.
    pub(super) fn new(rooms: &Arc<Rooms>, asked: &Asked, headers: &HeaderMap, kept: &[HeaderName]) -> Self {
        let mut proof = HeaderMap::with_capacity(kept.len());
        for (name, value) in headers.iter().filter(|(name, _)| kept.contains(name)) {
            proof.append(name, value.clone());
        }
        Self { rooms: rooms.clone(), asked: asked.clone(), headers: proof }
    }

    /// The response; where it is a stream of events, it ends soon after its caller may not follow any more.
    pub(super) fn over(self, response: Response) -> Response {
        if !is_stream(&response) {
            return response;
        }
        response.map(|body| Body::from_stream(body.into_data_stream().take_until(self.refused())))
    }

    async fn refused(self) {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            if !authentication::still_admits(&self.rooms, &self.asked, &self.headers).await {
                return;
            }
        }
    }
}

fn is_stream(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}
