//! The JSON Schema of the language as this orchestrator takes it, for editors and other tools. It says the shape of a
//! document; what a shape cannot say (names that must be declared, programs that must compile) is for the compiler.

/// The schema (JSON Schema 2020-12), `host/schema/workflow.schema.json`.
pub const WORKFLOW_SCHEMA: &str = include_str!("../../schema/workflow.schema.json");

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use serde_json::json;

    use super::*;
    use crate::definition::{Source, schema, yaml};
    use crate::model::Json;

    fn validator() -> jsonschema::Validator {
        schema::compile(&serde_json::from_str(WORKFLOW_SCHEMA).unwrap()).unwrap()
    }

    fn document(tasks: Json) -> Json {
        let header = json!({ "dsl": "1.0.3", "namespace": "n", "name": "w", "version": "1.0.0" });
        json!({ "document": header, "do": tasks })
    }

    /// Files below a folder that a test accepts.
    fn files(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                files(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "yaml") {
                found.push(path);
            }
        }
    }

    #[test]
    fn every_workflow_of_this_repository_fits() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut found = Vec::new();
        for folder in ["packs", "host/tests/definitions", "tests/fixtures"] {
            files(&root.join(folder), &mut found);
        }
        let (validator, mut seen) = (validator(), 0);
        for path in found {
            let text = std::fs::read_to_string(&path).unwrap();
            let source = Source { path: "w.yaml", text: &text };
            let tree = yaml::parse(source.text, source.path).unwrap_or_else(|found| panic!("{found}")).to_json();
            if tree.get("document").is_none() {
                continue; // A manifest.
            }
            seen += 1;
            let wrong: Vec<_> =
                validator.iter_errors(&tree).map(|error| format!("{}: {error}", error.instance_path())).collect();
            assert!(wrong.is_empty(), "{}: {wrong:#?}", path.display());
        }
        assert!(seen >= 6, "only {seen} workflows were found");
    }

    #[test]
    fn every_kind_of_task_fits_and_a_misspelt_one_does_not() {
        let filter = json!({ "with": { "type": "a" }, "correlate": { "k": { "from": ".data.k", "expect": "1" } } });
        #[rustfmt::skip]
        let good = [
            json!({ "call": "http", "with": { "method": "get", "endpoint": "https://a.example/{id}", "output": "response" } }),
            json!({ "call": "http", "with": { "method": "post", "redirect": true, "endpoint":
                { "uri": "${ .uri }", "authentication": { "use": "a" } }, "body": [1], "query": "${ .q }" } }),
            json!({ "call": "openapi", "with": { "document": { "endpoint": "https://a.example" }, "operationId": "get",
                "authentication": { "basic": { "username": "u", "password": "${ $secrets.p }" } } } }),
            json!({ "call": "create-volume:1.0.0@storage", "with": { "size": 1 }, "metadata": { "effect": "once", "x": 1 } }),
            json!({ "do": [{ "b": { "set": "${ . }" } }], "timeout": "short", "then": "exit" }),
            json!({ "emit": { "event": { "with": { "type": "a", "data": { "x": 1 }, "extension": "y" } } } }),
            json!({ "for": { "each": "x", "in": [1, 2], "at": "i" }, "while": "$i < 3", "do": [{ "b": { "set": {} } }],
                "metadata": { "parallel": 4 } }),
            json!({ "fork": { "compete": true, "branches": [{ "b": { "set": {} } }] } }),
            json!({ "listen": { "to": { "one": filter }, "read": "envelope" } }),
            json!({ "listen": { "to": { "any": [], "until": false } }, "foreach": { "item": "e", "do": [{ "b": { "set": {} } }] } }),
            json!({ "listen": { "to": { "any": [filter], "until": { "one": filter } } } }),
            json!({ "raise": { "error": "${ $error }" } }),
            json!({ "raise": { "error": { "type": "urn:a", "status": 500, "detail": "${ .x }" } } }),
            json!({ "run": { "workflow": { "namespace": "a", "name": "b", "version": "1.0.0", "input": { "x": "${ .x }" } }, "await": false } }),
            json!({ "set": { "a": "${ .b }" }, "if": ".x", "export": { "as": { "a": 1 } } }),
            json!({ "switch": [{ "a": { "when": ".x", "then": "end" } }, { "b": { "then": "continue" } }] }),
            json!({ "try": [{ "b": { "set": {} } }], "catch": { "errors": { "with": { "status": 503 } }, "retry":
                { "delay": "PT1S", "backoff": { "exponential": {} }, "limit": { "attempt": { "count": 3 } } }, "then": "end" } }),
            json!({ "wait": { "seconds": 1 } }),
            json!({ "wait": "${ .wait }" }),
        ];
        let validator = validator();
        for task in good {
            let with = |task: &Json| document(json!([{ "a": task }]));
            let errors: Vec<_> = validator.iter_errors(&with(&task)).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{task}: {errors:?}");
            let mut wrong = task.clone();
            wrong["unknown"] = json!(1);
            assert!(!validator.is_valid(&with(&wrong)), "{wrong}");
            wrong = task.clone();
            let other = if task.get("wait").is_some() { ("set", json!({})) } else { ("wait", json!("PT1S")) };
            wrong[other.0] = other.1;
            assert!(!validator.is_valid(&with(&wrong)), "{wrong}");
        }
    }

    #[test]
    fn what_is_refused_or_unknown_does_not_fit() {
        let validator = validator();
        let tasks = json!([{ "a": { "set": {} } }]);
        #[rustfmt::skip]
        let tops = [
            ("schedule", json!({ "every": "PT1M" }), true), ("schedule", json!({ "every": "PT1M", "cron": "* * * * *" }), false),
            ("evaluate", json!({ "mode": "loose" }), true), ("evaluate", json!({ "language": "js" }), false),
            ("use", json!({ "secrets": ["a"], "timeouts": { "t": { "after": { "minutes": 1 } } } }), true),
            ("use", json!({ "secret": ["a"] }), false),
            ("use", json!({ "functions": { "f": { "call": "x", "with": {} } } }), true),
            ("use", json!({ "extensions": [{ "e": { "extend": "all", "before": [{ "b": { "set": {} } }] } }] }), true),
            ("use", json!({ "extensions": [{ "e": { "extend": "some" } }] }), false),
            ("use", json!({ "authentications": { "a": { "oauth2": { "use": "s" } }, "b": { "bearer": { "token": "t" } } } }), true),
            ("use", json!({ "authentications": { "a": { "certificate": {} } } }), false),
            ("timeout", json!({ "after": { "years": 1 } }), false),
            ("input", json!({ "schema": { "document": { "type": "object" } }, "from": "." }), true),
            ("input", json!({ "schema": { "resource": { "endpoint": "https://a.example" } } }), false),
            ("unknown", json!(1), false),
        ];
        for (key, value, fits) in tops {
            let mut whole = document(tasks.clone());
            whole[key] = value.clone();
            assert_eq!(validator.is_valid(&whole), fits, "{key}: {value}");
        }
        #[rustfmt::skip]
        let refused = [
            json!({ "call": "grpc", "with": {} }), json!({ "run": { "shell": { "command": "ls" } } }),
            json!({ "run": { "script": { "language": "js", "code": "1" } } }), json!({}), json!({ "set": 1 }),
            json!({ "call": "http", "with": { "method": "get", "endpoint": "x", "header": {} } }),
            json!({ "try": [{ "b": { "set": {} } }] }), json!({ "for": { "in": "." } }), json!({ "do": [] }),
        ];
        for task in refused {
            assert!(!validator.is_valid(&document(json!([{ "a": task }]))), "{task}");
        }
        assert!(!validator.is_valid(&document(json!([{ "end": { "set": {} } }]))));
    }
}
