//! What SODA's command line and dashboard send, one request after the other, as they send it.

use super::*;

/// The dashboard's form: for each required parameter that it can show one text, number or choice of `true` and `false`.
fn filled_in(form: &Json) -> Json {
    let mut values = serde_json::Map::new();
    for (name, field) in form.as_object().unwrap() {
        let value = match (field["required"] == true, field["type"].as_str().unwrap()) {
            // The dashboard shows this one always, as a choice of profiles, here with nothing chosen.
            _ if name == "profile_id" => json!(""),
            (false, _) => continue,
            (true, "integer") => json!("3"),
            (true, "boolean") => json!("true"),
            (true, "string") => json!("text"),
            (true, other) => panic!("the dashboard cannot ask for `{name}`, which is {other}"),
        };
        values.insert(name.clone(), value);
    }
    Json::Object(values)
}

#[tokio::test]
async fn the_dashboard_lists_orders_follows_and_deletes() {
    let scene = Scene::new().await;
    scene.register("volume provision", &["opensds.provision-volume", "opensds.snapshot-volume"]).await;
    let services = scene.get("services").await.json();
    for service in services.as_array().unwrap() {
        assert!(service["workflows"][0]["definition_source"].is_string() && service["group"].is_string());
    }
    let service = services.as_array().unwrap().iter().find(|service| service["name"] == "volume provision").unwrap();
    let action = &service["workflows"][0]["definition_source"];
    let body = json!({ "service_id": service["id"], "user_id": "5580", "action": action, "name": "from the form",
        "description": "typed in", "parameters": filled_in(&service["input"]), "headers": { "X-Auth-Token": "x" } });
    let started = scene.send("POST", "instances", body).await;
    assert_eq!(started.status, StatusCode::OK, "{:?}", started.body);
    let id = started.json()["id"].as_str().unwrap().to_owned();
    scene.ended(&id).await;
    let instances = scene.get(&format!("instances/?service_def={}", service["id"].as_str().unwrap())).await.json();
    let one = &instances[0];
    assert_eq!(
        (&one["name"], &one["description"], &one["status"]),
        (&json!("from the form"), &json!("typed in"), &json!("Success"))
    );
    let counted = scene.get("instances").await.json();
    assert_eq!(counted[0]["service_definition_id"], service["id"], "it counts instances by this");
    let execution = one["workflow_id"].as_str().unwrap();
    assert_eq!(scene.get(&format!("tasks/{execution}")).await.status, StatusCode::OK);
    assert_eq!(scene.send("DELETE", &format!("instances/{id}"), json!({})).await.json(), "Success");
    assert_eq!(scene.get("instances").await.json(), json!([]));
}

#[tokio::test]
async fn the_command_line_registers_with_a_body_encoded_twice_and_runs() {
    let scene = Scene::new().await;
    let twice = |body: Json| Json::from(body.to_string()).to_string();
    let headers = [("content-type", "application/json"), ("x-auth-token", "abc")];
    let said = twice(registration("volume provision", &["opensds.provision-volume"]));
    let made = scene.0.ask("POST", &scene.at("services"), &headers, said).await;
    assert_eq!(made.status, StatusCode::OK, "{:?}", made.body);
    let body = json!({ "service_id": made.json()["id"], "name": "a", "action": "opensds.provision-volume",
        "parameters": { "name": "a", "size": 1, "host_id": "h" } });
    let started = scene.0.ask("POST", &scene.at("instances"), &headers, twice(body)).await;
    assert_eq!(started.status, StatusCode::OK, "{:?}", started.body);
}

#[tokio::test]
async fn a_body_of_any_content_type_is_read() {
    let scene = Scene::new().await;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8"] {
        let body = registration(kind, &["opensds.provision-volume"]).to_string();
        let answer = scene.0.ask("POST", &scene.at("services"), &[("content-type", kind)], body).await;
        assert_eq!(answer.status, StatusCode::OK, "{kind}");
    }
}

#[tokio::test]
async fn an_installer_that_runs_twice_registers_once() {
    let scene = Scene::new().await;
    let seed = async || {
        scene.register("volume provision", &["opensds.provision-volume", "opensds.snapshot-volume"]).await;
        scene.get("services").await.json().as_array().unwrap().len()
    };
    assert_eq!((seed().await, seed().await), (2, 2), "with the pack's own");
}

#[tokio::test]
async fn an_instance_is_paused_resumed_cancelled_and_run_again() {
    let scene = Scene::new().await;
    let service = scene.register("volumes", &["opensds.provision-volume", "opensds.snapshot-volume"]).await;
    let id = scene.hang(&service).await;
    let state = async |verb: &str| {
        let answer = scene.send("POST", &format!("instances/{id}/{verb}"), json!({})).await;
        assert_eq!(answer.status, StatusCode::OK, "{verb}: {:?}", answer.body);
        answer.json()["state"].clone()
    };
    assert_eq!(state("pause").await, "suspended");
    assert_eq!(state("resume").await, "running");
    state("cancel").await;
    assert_eq!(scene.ended(&id).await["state"], "cancelled");
    let first = scene.run(&service, json!({})).await.json();
    let rest = format!("instances/{}/rerun", first["id"].as_str().unwrap());
    let again = scene.send("POST", &rest, json!({ "parameters": { "size": "7" } })).await.json();
    assert_eq!((&again["rerun_of"], &again["input"]["size"]), (&first["id"], &json!(7)));
    assert_eq!((&again["service_id"], &again["description"]), (&json!(service), &json!("for tests")));
}
