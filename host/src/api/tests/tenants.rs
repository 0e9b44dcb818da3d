//! Two tenants side by side: nothing of one is seen, listed, counted, reached or revealed in the other.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use ring::hmac;

use super::*;
use crate::api::caller::Caller;
use crate::connection::call::tests::double::{Double, json as answer};
use crate::model::{Principal, Role, TenantName};

fn tenant(name: &str) -> TenantName {
    TenantName::parse(name).unwrap()
}

fn admin_of(name: &str) -> Principal {
    somebody("token:admin", name, Role::TenantAdmin)
}

fn somebody(subject: &str, of: &str, role: Role) -> Principal {
    Principal { subject: subject.to_owned(), tenant: tenant(of), roles: BTreeSet::from([role]), services: None }
}

/// What a principal is answered.
async fn ask(server: &Server, who: &Principal, method: &str, path: &str, body: Json) -> Answer {
    Answer::read(server.send(asked(who, method, path, body)).await).await
}

fn asked(who: &Principal, method: &str, path: &str, body: Json) -> Request<Body> {
    let mut request = request(method, path, &[("content-type", "application/json")], body.to_string());
    request.extensions_mut().insert(Caller(Arc::new(who.clone())));
    request
}

async fn get(server: &Server, who: &Principal, path: &str) -> Json {
    ask(server, who, "GET", path, Json::Null).await.json()
}

/// The values of a member of all items of a list.
fn each(list: &Json, member: &str) -> Vec<String> {
    let text = |item: &Json| item[member].as_str().unwrap().to_owned();
    list["items"].as_array().unwrap().iter().map(text).collect()
}

#[tokio::test]
async fn what_has_a_name_is_made_listed_and_removed_in_one_tenant_alone() {
    let server = Server::new().await;
    let (red, blue) = (admin_of("red"), admin_of("blue"));
    let connection = json!({ "baseUrl": "https://red.example/" });
    for (path, body) in [("/v1/connections/a", connection), ("/v1/secrets/a", json!({ "value": "hush" }))] {
        let list = path.strip_suffix("/a").unwrap();
        assert!(ask(&server, &red, "PUT", path, body.clone()).await.status.is_success());
        assert_eq!(each(&get(&server, &red, list).await, "name"), ["a"]);
        for other in [&blue, &admin_of("default")] {
            assert!(each(&get(&server, other, list).await, "name").is_empty(), "{path}");
            let removed = ask(&server, other, "DELETE", path, Json::Null).await;
            assert_eq!(removed.status, StatusCode::NOT_FOUND, "{path}");
        }
        assert!(ask(&server, &blue, "PUT", path, body).await.status.is_success(), "the name is free here");
        assert_eq!(ask(&server, &blue, "DELETE", path, Json::Null).await.status, StatusCode::NO_CONTENT);
        assert_eq!(each(&get(&server, &red, list).await, "name"), ["a"], "{path}");
    }
    assert_eq!(ask(&server, &blue, "GET", "/v1/connections/a", Json::Null).await.problem(), "unknown-connection");
}

#[tokio::test]
async fn instances_are_listed_in_their_tenant_and_an_operator_gets_only_hers() {
    let server = Server::new().await;
    let (ann, bob) = (somebody("token:ann", "red", Role::Operator), somebody("token:bob", "red", Role::Operator));
    let order = |input: u32| json!({ "pack": "test", "workflow": "echo", "input": { "size": input } });
    for who in [&ann, &bob, &somebody("token:ann", "blue", Role::Operator)] {
        assert_eq!(ask(&server, who, "POST", "/v1/instances?wait=60", order(1)).await.status, StatusCode::CREATED);
    }
    let owners = async |who: &Principal, query: &str| {
        each(&get(&server, who, &format!("/v1/instances{query}")).await, "createdBy")
    };
    assert_eq!(owners(&admin_of("red"), "").await, ["token:bob", "token:ann"]);
    assert_eq!(owners(&admin_of("red"), "?createdBy=token:ann").await, ["token:ann"]);
    assert_eq!(owners(&admin_of("red"), "?sort=createdAt&status=completed&status=faulted").await.len(), 2);
    assert_eq!(owners(&ann, "").await, ["token:ann"]);
    assert_eq!(owners(&ann, "?mine=true").await, ["token:ann"]);
    assert!(owners(&ann, "?createdBy=token:bob").await.is_empty());
    assert_eq!(owners(&admin_of("blue"), "").await.len(), 1);
    assert!(owners(&admin_of("default"), "").await.is_empty());
    let members = async |query: &str| {
        let list = get(&server, &admin_of("red"), &format!("/v1/instances{query}")).await;
        list["items"][0].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(members("?fields=id,status").await, ["id", "status"], "read without input and output");
    assert!(members("?fields=input").await == ["input"] && members("").await.contains(&"output".to_owned()));
    let cursor = get(&server, &admin_of("red"), "/v1/instances?limit=1").await["next"].as_str().unwrap().to_owned();
    let stolen = format!("/v1/instances?limit=1&cursor={cursor}");
    assert_eq!(ask(&server, &admin_of("blue"), "GET", &stolen, Json::Null).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn one_idempotency_key_in_two_tenants_starts_two_instances() {
    let server = Server::new().await;
    let start = async |of: &str| {
        let order = json!({ "pack": "test", "workflow": "echo", "input": { "size": 1 } });
        let mut request = asked(&admin_of(of), "POST", "/v1/instances", order);
        request.headers_mut().insert("idempotency-key", "k".parse().unwrap());
        let answer = Answer::read(server.send(request).await).await;
        (answer.status.as_u16(), answer.json()["id"].clone())
    };
    let (first, again, other) = (start("red").await, start("red").await, start("blue").await);
    assert_eq!((first.0, again.0, other.0), (201, 200, 201));
    assert!(first.1 == again.1 && first.1 != other.1);
}

#[tokio::test]
async fn notifications_are_read_in_their_tenant_and_by_whom_they_are_for() {
    let server = Server::new().await;
    let to = |user: &str| json!({ "title": user, "recipients": { "type": "entity", "entityRef": [user] } });
    for (who, body) in [
        (admin_of("red"), json!({ "title": "to all" })),
        (admin_of("red"), to("user:default/ann")),
        (admin_of("red"), to("user:default/bob")),
        (admin_of("blue"), json!({ "title": "blue" })),
    ] {
        assert_eq!(ask(&server, &who, "POST", "/v1/notifications", body).await.status, StatusCode::CREATED);
    }
    let ann = somebody("oidc:https://id.example|ann", "red", Role::Operator);
    let titles = async |who: &Principal, query: &str| {
        each(&get(&server, who, &format!("/v1/notifications{query}")).await, "title")
    };
    assert_eq!(titles(&admin_of("red"), "").await.len(), 3);
    assert_eq!(titles(&admin_of("red"), "?user=user:default/bob").await, ["user:default/bob", "to all"]);
    assert_eq!(titles(&ann, "").await, ["user:default/ann", "to all"]);
    assert_eq!(titles(&ann, "?user=user:default/ann").await, ["user:default/ann", "to all"]);
    assert_eq!(titles(&admin_of("blue"), "").await, ["blue"]);
    for query in ["?user=user:default/bob", "?group=group:default/ops"] {
        let path = format!("/v1/notifications{query}");
        assert_eq!(ask(&server, &ann, "GET", &path, Json::Null).await.status, StatusCode::BAD_REQUEST, "{query}");
    }
    let of_bob =
        get(&server, &admin_of("red"), "/v1/notifications?user=user:default/bob").await["items"][0]["id"].clone();
    let path = format!("/v1/notifications/{}", of_bob.as_str().unwrap());
    for who in [&ann, &admin_of("blue")] {
        assert_eq!(ask(&server, who, "GET", &path, Json::Null).await.problem(), "unknown-notification");
    }
    let mark = json!({ "ids": [of_bob], "read": true });
    assert_eq!(ask(&server, &ann, "POST", "/v1/notifications/mark", mark).await.problem(), "unknown-notification");
}

#[tokio::test]
async fn a_webhook_proves_itself_to_the_tenant_whose_instance_waits() {
    let server = Server::new().await;
    for (of, secret) in [("red", "secret of red"), ("blue", "secret of blue")] {
        let stored = ask(&server, &admin_of(of), "PUT", "/v1/secrets/jira-webhook", json!({ "value": secret })).await;
        assert_eq!(stored.status, StatusCode::NO_CONTENT);
    }
    let order = json!({ "pack": "test", "workflow": "hang" });
    let id = ask(&server, &admin_of("red"), "POST", "/v1/instances", order).await.json()["id"].clone();
    let labels = [format!("workflowInstanceId={}", id.as_str().unwrap())];
    let fields = json!({ "labels": labels, "status": { "statusCategory": { "key": "done" } } });
    let body = json!({ "issue": { "key": "OPS-7", "fields": fields } }).to_string();
    let send = async |query: &str, secret: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let signature = format!("sha256={}", hex::encode(hmac::sign(&key, body.as_bytes())));
        let path = format!("/v1/webhooks/jira{query}");
        server.ask("POST", &path, &[("x-hub-signature", &signature)], body.clone()).await.status.as_u16()
    };
    assert_eq!(send("?tenant=red", "secret of red").await, 200);
    assert_eq!(send("?tenant=red", "secret of blue").await, 403);
    assert_eq!(send("?tenant=blue", "secret of blue").await, 204, "the instance is none of this tenant");
    assert_eq!(send("", "secret of red").await, 403, "`default` has no such secret");
    assert_eq!(send("?tenant=green", "secret of red").await, 403);
    assert_eq!(send("?tenant=not+a+name", "secret of red").await, 400);
}

#[tokio::test]
async fn a_follower_is_told_only_of_what_she_sees() {
    let server = Server::new().await;
    let (ann, bob) = (somebody("token:ann", "red", Role::Operator), somebody("token:bob", "red", Role::Operator));
    for format in ["records", "cloudevents"] {
        let follow =
            |who: &Principal| server.send(asked(who, "GET", &format!("/v1/events?format={format}"), Json::Null));
        let mut hers = follow(&ann).await.into_body().into_data_stream();
        let mut all = follow(&admin_of("red")).await.into_body().into_data_stream();
        let order = json!({ "pack": "test", "workflow": "hang" });
        let mut ids = Vec::new();
        for who in [&somebody("token:ann", "blue", Role::Operator), &bob, &ann] {
            let started = ask(&server, who, "POST", "/v1/instances", order.clone()).await.json();
            ids.push(started["id"].as_str().unwrap().to_owned());
        }
        let heard = async |stream: &mut axum::body::BodyDataStream, until: &str| {
            let mut text = String::new();
            while !text.contains(until) {
                text.push_str(std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap());
            }
            ids.iter().map(|id| text.contains(id.as_str())).collect::<Vec<_>>()
        };
        assert_eq!(heard(&mut hers, &ids[2]).await, [false, false, true], "{format}");
        assert_eq!(heard(&mut all, &ids[2]).await, [false, true, true], "{format}");
    }
}

#[tokio::test]
async fn what_a_tenant_holds_is_counted_and_its_rest_forgotten() {
    let server = Server::new().await;
    let (red, rooms) = (admin_of("red"), &server.rooms);
    assert!(rooms.held(&red.tenant).unwrap().is_nothing());
    let connection = json!({ "baseUrl": "https://red.example/" });
    ask(&server, &red, "PUT", "/v1/connections/a", connection).await;
    ask(&server, &red, "PUT", "/v1/secrets/a", json!({ "value": "hush" })).await;
    let order = json!({ "pack": "test", "workflow": "echo", "input": { "size": 1 } });
    let id = ask(&server, &red, "POST", "/v1/instances?wait=60", order).await.json()["id"].as_str().unwrap().to_owned();
    let held = rooms.held(&red.tenant).unwrap();
    assert_eq!(held.to_string(), "1 instances, 1 connections, 1 secrets, grants to 0 packs, 0 services, 0 schedules");
    assert!(rooms.held(&tenant("blue")).unwrap().is_nothing());
    for path in ["/v1/connections/a", "/v1/secrets/a", &format!("/v1/instances/{id}")] {
        assert_eq!(ask(&server, &red, "DELETE", path, Json::Null).await.status, StatusCode::NO_CONTENT, "{path}");
    }
    assert!(rooms.held(&red.tenant).unwrap().is_nothing());
    ask(&server, &red, "POST", "/v1/notifications", json!({ "title": "old" })).await;
    rooms.forget_rest(&red.tenant).await.unwrap();
    assert!(each(&get(&server, &red, "/v1/notifications").await, "title").is_empty());
}

#[tokio::test]
async fn a_connection_sends_the_secret_of_its_own_tenant() {
    let double = Double::start(|asked| answer(json!({ "got": asked.field("x-key") }))).await;
    let server = Server::new().await;
    for of in ["red", "blue"] {
        let secret = json!({ "value": format!("secret-of-{of}") });
        ask(&server, &admin_of(of), "PUT", "/v1/secrets/key", secret).await;
        let authentication = json!({ "scheme": "header", "name": "X-Key", "value": "key" });
        let declaration = json!({ "baseUrl": double.url("/"), "authentication": authentication });
        ask(&server, &admin_of(of), "PUT", "/v1/connections/a", declaration).await;
    }
    let name = "a".parse().unwrap();
    for of in ["red", "blue"] {
        let client = server.rooms.connections.client(&tenant(of), &name).unwrap();
        let outgoing = crate::connection::client::Outgoing {
            method: http::Method::GET,
            target: "/x".to_owned(),
            headers: HeaderMap::new(),
            payload: crate::connection::client::Payload::Bytes(Bytes::new()),
            timeout: None,
            idempotency_key: "k".to_owned(),
        };
        client.send(outgoing).await.unwrap();
        assert_eq!(double.requests().last().unwrap().field("x-key"), format!("secret-of-{of}"));
    }
}
