//! Each case: what the hub answers, and what the action makes of it.

use orchestrator_sdk::testing::{Outside, Reply};

use super::*;

fn input(more: Json) -> CreateAnalysis {
    let mut input = json!({"applicationId": 7, "applicationName": "shop"});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(input).unwrap()
}

fn group(state: &str, tasks: Json) -> Json {
    json!({"id": 5, "name": "orchestrator.key-1", "addon": "analyzer", "data": {"mode": {}}, "state": state, "tasks": tasks})
}

fn task(state: &str) -> Json {
    json!([{"id": 11, "name": "shop.1.analyzer", "state": state}])
}

#[test]
fn a_task_group_is_made_with_the_rules_of_its_targets() {
    let outside = Outside::new();
    outside.expect("GET", "/taskgroups", Reply::json(200, json!([])));
    outside.expect("POST", "/taskgroups", Reply::json(201, group("Created", json!([]))));
    let more = json!({"targets": ["quarkus"], "sources": ["eap7"], "withDependencies": true});
    let made = create_analysis(&outside.context(), input(more)).unwrap();
    assert_eq!((made.id, made.phase, made.unit), (5, Phase::Created, Unit::Group));
    assert_eq!(
        outside.requests()[1].json(),
        json!({"name": "orchestrator.key-1", "addon": "analyzer", "state": "Created", "data": {
            "rules": {"labels": {"included": ["konveyor.io/target=quarkus", "konveyor.io/source=eap7"]}},
            "tagger": {"enabled": true}, "mode": {"binary": false, "withDeps": true}, "scope": {"withKnownLibs": false},
        }})
    );
}

#[test]
fn the_addon_of_mta_6_2_gets_its_own_data() {
    let outside = Outside::new();
    outside.expect("GET", "/taskgroups", Reply::json(200, json!([])));
    outside.expect("POST", "/taskgroups", Reply::json(201, group("Created", json!([]))));
    let more = json!({"addon": "windup", "rulesets": [{"id": 2, "name": "Containerization"}]});
    create_analysis(&outside.context(), input(more)).unwrap();
    let data = &outside.requests()[1].json()["data"];
    assert_eq!(data["output"], "/windup/report");
    assert_eq!(data["rules"]["rulesets"], json!([{"id": 2, "name": "Containerization"}]));
    assert_eq!(data["scope"], json!({"withKnown": false}));
}

#[test]
fn a_repeat_finds_the_analysis_whose_answer_was_lost() {
    let outside = Outside::new();
    let mut other = group("Ready", task("Running"));
    other["name"] = json!("orchestrator.key-10");
    outside.expect("GET", "/taskgroups", Reply::json(200, json!([other, group("Created", json!([]))])));
    assert_eq!(create_analysis(&outside.context(), input(json!({}))).unwrap().id, 5);
}

#[test]
fn a_submission_carries_the_whole_group_because_the_hub_replaces_it() {
    let outside = Outside::new();
    outside.expect("GET", "/taskgroups/5", Reply::json(200, group("Created", json!([]))));
    outside.expect("GET", "/taskgroups/5", Reply::json(200, group("Created", json!([]))));
    outside.expect("PUT", "/taskgroups/5/submit", Reply::status(204));
    outside.expect("GET", "/taskgroups/5", Reply::json(200, group("Ready", task("Ready"))));
    let submitted = submit_analysis(&outside.context(), submission()).unwrap();
    assert_eq!(submitted.phase, Phase::Queued);
    let sent = outside.requests()[2].json();
    assert_eq!(sent["data"], json!({"mode": {}}));
    assert_eq!(sent["tasks"], json!([{"name": "shop.1.analyzer", "application": {"id": 7, "name": "shop"}}]));
}

fn submission() -> SubmitAnalysis {
    serde_json::from_value(json!({"analysisId": 5, "applicationId": 7, "applicationName": "shop"})).unwrap()
}

#[test]
fn an_analysis_is_submitted_once() {
    let outside = Outside::new();
    outside.expect("GET", "/taskgroups/5", Reply::json(200, group("Ready", task("Running"))));
    assert_eq!(submit_analysis(&outside.context(), submission()).unwrap().phase, Phase::Running);
}

#[test]
fn a_submission_that_was_taken_although_it_was_answered_badly_counts() {
    let outside = Outside::new();
    outside.expect("GET", "/taskgroups/5", Reply::json(200, group("Created", json!([]))));
    outside.expect("GET", "/taskgroups/5", Reply::json(200, group("Created", json!([]))));
    outside.expect("PUT", "/taskgroups/5/submit", Reply::json(400, json!({"error": "already submitted."})));
    outside.expect("GET", "/taskgroups/5", Reply::json(200, group("Ready", task("Pending"))));
    assert_eq!(submit_analysis(&outside.context(), submission()).unwrap().phase, Phase::Queued);
}

/// The race of the original: a task that is still `Ready` when it is looked at first was taken as done.
#[test]
fn known_bug_a_task_that_is_still_ready_is_not_done() {
    for (state, tasks, expected) in [
        ("Created", json!([]), Phase::Created),
        ("Ready", json!([]), Phase::Queued),
        ("Ready", Json::Null, Phase::Queued),
        ("Ready", task("Created"), Phase::Queued),
        ("Ready", task("Ready"), Phase::Queued),
        ("Ready", task("Postponed"), Phase::Queued),
        ("Ready", task("Pending"), Phase::Queued),
        ("Ready", task("QuotaBlocked"), Phase::Queued),
        ("Ready", task("NewInSomeRelease"), Phase::Queued),
        ("Ready", task("Running"), Phase::Running),
        ("Ready", task("Succeeded"), Phase::Succeeded),
        ("Ready", task("Failed"), Phase::Failed),
        ("Ready", task("Canceled"), Phase::Cancelled),
    ] {
        let outside = Outside::new();
        outside.expect("GET", "/taskgroups/5", Reply::json(200, group(state, tasks.clone())));
        let seen = get_analysis(&outside.context(), AnalysisId { analysis_id: 5, unit: None }).unwrap();
        assert_eq!(seen.phase, expected, "{state} {tasks}");
    }
}

#[test]
fn a_failed_task_tells_its_pod_and_its_errors() {
    let failed = json!([{"id": 11, "state": "Failed", "pod": "konveyor-tackle/task-11", "activity": ["a", "the last"],
        "errors": [{"severity": "Error", "description": "clone failed"}, {"description": "x".repeat(900)}]}]);
    let outside = Outside::new();
    outside.expect("GET", "/taskgroups/5", Reply::json(200, group("Ready", failed)));
    let seen = get_analysis(&outside.context(), AnalysisId { analysis_id: 5, unit: None }).unwrap();
    assert_eq!(seen.pod.as_deref(), Some("konveyor-tackle/task-11"));
    assert_eq!(seen.errors[0], "Error: clone failed");
    assert_eq!(seen.errors[1].len(), TEXT_CHARACTERS_MAX);
    assert_eq!(seen.remark.as_deref(), Some("the last"));
}

#[test]
fn an_analysis_that_is_gone_is_missing() {
    let outside = Outside::new();
    outside.expect("GET", "/taskgroups/5", Reply::json(404, json!({"error": "record not found"})));
    let seen = get_analysis(&outside.context(), AnalysisId { analysis_id: 5, unit: None }).unwrap();
    assert_eq!(seen.phase, Phase::Missing);
}

#[test]
fn what_runs_is_cancelled_before_it_is_deleted() {
    let outside = Outside::new();
    outside.expect("GET", "/taskgroups/5", Reply::json(200, group("Ready", task("Running"))));
    outside.expect("PUT", "/tasks/11/cancel", Reply::status(202));
    outside.expect("DELETE", "/taskgroups/5", Reply::status(204));
    outside.expect("GET", "/taskgroups/5", Reply::status(404));
    let after = remove_analysis(&outside.context(), AnalysisId { analysis_id: 5, unit: None }).unwrap();
    assert_eq!(after.phase, Phase::Missing);
}

#[test]
fn removing_is_safe_to_repeat() {
    let outside = Outside::new();
    outside.expect("GET", "/taskgroups/5", Reply::status(404));
    outside.expect("DELETE", "/taskgroups/5", Reply::status(204));
    outside.expect("GET", "/taskgroups/5", Reply::status(404));
    let after = remove_analysis(&outside.context(), AnalysisId { analysis_id: 5, unit: None }).unwrap();
    assert_eq!(after.phase, Phase::Missing);

    let outside = Outside::new();
    outside.expect("GET", "/taskgroups/5", Reply::json(200, group("Ready", task("Succeeded"))));
    outside.expect("DELETE", "/taskgroups/5", Reply::status(204));
    outside.expect("GET", "/taskgroups/5", Reply::status(404));
    remove_analysis(&outside.context(), AnalysisId { analysis_id: 5, unit: None }).unwrap();
}

#[test]
fn a_task_by_itself_is_made_submitted_and_removed() {
    let seen = |state: &str| json!({"id": 11, "name": "orchestrator.key-1", "state": state});
    let outside = Outside::new();
    outside.expect("GET", "/tasks", Reply::json(200, json!([])));
    outside.expect("POST", "/tasks", Reply::json(201, seen("Created")));
    let made = create_analysis(&outside.context(), input(json!({"unit": "task"}))).unwrap();
    assert_eq!((made.id, made.unit, made.phase), (11, Unit::Task, Phase::Created));
    assert_eq!(outside.requests()[1].json()["application"], json!({"id": 7, "name": "shop"}));

    outside.expect("GET", "/tasks/11", Reply::json(200, seen("Created")));
    outside.expect("PUT", "/tasks/11/submit", Reply::status(204));
    outside.expect("GET", "/tasks/11", Reply::json(200, seen("Pending")));
    let submission = SubmitAnalysis { unit: Some(Unit::Task), analysis_id: 11, ..submission() };
    assert_eq!(submit_analysis(&outside.context(), submission).unwrap().phase, Phase::Queued);

    outside.expect("GET", "/tasks/11", Reply::json(200, seen("Running")));
    outside.expect("PUT", "/tasks/11/cancel", Reply::status(400));
    outside.expect("DELETE", "/tasks/11", Reply::status(204));
    outside.expect("GET", "/tasks/11", Reply::json(200, seen("Canceled")));
    let id = AnalysisId { analysis_id: 11, unit: Some(Unit::Task) };
    assert_eq!(remove_analysis(&outside.context(), id).unwrap().phase, Phase::Cancelled, "deleted a moment later");
}
