//! Jira's webhooks: who may send them, what of them is for us, and for whom.

use ring::hmac;

use super::*;

const PATH: &str = "/v1/webhooks/jira";
const SECRET: &str = "s3cret-of-jira";

async fn server() -> Server {
    let server = Server::new().await;
    let stored = server.put("/v1/secrets/jira-webhook", json!({ "value": format!("{SECRET}\n") })).await;
    assert_eq!(stored.status, StatusCode::NO_CONTENT);
    server
}

async fn waiting(server: &Server) -> String {
    let started = server.post("/v1/instances", json!({ "pack": "test", "workflow": "hang" })).await;
    started.json()["id"].as_str().unwrap().to_owned()
}

fn hook(instance: &str, category: &str) -> Json {
    let status = json!({ "name": "Erledigt", "statusCategory": { "key": category, "id": 3 } });
    let labels = [format!("workflowInstanceId={instance}"), "workflowName=ticket-escalation".to_owned()];
    let issue = json!({ "id": "10001", "key": "OPS-7", "fields": { "labels": labels, "status": status } });
    json!({ "timestamp": 1_700_000_000_000_u64, "webhookEvent": "jira:issue_updated", "issue": issue })
}

fn signature(secret: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("sha256={}", hex::encode(hmac::sign(&key, body.as_bytes())))
}

async fn send(server: &Server, body: &str) -> Answer {
    let signature = signature(SECRET, body);
    server.ask("POST", PATH, &[("x-hub-signature", &signature)], body.to_owned()).await
}

#[tokio::test]
async fn a_ticket_that_is_done_is_told_to_its_instance_alone_and_only_once() {
    let server = server().await;
    let (one, other) = (waiting(&server).await, waiting(&server).await);
    let body = hook(&one, "done").to_string();
    let answer = send(&server, &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
    let expected = json!({
        "ticketId": "OPS-7", "workFlowInstanceId": one, "workflowName": "ticket-escalation", "status": "done",
    });
    assert_eq!(answer.json(), expected);
    assert_ne!(one, other);
    assert_eq!(send(&server, &body).await.status, StatusCode::OK, "Jira repeats what was not answered in time");
    // The same event again by the other door is known already: it was stored, once.
    let id = format!("jira-{}", crate::model::Digest::of(body.as_bytes()).hex());
    let again = json!({ "specversion": "1.0", "id": id, "source": "ticket.listener", "type": "t" });
    let headers = [("content-type", "application/cloudevents+json")];
    let again = server.ask("POST", "/v1/events", &headers, again.to_string()).await;
    assert_eq!(again.json(), json!({ "accepted": 0, "duplicates": 1 }));
}

#[tokio::test]
async fn who_does_not_know_the_secret_is_refused_with_the_cure() {
    let server = server().await;
    let body = hook(&waiting(&server).await, "done").to_string();
    let forged = signature("another", &body);
    let of_another_body = signature(SECRET, "{}");
    let check = async |path: &str, headers: &[(&str, &str)], kind: &str, status: u16| {
        let answer = server.ask("POST", path, headers, body.clone()).await;
        assert_eq!((answer.problem().as_str(), answer.status.as_u16()), (kind, status), "{path} {headers:?}");
        let text = answer.json()["detail"].to_string();
        assert!(text.contains("jira-webhook") && !text.contains(SECRET), "{text}");
    };
    check(PATH, &[], "webhook-unproved", 401).await;
    check(PATH, &[("x-hub-signature", &forged)], "webhook-refused", 403).await;
    check(PATH, &[("x-hub-signature", &of_another_body)], "webhook-refused", 403).await;
    check(PATH, &[("x-hub-signature", "sha1=00")], "webhook-refused", 403).await;
    check(PATH, &[("x-hub-signature", "sha256=zz")], "webhook-refused", 403).await;
    check(PATH, &[("x-webhook-token", "wrong")], "webhook-refused", 403).await;
    check(&format!("{PATH}?token=wrong"), &[], "webhook-refused", 403).await;
    check(&format!("{PATH}?token="), &[], "webhook-refused", 403).await;
    // A wrong signature is not healed by a right token.
    check(&format!("{PATH}?token={SECRET}"), &[("x-hub-signature", &forged)], "webhook-refused", 403).await;
    for (path, headers) in
        [(format!("{PATH}?token={SECRET}"), None), (PATH.to_owned(), Some(("x-webhook-token", SECRET)))]
    {
        let headers: Vec<_> = headers.into_iter().collect();
        assert_eq!(server.ask("POST", &path, &headers, body.clone()).await.status, StatusCode::OK, "{path}");
    }
    server.delete("/v1/secrets/jira-webhook").await;
    check(&format!("{PATH}?token={SECRET}"), &[], "webhook-refused", 403).await;
    server.put("/v1/secrets/jira-webhook", json!({ "value": "\n" })).await;
    check(&format!("{PATH}?token="), &[], "webhook-refused", 403).await;
}

#[tokio::test]
async fn what_is_not_for_us_is_passed_over() {
    let server = server().await;
    let own = waiting(&server).await;
    let started = json!({ "pack": "test", "workflow": "echo", "input": { "size": 1 } });
    let ended = server.post("/v1/instances?wait=30", started).await.json()["id"].as_str().unwrap().to_owned();
    let mut without_labels = hook(&own, "done");
    without_labels["issue"]["fields"]["labels"] = Json::Null;
    let mut two = hook(&own, "done");
    two["issue"]["fields"]["labels"] =
        json!([format!("workflowInstanceId={own}"), format!("workflowInstanceId={ended}")]);
    let mut long = hook(&own, "done");
    long["issue"]["key"] = "K".repeat(300).into();
    let cases = [
        json!({}),
        json!({ "webhookEvent": "sprint_created", "issue": null }),
        json!({ "issue": { "key": "OPS-7" } }),
        json!({ "issue": { "key": "OPS-7", "fields": {} } }),
        hook(&own, "new"),
        hook(&own, "indeterminate"),
        hook(&ended, "done"),
        hook("0199c1f0-0000-7000-8000-000000000000", "done"),
        hook("not-an-id", "done"),
        without_labels,
        two,
        long,
    ];
    for case in cases {
        let answer = send(&server, &case.to_string()).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{case}: {:?}", answer.body);
    }
}

#[tokio::test]
async fn a_body_that_is_none_is_refused_with_its_place() {
    let server = server().await;
    let check = async |body: &str, kind: &str, words: &str| {
        let answer = send(&server, body).await;
        assert_eq!(answer.problem(), kind, "{}", &body[..body.len().min(80)]);
        assert!(answer.json().to_string().contains(words), "{words}: {:?}", answer.body);
    };
    check("", "malformed-json", "not JSON").await;
    check("{", "malformed-json", "line 1").await;
    check("{} {}", "malformed-json", "not JSON").await;
    check("\u{feff}{}", "malformed-json", "not JSON").await;
    check("[]", "invalid-body", "array").await;
    check("5", "invalid-body", "the body").await;
    check("null", "invalid-body", "the body").await;
    check(r#"{"issue":5}"#, "invalid-body", "/issue").await;
    check(r#"{"issue":{}}"#, "invalid-body", "key").await;
    check(r#"{"issue":{"key":7}}"#, "invalid-body", "/issue/key").await;
    check(r#"{"issue":{"key":"A-1","fields":[]}}"#, "invalid-body", "/issue/fields").await;
    check(r#"{"issue":{"key":"A-1","fields":{"labels":"a"}}}"#, "invalid-body", "/issue/fields/labels").await;
    check(r#"{"issue":{"key":"A-1","fields":{"labels":[1]}}}"#, "invalid-body", "/issue/fields/labels/0").await;
    check(r#"{"issue":{"key":"A-1","fields":{"status":{"statusCategory":3}}}}"#, "invalid-body", "statusCategory")
        .await;
    check(r#"{"issue":["A-1"]}"#, "invalid-body", "no object").await;
    let deep = format!("{{\"x\":{}", "[".repeat(10_000));
    check(&deep, "malformed-json", "recursion").await;
    check(&"x".repeat((4 << 20) + 1), "body-too-large", "4 MiB").await;
    let bytes = server.ask("POST", &format!("{PATH}?token={SECRET}"), &[], vec![0xff_u8, 0xfe]).await;
    assert_eq!(bytes.problem(), "malformed-json");
}
