//! Each case: what Move2Kube answers, and what the action makes of it.

use orchestrator_sdk::testing::{Moved, Outside, Reply};
use orchestrator_sdk::{Json, json};

use super::*;

const PROJECT: &str = "/workspaces/w/projects/p";

fn of<T: serde::de::DeserializeOwned>(more: Json) -> T {
    let mut input = json!({"workspaceId": "w", "projectId": "p"});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(input).unwrap()
}

fn project(outputs: &[(&str, &str)]) -> Reply {
    let outputs: serde_json::Map<_, _> =
        outputs.iter().map(|(id, status)| ((*id).to_owned(), json!({"id": id, "status": status}))).collect();
    Reply::json(200, json!({"id": "p", "name": "shop", "outputs": outputs}))
}

#[test]
fn a_transformation_is_started_with_the_plan() {
    let outside = Outside::new();
    outside.expect("GET", PROJECT, project(&[("old", "done")]));
    outside.expect("GET", format!("{PROJECT}/plan"), Reply::json(200, json!({"plan": "kind: Plan"})));
    outside.expect(
        "POST",
        format!("{PROJECT}/outputs"),
        Reply::json(202, json!({"id": "t-1", "status": "transforming"})),
    );
    let started = start_transformation(&outside.context(), of(json!({"knownOutputs": ["old"]}))).unwrap();
    assert_eq!((started.id.as_str(), started.status), ("t-1", OutputStatus::Transforming));
    assert_eq!(outside.requests()[2].json(), json!({"plan": "kind: Plan"}));
}

#[test]
fn questions_are_skipped_when_asked() {
    let outside = Outside::new();
    outside.expect("GET", PROJECT, Reply::json(200, json!({"id": "p"})));
    outside.expect("GET", format!("{PROJECT}/plan"), Reply::json(200, json!({"plan": "x"})));
    outside.expect("POST", format!("{PROJECT}/outputs?skip-qa=true"), Reply::json(202, json!({"id": "t-1"})));
    start_transformation(&outside.context(), of(json!({"skipQuestions": true}))).unwrap();
}

#[test]
fn a_repeat_finds_the_transformation_whose_answer_was_lost() {
    let outside = Outside::new();
    outside.expect("GET", PROJECT, project(&[("old", "done"), ("t-1", "transforming")]));
    let found = start_transformation(&outside.context(), of(json!({"knownOutputs": ["old"]}))).unwrap();
    assert_eq!(found.id, "t-1");
    outside.expect("GET", PROJECT, project(&[("old", "done"), ("t-1", "done")]));
    let input = of(json!({"knownOutputs": ["old"]}));
    assert!(matches!(probe_start_transformation(&outside.context(), input), Ok(Finding::Done(_))));
}

#[test]
fn two_orders_at_once_in_a_project_are_told() {
    let outside = Outside::new();
    outside.expect("GET", PROJECT, project(&[("t-1", "transforming"), ("t-2", "transforming")]));
    let error = start_transformation(&outside.context(), of(json!({}))).unwrap_err();
    assert_eq!(error.problem.status, 409);
    assert!(error.problem.detail.contains("t-1, t-2"), "{error}");
}

#[test]
fn a_lost_answer_and_a_refusal_differ() {
    for (reply, reaction, status) in [
        (Reply::timeout(), Reaction::Unknown, 504),
        (Reply::status(500), Reaction::Unknown, 500),
        (Reply::status(503), Reaction::Transient { retry_after: None }, 503),
        (Reply::json(409, json!({"error": "transformation is already ongoing"})), Reaction::Permanent, 409),
        (Reply::json(400, json!({"error": "generate a plan before"})), Reaction::Permanent, 400),
        (Reply::status(404), Reaction::Permanent, 404),
    ] {
        let outside = Outside::new();
        outside.expect("GET", PROJECT, project(&[]));
        outside.expect("GET", format!("{PROJECT}/plan"), Reply::json(200, json!({"plan": "x"})));
        outside.expect("POST", format!("{PROJECT}/outputs"), reply);
        let error = start_transformation(&outside.context(), of(json!({}))).unwrap_err();
        assert_eq!((error.reaction, error.problem.status), (reaction, status));
    }
}

#[test]
fn how_far_an_output_is_comes_from_the_project() {
    for (word, expected) in [
        ("transforming", OutputStatus::Transforming),
        ("inprogress", OutputStatus::Transforming),
        ("done", OutputStatus::Done),
        ("error", OutputStatus::Error),
    ] {
        let outside = Outside::new();
        outside.expect("GET", PROJECT, project(&[("t-1", word)]));
        assert_eq!(get_output(&outside.context(), of(json!({"outputId": "t-1"}))).unwrap().status, expected);
    }
    let outside = Outside::new();
    outside.expect("GET", PROJECT, Reply::json(200, json!({"outputs": null})));
    let gone = get_output(&outside.context(), of(json!({"outputId": "t-1"}))).unwrap();
    assert_eq!(gone.status, OutputStatus::Missing);
}

#[test]
fn a_result_is_looked_at_whatever_its_size() {
    let archive = format!("{PROJECT}/outputs/t-1");
    for (reply, available, bytes) in [
        (Reply::bytes(200, b"PK".to_vec()), true, Some(2)),
        (Reply::failure(SendErrorKind::TooLarge(8 << 20)), true, None),
        (Reply::status(204), false, None),
        (Reply::status(404), false, None),
    ] {
        let outside = Outside::new();
        outside.expect("GET", archive.clone(), reply);
        let seen = fetch_result(&outside.context(), of(json!({"outputId": "t-1", "storeAs": null}))).unwrap();
        assert_eq!((seen.available, seen.bytes), (available, bytes));
    }
}

#[test]
fn a_result_is_stored_where_it_is_asked_for() {
    let outside = Outside::new();
    let moved = Moved { source_status: 200, source_headers: Vec::new(), bytes: 9, sha256: "ab".to_owned() };
    let archive = format!("{PROJECT}/outputs/t-1");
    outside.expect_transfer(archive, "/results/shop%20one.zip", moved, Reply::status(200));
    let input = of(json!({"outputId": "t-1", "storeAs": "results/shop one.zip"}));
    let stored = fetch_result(&outside.context(), input).unwrap();
    assert_eq!((stored.bytes, stored.sha256.as_deref()), (Some(9), Some("ab")));
}

#[test]
fn an_output_that_is_under_way_stays() {
    for (status, expected) in
        [(204, OutputStatus::Missing), (404, OutputStatus::Missing), (409, OutputStatus::Transforming)]
    {
        let outside = Outside::new();
        outside.expect("DELETE", format!("{PROJECT}/outputs/t-1"), Reply::status(status));
        assert_eq!(remove_output(&outside.context(), of(json!({"outputId": "t-1"}))).unwrap().status, expected);
    }
}
