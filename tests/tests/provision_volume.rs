//! The storage pack on the real server against the double of the block API: every service does its work, whatever fails
//! leaves nothing behind, neither a lost answer nor a killed server does anything twice; what a guest's memory holds is in
//! `guest_memory.rs`. Every fault of every request is tried in `storage.rs`, without a server.

use std::time::Duration;

use orchestrator_tests::binaries::Binaries;
use orchestrator_tests::client::Rest;
use orchestrator_tests::server::Server;
use orchestrator_tests::soda::{Change, Conduct, Fault, MOMENT, Pace, Soda, TOKEN, TOKEN_HEADER, Trouble};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

const SERVICE: &str = "volume provision";
const WITHIN: Duration = Duration::from_secs(60);

/// The server with the storage pack granted to a double.
struct Scene {
    server: Server,
    soda: Soda,
    host: String,
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn start() -> Self {
        let binaries = Binaries::built().expect("the programs build");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let soda = Soda::start_with(Pace::After(MOMENT)).await;
        let host = soda.host(&["default"]);
        let server = Server::start(&binaries, directory.path()).await.expect("the server starts");
        let rest = Rest::new(&server.url);
        rest.install(&binaries, &binaries.pack("storage").expect("the pack builds")).expect("the pack installs");
        rest.put_secret("soda-token", TOKEN).await.expect("the secret is stored");
        let scene = Self { server, soda, host, _directory: directory };
        scene.connect().await;
        scene
    }

    /// Points the connection at the double and grants it.
    async fn connect(&self) {
        let authentication = json!({"scheme": "header", "name": TOKEN_HEADER, "value": "soda-token"});
        let connection = json!({"baseUrl": self.soda.url, "authentication": authentication, "timeoutMs": 2000});
        let rest = self.rest();
        rest.put("/v1/connections/soda", connection).await.expect("the connection is stored");
        let grants = json!({"connections": {"backend": "soda"}});
        rest.put("/v1/packs/storage/grants", grants).await.expect("the connection is granted");
    }

    /// Another double in the place of the one before, without any volume.
    async fn renew(&mut self, pace: Pace) {
        self.soda = Soda::start_with(pace).await;
        self.host = self.soda.host(&["default"]);
        self.connect().await;
    }

    fn rest(&self) -> Rest {
        Rest::new(&self.server.url)
    }

    fn input(&self, more: Value) -> Value {
        let mut input = json!({"name": "data", "size": 2, "hostId": self.host, "pollSeconds": 0.02});
        for (name, value) in more.as_object().expect("an object") {
            input[name] = value.clone();
        }
        input
    }

    async fn order(&self, more: Value, key: &str) -> String {
        self.order_of(SERVICE, self.input(more), key).await
    }

    async fn order_of(&self, service: &str, input: Value, key: &str) -> String {
        let key = key.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        let ordered = self.rest().order(service, input, &key).await.expect("ordered");
        ordered["id"].as_str().expect("an id").to_owned()
    }

    /// Orders a service and gives the output of the completed instance, of which nothing tells a secret.
    async fn done(&self, service: &str, input: Value) -> Value {
        let id = self.order_of(service, input.clone(), &format!("{service} {input}")).await;
        let summary = self.rest().ended(&id, WITHIN).await.expect("it ends");
        assert_eq!(summary["status"], "completed", "{service}: {summary}");
        nothing_tells_a_secret(self, &id).await;
        summary["output"].clone()
    }

    async fn run(&self, more: Value, key: &str) -> Value {
        let id = self.order(more, key).await;
        self.rest().ended(&id, WITHIN).await.expect("it ends")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_made_attached_and_told() {
    let scene = Scene::start().await;
    let summary = scene.run(json!({"description": null}), "happy").await;
    assert_eq!(summary["status"], "completed", "{summary}");
    let volumes = scene.soda.volumes();
    assert_eq!(summary["output"]["volumeId"], volumes[0]["id"]);
    assert_eq!(volumes[0]["status"], "inUse");
    assert_eq!(summary["output"]["connectionInfo"]["driverVolumeType"], "iscsi", "{summary}");
    for request in scene.soda.requests() {
        assert_eq!(request.header(TOKEN_HEADER), Some(TOKEN), "the host adds the token");
        let body = request.body.as_object();
        let nulls = body.is_some_and(|body| body.values().any(Value::is_null));
        assert!(!nulls, "null never reaches the wire: {}", request.body);
    }
    nothing_tells_a_secret(&scene, summary["id"].as_str().expect("an id")).await;
}

/// Neither the token nor the address of the storage service is in anything that the server tells about the instance.
async fn nothing_tells_a_secret(scene: &Scene, id: &str) {
    let address = scene.soda.url.split('/').nth(2).expect("a URL has a host").to_owned();
    for part in ["", "/tasks", "/history", "/logs"] {
        let told = scene.rest().get(&format!("/v1/instances/{id}{part}")).await.expect("it is told").to_string();
        assert!(!told.contains(TOKEN), "{part}: {told}");
        assert!(!told.contains(&address), "{part}: {told}");
    }
    let log = std::fs::read_to_string(scene.server.log()).expect("the server logs");
    assert!(!log.contains(TOKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_service_does_its_work() {
    let scene = Scene::start().await;
    let quick = |more: Value| {
        let mut input = json!({"pollSeconds": 0.02});
        input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        input
    };
    let host = scene.done("host register", json!({"hostName": "db-01", "ip": "192.0.2.7"})).await;
    let hosts = scene.done("storage list", json!({"what": "hosts", "name": "db-01"})).await;
    assert_eq!(hosts["items"][0]["id"], host["hostId"]);
    let order = quick(json!({"name": "data", "size": 2, "hostId": host["hostId"]}));
    let volume = scene.done(SERVICE, order).await["volumeId"].clone();
    let order = quick(json!({"volumeId": volume, "name": "nightly"}));
    let snapshot = scene.done("volume snapshot", order).await["snapshotId"].clone();
    assert_eq!(scene.done("volume detach", quick(json!({"volumeId": volume}))).await["status"], "available");
    assert_eq!(scene.done("volume extend", quick(json!({"volumeId": volume, "size": 5}))).await["size"], 5);
    let pair = quick(json!({"volumeId": volume, "hostId": host["hostId"]}));
    assert_eq!(scene.done("volume attach", pair).await["accessProtocol"], "iscsi");
    let order =
        json!({"name": "copy", "size": 2, "hostId": scene.host, "snapshotId": snapshot, "snapshotFromCloud": true});
    scene.done(SERVICE, quick(order)).await;
    let order = quick(json!({"volumeId": volume, "deleteSnapshots": true}));
    assert_eq!(scene.done("volume retire", order).await["deletedSnapshots"], json!([snapshot]));
    let left = scene.soda.volumes();
    assert_eq!((left.len(), &left[0]["name"]), (1, &json!("copy")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pack_s_own_tests_pass_and_reach_everything() {
    let binaries = Binaries::built().expect("the programs build");
    let folder = binaries.pack("storage").expect("the pack builds");
    let told = binaries.run(&["pack", "test", &folder.to_string_lossy()]).expect("the cases pass");
    assert!(!told.contains("not reached"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_leaves_nothing_behind() {
    let mut scene = Scene::start().await;
    let cases: &[(&str, Conduct, Conduct, &str)] = &[
        ("the volume ends in an error", Conduct::Fails, Conduct::Works, "volume-not-made"),
        ("the attachment fails", Conduct::Works, Conduct::Fails, "volume-not-attached"),
        ("the attachment never ends", Conduct::Works, Conduct::Stuck, "timeout"),
    ];
    for (story, volume, attachment, kind) in cases {
        scene.renew(Pace::After(MOMENT)).await;
        scene.soda.next(Change::Volume, *volume);
        scene.soda.next(Change::Attachment, *attachment);
        let more = json!({"deadlineMinutes": 0.01, "cleanupMinutes": 0.02});
        let summary = scene.run(more, story).await;
        assert_eq!(summary["status"], "faulted", "{story}: {summary}");
        let found = summary["error"]["type"].as_str().expect("an error has a type");
        if *attachment == Conduct::Stuck {
            // The service refuses to delete what it is still creating: the error says what is left.
            assert!(found.ends_with("cleanup-incomplete"), "{story}: {summary}");
            continue;
        }
        assert!(found.ends_with(kind), "{story}: {summary}");
        assert_eq!(scene.soda.volumes(), Vec::<Value>::new(), "{story}");
        assert_eq!(scene.soda.attachments(), Vec::<Value>::new(), "{story}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_created_for_ever_ends_by_its_deadline() {
    let scene = Scene::start().await;
    scene.soda.next(Change::Volume, Conduct::Stuck);
    let summary = scene.run(json!({"deadlineMinutes": 0.01, "cleanupMinutes": 0.01}), "stuck").await;
    assert_eq!(summary["status"], "faulted", "{summary}");
    let detail = summary["error"]["detail"].as_str().expect("a detail");
    let volume = scene.soda.volumes()[0]["id"].as_str().expect("an id").to_owned();
    assert!(detail.contains(&volume), "the error names what is left: {summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_in_trouble_is_asked_again_and_no_volume_is_made_twice() {
    let mut scene = Scene::start().await;
    let requests = [
        ("POST", "/block/volumes"),
        ("GET", "/block/volumes"),
        ("POST", "/block/attachments"),
        ("GET", "/block/attachments"),
    ];
    for (method, path) in requests {
        for trouble in [Trouble::Status(503), Trouble::Drop] {
            for after_effect in [false, true] {
                let story = format!("{method} {path}: {trouble:?}, after its effect: {after_effect}");
                scene.renew(Pace::After(MOMENT)).await;
                let fault = Fault::on(method, path, trouble);
                scene.soda.fault(if after_effect { fault.after_effect() } else { fault });
                let summary = scene.run(json!({}), &story).await;
                assert_eq!(summary["status"], "completed", "{story}: {summary}");
                assert_eq!(scene.soda.made().volumes, 1, "{story}");
                assert_eq!(scene.soda.made().attachments, 1, "{story}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_at_random_moments_makes_one_volume() {
    let seed: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("seed {seed}: repeat with SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut scene = Scene::start().await;
    for round in 0..5 {
        scene.renew(Pace::After(MOMENT)).await;
        let id = scene.order(json!({}), &format!("round {round}")).await;
        for _ in 0..3 {
            // The moments of the kills are what is random here.
            tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await;
            scene.server.kill();
            scene.server.start_again().await.expect("starts again on the same data");
        }
        let summary = scene.rest().ended(&id, WITHIN).await.expect("it ends");
        assert_eq!(summary["status"], "completed", "seed {seed}, round {round}: {summary}");
        assert_eq!(scene.soda.made().volumes, 1, "seed {seed}, round {round}");
        assert_eq!(scene.soda.made().attachments, 1, "seed {seed}, round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_at_random_moments_does_every_order_once() {
    let seed: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("seed {seed}: repeat with SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut scene = Scene::start().await;
    let id = scene.done(SERVICE, scene.input(json!({}))).await["volumeId"].clone();
    for (service, input) in [
        ("volume snapshot", json!({"volumeId": id, "name": "s", "pollSeconds": 0.02})),
        ("volume detach", json!({"volumeId": id, "pollSeconds": 0.02})),
        ("volume extend", json!({"volumeId": id, "size": 5, "pollSeconds": 0.02})),
        ("volume attach", json!({"volumeId": id, "hostId": scene.host, "pollSeconds": 0.02})),
        ("host register", json!({"hostName": "db-01", "ip": "192.0.2.7"})),
        ("volume retire", json!({"volumeId": id, "deleteSnapshots": true, "pollSeconds": 0.02})),
    ] {
        let order = scene.order_of(service, input, service).await;
        for _ in 0..2 {
            // The moments of the kills are what is random here.
            tokio::time::sleep(Duration::from_millis(random.random_range(0..40))).await;
            scene.server.kill();
            scene.server.start_again().await.expect("starts again on the same data");
        }
        let summary = scene.rest().ended(&order, WITHIN).await.expect("it ends");
        assert_eq!(summary["status"], "completed", "seed {seed}, {service}: {summary}");
    }
    let made = scene.soda.made();
    let counts = (made.volumes, made.attachments, made.snapshots, made.extensions, made.hosts);
    assert_eq!(counts, (1, 2, 1, 1, 2), "seed {seed}: everything was made once");
    let left = (scene.soda.volumes(), scene.soda.attachments(), scene.soda.snapshots());
    assert_eq!(left, (vec![], vec![], vec![]), "seed {seed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_does_not_fit_is_refused_with_every_fault() {
    let scene = Scene::start().await;
    let order = json!({"service": SERVICE, "input": {"name": "a/b", "size": 0, "colour": "red"}});
    let answer = scene.rest().send(reqwest::Method::POST, "/v1/instances", &[], Some(&order)).await.expect("answered");
    assert!(matches!(answer.status, 400 | 422), "{answer:?}");
    let told = answer.body.to_string();
    for what in ["name", "size", "colour", "hostId"] {
        assert!(told.contains(what), "the problem names `{what}`: {told}");
    }
    assert_eq!(scene.soda.requests().len(), 0, "nothing went out");
    let listed = scene.rest().get("/v1/instances").await.expect("listed");
    assert_eq!(listed["items"], json!([]), "no instance was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_order_stops_within_a_second() {
    let scene = Scene::start().await;
    scene.soda.fault(Fault::on("POST", "/block/volumes", Trouble::Hang));
    let id = scene.order(json!({}), "cancel").await;
    while scene.soda.requests_to("POST", "/block/volumes").is_empty() {
        tokio::task::yield_now().await;
    }
    let start = std::time::Instant::now();
    let path = format!("/v1/instances/{id}/cancel");
    let answer = scene.rest().send(reqwest::Method::POST, &path, &[], None).await.expect("answered");
    assert_eq!(answer.status, 202, "{answer:?}");
    let summary = scene.rest().ended(&id, WITHIN).await.expect("it ends");
    assert_eq!(summary["status"], "cancelled");
    assert!(start.elapsed() < Duration::from_secs(1), "it took {:?}", start.elapsed());
}

/// Where an order is held when it is cancelled, and who cleans up.
const HELD: [(&str, &str, &str, &str); 7] = [
    ("volume provision", "POST", "/block/volumes", "remove-volume"),
    ("volume provision", "GET", "/block/volumes/", "remove-volume"),
    ("volume provision", "POST", "/block/attachments", "remove-volume"),
    ("volume provision", "GET", "/block/attachments/", "remove-volume"),
    ("volume snapshot", "POST", "/block/snapshots", "remove-snapshot"),
    ("volume snapshot", "GET", "/block/snapshots/", "remove-snapshot"),
    ("volume attach", "POST", "/block/attachments", "remove-attachment"),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_cancelled_anywhere_leaves_nothing_behind() {
    let mut scene = Scene::start().await;
    for (service, method, path, cleaner) in HELD {
        for after_effect in [false, true] {
            let story = format!("{service}, {method} {path}, after its effect: {after_effect}");
            scene.renew(Pace::After(MOMENT)).await;
            let mut input = scene.input(json!({}));
            if service != SERVICE {
                let made = scene.run(json!({}), &format!("before {story}")).await;
                let volume = made["output"]["volumeId"].clone();
                scene.done("volume detach", json!({"volumeId": volume, "pollSeconds": 0.02})).await;
                input = json!({"volumeId": volume, "pollSeconds": 0.02});
                let more = if service == "volume attach" { ("hostId", scene.host.as_str()) } else { ("name", "s") };
                input[more.0] = json!(more.1);
            }
            input["settleSeconds"] = json!(0.2);
            let before = (scene.soda.volumes().len(), scene.soda.attachments(), scene.soda.snapshots());
            let asked = scene.soda.requests_to(method, path).len();
            let fault = Fault::on(method, path, Trouble::Hang);
            scene.soda.fault(if after_effect { fault.after_effect() } else { fault });
            let id = scene.order_of(service, input, &story).await;
            while scene.soda.requests_to(method, path).len() == asked {
                tokio::task::yield_now().await;
            }
            let cleaned = scene.rest().cancelled(&id, cleaner, WITHIN).await.expect("it cleans up");
            assert_eq!(cleaned["status"], "completed", "{story}: {cleaned}");
            let after = (scene.soda.volumes().len(), scene.soda.attachments(), scene.soda.snapshots());
            assert_eq!(after, before, "{story}: {cleaned}");
        }
    }
}
