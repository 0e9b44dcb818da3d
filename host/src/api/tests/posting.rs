//! Events from outside, in every mode.

use super::*;

const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json; charset=utf-8");
const BATCHED: (&str, &str) = ("content-type", "application/cloudevents-batch+json");
const PATH: &str = "/v1/events";

fn event(id: &str) -> Json {
    json!({ "specversion": "1.0", "id": id, "source": "/test", "type": "t", "data": { "n": 1 } })
}

#[tokio::test]
async fn events_are_taken_in_every_mode_and_repeated_ones_are_dropped() {
    let server = Server::new().await;
    let check = async |headers: &[(&str, &str)], body: String, accepted: u64, duplicates: u64| {
        let answer = server.ask("POST", PATH, headers, body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{:?}", answer.body);
        assert_eq!(answer.json(), json!({ "accepted": accepted, "duplicates": duplicates }));
    };
    check(&[STRUCTURED], event("a").to_string(), 1, 0).await;
    check(&[STRUCTURED], event("a").to_string(), 0, 1).await;
    check(&[BATCHED], json!([event("a"), event("b"), event("c")]).to_string(), 2, 1).await;
    check(&[BATCHED], "[]".to_owned(), 0, 0).await;
    let binary = [("ce-specversion", "1.0"), ("ce-id", "d%20d"), ("ce-source", "/test"), ("ce-type", "t")];
    let typed = |media_type| [&binary[..], &[("content-type", media_type)]].concat();
    check(&typed("application/json"), "{}".to_owned(), 1, 0).await;
    check(&typed("text/plain"), "x".to_owned(), 0, 1).await;
    check(&binary, String::new(), 0, 1).await;
    check(&[STRUCTURED], event("d d").to_string(), 0, 1).await;
}

#[tokio::test]
async fn wrong_events_are_refused_with_the_place_of_the_fault() {
    let server = Server::new().await;
    let check = async |headers: &[(&str, &str)], body: &str, kind: &str, text: &str| {
        let answer = server.ask("POST", PATH, headers, body.to_owned()).await;
        assert_eq!(answer.problem(), kind, "{headers:?} {:?}", answer.body);
        assert!(answer.json().to_string().contains(text), "{text}: {:?}", answer.body);
    };
    check(&[], "{}", "unsupported-media-type", "cloudevents+json").await;
    check(&[("content-type", "application/json")], "{}", "unsupported-media-type", "ce-*").await;
    check(&[STRUCTURED], "{", "malformed-json", "line 1").await;
    check(&[STRUCTURED], "{}", "invalid-body", "`id`").await;
    check(&[STRUCTURED], "[]", "invalid-body", "object").await;
    check(&[STRUCTURED], &"x".repeat((1 << 20) + 1), "body-too-large", "1 MiB").await;
    check(&[BATCHED], "{}", "invalid-body", "array").await;
    let batch = json!([event("a"), {}, event("b"), 1]).to_string();
    check(&[BATCHED], &batch, "invalid-body", "\"pointer\":\"/3\"").await;
    let many = Json::from(vec![Json::Null; 1001]).to_string();
    check(&[BATCHED], &many, "invalid-body", "at most 1000").await;
    check(&[BATCHED], &"x".repeat((4 << 20) + 1), "body-too-large", "4 MiB").await;
    let binary = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/"), ("ce-type", "t")];
    let with = |more| [&binary[..], &[more]].concat();
    check(&with(("ce-subject", "%ff")), "", "invalid-parameter", "ce-subject").await;
    check(&with(("ce-id", "2")), "", "invalid-parameter", "once").await;
    check(&with(("ce-a-b", "x")), "", "invalid-body", "lower-case").await;
    check(&with(("content-type", "application/json")), "{", "invalid-body", "not JSON").await;
    check(&binary[..3], "", "invalid-body", "`type`").await;
    let none = server.ask("POST", PATH, &[BATCHED], json!([event("a"), event("b")]).to_string()).await;
    assert_eq!(none.json()["accepted"], 2, "of a refused batch nothing was stored");
}

#[tokio::test]
async fn what_happens_is_streamed_as_cloud_events() {
    use futures_util::StreamExt as _;
    let server = Server::new().await;
    let response = server.send(request("GET", "/v1/events?format=cloudevents", &[], "")).await;
    server.post("/v1/instances?wait=30", json!({ "pack": "test", "workflow": "echo", "input": { "size": 1 } })).await;
    let first = response.into_body().into_data_stream().next().await.unwrap().unwrap();
    let text = std::str::from_utf8(&first).unwrap();
    assert!(text.starts_with("event: cloudevent\ndata: {\"specversion\":\"1.0\""), "{text}");
    assert!(text.contains("io.serverlessworkflow.workflow.started.v1"), "{text}");
    assert_eq!(server.get("/v1/events?format=xml").await.problem(), "invalid-parameter");
}
