//! The requests of the S3 protocol that a migration needs, and the sorting of what comes back. Path-style addresses;
//! signing is the host's.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use orchestrator_sdk::{Error, standard};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::wire::{Broken, Outcome, Request, Response, Side, Wire};
use crate::xml;

/// What RFC 3986 leaves unreserved stays as it is, in the way that SigV4 wants it; a key keeps its slashes.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// Header fields of an object that travel with it, beside its own metadata.
const KEPT: [&str; 7] = [
    "content-type",
    "content-encoding",
    "content-disposition",
    "content-language",
    "cache-control",
    "expires",
    "x-amz-website-redirect-location",
];

/// Taken by the host and never sent: at most so many bytes of this attempt's answers in a second.
const RATE: &str = "orchestrator-bytes-per-second";

/// Where an object that was copied in parts keeps the source's ETag: its own ETag depends on the parts' length, so the
/// two cannot be compared. Without it, a repeated migration would copy every large object again.
pub const SOURCE_ETAG: &str = "x-amz-meta-orchestrator-source-etag";

/// The title of the trouble that is the whole bucket's and not one object's.
pub const NO_BUCKET: &str = "No such bucket";

/// How often one request is sent before its trouble becomes the attempt's.
pub const TRIES: u8 = 5;

/// One object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The key, decoded.
    pub key: String,
    /// Length in bytes.
    pub size: u64,
    /// The entity tag without quotes; empty when the server gives none.
    pub etag: String,
    /// When it was written, as the server tells it; empty when it does not.
    pub modified: String,
}

impl Object {
    /// Whether the entity tags prove that both have the same content. Tags of uploads in parts are digests of the
    /// parts' digests: equal ones prove it too.
    pub fn same_by_etag(&self, other: &Self) -> bool {
        self.size == other.size && !self.etag.is_empty() && self.etag == other.etag
    }

    /// Whether it was uploaded in parts.
    pub fn in_parts(&self) -> bool {
        self.etag.contains('-')
    }
}

/// Why a request did not do what was asked, sorted by what to do.
#[derive(Debug)]
pub enum Trouble {
    /// Worth sending again.
    Again { detail: String, after: Option<Duration> },
    /// No such object or upload.
    Missing(String),
    /// The object is no longer the one that was listed.
    Changed,
    /// The action ends with this.
    Fatal(Error),
}

impl Trouble {
    /// The error that ends the action.
    pub fn into_error(self) -> Error {
        match self {
            Self::Again { detail, after } => {
                let error = Error::transient(detail);
                after.map_or(error.clone(), |after| error.retry_after(after))
            }
            Self::Missing(detail) => Error::permanent(detail).with_type(standard::COMMUNICATION, 404, "Not found"),
            Self::Changed => Error::transient("an object changed while it was read"),
            Self::Fatal(error) => error,
        }
    }
}

/// A request without header fields and body.
pub fn request(side: Side, method: &'static str, bucket: &str, key: &str, query: &[(&str, &str)]) -> Request {
    let mut target = format!("/{}", utf8_percent_encode(bucket, QUERY));
    if !key.is_empty() {
        target.push('/');
        target.extend(utf8_percent_encode(key, PATH));
    }
    for (index, (name, value)) in query.iter().enumerate() {
        target.push(if index == 0 { '?' } else { '&' });
        target.push_str(name);
        target.push('=');
        target.extend(utf8_percent_encode(value, QUERY));
    }
    Request { side, method, target, headers: Vec::new(), body: None }
}

impl Request {
    /// The same with one more header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The same with more header fields.
    #[must_use]
    pub fn with(mut self, headers: &[(String, String)]) -> Self {
        self.headers.extend_from_slice(headers);
        self
    }

    /// The same with a body.
    #[must_use]
    pub fn body(mut self, body: Vec<u8>) -> Self {
        self.body = Some(body);
        self
    }

    /// The same, but only `length` bytes from `start` on, and only of the object with this entity tag.
    #[must_use]
    pub fn range(self, start: u64, length: u64, etag: &str) -> Self {
        let end = start + length.saturating_sub(1);
        self.header("range", format!("bytes={start}-{end}")).only(etag)
    }

    /// The same, with the bytes of the answer at this rate at most.
    #[must_use]
    pub fn paced(self, bytes_per_second: Option<u64>) -> Self {
        match bytes_per_second {
            Some(rate) => self.header(RATE, rate.to_string()),
            None => self,
        }
    }

    /// The same as a copy that the server makes by itself of its own object with this entity tag.
    #[must_use]
    pub fn copy_of(self, bucket: &str, key: &str, etag: &str) -> Self {
        let from = format!("/{}/{}", utf8_percent_encode(bucket, QUERY), utf8_percent_encode(key, PATH));
        self.header("x-amz-copy-source", from).header("x-amz-copy-source-if-match", format!("\"{etag}\""))
    }

    /// The same, but only of the object with this entity tag.
    #[must_use]
    pub fn only(self, etag: &str) -> Self {
        if etag.is_empty() { self } else { self.header("if-match", format!("\"{etag}\"")) }
    }
}

/// A batch deletion. Each entry carries the entity tag, so that a server that knows conditions spares what changed.
pub fn delete_batch(side: Side, bucket: &str, objects: &[Object]) -> Request {
    let body = xml::delete(objects).into_bytes();
    let digest = STANDARD.encode(Md5::digest(&body));
    request(side, "POST", bucket, "", &[("delete", "")])
        .header("content-type", "application/xml")
        .header("content-md5", digest)
        .body(body)
}

/// The header fields of an object that travel with it.
pub fn kept(response: &Response) -> Vec<(String, String)> {
    let travels = |name: &str| {
        (KEPT.contains(&name) || name.starts_with("x-amz-meta-")) && !name.starts_with("x-amz-meta-orchestrator-")
    };
    let fields = response.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    fields.filter(|(name, _)| travels(name)).collect()
}

/// The length of the whole object, of a field `Content-Range`.
pub fn whole_length(range: &str) -> Option<u64> {
    range.rsplit_once('/')?.1.trim().parse().ok()
}

/// Whether an answer about an object says that it has tags.
pub fn has_tags(response: &Response) -> bool {
    response.header("x-amz-tagging-count").and_then(|count| count.parse::<u32>().ok()).is_some_and(|count| count > 0)
}

/// Tags as the header field that a write takes them in.
pub fn tagging(tags: &[(String, String)]) -> (String, String) {
    let encoded = |text: &str| utf8_percent_encode(text, QUERY).to_string();
    let pairs: Vec<String> = tags.iter().map(|(key, value)| format!("{}={}", encoded(key), encoded(value))).collect();
    ("x-amz-tagging".to_owned(), pairs.join("&"))
}

/// Sorts the end of an exchange; `doing` introduces the message.
pub fn judge(doing: &str, ended: Result<Outcome, Broken>) -> Result<Outcome, Trouble> {
    let outcome = ended.map_err(|broken| match broken {
        Broken::Refused(detail) => Trouble::Fatal(Error::permanent(detail).context(doing)),
        Broken::Lost(detail) => Trouble::Again { detail: format!("{doing}: {detail}"), after: None },
        Broken::Exhausted(detail) => Trouble::Fatal(Error::transient(detail).context(doing)),
    })?;
    match outcome.response.status {
        200..=299 => Ok(outcome),
        status => Err(sort(doing, status, &outcome.response)),
    }
}

fn sort(doing: &str, status: u16, response: &Response) -> Trouble {
    let said = xml::error(&response.body);
    let detail = match &said {
        Some(said) => format!("{doing}: {status} {}: {}", said.code, said.message),
        None => format!("{doing}: HTTP status {status}"),
    };
    match (status, said.as_ref().map(|said| said.code.as_str())) {
        (408 | 425 | 429 | 500 | 502..=504, _) | (_, Some("RequestTimeout" | "SlowDown" | "InternalError")) => {
            let after = response.header("retry-after").and_then(|after| after.trim().parse().ok());
            Trouble::Again { detail, after: after.map(Duration::from_secs) }
        }
        (404, Some("NoSuchBucket")) => {
            Trouble::Fatal(Error::permanent(detail).with_type(standard::COMMUNICATION, 404, NO_BUCKET))
        }
        (404, _) => Trouble::Missing(detail),
        (412 | 416, _) => Trouble::Changed,
        (401 | 403, _) => Trouble::Fatal(
            Error::permanent(detail)
                .with_type(standard::AUTHORIZATION, 403, "Access denied")
                .cure("check the connection's keys and what they may do with this bucket"),
        ),
        _ => Trouble::Fatal(Error::permanent(detail).with_type(standard::COMMUNICATION, status, "Unexpected answer")),
    }
}

/// Sends a request that is harmless to repeat and waits; tried up to [`TRIES`] times.
pub fn call<W: Wire>(wire: &W, doing: &str, request: &Request) -> Result<Response, Trouble> {
    let mut tries = 1;
    loop {
        let ended = wire.start(request.clone()).and_then(|exchange| wire.finish(exchange));
        match judge(doing, ended) {
            Ok(outcome) => return Ok(outcome.response),
            Err(Trouble::Again { .. }) if tries < TRIES => tries += 1,
            Err(trouble) => return Err(trouble),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_any_characters_become_safe_paths() {
        let check = |key: &str, target: &str| assert_eq!(request(Side::Source, "GET", "b", key, &[]).target, target);
        check("a b+c%2F.txt", "/b/a%20b%2Bc%252F.txt");
        check("dir/ü?x=1#y", "/b/dir/%C3%BC%3Fx%3D1%23y");
        check("~-_./'\"&=", "/b/~-_./%27%22%26%3D");
        let query = request(Side::Source, "GET", "b", "", &[("prefix", "a/b c"), ("delimiter", "")]);
        assert_eq!(query.target, "/b?prefix=a%2Fb%20c&delimiter=");
    }

    #[test]
    fn answers_are_sorted_by_what_to_do() {
        let check = |status: u16, body: &str, expected: &str| {
            let response = Response { status, body: body.as_bytes().to_vec(), ..Response::default() };
            let sorted = match judge("read", Ok(Outcome { response, moved: None })) {
                Ok(_) => "fine",
                Err(Trouble::Again { .. }) => "again",
                Err(Trouble::Missing(_)) => "missing",
                Err(Trouble::Changed) => "changed",
                Err(Trouble::Fatal(error)) if error.is_transient() => "later",
                Err(Trouble::Fatal(_)) => "fatal",
            };
            assert_eq!(sorted, expected, "{status} {body}");
        };
        check(200, "", "fine");
        check(206, "", "fine");
        check(503, "<Error><Code>SlowDown</Code><Message>m</Message></Error>", "again");
        check(500, "", "again");
        check(400, "<Error><Code>RequestTimeout</Code><Message>m</Message></Error>", "again");
        check(404, "<Error><Code>NoSuchKey</Code><Message>m</Message></Error>", "missing");
        check(404, "<Error><Code>NoSuchBucket</Code><Message>m</Message></Error>", "fatal");
        check(404, "", "missing");
        check(412, "", "changed");
        check(403, "", "fatal");
        check(400, "not xml", "fatal");
    }

    #[test]
    fn only_what_belongs_to_the_object_travels_with_it() {
        let fields = ["Content-Type", "X-Amz-Meta-Colour", "x-amz-meta-orchestrator-source-etag", "ETag", "Date"];
        let headers = fields.iter().map(|name| ((*name).to_owned(), "v".to_owned())).collect();
        let kept = kept(&Response { status: 200, headers, body: Vec::new() });
        assert_eq!(
            kept.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["content-type", "x-amz-meta-colour"]
        );
    }

    #[test]
    fn a_batch_deletion_carries_its_digest() {
        let object = Object { key: "a&b".into(), size: 1, etag: "e".into(), modified: String::new() };
        let request = delete_batch(Side::Source, "b", &[object]);
        let body = request.body.clone().unwrap_or_default();
        assert!(String::from_utf8_lossy(&body).contains("<Key>a&amp;b</Key><ETag>&quot;e&quot;</ETag>"));
        assert_eq!(request.headers[1], ("content-md5".to_owned(), STANDARD.encode(Md5::digest(&body))));
    }
}
