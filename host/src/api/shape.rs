//! What members an answer may have, as its schema in the document says.

use std::collections::BTreeSet;

use serde_json::Value;

/// References and parts on the way to a member, at most; a schema of this server has two or three.
const DEPTH_MAX: usize = 8;

/// The members of what fits a schema, or of a list's items; nothing where it may have others that are not named.
pub fn members(schema: &Value, document: &Value) -> Option<BTreeSet<String>> {
    let items = find(schema, document, DEPTH_MAX)?.get("items").map(|list| list["items"].clone());
    let found = find(&items.unwrap_or_else(|| schema.clone()), document, DEPTH_MAX)?;
    Some(found.keys().cloned().collect())
}

/// The members with their schemas.
fn find(schema: &Value, document: &Value, depth: usize) -> Option<serde_json::Map<String, Value>> {
    let below = depth.checked_sub(1)?;
    if let Some(reference) = schema["$ref"].as_str() {
        return find(document.pointer(reference.strip_prefix('#')?)?, document, below);
    }
    let mut found = schema["properties"].as_object().cloned().unwrap_or_default();
    for kind in ["allOf", "oneOf", "anyOf"] {
        for part in schema[kind].as_array().into_iter().flatten() {
            found.extend(find(part, document, below)?);
        }
    }
    let is_open = found.is_empty() || schema.get("additionalProperties").is_some_and(|others| *others != false);
    (!is_open).then_some(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_found_behind_references_parts_and_lists() {
        let document = json!({ "components": { "schemas": {
            "Named": { "type": "object", "properties": { "name": {} } },
            "Sized": { "allOf": [{ "$ref": "#/components/schemas/Named" }, { "properties": { "size": {} } }] },
            "Any": { "type": "object", "additionalProperties": true, "properties": { "name": {} } },
            "Round": { "$ref": "#/components/schemas/Round" },
        } } });
        let check = |schema: Value, expected: Option<&[&str]>| {
            let expected = expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            assert_eq!(members(&schema, &document), expected, "{schema}");
        };
        let named = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
        check(named("Sized"), Some(&["name", "size"]));
        let list = json!({ "properties": { "items": { "type": "array", "items": named("Named") }, "next": {} } });
        check(list, Some(&["name"]));
        check(named("Any"), None);
        check(named("Round"), None);
        check(json!({ "type": "object" }), None);
    }
}
