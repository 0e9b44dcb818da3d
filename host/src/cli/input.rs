//! An instance's input from the command line: `key=value` read by the type that a schema gives the key, and JSON.
//! Whether the input fits the schema is for the server to say.

use std::io::Read;

use serde_json::{Map, Value as Json, json};

use super::error::Error;
use crate::definition::yaml;

/// Bytes of an input, at most; what the API takes.
const INPUT_BYTES_MAX: u64 = 1 << 20;

/// Reads `JSON`, `@FILE` or `@-`.
pub(super) fn read(given: &str) -> Result<Json, Error> {
    serde_json::from_str(&text(given)?).map_err(|error| Error::Usage(format!("the input is not JSON: {error}")))
}

/// Reads text, `@FILE` or `@-`.
pub(super) fn text(given: &str) -> Result<String, Error> {
    match given.strip_prefix('@') {
        None => Ok(given.to_owned()),
        Some(path) => file(path),
    }
}

/// Reads a file, or standard input where it is `-`.
fn file(path: &str) -> Result<String, Error> {
    if path == "-" {
        return text_of(std::io::stdin().lock(), "standard input");
    }
    let file = std::fs::File::open(path).map_err(|error| Error::Usage(format!("open `{path}`: {error}")))?;
    text_of(file, path)
}

/// Reads a mapping from a file with YAML or JSON, or from standard input where it is `-`.
pub(super) fn mapping(path: &str) -> Result<Json, Error> {
    let wrong = |reason: String| Error::Usage(format!("read `{path}`: {reason}"));
    let tree = yaml::parse(&file(path)?, path).map_err(|finding| Error::Usage(finding.to_string()))?;
    match tree.to_json() {
        mapping @ Json::Object(_) => Ok(mapping),
        _ => Err(wrong("it is no mapping; its members are those of the API".to_owned())),
    }
}

/// A file's bytes, of which there may be so many.
pub(super) fn bytes_of(path: &str, bytes_max: u64) -> Result<Vec<u8>, String> {
    let wrong = |error: std::io::Error| format!("read `{path}`: {error}");
    let file = std::fs::File::open(path).map_err(wrong)?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(wrong)?;
    match bytes.len() as u64 > bytes_max {
        true => Err(format!("`{path}` is larger than {bytes_max} bytes")),
        false => Ok(bytes),
    }
}

fn text_of(reader: impl Read, name: &str) -> Result<String, Error> {
    let mut text = String::new();
    let read = reader.take(INPUT_BYTES_MAX + 1).read_to_string(&mut text);
    let read = read.map_err(|error| Error::Usage(format!("read `{name}`: {error}")))?;
    match read as u64 > INPUT_BYTES_MAX {
        true => Err(Error::Usage(format!("`{name}` is larger than the 1 MiB an input may have"))),
        false => Ok(text),
    }
}

/// The members set in the base; no base and no members give `{}`.
pub(super) fn merge(base: Option<Json>, members: &[String], schema: &Json) -> Result<Json, String> {
    let mut input = base.unwrap_or_else(|| json!({}));
    for member in members {
        let (key, value) = split(member)?;
        let (steps, schema) = path(key, schema);
        let value = match value {
            Given::Json(text) => {
                serde_json::from_str(text).map_err(|error| format!("`{member}`: not JSON: {error}"))?
            }
            Given::Text(text) => typed(text, schema).map_err(|reason| format!("`{member}`: {reason}"))?,
        };
        set(&mut input, &steps, value).map_err(|reason| format!("`{member}`: {reason}"))?;
    }
    Ok(input)
}

enum Given<'a> {
    Text(&'a str),
    Json(&'a str),
}

fn split(member: &str) -> Result<(&str, Given<'_>), String> {
    let (key, value) =
        member.split_once('=').ok_or_else(|| format!("`{member}` is no member: write KEY=VALUE or KEY:=JSON"))?;
    let (key, value) = match key.strip_suffix(':') {
        Some(key) => (key, Given::Json(value)),
        None => (key, Given::Text(value)),
    };
    match key.is_empty() {
        true => Err(format!("`{member}` has no key: write KEY=VALUE")),
        false => Ok((key, value)),
    }
}

/// The steps that a key means, and the schema at its end. A dot is part of a name where the schema has such a name.
fn path<'a, 's>(key: &'a str, schema: &'s Json) -> (Vec<&'a str>, &'s Json) {
    const NONE: &Json = &Json::Null;
    let property = |schema: &'s Json, name: &str| schema.get("properties").and_then(|all| all.get(name));
    if let Some(found) = property(schema, key) {
        return (vec![key], found);
    }
    let steps: Vec<&str> = key.split('.').collect();
    let found = steps.iter().try_fold(schema, |schema, step| property(schema, step));
    (steps, found.unwrap_or(NONE))
}

/// Reads a value as the schema's type; where there is none, as JSON if it is a number, a boolean or null, else as text.
pub(super) fn typed(text: &str, schema: &Json) -> Result<Json, String> {
    let types = types(schema);
    if types.is_empty() {
        let scalar = serde_json::from_str::<Json>(text)
            .ok()
            .filter(|value| !value.is_object() && !value.is_array() && !value.is_string());
        return Ok(scalar.unwrap_or_else(|| json!(text)));
    }
    for kind in &types {
        let parsed = || serde_json::from_str::<Json>(text).ok();
        let value = match *kind {
            "string" => continue, // Anything is text, so the others go first.
            "integer" => parsed().filter(|value| value.is_i64() || value.is_u64()),
            "number" => parsed().filter(Json::is_number),
            "boolean" => parsed().filter(Json::is_boolean),
            "null" => parsed().filter(Json::is_null),
            "array" => parsed().filter(Json::is_array),
            "object" => parsed().filter(Json::is_object),
            _ => None,
        };
        if let Some(value) = value {
            return Ok(value);
        }
    }
    match types.contains(&"string") {
        true => Ok(json!(text)),
        false => Err(format!("expected {}", types.join(" or "))),
    }
}

fn types(schema: &Json) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(kind)) => vec![kind],
        Some(Json::Array(kinds)) => kinds.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Sets a member, and makes the objects on the way to it.
pub(super) fn set(input: &mut Json, steps: &[&str], value: Json) -> Result<(), String> {
    let Some((last, above)) = steps.split_last() else { return Ok(()) };
    let mut place = input;
    for step in above {
        let members = place.as_object_mut().ok_or("it reaches into something that is no object")?;
        place = members.entry(*step).or_insert_with(|| Json::Object(Map::new()));
    }
    let members = place.as_object_mut().ok_or("it reaches into something that is no object")?;
    members.insert((*last).to_owned(), value);
    Ok(())
}

/// Changes a value as RFC 7396 says: members are replaced one by one, those that are null are removed.
pub(super) fn patch(target: &mut Json, change: &Json) {
    let Some(changes) = change.as_object() else {
        target.clone_from(change);
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in changes {
        match (value, target.as_object_mut()) {
            (Json::Null, Some(members)) => drop(members.shift_remove(name)),
            (value, Some(members)) => patch(members.entry(name.as_str()).or_insert(Json::Null), value),
            (_, None) => {}
        }
    }
}

/// The members that a schema describes, each as an object with `name`, `type`, `required` and what the schema says.
pub(super) fn members(schema: &Json) -> Vec<Json> {
    let required: Vec<&str> =
        schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect();
    let properties = schema.get("properties").and_then(Json::as_object).into_iter().flatten();
    let member = |(name, property): (&String, &Json)| {
        let mut member = property.as_object().cloned().unwrap_or_default();
        member.insert("name".to_owned(), json!(name));
        member.insert("required".to_owned(), json!(if required.contains(&name.as_str()) { "yes" } else { "no" }));
        if let Some(allowed) = property.get("enum") {
            member.insert("type".to_owned(), json!(format!("one of {allowed}")));
        }
        Json::Object(member)
    };
    properties.map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_by_the_schema_s_types() {
        let schema = json!({"properties": {
            "size": {"type": "integer"}, "name": {"type": "string"}, "keep": {"type": "boolean"},
            "tags": {"type": "array"}, "limit": {"type": ["integer", "null"]}, "any": {},
            "source": {"type": "object", "properties": {"bucket": {"type": "string"}}},
            "a.b": {"type": "string"}, "id": {"type": ["string", "integer"]},
        }});
        #[rustfmt::skip]
        let cases: &[(&[&str], Result<Json, &str>)] = &[
            (&[], Ok(json!({}))),
            (&["size=10", "name=10", "keep=true"], Ok(json!({"size": 10, "name": "10", "keep": true}))),
            (&["tags=[1,2]", "limit=null"], Ok(json!({"tags": [1, 2], "limit": null}))),
            (&["any=1", "other=true", "more=x=y"], Ok(json!({"any": 1, "other": true, "more": "x=y"}))),
            (&["source.bucket=1"], Ok(json!({"source": {"bucket": "1"}}))),
            (&["a.b=1"], Ok(json!({"a.b": "1"}))),
            (&["id=1"], Ok(json!({"id": 1}))),
            (&["name:={\"x\":1}"], Ok(json!({"name": {"x": 1}}))),
            (&["name="], Ok(json!({"name": ""}))),
            (&["size=ten"], Err("expected integer")),
            (&["size=1.5"], Err("expected integer")),
            (&["tags={}"], Err("expected array")),
            (&["size"], Err("KEY=VALUE")),
            (&["=1"], Err("no key")),
            (&["x:=oops"], Err("not JSON")),
            (&["size=1", "size.x=1"], Err("no object")),
        ];
        for (members, expected) in cases {
            let members: Vec<String> = members.iter().map(|member| (*member).to_owned()).collect();
            match (merge(None, &members, &schema), expected) {
                (Ok(input), Ok(expected)) => assert_eq!(input, *expected),
                (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
                (got, expected) => panic!("{members:?}: {got:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn members_are_set_in_the_base() {
        let input = merge(Some(json!({"a": 1, "b": {"c": 2}})), &["b.d=3".to_owned(), "a=4".to_owned()], &Json::Null);
        assert_eq!(input, Ok(json!({"a": 4, "b": {"c": 2, "d": 3}})));
        assert!(merge(Some(json!([1])), &["a=1".to_owned()], &Json::Null).is_err());
    }

    #[test]
    fn a_patch_changes_members_one_by_one() {
        let mut value = json!({"a": 1, "b": {"c": 2, "d": 3}});
        patch(&mut value, &json!({"a": null, "b": {"c": [4], "e": {"f": 5}}}));
        assert_eq!(value, json!({"b": {"c": [4], "d": 3, "e": {"f": 5}}}));
    }

    #[test]
    fn a_schema_tells_its_members() {
        let schema =
            json!({"required": ["size"], "properties": {"size": {"type": "integer"}, "mode": {"enum": ["a", "b"]}}});
        let members = members(&schema);
        assert_eq!(members[0], json!({"type": "integer", "name": "size", "required": "yes"}));
        assert_eq!(members[1]["type"], "one of [\"a\",\"b\"]");
        assert_eq!(members[1]["required"], "no");
    }
}
