//! Each case: what Jira answers, and what the action makes of it.

use orchestrator_sdk::Json;
use orchestrator_sdk::testing::{Outside, Reply};

use super::*;

fn check(links: Json, created: bool) {
    let outside = Outside::new();
    let issue = json!({ "id": "1", "key": "A-1", "fields": { "issuelinks": links } });
    outside.expect("GET", "/rest/api/3/issue/A-1?fields=issuelinks", Reply::json(200, issue));
    if created {
        outside.expect("POST", "/rest/api/3/issueLink", Reply::status(201));
    }
    let input = LinkIssues { from: "A-1".into(), to: "B-2".into(), link_type: "Blocks".into(), api: Some(Api::Cloud) };
    assert_eq!(link_issues(&outside.context(), input).unwrap().created, created);
    if created {
        let ends =
            json!({ "type": { "name": "Blocks" }, "inwardIssue": { "key": "A-1" }, "outwardIssue": { "key": "B-2" } });
        assert_eq!(outside.requests()[1].json(), ends);
    }
}

#[test]
fn a_link_is_made_unless_the_same_one_is_there() {
    let link = |kind: &str, end: &str, key: &str| json!({ "type": { "name": kind }, end: { "key": key } });
    check(json!([]), true);
    check(json!([link("Blocks", "inwardIssue", "B-2"), link("Relates", "outwardIssue", "B-2")]), true);
    check(json!([link("Blocks", "outwardIssue", "B-3")]), true);
    check(json!([link("blocks", "outwardIssue", "B-2")]), false);
}

#[test]
fn an_unknown_link_type_is_told() {
    let outside = Outside::new();
    outside.expect("GET", "/rest/api/3/issue/A-1?fields=issuelinks", Reply::json(200, json!({ "fields": {} })));
    let words = json!({ "errorMessages": ["No issue link type with name 'Eats' found."], "errors": {} });
    outside.expect("POST", "/rest/api/3/issueLink", Reply::json(404, words));
    let input = LinkIssues { from: "A-1".into(), to: "B-2".into(), link_type: "Eats".into(), api: Some(Api::Cloud) };
    let error = link_issues(&outside.context(), input).unwrap_err();
    assert!(error.problem.detail.contains("'Eats'") && error.problem.status == 404, "{error}");
}
