//! A form can be drawn from every input of every pack: each field of each workflow, service and action has a title, a
//! description, and an example unless its values are listed.

use std::path::{Path, PathBuf};

use orchestrator_tests::binaries::root;
use serde_json::Value;

/// The files of one folder of every pack, with what is read out of them.
fn inputs() -> Vec<(PathBuf, Value)> {
    let packs = std::fs::read_dir(root().join("packs")).expect("the packs");
    let mut found = Vec::new();
    for pack in packs.map(|entry| entry.expect("an entry").path()) {
        for path in files(&pack.join("workflows")) {
            let workflow: Value = serde_yaml::from_str(&text(&path)).expect("YAML");
            found.extend(workflow.pointer("/input/schema/document").map(|schema| (path.clone(), schema.clone())));
        }
        for path in files(&pack.join("schemas")) {
            if path.to_string_lossy().ends_with(".input.json") {
                found.push((path.clone(), serde_json::from_str(&text(&path)).expect("JSON")));
            }
        }
    }
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a file of the pack")
}

/// What the fields below a schema lack, as `/field/below: description`.
fn lacks(schema: &Value, place: &str, found: &mut Vec<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let place = format!("{place}/{name}");
        for member in ["title", "description"] {
            if field[member].as_str().is_none_or(|text| text.trim().is_empty()) {
                found.push(format!("{place}: {member}"));
            }
        }
        let is_boolean = match &field["type"] {
            Value::Array(types) => types.iter().any(|kind| kind == "boolean"),
            kind => kind == "boolean",
        };
        let is_listed = field.get("enum").is_some() || field.get("const").is_some() || is_boolean;
        if !is_listed && field["examples"].as_array().is_none_or(Vec::is_empty) {
            found.push(format!("{place}: examples"));
        }
        lacks(field, &place, found);
    }
    if schema["items"].is_object() {
        lacks(&schema["items"], &format!("{place}[]"), found);
    }
}

#[test]
fn every_field_of_every_pack_has_what_a_form_needs() {
    let inputs = inputs();
    assert!(inputs.len() > 80, "only {} inputs were found", inputs.len());
    let mut all = Vec::new();
    for (path, schema) in &inputs {
        let mut found = Vec::new();
        lacks(schema, "", &mut found);
        all.extend(found.into_iter().map(|lack| format!("{}: {lack}", path.display())));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn what_a_form_lacks_is_found() {
    let schema = serde_json::json!({"properties": {"a": {"title": "A", "type": "object", "examples": [{}],
        "properties": {"b": {"description": " ", "type": "string"}}}, "c": {"title": "C", "description": "c", "type": ["boolean", "null"]}}});
    let mut found = Vec::new();
    lacks(&schema, "", &mut found);
    assert_eq!(found, ["/a: description", "/a/b: title", "/a/b: description", "/a/b: examples"]);
}
