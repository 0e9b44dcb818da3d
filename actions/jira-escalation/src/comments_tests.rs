//! Each case: what Jira answers, and what the action makes of it.

use orchestrator_sdk::testing::{Outside, Reply, Target};
use orchestrator_sdk::{Reaction, standard};

use super::*;

fn input(api: Api) -> CommentIssue {
    CommentIssue { issue: "OPS-1".into(), body: "done".into(), request_key: Some("i-7/end".into()), api: Some(api) }
}

const CLOUD: &str = "/rest/api/3/issue/OPS-1/comment";
const SERVER: &str = "/rest/api/2/issue/OPS-1/comment";

#[test]
fn a_comment_carries_its_key_where_people_do_not_see_it() {
    let check = |api: Api, path: &str, body: Json| {
        let outside = Outside::new();
        outside.expect("GET", Target::starting_with(path), Reply::json(200, json!({ "comments": [], "total": 0 })));
        outside.expect("POST", path, Reply::json(201, json!({ "id": "9" })));
        let made = comment_issue(&outside.context(), input(api)).unwrap();
        assert_eq!(made, Commented { id: "9".into(), created: true });
        assert_eq!(outside.requests()[1].json(), body);
    };
    let property = json!({ "key": "orchestrator.key", "value": { "key": "i-7/end" } });
    check(Api::Cloud, CLOUD, json!({ "body": text::document("done"), "properties": [property] }));
    check(Api::Server, SERVER, json!({ "body": "{anchor:orchestrator-i-7/end}done" }));
}

#[test]
fn a_comment_that_is_there_is_not_written_twice_on_whatever_page_it_stands() {
    let property = |key: &str| json!([{ "key": "orchestrator.key", "value": { "key": key } }]);
    let other = json!({ "id": "1", "body": {}, "properties": property("i-7/end2") });
    let own = json!({ "id": "2", "body": {}, "properties": property("i-7/end") });
    let outside = Outside::new();
    let first = json!({ "comments": vec![other; 100], "total": 101 });
    outside.expect("GET", Target::starting_with(CLOUD), Reply::json(200, first));
    outside.expect("GET", Target::starting_with(CLOUD), Reply::json(200, json!({ "comments": [own], "total": 101 })));
    let found = comment_issue(&outside.context(), input(Api::Cloud)).unwrap();
    assert_eq!(found, Commented { id: "2".into(), created: false });
    assert!(outside.requests()[1].target.contains("startAt=100"));

    let outside = Outside::new();
    let there = json!([{ "id": "3", "body": "{anchor:orchestrator-i-7/end}done" }]);
    outside.expect("GET", Target::starting_with(SERVER), Reply::json(200, json!({ "comments": there, "total": 1 })));
    assert_eq!(comment_issue(&outside.context(), input(Api::Server)).unwrap().id, "3");
}

#[test]
fn a_comment_whose_answer_was_lost_is_unknown_and_a_refused_one_says_why() {
    let check = |reply: Reply, reaction: Reaction, kind: &str, words: &str| {
        let outside = Outside::new();
        outside.expect("GET", Target::starting_with(CLOUD), Reply::json(200, json!({ "comments": [], "total": 0 })));
        outside.expect("POST", CLOUD, reply);
        let error = comment_issue(&outside.context(), input(Api::Cloud)).unwrap_err();
        assert_eq!((error.reaction, error.problem.kind.as_str()), (reaction, kind), "{error}");
        assert!(error.problem.detail.contains(words), "{error}");
    };
    check(Reply::timeout(), Reaction::Unknown, standard::COMMUNICATION, "no response");
    check(Reply::status(500), Reaction::Unknown, standard::COMMUNICATION, "comment issue `OPS-1`");
    let wrong = json!({ "errorMessages": [], "errors": { "comment": "Comment body is not valid!" } });
    check(Reply::json(400, wrong), Reaction::Permanent, standard::VALIDATION, "not valid!");
}
