//! The double over HTTP.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{Exchange, Shared, lock};

/// Bytes of a request's body that are read; the API's own bodies are far smaller.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Serves until the handle is aborted.
pub(super) fn start(listener: TcpListener, shared: Arc<Mutex<Shared>>) -> JoinHandle<()> {
    let app = axum::Router::new().fallback(serve).with_state(shared);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            eprintln!("the double of the block API stopped: {error}");
        }
    })
}

async fn serve(State(shared): State<Arc<Mutex<Shared>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else { return broken() };
    let text = |value: &header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let exchange = lock(&shared).exchange(
        parts.method.as_str(),
        parts.uri.path(),
        parts.uri.query().unwrap_or_default(),
        headers,
        &body,
    );
    match exchange {
        Exchange::Answered { status, body } => {
            let status = StatusCode::from_u16(status).expect("the double answers with valid statuses");
            let kind = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
            if body.is_empty() { status.into_response() } else { (status, kind, body).into_response() }
        }
        Exchange::Hung => std::future::pending().await,
        Exchange::Broken | Exchange::Refused => broken(),
    }
}

/// A response that promises more than it sends: the client sees the connection break.
fn broken() -> Response {
    let begun = stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"{")) });
    let begun = begun.map(|piece| piece.map_err(|never| match never {}));
    let pieces = begun.chain(stream::once(async { Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)) }));
    let mut response = Body::from_stream(pieces).into_response();
    response.headers_mut().insert(header::CONTENT_LENGTH, header::HeaderValue::from_static("4096"));
    response
}
