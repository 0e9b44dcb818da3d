//! The notification pack on the real server: every channel is told once, by the words of its outside, whatever fails in
//! between; and the server's own notifications by REST and by the command line.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use orchestrator_tests::backstage::{self, Backstage, SERVICE_TOKEN};
use orchestrator_tests::binaries::Binaries;
use orchestrator_tests::client::Rest;
use orchestrator_tests::server::Server;
use orchestrator_tests::smtp::Smtp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const SERVICE: &str = "send notification";
const WITHIN: Duration = Duration::from_secs(60);
const HOOK_KEY: &str = "hook-key-of-the-test";
const SLACK_PATH: &str = "T0/B0/slack-path-of-the-test";
const ANN: &str = "user:default/ann";

/// Takes requests and keeps them; answers with statuses in order, then 200.
#[derive(Clone, Default)]
struct Hook(Arc<Mutex<HookState>>);

#[derive(Default)]
struct HookState {
    taken: Vec<(String, Option<String>, Bytes)>,
    statuses: Vec<u16>,
    hangs: bool,
}

impl Hook {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let app = axum::Router::new().fallback(take).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        format!("http://{address}")
    }

    fn taken(&self) -> Vec<(String, Option<String>, Bytes)> {
        self.0.lock().expect("no holder panics").taken.clone()
    }

    fn change(&self, change: impl FnOnce(&mut HookState)) {
        change(&mut self.0.lock().expect("no holder panics"));
    }
}

async fn take(State(hook): State<Hook>, uri: Uri, headers: HeaderMap, body: Bytes) -> StatusCode {
    let (status, hangs) = {
        let mut state = hook.0.lock().expect("no holder panics");
        let signature = headers.get("x-signature").and_then(|value| value.to_str().ok()).map(str::to_owned);
        state.taken.push((uri.path().to_owned(), signature, body));
        let status = if state.statuses.is_empty() { 200 } else { state.statuses.remove(0) };
        (StatusCode::from_u16(status).expect("a valid status"), state.hangs)
    };
    if hangs {
        std::future::pending::<()>().await;
    }
    status
}

/// The server with the pack granted to doubles.
struct Scene {
    server: Server,
    binaries: Binaries,
    backstage: Backstage,
    smtp: Smtp,
    hook: Hook,
    slack: Hook,
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn start() -> Self {
        let binaries = Binaries::built().expect("the programs build");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (backstage, smtp) = (Backstage::start().await, Smtp::start().await);
        let (hook, slack) = (Hook::default(), Hook::default());
        let server = Server::start(&binaries, directory.path()).await.expect("the server starts");
        let scene = Self { server, binaries, backstage, smtp, hook, slack, _directory: directory };
        scene.set_up().await;
        scene
    }

    async fn set_up(&self) {
        let rest = self.rest();
        let pack = self.binaries.pack("notification").expect("the pack builds");
        rest.install(&self.binaries, &pack).expect("the pack installs");
        for (name, value) in [("token", SERVICE_TOKEN), ("hook-key", HOOK_KEY), ("slack-path", SLACK_PATH)] {
            rest.put_secret(name, value).await.expect("the secret is stored");
        }
        let connections = json!({
            "backstage": {"baseUrl": self.backstage.url, "authentication": {"scheme": "bearer", "token": "token"}},
            "slack": {"baseUrl": format!("{}/services", self.slack.start().await),
                "authentication": {"scheme": "path", "value": "slack-path"}},
            "webhook": {"baseUrl": format!("{}/in", self.hook.start().await),
                "authentication": {"scheme": "hmac", "key": "hook-key"}},
            "mail": {"baseUrl": format!("smtp://{}", self.smtp.address), "mail": {"from": "Flow <flow@example.org>",
                "tls": "none", "recipients": {ANN: ["ann@example.org"], "broadcast": ["all@example.org"]},
                "filter": {"minSeverity": "normal", "excludedTopics": ["noise"]}}},
        });
        let mut granted = json!({});
        for (name, connection) in connections.as_object().expect("an object") {
            rest.put(&format!("/v1/connections/{name}"), connection.clone()).await.expect("the connection is stored");
            granted[name] = json!(name);
        }
        rest.put("/v1/packs/notification/grants", json!({"connections": granted})).await.expect("granted");
    }

    fn rest(&self) -> Rest {
        Rest::new(&self.server.url)
    }

    async fn run(&self, input: Value, key: &str) -> Value {
        let ordered = self.rest().order(SERVICE, input, key).await.expect("ordered");
        self.rest().ended(ordered["id"].as_str().expect("an id"), WITHIN).await.expect("it ends")
    }

    async fn told(&self) -> Vec<Value> {
        let listed = self.rest().get(&format!("/v1/notifications?user={ANN}")).await.expect("listed");
        listed["items"].as_array().expect("a list").clone()
    }
}

fn order(title: &str, channels: &[&str]) -> Value {
    json!({"title": title, "channels": channels, "severity": "high", "topic": "disks", "link": "https://a.example/7",
        "recipients": {"type": "entity", "entityRef": [ANN]}})
}

const ALL: [&str; 5] = ["inbox", "backstage", "mail", "slack", "webhook"];

#[tokio::test(flavor = "multi_thread")]
async fn every_channel_is_told_and_no_secret_is() {
    let scene = Scene::start().await;
    let summary = scene.run(order("Disk <7> full", &ALL), "all").await;
    assert_eq!(summary["status"], "completed", "{summary}");
    assert_eq!(summary["output"]["result"]["message"], "told by inbox, backstage, mail, slack, webhook");
    assert_eq!(scene.told().await[0]["title"], "Disk <7> full");
    assert_eq!(scene.told().await[0]["origin"], "pack:notification");
    assert_eq!(scene.backstage.notifications()[0]["user"], ANN);
    let letter = &scene.smtp.letters()[0];
    assert_eq!((letter.to[0].as_str(), letter.header("Subject")), ("ann@example.org", Some("Disk <7> full")));
    let (path, _, body) = scene.slack.taken()[0].clone();
    assert_eq!(path, format!("/services/{SLACK_PATH}"));
    assert!(String::from_utf8_lossy(&body).contains("Disk &lt;7&gt; full"));
    let (path, signature, body) = scene.hook.taken()[0].clone();
    assert_eq!(path, "/in");
    check_signature(&signature.expect("it is signed"), &body);
    nothing_tells_a_secret(&scene, summary["id"].as_str().expect("an id")).await;

    let seen = scene.binaries.run(&["--server", &scene.server.url, "notification", "list", "--user", ANN, "--unread"]);
    assert!(seen.expect("orchctl lists").contains("Disk <7> full"));
    let marked = scene.binaries.run(&["--server", &scene.server.url, "notification", "read", "--all", "--user", ANN]);
    assert!(marked.expect("orchctl marks").contains("1 marked as read"));
    let status = scene.rest().get(&format!("/v1/notifications/status?user={ANN}")).await.expect("counted");
    assert_eq!((&status["unread"], &status["read"]), (&json!(0), &json!(1)));
}

/// HMAC-SHA256 by its definition (RFC 2104), so that the host's own code is not asked about itself.
fn check_signature(header: &str, body: &[u8]) {
    let (seconds, signature) = header.strip_prefix("t=").and_then(|rest| rest.split_once(",v1=")).expect("t=…,v1=…");
    let mut key = [0_u8; 64];
    key[..HOOK_KEY.len()].copy_from_slice(HOOK_KEY.as_bytes());
    let pad = |byte: u8| key.iter().map(|key| key ^ byte).collect::<Vec<_>>();
    let signed = [pad(0x36), format!("{seconds}.").into_bytes(), body.to_vec()].concat();
    let outer = [pad(0x5c), Sha256::digest(signed).to_vec()].concat();
    assert_eq!(signature, hex::encode(Sha256::digest(outer)));
}

async fn nothing_tells_a_secret(scene: &Scene, id: &str) {
    for part in ["", "/tasks", "/history", "/logs"] {
        let told = scene.rest().get(&format!("/v1/instances/{id}{part}")).await.expect("it is told").to_string();
        for hidden in [SERVICE_TOKEN, HOOK_KEY, SLACK_PATH, "127.0.0.1", "ann@example.org"] {
            assert!(!told.contains(hidden), "{part} tells {hidden}: {told}");
        }
    }
    let log = std::fs::read_to_string(scene.server.log()).expect("the server logs");
    assert!(![SERVICE_TOKEN, HOOK_KEY, SLACK_PATH].iter().any(|secret| log.contains(secret)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_and_a_killed_server_tell_nobody_twice() {
    let mut scene = Scene::start().await;
    // The webhook is away twice; the others are told once all the same.
    scene.hook.change(|state| state.statuses = vec![503, 503]);
    let summary = scene.run(order("retried", &ALL), "retried").await;
    assert_eq!(summary["status"], "completed", "{summary}");
    assert_eq!(scene.hook.taken().len(), 3);
    let counted = (scene.told().await.len(), scene.backstage.requests().len(), scene.smtp.letters().len());
    assert_eq!((counted, scene.slack.taken().len()), ((1, 1, 1), 1));

    // The server dies while the webhook, the last one, does not answer.
    scene.hook.change(|state| state.hangs = true);
    let ordered = scene.rest().order(SERVICE, order("killed", &ALL), "killed").await.expect("ordered");
    while scene.hook.taken().len() < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    scene.server.kill();
    scene.hook.change(|state| state.hangs = false);
    scene.server.start_again().await.expect("it starts again");
    let summary = scene.rest().ended(ordered["id"].as_str().expect("an id"), WITHIN).await.expect("it ends");
    assert_eq!(summary["status"], "completed", "{summary}");
    let counted = (scene.told().await.len(), scene.backstage.requests().len(), scene.smtp.letters().len());
    assert_eq!((counted, scene.slack.taken().len()), ((2, 2, 2), 2), "the checkpoint knows who was told");
    let hooked: Vec<Value> =
        scene.hook.taken()[3..].iter().map(|(_, _, body)| serde_json::from_slice(body).expect("JSON")).collect();
    assert!(hooked.len() == 2 && hooked[0]["id"] == hooked[1]["id"], "the repeat is known by its id: {hooked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_tells_once_and_failures_say_what_to_do() {
    let scene = Scene::start().await;
    let keyed = |title: &str| {
        let mut order = order(title, &["inbox", "mail", "backstage"]);
        order["key"] = json!("disks/7");
        order
    };
    assert_eq!(scene.run(keyed("90 %"), "k1").await["output"]["suppressed"], false);
    let second = scene.run(keyed("90 %"), "k2").await;
    assert_eq!(second["output"]["result"]["message"], "told before, and not told again", "{second}");
    scene.run(keyed("95 %"), "k3").await;
    assert_eq!((scene.told().await.len(), scene.smtp.letters().len()), (1, 1));
    assert_eq!(scene.told().await[0]["title"], "95 %");
    assert_eq!(scene.backstage.notifications().len(), 1);
    assert_eq!(scene.backstage.notifications()[0]["payload"]["title"], "95 %");

    let faulted = async |input: Value, key: &str, text: &str| {
        let summary = scene.run(input, key).await;
        let detail = summary["error"]["detail"].as_str().unwrap_or_default().to_owned();
        assert!(summary["status"] == "faulted" && detail.contains(text), "{text}: {summary}");
    };
    scene.backstage.trouble(backstage::Trouble::Status(403));
    faulted(order("a", &["inbox", "backstage"]), "f1", "told were: inbox").await;
    let mut eve = order("a", &["mail"]);
    eve["recipients"] = json!({"type": "entity", "entityRef": ["user:default/eve"]});
    faulted(eve, "f2", "mail.recipients").await;
    scene.slack.change(|state| state.statuses = vec![404]);
    faulted(order("a", &["slack"]), "f3", "make a new one").await;
    let mut noise = order("a", &["mail"]);
    noise["topic"] = json!("noise");
    let kept_back = scene.run(noise, "f4").await;
    assert_eq!(kept_back["output"]["skipped"][0]["channel"], "mail", "{kept_back}");
    scene.backstage.trouble(backstage::Trouble::Status(503));
    let retried = scene.run(order("b", &["backstage"]), "f5").await;
    assert_eq!(retried["status"], "completed", "{retried}");
}
