//! The interface's document as a page for people, at `/docs`: operations by subject, parameters, bodies, examples, and a
//! form to try each. Everything is in the program; the page asks no other site, and its policy lets it ask none.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ring::digest::{SHA256, digest};

const PAGE: &str = include_str!("docs/page.html");
const STYLE: &str = include_str!("docs/page.css");
const SCRIPT: &str = include_str!("docs/page.js");

/// The page with its style and its script in it, and the policy that allows just these.
struct Made {
    page: Bytes,
    policy: String,
}

static MADE: LazyLock<Made> = LazyLock::new(|| {
    let page = PAGE.replace("/*style*/", STYLE).replace("/*script*/", SCRIPT);
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, text.as_bytes())));
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    Made { page: page.into(), policy }
});

/// Gives the page that shows this document.
#[utoipa::path(get, path = "/docs", tag = "server", responses(
    (status = 200, description = "The page.", body = String, content_type = "text/html"),
))]
pub async fn get_docs() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, MADE.policy.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, MADE.page.clone())
}
