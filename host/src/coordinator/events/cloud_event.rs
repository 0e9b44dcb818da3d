//! A CloudEvent 1.0 in JSON, checked: the one form in which events are stored, matched and sent. `data` is data, not text:
//! Base64 is taken apart where what is inside is JSON or text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::Map;
use sha2::{Digest as _, Sha256};

use crate::model::{Json, TenantName};

/// An event's bytes as JSON, at most: as much as a request's JSON may have.
pub const EVENT_BYTES_MAX: usize = 1 << 20;

/// Attributes beside the standard ones, at most. Each is looked at by every filter that names it.
const ATTRIBUTES_MAX: usize = 100;

/// Characters of an attribute's value, at most; what is longer belongs into `data`.
const VALUE_CHARS_MAX: usize = 4096;

/// A CloudEvent that keeps the specification's rules.
#[derive(Debug, Clone, PartialEq)]
pub struct CloudEvent(Json);

impl CloudEvent {
    /// Takes an event in the JSON form of the specification (structured mode).
    ///
    /// # Errors
    /// It breaks a rule; the text says which and what would be right.
    pub fn structured(value: Json) -> Result<Self, String> {
        let Json::Object(mut members) = value else { return Err("an event is a JSON object".to_owned()) };
        members.retain(|name, value| name == "data" || !value.is_null());
        attributes(&members)?;
        unpack(&mut members)?;
        Self::bounded(members)
    }

    /// Takes attributes as text (`ce-*` without its prefix, decoded) and a body with its media type (binary mode).
    ///
    /// # Errors
    /// As [`Self::structured`].
    pub fn binary(
        named: impl IntoIterator<Item = (String, String)>,
        media_type: Option<&str>,
        body: &[u8],
    ) -> Result<Self, String> {
        let mut members: Map<_, _> = named.into_iter().map(|(name, value)| (name, Json::from(value))).collect();
        for reserved in ["data", "data_base64", "datacontenttype"] {
            if members.contains_key(reserved) {
                return Err(format!("send no `ce-{reserved}`: the body and its `Content-Type` are the data"));
            }
        }
        if let Some(media_type) = media_type {
            members.insert("datacontenttype".to_owned(), media_type.into());
        }
        attributes(&members)?;
        if !body.is_empty() {
            let (name, data) = data(media_type, body)?;
            members.insert(name.to_owned(), data);
        }
        Self::bounded(members)
    }

    fn bounded(members: Map<String, Json>) -> Result<Self, String> {
        let event = Json::Object(members);
        match event.to_string().len() {
            0..=EVENT_BYTES_MAX => Ok(Self(event)),
            bytes => Err(format!("an event has at most {EVENT_BYTES_MAX} bytes, this one {bytes}; send a reference")),
        }
    }

    /// The event as JSON.
    pub fn into_json(self) -> Json {
        self.0
    }
}

/// What makes an event the same as another one of its tenant: the SHA-256 over its source and id.
pub(super) fn identity(tenant: &TenantName, event: &Json) -> [u8; 32] {
    let part = |name: &str| event[name].as_str().unwrap_or_default();
    let (source, id) = (part("source"), part("id"));
    let mut hash = Sha256::new();
    if !tenant.is_standard() {
        // No length of a source is as large as these bytes say, so that it never looks like an event of `default`.
        hash.update([u8::MAX; 8]);
        hash.update(tenant.as_str());
        hash.update([0]);
    }
    // The length keeps the two apart whatever they contain.
    hash.update((source.len() as u64).to_be_bytes());
    hash.update(source);
    hash.update(id);
    hash.finalize().into()
}

fn attributes(members: &Map<String, Json>) -> Result<(), String> {
    if members.len() > ATTRIBUTES_MAX {
        return Err(format!("an event has at most {ATTRIBUTES_MAX} attributes"));
    }
    for required in ["id", "source", "type"] {
        if members.get(required).and_then(Json::as_str).is_none_or(str::is_empty) {
            return Err(format!("give the event an attribute `{required}` that is text and not empty"));
        }
    }
    match members.get("specversion").and_then(Json::as_str) {
        Some("1.0") => {}
        _ => return Err("set the event's `specversion` to \"1.0\"".to_owned()),
    }
    members.iter().filter(|(name, _)| !is_data(name)).try_for_each(|(name, value)| attribute(name, value))
}

fn is_data(name: &str) -> bool {
    matches!(name, "data" | "data_base64")
}

fn attribute(name: &str, value: &Json) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
        let name: String = name.chars().take(64).collect();
        return Err(format!("name the attribute `{name}` with lower-case letters and digits only, at most 64"));
    }
    let text = match value {
        Json::String(text) => text,
        Json::Bool(_) => return not_standard(name),
        Json::Number(number) if number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()) => {
            return not_standard(name);
        }
        _ => return Err(format!("the attribute `{name}` is text, true, false or a 32-bit whole number")),
    };
    if text.chars().count() > VALUE_CHARS_MAX {
        return Err(format!("the attribute `{name}` has at most {VALUE_CHARS_MAX} characters; put more into `data`"));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("the attribute `{name}` has no control characters; put such text into `data`"));
    }
    if name == "time" && text.parse::<Timestamp>().is_err() {
        return Err("write the event's `time` by RFC 3339, such as 2026-01-01T12:00:00Z".to_owned());
    }
    Ok(())
}

/// Whether an attribute may be something else than text.
fn not_standard(name: &str) -> Result<(), String> {
    match name {
        "datacontenttype" | "dataschema" | "subject" | "time" => Err(format!("the attribute `{name}` is text")),
        _ => Ok(()),
    }
}

/// Makes data of Base64 where it is JSON or text.
fn unpack(members: &mut Map<String, Json>) -> Result<(), String> {
    let Some(packed) = members.remove("data_base64") else { return Ok(()) };
    if members.contains_key("data") {
        return Err("give the event `data` or `data_base64`, not both".to_owned());
    }
    let bytes = packed.as_str().and_then(|text| BASE64.decode(text).ok());
    let bytes = bytes.ok_or("write `data_base64` in Base64 with padding")?;
    let media_type = members.get("datacontenttype").and_then(Json::as_str).map(str::to_owned);
    // Without a type nothing is known of the bytes; the JSON default is about `data`.
    let (name, data) = match media_type.as_deref().map(|media_type| data(Some(media_type), &bytes)) {
        Some(Ok(read)) => read,
        _ => ("data_base64", packed),
    };
    members.insert(name.to_owned(), data);
    Ok(())
}

/// The member that a body becomes. Without a media type it is JSON if it can be read as such.
fn data(media_type: Option<&str>, body: &[u8]) -> Result<(&'static str, Json), String> {
    let essence = media_type.unwrap_or("application/json").split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    let json = essence.ends_with("/json") || essence.ends_with("+json");
    match (serde_json::from_slice(body), std::str::from_utf8(body)) {
        (Ok(value), _) if json => Ok(("data", value)),
        (Err(error), _) if json && media_type.is_some() => {
            Err(format!("the body is not JSON although its `Content-Type` says so: {error}"))
        }
        (_, Ok(text)) if essence.starts_with("text/") || essence.ends_with("xml") || json => Ok(("data", text.into())),
        _ => Ok(("data_base64", BASE64.encode(body).into())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(more: Json) -> Json {
        let mut event = json!({ "specversion": "1.0", "id": "1", "source": "/a", "type": "t" });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    }

    fn read(more: Json) -> Result<Json, String> {
        CloudEvent::structured(with(more)).map(CloudEvent::into_json)
    }

    #[test]
    fn a_structured_event_is_taken_with_its_data_unpacked() {
        let check = |more: Json, expected: Json| assert_eq!(read(more.clone()), Ok(with(expected)), "{more}");
        check(json!({}), json!({}));
        check(json!({ "subject": null, "data": null }), json!({ "data": null }));
        check(json!({ "n": 1, "b": true, "data": [1] }), json!({ "n": 1, "b": true, "data": [1] }));
        let packed = |kind: &str, text: &str| json!({ "datacontenttype": kind, "data_base64": BASE64.encode(text) });
        check(
            packed("application/json", "{\"a\":1}"),
            json!({ "datacontenttype": "application/json", "data": {"a": 1}}),
        );
        check(packed("text/plain", "hi"), json!({ "datacontenttype": "text/plain", "data": "hi" }));
        check(packed("image/png", "hi"), packed("image/png", "hi"));
        check(json!({ "data_base64": "MQ==" }), json!({ "data_base64": "MQ==" }));
    }

    #[test]
    fn an_event_that_breaks_a_rule_is_refused_with_the_cure() {
        let check = |value: Json, part: &str| {
            let error = CloudEvent::structured(value.clone()).unwrap_err();
            assert!(error.contains(part), "{value}: {error}");
        };
        check(json!([]), "object");
        for name in ["id", "source", "type"] {
            for wrong in [json!(null), json!(""), json!(1)] {
                check(with(json!({ name: wrong })), &format!("`{name}`"));
            }
        }
        check(with(json!({ "specversion": "0.3" })), "1.0");
        check(with(json!({ "Name": "x" })), "lower-case");
        check(with(json!({ "a_b": "x" })), "lower-case");
        check(with(json!({ "a": {} })), "`a`");
        check(with(json!({ "a": 1.5 })), "32-bit");
        check(with(json!({ "a": 3_000_000_000_u64 })), "32-bit");
        check(with(json!({ "subject": 1 })), "`subject` is text");
        check(with(json!({ "time": "yesterday" })), "RFC 3339");
        check(with(json!({ "a": "x".repeat(5000) })), "4096");
        check(with(json!({ "subject": "a\u{0}b" })), "control");
        check(with(json!({ "data": "x".repeat(EVENT_BYTES_MAX) })), "at most");
        check(with(json!({ "data": 1, "data_base64": "MQ==" })), "not both");
        check(with(json!({ "data_base64": "?" })), "Base64");
    }

    #[test]
    fn a_body_becomes_data_by_its_media_type() {
        let named = || {
            ["specversion", "id", "source", "type"]
                .map(str::to_owned)
                .into_iter()
                .zip(["1.0", "1", "/a", "t"].map(str::to_owned))
        };
        let check = |media_type: Option<&str>, body: &[u8], expected: Json| {
            let event = CloudEvent::binary(named(), media_type, body).unwrap().into_json();
            let mut expected = with(expected);
            if let Some(media_type) = media_type {
                expected["datacontenttype"] = media_type.into();
            }
            assert_eq!(event, expected);
        };
        check(Some("application/json"), b"{\"a\":1}", json!({ "data": { "a": 1 } }));
        check(Some("application/x+json; charset=utf-8"), b"[]", json!({ "data": [] }));
        check(Some("text/plain"), "ä".as_bytes(), json!({ "data": "ä" }));
        check(Some("application/octet-stream"), b"\x00", json!({ "data_base64": "AA==" }));
        check(Some("text/plain"), b"\xff", json!({ "data_base64": "/w==" }));
        check(None, b"1", json!({ "data": 1 }));
        check(None, b"", json!({}));
        assert!(CloudEvent::binary(named(), Some("application/json"), b"{").unwrap_err().contains("not JSON"));
        let more = named().chain([("data".to_owned(), "x".to_owned())]);
        assert!(CloudEvent::binary(more, None, b"").unwrap_err().contains("ce-data"));
    }

    #[test]
    fn events_are_the_same_by_source_and_id_alone() {
        let (own, red) = (TenantName::standard(), TenantName::parse("red").unwrap());
        let of = |source: &str, id: &str| identity(&own, &json!({ "source": source, "id": id, "type": "t" }));
        assert_eq!(of("/a", "1"), identity(&own, &json!({ "source": "/a", "id": "1", "type": "other" })));
        assert_ne!(of("/a", "1"), identity(&red, &json!({ "source": "/a", "id": "1" })), "each tenant has its own");
        assert_ne!(of("/a", "1"), of("/a", "2"));
        assert_ne!(of("ab", "c"), of("a", "bc"));
    }
}
