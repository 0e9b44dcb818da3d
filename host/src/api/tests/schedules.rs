//! Schedules over the interface: made here, and standing in a pack.

use super::services::install_shop;
use super::*;

fn nightly() -> Json {
    json!({"name": "nightly", "service": "shop order", "input": {"size": 1}, "cron": "0 3 * * *", "timeZone": "Asia/Tokyo"})
}

async fn shop() -> Server {
    let server = Server::new().await;
    install_shop(&server).await;
    while server.get("/v1/schedules/tick@shop").await.status != StatusCode::OK {
        tokio::task::yield_now().await; // The scheduler takes up what was installed.
    }
    server
}

#[tokio::test]
async fn a_schedule_is_made_read_changed_run_and_removed() {
    let server = shop().await;
    let made = server.post("/v1/schedules", nightly()).await;
    assert_eq!(
        (made.status, &made.headers["location"]),
        (StatusCode::CREATED, &"/v1/schedules/nightly".parse().unwrap())
    );
    let view = made.json();
    assert!(view["next"].as_str().unwrap().ends_with("T18:00:00Z"), "three o'clock in Tokyo: {view}");
    assert_eq!(
        json!([view["origin"], view["createdBy"], view["enabled"], view["done"]]),
        json!(["api", "anonymous", true, false])
    );
    assert_eq!(server.get("/v1/schedules/nightly").await.json(), view);
    assert_eq!(server.post("/v1/schedules", nightly()).await.problem(), "schedule-exists");
    let patch = async |body: &str| {
        let headers = [("content-type", "application/merge-patch+json")];
        server.ask("PATCH", "/v1/schedules/nightly", &headers, body.to_owned()).await
    };
    let off = patch("{\"enabled\": false}").await.json();
    assert_eq!((&off["enabled"], off.get("next")), (&false.into(), None));
    let ran = server.ask("POST", "/v1/schedules/nightly/run?wait=30", &[], "").await;
    assert_eq!((ran.status, &ran.json()["service"]), (StatusCode::CREATED, &"shop order".into()));
    assert_eq!(server.get("/v1/schedules/nightly").await.json()["last"]["instance"], ran.json()["id"]);
    let twice = patch("{\"every\": \"PT1H\"}").await;
    assert_eq!(twice.problem(), "invalid-body");
    let yaml = "service: shop order\ninput: { size: 2 }\nevery: PT1H\n";
    let put = server.ask("PUT", "/v1/schedules/nightly", &[("content-type", "application/yaml")], yaml).await;
    assert_eq!((put.status, &put.json()["every"], put.json().get("cron")), (StatusCode::OK, &"PT1H".into(), None));
    assert_eq!(server.delete("/v1/schedules/nightly").await.status, StatusCode::NO_CONTENT);
    for method in ["GET", "DELETE"] {
        assert_eq!(server.ask(method, "/v1/schedules/nightly", &[], "").await.problem(), "unknown-schedule");
    }
}

#[tokio::test]
async fn a_pack_s_schedule_is_listed_and_only_switched_off() {
    let server = shop().await;
    server.post("/v1/schedules", nightly()).await;
    let all = server.get("/v1/schedules").await.json();
    let names: Vec<_> = all["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["nightly", "tick@shop"]);
    let of_pack = server.get("/v1/schedules?origin=pack").await.json()["items"][0].clone();
    assert_eq!(json!([of_pack["every"], of_pack["pack"], of_pack["workflow"]]), json!(["PT5H", "shop", "tick"]));
    assert!(of_pack["next"].is_string(), "{of_pack}");
    let path = "/v1/schedules/tick@shop";
    let json = [("content-type", "application/json")];
    assert_eq!(server.delete(path).await.problem(), "schedule-of-pack");
    assert_eq!(server.put(path, json!({"service": "shop order", "every": "PT1H"})).await.problem(), "schedule-of-pack");
    let patch = async |body: &str| server.ask("PATCH", path, &json, body.to_owned()).await;
    assert_eq!(patch("{\"every\": \"PT1H\"}").await.problem(), "schedule-of-pack");
    let off = patch("{\"enabled\": false}").await.json();
    assert_eq!((&off["enabled"], off.get("next")), (&false.into(), None));
    assert_eq!(patch("{\"enabled\": true}").await.json()["next"], of_pack["next"]);
    let ran = server.ask("POST", &format!("{path}/run?wait=30"), &[], "").await;
    assert_eq!((ran.status, &ran.json()["workflow"]), (StatusCode::CREATED, &"tick".into()));
}

#[tokio::test]
async fn what_could_not_be_started_is_refused_before_it_is_due() {
    let server = shop().await;
    let check = async |members: Json, problem: &str, place: &str| {
        let mut schedule = nightly();
        schedule.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        schedule.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let answer = server.post("/v1/schedules", schedule).await;
        assert_eq!(answer.problem(), problem, "{members}");
        let found = &answer.json()["errors"][0]["pointer"];
        assert_eq!(found.as_str().unwrap_or("none"), place, "{members}");
    };
    check(json!({"service": "none"}), "unknown-service", "none").await;
    check(json!({"input": {"size": "x"}}), "invalid-input", "/input/size").await;
    check(json!({"cron": "61 * * * *"}), "invalid-body", "/cron").await;
    check(json!({"timeZone": "Moon"}), "invalid-body", "/timeZone").await;
    check(json!({"cron": null, "timeZone": null, "at": "soon"}), "invalid-body", "/at").await;
    check(json!({"cron": null, "timeZone": null, "at": "2020-01-01T00:00:00Z"}), "invalid-body", "/at").await;
    check(json!({"name": "a b"}), "invalid-body", "/name").await;
    check(json!({"service": null, "pack": "shop", "workflow": "none"}), "unknown-workflow", "none").await;
    assert_eq!(server.put("/v1/schedules/a%20b", nightly()).await.problem(), "invalid-parameter");
}
