//! Examples where an annotation has none: made from the schema, its own examples, defaults and bounds. A test holds every
//! example of the document to its schema.

use serde_json::{Map, Value, json};

/// How deep an example goes; deeper members are left out where they may be.
const DEPTH_MAX: usize = 6;

/// Gives the bodies of an operation an example each.
pub fn fill(operation: &mut Value, components: &Value) {
    let mut bodies: Vec<&mut Value> = Vec::new();
    let (request, responses) = match operation.as_object_mut() {
        Some(members) => {
            let mut parts =
                members.iter_mut().filter(|(name, _)| ["requestBody", "responses"].contains(&name.as_str()));
            let mut request = None;
            let mut responses = None;
            for (name, part) in &mut parts {
                if name == "requestBody" { request = Some(part) } else { responses = Some(part) }
            }
            (request, responses)
        }
        None => return,
    };
    bodies.extend(request.into_iter().flat_map(contents));
    let answers = responses.and_then(Value::as_object_mut).into_iter().flatten();
    bodies.extend(answers.filter(|(status, _)| status.starts_with('2')).flat_map(|(_, response)| contents(response)));
    for body in bodies {
        let has_one = body.get("example").is_some() || body.get("examples").is_some();
        if !has_one && let Some(example) = of(&body["schema"], components, 0) {
            body["example"] = example;
        }
    }
}

/// The bodies of structured data.
fn contents(part: &mut Value) -> impl Iterator<Item = &mut Value> {
    let content = part.get_mut("content").and_then(Value::as_object_mut).into_iter().flatten();
    content.filter(|(kind, _)| kind.ends_with("json") || kind.ends_with("yaml")).map(|(_, body)| body)
}

/// A value that fits a schema; nothing where none can be told.
pub fn of(schema: &Value, components: &Value, depth: usize) -> Option<Value> {
    let given = schema.get("example").or_else(|| schema.get("examples")?.get(0)).or_else(|| schema.get("const"));
    if let Some(value) = given.or_else(|| schema.get("default")).or_else(|| schema.get("enum")?.get(0)) {
        return Some(value.clone());
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next()?;
        return (depth < DEPTH_MAX).then(|| of(&components["schemas"][name], components, depth + 1)).flatten();
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return merged(schema, parts, components, depth);
    }
    let choices = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array());
    if let Some(choices) = choices {
        let known = choices.iter().filter(|choice| choice["type"] != "null");
        return known.into_iter().find_map(|choice| of(choice, components, depth));
    }
    plain(schema, components, depth)
}

fn merged(schema: &Value, parts: &[Value], components: &Value, depth: usize) -> Option<Value> {
    let mut whole = Map::new();
    for part in parts {
        match of(part, components, depth)? {
            Value::Object(members) => whole.extend(members),
            other => return Some(other),
        }
    }
    if let Some(Value::Object(members)) = object(schema, components, depth) {
        whole.extend(members);
    }
    Some(Value::Object(whole))
}

fn plain(schema: &Value, components: &Value, depth: usize) -> Option<Value> {
    let kind = match &schema["type"] {
        Value::String(kind) => kind.as_str(),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("null"),
        _ if schema.get("properties").is_some() => "object",
        _ => return Some(json!({})),
    };
    Some(match kind {
        "object" => return object(schema, components, depth),
        "array" => of(&schema["items"], components, depth + 1).map_or(json!([]), |item| json!([item])),
        "integer" => schema.get("minimum").cloned().unwrap_or(json!(1)),
        "number" => schema.get("minimum").cloned().unwrap_or(json!(1.5)),
        "boolean" => json!(true),
        "null" => Value::Null,
        _ => json!(text(schema)),
    })
}

/// The required members, and those that have an example of their own.
fn object(schema: &Value, components: &Value, depth: usize) -> Option<Value> {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut members = Map::new();
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let is_told = member.get("example").is_some() || member.get("examples").is_some();
        if !required.contains(&name.as_str()) && !is_told {
            continue;
        }
        match of(member, components, depth) {
            Some(value) => drop(members.insert(name.clone(), value)),
            None if required.contains(&name.as_str()) => return None,
            None => {}
        }
    }
    Some(Value::Object(members))
}

fn text(schema: &Value) -> String {
    let known = match schema["format"].as_str().unwrap_or_default() {
        "date-time" => "2026-01-01T12:00:00Z",
        "uuid" => "0199c1f0-0000-7000-8000-000000000000",
        "uri" => "https://orchestrator.example",
        "duration" => "PT30S",
        "password" => "a-long-secret",
        _ => "text",
    };
    let least = schema["minLength"].as_u64().and_then(|least| usize::try_from(least).ok()).unwrap_or(0);
    format!("{known:x<least$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_follows_from_the_schema() {
        let components = json!({ "schemas": { "Size": { "type": "integer", "minimum": 3 } } });
        let check =
            |schema: Value, expected: Value| assert_eq!(of(&schema, &components, 0), Some(expected), "{schema}");
        check(json!({ "$ref": "#/components/schemas/Size" }), json!(3));
        check(json!({ "type": ["string", "null"], "format": "uuid" }), json!("0199c1f0-0000-7000-8000-000000000000"));
        let object = json!({ "type": "object", "required": ["a"], "properties": {
            "a": { "type": "boolean" }, "b": { "type": "string" }, "c": { "type": "string", "example": "told" } } });
        check(object.clone(), json!({ "a": true, "c": "told" }));
        check(
            json!({ "allOf": [object, { "type": "object", "required": ["d"], "properties": { "d": { "type": "array", "items": { "enum": ["x", "y"] } } } }] }),
            json!({ "a": true, "c": "told", "d": ["x"] }),
        );
        check(json!({ "oneOf": [{ "type": "null" }, { "type": "number" }] }), json!(1.5));
        check(json!({}), json!({}));
        let endless = json!({ "schemas": { "Node": { "type": "object", "required": ["next"], "properties": { "next": { "$ref": "#/components/schemas/Node" } } } } });
        assert_eq!(of(&json!({ "$ref": "#/components/schemas/Node" }), &endless, 0), None);
    }
}
