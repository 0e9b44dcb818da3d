//! Each case: what Jira answers, and what the action makes of it.

use orchestrator_sdk::testing::{Outside, Reply, Target};

use super::*;

const PATH: &str = "/rest/api/2/issue/OPS-1/transitions";

fn status(id: &str, name: &str, category: &str) -> Json {
    json!({ "id": id, "name": name, "statusCategory": { "key": category } })
}

fn ways() -> Json {
    let resolution = json!({
        "required": true, "hasDefaultValue": false, "name": "Lösung",
        "allowedValues": [{ "id": "10000", "name": "Fertig" }, { "id": "10001", "name": "Nicht gemacht" }],
    });
    json!({ "transitions": [
        { "id": "11", "name": "Beginnen", "to": status("3", "In Arbeit", "indeterminate") },
        { "id": "31", "name": "Schließen", "to": status("5", "Erledigt", "done"), "fields": { "resolution": resolution } },
    ] })
}

fn outside(now: Json, offered: Option<Json>) -> Outside {
    let outside = Outside::new();
    let issue = json!({ "id": "1", "key": "OPS-1", "fields": { "status": now } });
    outside.expect("GET", Target::starting_with("/rest/api/2/issue/OPS-1?fields="), Reply::json(200, issue));
    if let Some(offered) = offered {
        outside.expect("GET", format!("{PATH}?expand=transitions.fields"), Reply::json(200, offered));
    }
    outside
}

fn go(outside: &Outside, more: Json) -> Result<Moved, Error> {
    let mut input = json!({ "issue": "OPS-1", "api": "server" });
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    transition_issue(&outside.context(), serde_json::from_value(input).unwrap())
}

fn open() -> Json {
    status("1", "Offen", "new")
}

#[test]
fn the_way_is_found_by_category_name_or_identifier() {
    let resolution = json!({ "resolution": { "id": "10001" } });
    let check = |more: Json, body: Json, category: &str| {
        let outside = outside(open(), Some(ways()));
        outside.expect("POST", PATH, Reply::status(204));
        let moved = go(&outside, more).unwrap();
        assert_eq!((moved.moved, moved.status_category.as_str()), (true, category));
        assert_eq!(outside.requests()[2].json(), body);
    };
    let started = json!({ "transition": { "id": "11" } });
    let closed = json!({ "transition": { "id": "31" }, "fields": resolution });
    check(json!({ "statusCategory": "indeterminate" }), started.clone(), "indeterminate");
    check(json!({ "status": "in arbeit", "resolution": "x" }), started.clone(), "indeterminate");
    check(json!({ "transition": "11" }), started, "indeterminate");
    check(json!({ "statusCategory": "done", "resolution": "10001" }), closed.clone(), "done");
    check(json!({ "statusCategory": "done", "resolution": "nicht gemacht" }), closed, "done");
}

#[test]
fn an_issue_that_is_there_already_is_left_alone() {
    for goal in [json!({ "statusCategory": "done" }), json!({ "status": "erledigt" }), json!({ "status": "5" })] {
        assert!(!go(&outside(status("5", "Erledigt", "done"), None), goal).unwrap().moved);
    }
    let again = outside(status("5", "Erledigt", "done"), Some(ways()));
    assert!(!go(&again, json!({ "transition": "31" })).unwrap().moved);
}

#[test]
fn fields_that_the_way_asks_for_are_told_with_what_they_may_be() {
    let check = |more: Json, words: &str| {
        let error = go(&outside(open(), Some(ways())), more).unwrap_err();
        assert_eq!((error.problem.kind.as_str(), error.reaction), (FIELDS_MISSING, Reaction::Permanent));
        assert!(error.problem.detail.contains(words), "{error}");
        assert!(error.problem.detail.contains("one of Fertig, Nicht gemacht"), "{error}");
    };
    check(json!({ "statusCategory": "done" }), "`resolution` (Lösung)");
    check(json!({ "statusCategory": "done", "resolution": "Maybe" }), "no resolution `Maybe`");
}

#[test]
fn an_issue_without_such_a_way_says_which_there_are() {
    let error = go(&outside(open(), Some(json!({ "transitions": [] }))), json!({ "status": "Gone" })).unwrap_err();
    assert_eq!((error.problem.kind.as_str(), error.problem.status), (NO_TRANSITION, 409));
    assert!(
        error.problem.detail.contains("is in `Offen`") && error.problem.detail.contains("there are: none"),
        "{error}"
    );
    let error = go(&outside(open(), Some(ways())), json!({ "transition": "99" })).unwrap_err();
    assert!(error.problem.detail.contains("31 `Schließen` to `Erledigt` (done)"), "{error}");
}

#[test]
fn where_to_is_said_exactly_once() {
    let nothing = Outside::new();
    for goal in [json!({}), json!({ "statusCategory": "done", "status": "x" })] {
        assert_eq!(go(&nothing, goal).unwrap_err().problem.status, 400);
    }
}

#[test]
fn an_issue_that_was_moved_in_between_is_looked_at_again() {
    let outside = outside(open(), Some(ways()));
    outside.expect("POST", PATH, Reply::status(409));
    assert!(go(&outside, json!({ "transition": "11" })).unwrap_err().is_transient());
}
