//! What a call gives back: content, raw bytes or the whole response, without any secret that was opened for the call.

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderMap, HeaderName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, json};

use super::super::client::remove_hidden;
use super::opener::{HIDDEN, Opener};
use super::request::{essence, is_json};
use super::{Reply, Wire, failure};
use crate::model::{Failure, Json};

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// The decoded body.
    Content,
    /// The body in base64.
    Raw,
    /// Request, status, fields and decoded body.
    Response,
}

impl Output {
    pub(super) fn read(value: &Json) -> Result<Self, Failure> {
        match value.as_str() {
            None if value.is_null() => Ok(Self::Content),
            Some("content") => Ok(Self::Content),
            Some("raw") => Ok(Self::Raw),
            Some("response") => Ok(Self::Response),
            _ => Err(failure::configuration("write `output` as `content`, `raw` or `response`")),
        }
    }

    /// The output of a request and its response.
    pub(super) fn of(self, wire: &Wire, reply: &Reply, opener: &Opener<'_>) -> Json {
        match self {
            Self::Content => content(reply, opener),
            Self::Raw => Json::String(STANDARD.encode(opener.hide_bytes(&reply.body))),
            Self::Response => json!({
                "request": {
                    "method": wire.method.as_str(),
                    "uri": opener.hide(&wire.way.uri()),
                    "headers": fields(&wire.headers, opener),
                },
                "statusCode": reply.status.as_u16(),
                "headers": received(&reply.headers, opener),
                "content": content(reply, opener),
            }),
        }
    }
}

/// JSON where the content type says so, else text; base64 where it is no text; null where there is nothing.
fn content(reply: &Reply, opener: &Opener<'_>) -> Json {
    if reply.body.is_empty() {
        return Json::Null;
    }
    let kind = reply.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(essence);
    if kind.is_some_and(|kind| is_json(&kind))
        && let Ok(value) = serde_json::from_slice(&reply.body)
    {
        return opener.hide_json(value);
    }
    match std::str::from_utf8(&reply.body) {
        Ok(text) => Json::String(opener.hide(text)),
        Err(_) => Json::String(STANDARD.encode(opener.hide_bytes(&reply.body))),
    }
}

fn received(headers: &HeaderMap, opener: &Opener<'_>) -> Json {
    let mut headers = headers.clone();
    remove_hidden(&mut headers);
    fields(&headers, opener)
}

/// The fields by name, several of one name joined; what authenticates is not shown.
fn fields(headers: &HeaderMap, opener: &Opener<'_>) -> Json {
    let shown = headers.keys().map(|name| (name.as_str().to_owned(), Json::String(field(headers, name, opener))));
    Json::Object(shown.collect::<Map<_, _>>())
}

fn field(headers: &HeaderMap, name: &HeaderName, opener: &Opener<'_>) -> String {
    let values = headers.get_all(name).iter().map(|value| match value.is_sensitive() {
        true => HIDDEN.to_owned(),
        false => opener.hide(&String::from_utf8_lossy(value.as_bytes())),
    });
    values.collect::<Vec<_>>().join(", ")
}
