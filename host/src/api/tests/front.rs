//! What stands before the routes, through the whole interface: pages of other sites, rates, request identifiers, forms,
//! compression, where what was made is.

use super::services::install_shop;
use super::*;
use crate::api::front::Origin;
use crate::api::rates::Rate;
use crate::api::serve::Peer;

const PORTAL: &str = "https://portal.example";

async fn with_portal() -> Server {
    let origins = vec![Origin::parse(PORTAL).unwrap()];
    Server::behind(Settings { origins, ..Hosts::LoopbackAnd(Vec::new()).into() }).await
}

fn listed(answer: &Answer, header: &str) -> Vec<String> {
    let values = answer.headers.get_all(header).iter().map(|value| value.to_str().unwrap());
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect()
}

#[tokio::test]
async fn a_browser_asks_beforehand_and_is_told_what_a_page_may_send() {
    let server = with_portal().await;
    let ask = [
        ("origin", PORTAL),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "authorization,if-match"),
    ];
    let told = server.ask("OPTIONS", "/v1/services/gold", &ask, "").await;
    assert_eq!((told.status, told.body.len()), (StatusCode::NO_CONTENT, 0));
    assert_eq!(told.headers["access-control-allow-origin"], PORTAL);
    for (header, name) in [
        ("access-control-allow-methods", "put"),
        ("access-control-allow-headers", "authorization"),
        ("access-control-allow-headers", "if-match"),
        ("access-control-allow-headers", "idempotency-key"),
        ("vary", "origin"),
    ] {
        assert!(listed(&told, header).contains(&name.to_owned()), "{header}: {name}");
    }
    assert!(!told.headers.contains_key("access-control-allow-credentials"), "a page gives its token itself");
    assert!(told.headers.contains_key("access-control-max-age"));
}

#[tokio::test]
async fn a_page_of_a_named_site_reads_answers_and_refusals_and_another_page_nothing() {
    let server = with_portal().await;
    for path in ["/v1/packs", "/v1/services/nothing", "/v1/nothing"] {
        let told = server.ask("GET", path, &[("origin", PORTAL)], "").await;
        assert_eq!(told.headers["access-control-allow-origin"], PORTAL, "{path}");
        assert!(!told.headers.contains_key("access-control-allow-credentials"), "{path}");
        for name in ["etag", "location", "retry-after", "x-request-id", "ratelimit", "idempotency-replayed"] {
            assert!(listed(&told, "access-control-expose-headers").contains(&name.to_owned()), "{path}: {name}");
        }
    }
    let preflight = [("origin", "https://evil.example"), ("access-control-request-method", "DELETE")];
    for (method, headers) in [("GET", &preflight[..1]), ("OPTIONS", &preflight[..])] {
        let told = server.ask(method, "/v1/packs", headers, "").await;
        assert!(!told.headers.contains_key("access-control-allow-origin"), "{method}");
        assert_eq!(told.problem(), "cross-origin", "{method}");
    }
    let plain = server.get("/v1/packs").await;
    assert!(!plain.headers.contains_key("access-control-allow-origin"));
    assert!(listed(&plain, "vary").contains(&"origin".to_owned()), "a cache must not mix them up");
}

/// A request of somebody at this address.
async fn from(server: &Server, address: &str, path: &str) -> Answer {
    let mut request = request("GET", path, &[], "");
    request.extensions_mut().insert(Peer(Some(address.parse().unwrap())));
    Answer::read(server.send(request).await).await
}

#[tokio::test]
async fn who_asks_too_often_waits_and_nobody_else_does() {
    let rate = Some(Rate { per_minute: 6, burst: 3 });
    let server = Server::behind(Settings { rate, ..Hosts::LoopbackAnd(Vec::new()).into() }).await;
    for left in [2, 1, 0] {
        let answer =
            from(&server, "192.0.2.1:7", if left == 1 { "/v1/connections/nothing" } else { "/v1/packs" }).await;
        assert_eq!(
            answer.headers.get("ratelimit-policy").map(|told| told.to_str().unwrap()),
            Some("\"caller\";q=6;w=60"),
            "{left}: {} {:?}",
            answer.status,
            answer.headers
        );
        let told = answer.headers["ratelimit"].to_str().unwrap();
        assert!(told.starts_with(&format!("\"caller\";r={left};t=")), "{told}");
    }
    let refused = from(&server, "192.0.2.1:8", "/v1/packs").await;
    let after: u32 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=10).contains(&after), "{after}");
    assert!(refused.headers["ratelimit"].to_str().unwrap().starts_with("\"caller\";r=0;t="));
    assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (429, "rate-limited"));
    assert_eq!(from(&server, "192.0.2.2:7", "/v1/packs").await.status, StatusCode::OK, "somebody else");
}

#[tokio::test]
async fn each_answer_has_the_identifier_of_its_request() {
    let server = Server::new().await;
    let mut seen = std::collections::BTreeSet::new();
    for (method, path) in
        [("GET", "/v1/packs"), ("GET", "/v1/nothing"), ("POST", "/v1/services"), ("OPTIONS", "/v1/packs")]
    {
        let own = server.ask(method, path, &[("x-request-id", "mine-7")], "").await;
        assert_eq!(own.headers["x-request-id"], "mine-7", "{method} {path}");
        let made = server.ask(method, path, &[("x-request-id", "not a word")], "").await;
        assert!(seen.insert(made.headers["x-request-id"].clone()), "{method} {path}: each request has its own");
    }
}

#[tokio::test]
async fn the_form_of_an_answer_is_the_one_that_is_most_welcome() {
    let server = Server::new().await;
    let cases = [
        ("*/*", Some("application/json")),
        ("application/json;q=0.1, application/yaml;q=0.9", Some("application/yaml")),
        ("application/yaml;q=0.1, application/json;q=0.9", Some("application/json")),
        ("application/yaml, application/json", Some("application/json")),
        ("text/html, application/*;q=0.2", Some("application/json")),
        ("application/json;q=0, */*;q=0.1", Some("application/yaml")),
        ("*/*;q=0", None),
        ("text/html", None),
    ];
    for (accept, expected) in cases {
        let answer = server.ask("GET", "/v1/packs", &[("accept", accept)], "").await;
        match expected {
            Some(kind) => assert_eq!(answer.headers["content-type"], kind, "{accept}"),
            None => assert_eq!(answer.problem(), "not-acceptable", "{accept}"),
        }
        assert!(expected.is_none() || listed(&answer, "vary").contains(&"accept".to_owned()), "{accept}");
    }
}

#[tokio::test]
async fn answers_go_compressed_as_the_client_asks_and_streams_never() {
    let server = Server::new().await;
    let path = "/v1/openapi.json";
    for (asked, coding) in [
        ("gzip", Some("gzip")),
        ("zstd", Some("zstd")),
        ("zstd;q=0.5, gzip;q=0.9", Some("gzip")),
        ("gzip;q=0", None),
        ("identity", None),
    ] {
        let answer = server.ask("GET", path, &[("accept-encoding", asked)], "").await;
        let found = answer.headers.get("content-encoding").map(|coding| coding.to_str().unwrap());
        assert_eq!(found, coding, "{asked}");
        assert!(listed(&answer, "vary").contains(&"accept-encoding".to_owned()), "{asked}");
    }
    server.rooms.stopping.cancel(); // The stream ends at once.
    let stream = server.ask("GET", "/v1/events", &[("accept-encoding", "gzip, zstd")], "").await;
    assert_eq!((stream.status, stream.headers.get("content-encoding")), (StatusCode::OK, None));
    assert_eq!(stream.headers["content-type"], "text/event-stream");
}

#[tokio::test]
async fn what_was_made_is_where_the_answer_says() {
    let server = Server::new().await;
    install_shop(&server).await;
    let instance = json!({ "pack": "test", "workflow": "echo", "input": { "size": 1 } });
    let made = [
        ("POST", "/v1/services", json!({ "name": "gold/1", "pack": "shop", "workflow": "order" })),
        ("PUT", "/v1/services/silver", json!({ "pack": "shop", "workflow": "order" })),
        ("POST", "/v1/schedules", json!({ "name": "rare", "pack": "test", "workflow": "hang", "every": "PT5H" })),
        ("POST", "/v1/instances", instance),
        ("POST", "/v1/notifications", json!({ "title": "a", "recipients": { "type": "broadcast" } })),
        ("POST", "/v1/tokens", json!({ "name": "ci", "roles": ["viewer"] })),
        ("PUT", "/v1/tenants/acme", json!({})),
        ("PUT", "/v1/connections/storage", json!({ "baseUrl": "https://storage.example" })),
    ];
    for (method, path, body) in made {
        let answer = server.ask(method, path, &[("content-type", "application/json")], body.to_string()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{method} {path}: {:?}", answer.body);
        let location = answer.headers.get("location").unwrap_or_else(|| panic!("{method} {path} says where"));
        let found = server.get(location.to_str().unwrap()).await;
        assert_eq!(found.status, StatusCode::OK, "{method} {path}: {location:?}");
        let (made, found) = (answer.json(), found.json());
        assert_eq!((&found["name"], &found["id"]), (&made["name"], &made["id"]), "{method} {path}");
    }
}

#[tokio::test]
async fn every_answer_that_says_made_documents_where() {
    let document = crate::api::openapi::document();
    for (path, item) in document["paths"].as_object().unwrap().iter().filter(|(path, _)| path.starts_with("/v1/")) {
        for (method, operation) in item.as_object().unwrap() {
            let made = &operation["responses"]["201"];
            assert!(made.is_null() || made["headers"].get("Location").is_some(), "{method} {path}");
        }
    }
}
