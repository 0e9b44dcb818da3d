//! Services over the interface: those of a pack, and those made here.

use super::*;
use crate::api::caller::Caller;
use crate::model::{Principal, Role};

/// A pack without components: a service `shop order` for `order`, a workflow `gift`, and one that starts by itself.
pub(super) async fn install_shop(server: &Server) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "pack.yaml",
        "format: 1\nname: shop\nversion: 1.0.0\nworld: orchestrator:pack/action@0.1\n\
         workflows: [order.yaml, gift.yaml, tick.yaml]\n\
         services:\n  - { name: shop order, group: shops, description: Buys., workflow: order }\n",
    );
    let properties = "{ size: { type: integer }, colour: { default: red }, pin: { writeOnly: true } }";
    for (name, more) in [
        ("order", format!("input: {{ schema: {{ document: {{ required: [size], properties: {properties} }} }} }}\n")),
        ("gift", String::new()),
        ("tick", "schedule: { every: { hours: 5 } }\n".to_owned()),
    ] {
        let text = format!(
            "document: {{ dsl: '1.0.0', namespace: n, name: {name}, version: '1.0.0' }}\n{more}do:\n  - note: {{ set: {{ note: 1 }} }}\n"
        );
        write(&format!("{name}.yaml"), &text);
    }
    server.rooms.catalog.install_directory(folder.path()).await.unwrap();
}

/// A request of somebody who may order these services only.
pub(super) async fn ask_as(server: &Server, services: &[&str], method: &str, path: &str, body: Json) -> Answer {
    let services = services.iter().map(|name| ServiceName::parse(name).unwrap()).collect();
    let caller = Principal {
        subject: "token:shopper".to_owned(),
        tenant: TenantName::standard(),
        roles: [Role::TenantAdmin].into(),
        services: Some(services),
    };
    let router =
        crate::api::openapi::router().with_state(server.rooms.clone()).layer(axum::Extension(Caller(Arc::new(caller))));
    let json = [("content-type", "application/json")];
    let response = router.oneshot(request(method, path, &json, body.to_string())).await.unwrap();
    let problem = response.extensions().get::<crate::api::problem::Problem>().cloned();
    let answer = Answer::read(response).await;
    match problem {
        Some(problem) => Answer::read(problem.render(path, "r")).await,
        None => answer,
    }
}

fn names(answer: &Answer) -> Vec<String> {
    let items = answer.json()["items"].as_array().unwrap().clone();
    items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_service_is_made_read_changed_and_removed() {
    let server = Server::new().await;
    install_shop(&server).await;
    let template = json!({"name": "gold/1", "group": "metals", "tags": ["a"], "pack": "shop", "workflow": "order",
        "uiSchema": {"ui:order": ["size"]}, "inputSchema": {"properties": {"size": {"ui:widget": "range", "x-a": 1}}}});
    let made = server.post("/v1/services", template.clone()).await;
    assert_eq!(
        (made.status, &made.headers["location"]),
        (StatusCode::CREATED, &"/v1/services/gold%2F1".parse().unwrap())
    );
    let path = "/v1/services/gold%2F1";
    let read = server.get(path).await.json();
    assert_eq!(read, made.json());
    assert_eq!((&read["uiSchema"], &read["inputSchema"]), (&template["uiSchema"], &template["inputSchema"]));
    let shape = (&read["origin"], &read["enabled"], &read["available"], &read["createdBy"], &read["version"]);
    assert_eq!(json!(shape), json!(["api", true, true, "anonymous", "1.0.0"]));
    assert_eq!(server.post("/v1/services", template).await.problem(), "service-exists");
    let patch = json!({"description": "d", "tags": null, "enabled": false});
    let patched =
        server.ask("PATCH", path, &[("content-type", "application/merge-patch+json")], patch.to_string()).await;
    let patched = patched.json();
    assert_eq!(json!([patched["description"], patched["tags"], patched["enabled"]]), json!(["d", [], false]));
    let yaml = "group: other\nworkflows:\n  - { name: give, pack: shop, workflow: gift }\n";
    let put = server.ask("PUT", path, &[("content-type", "application/yaml")], yaml).await;
    assert_eq!(
        (put.status, &put.json()["workflow"], &put.json()["revision"]),
        (StatusCode::OK, &"gift".into(), &3.into())
    );
    assert_eq!(server.delete(path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.get(path).await.problem(), "unknown-service");
    assert_eq!(server.delete(path).await.problem(), "unknown-service");
    let again = server.ask("PUT", path, &[("content-type", "application/yaml")], yaml).await;
    assert_eq!(again.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_pack_s_service_is_only_switched_off() {
    let server = Server::new().await;
    install_shop(&server).await;
    let path = "/v1/services/shop%20order";
    let json = [("content-type", "application/json")];
    assert_eq!(server.delete(path).await.problem(), "service-of-pack");
    assert_eq!(server.put(path, json!({"pack": "shop", "workflow": "gift"})).await.problem(), "service-of-pack");
    let patch = async |body: Json| server.ask("PATCH", path, &json, body.to_string()).await;
    assert_eq!(patch(json!({"enabled": false, "group": "x"})).await.problem(), "service-of-pack");
    assert_eq!(patch(json!({"enabled": "no"})).await.problem(), "invalid-body");
    assert_eq!(patch(json!({"enabled": false})).await.json()["enabled"], false);
    let order = json!({"service": "shop order", "input": {"size": 1}});
    assert_eq!(server.post("/v1/instances", order.clone()).await.problem(), "service-disabled");
    assert_eq!(names(&server.get("/v1/services?enabled=false").await), ["shop order"]);
    patch(json!({"enabled": true})).await;
    assert_eq!(server.post("/v1/instances", order).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn services_are_found_by_what_they_say() {
    let server = Server::new().await;
    install_shop(&server).await;
    for (name, group, tag) in [("gold", "metals", "rare"), ("tin", "metals", "common")] {
        let template = json!({"name": name, "group": group, "tags": [tag], "pack": "shop", "workflow": "gift"});
        assert_eq!(server.post("/v1/services", template).await.status, StatusCode::CREATED);
    }
    let check = async |query: &str, expected: &[&str]| {
        assert_eq!(names(&server.get(&format!("/v1/services{query}")).await), expected, "{query}");
    };
    check("", &["gold", "shop order", "tin"]).await;
    check("?group=metals", &["gold", "tin"]).await;
    check("?tag=rare", &["gold"]).await;
    check("?origin=pack", &["shop order"]).await;
    check("?origin=api&q=COMMON%20tin", &["tin"]).await;
    check("?q=buys", &["shop order"]).await;
    assert_eq!(server.get("/v1/services?origin=moon").await.problem(), "invalid-parameter");
}

#[tokio::test]
async fn a_wrong_template_is_told_whole_with_places() {
    let server = Server::new().await;
    install_shop(&server).await;
    let template = json!({"name": "x", "group": "", "inputSchema": {"type": 1}, "pack": "shop", "workflow": "gift"});
    let answer = server.post("/v1/services", template).await;
    assert_eq!(answer.problem(), "invalid-body");
    let places: Vec<Json> =
        answer.json()["errors"].as_array().unwrap().iter().map(|fault| fault["pointer"].clone()).collect();
    assert_eq!(json!(places), json!(["/group", "/inputSchema/type"]));
    let unknown = server.post("/v1/services", json!({"name": "x", "colour": 1})).await;
    assert_eq!(
        (unknown.problem(), &unknown.json()["errors"][0]["pointer"]),
        ("invalid-body".to_owned(), &"/colour".into())
    );
    let broken = server.ask("POST", "/v1/services", &[("content-type", "application/yaml")], "a: [").await;
    assert_eq!(broken.problem(), "malformed-yaml");
    let typed = server.ask("POST", "/v1/services", &[("content-type", "text/plain")], "{}").await;
    assert_eq!(typed.problem(), "unsupported-media-type");
}

#[tokio::test]
async fn what_somebody_may_not_order_is_not_there_for_her() {
    let server = Server::new().await;
    install_shop(&server).await;
    server.post("/v1/services", json!({"name": "gold", "pack": "shop", "workflow": "gift"})).await;
    let ask = async |method, path, body| ask_as(&server, &["gold"], method, path, body).await;
    assert_eq!(names(&ask("GET", "/v1/services", json!({})).await), ["gold"]);
    assert_eq!(ask("GET", "/v1/services/shop%20order", json!({})).await.problem(), "unknown-service");
    let order = json!({"service": "shop order", "input": {"size": 1}});
    assert_eq!(ask("POST", "/v1/instances", order).await.problem(), "unknown-service");
    let past = json!({"pack": "shop", "workflow": "gift"});
    assert_eq!(ask("POST", "/v1/instances", past).await.problem(), "unknown-workflow");
    let schedule = json!({"name": "a", "service": "shop order", "input": {"size": 1}, "every": "PT1H"});
    assert_eq!(ask("POST", "/v1/schedules", schedule.clone()).await.problem(), "unknown-service");
    assert_eq!(server.post("/v1/schedules", schedule).await.status, StatusCode::CREATED);
    assert_eq!(ask("GET", "/v1/schedules", json!({})).await.json()["items"], json!([]));
    assert_eq!(ask("DELETE", "/v1/schedules/a", json!({})).await.problem(), "unknown-schedule");
    assert_eq!(ask("POST", "/v1/instances", json!({"service": "gold"})).await.status, StatusCode::CREATED);
}

/// A change of `workflow` alone used to be told to give either `workflows`, or `pack` and `workflow`.
#[tokio::test]
async fn the_one_workflow_of_a_service_is_changed_by_its_name() {
    let server = Server::new().await;
    install_shop(&server).await;
    let body = json!({ "name": "gold", "pack": "shop", "workflow": "order" });
    assert_eq!(server.post("/v1/services", body).await.status, StatusCode::CREATED);
    let change = async |patch: Json| {
        let kind = [("content-type", "application/merge-patch+json")];
        server.ask("PATCH", "/v1/services/gold", &kind, patch.to_string()).await
    };
    let changed = change(json!({ "workflow": "gift" })).await.json();
    assert_eq!((&changed["workflow"], changed["workflows"].as_array().unwrap().len()), (&json!("gift"), 1));
    let changed = change(json!({ "version": "1.0.0" })).await.json();
    assert_eq!((&changed["workflow"], &changed["version"]), (&json!("gift"), &json!("1.0.0")));
    let several =
        json!({ "workflows": [{ "pack": "shop", "workflow": "gift" }, { "pack": "shop", "workflow": "order" }] });
    assert_eq!(change(several).await.json()["workflows"].as_array().unwrap().len(), 2);
    let refused = change(json!({ "workflow": "order" })).await;
    assert_eq!(
        (refused.problem(), &refused.json()["errors"][0]["pointer"]),
        ("invalid-body".to_owned(), &json!("/workflows"))
    );
}

/// A service whose pack was removed could not be switched off, because the pack is not there.
#[tokio::test]
async fn a_service_whose_pack_is_gone_can_be_switched_off() {
    let server = Server::new().await;
    install_shop(&server).await;
    let body = json!({ "name": "gold", "pack": "shop", "workflow": "order" });
    assert_eq!(server.post("/v1/services", body).await.status, StatusCode::CREATED);
    assert_eq!(server.delete("/v1/packs/shop/1.0.0").await.status, StatusCode::NO_CONTENT);
    let kind = [("content-type", "application/merge-patch+json")];
    let patched = server.ask("PATCH", "/v1/services/gold", &kind, "{\"enabled\":false}").await;
    assert_eq!((patched.status, &patched.json()["enabled"]), (StatusCode::OK, &json!(false)), "{:?}", patched.body);
    let refused = server.ask("PATCH", "/v1/services/gold", &kind, "{\"group\":\"g\"}").await;
    assert_eq!(refused.problem(), "invalid-body");
}
