//! The defects of SODA's own server, each with a test that it is not here.

use super::*;
use crate::note::InstanceNote;

async fn listed(scene: &Scene, rest: &str) -> Vec<Json> {
    let answer = scene.get(rest).await;
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
    answer.json().as_array().unwrap().clone()
}

#[tokio::test]
async fn a_hundred_services_are_registered_side_by_side_over_one_workflow() {
    let scene = Scene::new().await;
    let names: Vec<String> = (0..100).map(|number| format!("service {number}")).collect();
    let all =
        names.iter().map(|name| scene.send("POST", "services", registration(name, &["opensds.provision-volume"])));
    for answer in futures_util::future::join_all(all).await {
        assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
    }
    let listed = listed(&scene, "services").await;
    let ids: BTreeSet<_> = listed.iter().map(|service| service["id"].as_str().unwrap()).collect();
    assert_eq!((listed.len(), ids.len()), (101, 101), "with the pack's own");
}

#[tokio::test]
async fn no_run_is_lost_when_description_and_user_are_left_out() {
    let scene = Scene::new().await;
    let service = scene.register("volumes", &["opensds.provision-volume"]).await;
    let started = scene.run(&service, json!({ "description": null, "user_id": null })).await;
    assert_eq!(started.status, StatusCode::OK);
    let id = started.json()["id"].clone();
    let found = listed(&scene, "instances").await;
    assert_eq!(
        (&found[0]["id"], &found[0]["description"], &found[0]["user_id"]),
        (&id, &json!(""), &json!("anonymous"))
    );
}

#[tokio::test]
async fn a_start_that_is_repeated_under_its_key_starts_nothing() {
    let scene = Scene::new().await;
    let service = scene.register("volumes", &["opensds.provision-volume"]).await;
    let body = json!({ "service_id": service, "name": "a", "parameters": { "name": "a", "size": 1, "host_id": "h" } });
    let headers = [("x-auth-token", "a"), ("idempotency-key", "order-1")];
    let first = scene.0.ask("POST", &scene.at("instances"), &headers, body.to_string()).await.json();
    let again = scene.0.ask("POST", &scene.at("instances"), &headers, body.to_string()).await.json();
    assert_eq!(first["id"], again["id"]);
    assert_eq!(listed(&scene, "instances").await.len(), 1);
}

#[tokio::test]
async fn odd_runs_do_not_spoil_the_list() {
    let scene = Scene::new().await;
    let service = scene.register("volumes", &["opensds.provision-volume", "opensds.snapshot-volume"]).await;
    let (cancelled, paused) = (scene.hang(&service).await, scene.hang(&service).await);
    scene.send("POST", &format!("instances/{cancelled}/cancel"), json!({})).await;
    scene.ended(&cancelled).await;
    scene.send("POST", &format!("instances/{paused}/pause"), json!({})).await;
    let word = async |id: &str| {
        let all = listed(&scene, "instances").await;
        let one = all.iter().find(|instance| instance["id"] == id).unwrap().clone();
        (one["status"].as_str().unwrap().to_owned(), one["state"].as_str().unwrap().to_owned())
    };
    assert_eq!(word(&cancelled).await, ("Failed".to_owned(), "cancelled".to_owned()));
    assert_eq!(word(&paused).await, ("Running".to_owned(), "suspended".to_owned()));
    let told = scene.get(&format!("instances/{cancelled}")).await.json();
    assert_eq!((&told["output"], &told["error"]["title"]), (&json!("cancelled"), &json!("cancelled")));
}

#[tokio::test]
async fn a_service_of_unknown_workflows_is_refused_and_not_stored_as_a_ghost() {
    let scene = Scene::new().await;
    for (source, why) in [
        ("opensds.nothing", "install the pack `opensds` first"),
        ("nothing", "name a workflow as `pack.workflow`"),
        ("test.nothing", "pack `test` has no `nothing`"),
        ("opensds.migration-bucket", "install the pack `bucket-migration` first"),
    ] {
        let answer = scene.send("POST", "services", registration("ghost", &["opensds.provision-volume", source])).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.json().as_str().unwrap().contains(why), "{:?}", answer.body);
    }
    assert_eq!(listed(&scene, "services").await.len(), 1, "the pack's own");
}

#[tokio::test]
async fn a_service_of_several_workflows_is_listed_once_and_its_first_runs_where_none_is_named() {
    let scene = Scene::new().await;
    let sources = ["opensds.provision-volume", "opensds.snapshot-volume", "test.echo"];
    let service = scene.register("volumes", &sources).await;
    let found = listed(&scene, "services").await;
    let found: Vec<_> = found.iter().filter(|found| found["id"] == service.as_str()).collect();
    assert_eq!((found.len(), found[0]["workflows"].as_array().unwrap().len()), (1, 3));
    let action = async |more: Json| scene.run(&service, more).await.json()["action"].clone();
    assert_eq!(action(json!({})).await, "opensds.provision-volume");
    assert_eq!(action(json!({ "action": "test/echo" })).await, "opensds.provision-volume");
    assert_eq!(
        action(json!({ "action": "opensds.snapshot-volume", "parameters": {} })).await,
        "opensds.snapshot-volume"
    );
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let scene = Scene::new().await;
    let service = scene.register("volumes", &["opensds.provision-volume", "opensds.snapshot-volume"]).await;
    let id = scene.hang(&service).await;
    let other = |rest: String| format!("/v1beta/other/orchestration/{rest}");
    for rest in ["services", "instances"] {
        let theirs = scene.0.get(&other(rest.to_owned())).await.json();
        let foreign = |found: &&Json| found["id"] == service.as_str() || found["id"] == id.as_str();
        assert_eq!(theirs.as_array().unwrap().iter().filter(foreign).count(), 0, "{rest}");
    }
    for (method, rest) in [
        ("GET", format!("services/{service}")),
        ("DELETE", format!("services/{service}")),
        ("GET", format!("instances/{id}")),
        ("DELETE", format!("instances/{id}")),
        ("POST", format!("instances/{id}/cancel")),
        ("GET", format!("tasks/{id}")),
        ("GET", format!("tasks?instance={id}")),
    ] {
        let answer = scene.0.ask(method, &other(rest.clone()), &[], "").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {rest}");
    }
    let rename = scene.0.put(&other(format!("instances/{id}")), json!({ "name": "x" })).await;
    assert_eq!(rename.status, StatusCode::NOT_FOUND);
    let body = json!({ "service_id": service, "name": "a", "parameters": {} }).to_string();
    let start = scene.0.ask("POST", &other("instances".to_owned()), &[("x-auth-token", "a")], body).await;
    assert_eq!(start.json(), "required input service_id is missing or incorrect");
    assert_eq!(scene.get(&format!("instances/{id}")).await.json()["state"], "running");
}

#[tokio::test]
async fn a_service_can_be_replaced_and_removed() {
    let scene = Scene::new().await;
    let service = scene.register("volumes", &["opensds.provision-volume"]).await;
    let put = scene.send("PUT", &format!("services/{service}"), json!({ "description": "Better.", "id": "x" })).await;
    let told = put.json();
    assert_eq!((put.status, &told["id"], &told["description"]), (StatusCode::OK, &json!(service), &json!("Better.")));
    assert_eq!(
        (&told["name"], &told["constraint"], &told["user_id"]),
        (&json!("volumes"), &json!("none"), &json!("5580"))
    );
    let removed = scene.send("DELETE", &format!("services/{service}"), json!({})).await;
    assert_eq!((removed.status, removed.json()), (StatusCode::OK, json!("Success")));
    let again = scene.send("DELETE", &format!("services/{service}"), json!({})).await;
    assert_eq!((again.status, again.json()), (StatusCode::NOT_FOUND, json!("Failed")));
    let of_pack = scene.get("services").await.json()[0]["id"].as_str().unwrap().to_owned();
    let refused = scene.send("DELETE", &format!("services/{of_pack}"), json!({})).await;
    assert_eq!((refused.status, &refused.json()["code"]), (StatusCode::CONFLICT, &json!(409)));
}

#[tokio::test]
async fn the_same_registration_makes_nothing_and_another_of_the_name_is_kept_beside_it() {
    let scene = Scene::new().await;
    let first = scene.register("volumes", &["opensds.provision-volume"]).await;
    assert_eq!(scene.register("volumes", &["opensds.provision-volume"]).await, first);
    let other = scene.register("volumes", &["opensds.snapshot-volume"]).await;
    let of_pack_s_name = scene.register("echoing", &["opensds.provision-volume"]).await;
    let names = async |id: &str| scene.get(&format!("services/{id}")).await.json()["name"].clone();
    assert_eq!((names(&other).await, names(&of_pack_s_name).await), (json!("volumes"), json!("echoing")));
    assert_eq!(listed(&scene, "services").await.len(), 4);
    let run = scene.run(&of_pack_s_name, json!({})).await.json();
    assert_eq!(run["service_id"], of_pack_s_name.as_str());
}

#[tokio::test]
async fn an_id_that_the_client_gives_is_kept_and_a_used_one_is_refused() {
    let scene = Scene::new().await;
    let said = |name: &str| {
        let mut body = registration(name, &["opensds.provision-volume"]);
        body["id"] = json!("volume-service");
        body
    };
    assert_eq!(scene.send("POST", "services", said("one")).await.json()["id"], "volume-service");
    assert_eq!(scene.send("POST", "services", said("two")).await.status, StatusCode::CONFLICT);
    assert_eq!(scene.get("services/volume-service").await.json()["name"], "one");
    let run = scene.run("volume-service", json!({})).await.json();
    assert_eq!(run["service_id"], "volume-service");
    assert_eq!(listed(&scene, "instances?service_def=volume-service").await.len(), 1);
}

#[tokio::test]
async fn an_instance_can_be_renamed_and_its_times_are_true() {
    let scene = Scene::new().await;
    let service = scene.register("volumes", &["opensds.provision-volume", "opensds.snapshot-volume"]).await;
    let id = scene.hang(&service).await;
    let before = scene.get(&format!("instances/{id}")).await.json();
    let changed = json!({ "name": "second", "description": "renamed" });
    let put = scene.send("PUT", &format!("instances/{id}"), changed).await;
    let told = put.json();
    assert_eq!(
        (put.status, &told["name"], &told["description"]),
        (StatusCode::OK, &json!("second"), &json!("renamed"))
    );
    assert_eq!((&told["user_id"], &told["created_at"]), (&before["user_id"], &before["created_at"]));
    let note = scene.0.rooms.coordinator.notes().get(id.parse().unwrap()).unwrap();
    let summary = scene.0.rooms.coordinator.instance(id.parse().unwrap()).unwrap();
    assert!(note.updated_at.unwrap() >= summary.updated_at);
    assert_eq!(scene.get(&format!("instances/{id}")).await.json(), told);
    assert_eq!(
        scene.send("PUT", &format!("instances/{id}"), json!({ "status": "x" })).await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn deleting_a_running_instance_cancels_it_and_leaves_nothing() {
    let scene = Scene::new().await;
    let service = scene.register("volumes", &["opensds.provision-volume", "opensds.snapshot-volume"]).await;
    let id = scene.hang(&service).await;
    let deleted = scene.send("DELETE", &format!("instances/{id}"), json!({})).await;
    assert_eq!((deleted.status, deleted.json()), (StatusCode::OK, json!("Success")));
    assert_eq!(scene.get(&format!("instances/{id}")).await.json(), json!({}));
    assert_eq!(scene.native(&format!("/v1/instances/{id}")).await.status, StatusCode::NOT_FOUND);
    let notes = scene.0.rooms.coordinator.notes();
    assert_eq!(notes.get(id.parse().unwrap()).unwrap(), InstanceNote::default(), "the note went with it");
    let again = scene.send("DELETE", &format!("instances/{id}"), json!({})).await;
    assert_eq!((again.status, again.json()), (StatusCode::NOT_FOUND, json!("Failed")));
}

#[tokio::test]
async fn neither_token_nor_address_nor_null_reaches_the_input() {
    let scene = Scene::new().await;
    let service = scene.register("volumes", &["opensds.provision-volume"]).await;
    let parameters = json!({ "name": "a", "size": 1, "host_id": "h", "auth_token": "tok-secret", "ip_addr": "192.0.2.77",
        "port": "50040", "profile_id": null, "snapshot_from_cloud": "true", "hypervisor": "kvm" });
    let started = scene.run(&service, json!({ "parameters": parameters })).await.json();
    assert_eq!(started["ignored"], json!(["hypervisor"]));
    let id = started["id"].as_str().unwrap();
    for part in ["", "/history", "/tasks"] {
        let told = scene.native(&format!("/v1/instances/{id}{part}")).await;
        let told = String::from_utf8(told.body.to_vec()).unwrap();
        assert!(!told.contains("tok-secret") && !told.contains("192.0.2.77"), "{told}");
    }
    let input = scene.native(&format!("/v1/instances/{id}")).await.json()["input"].clone();
    assert_eq!(input, json!({ "name": "a", "size": 1, "hostId": "h", "snapshotFromCloud": true }));
}

#[tokio::test]
async fn a_list_comes_in_pages_that_follow_each_other() {
    let scene = Scene::new().await;
    let service = scene.register("volumes", &["opensds.provision-volume"]).await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(scene.run(&service, json!({})).await.json()["id"].clone());
    }
    made.reverse();
    let ids =
        |answer: &Answer| answer.json().as_array().unwrap().iter().map(|item| item["id"].clone()).collect::<Vec<_>>();
    let first = scene.get("instances?limit=2").await;
    let marker = first.headers["x-next-marker"].to_str().unwrap().to_owned();
    assert!(first.headers["link"].to_str().unwrap().contains(&marker));
    let second = scene.get(&format!("instances?limit=2&marker={marker}")).await;
    assert_eq!([ids(&first), ids(&second)].concat(), made[..4]);
    let rest = scene.get("instances?limit=10&offset=3").await;
    assert_eq!((ids(&rest), rest.headers.contains_key("x-next-marker")), (made[3..].to_vec(), false));
    for bad in ["instances?limit=x", "instances?offset=10001", "instances?marker=zz"] {
        assert_eq!(scene.get(bad).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn whoever_may_not_is_told_so() {
    use crate::api::caller::Caller;
    use crate::api::soda::router;
    let scene = Scene::new().await;
    let service = scene.register("volumes", &["opensds.provision-volume", "opensds.snapshot-volume"]).await;
    let id = scene.hang(&service).await;
    let ask = async |role: Role, tenant: &str, method: &str, rest: &str, body: Json| {
        let tenant = TenantName::parse(tenant).unwrap();
        let subject = "token:a".to_owned();
        let caller = Principal { subject, tenant, roles: BTreeSet::from([role]), services: None };
        let mut request = request(method, &scene.at(rest), &[("x-auth-token", "a")], body.to_string());
        request.extensions_mut().insert(Caller(Arc::new(caller)));
        let (router, _) = router().with_state::<()>(scene.0.rooms.clone()).split_for_parts();
        router.oneshot(request).await.unwrap().status().as_u16()
    };
    let said = registration("more", &["opensds.provision-volume"]);
    let start = json!({ "service_id": service, "name": "a", "action": "opensds.snapshot-volume", "parameters": {} });
    assert_eq!(ask(Role::Viewer, TENANT, "GET", &format!("instances/{id}"), json!({})).await, 200);
    assert_eq!(ask(Role::Viewer, TENANT, "POST", &format!("instances/{id}/cancel"), json!({})).await, 403);
    assert_eq!(ask(Role::Viewer, TENANT, "POST", "instances", start.clone()).await, 403);
    assert_eq!(ask(Role::Operator, TENANT, "POST", "instances", start).await, 200);
    assert_eq!(ask(Role::Operator, TENANT, "GET", &format!("instances/{id}"), json!({})).await, 404, "somebody else's");
    assert_eq!(ask(Role::Operator, TENANT, "POST", "services", said.clone()).await, 403);
    assert_eq!(ask(Role::TenantAdmin, TENANT, "POST", "services", said.clone()).await, 200);
    assert_eq!(ask(Role::TenantAdmin, "blue", "GET", "instances", json!({})).await, 403, "a foreign tenant");
    assert_eq!(ask(Role::TenantAdmin, "blue", "POST", "services", said).await, 403);
}

/// Installs a pack `shop` of this version whose workflow `boom` fails, and whose input has these properties.
async fn install_shop(scene: &Scene, version: &str, properties: &str) {
    let folder = tempfile::tempdir().unwrap();
    let manifest = format!(
        "format: 1\nname: shop\nversion: {version}\nworld: orchestrator:pack/action@0.1\nworkflows: [boom.yaml]\n"
    );
    let workflow = format!(
        "document: {{ dsl: '1.0.0', namespace: shop, name: boom, version: '{version}' }}\n\
         input: {{ schema: {{ document: {{ type: object, properties: {{ {properties} }} }} }} }}\n\
         do:\n  - fall: {{ raise: {{ error: {{ type: 'https://shop.example/full', status: 507, title: shelf full, \
         detail: nothing fits on the shelf }} }} }}\n"
    );
    std::fs::write(folder.path().join("pack.yaml"), manifest).unwrap();
    std::fs::write(folder.path().join("boom.yaml"), workflow).unwrap();
    scene.0.rooms.catalog.install_directory(folder.path()).await.unwrap();
}

/// SODA forwards whatever `action` names, so that `opensds.delete-volume` runs through "volume provision".
#[tokio::test]
async fn no_action_runs_through_a_service_that_does_not_have_it() {
    let scene = Scene::new().await;
    install_shop(&scene, "1.0.0", "").await;
    let service = scene.register("volumes", &["opensds.provision-volume"]).await;
    for action in ["opensds.delete-volume", "opensds.snapshot-volume", "shop.boom", "shop/boom", "../boom", "\u{0}"] {
        let refused = scene.run(&service, json!({ "action": action })).await;
        let told = refused.json();
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{action}");
        assert!(
            told.as_str().is_some_and(|text| text.ends_with("it has opensds.provision-volume")),
            "{action}: {told}"
        );
    }
    assert_eq!(listed(&scene, "instances").await, Vec::<Json>::new());
}

/// SODA says `Failed` and nothing else; the reason is in StackStorm, under an id that nobody is told.
#[tokio::test]
async fn a_failed_run_says_why_and_its_tasks_are_found_by_its_own_id() {
    let scene = Scene::new().await;
    install_shop(&scene, "1.0.0", "").await;
    let service = scene.register("fails", &["shop.boom"]).await;
    let started = scene.run(&service, json!({ "parameters": {} })).await.json();
    let id = started["id"].as_str().unwrap();
    let ended = scene.ended(id).await;
    assert_eq!((&ended["status"], &ended["state"]), (&json!("Failed"), &json!("faulted")));
    assert_eq!(ended["error"]["detail"], "nothing fits on the shelf");
    assert!(ended["output"].as_str().unwrap().contains("nothing fits on the shelf"), "{ended}");
    let execution = scene.get(&format!("tasks/{id}")).await.json();
    assert_eq!((&execution["id"], &execution["status"]), (&json!(id), &json!("failed")));
    let tasks = listed(&scene, &format!("tasks?instance={id}")).await;
    assert_eq!((tasks.len(), &tasks[0]["name"], &tasks[0]["status"]), (1, &json!("fall"), &json!("Failed")));
}

/// SODA reads a workflow's parameters once, when the service is registered, and shows them for ever.
#[tokio::test]
async fn the_form_of_a_service_follows_its_workflow() {
    let scene = Scene::new().await;
    install_shop(&scene, "1.0.0", "size: { type: integer }").await;
    let service = scene.register("fails", &["shop.boom"]).await;
    let fields = async || {
        let shown = scene.get(&format!("services/{service}")).await.json();
        members(&shown["input"]).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(fields().await, ["size"]);
    install_shop(&scene, "1.1.0", "size: { type: integer }, colour: { type: string }").await;
    assert_eq!(fields().await, ["colour", "size"]);
}
