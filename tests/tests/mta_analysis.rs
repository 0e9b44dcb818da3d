//! The packs mta-analysis and move2kube on the real server against their doubles: an application is analysed whatever
//! happens on the way, what is cancelled is removed, and what is recommended is ordered with what is known already.

use std::time::Duration;

use orchestrator_tests::binaries::{Binaries, root};
use orchestrator_tests::client::Rest;
use orchestrator_tests::move2kube::{self, Api, Move2Kube};
use orchestrator_tests::mta::{self, Conduct, Hub, Mta, TOKEN};
use orchestrator_tests::server::Server;
use orchestrator_tests::stage::{Fault, Trouble};
use reqwest::Method;
use serde_json::{Value, json};

const SERVICE: &str = "application analysis";
const REPOSITORY: &str = "http://git.example/org/shop";
const WITHIN: Duration = Duration::from_secs(60);

/// The server with both packs, granted to doubles.
struct Scene {
    binaries: Binaries,
    server: Server,
    mta: Mta,
    move2kube: Move2Kube,
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn start() -> Self {
        let binaries = Binaries::built().expect("the programs build");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (mta, move2kube) = (Hub::start().await, Api::start().await);
        let server = Server::start(&binaries, directory.path()).await.expect("the server starts");
        let rest = Rest::new(&server.url);
        let stand_in = root().join("tests/fixtures/notification-pack");
        binaries.run(&["pack", "build", &stand_in.to_string_lossy()]).expect("the stand-in builds");
        rest.install(&binaries, &stand_in).expect("the stand-in installs");
        for pack in ["mta-analysis", "move2kube"] {
            rest.install(&binaries, &binaries.pack(pack).expect("the pack builds")).expect("the pack installs");
        }
        rest.put_secret("hub-token", TOKEN).await.expect("the secret is stored");
        let scene = Self { binaries, server, mta, move2kube, _directory: directory };
        scene.connect().await;
        scene
    }

    /// Points the connections at the doubles and grants them.
    async fn connect(&self) {
        let rest = self.rest();
        let hub = json!({"baseUrl": format!("{}{}", self.mta.url, mta::BASE), "timeoutMs": 2000,
            "authentication": {"scheme": "bearer", "token": "hub-token"}});
        let api = json!({"baseUrl": format!("{}{}", self.move2kube.url, move2kube::BASE), "timeoutMs": 2000});
        for (name, connection) in [("hub", hub), ("m2k", api)] {
            rest.put(&format!("/v1/connections/{name}"), connection).await.expect("the connection is stored");
        }
        for (pack, grants) in [("mta-analysis", json!({"hub": "hub"})), ("move2kube", json!({"move2kube": "m2k"}))] {
            let body = json!({ "connections": grants });
            rest.put(&format!("/v1/packs/{pack}/grants"), body).await.expect("the connection is granted");
        }
    }

    /// Another hub in the place of the one before, without anything in it.
    async fn renew(&mut self) {
        self.mta = Hub::start().await;
        self.connect().await;
    }

    fn rest(&self) -> Rest {
        Rest::new(&self.server.url)
    }

    async fn order(&self, more: Value, key: &str) -> String {
        let mut input = json!({"repositoryUrl": REPOSITORY, "pollSeconds": 0.02, "pollSecondsMax": 0.1});
        for (name, value) in more.as_object().expect("an object") {
            input[name] = value.clone();
        }
        let key = key.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        let ordered = self.rest().order(SERVICE, input, &key).await.expect("ordered");
        ordered["id"].as_str().expect("an id").to_owned()
    }

    async fn run(&self, more: Value, key: &str) -> Value {
        let id = self.order(more, key).await;
        self.rest().ended(&id, WITHIN).await.expect("it ends")
    }

    /// Waits until the hub holds what is asked for.
    async fn until(&self, holds: impl Fn(&mut Hub) -> bool) {
        let start = std::time::Instant::now();
        while !self.mta.with(&holds) {
            assert!(start.elapsed() < WITHIN, "the hub never came to that");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_is_analysed_and_moved_to_containers() {
    let scene = Scene::start().await;
    scene.mta.with(|hub| {
        hub.issues = vec![Hub::issue(1, "optional", 1, 3), Hub::issue(2, "potential", 2, 1)];
        hub.with_tracker();
    });
    let more = json!({"sourceBranch": "main", "recipients": ["user:default/ann"], "exportToIssueTracker": true,
        "mtaUrl": "https://mta.example"});
    let summary = scene.run(more, "happy").await;
    assert_eq!(summary["status"], "completed", "{summary}");
    let output = &summary["output"];
    assert_eq!(output["counts"]["optional"], json!({"issues": 1, "incidents": 3, "effort": 3}), "{output}");
    assert_eq!(output["ticketUrl"], "https://jira.example/browse/SHOP-1", "{output}");
    assert_eq!(scene.mta.with(|hub| (hub.waves.len(), hub.tickets.len(), hub.submitted)), (1, 1, 1));
    let id = summary["id"].as_str().expect("an id");
    nothing_tells_a_secret(&scene, id).await;
    it_is_followed_up(&scene, id).await;
}

/// What is recommended is listed with what is known already, and ordered once, with a link back.
async fn it_is_followed_up(scene: &Scene, id: &str) {
    let rest = scene.rest();
    let path = format!("/v1/instances/{id}/follow-ups");
    let listed = rest.get(&path).await.expect("listed");
    let first = &listed["items"][0];
    assert_eq!((&first["id"], &first["orderable"]), (&json!("move2kube"), &json!(true)), "{listed}");
    assert_eq!(first["service"], "move to containers", "{listed}");
    let known = json!({"repositoryUrl": REPOSITORY, "sourceBranch": "main", "recipients": ["user:default/ann"],
        "pollSeconds": 0.02, "pollSecondsMax": 0.1, "cleanupMinutes": 10, "settleSeconds": 90});
    assert_eq!(first["input"], known, "{listed}");
    assert_eq!(first["missing"], json!(["targetBranch", "workspaceId", "projectId"]), "{listed}");

    let refused = rest.send(Method::POST, &format!("{path}/move2kube"), &[], Some(&json!({}))).await.expect("answered");
    assert_eq!(refused.status, 422, "{refused:?}");
    assert!(refused.body.to_string().contains("targetBranch"), "{refused:?}");
    let unknown = rest.send(Method::POST, &format!("{path}/m2k"), &[], Some(&json!({}))).await.expect("answered");
    assert_eq!(unknown.status, 404, "{unknown:?}");

    let said = scene.binaries.run(&["--server", &scene.server.url, "instance", "follow-ups", id]).expect("listed");
    assert!(said.contains("move2kube") && said.contains("targetBranch"), "{said}");
    let order = ["targetBranch=containers", "workspaceId=w-1", "projectId=p-1", "move2kubeUrl=https://m2k.example"];
    let mut arguments = vec!["--server", &scene.server.url, "-o", "json", "instance", "follow-up", id, "move2kube"];
    arguments.extend(order);
    arguments.extend(["--idempotency-key", "once"]);
    let ordered: Value = serde_json::from_str(&scene.binaries.run(&arguments).expect("ordered")).expect("JSON");
    let again: Value = serde_json::from_str(&scene.binaries.run(&arguments).expect("ordered")).expect("JSON");
    assert_eq!(ordered["id"], again["id"], "the same key gives the same instance");
    assert_eq!(ordered["parent"], json!({"instance": id, "task": "follow-ups/move2kube", "detached": true}));
    let moved = rest.ended(ordered["id"].as_str().expect("an id"), WITHIN).await.expect("it ends");
    assert_eq!(moved["status"], "completed", "{moved}");
    assert_eq!(moved["output"]["transformationUrl"], "https://m2k.example/workspaces/w-1/projects/p-1/outputs/t-1");
    assert_eq!(scene.move2kube.with(|api| api.sources.clone()), ["git+ssh://git.example/org/shop@main"]);
    assert_eq!(scene.move2kube.with(|api| api.started), 1);
}

/// Neither the token nor the address of the hub is in anything that the server tells about the instance.
async fn nothing_tells_a_secret(scene: &Scene, id: &str) {
    let address = scene.mta.url.trim_start_matches("http://").to_owned();
    for part in ["", "/tasks", "/history", "/logs"] {
        let told = scene.rest().get(&format!("/v1/instances/{id}{part}")).await.expect("it is told").to_string();
        assert!(!told.contains(TOKEN) && !told.contains(&address), "{part}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_that_fails_for_a_while_is_made_again_and_nothing_is_made_twice() {
    let mut scene = Scene::start().await;
    let requests = [
        ("GET", "/hub/applications"),
        ("POST", "/hub/applications"),
        ("POST", "/hub/taskgroups"),
        ("PUT", "/hub/taskgroups"),
        ("GET", "/hub/taskgroups"),
        ("POST", "/hub/tickets"),
    ];
    for (method, path) in requests {
        for (trouble, after_effect) in
            [(Trouble::Status(503), false), (Trouble::Status(500), true), (Trouble::Drop, true)]
        {
            let story = format!("{method} {path}: {trouble:?}, after its effect: {after_effect}");
            scene.renew().await;
            scene.mta.with(Hub::with_tracker);
            let fault = Fault::on(method, path, trouble);
            scene.mta.fault(if after_effect { fault.after_effect() } else { fault });
            let summary = scene.run(json!({"exportToIssueTracker": true}), &story).await;
            assert_eq!(summary["status"], "completed", "{story}: {summary}");
            let made = scene.mta.with(|hub| {
                (hub.applications.len(), hub.groups.len(), hub.submitted, hub.waves.len(), hub.tickets.len())
            });
            assert_eq!(made, (1, 1, 1, 1, 1), "{story}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_or_takes_too_long_leaves_no_analysis_behind() {
    let mut scene = Scene::start().await;
    let cases = [
        (Conduct::Fails, json!({}), "analysis-failed"),
        (Conduct::Cancelled, json!({}), "analysis-cancelled"),
        (Conduct::Stuck("QuotaBlocked"), json!({"deadlineMinutes": 0.02}), "timeout"),
        (Conduct::Fails, json!({"unit": "task"}), "analysis-failed"),
        (Conduct::Fails, json!({"removeApplication": true}), "analysis-failed"),
    ];
    for (conduct, more, kind) in cases {
        let story = format!("{conduct:?} {more}");
        scene.renew().await;
        scene.mta.with(|hub| hub.conduct = conduct);
        let summary = scene.run(more.clone(), &story).await;
        assert_eq!(summary["status"], "faulted", "{story}: {summary}");
        assert!(summary["error"]["type"].as_str().is_some_and(|found| found.ends_with(kind)), "{story}: {summary}");
        let left = scene.mta.with(|hub| (hub.groups.len(), hub.tasks.len(), hub.applications.len()));
        let applications = usize::from(more.get("removeApplication").is_none());
        assert_eq!(left, (0, 0, applications), "{story}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mta_6_2_is_analysed_by_windup() {
    let scene = Scene::start().await;
    scene.mta.with(|hub| hub.is_6_2 = true);
    let refused = scene.run(json!({}), "wrong version").await;
    let detail = refused["error"]["detail"].as_str().expect("a detail");
    assert!(detail.contains("Addon: analyzer not found") && detail.contains("mtaVersion"), "{refused}");
    let summary = scene.run(json!({"mtaVersion": "6.2", "unit": "task"}), "right version").await;
    assert_eq!(summary["status"], "completed", "{summary}");
    assert_eq!(summary["output"]["counts"]["counted"], json!(false));
    assert_eq!(summary["output"]["result"]["nextWorkflows"][0]["id"], "move2kube");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_removes_the_running_analysis() {
    let scene = Scene::start().await;
    scene.mta.with(|hub| hub.conduct = Conduct::Stuck("Running"));
    let id = scene.order(json!({"settleSeconds": 0.1}), "cancel").await;
    scene.until(|hub| hub.tasks.iter().any(|task| task["state"] == "Running")).await;
    let path = format!("/v1/instances/{id}/cancel");
    let answer = scene.rest().send(Method::POST, &path, &[], None).await.expect("answered");
    assert_eq!(answer.status, 202, "{answer:?}");
    let summary = scene.rest().ended(&id, WITHIN).await.expect("it ends");
    assert_eq!(summary["status"], "cancelled");
    scene.until(|hub| hub.groups.is_empty() && hub.tasks.is_empty()).await;
    assert_eq!(scene.mta.count("PUT", "/hub/tasks/"), 1, "it was cancelled before it was deleted");
    let listed = scene.rest().get("/v1/instances?workflow=remove-analysis").await.expect("listed");
    let cleaning = &listed["items"][0];
    assert_eq!(cleaning["parent"]["instance"], json!(id), "{listed}");
    let cleaned = scene.rest().ended(cleaning["id"].as_str().expect("an id"), WITHIN).await.expect("it ends");
    assert_eq!((&cleaned["status"], &cleaned["output"]["instance"]), (&json!("completed"), &json!(id)), "{cleaned}");
    assert_eq!(scene.mta.with(|hub| hub.applications.len()), 0, "the order had made it");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_keeps_the_application_that_was_found_or_is_used() {
    let mut scene = Scene::start().await;
    let found = json!({"id": 77, "name": "shop", "repository": {"kind": "git", "url": REPOSITORY}});
    let places =
        [("POST", "/hub/applications", true), ("POST", "/hub/taskgroups", true), ("PUT", "/hub/taskgroups", true)];
    for (method, path, after_effect) in places {
        scene.renew().await;
        let fault = Fault::on(method, path, Trouble::Hang);
        scene.mta.fault(if after_effect { fault.after_effect() } else { fault });
        let id = scene.order(json!({"settleSeconds": 0.1}), &format!("held at {method} {path}")).await;
        while scene.mta.count(method, path) == 0 {
            tokio::task::yield_now().await;
        }
        let cleaned = scene.rest().cancelled(&id, "remove-analysis", WITHIN).await.expect("it cleans up");
        let left = scene.mta.with(|hub| (hub.applications.len(), hub.groups.len(), hub.tasks.len()));
        assert_eq!(left, (0, 0, 0), "{method} {path}: {cleaned}");
    }
    for (owner, is_found) in [(Value::Null, true), (json!({"id": 5, "name": "ann"}), false)] {
        scene.renew().await;
        scene.mta.with(|hub| {
            hub.conduct = Conduct::Stuck("Running");
            hub.applications.extend(is_found.then(|| found.clone()));
        });
        let id = scene.order(json!({"settleSeconds": 0.1}), &format!("kept: {is_found}")).await;
        scene.until(|hub| hub.tasks.iter().any(|task| task["state"] == "Running")).await;
        scene.mta.with(|hub| hub.applications[0]["owner"] = owner.clone());
        let cleaned = scene.rest().cancelled(&id, "remove-analysis", WITHIN).await.expect("it cleans up");
        let left = scene.mta.with(|hub| (hub.applications.len(), hub.groups.len(), hub.tasks.len()));
        assert_eq!(left, (1, 0, 0), "{cleaned}");
        let kept = cleaned["output"]["applicationKept"].as_str();
        assert_eq!(kept, (!is_found).then_some("it has an owner"), "{cleaned}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_removes_the_transformation_or_says_that_it_stays() {
    let scene = Scene::start().await;
    let order = json!({"repositoryUrl": REPOSITORY, "sourceBranch": "main", "targetBranch": "containers", "workspaceId": "w-1",
        "projectId": "p-1", "pollSeconds": 0.02, "settleSeconds": 0.1, "cleanupMinutes": 0.02});
    for (answered_after, held, left) in [(Some(0), "/api/v1/workspaces/w-1/projects/p-1/outputs/", 0), (None, "", 1)] {
        scene.move2kube.with(|api| api.answered_after = answered_after);
        let path = if held.is_empty() { "/api/v1/workspaces/w-1/projects/p-1" } else { held };
        if !held.is_empty() {
            scene.move2kube.fault(Fault::on("GET", held, Trouble::Hang));
        }
        let key = format!("cancel-{left}");
        let started = scene.move2kube.with(|api| api.started);
        let ordered = scene.rest().order("move to containers", order.clone(), &key).await.expect("ordered");
        while scene.move2kube.with(|api| api.started) == started || scene.move2kube.count("GET", path) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let id = ordered["id"].as_str().expect("an id");
        let cleaned = scene.rest().cancelled(id, "remove-transformation", WITHIN).await.expect("it cleans up");
        assert_eq!(cleaned["status"], "completed", "{cleaned}");
        assert_eq!(scene.move2kube.with(|api| api.outputs.len()), left, "{cleaned}");
        let told = cleaned["output"]["result"]["message"].to_string();
        assert_eq!(told.contains("answer its questions or delete the project"), left == 1, "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_at_each_stage_makes_one_analysis() {
    let mut scene = Scene::start().await;
    let stages: [(&str, &str); 4] = [
        ("POST", "/hub/applications"),
        ("POST", "/hub/taskgroups"),
        ("PUT", "/hub/taskgroups"),
        ("GET", "/hub/applications/1/analysis"),
    ];
    for (method, path) in stages {
        scene.renew().await;
        scene.mta.fault(Fault::on(method, path, Trouble::Hang).after_effect());
        let id = scene.order(json!({}), &format!("killed at {method} {path}")).await;
        while scene.mta.count(method, path) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        scene.server.kill();
        scene.server.start_again().await.expect("starts again on the same data");
        let summary = scene.rest().ended(&id, WITHIN).await.expect("it ends");
        assert_eq!(summary["status"], "completed", "{method} {path}: {summary}");
        let made = scene.mta.with(|hub| (hub.applications.len(), hub.groups.len(), hub.submitted));
        assert_eq!(made, (1, 1, 1), "{method} {path}");
    }
}
