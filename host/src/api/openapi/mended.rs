//! Makes the schemas of the document say what is meant where the annotations cannot: a part that says nothing but
//! "object" beside another type, and a type that refuses unknown members although another one adds some.

use serde_json::{Map, Value, json};

/// Types whose members of these names hold any JSON.
const ANY: [(&str, &str); 4] =
    [("InstanceSummary", "input"), ("InstanceSummary", "output"), ("TaskView", "input"), ("TaskView", "output")];

/// Mends all schemas of a document.
pub fn mend(document: &mut Value) {
    mend_inlined(document);
    let schemas = document["components"]["schemas"].clone();
    open_all(document, &schemas);
    for (name, member) in ANY {
        if let Some(member) = document
            .pointer_mut(&format!("/components/schemas/{name}/properties/{member}"))
            .and_then(Value::as_object_mut)
        {
            member.remove("type");
        }
    }
}

/// An inlined type comes with a second part that holds its description and calls it an object, whatever it is.
fn mend_inlined(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(mend_inlined),
        Value::Object(members) => {
            members.values_mut().for_each(mend_inlined);
            if let Some(Value::Array(parts)) = members.get("allOf")
                && let [first, second] = parts.as_slice()
                && is_only_described(second)
                && first.is_object()
            {
                let mut whole = first.as_object().cloned().unwrap_or_default();
                whole.insert("description".to_owned(), second["description"].clone());
                *members = whole;
            }
        }
        _ => {}
    }
}

fn is_only_described(part: &Value) -> bool {
    part["type"] == "object"
        && part.get("description").is_some()
        && part.as_object().is_some_and(|part| part.len() == 2)
}

fn open_all(value: &mut Value, schemas: &Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| open_all(item, schemas)),
        Value::Object(members) => {
            members.values_mut().for_each(|member| open_all(member, schemas));
            open(value, schemas);
        }
        _ => {}
    }
}

/// Of a type that is joined from several, the parts are taken in without their refusal of what the others add.
fn open(schema: &mut Value, schemas: &Value) {
    let Some(parts) = schema.get_mut("allOf").and_then(Value::as_array_mut) else { return };
    let mut was_closed = false;
    for part in parts {
        let Some(name) = part["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) else { continue };
        let Some(mut whole) = schemas[name].as_object().cloned().filter(is_closed) else { continue };
        whole.remove("additionalProperties");
        was_closed = true;
        *part = Value::Object(whole);
    }
    if was_closed {
        schema["unevaluatedProperties"] = json!(false);
    }
}

fn is_closed(schema: &Map<String, Value>) -> bool {
    schema.get("additionalProperties") == Some(&Value::Bool(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_joined_may_have_the_members_of_all_its_parts() {
        let mut document = json!({ "components": { "schemas": {
            "A": { "type": "object", "properties": { "a": {} }, "additionalProperties": false },
            "B": { "allOf": [{ "$ref": "#/components/schemas/A" }, { "type": "object", "properties": { "b": {} } }] },
        } } });
        mend(&mut document);
        let whole = json!({ "$ref": "#/components/schemas/B", "components": document["components"] });
        let validator = jsonschema::options().with_draft(jsonschema::Draft::Draft202012).build(&whole).unwrap();
        assert!(validator.is_valid(&json!({ "a": 1, "b": 2 })));
        assert!(!validator.is_valid(&json!({ "a": 1, "c": 2 })));
    }

    #[test]
    fn an_inlined_type_is_only_that_type() {
        let mut value =
            json!({ "allOf": [{ "type": "string", "enum": ["a"] }, { "type": "object", "description": "Which." }] });
        mend_inlined(&mut value);
        assert_eq!(value, json!({ "type": "string", "enum": ["a"], "description": "Which." }));
    }
}
