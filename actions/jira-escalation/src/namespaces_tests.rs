//! Each case: what the cluster answers, and what the action makes of it.

use orchestrator_sdk::testing::{Outside, Reply};

use super::*;

const NAMESPACE: &str = "/api/v1/namespaces/team";
const PROJECT: &str = "/apis/project.openshift.io/v1/projects/team";

fn namespace(labels: Json, phase: &str) -> Json {
    json!({ "metadata": { "name": "team", "uid": "u-1", "labels": labels }, "status": { "phase": phase } })
}

fn own() -> Json {
    json!({ "orchestrator/request-key": "key-1" })
}

fn fault(code: u16, reason: &str, message: &str) -> Reply {
    Reply::json(
        code,
        json!({ "kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code }),
    )
}

fn taken() -> Reply {
    fault(409, "AlreadyExists", "namespaces \"team\" already exists")
}

fn create(outside: &Outside, more: Json) -> Result<Namespace, Error> {
    let mut input = json!({ "name": "team" });
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    create_namespace(&outside.context(), serde_json::from_value(input).unwrap())
}

#[test]
fn a_namespace_is_made_with_its_key() {
    let outside = Outside::new();
    outside.expect("POST", "/api/v1/namespaces", Reply::json(201, namespace(own(), "Active")));
    let more =
        json!({ "labels": { "team": "a" }, "annotations": { "x/y": "z" }, "description": "why", "displayName": null });
    let made = create(&outside, more).unwrap();
    assert_eq!((made.phase.as_str(), made.created, made.uid.as_deref()), ("Active", Some(true), Some("u-1")));
    let expected = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": "team", "labels": { "orchestrator/request-key": "key-1", "team": "a" },
        "annotations": { "openshift.io/description": "why", "x/y": "z" },
    }});
    assert_eq!(outside.requests()[0].json(), expected);
}

#[test]
fn a_project_is_requested_with_its_key_in_the_description() {
    let outside = Outside::new();
    let project = json!({ "metadata": { "name": "team" }, "status": {} });
    outside.expect("POST", "/apis/project.openshift.io/v1/projectrequests", Reply::json(201, project));
    let made = create(&outside, json!({ "kind": "project", "description": "why", "requestKey": "i-7" })).unwrap();
    assert_eq!((made.kind, made.phase.as_str()), (Kind::Project, "Pending"));
    let sent = outside.requests()[0].json();
    assert_eq!((&sent["kind"], &sent["description"]), (&json!("ProjectRequest"), &json!("why [orchestrator:i-7]")));
}

#[test]
fn a_name_in_use_is_ours_somebody_elses_or_on_its_way_out() {
    let check = |there: Reply, expected: Result<bool, (u16, &str)>| {
        let outside = Outside::new();
        outside.expect("POST", "/api/v1/namespaces", taken());
        outside.expect("GET", NAMESPACE, there);
        let found = create(&outside, json!({})).map(|found| found.created.unwrap());
        match (found, expected) {
            (Ok(created), Ok(expected)) => assert_eq!(created, expected),
            (Err(error), Err((status, kind))) => {
                assert_eq!(error.problem.status, status, "{error}");
                assert!(error.problem.kind.ends_with(kind), "{}", error.problem.kind);
            }
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    };
    check(Reply::json(200, namespace(own(), "Active")), Ok(false));
    check(Reply::json(200, namespace(json!({}), "Active")), Err((409, "namespace-taken")));
    let other = json!({ "orchestrator/request-key": "key-2" });
    check(Reply::json(200, namespace(other, "Active")), Err((409, "namespace-taken")));
    check(Reply::json(200, namespace(own(), "Terminating")), Err((409, "communication")));
    check(fault(404, "NotFound", "not found"), Err((503, "communication")));
}

#[test]
fn a_project_of_ours_is_known_by_its_description() {
    let outside = Outside::new();
    outside.expect("POST", "/apis/project.openshift.io/v1/projectrequests", fault(409, "AlreadyExists", "exists"));
    let annotations = json!({ "openshift.io/description": "why [orchestrator:key-1]" });
    let project =
        json!({ "metadata": { "name": "team", "annotations": annotations }, "status": { "phase": "Active" } });
    outside.expect("GET", PROJECT, Reply::json(200, project));
    assert_eq!(create(&outside, json!({ "kind": "project" })).unwrap().created, Some(false));
}

#[test]
fn each_refusal_says_what_to_do() {
    let check = |reply: Reply, status: u16, kind: &str, words: &str| {
        let outside = Outside::new();
        outside.expect("POST", "/api/v1/namespaces", reply);
        let error = create(&outside, json!({})).unwrap_err();
        assert_eq!(error.problem.status, status, "{error}");
        assert!(error.problem.kind.ends_with(kind), "{}", error.problem.kind);
        assert!(error.problem.detail.contains(words), "{words}: {error}");
    };
    check(fault(401, "Unauthorized", "Unauthorized"), 401, "authentication", "has expired");
    check(fault(403, "Forbidden", "cannot create resource"), 403, "authorization", "service account");
    check(fault(403, "Forbidden", "exceeded quota: namespaces"), 403, "authorization", "raise the quota");
    check(fault(422, "Invalid", "Invalid value: \"Team\""), 422, "validation", "Invalid value");
    check(fault(500, "InternalError", "etcd"), 500, "communication", "busy or away");
    check(Reply::timeout(), 504, "communication", "no response");
    check(Reply::bytes(503, "<html>"), 503, "communication", "no reason");
}

#[test]
fn what_is_not_there_is_an_answer_where_that_is_wanted() {
    let check = |kind: &str, path: &str, reply: Reply, allow: bool, expected: Result<&str, u16>| {
        let outside = Outside::new();
        outside.expect("GET", path, reply);
        let input = json!({ "name": "team", "kind": kind, "allowMissing": allow });
        let found = get_namespace(&outside.context(), serde_json::from_value(input).unwrap());
        let found = found.as_ref().map(|found| found.phase.as_str()).map_err(|error| error.problem.status);
        assert_eq!(found, expected);
    };
    let gone = || fault(404, "NotFound", "namespaces \"team\" not found");
    let hidden = || fault(403, "Forbidden", "projects \"team\" is forbidden");
    check("namespace", NAMESPACE, gone(), false, Err(404));
    check("namespace", NAMESPACE, gone(), true, Ok("Deleted"));
    check("namespace", NAMESPACE, hidden(), true, Err(403));
    check("project", PROJECT, hidden(), true, Ok("Deleted"));
    check("project", PROJECT, hidden(), false, Err(403));
    check("namespace", NAMESPACE, Reply::json(200, namespace(own(), "Terminating")), false, Ok("Terminating"));
}

fn delete(outside: &Outside) -> Namespace {
    delete_namespace(&outside.context(), DeleteNamespace { name: "team".into(), ..Default::default() }).unwrap()
}

#[test]
fn only_what_carries_the_key_is_deleted_and_only_that_very_one() {
    let outside = Outside::new();
    outside.expect("GET", NAMESPACE, Reply::json(200, namespace(own(), "Active")));
    outside.expect("DELETE", NAMESPACE, Reply::json(200, namespace(own(), "Terminating")));
    assert_eq!(delete(&outside).phase, "Terminating");
    assert_eq!(outside.requests()[1].json()["preconditions"], json!({ "uid": "u-1" }));

    let outside = Outside::new();
    outside.expect("GET", NAMESPACE, Reply::json(200, namespace(json!({}), "Active")));
    assert_eq!(delete(&outside).foreign, Some(true));

    for (there, phase) in [
        (Reply::json(200, namespace(own(), "Terminating")), "Terminating"),
        (fault(404, "NotFound", "not found"), "Deleted"),
    ] {
        let outside = Outside::new();
        outside.expect("GET", NAMESPACE, there);
        assert_eq!(delete(&outside).phase, phase);
    }
    for (reply, phase) in [(fault(404, "NotFound", ""), "Deleted"), (fault(409, "Conflict", ""), "Terminating")] {
        let outside = Outside::new();
        outside.expect("GET", NAMESPACE, Reply::json(200, namespace(own(), "Active")));
        outside.expect("DELETE", NAMESPACE, reply);
        assert_eq!(delete(&outside).phase, phase);
    }
}
