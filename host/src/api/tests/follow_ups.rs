//! Recommendations over the interface. The catalog is empty here: what is installed is the business of the end-to-end
//! tests, and what an output may look like that of `follow_ups/recommended.rs`.

use super::*;

#[tokio::test]
async fn an_instance_without_recommendations_lists_none_and_orders_none() {
    let server = Server::new().await;
    let order = json!({ "pack": "test", "workflow": "echo", "input": { "size": 1 } });
    let id = server.post("/v1/instances?wait=30", order).await.json()["id"].as_str().unwrap().to_owned();
    let list = server.get(&format!("/v1/instances/{id}/follow-ups")).await;
    assert_eq!((list.status, list.json()["items"].clone()), (StatusCode::OK, json!([])));
    let refused = server.post(&format!("/v1/instances/{id}/follow-ups/move2kube"), json!({})).await;
    assert_eq!(refused.problem(), "unknown-workflow");
}

#[tokio::test]
async fn an_instance_that_runs_recommends_nothing_yet() {
    let server = Server::new().await;
    let order = json!({ "pack": "test", "workflow": "hang" });
    let id = server.post("/v1/instances", order).await.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(server.get(&format!("/v1/instances/{id}/follow-ups")).await.json()["items"], json!([]));
    let refused = server.post(&format!("/v1/instances/{id}/follow-ups/x%2Fy"), json!({})).await;
    assert_eq!(refused.problem(), "instance-not-ended");
}

#[tokio::test]
async fn an_instance_that_is_not_there_is_told() {
    let server = Server::new().await;
    let nothing = "/v1/instances/0199c1f0-0000-7000-8000-000000000000/follow-ups";
    assert_eq!(server.get(nothing).await.problem(), "unknown-instance");
    assert_eq!(server.post(&format!("{nothing}/x"), json!({})).await.problem(), "unknown-instance");
    assert_eq!(server.post(&format!("{nothing}/x"), json!({"other": 1})).await.problem(), "invalid-body");
}
