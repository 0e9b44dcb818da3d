//! The life of an instance over the interface.

use super::*;

fn order(workflow: &str) -> Json {
    json!({ "pack": "test", "workflow": workflow, "name": "first try", "input": { "size": 1 } })
}

#[tokio::test]
async fn a_start_that_waits_answers_with_the_end() {
    let server = Server::new().await;
    let answer = server.post("/v1/instances?wait=30", order("echo")).await;
    let summary = answer.json();
    assert_eq!(
        (answer.status, &summary["status"], &summary["name"]),
        (StatusCode::CREATED, &"completed".into(), &"first try".into())
    );
    let id = summary["id"].as_str().unwrap();
    assert_eq!(answer.headers["location"], format!("/v1/instances/{id}"));
    assert_eq!(server.get(&format!("/v1/instances/{id}")).await.json(), summary);
}

#[tokio::test]
async fn what_happened_can_be_read_in_pages() {
    let server = Server::new().await;
    let id = server.post("/v1/instances?wait=30", order("echo")).await.json()["id"].as_str().unwrap().to_owned();
    let tasks = server.get(&format!("/v1/instances/{id}/tasks")).await.json();
    assert_eq!(
        (&tasks["items"][0]["name"], &tasks["items"][0]["attempts"][0]["outcome"]),
        (&"one".into(), &"succeeded".into())
    );
    let logs = server.get(&format!("/v1/instances/{id}/logs")).await.json();
    assert_eq!(logs["items"][0]["message"], "begun");
    let all = server.get(&format!("/v1/instances/{id}/history")).await.json();
    let (mut after, mut paged) = (json!("0"), Vec::new());
    while let Some(cursor) = after.as_str() {
        let page = server.get(&format!("/v1/instances/{id}/history?limit=2&after={cursor}")).await.json();
        paged.extend(page["items"].as_array().unwrap().clone());
        after = page["next"].clone();
    }
    assert_eq!(all["items"], Json::Array(paged));
    assert_eq!((&all["items"][0]["record"], &all["next"]), (&"created".into(), &Json::Null));
}

#[tokio::test]
async fn instances_are_listed_newest_first_by_what_is_asked_for() {
    let server = Server::new().await;
    for workflow in ["echo", "hang", "echo"] {
        server.post("/v1/instances", order(workflow)).await;
    }
    for waiting in server.get("/v1/instances?workflow=echo").await.json()["items"].as_array().unwrap() {
        server.get(&format!("/v1/instances/{}?wait=30", waiting["id"].as_str().unwrap())).await;
    }
    let count = async |query: &str| server.get(query).await.json()["items"].as_array().unwrap().len();
    assert_eq!(count("/v1/instances").await, 3);
    assert_eq!(count("/v1/instances?workflow=hang").await, 1);
    assert_eq!(count("/v1/instances?status=completed").await, 2);
    let page = server.get("/v1/instances?limit=2").await.json();
    let rest = server.get(&format!("/v1/instances?limit=2&cursor={}", page["next"].as_str().unwrap())).await.json();
    let workflows: Vec<_> = [&page, &rest]
        .iter()
        .flat_map(|page| page["items"].as_array().unwrap())
        .map(|item| item["workflow"].as_str().unwrap())
        .collect();
    assert_eq!((workflows, &rest["next"]), (vec!["echo", "hang", "echo"], &Json::Null));
}

#[tokio::test]
async fn a_running_instance_is_cancelled_before_it_is_deleted() {
    let server = Server::new().await;
    let id = server.post("/v1/instances", order("hang")).await.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/instances/{id}");
    assert_eq!(server.delete(&path).await.problem(), "instance-not-ended");
    let answer = server.ask("POST", &format!("{path}/cancel"), &[], "").await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(server.get(&format!("{path}?wait=30")).await.json()["status"], "cancelled");
    assert_eq!(server.ask("POST", &format!("{path}/cancel"), &[], "").await.problem(), "instance-ended");
    assert_eq!(server.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.get(&path).await.problem(), "unknown-instance");
}

#[tokio::test]
async fn an_instance_is_suspended_and_resumed_as_often_as_somebody_asks() {
    let server = Server::new().await;
    let id = server.post("/v1/instances", order("hang")).await.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/instances/{id}");
    let ask = async |verb: &str| server.ask("POST", &format!("{path}/{verb}"), &[], "").await;
    for (verb, status) in
        [("suspend", "suspended"), ("suspend", "suspended"), ("resume", "running"), ("resume", "running")]
    {
        let answer = ask(verb).await;
        assert_eq!((answer.status, &answer.json()["status"]), (StatusCode::ACCEPTED, &status.into()), "{verb}");
    }
    ask("suspend").await;
    assert_eq!(server.get("/v1/instances?status=suspended").await.json()["items"].as_array().unwrap().len(), 1);
    assert_eq!(server.delete(&path).await.problem(), "instance-not-ended");
    ask("cancel").await;
    assert_eq!(server.get(&format!("{path}?wait=30")).await.json()["status"], "cancelled");
    for verb in ["suspend", "resume"] {
        assert_eq!(ask(verb).await.problem(), "instance-ended", "{verb}");
    }
}

#[tokio::test]
async fn only_a_faulted_instance_is_tried_again() {
    let server = Server::new().await;
    let id = server.post("/v1/instances?wait=30", order("echo")).await.json()["id"].as_str().unwrap().to_owned();
    let answer = server.ask("POST", &format!("/v1/instances/{id}/retry"), &[], "").await;
    assert_eq!(answer.problem(), "instance-not-retried");
    assert!(answer.json()["detail"].as_str().unwrap().contains("completed"));
}

#[tokio::test]
async fn the_same_key_gives_the_same_instance_and_no_other_request() {
    let server = Server::new().await;
    let headers = [("content-type", "application/json"), ("idempotency-key", "order-1")];
    let start = async |order: Json| server.ask("POST", "/v1/instances?wait=30", &headers, order.to_string()).await;
    let first = start(order("echo")).await;
    let again = start(order("echo")).await;
    assert_eq!((first.status, again.status), (StatusCode::CREATED, StatusCode::OK));
    assert_eq!(first.json(), again.json());
    assert_eq!(start(order("hang")).await.problem(), "idempotency-key-reused");
    assert_eq!(server.rooms.coordinator.counters().started, 1);
}

#[tokio::test]
async fn a_wait_ends_when_the_server_stops() {
    let server = Server::new().await;
    let waiting = server.post("/v1/instances?wait=300", order("hang"));
    let stop = async {
        while server.rooms.coordinator.counters().live == 0 {
            tokio::task::yield_now().await;
        }
        server.rooms.stopping.cancel();
    };
    let (answer, ()) = tokio::join!(waiting, stop);
    assert_eq!((answer.status, &answer.json()["status"]), (StatusCode::CREATED, &"running".into()));
}
