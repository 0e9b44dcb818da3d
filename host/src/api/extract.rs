//! What handlers take out of a request: path, query, JSON body, raw body, idempotency key. Each refuses with a problem
//! that says what is allowed. Reading is bounded in bytes and in time; parsing is pure.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, MatchedPath, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use super::negotiate::{self, YAML};
use super::operations::{self, JSON};
use super::problem::{FAULTS_MAX, Fault, Kind, Problem};
use super::wording;
use crate::definition::yaml;

/// A JSON body's bytes, at most. Inputs of workflows travel in it; larger data belongs into an outside store.
pub const JSON_BYTES_MAX: usize = 1 << 20;

/// How long a JSON body may take to arrive: a mebibyte on a very slow line.
pub const JSON_SECONDS_MAX: Duration = Duration::from_secs(30);

/// An `Idempotency-Key`'s characters, at most.
const KEY_CHARACTERS_MAX: usize = 255;

/// The parameters of the path.
#[derive(Debug)]
pub struct InPath<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::new(Kind::InvalidParameter, wording::of_path(&rejection.body_text()))),
        }
    }
}

/// The parameters of the query; one that the route does not know is refused.
#[derive(Debug)]
pub struct InQuery<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::new(Kind::InvalidParameter, wording::of_query(&rejection.body_text()))),
        }
    }
}

/// A body in JSON, or the same in YAML.
#[derive(Debug)]
pub struct InJson<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for InJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        require_media_type(request.headers(), &[JSON, YAML, "application/x-yaml", "text/yaml"])?;
        let is_yaml = negotiate::is_yaml(content_type(request.headers()));
        let operation = (request.method().clone(), request.extensions().get::<MatchedPath>().cloned());
        let bytes = read(request.into_body(), JSON_BYTES_MAX, JSON_SECONDS_MAX).await?;
        let read = if is_yaml { parse_yaml(&bytes) } else { parse(&bytes) };
        read.map(Self).map_err(|problem| with_all_faults(problem, &bytes, is_yaml, operation))
    }
}

/// The problem of a refused body with every fault that the documented schema finds, beside the first one.
fn with_all_faults(
    mut problem: Problem,
    bytes: &[u8],
    is_yaml: bool,
    (method, path): (Method, Option<MatchedPath>),
) -> Problem {
    let (Kind::InvalidBody, Some(path)) = (problem.kind, path) else { return problem };
    let read = if is_yaml { yaml_value(bytes).ok() } else { serde_json::from_slice(bytes).ok() };
    let Some(body) = read else { return problem };
    for fault in operations::faults(&method, path.as_str(), &body) {
        if problem.errors.len() < FAULTS_MAX && problem.errors.iter().all(|known| known.pointer != fault.pointer) {
            problem.errors.push(fault);
        }
    }
    problem
}

/// The `Idempotency-Key` header, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        idempotency_key(&parts.headers).map(Self)
    }
}

/// The `Idempotency-Key` of a request.
///
/// # Errors
/// `invalid-parameter` where it is not one visible word.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let bytes = value.as_bytes();
    let fits = (1..=KEY_CHARACTERS_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    match value.to_str() {
        Ok(key) if fits && values.next().is_none() => Ok(Some(key.to_owned())),
        _ => Err(Problem::new(
            Kind::InvalidParameter,
            format!("send one `Idempotency-Key` of 1 to {KEY_CHARACTERS_MAX} visible ASCII characters"),
        )),
    }
}

/// Refuses a body whose `Content-Type` is none of `allowed`, or which is compressed; parameters such as `charset` do not
/// matter.
///
/// # Errors
/// `unsupported-media-type`, naming the allowed types.
pub fn require_media_type(headers: &HeaderMap, allowed: &[&str]) -> Result<(), Problem> {
    let is_plain = |encoding: &HeaderValue| encoding.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(header::CONTENT_ENCODING).iter().all(is_plain) {
        return Err(Problem::new(Kind::UnsupportedMediaType, "send the body as it is, without `Content-Encoding`"));
    }
    let essence = content_type(headers);
    if allowed.iter().any(|allowed| essence.eq_ignore_ascii_case(allowed)) {
        return Ok(());
    }
    Err(Problem::new(Kind::UnsupportedMediaType, format!("set `Content-Type` to {}", allowed.join(" or "))))
}

/// The media type of a body without its parameters.
fn content_type(headers: &HeaderMap) -> &str {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim()
}

/// Reads a body whole, within bytes and time.
///
/// # Errors
/// `body-too-large`, `request-timeout`, or `broken-body` where it ended early.
pub async fn read(body: Body, bytes_max: usize, deadline: Duration) -> Result<Bytes, Problem> {
    let announced = axum::body::HttpBody::size_hint(&body).lower();
    if announced > bytes_max as u64 {
        return Err(too_large(bytes_max));
    }
    match tokio::time::timeout(deadline, collect(body, announced as usize, bytes_max)).await {
        Ok(result) => result,
        Err(_) => Err(Problem::new(
            Kind::RequestTimeout,
            format!("send the whole body within {} seconds", deadline.as_secs()),
        )),
    }
}

/// Reads into one buffer, so that a large body is in memory only once.
async fn collect(mut body: Body, announced: usize, bytes_max: usize) -> Result<Bytes, Problem> {
    let mut bytes = BytesMut::with_capacity(announced);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Problem::new(Kind::BrokenBody, format!("send it again: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

/// The problem of a body above its limit.
pub fn too_large(bytes_max: usize) -> Problem {
    Problem::new(Kind::BodyTooLarge, format!("send at most {} MiB ({bytes_max} bytes)", bytes_max >> 20))
}

/// Reads a JSON object into a type.
///
/// # Errors
/// `malformed-json` for a fault of the syntax, `invalid-body` with the place for one of the shape.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.trim_ascii_start().starts_with(b"[") {
        // Derived readers take an array for an object's members in order; a public interface must not.
        let message = "expected an object, found an array";
        return Err(Problem::new(Kind::InvalidBody, message).with([Fault::at("", message)]));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer(error.path());
        misfit(pointer, error.inner())
    })?;
    reader.end().map_err(|error| misfit(String::new(), &error))?;
    Ok(value)
}

/// Reads a YAML object into a type.
///
/// # Errors
/// `malformed-yaml`, or `invalid-body` with the place of the fault.
fn parse_yaml<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let value = yaml_value(bytes)?;
    if !value.is_object() {
        let message = "expected an object";
        return Err(Problem::new(Kind::InvalidBody, message).with([Fault::at("", message)]));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let pointer = pointer(error.path());
        misfit(pointer, error.inner())
    })
}

fn yaml_value(bytes: &[u8]) -> Result<serde_json::Value, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| Problem::new(Kind::MalformedYaml, "send YAML in UTF-8"))?;
    let tree = yaml::parse(text, "body").map_err(|finding| {
        let text = format!("line {}, column {}: {}", finding.line, finding.column, finding.message);
        Problem::new(Kind::MalformedYaml, text).with([super::packs::fault(&finding)])
    })?;
    Ok(tree.to_json())
}

fn misfit(pointer: String, error: &serde_json::Error) -> Problem {
    if !error.is_data() {
        return Problem::new(Kind::MalformedJson, format!("the body is not JSON: {error}"));
    }
    let text = error.to_string();
    let message = &wording::of_body(text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message));
    let place = if pointer.is_empty() { "the body" } else { &pointer };
    Problem::new(Kind::InvalidBody, format!("{place}: {message}")).with([Fault::at(pointer, message)])
}

/// A JSON pointer (RFC 6901) to where an error arose.
fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        name: String,
        #[serde(default)]
        lines: Vec<Line>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line {
        amount: u32,
    }

    fn check(body: &str, kind: Kind, pointer: Option<&str>, text: &str) {
        let problem = parse::<Order>(body.as_bytes()).unwrap_err();
        assert_eq!(problem.kind, kind, "{body}");
        assert!(problem.detail.contains(text), "{body}: {}", problem.detail);
        assert_eq!(problem.errors.first().and_then(|fault| fault.pointer.as_deref()), pointer, "{body}");
    }

    #[test]
    fn a_wrong_body_is_answered_with_the_place_of_its_fault() {
        check("", Kind::MalformedJson, None, "line 1 column 0");
        check("{\"name\":", Kind::MalformedJson, None, "EOF");
        check("{\"name\":\"a\"} x", Kind::MalformedJson, None, "trailing characters");
        check("\u{feff}{}", Kind::MalformedJson, None, "line 1 column 1");
        check("{}", Kind::InvalidBody, Some(""), "missing field `name`");
        check("{\"name\":1}", Kind::InvalidBody, Some("/name"), "expected a string");
        check("{\"name\":\"a\",\"nmae\":1}", Kind::InvalidBody, Some("/nmae"), "unknown field `nmae`");
        check(
            "{\"name\":\"a\",\"lines\":[{\"amount\":-1}]}",
            Kind::InvalidBody,
            Some("/lines/0/amount"),
            "whole number",
        );
        check("{\"name\":\"a\",\"lines\":[{\"a/b\":1}]}", Kind::InvalidBody, Some("/lines/0/a~1b"), "unknown field");
        check("[\"a\",[]]", Kind::InvalidBody, Some(""), "expected an object");
    }

    #[test]
    fn a_body_in_yaml_is_the_same_body() {
        let order: Order = parse_yaml(b"name: on\nlines: [{amount: 1}]").unwrap();
        assert_eq!((order.name.as_str(), order.lines[0].amount), ("on", 1));
        let check = |body: &str, kind: Kind, pointer: Option<&str>| {
            let problem = parse_yaml::<Order>(body.as_bytes()).unwrap_err();
            let found = problem.errors.first().and_then(|fault| fault.pointer.as_deref());
            assert_eq!((problem.kind, found), (kind, pointer), "{body}");
        };
        check("name: [", Kind::MalformedYaml, None);
        check("name: a\nname: b", Kind::MalformedYaml, None);
        check("- a", Kind::InvalidBody, Some(""));
        check("name: a\nlines: [{amount: x}]", Kind::InvalidBody, Some("/lines/0/amount"));
    }

    #[test]
    fn deep_nesting_is_refused_and_not_followed() {
        let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
        let problem = parse::<serde_json::Value>(format!("{{\"a\":{deep}}}").as_bytes()).unwrap_err();
        assert_eq!(problem.kind, Kind::MalformedJson);
        assert!(problem.detail.contains("recursion limit"), "{}", problem.detail);
    }

    #[test]
    fn an_idempotency_key_is_one_visible_word() {
        let key = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("idempotency-key", HeaderValue::from_bytes(value).unwrap());
            }
            idempotency_key(&headers).map_err(|problem| problem.kind)
        };
        assert_eq!(key(&[]), Ok(None));
        assert_eq!(key(&[b"order-1"]), Ok(Some("order-1".to_owned())));
        assert_eq!(key(&[&[b'x'; 255]]).map(|key| key.map(|key| key.len())), Ok(Some(255)));
        for bad in [&[&b""[..]][..], &[b"a b"], &[b"\xc3\xa4"], &[&[b'x'; 256]], &[b"a", b"b"]] {
            assert_eq!(key(bad), Err(Kind::InvalidParameter), "{bad:?}");
        }
    }

    #[test]
    fn a_media_type_is_compared_without_its_parameters() {
        let check = |text: &'static str| {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(text))]);
            require_media_type(&headers, &["application/json"]).is_ok()
        };
        assert!(check("application/json; charset=utf-8") && check("Application/JSON"));
        assert!(!check("text/plain") && !check("") && !check("application/jsonx"));
        assert!(require_media_type(&HeaderMap::new(), &["application/json"]).is_err());
    }

    #[test]
    fn a_compressed_body_is_refused() {
        let check = |encoding: &'static str| {
            let pair = |name, text| (name, HeaderValue::from_static(text));
            let headers =
                HeaderMap::from_iter([pair(header::CONTENT_TYPE, JSON), pair(header::CONTENT_ENCODING, encoding)]);
            require_media_type(&headers, &[JSON]).map_err(|problem| problem.kind)
        };
        assert_eq!(check("identity"), Ok(()));
        assert_eq!(check("gzip"), Err(Kind::UnsupportedMediaType));
        assert_eq!(check(""), Err(Kind::UnsupportedMediaType));
    }

    #[tokio::test]
    async fn a_body_is_read_within_bytes_and_time() {
        let second = Duration::from_secs(1);
        assert_eq!(read(Body::from("abc"), 3, second).await, Ok(Bytes::from_static(b"abc")));
        let chunks = || futures_util::stream::iter(["ab", "cd"].map(Ok::<_, std::io::Error>));
        let refused = |result: Result<Bytes, Problem>| result.unwrap_err().kind;
        assert_eq!(refused(read(Body::from("abcd"), 3, second).await), Kind::BodyTooLarge);
        assert_eq!(refused(read(Body::from_stream(chunks()), 3, second).await), Kind::BodyTooLarge);
        let never = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        assert_eq!(refused(read(Body::from_stream(never), 3, Duration::ZERO).await), Kind::RequestTimeout);
    }
}
