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

    /// Hostile documents: each breaks the shape at one place.
    #[test]
    fn a_document_with_one_thing_out_of_shape_does_not_fit() {
        let fine = json!({ "set": { "x": 1 } });
        let task = |task: Json| document(json!([{ "a": task }]));
        let with = |pointer: &str, value: Json| {
            let mut whole = document(json!([{ "a": fine }]));
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            whole.pointer_mut(parent).unwrap()[key] = value;
            whole
        };
        let switch = |case: Json| task(json!({ "switch": [case] }));
        let listen = |to: Json| task(json!({ "listen": { "to": to } }));
        let catch = |catch: Json| task(json!({ "try": [{ "b": fine }], "catch": catch }));
        let http = |with: Json| {
            let mut whole = json!({ "method": "get", "endpoint": "https://a.example" });
            whole.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
            task(json!({ "call": "http", "with": whole }))
        };
        #[rustfmt::skip]
        let hostile = [
            ("no tasks", document(json!([]))),
            ("tasks as a mapping", document(json!({ "a": fine }))),
            ("two tasks in one item", document(json!([{ "a": fine, "b": fine }]))),
            ("an item without a task", document(json!([{}]))),
            ("a task that is null", document(json!([{ "a": null }]))),
            ("an empty task name", document(json!([{ "": fine }]))),
            ("a key of no task", task(json!({ "set": {}, "untill": 1 }))),
            ("two kinds", task(json!({ "set": {}, "wait": "PT1S" }))),
            ("a key of another kind", task(json!({ "set": {}, "catch": {} }))),
            ("a number for a flow", task(json!({ "set": {}, "then": 1 }))),
            ("a list for a condition", task(json!({ "set": {}, "if": [] }))),
            ("an unknown top-level key", with("/tasks", json!([]))),
            ("no version", with("/document", json!({ "dsl": "1.0.3", "namespace": "n", "name": "w" }))),
            ("a number for a version", with("/document/version", json!(1.0))),
            ("a name with a blank", with("/document/name", json!("a b"))),
            ("an unknown key of the header", with("/document/author", json!("me"))),
            ("a switch that is empty", task(json!({ "switch": [] }))),
            ("a case without then", switch(json!({ "c": { "when": "." } }))),
            ("a case that is text", switch(json!({ "c": "end" }))),
            ("two cases in one item", switch(json!({ "c": { "then": "end" }, "d": { "then": "end" } }))),
            ("a for without do", task(json!({ "for": { "in": "." } }))),
            ("a for without in", task(json!({ "for": { "each": "x" }, "do": [{ "b": fine }] }))),
            ("a variable with a dollar", task(json!({ "for": { "each": "$x", "in": "." }, "do": [{ "b": fine }] }))),
            ("branches as a mapping", task(json!({ "fork": { "branches": { "b": fine } } }))),
            ("text for compete", task(json!({ "fork": { "compete": "yes", "branches": [{ "b": fine }] } }))),
            ("a try without catch", task(json!({ "try": [{ "b": fine }] }))),
            ("a catch that is null", catch(Json::Null)),
            ("an unknown key of a filter of errors", catch(json!({ "errors": { "with": { "code": 1 } } }))),
            ("text for a status", catch(json!({ "errors": { "with": { "status": "503" } } }))),
            ("a backoff of two kinds", catch(json!({ "retry": { "backoff": { "linear": {}, "constant": {} } } }))),
            ("a negative count", catch(json!({ "retry": { "limit": { "attempt": { "count": -1 } } } }))),
            ("a jitter without to", catch(json!({ "retry": { "jitter": { "from": "PT1S" } } }))),
            ("a duration of years", task(json!({ "wait": { "years": 1 } }))),
            ("a duration of nothing", task(json!({ "wait": {} }))),
            ("a duration that is a number", task(json!({ "wait": 5 }))),
            ("a duration in words", task(json!({ "wait": "5 seconds" }))),
            ("a strategy of two kinds", listen(json!({ "one": { "with": { "type": "a" } }, "any": [] }))),
            ("until beside one", listen(json!({ "one": { "with": { "type": "a" } }, "until": "." }))),
            ("until in until", listen(json!({ "any": [], "until": { "any": [], "until": "." } }))),
            ("a filter of nothing", listen(json!({ "one": { "with": {} } }))),
            ("a correlation without from", listen(json!({ "one": { "with": { "type": "a" }, "correlate": { "k": {} } } }))),
            ("an event without type", task(json!({ "emit": { "event": { "with": { "source": "/a" } } } }))),
            ("an error without status", task(json!({ "raise": { "error": { "type": "urn:a" } } }))),
            ("an endpoint without uri", http(json!({ "endpoint": { "authentication": { "use": "a" } } }))),
            ("an authentication of two schemes", http(json!({ "endpoint": { "uri": "https://a.example", "authentication":
                { "bearer": { "token": "t" }, "basic": { "username": "u", "password": "p" } } } }))),
            ("a number for a password", http(json!({ "endpoint": { "uri": "https://a.example", "authentication":
                { "basic": { "username": "u", "password": 1234 } } } }))),
            ("an output of no kind", http(json!({ "output": "body" }))),
            ("text for redirect", http(json!({ "redirect": "no" }))),
            ("headers as a list", http(json!({ "headers": ["a"] }))),
            ("an unknown argument of a request", http(json!({ "url": "https://a.example" }))),
            ("a schedule that never has enough", with("/schedule", json!({ "on": { "any": [], "until": false } }))),
            ("a schedule of nothing", with("/schedule", json!({}))),
            ("secrets as a mapping", with("/use", json!({ "secrets": { "a": "b" } }))),
        ];
        let validator = validator();
        assert!(validator.is_valid(&document(json!([{ "a": fine }]))));
        let fits: Vec<_> =
            hostile.iter().filter(|(_, whole)| validator.is_valid(whole)).map(|(what, _)| what).collect();
        assert!(fits.is_empty(), "{fits:?}");
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
        assert!(validator.is_valid(&document(json!([{ "end": { "set": {} } }]))), "a name like any other");
    }
}
