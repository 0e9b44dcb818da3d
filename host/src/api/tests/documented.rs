//! What is served is documented, and the other way round.

use std::path::Path;

use super::*;
use crate::api::openapi;
use crate::api::problem::Kind;

/// Sample values for the parameters of paths; none of them exists.
fn sample(path: &str) -> String {
    path.replace("{id}", "0199c1f0-0000-7000-8000-000000000000")
        .replace("{name}", "nothing")
        .replace("{version}", "1.0.0")
        .replace("{pack}", "nothing")
        .replace("{workflow}", "nothing")
        .replace("{tenant}", "default")
}

#[tokio::test]
async fn every_documented_operation_is_served_and_no_other() {
    let server = Server::new().await;
    server.rooms.stopping.cancel(); // Event streams end at once.
    let document = openapi::document().clone();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH"] {
            let answer = server.ask(method, &sample(path), &[], "").await;
            let documented = item.get(method.to_lowercase()).is_some();
            assert_eq!(answer.status == StatusCode::METHOD_NOT_ALLOWED, !documented, "{method} {path}");
            if answer.status == StatusCode::NOT_FOUND && path.starts_with("/v1beta") {
                assert!(!String::from_utf8_lossy(&answer.body).contains("/v1/openapi.json"), "{method} {path}");
            } else if answer.status == StatusCode::NOT_FOUND {
                assert_ne!(answer.problem(), "unknown-route", "{method} {path}");
            }
        }
    }
}

#[test]
fn routes_are_added_only_where_they_are_documented_too() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api");
    for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        assert!(!code.contains(".route(") && !code.contains(".nest("), "{}", file.display());
    }
}

#[test]
fn every_operation_says_what_it_does_and_how_it_fails() {
    let document = openapi::document().clone();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let at = format!("{method} {path}");
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{at}");
            assert!(operation["tags"].as_array().is_some_and(|tags| tags.len() == 1), "{at}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                if operation["tags"][0] == "soda" {
                    assert!(response["content"].get("application/json").is_some(), "{at} {status}");
                    continue;
                }
                let problem = response["content"].get("application/problem+json").is_some();
                assert_eq!(problem, status.starts_with(['4', '5']), "{at} {status}");
                check_kinds(&at, status, response["description"].as_str().unwrap_or_default());
            }
        }
    }
}

/// The problems that a response names have its status.
fn check_kinds(at: &str, status: &str, description: &str) {
    if status.starts_with(['4', '5']) {
        let named: Vec<_> = description
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|word| {
                word.contains('-') && !word.contains(char::is_uppercase)
                    || Kind::ALL.iter().any(|kind| kind.name() == *word)
            })
            .collect();
        assert!(!named.is_empty(), "{at} {status}: {description}");
        for name in named {
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
            let kind = kind.unwrap_or_else(|| panic!("{at} {status}: there is no `{name}`"));
            assert_eq!(kind.status().as_str(), status, "{at}: {name}");
        }
    }
}

#[tokio::test]
async fn the_document_is_served_and_changes_only_on_purpose() {
    let server = Server::new().await;
    let answer = server.get("/v1/openapi.json").await;
    assert_eq!(answer.headers["content-type"], "application/json");
    let text = serde_json::to_string_pretty(&answer.json()).unwrap() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api/snapshots/openapi.json");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == kept, "the interface changed: look at it, then run this test with UPDATE_SNAPSHOTS=1");
}

#[tokio::test]
async fn every_problem_type_can_be_fetched() {
    let server = Server::new().await;
    for kind in Kind::ALL {
        let answer = server.get(&format!("/problems/{}", kind.name())).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", kind.name());
        assert!(answer.body.starts_with(format!("# {}\n", kind.name()).as_bytes()));
    }
    assert_eq!(server.get("/problems/nothing").await.problem(), "unknown-problem");
}

/// The whole document around a schema, so that its references lead somewhere.
fn validator(schema: &Json) -> jsonschema::Validator {
    let whole = json!({ "allOf": [schema], "components": openapi::document()["components"] });
    jsonschema::options().with_draft(jsonschema::Draft::Draft202012).build(&whole).unwrap()
}

#[test]
fn every_body_has_examples_that_fit_its_schema() {
    let mut wrong = Vec::new();
    for (path, item) in openapi::document()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap().iter();
            let answers = responses.filter(|(status, _)| status.starts_with('2')).map(|(_, response)| response);
            for part in answers.chain(operation.get("requestBody")) {
                let bodies = part.get("content").and_then(Json::as_object).into_iter().flatten();
                for (kind, body) in bodies.filter(|(kind, _)| kind.ends_with("json") || kind.ends_with("yaml")) {
                    let several = body["examples"].as_object().into_iter().flatten().map(|(_, named)| &named["value"]);
                    let examples: Vec<_> = body.get("example").into_iter().chain(several).collect();
                    assert!(!examples.is_empty() || operation["tags"][0] == "soda", "{method} {path} {kind}");
                    let validator = validator(&body["schema"]);
                    for example in examples {
                        wrong.extend(
                            validator
                                .iter_errors(example)
                                .map(|error| format!("{method} {path} {kind}: {}: {error}", error.instance_path())),
                        );
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn operations_have_names_of_their_own_and_links_lead_to_them() {
    let mut names = std::collections::BTreeSet::new();
    let document = openapi::document();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name), "{method} {path}: {name} is taken");
        }
    }
    let text = document.to_string();
    assert!(text.contains("\"links\""));
    for (path, item) in document["paths"].as_object().unwrap() {
        for (_, operation) in item.as_object().unwrap() {
            for (_, response) in operation["responses"].as_object().unwrap() {
                for (_, link) in response["links"].as_object().into_iter().flatten() {
                    assert!(names.contains(link["operationId"].as_str().unwrap()), "{path}: {link}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_page_works_without_any_other_site() {
    let server = Server::new().await;
    let page = server.get("/docs").await;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'sha256-"), "{policy}");
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(!text.contains("https://") && !text.contains("http://"), "it asks no other site");
    assert!(text.contains("/v1/openapi.json") && !text.contains("/*script*/"));
    assert!(text.len() < 100_000);
}
