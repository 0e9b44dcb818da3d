//! Pages of other sites (the Fetch standard's CORS): those that the settings name may call the interface, all others are
//! refused. Credentials that a browser sends by itself are never asked for; a page gives its token itself.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::front::Origin;

/// How long a browser may keep the answer to a preflight, seconds.
const PREFLIGHT_SECONDS: &str = "600";

/// What a page may send beyond what every page may.
const HEADERS: &str = "authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, \
                       orchestrator-tenant, x-auth-token, x-request-id";

/// What a page may read beyond what every page may.
const EXPOSED: &str = "etag, idempotency-replayed, location, ratelimit, ratelimit-policy, retry-after, x-request-id";

const METHODS: &str = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";

/// Whether a page of this origin may call.
pub fn admits(origins: &[Origin], headers: &HeaderMap) -> bool {
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    origin.is_some_and(|origin| origins.iter().any(|known| known.admits(origin)))
}

/// The answer to a browser that asks beforehand whether a page may send its request; nothing for another request.
pub fn preflight(method: &Method, headers: &HeaderMap) -> Option<Response> {
    let asks = *method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let answer = || {
        let headers = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS),
            (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS),
        ];
        (StatusCode::NO_CONTENT, headers).into_response()
    };
    asks.then(answer)
}

/// Tells the browser that the page may read the answer.
pub fn allow(origin: Option<&HeaderValue>, response: &mut Response) {
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}
