//! Everything that can be changed has an entity tag, and a change that depends on another state is refused: for each change
//! that the document knows, so that a new one cannot be forgotten.

use super::services::install_shop;
use super::*;
use crate::api::openapi;

/// Changes to which no tag applies: there is nothing to read at their paths.
const WITHOUT: [(&str, &str); 0] = [];

/// A change of each resource: its path with the place of a thing that is there, and a body that it takes.
async fn things(server: &Server) -> Vec<(&'static str, String, Json)> {
    install_shop(server).await;
    let connection = json!({ "baseUrl": "https://storage.example/v1" });
    server.put("/v1/connections/storage", connection.clone()).await;
    server.put("/v1/secrets/token", json!({ "value": "hunter2" })).await;
    let service = json!({ "name": "gold", "pack": "shop", "workflow": "order" });
    server.post("/v1/services", service.clone()).await;
    let schedule = json!({ "name": "rare", "service": "gold", "input": { "size": 1 }, "every": "PT5H" });
    server.post("/v1/schedules", schedule.clone()).await;
    server.put("/v1/tenants/acme", json!({})).await;
    server.post("/v1/tokens", json!({ "name": "ci", "roles": ["viewer"] })).await;
    let notification = json!({ "title": "a", "recipients": { "type": "broadcast" } });
    let notification = server.post("/v1/notifications", notification).await.json()["id"].as_str().unwrap().to_owned();
    let ended = json!({ "pack": "test", "workflow": "echo", "input": { "size": 1 } });
    let instance = server.post("/v1/instances?wait=30", ended).await.json()["id"].as_str().unwrap().to_owned();
    let grants = json!({ "connections": {}, "secrets": {}, "hosts": [] });
    vec![
        ("/v1/connections/{name}", "/v1/connections/storage".into(), connection),
        ("/v1/secrets/{name}", "/v1/secrets/token".into(), json!({ "value": "hunter3" })),
        ("/v1/services/{name}", "/v1/services/gold".into(), service),
        ("/v1/schedules/{name}", "/v1/schedules/rare".into(), schedule),
        ("/v1/tenants/{name}", "/v1/tenants/acme".into(), json!({ "description": "a" })),
        ("/v1/tokens/{name}", "/v1/tokens/ci".into(), Json::Null),
        ("/v1/notifications/{id}", format!("/v1/notifications/{notification}"), Json::Null),
        ("/v1/instances/{id}", format!("/v1/instances/{instance}"), Json::Null),
        ("/v1/packs/{name}/grants", "/v1/packs/shop/grants".into(), grants),
        ("/v1/packs/{name}/{version}", "/v1/packs/shop/1.0.0".into(), Json::Null),
    ]
}

/// The changes of the interface, by path and method.
fn changes() -> Vec<(String, String, Json)> {
    let document = openapi::document();
    let paths = document["paths"].as_object().unwrap().iter().filter(|(path, _)| path.starts_with("/v1/"));
    let each = paths.flat_map(|(path, item)| {
        let methods = ["put", "patch", "delete"].into_iter().filter(|method| item.get(method).is_some());
        methods.map(|method| (path.clone(), method.to_ascii_uppercase(), item[method].clone()))
    });
    each.filter(|(path, method, _)| !WITHOUT.contains(&(path, method))).collect()
}

#[tokio::test]
async fn every_change_can_be_made_to_depend_on_the_state_that_was_read() {
    let changes = changes();
    assert!(changes.len() > 12, "{}", changes.len());
    for (path, method, operation) in changes {
        let at = format!("{method} {path}");
        let parameters = operation["parameters"].as_array().unwrap();
        assert!(parameters.iter().any(|parameter| parameter["name"] == "If-Match"), "{at} documents no `If-Match`");
        let server = Server::new().await;
        let things = things(&server).await;
        let (_, place, body) = things
            .iter()
            .find(|(known, ..)| *known == path)
            .unwrap_or_else(|| panic!("tell this test of a thing at {path}"));
        let read = server.get(place).await;
        assert_eq!(read.status, StatusCode::OK, "{at}: {:?}", read.body);
        let tag = read.headers["etag"].to_str().unwrap().to_owned();
        let body = match method.as_str() {
            "DELETE" => String::new(),
            "PATCH" => json!({ "description": "changed" }).to_string(),
            _ => body.to_string(),
        };
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let change = async |tag: &str| {
            let headers = [("content-type", kind), ("if-match", tag)];
            server.ask(&method, place, &headers, body.clone()).await
        };
        assert_eq!(change("\"another\"").await.problem(), "precondition-failed", "{at}");
        assert_eq!(server.get(place).await.headers["etag"], tag.as_str(), "{at}: nothing was changed");
        let changed = change(&tag).await;
        assert!(changed.status.is_success(), "{at}: {:?}", changed.body);
    }
}

#[tokio::test]
async fn the_tag_of_a_secret_changes_with_each_value_and_tells_nothing_of_it() {
    let server = Server::new().await;
    let path = "/v1/secrets/token";
    let mut tags = Vec::new();
    for _ in 0..2 {
        server.put(path, json!({ "value": "hunter2" })).await;
        let shown = server.get(path).await;
        assert!(!String::from_utf8_lossy(&shown.body).contains("hunter2"), "{:?}", shown.body);
        tags.push(shown.headers["etag"].to_str().unwrap().to_owned());
    }
    assert_ne!(tags[0], tags[1], "the same value stored again is another one");
    let headers = [("content-type", "application/json"), ("if-match", tags[0].as_str())];
    let late = server.ask("PUT", path, &headers, json!({ "value": "x" }).to_string()).await;
    assert_eq!(late.problem(), "precondition-failed");
    assert_eq!(server.get("/v1/secrets/nothing").await.problem(), "unknown-secret");
}
