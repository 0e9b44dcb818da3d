//! Percent-encoding (RFC 3986): what stays as it is in each place.

use std::fmt::Write;

/// Encodes one segment of a path: everything but letters, digits and `-._~` is escaped, `/` too.
///
/// ```
/// assert_eq!(orchestrator_sdk::http::encode_path_segment("a b/ü"), "a%20b%2F%C3%BC");
/// ```
pub fn encode_path_segment(segment: &str) -> String {
    // A segment of dots alone would be taken for a step up in the path, and the host refuses it.
    match segment {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        segment => encode(segment, |_| false),
    }
}

/// Encodes an object's key: as a path segment, but `/` stays, as object stores want it.
///
/// ```
/// assert_eq!(orchestrator_sdk::http::encode_key("photos/2026/a b.jpg"), "photos/2026/a%20b.jpg");
/// ```
pub fn encode_key(key: &str) -> String {
    encode(key, |byte| byte == b'/')
}

/// Encodes a name or value of a query; a space becomes `%20`.
///
/// ```
/// assert_eq!(orchestrator_sdk::http::encode_query("a&b=c d"), "a%26b%3Dc%20d");
/// ```
pub fn encode_query(text: &str) -> String {
    encode(text, |_| false)
}

fn encode(text: &str, also: impl Fn(u8) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte as char),
            byte if also(byte) => encoded.push(byte as char),
            byte => write!(encoded, "%{byte:02X}").expect("writing to a string never fails"),
        }
    }
    encoded
}
