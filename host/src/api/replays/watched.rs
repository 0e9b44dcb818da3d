//! The digest of a request, made while its handler reads the body: a large body is not in memory twice.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use ring::digest::{Context as Digest, SHA256};

/// The digest of a request while its body is read.
#[derive(Clone)]
pub(super) struct Watch(Arc<Mutex<(Digest, bool)>>);

impl Watch {
    /// The digest, where the body was read to its end.
    pub(super) fn finished(&self) -> Option<String> {
        let (digest, ended) = &*self.0.lock().expect("no holder of this lock panics");
        ended.then(|| hex::encode(digest.clone().finish()))
    }
}

struct Watched {
    body: Body,
    watch: Watch,
}

/// The request, and the digest of its target and body as they will have been read.
pub(super) fn watched(request: Request) -> (Request, Watch) {
    let mut digest = Digest::new(&SHA256);
    digest.update(request.uri().path_and_query().map_or("", |target| target.as_str()).as_bytes());
    digest.update(&[0]);
    let (head, body) = request.into_parts();
    let watch = Watch(Arc::new(Mutex::new((digest, body.is_end_stream()))));
    (Request::from_parts(head, Body::new(Watched { body, watch: watch.clone() })), watch)
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let mut watch = self.watch.0.lock().expect("no holder of this lock panics");
        match &frame {
            Some(Ok(frame)) => watch.0.update(frame.data_ref().map_or(&[], |data| data)),
            Some(Err(_)) => {}
            None => watch.1 = true,
        }
        drop(watch);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
