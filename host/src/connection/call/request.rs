//! What a call sends: method, endpoint, fields, query and body, read from its arguments with all secrets opened. Nothing
//! is sent here.

use ::http::Method;
use ::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use url::form_urlencoded::Serializer;

use super::super::client::{forbidden, refusal};
use super::opener::Opener;
use super::output::Output;
use super::{Session, failure};
use crate::model::{Failure, Json, is_sealed};

/// A request's body, bytes; larger data is moved by an action, which can stream it.
const BODY_BYTES_MAX: usize = 8 << 20;

/// Fields of one request; servers commonly stop at 100.
const FIELDS_MAX: usize = 64;

/// All fields of one request, bytes; servers commonly stop at 16 KiB or more.
const FIELDS_BYTES_MAX: usize = 16 << 10;

const FORM: &str = "application/x-www-form-urlencoded";

/// A call, read.
pub(super) struct Spec {
    pub(super) method: Method,
    pub(super) endpoint: String,
    /// Encoded.
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    pub(super) output: Output,
    pub(super) redirect: bool,
    /// One entry of `use.authentications`, not yet opened.
    pub(super) authentication: Option<Json>,
}

impl Spec {
    /// Reads the arguments of `call: http`.
    pub(super) fn read(arguments: &Json, session: &Session<'_>) -> Result<Self, Failure> {
        let opener = session.opener;
        let (endpoint, own) = endpoint(&arguments["endpoint"])?;
        let mut headers = fields(&arguments["headers"], opener)?;
        let body = match &arguments["body"] {
            Json::Null => None,
            body => Some(encoded(&opener.json(body)?, &mut headers)?),
        };
        Ok(Self {
            method: method(&arguments["method"])?,
            endpoint: opener.text(endpoint)?,
            query: query(&opener.json(&arguments["query"])?)?,
            headers,
            body,
            output: Output::read(&arguments["output"])?,
            redirect: arguments["redirect"] == true,
            authentication: present(&arguments["authentication"]).or(own).cloned(),
        })
    }
}

/// The value, if it is not null.
pub(super) fn present(value: &Json) -> Option<&Json> {
    Some(value).filter(|value| !value.is_null())
}

/// An endpoint: its URI, and its authentication where it is written with one.
pub(super) fn endpoint(value: &Json) -> Result<(&str, Option<&Json>), Failure> {
    match value {
        Json::String(uri) => Ok((uri, None)),
        Json::Object(members) => match members.get("uri") {
            Some(Json::String(uri)) => Ok((uri, members.get("authentication").and_then(present))),
            _ => Err(failure::configuration("write `uri` in the endpoint as text")),
        },
        _ => Err(failure::configuration("write `endpoint` as an absolute URI")),
    }
}

fn method(value: &Json) -> Result<Method, Failure> {
    let text = value.as_str().unwrap_or_default().to_ascii_uppercase();
    // `CONNECT` would make a tunnel and `TRACE` would show what authenticates.
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT | Method::TRACE) | Err(_) => Err(failure::configuration(
            "write `method` as `get`, `head`, `options`, `post`, `put`, `patch` or `delete`",
        )),
        Ok(method) => Ok(method),
    }
}

/// The fields; those with a secret in them are marked, so that they are neither shown nor sent elsewhere.
pub(super) fn fields(value: &Json, opener: &Opener<'_>) -> Result<HeaderMap, Failure> {
    let members = match value {
        Json::Null => return Ok(HeaderMap::new()),
        Json::Object(members) => members,
        _ => return Err(failure::configuration("write `headers` as an object of texts")),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in members {
        let Some(text) = listed(value) else { continue };
        put(&mut headers, name, &opener.text(&text)?, is_sealed(&text))?;
    }
    within_limits(&headers)?;
    Ok(headers)
}

/// Adds one field, after checking that it is one a call may set.
pub(super) fn put(headers: &mut HeaderMap, name: &str, value: &str, secret: bool) -> Result<(), Failure> {
    let parsed = HeaderName::from_bytes(name.as_bytes());
    let name = parsed.map_err(|_| failure::configuration("write a field's name as HTTP allows it"))?;
    // What authenticates may be written out in a call, unlike in an action: the workflow has the secret granted.
    let own = matches!(name.as_str(), "authorization" | "proxy-authorization" | "cookie");
    if forbidden(&name) && !own {
        return Err(failure::configuration(refusal(&name)));
    }
    let value = HeaderValue::from_bytes(value.as_bytes());
    let mut value =
        value.map_err(|_| failure::configuration(format!("write the value of `{name}` in one line of text")))?;
    value.set_sensitive(secret || own);
    headers.append(name, value);
    Ok(())
}

fn within_limits(headers: &HeaderMap) -> Result<(), Failure> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    match headers.len() > FIELDS_MAX || bytes > FIELDS_BYTES_MAX {
        true => Err(failure::configuration(format!(
            "send at most {FIELDS_MAX} fields of {FIELDS_BYTES_MAX} bytes together"
        ))),
        false => Ok(()),
    }
}

/// A field's value: texts of a list are joined, null is none.
fn listed(value: &Json) -> Option<String> {
    match value {
        Json::Null => None,
        Json::Array(items) => Some(items.iter().map(text_of).collect::<Vec<_>>().join(", ")),
        plain => Some(text_of(plain)),
    }
}

/// A scalar as text, everything else as JSON.
pub(super) fn text_of(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The query, encoded; each item of a list is a pair of its own, null is none.
pub(super) fn query(value: &Json) -> Result<String, Failure> {
    match value {
        Json::Null => Ok(String::new()),
        Json::Object(members) => {
            let mut query = Serializer::new(String::new());
            members.iter().for_each(|(name, value)| {
                items(value).for_each(|item| {
                    query.append_pair(name, &text_of(item));
                });
            });
            Ok(query.finish())
        }
        _ => Err(failure::configuration("write `query` as an object")),
    }
}

fn items(value: &Json) -> impl Iterator<Item = &Json> {
    let items = match value {
        Json::Array(items) => items.as_slice(),
        plain => std::slice::from_ref(plain),
    };
    items.iter().filter(|item| !item.is_null())
}

/// The body as its content type wants it; JSON where none is given, which is then set.
pub(super) fn encoded(body: &Json, headers: &mut HeaderMap) -> Result<Bytes, Failure> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(essence);
    let bytes = match given.as_deref() {
        None => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            body.to_string()
        }
        Some(FORM) if !body.is_string() => query(body)?,
        Some(kind) if kind.starts_with("multipart/") => {
            return Err(failure::configuration("a multipart body cannot be sent by a call; an action can"));
        }
        Some(kind) if is_json(kind) => body.to_string(),
        Some(_) => text_of(body),
    };
    match bytes.len() > BODY_BYTES_MAX {
        true => Err(failure::configuration(format!("send at most {BODY_BYTES_MAX} bytes; an action can stream more"))),
        false => Ok(bytes.into()),
    }
}

/// The media type without its parameters, lower-case.
pub(super) fn essence(text: &str) -> String {
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether content of the media type is JSON.
pub(super) fn is_json(essence: &str) -> bool {
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}
