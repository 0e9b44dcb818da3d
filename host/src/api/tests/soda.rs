//! SODA's interface, row by row: what it answers, with which code and members, and which of its defects are not here. The
//! services stand for two workflows of a pack: one that ends at once and one that never does.

use std::collections::BTreeSet;

use super::*;
use crate::api::soda::SodaSettings;
use crate::definition::yaml::from_yaml;
use crate::model::{Principal, Role, TenantName};
use crate::pack::archive;
use crate::pack::directory::Directory;

mod defects;
mod flows;

/// The project of SODA's own examples.
const TENANT: &str = "94b280022d0c4401bcf3b0ea85870519";

const MANIFEST: &str = "format: 1\nname: test\nversion: 1.0.0\nworld: orchestrator:pack/action@0.1
workflows: [echo.yaml, hang.yaml]
services: [{ name: echoing, group: tests, description: Gives back., workflow: echo }]\n";

const ECHO: &str = "document: { dsl: '1.0.0', namespace: test, name: echo, version: '1.0.0', summary: Gives back. }
input:
  schema:
    document:
      type: object
      additionalProperties: false
      required: [name, size, hostId]
      properties:
        name: { type: string, minLength: 1, description: The name. }
        size: { type: integer, minimum: 1, description: In GB. }
        hostId: { type: string, title: Host }
        snapshotFromCloud: { type: [boolean, 'null'] }
        profileId: { type: [string, 'null'], minLength: 1 }
do:
  - one: { set: { done: true } }\n";

const HANG: &str = "document: { dsl: '1.0.0', namespace: test, name: hang, version: '1.0.0' }
do:
  - one: { set: { done: true } }\n";

const SETTINGS: &str = "sources:
  opensds.provision-volume:
    pack: test
    workflow: echo
    parameters: { host_id: hostId, snapshot_from_cloud: snapshotFromCloud, profile_id: profileId }
  opensds.snapshot-volume: { pack: test, workflow: hang }\n";

/// A server with the pack, the settings and nothing registered.
struct Scene(Server);

impl Scene {
    async fn new() -> Self {
        let server = Server::new().await;
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in [("pack.yaml", MANIFEST), ("echo.yaml", ECHO), ("hang.yaml", HANG)] {
            std::fs::write(folder.path().join(path), content).unwrap();
        }
        let pack = archive::write(&Directory::open(folder.path()).unwrap()).unwrap();
        server.rooms.catalog.install_archive(pack.into()).await.unwrap();
        server.rooms.soda.configure(from_yaml::<SodaSettings>(SETTINGS).unwrap());
        Self(server)
    }

    /// A path of the tenant.
    fn at(&self, rest: &str) -> String {
        format!("/v1beta/{TENANT}/orchestration/{rest}")
    }

    async fn get(&self, rest: &str) -> Answer {
        self.0.get(&self.at(rest)).await
    }

    async fn send(&self, method: &str, rest: &str, body: Json) -> Answer {
        let headers = [("content-type", "application/json"), ("x-auth-token", "abcde")];
        self.0.ask(method, &self.at(rest), &headers, body.to_string()).await
    }

    /// Registers a service of these workflows; its identifier.
    async fn register(&self, name: &str, sources: &[&str]) -> String {
        let answer = self.send("POST", "services", registration(name, sources)).await;
        assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Starts an instance; the answer.
    async fn run(&self, service: &str, more: Json) -> Answer {
        let mut body = json!({ "service_id": service, "name": "first", "description": "for tests", "user_id": "ann",
            "parameters": { "name": "data", "size": "2", "host_id": "h-1", "auth_token": "secret", "ip_addr": "192.0.2.1",
                "port": "50040", "tenant_id": "x" } });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        self.send("POST", "instances", body).await
    }

    /// Starts an instance that never ends; its identifier.
    async fn hang(&self, service: &str) -> String {
        let answer = self.run(service, json!({ "action": "opensds.snapshot-volume", "parameters": {} })).await;
        assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// What the server's own interface answers to this tenant.
    async fn native(&self, path: &str) -> Answer {
        self.0.ask("GET", path, &[("orchestrator-tenant", TENANT)], "").await
    }

    /// An instance once it has ended.
    async fn ended(&self, id: &str) -> Json {
        self.native(&format!("/v1/instances/{id}?wait=30")).await;
        self.get(&format!("instances/{id}")).await.json()
    }
}

fn registration(name: &str, sources: &[&str]) -> Json {
    let workflow = |source: &&str| json!({ "definition_source": source, "wfe_type": "st2" });
    let workflows: Vec<Json> = sources.iter().map(workflow).collect();
    json!({ "name": name, "description": "A service.", "group": "provisioning", "user_id": "5580", "workflows": workflows,
        "input": "{\"a\": 1}", "constraint": "none" })
}

fn members(value: &Json) -> BTreeSet<&str> {
    value.as_object().unwrap_or_else(|| panic!("{value}")).keys().map(String::as_str).collect()
}

/// All of SODA's members are there.
fn has(value: &Json, expected: &[&str]) {
    let expected: BTreeSet<&str> = expected.iter().copied().collect();
    let missing: Vec<_> = expected.difference(&members(value)).copied().collect();
    assert!(missing.is_empty(), "{missing:?} of {value}");
}

const SERVICE: [&str; 10] =
    ["id", "created_at", "updated_at", "tenant_id", "user_id", "name", "description", "group", "constraint", "input"];
const INSTANCE: [&str; 12] = [
    "id",
    "name",
    "description",
    "tenant_id",
    "user_id",
    "service_id",
    "service_definition_id",
    "status",
    "input",
    "output",
    "created_at",
    "updated_at",
];

#[tokio::test]
async fn every_route_answers_with_soda_s_codes() {
    let scene = Scene::new().await;
    let service = scene.register("volumes", &["opensds.provision-volume", "opensds.snapshot-volume"]).await;
    let done = scene.run(&service, json!({})).await.json()["id"].as_str().unwrap().to_owned();
    scene.ended(&done).await;
    let hanging = scene.hang(&service).await;
    let nothing = "0199c1f0-0000-7000-8000-000000000000";
    let prefix = format!("/v1beta/{TENANT}/orchestration");
    let rows = [
        ("GET", "/".to_owned(), 200),
        ("GET", "/v1beta".to_owned(), 200),
        ("GET", "/v1beta/".to_owned(), 200),
        ("GET", format!("{prefix}/services"), 200),
        ("GET", format!("{prefix}/services/"), 200),
        ("GET", format!("{prefix}/services/{service}"), 200),
        ("GET", format!("{prefix}/services/{nothing}"), 404),
        ("GET", format!("{prefix}/instances"), 200),
        ("GET", format!("{prefix}/instances/?service_def={service}"), 200),
        ("GET", format!("{prefix}/instances?service_def={nothing}"), 200),
        ("GET", format!("{prefix}/instances/{done}"), 200),
        ("GET", format!("{prefix}/instances/{nothing}"), 404),
        ("GET", format!("{prefix}/instances/garbage"), 404),
        ("GET", format!("/v1beta/orchestration/instances/service/{service}"), 200),
        ("GET", "/v1beta/orchestration/workflows".to_owned(), 200),
        ("GET", format!("{prefix}/workflows"), 200),
        ("GET", format!("{prefix}/workflows/opensds.provision-volume"), 200),
        ("GET", format!("{prefix}/workflows/nothing"), 404),
        ("GET", format!("{prefix}/tasks/{done}"), 200),
        ("GET", format!("{prefix}/tasks/{nothing}"), 404),
        ("GET", format!("{prefix}/tasks?instance={done}"), 200),
        ("GET", format!("{prefix}/tasks"), 400),
        ("POST", format!("{prefix}/instances/{hanging}/pause"), 200),
        ("POST", format!("{prefix}/instances/{hanging}/resume"), 200),
        ("POST", format!("{prefix}/instances/{done}/retry"), 409),
        ("POST", format!("{prefix}/instances/{done}/rerun"), 200),
        ("POST", format!("{prefix}/instances/{done}/cancel"), 409),
        ("POST", format!("{prefix}/instances/{hanging}/cancel"), 200),
        ("DELETE", format!("{prefix}/instances/{nothing}"), 404),
        ("DELETE", format!("{prefix}/instances/{done}/"), 200),
        ("DELETE", format!("{prefix}/services/{nothing}"), 404),
        ("DELETE", format!("{prefix}/services/{service}"), 200),
        ("GET", "/v1beta//orchestration/instances".to_owned(), 404),
        ("GET", "/v1beta/no_label/orchestration/services".to_owned(), 403),
        ("GET", format!("{prefix}/nothing"), 404),
        ("PATCH", format!("{prefix}/services"), 405),
    ];
    for (method, path, code) in rows {
        let answer = scene.0.ask(method, &path, &[("x-auth-token", "a")], "").await;
        assert_eq!(answer.status.as_u16(), code, "{method} {path}: {:?}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/json", "{method} {path}");
        answer.json();
    }
}

#[tokio::test]
async fn what_is_not_there_is_told_in_soda_s_words() {
    let scene = Scene::new().await;
    let nothing = "0199c1f0-0000-7000-8000-000000000000";
    let no_execution = json!({ "response": { "faultstring": "there is no such execution" } });
    let rows = [
        ("GET", format!("services/{nothing}"), 404, json!({})),
        ("GET", "services/nothing".to_owned(), 404, json!({})),
        ("PUT", format!("services/{nothing}"), 404, json!({})),
        ("DELETE", format!("services/{nothing}"), 404, json!("Failed")),
        ("GET", format!("instances/{nothing}"), 404, json!({})),
        ("GET", "instances/nothing".to_owned(), 404, json!({})),
        ("PUT", format!("instances/{nothing}"), 404, json!({})),
        ("DELETE", format!("instances/{nothing}"), 404, json!("Failed")),
        ("DELETE", "instances/nothing".to_owned(), 404, json!("Failed")),
        ("POST", format!("instances/{nothing}/cancel"), 404, json!({})),
        ("GET", format!("instances?service_def={nothing}"), 200, json!([])),
        ("GET", "instances?service_def=nothing".to_owned(), 200, json!([])),
        ("GET", format!("tasks/{nothing}"), 404, no_execution.clone()),
        ("GET", "tasks/5fd3a1".to_owned(), 404, no_execution.clone()),
        ("GET", format!("tasks?instance={nothing}"), 404, no_execution),
        ("GET", "workflows/nothing".to_owned(), 404, json!({})),
    ];
    for (method, rest, code, told) in rows {
        let body = registration("volumes", &["opensds.provision-volume"]);
        let answer = scene.send(method, &rest, body).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (code, told), "{method} {rest}");
    }
    let list = scene.0.get(&format!("/v1beta/orchestration/instances/service/{nothing}")).await;
    assert_eq!((list.status.as_u16(), list.json()), (200, json!([])));
}

#[tokio::test]
async fn a_page_is_asked_for_by_whole_numbers() {
    let scene = Scene::new().await;
    for (query, told) in [
        ("limit=-1", "set `limit` to a whole number"),
        ("limit=many", "set `limit` to a whole number"),
        ("offset=-1", "set `offset` to 0 to 10000"),
        ("offset=99999999999999999999", "set `offset` to 0 to 10000"),
    ] {
        let answer = scene.get(&format!("instances?{query}")).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["message"]), (400, &json!(told)), "{query}");
    }
}

#[tokio::test]
async fn a_registration_is_refused_in_soda_s_words() {
    let scene = Scene::new().await;
    let without = |name: &str| {
        let mut body = registration("a", &["opensds.provision-volume"]);
        body.as_object_mut().unwrap().remove(name);
        body
    };
    let with = |name: &str, value: Json| {
        let mut body = registration("a", &["opensds.provision-volume"]);
        body[name] = value;
        body
    };
    let value_missing = "One or more required value missing";
    let workflow_value_missing = "One or more required value of WF missing";
    let rows = [
        (without("name"), value_missing),
        (without("description"), value_missing),
        (without("group"), value_missing),
        (without("user_id"), value_missing),
        (with("name", json!("")), value_missing),
        (without("workflows"), "list of workflows not provided"),
        (with("workflows", json!([])), "list of workflows not provided"),
        (with("workflows", json!([{ "wfe_type": "st2" }])), workflow_value_missing),
        (with("workflows", json!([{ "definition_source": "", "wfe_type": "st2" }])), workflow_value_missing),
        (with("workflows", json!([{ "definition_source": "opensds.provision-volume" }])), workflow_value_missing),
    ];
    for (body, text) in rows {
        let answer = scene.send("POST", "services", body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (400, json!(text)), "{body}");
    }
    for bad in ["", "[]", "{", "\"x\""] {
        let answer = scene.0.ask("POST", &scene.at("services"), &[], bad).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &json!(400)), "{bad}");
    }
}

#[tokio::test]
async fn a_registration_is_answered_and_listed_with_soda_s_members() {
    let scene = Scene::new().await;
    let said = registration("volumes", &["opensds.provision-volume", "opensds.snapshot-volume"]);
    let made = scene.send("POST", "services", said).await.json();
    assert_eq!(members(&made), BTreeSet::from(SERVICE), "without its workflows");
    assert_eq!((&made["input"], &made["constraint"]), (&json!("{\"a\": 1}"), &json!("none")), "as they were sent");
    assert_eq!((&made["tenant_id"], &made["user_id"]), (&json!(TENANT), &json!("5580")));
    let listed = scene.get("services").await.json();
    let listed = listed.as_array().unwrap().iter().find(|service| service["id"] == made["id"]).unwrap().clone();
    has(&listed, &SERVICE);
    has(&listed["workflows"][0], &["id", "name", "description", "definition_source", "wfe_type", "definition"]);
    assert_eq!(listed["workflows"][0]["definition_source"], "opensds.provision-volume");
    assert_eq!(listed["workflows"][1]["wfe_type"], "st2");
    let input = &listed["input"];
    assert_eq!(members(input), BTreeSet::from(["name", "size", "host_id", "snapshot_from_cloud", "profile_id"]));
    assert_eq!(input["size"], json!({ "type": "integer", "description": "In GB.", "required": true }));
    let id = made["id"].as_str().unwrap();
    assert_eq!(scene.get(&format!("services/{id}")).await.json(), listed);
    let of_pack = scene.get("services").await.json();
    let of_pack = of_pack.as_array().unwrap().iter().find(|service| service["name"] == "echoing").unwrap().clone();
    assert_eq!(of_pack["workflows"][0]["definition_source"], "opensds.provision-volume", "the dashboard reads this");
    assert!(of_pack["created_at"].as_str().unwrap().ends_with(" GMT"), "{of_pack}");
}

#[tokio::test]
async fn a_start_is_refused_in_soda_s_words() {
    let scene = Scene::new().await;
    let service = scene.register("volumes", &["opensds.provision-volume"]).await;
    for token in [&[][..], &[("x-auth-token", "")]] {
        let answer = scene.0.ask("POST", &scene.at("instances"), token, "{}").await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()),
            (400, json!("Bad Request. Authentication Token is missing"))
        );
    }
    let no_service = "required input service_id is missing or incorrect";
    let rows = [
        (json!({ "service_id": null }), no_service),
        (json!({ "service_id": "" }), no_service),
        (json!({ "service_id": "abc" }), no_service),
        (json!({ "service_id": "0199c1f0-0000-7000-8000-000000000000" }), no_service),
        (json!({ "name": "" }), "required input service 'name' is missing"),
        (json!({ "name": null }), "required input service 'name' is missing"),
        (json!({ "parameters": null }), "required input action is missing"),
        (
            json!({ "action": "opensds.delete-volume" }),
            "action `opensds.delete-volume` is not of service `volumes`; it has opensds.provision-volume",
        ),
    ];
    for (more, text) in rows {
        let answer = scene.run(&service, more.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (400, json!(text)), "{more}");
    }
    let unfit = scene.run(&service, json!({ "parameters": { "name": "a", "size": "many" } })).await;
    let told = unfit.json();
    assert_eq!((unfit.status.as_u16(), &told["code"]), (400, &json!(400)));
    let text = told["faultstring"].as_str().unwrap();
    assert!(text.contains("size:") && text.contains("\"host_id\" is a required property"), "{text}");
    let faults = told["errors"].to_string();
    assert!(faults.contains("host_id") && !faults.contains("hostId"), "in the words of the form: {faults}");
}

#[tokio::test]
async fn a_start_is_answered_and_listed_with_soda_s_members() {
    let scene = Scene::new().await;
    let service = scene.register("volumes", &["opensds.provision-volume", "opensds.snapshot-volume"]).await;
    let started =
        scene.run(&service, json!({ "headers": { "x": 1 }, "action": "opensds.provision-volume" })).await.json();
    has(&started, &INSTANCE);
    assert_eq!((&started["service_id"], &started["service_definition_id"]), (&json!(service), &json!(service)));
    assert_eq!(started["input"], json!({ "name": "data", "size": 2, "host_id": "h-1" }));
    assert_eq!((&started["description"], &started["user_id"]), (&json!("for tests"), &json!("ann")));
    let ended = scene.ended(started["id"].as_str().unwrap()).await;
    has(&ended, &INSTANCE);
    assert_eq!(
        (&ended["status"], &ended["state"], &ended["error"]),
        (&json!("Success"), &json!("completed"), &Json::Null)
    );
    assert_eq!((&ended["output"], &ended["result"]), (&json!("{\"size\":1}"), &json!({ "size": 1 })));
    assert_eq!(scene.hang(&service).await.len(), 36);
    for list in [scene.at("instances"), scene.at(&format!("instances/?service_def={service}"))] {
        let list = scene.0.get(&list).await.json();
        assert_eq!(list.as_array().unwrap().len(), 2);
        assert_eq!(list[1], ended, "the newest first");
        has(&list[0], &INSTANCE);
        assert_eq!((&list[0]["status"], &list[0]["state"]), (&json!("Running"), &json!("running")));
    }
}

#[tokio::test]
async fn tasks_and_workflows_have_soda_s_members() {
    let scene = Scene::new().await;
    let service = scene.register("volumes", &["opensds.provision-volume"]).await;
    let id = scene.run(&service, json!({})).await.json()["id"].as_str().unwrap().to_owned();
    scene.ended(&id).await;
    let execution = scene.get(&format!("tasks/{id}")).await.json();
    has(&execution, &["id", "start", "end", "status", "published", "tasks"]);
    assert_eq!((&execution["status"], &execution["published"]), (&json!("succeeded"), &json!({ "size": 1 })));
    let tasks = scene.get(&format!("tasks?instance={id}")).await.json();
    has(&tasks[0], &["id", "name", "description", "input", "output", "status", "created_at", "updated_at"]);
    assert_eq!((&tasks[0]["name"], &tasks[0]["status"]), (&json!("one"), &json!("Success")));
    let unknown = scene.get("tasks/5d1f").await;
    assert!(unknown.status == 404 && unknown.json()["response"]["faultstring"].is_string());
    let workflows = scene.0.get("/v1beta/orchestration/workflows").await.json();
    let action = &workflows["opensds.provision-volume"];
    has(
        action,
        &[
            "ref",
            "name",
            "pack",
            "description",
            "parameters",
            "runner_type",
            "entry_point",
            "enabled",
            "id",
            "uid",
            "tags",
            "notify",
        ],
    );
    assert_eq!(action["parameters"]["host_id"]["required"], true);
    assert_eq!(workflows, scene.get("workflows").await.json());
}

#[tokio::test]
async fn the_versions_are_told() {
    let scene = Scene::new().await;
    let all = scene.0.get("/").await.json();
    has(&all["versions"][0], &["name", "status", "updated"]);
    let one = scene.0.get("/v1beta").await.json();
    assert_eq!(
        (&one["version"], &one["name"], &one["status"]),
        (&all["versions"][0], &json!("v1beta"), &json!("CURRENT"))
    );
}
