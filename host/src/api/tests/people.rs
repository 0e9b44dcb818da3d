//! Tokens, tenants, who one is, and the audit log, over the interface.

use super::*;
use crate::identity::settings::{AuditSettings, Mode};

struct Bench {
    server: Server,
    admin: String,
}

impl Bench {
    async fn new() -> Self {
        let audit = AuditSettings { enabled: true, entries: 1_000, days: 1 };
        let settings = IdentitySettings { authentication: Mode::Required, audit, ..IdentitySettings::default() };
        let server = Server::with(settings).await;
        let admin = server.rooms.identity.first_admin_token().await.unwrap().unwrap().to_string();
        Self { server, admin }
    }

    async fn ask(&self, token: &str, method: &str, path: &str, body: Json) -> Answer {
        self.ask_with(token, method, path, &[], body).await
    }

    async fn ask_with(&self, token: &str, method: &str, path: &str, more: &[(&str, &str)], body: Json) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [&[("authorization", bearer.as_str()), ("content-type", "application/json")], more].concat();
        self.server.ask(method, path, &headers, if body.is_null() { String::new() } else { body.to_string() }).await
    }

    async fn make(&self, token: &str, body: Json, more: &[(&str, &str)]) -> String {
        let made = self.ask_with(token, "POST", "/v1/tokens", more, body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{:?}", made.body);
        made.json()["token"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_token_is_made_shown_once_used_and_revoked() {
    let bench = Bench::new().await;
    let body = json!({ "name": "ci", "roles": ["operator"], "expiresIn": "P90D", "services": ["a"] });
    let made = bench.ask(&bench.admin, "POST", "/v1/tokens", body.clone()).await;
    assert_eq!((made.status, &made.headers["location"]), (StatusCode::CREATED, &"/v1/tokens/ci".parse().unwrap()));
    assert_eq!(made.headers["cache-control"], "no-store");
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let who = bench.ask(&token, "GET", "/v1/whoami", Json::Null).await.json();
    let expected = json!({
        "subject": "token:ci", "tenant": "default", "roles": ["operator"], "permissions": ["read", "order"],
        "services": ["a"], "authentication": "token",
    });
    assert_eq!(who, expected);
    let shown = bench.ask(&bench.admin, "GET", "/v1/tokens/ci", Json::Null).await.json();
    assert!(shown["lastUsedAt"].is_string() && shown.get("token").is_none(), "{shown}");
    let list = bench.ask(&bench.admin, "GET", "/v1/tokens", Json::Null).await;
    assert!(!String::from_utf8_lossy(&list.body).contains(&token[4..]), "{:?}", list.body);
    assert_eq!(bench.ask(&bench.admin, "POST", "/v1/tokens", body).await.problem(), "token-exists");
    let gone = bench.ask(&bench.admin, "DELETE", "/v1/tokens/ci", Json::Null).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let refused = bench.ask(&token, "GET", "/v1/whoami", Json::Null).await;
    assert_eq!(refused.headers["www-authenticate"], "Bearer realm=\"orchestrator\"");
    assert_eq!(refused.problem(), "unauthenticated");
    assert_eq!(bench.ask(&bench.admin, "GET", "/v1/tokens/ci", Json::Null).await.problem(), "unknown-token");
}

#[tokio::test]
async fn a_token_is_kept_nowhere_also_when_its_making_is_repeated_with_a_key() {
    let bench = Bench::new().await;
    let (key, body) = ([("idempotency-key", "k-1")], json!({ "name": "ci", "roles": ["viewer"] }));
    let token = bench.make(&bench.admin, body.clone(), &key).await;
    let again = bench.ask_with(&bench.admin, "POST", "/v1/tokens", &key, body).await;
    assert_eq!(again.problem(), "token-exists");
    for row in bench.server.journal.scan(crate::journal::Scan::prefix(Vec::new(), 10_000)).unwrap() {
        assert!(!String::from_utf8_lossy(&row.value).contains(&token), "{:?}", String::from_utf8_lossy(&row.key));
    }
}

#[tokio::test]
async fn a_tenant_s_admin_gives_only_what_she_has_and_in_her_tenant() {
    let bench = Bench::new().await;
    let tenant = bench.ask(&bench.admin, "PUT", "/v1/tenants/acme", json!({ "description": "Acme" })).await;
    assert_eq!(tenant.status, StatusCode::CREATED);
    let there = [("orchestrator-tenant", "acme")];
    let boss = bench.make(&bench.admin, json!({ "name": "boss", "roles": ["tenant-admin"] }), &there).await;
    let worker = bench.make(&boss, json!({ "name": "worker", "roles": ["operator", "viewer"] }), &[]).await;
    let who = bench.ask(&worker, "GET", "/v1/whoami", Json::Null).await.json();
    assert_eq!((&who["subject"], &who["tenant"]), (&json!("token:acme/worker"), &json!("acme")));
    for role in ["server-admin", "pack-admin"] {
        let refused = bench.ask(&boss, "POST", "/v1/tokens", json!({ "name": "x", "roles": [role] })).await;
        assert_eq!(refused.problem(), "forbidden", "{role}");
    }
    assert_eq!(bench.ask(&boss, "GET", "/v1/tokens/admin", Json::Null).await.problem(), "unknown-token");
    let seen = bench.ask(&boss, "GET", "/v1/tenants", Json::Null).await.json();
    assert_eq!((seen["items"].as_array().unwrap().len(), &seen["items"][0]["name"]), (1, &json!("acme")));
    assert_eq!(bench.ask(&boss, "GET", "/v1/tenants/default", Json::Null).await.problem(), "unknown-tenant");
    assert_eq!(bench.ask(&boss, "PUT", "/v1/tenants/acme", json!({})).await.problem(), "forbidden");
    let held = bench.ask(&bench.admin, "DELETE", "/v1/tenants/acme", Json::Null).await;
    assert!(held.json()["detail"].as_str().unwrap().contains("2 tokens"), "{:?}", held.body);
    assert_eq!(held.problem(), "tenant-held");
    let closed = bench.ask(&bench.admin, "PUT", "/v1/tenants/acme", json!({ "enabled": false })).await;
    assert_eq!(closed.status, StatusCode::OK);
    assert_eq!(bench.ask(&worker, "GET", "/v1/whoami", Json::Null).await.problem(), "forbidden");
}

#[tokio::test]
async fn an_empty_tenant_is_deleted_and_its_name_begins_anew() {
    let bench = Bench::new().await;
    let ask = async |method: &str| bench.ask(&bench.admin, method, "/v1/tenants/acme", json!({})).await;
    assert_eq!(ask("PUT").await.status, StatusCode::CREATED);
    assert_eq!(ask("DELETE").await.status, StatusCode::NO_CONTENT);
    assert_eq!(ask("DELETE").await.problem(), "unknown-tenant");
    assert_eq!(ask("PUT").await.status, StatusCode::CREATED);
    let standard = bench.ask(&bench.admin, "DELETE", "/v1/tenants/default", Json::Null).await;
    assert_eq!(standard.problem(), "tenant-held");
}

#[tokio::test]
async fn changes_and_refusals_are_in_the_log_and_reads_are_not() {
    let bench = Bench::new().await;
    let viewer = bench.make(&bench.admin, json!({ "name": "viewer", "roles": ["viewer"] }), &[]).await;
    bench.ask(&viewer, "GET", "/v1/instances", Json::Null).await;
    bench.ask(&viewer, "DELETE", "/v1/tokens/admin", Json::Null).await;
    bench.ask("orc_wrong", "GET", "/v1/instances", Json::Null).await;
    let order = json!({ "pack": "test", "workflow": "echo", "input": { "size": 1 }, "name": "the secret plan" });
    bench.ask(&bench.admin, "POST", "/v1/instances", order).await;
    let log = bench.ask(&bench.admin, "GET", "/v1/audit", Json::Null).await;
    let text = String::from_utf8_lossy(&log.body).into_owned();
    assert!(!text.contains("secret plan") && !text.contains(&viewer[4..]), "{text}");
    let row = |row: &Json| {
        (row["subject"].clone(), row["action"].as_str().unwrap().to_owned(), row["outcome"].as_u64().unwrap())
    };
    let rows: Vec<_> = log.json()["items"].as_array().unwrap().iter().map(row).collect();
    let expected = [
        (json!("token:admin"), "start_instance".to_owned(), 201),
        (Json::Null, "list_instances".to_owned(), 401),
        (json!("token:viewer"), "revoke_token".to_owned(), 403),
        (json!("token:admin"), "create_token".to_owned(), 201),
    ];
    assert_eq!(rows, expected);
    let page = bench.ask(&bench.admin, "GET", "/v1/audit?limit=1&subject=token:admin", Json::Null).await.json();
    let next = format!("/v1/audit?limit=5&subject=token:admin&cursor={}", page["next"].as_str().unwrap());
    assert_eq!(bench.ask(&bench.admin, "GET", &next, Json::Null).await.json()["items"].as_array().unwrap().len(), 1);
    let verdict = bench.ask(&bench.admin, "GET", "/v1/audit/verify", Json::Null).await.json();
    assert_eq!((&verdict["valid"], &verdict["entries"]), (&json!(true), &json!(4)));
    let export = bench.ask(&bench.admin, "GET", "/v1/audit/export", Json::Null).await;
    assert_eq!(export.headers["content-type"], "application/jsonl");
    assert_eq!(String::from_utf8_lossy(&export.body).lines().count(), 4);
}

#[tokio::test]
async fn a_tenant_s_admin_reads_only_the_log_of_her_tenant() {
    let bench = Bench::new().await;
    bench.ask(&bench.admin, "PUT", "/v1/tenants/acme", json!({})).await;
    let there = [("orchestrator-tenant", "acme")];
    let boss = bench.make(&bench.admin, json!({ "name": "boss", "roles": ["tenant-admin"] }), &there).await;
    let log = bench.ask(&boss, "GET", "/v1/audit", Json::Null).await.json();
    assert_eq!(log["items"].as_array().unwrap().len(), 1, "{log}");
    assert_eq!(bench.ask(&boss, "GET", "/v1/audit?tenant=default", Json::Null).await.problem(), "forbidden");
    let export = bench.ask(&boss, "GET", "/v1/audit/export", Json::Null).await;
    assert_eq!(String::from_utf8_lossy(&export.body).lines().count(), 2);
}

#[tokio::test]
async fn a_caller_who_goes_away_is_in_the_log_all_the_same() {
    let bench = Bench::new().await;
    let bearer = format!("Bearer {}", bench.admin);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let order = json!({ "pack": "test", "workflow": "hang", "input": {} }).to_string();
    let waiting = bench.server.send(request("POST", "/v1/instances?wait=60", &headers, order));
    let impatient = tokio::time::timeout(std::time::Duration::from_millis(300), waiting).await;
    assert!(impatient.is_err(), "it waits for the instance's end");
    let log = bench.ask(&bench.admin, "GET", "/v1/audit", Json::Null).await.json();
    assert_eq!((&log["items"][0]["action"], &log["items"][0]["outcome"]), (&json!("start_instance"), &json!(499)));
}

#[tokio::test]
async fn who_guesses_is_told_to_wait_and_the_public_routes_stay_open() {
    let bench = Bench::new().await;
    assert_eq!(bench.server.get("/v1/health").await.status, StatusCode::OK);
    let mut last = bench.ask("orc_wrong", "GET", "/v1/packs", Json::Null).await;
    for _ in 0..crate::identity::throttle::FAILURES_MAX {
        last = bench.ask("orc_wrong", "GET", "/v1/packs", Json::Null).await;
    }
    assert!(last.headers.contains_key("retry-after"));
    assert_eq!(last.problem(), "too-many-attempts");
    assert_eq!(bench.ask("orc_wrong", "GET", "/v1/health", Json::Null).await.status, StatusCode::OK);
    assert_eq!(bench.ask(&bench.admin, "GET", "/v1/packs", Json::Null).await.status, StatusCode::OK);
}

#[tokio::test]
async fn without_authentication_everything_is_open_and_the_server_says_so() {
    let server = Server::new().await;
    assert_eq!(server.get("/v1/version").await.json()["authentication"], "none");
    let who = server.get("/v1/whoami").await.json();
    assert_eq!((&who["subject"], &who["authentication"]), (&json!("anonymous"), &json!("none")));
    assert_eq!(server.get("/v1/audit").await.json()["items"], json!([]));
    assert_eq!(Bench::new().await.server.get("/v1/version").await.json()["authentication"], "required");
}

/// Streams used to go on after their token was revoked, for as long as the client held them open.
#[tokio::test]
async fn a_stream_ends_soon_after_its_token_was_revoked() {
    use futures_util::StreamExt;
    let bench = Bench::new().await;
    let token = bench.make(&bench.admin, json!({ "name": "ci", "roles": ["viewer"] }), &[]).await;
    let bearer = format!("Bearer {token}");
    let open = |path: &'static str| bench.server.send(request("GET", path, &[("authorization", bearer.as_str())], ""));
    let mut streams = Vec::new();
    for path in ["/v1/events", "/v1/events?format=cloudevents", "/v1/notifications/events"] {
        let response = open(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        streams.push(response.into_body().into_data_stream());
    }
    let while_open = async |stream: &mut axum::body::BodyDataStream, time_ms: u64| {
        let time = std::time::Duration::from_millis(time_ms);
        tokio::time::timeout(time, async { while stream.next().await.is_some() {} }).await
    };
    for stream in &mut streams {
        // Looked at some times, and good each time.
        assert!(while_open(stream, 100).await.is_err(), "a stream ended although its token is good");
    }
    let gone = bench.ask(&bench.admin, "DELETE", "/v1/tokens/ci", Json::Null).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    for stream in &mut streams {
        let ended = while_open(stream, 20_000).await;
        assert!(ended.is_ok(), "a stream goes on although its token was revoked");
    }
}
