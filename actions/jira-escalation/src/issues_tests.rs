//! Each case: what Jira answers, and what the action makes of it.

use orchestrator_sdk::Reaction;
use orchestrator_sdk::testing::{Call, Outside, Reply, Target};

use super::*;

const SEARCH: &str = "/rest/api/3/search/jql?";

fn cloud(outside: &Outside) {
    let info = json!({ "baseUrl": "https://jira.example/", "deploymentType": "Cloud" });
    outside.expect("GET", "/rest/api/2/serverInfo", Reply::json(200, info));
}

fn server(outside: &Outside) {
    let info = json!({ "baseUrl": "https://jira.example/jira", "version": "9.12.0" });
    outside.expect("GET", "/rest/api/2/serverInfo", Reply::json(200, info));
}

fn input(more: Json) -> CreateIssue {
    let mut input = json!({ "project": "OPS", "issueType": "Task", "summary": "a namespace" });
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(input).unwrap()
}

fn nothing() -> Reply {
    Reply::json(200, json!({ "issues": [], "isLast": true }))
}

fn issue(label: &str) -> Json {
    json!({ "id": "10001", "key": "OPS-1", "fields": { "labels": [label] } })
}

#[test]
fn a_new_issue_on_cloud_has_a_document_accounts_and_the_key() {
    let outside = Outside::new();
    cloud(&outside);
    outside.expect("GET", Target::starting_with(SEARCH), nothing());
    outside.expect(
        "POST",
        "/rest/api/3/issue",
        Reply::json(201, json!({ "id": "10001", "key": "OPS-1", "self": "x" })),
    );
    let more =
        json!({ "description": "why", "assignee": "acc-1", "priority": "2", "labels": ["a"], "requestKey": "i-7" });

    let opened = create_issue(&outside.context(), input(more)).unwrap();

    assert_eq!((opened.key.as_str(), opened.created, opened.api), ("OPS-1", true, Api::Cloud));
    assert_eq!(opened.browse_url, "https://jira.example/browse/OPS-1");
    let requests = outside.requests();
    assert!(requests[1].target.contains("labels%20%3D%20%22orchestrator-key%3Di-7%22"), "{}", requests[1].target);
    let fields = &requests[2].json()["fields"];
    assert_eq!(fields["description"]["type"], "doc");
    assert_eq!((&fields["assignee"], &fields["priority"]), (&json!({ "accountId": "acc-1" }), &json!({ "id": "2" })));
    assert_eq!(
        (&fields["issuetype"], &fields["labels"]),
        (&json!({ "name": "Task" }), &json!(["a", "orchestrator-key=i-7"]))
    );
}

#[test]
fn a_new_issue_on_a_server_has_text_and_names_and_nothing_that_is_absent() {
    let outside = Outside::new();
    server(&outside);
    let search = Target::starting_with("/rest/api/2/search?jql=");
    outside.expect("GET", search, Reply::json(200, json!({ "startAt": 0, "total": 0, "issues": [] })));
    outside.expect("POST", "/rest/api/2/issue", Reply::json(201, json!({ "id": "1", "key": "OPS-1" })));

    let more = json!({ "description": "why", "assignee": "ann", "issueType": "10002", "priority": null });
    let opened = create_issue(&outside.context(), input(more)).unwrap();

    assert_eq!(opened.browse_url, "https://jira.example/jira/browse/OPS-1");
    let expected = json!({ "fields": {
        "project": { "key": "OPS" }, "issuetype": { "id": "10002" }, "summary": "a namespace",
        "labels": ["orchestrator-key=key-1"], "description": "why", "assignee": { "name": "ann" },
    }});
    assert_eq!(outside.requests()[2].json(), expected);
}

#[test]
fn a_repeat_finds_the_issue_whose_answer_was_lost_and_no_other_with_a_similar_label() {
    let outside = Outside::new();
    cloud(&outside);
    let mut other = issue("ORCHESTRATOR-KEY=key-1");
    other["key"] = json!("OPS-0");
    let found = json!({ "issues": [other, issue("orchestrator-key=key-1"), issue("orchestrator-key=key-1")] });
    outside.expect("GET", Target::starting_with(SEARCH), Reply::json(200, found));

    let opened = create_issue(&outside.context(), input(json!({}))).unwrap();

    assert_eq!((opened.key.as_str(), opened.created), ("OPS-1", false));
    assert!(outside.logs().iter().any(|(_, line)| line.contains("2 issues carry the request key")));
}

#[test]
fn after_a_crash_nothing_is_posted_while_the_search_may_be_behind() {
    let outside = Outside::new();
    cloud(&outside);
    outside.expect("GET", Target::starting_with(SEARCH), nothing());
    let ctx = Call { attempt: 2, checkpoint: Some(json!({ "key": "key-1" })), ..Call::default() }.context();

    let error = create_issue(&ctx, input(json!({}))).unwrap_err();

    assert_eq!((error.reaction, error.problem.kind.as_str()), (Reaction::Unknown, OUTCOME_UNKNOWN));
}

#[test]
fn what_a_failed_request_means_depends_on_whether_it_may_have_taken_effect() {
    let check = |reply: Reply, kind: &str, status: u16, words: &str| {
        let outside = Outside::new();
        cloud(&outside);
        outside.expect("GET", Target::starting_with(SEARCH), nothing());
        outside.expect("POST", "/rest/api/3/issue", reply);
        let error = create_issue(&outside.context(), input(json!({}))).unwrap_err();
        assert_eq!((error.problem.kind.as_str(), error.problem.status), (kind, status), "{error}");
        assert!(error.problem.detail.contains(words), "{words}: {error}");
        assert_eq!(outside.checkpoints(), [json!({ "key": "key-1" })]);
    };
    check(Reply::timeout(), OUTCOME_UNKNOWN, 504, "may have been opened");
    check(Reply::interrupted(), OUTCOME_UNKNOWN, 504, "may have been opened");
    check(Reply::status(503), OUTCOME_UNKNOWN, 504, "answered 503");
    check(Reply::bytes(201, "<html>"), OUTCOME_UNKNOWN, 504, "not expected");
    check(Reply::unavailable(), standard::COMMUNICATION, 503, "refused");
    check(Reply::status(429).header("Retry-After", "7"), standard::COMMUNICATION, 429, "busy");
    let wrong = json!({ "errorMessages": [], "errors": { "priority": "Specify a valid value" } });
    check(Reply::json(400, wrong), standard::VALIDATION, 400, "priority: Specify a valid value");
    check(Reply::json(401, json!({})), standard::AUTHENTICATION, 401, "granted as `jira`");
    let denied = json!({ "errorMessages": ["You do not have permission"], "errors": {} });
    check(Reply::json(403, denied), standard::AUTHORIZATION, 403, "permission in the project");
    let captcha = Reply::status(403).header("X-Authentication-Denied-Reason", "CAPTCHA_CHALLENGE; login-url=x");
    check(captcha, standard::AUTHORIZATION, 403, "captcha");
}

#[test]
fn busy_jira_is_worth_another_attempt_after_the_time_it_says() {
    let outside = Outside::new();
    let busy = Reply::status(429).header("Retry-After", "7");
    outside.expect("GET", Target::starting_with("/rest/api/2/issue/OPS-1?"), busy);
    let input = GetIssue { issue: "OPS-1".into(), browse: Some(false), api: Some(Api::Server) };
    let error = get_issue(&outside.context(), input).unwrap_err();
    assert_eq!(error.reaction, Reaction::Transient { retry_after: Some(std::time::Duration::from_secs(7)) });
}

#[test]
fn an_issue_is_told_by_category_and_resolution_whatever_its_status_is_called() {
    let outside = Outside::new();
    cloud(&outside);
    let status =
        json!({ "id": "5", "name": "Erledigt", "statusCategory": { "id": 3, "key": "done", "name": "Fertig" } });
    let fields = json!({
        "summary": "s", "labels": ["a"], "status": status, "resolution": { "id": "10000", "name": "Fertig" },
        "assignee": { "accountId": "acc", "displayName": "Ann" },
    });
    let raw = json!({ "id": "1", "key": "OPS-1", "self": "https://x", "fields": fields });
    outside.expect("GET", Target::starting_with("/rest/api/3/issue/OPS-1?fields="), Reply::json(200, raw));

    let issue = get_issue(&outside.context(), GetIssue { issue: "OPS-1".into(), ..GetIssue::default() }).unwrap();

    assert_eq!((issue.status_category.as_str(), issue.status.as_deref()), ("done", Some("Erledigt")));
    assert_eq!(issue.resolution, Some(Resolution { id: "10000".into(), name: "Fertig".into() }));
    assert_eq!(issue.browse_url.as_deref(), Some("https://jira.example/browse/OPS-1"));
    assert_eq!(issue.assignee.as_deref(), Some("acc"));
}

#[test]
fn an_issue_that_is_gone_is_said_to_be() {
    let outside = Outside::new();
    let gone =
        json!({ "errorMessages": ["Issue does not exist or you do not have permission to see it."], "errors": {} });
    outside.expect("GET", Target::starting_with("/rest/api/3/issue/A%2FB-1?"), Reply::json(404, gone));
    let input = GetIssue { issue: "A/B-1".into(), browse: Some(false), api: Some(Api::Cloud) };
    let error = get_issue(&outside.context(), input).unwrap_err();
    assert_eq!((error.reaction, error.problem.status), (Reaction::Permanent, 404));
    assert!(error.problem.detail.contains("does not exist"), "{error}");
}

#[test]
fn an_issue_is_assigned_by_account_or_by_name_or_to_nobody() {
    let check = |api: Api, assignee: Option<&str>, body: Json| {
        let outside = Outside::new();
        let path =
            if api == Api::Cloud { "/rest/api/3/issue/OPS-1/assignee" } else { "/rest/api/2/issue/OPS-1/assignee" };
        outside.expect("PUT", path, Reply::status(204));
        let assignee = assignee.map(str::to_owned);
        let input = AssignIssue { issue: "OPS-1".into(), assignee: assignee.clone(), api: Some(api) };
        assert_eq!(assign_issue(&outside.context(), input).unwrap().assignee, assignee);
        assert_eq!(outside.requests()[0].json(), body);
    };
    check(Api::Cloud, Some("acc"), json!({ "accountId": "acc" }));
    check(Api::Server, Some("ann"), json!({ "name": "ann" }));
    check(Api::Cloud, None, json!({ "accountId": null }));
    check(Api::Server, None, json!({ "name": null }));
}

#[test]
fn a_search_reads_pages_by_token_or_by_offset_and_falls_back() {
    let page = |keys: &[&str], more: Json| {
        let issues: Vec<Json> = keys.iter().map(|key| json!({ "id": "1", "key": key, "fields": {} })).collect();
        let mut page = json!({ "issues": issues });
        page.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Reply::json(200, page)
    };
    let find = |outside: &Outside, limit| {
        let input = search::FindIssues { jql: "project = A".into(), limit: Some(limit), api: None };
        let found = search::find_issues(&outside.context(), input).unwrap();
        (found.issues.into_iter().map(|issue| issue.key).collect::<Vec<_>>(), found.more)
    };

    let outside = Outside::new();
    cloud(&outside);
    outside.expect("GET", Target::starting_with(SEARCH), page(&["A-1"], json!({ "nextPageToken": "t" })));
    outside.expect("GET", Target::starting_with(SEARCH), page(&["A-2"], json!({ "isLast": true })));
    assert_eq!(find(&outside, 9), (vec!["A-1".into(), "A-2".into()], false));
    assert!(outside.requests()[2].target.contains("nextPageToken=t"));

    let outside = Outside::new();
    server(&outside);
    outside.expect("GET", Target::starting_with("/rest/api/2/search?"), page(&["A-1"], json!({ "total": 3 })));
    outside.expect("GET", Target::starting_with("/rest/api/2/search?"), page(&["A-2"], json!({ "total": 3 })));
    assert_eq!(find(&outside, 2), (vec!["A-1".into(), "A-2".into()], true));
    assert!(outside.requests()[2].target.contains("startAt=1"));

    let outside = Outside::new();
    cloud(&outside);
    outside.expect("GET", Target::starting_with(SEARCH), Reply::status(404));
    outside.expect("GET", Target::starting_with("/rest/api/3/search?"), page(&["A-1"], json!({ "total": 1 })));
    assert_eq!(find(&outside, 9), (vec!["A-1".into()], false));
}

#[test]
fn a_text_in_a_query_cannot_end_its_quotes() {
    assert_eq!(search::quoted(r#"a" OR "b\"#), r#""a\" OR \"b\\""#);
}
