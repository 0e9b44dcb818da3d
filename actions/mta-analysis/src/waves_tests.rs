//! Each case: what the hub answers, and what the action makes of it.

use orchestrator_sdk::standard;
use orchestrator_sdk::testing::{Outside, Reply};

use super::*;

fn tracker(id: u64, name: &str, connected: bool) -> Json {
    json!({"id": id, "name": name, "url": "https://jira.example", "kind": "jira-cloud", "connected": connected,
        "message": "401 Unauthorized", "identity": {"id": 1}})
}

fn choices(names: &[&str]) -> Json {
    names.iter().enumerate().map(|(id, name)| json!({"id": (id + 100).to_string(), "name": name})).collect()
}

fn find(input: Json, trackers: Json, projects: Option<Json>, types: Option<Json>) -> Result<Tracker, Error> {
    let outside = Outside::new();
    outside.expect("GET", "/trackers", Reply::json(200, trackers));
    if let Some(projects) = projects {
        outside.expect("GET", "/trackers/1/projects", Reply::json(200, projects));
    }
    if let Some(types) = types {
        outside.expect("GET", "/trackers/1/projects/100/issuetypes", Reply::json(200, types));
    }
    find_tracker(&outside.context(), serde_json::from_value(input).unwrap())
}

#[test]
fn the_only_tracker_and_project_and_the_first_type_are_taken() {
    let trackers = json!([tracker(1, "jira", true), tracker(2, "old", false)]);
    let found = find(json!({}), trackers, Some(choices(&["Shop"])), Some(choices(&["Task", "Bug"]))).unwrap();
    assert_eq!((found.tracker.id, found.project.id.as_str(), found.issue_type.name.as_str()), (1, "100", "Task"));
}

/// The original took the first of an empty list and failed later with an identifier of null.
#[test]
fn known_bug_empty_lists_of_trackers_projects_and_types_are_told() {
    let one = || json!([tracker(1, "jira", true)]);
    for (result, word) in [
        (find(json!({}), Json::Null, None, None), "there are no trackers"),
        (find(json!({}), json!([]), None, None), "there are no trackers"),
        (find(json!({}), one(), Some(json!([])), None), "has no project"),
        (find(json!({}), one(), Some(choices(&["Shop"])), Some(json!([]))), "has no issue type"),
    ] {
        let error = result.unwrap_err();
        assert_eq!(error.problem.kind, standard::CONFIGURATION);
        assert!(error.problem.detail.contains(word), "{error}");
    }
}

#[test]
fn what_cannot_be_told_apart_has_to_be_named() {
    let two = || json!([tracker(1, "jira", true), tracker(2, "second", true)]);
    let projects = || Some(choices(&["Shop", "Bank"]));
    for (result, word) in [
        (find(json!({}), two(), None, None), "set `tracker`"),
        (find(json!({"tracker": "third"}), two(), None, None), "jira, second"),
        (find(json!({"tracker": "jira"}), two(), projects(), None), "set `trackerProject`"),
        (find(json!({"tracker": "jira", "project": "Zoo"}), two(), projects(), None), "Shop, Bank"),
        (find(json!({}), json!([tracker(1, "jira", false)]), None, None), "none of the trackers"),
        (find(json!({"tracker": "jira"}), json!([tracker(1, "jira", false)]), None, None), "401 Unauthorized"),
    ] {
        let error = result.unwrap_err();
        assert!(error.problem.detail.contains(word), "{word}: {error}");
    }
    let named = json!({"tracker": "jira", "project": "Shop", "issueType": "Bug"});
    assert_eq!(find(named, two(), projects(), Some(choices(&["Task", "Bug"]))).unwrap().issue_type.id, "101");
}

fn wave() -> EnsureWave {
    serde_json::from_value(json!({"name": "wave", "startDate": "2026-01-01T00:00:00Z",
        "endDate": "2026-02-01T00:00:00Z", "applicationId": 7, "applicationName": "shop"}))
    .unwrap()
}

#[test]
fn a_wave_is_made_once() {
    let outside = Outside::new();
    outside.expect("GET", "/migrationwaves", Reply::json(200, json!([])));
    outside.expect("POST", "/migrationwaves", Reply::json(201, json!({"id": 3, "name": "wave"})));
    assert_eq!(ensure_wave(&outside.context(), wave()).unwrap().id, 3);
    assert_eq!(outside.requests()[1].json()["applications"], json!([{"id": 7, "name": "shop"}]));

    let there =
        |application: u64| json!([{"id": 3, "name": "wave", "applications": [{"id": application, "name": "x"}]}]);
    outside.expect("GET", "/migrationwaves", Reply::json(200, there(7)));
    assert_eq!(ensure_wave(&outside.context(), wave()).unwrap().id, 3);
    outside.expect("GET", "/migrationwaves", Reply::json(200, there(8)));
    assert_eq!(ensure_wave(&outside.context(), wave()).unwrap_err().problem.status, 409);
}

fn ticket() -> EnsureTicket {
    serde_json::from_value(json!({"tracker": {"id": 1, "name": "jira"}, "projectId": "100", "issueTypeId": "101",
        "applicationId": 7, "applicationName": "shop"}))
    .unwrap()
}

#[test]
fn a_ticket_is_made_once_and_found_by_application_and_tracker() {
    let outside = Outside::new();
    let seen = |id: u64, application: u64| {
        json!({"id": id, "application": {"id": application}, "tracker": {"id": 1, "name": "jira"}, "parent": "100",
            "kind": "101", "link": "", "status": "", "error": false})
    };
    outside.expect("GET", "/tickets", Reply::json(200, json!([seen(1, 8)])));
    outside.expect("POST", "/tickets", Reply::json(201, seen(2, 7)));
    assert_eq!(ensure_ticket(&outside.context(), ticket()).unwrap().id, 2);
    assert_eq!(
        outside.requests()[1].json(),
        json!({"tracker": {"id": 1, "name": "jira"}, "parent": "100", "kind": "101",
            "application": {"id": 7, "name": "shop"}})
    );
    outside.expect("GET", "/tickets", Reply::json(200, json!([seen(1, 8), seen(2, 7)])));
    assert_eq!(ensure_ticket(&outside.context(), ticket()).unwrap().id, 2);
}
