//! Services and schedules on the real server: a hundred registered at once, times that pass while the server is dead, an
//! order that is run again.

use std::path::Path;
use std::time::{Duration, Instant};

use orchestrator_tests::binaries::Binaries;
use orchestrator_tests::client::{Answer, Rest};
use orchestrator_tests::server::Server;
use reqwest::Method;
use serde_json::{Value, json};

/// Far more than anything here takes on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);

/// The server with a pack without components: a service `wash`, a workflow `polish`.
struct Scene {
    server: Server,
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn start() -> Self {
        let binaries = Binaries::built().expect("the programs build");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let server = Server::start(&binaries, directory.path()).await.expect("the server starts");
        let pack = directory.path().join("laundry");
        write_pack(&pack);
        Rest::new(&server.url).install(&binaries, &pack).expect("the pack installs");
        Self { server, _directory: directory }
    }

    fn rest(&self) -> Rest {
        Rest::new(&self.server.url)
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> Answer {
        self.rest().send(method, path, &[], Some(&body)).await.expect("an answer")
    }

    async fn get(&self, path: &str) -> Value {
        self.rest().get(path).await.expect("an answer")
    }

    /// The instances that a schedule started, by the names that it gives them.
    async fn started(&self, schedule: &str) -> Vec<Value> {
        let all = self.get("/v1/instances?limit=200").await;
        let items = all["items"].as_array().expect("a list").iter();
        items.filter(|instance| instance["name"] == schedule).cloned().collect()
    }

    /// Looks until a schedule is so.
    async fn schedule(&self, name: &str, is: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let view = self.get(&format!("/v1/schedules/{name}")).await;
            if is(&view) {
                return view;
            }
            assert!(begun.elapsed() < WITHIN, "{view}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn write_pack(folder: &Path) {
    std::fs::create_dir_all(folder).expect("made");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("written");
    write(
        "pack.yaml",
        "format: 1\nname: laundry\nversion: 1.0.0\nworld: orchestrator:pack/action@0.1\n\
         workflows: [wash.yaml, polish.yaml]\nservices:\n  - { name: wash, group: laundry, workflow: wash }\n",
    );
    for (name, schema) in [
        ("wash", "{ required: [load], properties: { load: { type: integer }, heat: { default: 40 } } }"),
        ("polish", "{ type: object }"),
    ] {
        let text = format!(
            "document: {{ dsl: '1.0.0', namespace: laundry, name: {name}, version: '1.0.0' }}\n\
             input: {{ schema: {{ document: {schema} }} }}\ndo:\n  - done: {{ set: {{ done: true }} }}\n"
        );
        write(&format!("{name}.yaml"), &text);
    }
}

#[tokio::test]
async fn a_hundred_services_are_registered_at_once_over_one_workflow() {
    let scene = Scene::start().await;
    let begun = Instant::now();
    let register = async |number: usize| {
        let body = json!({"name": format!("wash {number}"), "pack": "laundry", "workflow": "wash", "tags": ["bulk"]});
        scene.send(Method::POST, "/v1/services", body).await.status
    };
    let all = futures_util::future::join_all((0..100).map(register)).await;
    assert_eq!(all, [201; 100], "each of them is made");
    println!("100 services in {:?}", begun.elapsed());
    let listed = scene.get("/v1/services?tag=bulk").await;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(100));
    let again = futures_util::future::join_all((0..100).map(register)).await;
    assert_eq!(again, [409; 100], "each name is given once");
    let order = json!({"service": "wash 77", "input": {"load": 5}});
    let ordered = scene.send(Method::POST, "/v1/instances?wait=30", order).await.body;
    assert_eq!((&ordered["status"], &ordered["input"]), (&"completed".into(), &json!({"load": 5, "heat": 40})));
}

#[tokio::test]
async fn a_schedule_fires_each_of_its_times_once_although_the_server_is_killed() {
    let mut scene = Scene::start().await;
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    let once = json!({"name": "once", "service": "wash", "input": {"load": 1}, "at": soon.to_string()});
    assert_eq!(scene.send(Method::POST, "/v1/schedules", once.clone()).await.status, 201);
    let rhythm = json!({"name": "rhythm", "service": "wash", "input": {"load": 2}, "every": "PT1S"});
    assert_eq!(scene.send(Method::POST, "/v1/schedules", rhythm).await.status, 201);
    scene.schedule("rhythm", |view| view["last"]["instance"].is_string()).await;
    scene.server.kill();
    // Its time passes while nobody runs.
    tokio::time::sleep(Duration::from_secs(3)).await;
    scene.server.start_again().await.expect("the server starts again");
    let view = scene.schedule("once", |view| view["done"] == true).await;
    let fired = scene.started("once").await;
    assert_eq!((fired.len(), &fired[0]["id"]), (1, &view["last"]["instance"]));
    for _ in 0..3 {
        let before = scene.started("rhythm").await.len();
        scene.schedule("rhythm", |view| view["last"]["instance"].is_string()).await;
        while scene.started("rhythm").await.len() <= before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        scene.server.kill();
        scene.server.start_again().await.expect("the server starts again");
    }
    let off = scene.send(Method::PATCH, "/v1/schedules/rhythm", json!({"enabled": false})).await;
    assert_eq!((off.status, &off.body["enabled"]), (200, &false.into()));
    let mut times: Vec<jiff::Timestamp> = Vec::new();
    for instance in scene.started("rhythm").await {
        times.push(instance["createdAt"].as_str().expect("a time").parse().expect("a time"));
    }
    times.sort();
    // One a second, and after each of four starts one for what was missed.
    let passed = times[times.len() - 1].duration_since(times[0]).as_secs();
    let most = usize::try_from(passed).expect("time goes on") + 2 + 4;
    assert!((4..=most).contains(&times.len()), "{times:?}");
    assert_eq!(scene.send(Method::PUT, "/v1/schedules/once", once).await.status, 200, "said again, it is no other one");
    assert_eq!(scene.started("once").await.len(), 1);
}

#[tokio::test]
async fn an_order_is_run_again_after_a_restart() {
    let mut scene = Scene::start().await;
    let order = json!({"service": "wash", "name": "shirts", "input": {"load": 5}});
    let first = scene.send(Method::POST, "/v1/instances?wait=30", order).await.body;
    scene.server.kill();
    scene.server.start_again().await.expect("the server starts again");
    let path = format!("/v1/instances/{}", first["id"].as_str().expect("an id"));
    let prefill = scene.get(&format!("{path}/prefill")).await;
    assert_eq!(prefill, json!({"service": "wash", "name": "shirts", "input": {"load": 5, "heat": 40}}));
    let again = scene.send(Method::POST, &format!("{path}/rerun?wait=30"), json!({"input": {"load": 6}})).await;
    assert_eq!((again.status, &again.body["status"], &again.body["rerunOf"]), (201, &"completed".into(), &first["id"]));
    assert_eq!(again.body["input"], json!({"load": 6, "heat": 40}));
    let by_prefill = scene.send(Method::POST, "/v1/instances?wait=30", prefill).await;
    assert_eq!((by_prefill.status, &by_prefill.body["service"]), (201, &"wash".into()));
}
