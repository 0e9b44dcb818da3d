//! Wrong requests: each gets the right problem document.

use super::*;

const JSON: (&str, &str) = ("content-type", "application/json");
const ARCHIVE: (&str, &str) = ("content-type", "application/zstd");
const NOBODY: &str = "/v1/instances/0199c1f0-0000-7000-8000-000000000000";

#[tokio::test]
async fn each_wrong_request_gets_its_problem() {
    let server = Server::new().await;
    let large = "x".repeat((1 << 20) + 1);
    let nested = format!("{{\"input\":{}}}", "[".repeat(10_000));
    let long_key = "k".repeat(256);
    type Case<'a> = (&'a str, String, &'a [(&'a str, &'a str)], &'a str, &'a str);
    let under = |path: &str| format!("{NOBODY}{path}");
    let at = |path: &str| path.to_owned();
    let cases: &[Case<'_>] = &[
        ("GET", at("/v3"), &[], "", "unknown-route"),
        ("GET", at("/v2/packs"), &[], "", "unknown-route"),
        ("GET", at("/v1/packs/"), &[], "", "unknown-route"),
        ("DELETE", at("/v1/packs"), &[], "", "method-not-allowed"),
        ("GET", at(NOBODY), &[], "", "unknown-instance"),
        ("GET", at(NOBODY), &[("host", "evil.example")], "", "misdirected-request"),
        ("GET", at(NOBODY), &[("origin", "https://evil.example")], "", "cross-origin"),
        ("POST", under("/cancel"), &[], "", "unknown-instance"),
        ("DELETE", at(NOBODY), &[], "", "unknown-instance"),
        ("GET", under("/tasks"), &[], "", "unknown-instance"),
        ("GET", under("/history"), &[], "", "unknown-instance"),
        ("GET", under("/logs"), &[], "", "unknown-instance"),
        ("GET", under("/events"), &[], "", "unknown-instance"),
        ("GET", under("/events"), &[("last-event-id", "x")], "", "invalid-parameter"),
        ("GET", under("/history?limit=0"), &[], "", "invalid-parameter"),
        ("GET", under("/history?after=-1"), &[], "", "invalid-parameter"),
        ("GET", under("?wait=301"), &[], "", "invalid-parameter"),
        ("GET", under("?wiat=3"), &[], "", "invalid-parameter"),
        ("GET", at("/v1/instances/17"), &[], "", "invalid-parameter"),
        ("GET", at("/v1/instances?status=done"), &[], "", "invalid-parameter"),
        ("GET", at("/v1/instances?limit=201"), &[], "", "invalid-parameter"),
        ("GET", at("/v1/instances?cursor=zz"), &[], "", "invalid-parameter"),
        ("GET", at("/v1/packs/a%20b"), &[], "", "invalid-parameter"),
        ("GET", at("/v1/packs/a%ff"), &[], "", "invalid-parameter"),
        ("GET", at("/v1/packs/a/one"), &[], "", "invalid-parameter"),
        ("GET", at("/v1/packs/a"), &[], "", "unknown-pack"),
        ("GET", at("/v1/packs/a/1.0.0"), &[], "", "unknown-pack"),
        ("DELETE", at("/v1/packs/a/1.0.0"), &[], "", "unknown-pack"),
        ("DELETE", at("/v1/packs/a/1.0.0?force=perhaps"), &[], "", "invalid-parameter"),
        ("GET", at("/v1/packs/a/grants"), &[], "", "unknown-pack"),
        ("PUT", at("/v1/packs/a/grants"), &[JSON], "{}", "unknown-pack"),
        ("PUT", at("/v1/packs/a/grants"), &[JSON], "{\"hosts\":[1]}", "invalid-body"),
        ("GET", at("/v1/services/a%20b"), &[], "", "unknown-service"),
        ("GET", at("/v1/workflows/a/b"), &[], "", "unknown-pack"),
        ("GET", at("/v1/connections/a"), &[], "", "unknown-connection"),
        ("DELETE", at("/v1/connections/a"), &[], "", "unknown-connection"),
        ("PUT", at("/v1/connections/a"), &[JSON], "{}", "invalid-body"),
        ("PUT", at("/v1/connections/a"), &[JSON], "{\"baseUrl\":\"ftp://a\"}", "invalid-body"),
        ("PUT", at("/v1/connections/a_b"), &[JSON], "{}", "invalid-parameter"),
        ("DELETE", at("/v1/secrets/a"), &[], "", "unknown-secret"),
        ("PUT", at("/v1/secrets/a"), &[JSON], "{\"value\":1}", "invalid-body"),
        ("POST", at("/v1/packs"), &[], "x", "unsupported-media-type"),
        ("POST", at("/v1/packs"), &[("content-type", "text/plain")], "x", "unsupported-media-type"),
        ("POST", at("/v1/packs"), &[ARCHIVE], "no archive", "invalid-pack"),
        ("POST", at("/v1/packs"), &[ARCHIVE], "", "invalid-pack"),
        ("POST", at("/v1/instances"), &[], "{}", "unsupported-media-type"),
        ("POST", at("/v1/instances"), &[("content-type", "text/plain")], "{}", "unsupported-media-type"),
        ("POST", at("/v1/instances"), &[JSON], "", "malformed-json"),
        ("POST", at("/v1/instances"), &[JSON], "{\"input\":", "malformed-json"),
        ("POST", at("/v1/instances"), &[JSON], "{} {}", "malformed-json"),
        ("POST", at("/v1/instances"), &[JSON], &nested, "malformed-json"),
        ("POST", at("/v1/instances"), &[JSON], "[]", "invalid-body"),
        ("POST", at("/v1/instances"), &[JSON], "{}", "invalid-body"),
        ("POST", at("/v1/instances"), &[JSON], "{\"serivce\":\"a\"}", "invalid-body"),
        ("POST", at("/v1/instances"), &[JSON], "{\"service\":\"a\",\"pack\":\"a\"}", "invalid-body"),
        ("POST", at("/v1/instances"), &[JSON], "{\"service\":\"a\",\"version\":\"1.0.0\"}", "invalid-body"),
        ("POST", at("/v1/instances"), &[JSON], "{\"service\":\" a\"}", "invalid-body"),
        ("POST", at("/v1/instances"), &[JSON], "{\"service\":\"a\",\"name\":\"\"}", "invalid-body"),
        ("POST", at("/v1/instances"), &[JSON], "{\"service\":\"a\"}", "unknown-service"),
        ("POST", at("/v1/instances"), &[JSON], "{\"pack\":\"a\",\"workflow\":\"b\"}", "unknown-pack"),
        ("POST", at("/v1/instances"), &[JSON], "{\"pack\":\"test\",\"workflow\":\"echo\"}", "invalid-input"),
        ("POST", at("/v1/instances"), &[JSON], &large, "body-too-large"),
        ("POST", at("/v1/instances?wait=x"), &[JSON], "{}", "invalid-parameter"),
        ("POST", at("/v1/instances"), &[JSON, ("idempotency-key", "a b")], "{}", "invalid-parameter"),
        ("POST", at("/v1/instances"), &[JSON, ("idempotency-key", &long_key)], "{}", "invalid-parameter"),
    ];
    for (method, path, headers, body, problem) in cases {
        let mut request = request(method, path, &[], body.to_string());
        for (name, value) in *headers {
            request.headers_mut().insert(axum::http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        let answer = Answer::read(server.send(request).await).await;
        assert_eq!(answer.problem(), *problem, "{method} {path} {} {}", &body[..body.len().min(60)], answer.json());
    }
    assert_eq!(server.rooms.coordinator.counters().started, 0);
    assert_eq!(server.get("/v1/connections").await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_problem_says_where_and_what_to_do() {
    let server = Server::new().await;
    let answer = server.post("/v1/instances", json!({ "pack": "test", "workflow": "echo", "input": {} })).await;
    let document = answer.json();
    assert_eq!(document["errors"][0]["pointer"], "/input");
    assert_eq!(document["instance"], "/v1/instances");
    let answer = server.put("/v1/connections/a", json!({ "baseUrl": "http://a", "timeoutMs": "1s" })).await;
    assert_eq!(answer.json()["errors"][0]["pointer"], "/timeoutMs");
    let header = json!({ "scheme": "header", "name": "a b", "value": "token" });
    let answer = server.put("/v1/connections/a", json!({ "baseUrl": "http://a", "authentication": header })).await;
    assert_eq!(answer.json()["errors"][0]["pointer"], "/authentication/name", "a member of a member has a pointer too");
    let answer = server.ask("PATCH", "/v1/packs", &[], "").await;
    assert_eq!(
        (answer.problem().as_str(), &answer.headers["allow"]),
        ("method-not-allowed", &"GET,HEAD,POST".parse().unwrap())
    );
}

#[tokio::test]
async fn an_announced_length_above_the_limit_is_refused_before_it_is_read() {
    let server = Server::new().await;
    let large = vec![0_u8; (128 << 20) + 1];
    let answer = server.ask("POST", "/v1/packs", &[ARCHIVE], large).await;
    assert_eq!(answer.problem(), "body-too-large");
}

#[tokio::test]
async fn a_server_that_stops_takes_no_more_health_checks() {
    let server = Server::new().await;
    assert_eq!(server.get("/v1/health").await.json()["status"], "ok");
    server.rooms.stopping.cancel();
    let answer = server.get("/v1/health").await;
    assert_eq!((answer.problem().as_str(), answer.headers["retry-after"].to_str().unwrap()), ("stopping", "5"));
}
