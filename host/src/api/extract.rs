//! What handlers take out of a request: path, query, JSON body, raw body, idempotency key. Each refuses with a problem
//! that says what is allowed. Reading is bounded in bytes and in time; parsing is pure.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use super::problem::{Fault, Kind, Problem};

/// A JSON body's bytes, at most. Inputs of workflows travel in it; larger data belongs into an outside store.
pub const JSON_BYTES_MAX: usize = 1 << 20;

/// How long a JSON body may take to arrive, seconds: a mebibyte on a very slow line.
const JSON_SECONDS_MAX: u64 = 30;

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
            Err(rejection) => Err(Problem::new(Kind::InvalidParameter, rejection.body_text())),
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
            Err(rejection) => Err(Problem::new(Kind::InvalidParameter, rejection.body_text())),
        }
    }
}

/// A JSON body.
#[derive(Debug)]
pub struct InJson<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for InJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        require_media_type(request.headers(), &["application/json"])?;
        let deadline = Duration::from_secs(JSON_SECONDS_MAX);
        let bytes = read(request.into_body(), JSON_BYTES_MAX, deadline).await?;
        parse(&bytes).map(Self)
    }
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

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
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

/// Refuses a body whose `Content-Type` is none of `allowed`; parameters such as `charset` do not matter.
///
/// # Errors
/// `unsupported-media-type`, naming the allowed types.
pub fn require_media_type(headers: &HeaderMap, allowed: &[&str]) -> Result<(), Problem> {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    if allowed.iter().any(|allowed| essence.eq_ignore_ascii_case(allowed)) {
        return Ok(());
    }
    Err(Problem::new(Kind::UnsupportedMediaType, format!("set `Content-Type` to {}", allowed.join(" or "))))
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

fn misfit(pointer: String, error: &serde_json::Error) -> Problem {
    if !error.is_data() {
        return Problem::new(Kind::MalformedJson, format!("the body is not JSON: {error}"));
    }
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
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
    use axum::http::HeaderValue;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it is read matters")]
    struct Order {
        name: String,
        #[serde(default)]
        lines: Vec<Line>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it is read matters")]
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
        check("{\"name\":\"a\",\"lines\":[{\"amount\":-1}]}", Kind::InvalidBody, Some("/lines/0/amount"), "u32");
        check("{\"name\":\"a\",\"lines\":[{\"a/b\":1}]}", Kind::InvalidBody, Some("/lines/0/a~1b"), "unknown field");
        check("[\"a\",[]]", Kind::InvalidBody, Some(""), "expected an object");
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
