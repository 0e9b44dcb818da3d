//! What the layers do for every route: conditions, forms, selections, kept answers, compression.

use super::*;

const PATH: &str = "/v1/connections/block-storage";

fn declaration(timeout_ms: u64) -> Json {
    json!({ "baseUrl": "https://storage.example/v1", "timeoutMs": timeout_ms })
}

async fn put(server: &Server, condition: (&str, &str), timeout_ms: u64) -> Answer {
    let headers = [("content-type", "application/json"), condition];
    server.ask("PUT", PATH, &headers, declaration(timeout_ms).to_string()).await
}

fn tag(answer: &Answer) -> String {
    answer.headers["etag"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_change_happens_only_where_its_condition_holds() {
    let server = Server::new().await;
    assert_eq!(put(&server, ("if-match", "*"), 1).await.problem(), "precondition-failed");
    let made = put(&server, ("if-none-match", "*"), 1).await;
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(put(&server, ("if-none-match", "*"), 2).await.problem(), "precondition-failed");
    let first = tag(&made);
    assert_eq!(tag(&server.get(PATH).await), first);
    let second = put(&server, ("if-match", &first), 2).await;
    assert_eq!(second.status, StatusCode::OK);
    assert_ne!(tag(&second), first);
    assert_eq!(put(&server, ("if-match", &first), 3).await.problem(), "precondition-failed");
    let removed = server.ask("DELETE", PATH, &[("if-match", &first)], "").await;
    assert_eq!(removed.problem(), "precondition-failed");
    assert_eq!(server.get(PATH).await.json()["timeoutMs"], 2);
    let removed = server.ask("DELETE", PATH, &[("if-match", &tag(&second))], "").await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn of_many_changes_on_one_state_exactly_one_happens() {
    let server = Server::new().await;
    let first = tag(&put(&server, ("if-none-match", "*"), 1).await);
    let puts = (0..20).map(|number| {
        let first = first.clone();
        let server = &server;
        async move { put(server, ("if-match", &first), 100 + number).await.status }
    });
    let statuses = futures_util::future::join_all(puts).await;
    let done = statuses.iter().filter(|status| **status == StatusCode::OK).count();
    assert_eq!((done, statuses.len()), (1, 20), "{statuses:?}");
}

#[tokio::test]
async fn what_a_client_has_already_is_not_sent_again() {
    let server = Server::new().await;
    server.put(PATH, declaration(1)).await;
    for path in [PATH, "/v1/connections", "/v1/connections?fields=name"] {
        let first = tag(&server.get(path).await);
        let again = server.ask("GET", path, &[("if-none-match", &first)], "").await;
        assert_eq!((again.status, again.body.len(), tag(&again)), (StatusCode::NOT_MODIFIED, 0, first), "{path}");
        assert_eq!(server.ask("GET", path, &[("if-none-match", "\"x\"")], "").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn data_is_written_and_read_as_yaml_too() {
    let server = Server::new().await;
    let yaml = [("content-type", "application/yaml"), ("accept", "application/yaml")];
    let made = server.ask("PUT", PATH, &yaml, "baseUrl: https://storage.example/v1\ntimeoutMs: 7\n").await;
    assert_eq!(
        (made.status, &made.headers["content-type"]),
        (StatusCode::CREATED, &"application/yaml".parse().unwrap())
    );
    let shown = server.ask("GET", PATH, &yaml[1..], "").await;
    let text = String::from_utf8(shown.body.to_vec()).unwrap();
    assert!(text.contains("timeoutMs: 7"), "{text}");
    let refused = server.ask("PUT", PATH, &yaml[..1], "baseUrl: [").await;
    assert_eq!(refused.problem(), "malformed-yaml");
    let matched = server.ask("DELETE", PATH, &[("if-match", &tag(&shown))], "").await;
    assert_eq!(matched.status, StatusCode::NO_CONTENT, "the tag of one form is good for all");
}

#[tokio::test]
async fn a_form_that_a_route_does_not_have_is_refused_before_anything_is_done() {
    let server = Server::new().await;
    let html = ("accept", "text/html");
    for (method, path) in [("GET", "/v1/packs"), ("GET", "/problems/internal"), ("GET", "/v1/openapi.json")] {
        assert_eq!(server.ask(method, path, &[html], "").await.problem(), "not-acceptable", "{path}");
    }
    let refused =
        server.ask("PUT", PATH, &[html, ("content-type", "application/json")], declaration(1).to_string()).await;
    assert_eq!(refused.problem(), "not-acceptable");
    assert_eq!(server.get(PATH).await.problem(), "unknown-connection");
}

#[tokio::test]
async fn lists_in_memory_are_selected_sorted_and_paged() {
    let server = Server::new().await;
    for name in ["a", "b", "c"] {
        server.put(&format!("/v1/connections/{name}"), declaration(1)).await;
    }
    let first = server.get("/v1/connections?fields=name&sort=-name&limit=2").await.json();
    assert_eq!(first["items"], json!([{ "name": "c" }, { "name": "b" }]));
    let next = first["next"].as_str().unwrap();
    let last = server.get(&format!("/v1/connections?fields=name&sort=-name&limit=2&cursor={next}")).await.json();
    assert_eq!(last, json!({ "items": [{ "name": "a" }], "next": null }));
    assert_eq!(server.get(&format!("/v1/secrets?cursor={next}")).await.problem(), "invalid-parameter");
    assert_eq!(server.get("/v1/connections?limt=2").await.problem(), "invalid-parameter");
    assert_eq!(server.get("/v1/connections/a?fields=name").await.json(), json!({ "name": "a" }));
}

#[tokio::test]
async fn a_wrong_body_is_answered_with_every_fault() {
    let server = Server::new().await;
    let body = json!({ "baseUrl": "https://a", "timeoutMs": "1s", "responseBytesMax": true });
    let answer = server.put(PATH, body).await;
    let pointers: Vec<_> =
        answer.json()["errors"].as_array().unwrap().iter().map(|fault| fault["pointer"].clone()).collect();
    assert_eq!(pointers, ["/timeoutMs", "/responseBytesMax"]);
}

#[tokio::test]
async fn options_and_head_answer_for_every_route() {
    let server = Server::new().await;
    let options = server.ask("OPTIONS", "/v1/connections/a", &[], "").await;
    assert_eq!(options.status, StatusCode::NO_CONTENT);
    assert_eq!(options.headers["allow"], "DELETE, GET, PUT, HEAD, OPTIONS");
    assert_eq!(server.ask("OPTIONS", "/nothing", &[], "").await.problem(), "unknown-route");
    let (get, head) = (server.get("/v1/packs").await, server.ask("HEAD", "/v1/packs", &[], "").await);
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(
        (&get.headers["etag"], get.body.len().to_string().as_str()),
        (&head.headers["etag"], head.headers["content-length"].to_str().unwrap())
    );
}

#[tokio::test]
async fn a_large_answer_goes_compressed_where_that_is_accepted() {
    let server = Server::new().await;
    let answer = server.ask("GET", "/v1/openapi.json", &[("accept-encoding", "gzip")], "").await;
    assert_eq!(answer.headers["content-encoding"], "gzip");
    assert!(answer.headers.get_all("vary").iter().any(|name| name == "Accept-Encoding"));
    let known = server.ask("GET", "/v1/openapi.json", &[("if-none-match", &tag(&answer))], "").await;
    assert_eq!(known.status, StatusCode::NOT_MODIFIED);
    assert!(!server.get("/v1/openapi.json").await.headers.contains_key("content-encoding"));
}

#[tokio::test]
async fn a_request_under_a_key_is_done_once() {
    let server = Server::new().await;
    let marks = json!({ "ids": [], "read": true }).to_string();
    let path = "/v1/notifications/mark?user=user:default/ann";
    let ask = |key: &'static str, body: String| {
        let server = &server;
        async move {
            server.ask("POST", path, &[("content-type", "application/json"), ("idempotency-key", key)], body).await
        }
    };
    let first = ask("k-1", marks.clone()).await;
    assert_eq!(first.status, StatusCode::OK, "{:?}", first.body);
    assert!(!first.headers.contains_key("idempotency-replayed"));
    let again = ask("k-1", marks.clone()).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.headers["content-type"], "application/json");
    assert_eq!(ask("k-1", json!({ "ids": [], "read": false }).to_string()).await.problem(), "idempotency-key-reused");
    assert_eq!(ask("k 1", marks).await.problem(), "invalid-parameter");
    let failed = ask("k-2", "{}".into()).await.problem();
    assert_eq!(failed, "invalid-body", "what failed is not kept");
    assert_eq!(ask("k-2", json!({ "ids": [], "read": true }).to_string()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_started_instance_says_that_it_was_there() {
    let server = Server::new().await;
    let start = || {
        let body = json!({ "pack": "test", "workflow": "echo", "input": { "size": 1 } }).to_string();
        server.ask("POST", "/v1/instances", &[("content-type", "application/json"), ("idempotency-key", "i-1")], body)
    };
    assert!(!start().await.headers.contains_key("idempotency-replayed"));
    assert_eq!(start().await.headers["idempotency-replayed"], "true");
}
