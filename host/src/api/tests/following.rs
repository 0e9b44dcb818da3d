//! Event streams.

use futures_util::StreamExt;

use super::*;

async fn start(server: &Server, workflow: &str, wait: &str) -> String {
    let order = json!({ "pack": "test", "workflow": workflow, "input": { "size": 1 } });
    server.post(&format!("/v1/instances?wait={wait}"), order).await.json()["id"].as_str().unwrap().to_owned()
}

/// The events of a stream's text: name, id, data.
fn events(text: &str) -> Vec<(String, Option<u64>, Json)> {
    let field =
        |event: &str, name: &str| event.lines().find_map(|line| Some(line.strip_prefix(name)?.trim_start().to_owned()));
    let events = text.split("\n\n").filter(|event| event.contains("data:"));
    events
        .map(|event| {
            let data = serde_json::from_str(&field(event, "data:").unwrap()).unwrap();
            (field(event, "event:").unwrap(), field(event, "id:").map(|id| id.parse().unwrap()), data)
        })
        .collect()
}

#[tokio::test]
async fn a_stream_replays_the_history_and_ends_after_the_end() {
    let server = Server::new().await;
    let id = start(&server, "echo", "30").await;
    let path = format!("/v1/instances/{id}/events");
    let answer = server.get(&path).await;
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let all = events(std::str::from_utf8(&answer.body).unwrap());
    assert!(all.iter().all(|(name, id, data)| name == "record" && *id == data["seq"].as_u64()), "{all:?}");
    assert_eq!((&all[0].2["record"], &all.last().unwrap().2["record"]), (&"created".into(), &"ended".into()));
    let last = all.last().unwrap().1.unwrap();

    let seen = (last - 1).to_string();
    let rest = server.ask("GET", &path, &[("last-event-id", &seen)], "").await;
    assert_eq!(events(std::str::from_utf8(&rest.body).unwrap()), all[all.len() - 1..]);
    let rest = server.get(&format!("{path}?after={seen}")).await;
    assert_eq!(events(std::str::from_utf8(&rest.body).unwrap()), all[all.len() - 1..]);
    let done = server.ask("GET", &path, &[("last-event-id", &last.to_string())], "").await;
    assert_eq!(done.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_stream_tells_what_happens_while_it_is_open() {
    let server = Server::new().await;
    let id = start(&server, "hang", "0").await;
    let response = server.send(request("GET", &format!("/v1/instances/{id}/events"), &[], "")).await;
    server.ask("POST", &format!("/v1/instances/{id}/cancel"), &[], "").await;
    let answer = Answer::read(response).await;
    let all = events(std::str::from_utf8(&answer.body).unwrap());
    let last = &all.last().unwrap().2;
    assert_eq!((&last["record"], &last["status"]), (&"ended".into(), &"cancelled".into()));
}

#[tokio::test]
async fn the_stream_of_all_instances_ends_when_the_server_stops() {
    let server = Server::new().await;
    let response = server.send(request("GET", "/v1/events", &[], "")).await;
    let id = start(&server, "echo", "30").await;
    let mut stream = response.into_body().into_data_stream();
    let first = stream.next().await.unwrap().unwrap();
    let first = events(std::str::from_utf8(&first).unwrap());
    assert_eq!((first[0].1, &first[0].2["instance"]), (None, &Json::from(id)));
    server.rooms.stopping.cancel();
    while stream.next().await.is_some() {}
}

#[tokio::test]
async fn followers_are_bounded_and_give_their_place_back() {
    let server = Server::new().await;
    let mut streams = Vec::new();
    let refused = loop {
        let response = server.send(request("GET", "/v1/events", &[], "")).await;
        match response.status() {
            StatusCode::OK => streams.push(response),
            _ => break Answer::read(response).await,
        }
    };
    assert_eq!((refused.problem().as_str(), streams.len()), ("busy", crate::api::serve::followers_max()));
    streams.pop();
    assert_eq!(server.send(request("GET", "/v1/events", &[], "")).await.status(), StatusCode::OK);
}
