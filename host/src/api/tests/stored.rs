//! Connections and secrets over the interface.

use super::*;

#[tokio::test]
async fn a_connection_is_made_replaced_listed_and_removed() {
    let server = Server::new().await;
    let path = "/v1/connections/block-storage";
    let declaration = json!({ "baseUrl": "https://storage.example/v1beta" });
    let made = server.put(path, declaration.clone()).await;
    assert_eq!((made.status, &made.json()["name"]), (StatusCode::CREATED, &"block-storage".into()));
    assert_eq!(server.put(path, declaration).await.status, StatusCode::OK);
    let shown = server.get(path).await.json();
    assert_eq!(
        (&shown["baseUrl"], &shown["authentication"]["scheme"]),
        (&"https://storage.example/v1beta".into(), &"none".into())
    );
    assert_eq!(server.get("/v1/connections").await.json(), json!({ "items": [shown], "next": null }));
    assert_eq!(server.delete(path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.get(path).await.problem(), "unknown-connection");
}

#[tokio::test]
async fn a_secret_is_written_and_never_read_back() {
    let server = Server::new().await;
    let answer = server.put("/v1/secrets/token", json!({ "value": "hunter2" })).await;
    assert_eq!((answer.status, answer.body.len()), (StatusCode::NO_CONTENT, 0));
    let listed = server.get("/v1/secrets").await;
    let shown = server.get("/v1/secrets/token").await.json();
    assert_eq!(listed.json(), json!({ "items": [shown], "next": null }));
    assert_eq!(shown, json!({ "name": "token", "version": shown["version"].as_str().unwrap() }));
    let long = "x".repeat((64 << 10) + 1);
    assert_eq!(server.put("/v1/secrets/token", json!({ "value": long })).await.problem(), "body-too-large");
    assert_eq!(server.delete("/v1/secrets/token").await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.get("/v1/secrets").await.json()["items"], json!([]));
}
