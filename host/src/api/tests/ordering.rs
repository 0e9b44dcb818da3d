//! Ordering: which workflow, with which input; the same once more.

use super::services::install_shop;
use super::*;

async fn shop() -> Server {
    let server = Server::new().await;
    install_shop(&server).await;
    let several = json!({"name": "both", "workflows": [
            {"name": "buy", "pack": "shop", "workflow": "order"}, {"name": "give", "pack": "shop", "workflow": "gift"}],
        "inputDefaults": {"class": "gold"}, "lockedInputs": ["class"]});
    assert_eq!(server.post("/v1/services", several).await.status, StatusCode::CREATED);
    server
}

async fn order(server: &Server, order: Json) -> Json {
    let answer = server.post("/v1/instances?wait=30", order.clone()).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{order}: {:?}", answer.body);
    answer.json()
}

fn path(instance: &Json, verb: &str) -> String {
    format!("/v1/instances/{}/{verb}", instance["id"].as_str().unwrap())
}

#[tokio::test]
async fn an_order_names_one_of_several_workflows_and_is_completed() {
    let server = shop().await;
    let first = order(&server, json!({"service": "both", "input": {"size": 1}})).await;
    assert_eq!(
        (&first["workflow"], &first["input"]),
        (&"order".into(), &json!({"size": 1, "colour": "red", "class": "gold"}))
    );
    let second = order(&server, json!({"service": "both", "workflow": "give"})).await;
    assert_eq!((&second["workflow"], &second["service"]), (&"gift".into(), &"both".into()));
    let none = server.post("/v1/instances", json!({"service": "both", "workflow": "order"})).await;
    assert_eq!(none.problem(), "unknown-workflow");
    assert!(none.json()["detail"].as_str().unwrap().contains("it has `buy`, `give`"));
    let mixed = server.post("/v1/instances", json!({"service": "both", "pack": "shop"})).await;
    assert_eq!(mixed.problem(), "invalid-body");
}

#[tokio::test]
async fn all_faults_of_an_order_are_told_with_their_places() {
    let server = shop().await;
    let answer = server
        .post(
            "/v1/services",
            json!({"name": "strict", "pack": "shop", "workflow": "order",
        "inputSchema": {"required": ["who"], "properties": {"who": {}, "many": {"maximum": 3}}}}),
        )
        .await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let answer = server.post("/v1/instances", json!({"service": "strict", "input": {"size": "x", "many": 4}})).await;
    assert_eq!(answer.problem(), "invalid-input");
    let places: Vec<Json> =
        answer.json()["errors"].as_array().unwrap().iter().map(|fault| fault["pointer"].clone()).collect();
    assert_eq!(json!(places), json!(["/input", "/input/many", "/input/size"]));
    let locked = server.post("/v1/instances", json!({"service": "both", "input": {"size": 1, "class": "tin"}})).await;
    assert_eq!(
        (locked.problem(), &locked.json()["errors"][0]["pointer"]),
        ("invalid-input".to_owned(), &"/input/class".into())
    );
}

#[tokio::test]
async fn one_key_is_one_order_and_one_workflow_of_it() {
    let server = shop().await;
    let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
    let order = async |body: Json| server.ask("POST", "/v1/instances", &headers, body.to_string()).await;
    let first = order(json!({"service": "both", "workflow": "give"})).await;
    let again = order(json!({"service": "both", "workflow": "give"})).await;
    assert_eq!((first.status, again.status), (StatusCode::CREATED, StatusCode::OK));
    assert_eq!(first.json()["id"], again.json()["id"]);
    let other = order(json!({"service": "both", "input": {"size": 1}})).await;
    assert_eq!(other.problem(), "idempotency-key-reused");
}

#[tokio::test]
async fn a_prefill_orders_the_same_again_and_tells_no_secret() {
    let server = shop().await;
    let given = json!({"service": "both", "name": "mine", "input": {"size": 1, "pin": 1234}});
    let first = order(&server, given).await;
    let mut prefill = server.get(&path(&first, "prefill")).await.json();
    assert_eq!(prefill.as_object_mut().unwrap().remove("omitted"), Some(json!(["/pin"])));
    let expected = json!({"service": "both", "workflow": "buy", "name": "mine", "input": {"size": 1, "colour": "red"}});
    assert_eq!(prefill, expected);
    let second = order(&server, prefill).await;
    assert_eq!((&second["workflow"], &second["rerunOf"]), (&"order".into(), &Json::Null));
    server.delete("/v1/services/both").await;
    let prefill = server.get(&path(&second, "prefill")).await.json();
    assert_eq!(json!([prefill["pack"], prefill["workflow"]]), json!(["shop", "order"]));
    order(&server, prefill).await;
}

#[tokio::test]
async fn an_instance_runs_again_as_it_was_or_with_changes() {
    let server = shop().await;
    let first = order(&server, json!({"service": "both", "name": "mine", "input": {"size": 1, "pin": 1234}})).await;
    let rerun = server.ask("POST", &path(&first, "rerun?wait=30"), &[], "").await;
    assert_eq!(rerun.status, StatusCode::CREATED, "{:?}", rerun.body);
    let same = rerun.json();
    for member in ["service", "workflow", "packVersion", "name", "input", "output"] {
        assert_eq!(same[member], first[member], "{member}");
    }
    assert_eq!((&same["rerunOf"], &same["status"]), (&first["id"], &"completed".into()));
    let change = json!({"input": {"size": 2, "pin": null}, "name": "other", "version": "latest"});
    let changed = server.post(&path(&first, "rerun"), change).await.json();
    assert_eq!(
        (&changed["input"]["size"], changed["input"].get("pin"), &changed["name"]),
        (&2.into(), None, &"other".into())
    );
    let wrong = server.post(&path(&first, "rerun"), json!({"input": {"size": "x"}})).await;
    assert_eq!(
        (wrong.problem(), &wrong.json()["errors"][0]["pointer"]),
        ("invalid-input".to_owned(), &"/input/size".into())
    );
    let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
    let keyed = async |body: &str| server.ask("POST", &path(&first, "rerun"), &headers, body.to_owned()).await;
    assert_eq!(keyed("{}").await.json()["id"], keyed("{}").await.json()["id"]);
    assert_eq!(keyed("{\"version\": \"latest\"}").await.problem(), "idempotency-key-reused");
    server.ask("PATCH", "/v1/services/both", &headers, "{\"enabled\": false}").await;
    assert_eq!(server.post(&path(&first, "rerun"), json!({})).await.problem(), "service-disabled");
}

#[tokio::test]
async fn what_is_not_installed_any_more_runs_again_in_its_newest_version_only() {
    let server = shop().await;
    let first = order(&server, json!({"pack": "shop", "workflow": "gift"})).await;
    let (name, version) = (PackName::parse("shop").unwrap(), semver::Version::new(1, 0, 0));
    server.rooms.catalog.remove(&name, &version, true, |_, _| false).await.unwrap();
    let gone = server.post(&path(&first, "rerun"), json!({})).await;
    assert_eq!(gone.problem(), "workflow-not-at-hand");
    assert!(gone.json()["detail"].as_str().unwrap().contains("\"version\": \"latest\""));
    let service = server.get("/v1/services/both").await.json();
    assert_eq!((&service["available"], service["reason"].is_string()), (&false.into(), true));
    assert_eq!(server.post("/v1/instances", json!({"service": "both"})).await.problem(), "workflow-not-at-hand");
}
