//! Entity tags (RFC 9110, 8.8.3). A tag is a digest of the JSON that a resource is shown as; what time alone changes in it
//! has a part of its own behind a hyphen, so that a schedule that fired can still be changed with the tag from before.
//! Other forms of the same JSON carry a suffix: `.yaml`, and `.gzip` or `.zstd` where it went compressed.

use axum::http::{HeaderMap, HeaderName};
use ring::digest::{SHA256, digest};
use serde_json::Value;

/// Members that change without anybody changing the resource.
const LIVE: [&str; 3] = ["next", "last", "lastUsedAt"];

/// Bytes of a digest in a tag: no two states of one resource share them by accident.
const DIGEST_BYTES: usize = 12;

/// What compression appends.
const ENCODINGS: [&str; 2] = [".gzip", ".zstd"];

/// The tag of a representation, without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag(String);

impl Tag {
    /// The tag of JSON as it is shown.
    pub fn of(shown: &Value) -> Self {
        let Value::Object(members) = shown else { return Self(hash(shown)) };
        let is_live = |name: &str| LIVE.contains(&name) && !members.contains_key("items");
        if !members.keys().any(|name| is_live(name)) {
            return Self(hash(shown));
        }
        let (live, own): (Vec<_>, Vec<_>) =
            members.iter().map(|(name, value)| (name.clone(), value.clone())).partition(|(name, _)| is_live(name));
        let part = |members: Vec<(String, Value)>| hash(&Value::Object(members.into_iter().collect()));
        Self(format!("{}-{}", part(own), part(live)))
    }

    /// The tag of the same as YAML.
    pub fn yaml(self) -> Self {
        Self(self.0 + ".yaml")
    }

    /// As the header has it.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }

    /// Whether a list of tags names this resource as it is, by strong comparison; `*` names any.
    pub fn is_matched_by(&self, given: &[String]) -> bool {
        let own = lasting(&self.0);
        given.iter().any(|tag| tag == "*" || opaque(tag).is_some_and(|given| lasting(given) == own))
    }

    /// Whether a list of tags names exactly this representation, by weak comparison.
    pub fn is_known_by(&self, given: &[String]) -> bool {
        let same = |tag: &String| {
            let tag = opaque(tag.strip_prefix("W/").unwrap_or(tag))?;
            Some(ENCODINGS.iter().find_map(|encoding| tag.strip_suffix(encoding)).unwrap_or(tag) == self.0)
        };
        given.iter().any(|tag| tag == "*" || same(tag) == Some(true))
    }
}

fn hash(value: &Value) -> String {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    hex::encode(&digest(&SHA256, &bytes).as_ref()[..DIGEST_BYTES])
}

/// The part of a tag that only a change of the resource changes.
fn lasting(tag: &str) -> &str {
    tag.split(['-', '.']).next().unwrap_or_default()
}

/// What is between the quotes of a strong tag.
fn opaque(tag: &str) -> Option<&str> {
    tag.strip_prefix('"')?.strip_suffix('"')
}

/// The tags that a header lists; nothing where it is not sent. What is not a tag matches nothing.
pub fn listed(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    let values: Vec<_> = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    let tags = values.iter().flat_map(|text| text.split(',')).map(|tag| tag.trim().to_owned());
    (!values.is_empty()).then(|| tags.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tag_names_one_state_in_all_its_forms() {
        let tag = Tag::of(&json!({ "name": "a" }));
        let quoted = tag.quoted();
        let stem = quoted.trim_matches('"');
        let matched = |text: String| tag.is_matched_by(&[text]);
        assert!(matched(quoted.clone()) && matched("*".into()) && matched(format!("\"{stem}.yaml.gzip\"")));
        assert!(!matched(format!("W/{quoted}")) && !matched(stem.to_owned()) && !matched("\"x\"".into()));
        let known = |text: String| tag.is_known_by(&[text]);
        assert!(known(format!("W/{quoted}")) && known(format!("\"{stem}.zstd\"")));
        assert!(!known(format!("\"{stem}.yaml\"")), "another representation");
        assert_ne!(tag, Tag::of(&json!({ "name": "b" })));
    }

    #[test]
    fn what_time_changes_does_not_stand_against_a_change() {
        let at = |next: &str, name: &str| Tag::of(&json!({ "name": name, "next": next }));
        let before = at("10:00", "a");
        assert!(at("11:00", "a").is_matched_by(&[before.quoted()]));
        assert!(!at("11:00", "a").is_known_by(&[before.quoted()]));
        assert!(!at("10:00", "b").is_matched_by(&[before.quoted()]));
        let page = |next: &str| Tag::of(&json!({ "items": [], "next": next }));
        assert!(!page("b").is_matched_by(&[page("a").quoted()]), "a list's `next` is part of the list");
    }
}
