//! Notifications over the interface.

use futures_util::StreamExt;

use super::*;

const ANN: &str = "user=user:default/ann";

#[tokio::test]
async fn a_notification_is_posted_listed_marked_counted_and_removed() {
    let server = Server::new().await;
    let posted = server.post("/v1/notifications", json!({ "title": "Disk full", "severity": "high" })).await;
    assert_eq!(posted.status, StatusCode::CREATED);
    let id = posted.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(posted.headers["location"], format!("/v1/notifications/{id}"));
    let to = json!({ "type": "entity", "entityRef": "user:default/bob" });
    server.post("/v1/notifications", json!({ "recipients": to, "payload": { "title": "Bob's" } })).await;

    let listed = server.get(&format!("/v1/notifications?{ANN}")).await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!((&listed["items"][0]["title"], &listed["items"][0]["read"]), (&json!("Disk full"), &Json::Null));
    assert_eq!(listed["items"][0].get("identity"), None);
    let all = server.get("/v1/notifications?limit=1").await.json();
    assert_eq!(all["items"][0]["title"], "Bob's");
    let next = all["next"].as_str().unwrap();
    let rest = server.get(&format!("/v1/notifications?limit=1&cursor={next}")).await.json();
    assert_eq!((&rest["items"][0]["title"], &rest["next"]), (&json!("Disk full"), &Json::Null));

    let marked = server.post(&format!("/v1/notifications/mark?{ANN}"), json!({ "ids": [id], "read": true })).await;
    assert!(marked.json()["items"][0]["read"].is_string());
    let counts = server.get(&format!("/v1/notifications/status?{ANN}")).await.json();
    assert_eq!(counts, json!({ "unread": 0, "read": 1, "saved": 0 }));
    assert_eq!(server.get(&format!("/v1/notifications?{ANN}&read=false")).await.json()["items"], json!([]));

    assert_eq!(server.get(&format!("/v1/notifications/{id}")).await.json()["severity"], "high");
    assert_eq!(server.delete(&format!("/v1/notifications/{id}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.delete(&format!("/v1/notifications/{id}")).await.problem(), "unknown-notification");
}

#[tokio::test]
async fn a_flow_written_for_backstage_posts_here_as_it_is() {
    let server = Server::new().await;
    let payload = json!({ "title": "Escalation", "description": "Please look", "topic": "Escalation Workflow",
        "link": "https://jira.example/7", "severity": "normal", "icon": "x", "metadata": {} });
    for path in ["/api/notifications", "/api/notifications/notifications"] {
        let body = json!({ "recipients": { "type": "broadcast" }, "payload": payload });
        let rows = server.post(path, body).await.json();
        assert_eq!((&rows[0]["user"], &rows[0]["payload"]["link"]), (&Json::Null, &payload["link"]));
        let to = json!({ "type": "entity", "entityRef": ["user:default/ann", "group:default/ops"] });
        let rows = server.post(path, json!({ "recipients": to, "payload": payload })).await.json();
        assert_eq!(rows.as_array().unwrap().len(), 2);
    }
    let ann = server.get(&format!("/v1/notifications?{ANN}&group=group:ops,group:dev")).await.json();
    assert_eq!(ann["items"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn a_repeat_and_a_scope_find_the_notification() {
    let server = Server::new().await;
    let keyed = [("content-type", "application/json"), ("idempotency-key", "k-1")];
    let body = json!({ "title": "a" }).to_string();
    let first = server.ask("POST", "/v1/notifications", &keyed, body.clone()).await;
    let again = server.ask("POST", "/v1/notifications", &keyed, body).await;
    assert_eq!((first.status, again.status), (StatusCode::CREATED, StatusCode::OK));
    assert_eq!(first.json()["id"], again.json()["id"]);
    let scoped = |title: &str| json!({ "title": title, "scope": "s" });
    server.post("/v1/notifications", scoped("1")).await;
    let changed = server.post("/v1/notifications", scoped("2")).await;
    assert_eq!((changed.status, &changed.json()["title"]), (StatusCode::OK, &json!("2")));
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_its_place() {
    let server = Server::new().await;
    let post = async |body: Json, pointer: &str| {
        let answer = server.post("/v1/notifications", body.clone()).await;
        assert_eq!(answer.problem(), "invalid-body", "{body}");
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{body}");
    };
    post(json!({}), "/title").await;
    post(json!({ "title": "a", "payload": { "title": "a" } }), "/payload").await;
    post(json!({ "title": "a", "link": "javascript:alert(1)" }), "/link").await;
    post(json!({ "title": "a", "severity": "urgent" }), "/severity").await;
    let to = json!({ "type": "entity", "entityRef": "ann" });
    post(json!({ "title": "a", "recipients": to }), "/recipients/entityRef").await;
    post(json!({ "title": "a", "recipients": { "type": "entity" } }), "/recipients").await;
    for query in ["user=ann", "user=group:a", "group=user:a", "read=true", "limit=0", "severity=x", "cursor=x", "a=b"] {
        let answer = server.get(&format!("/v1/notifications?{query}")).await;
        assert_eq!(answer.problem(), "invalid-parameter", "{query}");
    }
    let marked = server.post("/v1/notifications/mark", json!({ "ids": [] })).await;
    assert_eq!(marked.problem(), "invalid-parameter", "nobody's marks");
}

#[tokio::test]
async fn new_notifications_are_told_as_events() {
    let server = Server::new().await;
    server.post("/v1/notifications", json!({ "title": "before" })).await;
    let path = format!("/v1/notifications/events?{ANN}");
    let response = server.send(request("GET", &path, &[("last-event-id", "0")], "")).await;
    let mut body = response.into_body().into_data_stream();
    let text = async |body: &mut axum::body::BodyDataStream| {
        String::from_utf8(body.next().await.unwrap().unwrap().to_vec()).unwrap()
    };
    let first = text(&mut body).await;
    assert!(first.contains("event: notification") && first.contains("id: 1") && first.contains("before"), "{first}");
    server.post("/v1/notifications", json!({ "title": "after" })).await;
    assert!(text(&mut body).await.contains("after"));
}
