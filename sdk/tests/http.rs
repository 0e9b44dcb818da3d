//! Requests as they reach the host, and responses as actions meet them.
#![expect(clippy::unwrap_used, reason = "a helper of a test that panics fails the test")]

use std::time::Duration;

use orchestrator_sdk::http::{self, SendErrorKind};
use orchestrator_sdk::testing::{Moved, Outside, Reply, Target};
use orchestrator_sdk::{Error, Json, Reaction, json, standard};

const AGAIN: Reaction = Reaction::Transient { retry_after: None };

fn after(seconds: u64) -> Reaction {
    Reaction::Transient { retry_after: Some(Duration::from_secs(seconds)) }
}

#[test]
fn a_request_reaches_the_host_as_it_was_built() {
    let outside = Outside::new();
    outside.expect("PATCH", Target::any(), Reply::status(204));
    let ctx = outside.context();
    http::patch("jira", "/issue/OPS-7")
        .query("fields", "a,b c")
        .query("n", 3)
        .header("X-One", 1)
        .idempotency_key(&ctx)
        .timeout(Duration::from_millis(1500))
        .json(&json!({"x": 1}))
        .send()
        .unwrap();
    let sent = &outside.requests()[0];
    assert_eq!((sent.connection.as_str(), sent.method.as_str()), ("jira", "PATCH"));
    assert_eq!(sent.target, "/issue/OPS-7?fields=a%2Cb%20c&n=3");
    assert_eq!(sent.header("idempotency-key"), Some("key-1"));
    assert_eq!(sent.header("content-type"), Some("application/json"));
    assert_eq!((sent.header("x-one"), sent.json()), (Some("1"), json!({"x": 1})));
    assert_eq!(sent.timeout, Some(Duration::from_millis(1500)));
}

#[test]
fn a_body_that_is_no_json_is_told_before_anything_is_sent() {
    let outside = Outside::new();
    let odd = std::collections::BTreeMap::from([((1, 2), 3)]);
    let error = http::post("jira", "/issue").json(&odd).send().unwrap_err();
    assert!(matches!(error.kind(), SendErrorKind::InvalidRequest(_)));
    assert_eq!(Error::from(error).reaction, Reaction::Permanent);
    assert!(outside.requests().is_empty());
}

/// Which error a status becomes.
fn check_status(method: &str, reply: Reply, reaction: Reaction, kind: &str) -> Error {
    let outside = Outside::new();
    outside.expect(method, "/x", reply);
    let response = http::request(method, "backend", "/x").send().unwrap();
    let error = response.error_for_status().unwrap_err();
    assert_eq!((error.reaction, error.problem.kind.as_str()), (reaction, kind), "{method} {error}");
    error
}

#[test]
fn an_unsuccessful_status_becomes_an_error_only_when_it_is_asked() {
    let outside = Outside::new();
    outside.expect("GET", "/x", Reply::json(404, json!({"message": "gone"})));
    let response = http::get("backend", "/x").send().unwrap();
    assert_eq!((response.status(), response.is_success()), (404, false));
    assert_eq!(response.parse::<Json>().unwrap()["message"], "gone");
    assert_eq!(response.json::<Json>().unwrap_err().problem.status, 404);
}

#[test]
fn statuses_are_sorted_by_what_the_engine_does_next() {
    for status in [408, 425, 429, 500, 502, 503, 504] {
        check_status("GET", Reply::status(status), AGAIN, standard::COMMUNICATION);
        check_status("DELETE", Reply::status(status).header("Retry-After", "9"), after(9), standard::COMMUNICATION);
    }
    for status in [300, 400, 404, 409, 422] {
        check_status("GET", Reply::status(status), Reaction::Permanent, standard::COMMUNICATION);
        check_status("POST", Reply::status(status), Reaction::Permanent, standard::COMMUNICATION);
    }
    // A date is allowed too (RFC 9110), but a guest has no clock to tell how far away it is.
    let date = Reply::status(503).header("Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT");
    check_status("GET", date, AGAIN, standard::COMMUNICATION);
}

#[test]
fn a_post_that_may_have_taken_effect_is_unknown() {
    for status in [408, 500, 502, 504] {
        check_status("POST", Reply::status(status), Reaction::Unknown, standard::COMMUNICATION);
        check_status("PATCH", Reply::status(status), Reaction::Unknown, standard::COMMUNICATION);
    }
    for status in [425, 429, 503] {
        check_status("POST", Reply::status(status).header("retry-after", " 3 "), after(3), standard::COMMUNICATION);
    }
}

#[test]
fn a_refused_login_names_the_connection_to_check() {
    for (status, kind) in [(401, standard::AUTHENTICATION), (403, standard::AUTHORIZATION)] {
        let error = check_status("GET", Reply::bytes(status, "no"), Reaction::Permanent, kind);
        assert_eq!(error.problem.status, status);
        assert!(error.problem.detail.contains("connection granted as `backend`"), "{error}");
    }
}

#[test]
fn a_status_outside_of_problems_is_brought_into_their_range() {
    let error = check_status("GET", Reply::status(304), Reaction::Permanent, standard::COMMUNICATION);
    assert_eq!(error.problem.status, 400);
    assert!(error.problem.detail.contains("answered 304: no body"), "{error}");
}

#[test]
fn a_long_body_is_cut_in_the_message() {
    let page = "ü".repeat(600);
    let error = check_status("GET", Reply::bytes(404, page), Reaction::Permanent, standard::COMMUNICATION);
    assert!(error.problem.detail.ends_with(&format!("{}…", "ü".repeat(500))), "{error}");
}

#[test]
fn no_response_is_sorted_by_whether_something_was_sent() {
    type Failure = (fn() -> Reply, Reaction, Reaction, u16);
    let failures: [Failure; 4] = [
        (Reply::unavailable, AGAIN, AGAIN, 503),
        (Reply::timeout, AGAIN, Reaction::Unknown, 504),
        (Reply::interrupted, AGAIN, Reaction::Unknown, 502),
        (Reply::denied, Reaction::Permanent, Reaction::Permanent, 403),
    ];
    for (reply, of_get, of_post, status) in failures {
        for (method, reaction) in [("GET", of_get), ("PUT", of_get), ("POST", of_post), ("PATCH", of_post)] {
            let outside = Outside::new();
            outside.expect(method, "/x", reply());
            let error = Error::from(http::request(method, "backend", "/x").send().unwrap_err());
            assert_eq!((error.reaction, error.problem.status), (reaction, status), "{method} {error}");
            assert!(error.problem.detail.starts_with(&format!("{method} /x of connection `backend`: ")), "{error}");
        }
    }
}

#[test]
fn an_unreadable_answer_to_a_post_is_unknown_and_to_a_get_permanent() {
    for (method, reaction) in [("GET", Reaction::Permanent), ("POST", Reaction::Unknown)] {
        let outside = Outside::new();
        outside.expect(method, "/x", Reply::bytes(200, "<html>"));
        let error = http::request(method, "backend", "/x").fetch::<Json>().unwrap_err();
        assert_eq!((error.reaction, error.problem.status), (reaction, 502));
        assert!(error.problem.detail.contains("<html>"), "{error}");
    }
}

#[test]
fn a_transfer_whose_source_refuses_gives_the_sources_response() {
    let outside = Outside::new();
    outside.expect_transfer_refused("/from", "/to", Reply::status(404));
    let exchange = http::transfer(http::get("a", "/from"), http::post("b", "/to")).unwrap();
    let outcome = exchange.finish().unwrap();
    assert_eq!(outcome.transferred, None);
    let error = outcome.response.error();
    assert!(error.problem.detail.starts_with("GET /from of connection `a` answered 404"), "{error}");
}

#[test]
fn exchanges_run_side_by_side() {
    let outside = Outside::new();
    let moved =
        Moved { source_status: 206, source_headers: vec![("ETag".into(), "x".into())], bytes: 9, sha256: "s".into() };
    outside.expect("GET", "/1", Reply::status(200));
    outside.expect_transfer("/2", "/3", moved, Reply::status(201));
    let mut running = vec![
        http::start(http::get("a", "/1")).unwrap(),
        http::transfer(http::get("a", "/2"), http::put("b", "/3")).unwrap(),
    ];
    let mut statuses = Vec::new();
    while let Some(index) = http::wait_any(&running) {
        let outcome = running.swap_remove(index).finish().unwrap();
        statuses
            .push((outcome.response.status(), outcome.transferred.map(|t| t.source_header("etag").map(str::to_owned))));
    }
    statuses.sort();
    assert_eq!(statuses, [(200, None), (201, Some(Some("x".to_owned())))]);
}

#[test]
#[should_panic(expected = "never made: GET /y, transfer /a* -> /b")]
fn what_was_expected_and_never_asked_fails_the_test() {
    let outside = Outside::new();
    outside.expect("GET", "/y", Reply::status(200));
    let moved = Moved { source_status: 200, source_headers: vec![], bytes: 0, sha256: String::new() };
    outside.expect_transfer(Target::starting_with("/a"), "/b", moved, Reply::status(200));
}

#[test]
#[should_panic(expected = "GET /z was not expected, but POST /y")]
fn what_was_not_expected_fails_the_test() {
    let outside = Outside::new();
    outside.expect("POST", "/y", Reply::status(200));
    let _ = http::get("backend", "/z").send();
}

#[test]
fn a_function_answers_what_is_not_queued() {
    let outside = Outside::new();
    outside.expect("GET", "/first", Reply::status(201));
    outside.answer_with(|sent| Reply::json(200, json!({"asked": sent.target})));
    assert_eq!(http::get("backend", "/first").send().unwrap().status(), 201);
    assert_eq!(http::get("backend", "/then").fetch::<Json>().unwrap()["asked"], "/then");
    assert_eq!(outside.requests().len(), 2);
}
