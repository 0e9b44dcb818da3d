//! SODA's interface on the real server: what its installer registers, its dashboard orders a volume with, and its users
//! migrate a bucket with, against the doubles of the block storage and the multi-cloud service. Every row of the interface
//! is tried in `host/src/api/tests/soda.rs`, without a server.

use std::time::{Duration, Instant};

use orchestrator_tests::binaries::Binaries;
use orchestrator_tests::client::Rest;
use orchestrator_tests::multicloud::{self, Multicloud};
use orchestrator_tests::server::Server;
use orchestrator_tests::soda::{MOMENT, Pace, Soda, TOKEN, TOKEN_HEADER};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const WITHIN: Duration = Duration::from_secs(60);
const ROOT: &str = "/v1beta/default/orchestration";

/// The server with one of the packs, spoken to as SODA's clients do.
struct Scene {
    server: Server,
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn start(pack: &str) -> Self {
        let binaries = Binaries::built().expect("the programs build");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let server = Server::start(&binaries, directory.path()).await.expect("the server starts");
        let folder = binaries.pack(pack).expect("the pack builds");
        Rest::new(&server.url).install(&binaries, &folder).expect("the pack installs");
        Self { server, _directory: directory }
    }

    fn rest(&self) -> Rest {
        Rest::new(&self.server.url)
    }

    async fn send(&self, method: Method, rest: &str, body: Option<&Value>) -> (u16, Value) {
        let headers = [("X-Auth-Token", "gAAAAABe-a-token")];
        let answer = self.rest().send(method, &format!("{ROOT}/{rest}"), &headers, body).await.expect("an answer");
        (answer.status, answer.body)
    }

    async fn get(&self, rest: &str) -> Value {
        let (status, body) = self.send(Method::GET, rest, None).await;
        assert_eq!(status, 200, "{rest}: {body}");
        body
    }

    async fn post(&self, rest: &str, body: Value) -> Value {
        let (status, answer) = self.send(Method::POST, rest, Some(&body)).await;
        assert_eq!(status, 200, "{rest} {body}: {answer}");
        answer
    }

    /// Registers what SODA's installer registers; the identifier.
    async fn register(&self, name: &str, group: &str, sources: &[&str]) -> String {
        let workflow = |source: &&str| json!({ "definition_source": source, "wfe_type": "st2" });
        let workflows: Vec<Value> = sources.iter().map(workflow).collect();
        let body =
            json!({ "name": name, "description": name, "group": group, "user_id": "5580", "workflows": workflows });
        self.post("services", body).await["id"].as_str().expect("an id").to_owned()
    }

    /// Looks until an instance is not `Running` any more, as SODA's clients have to.
    async fn ended(&self, id: &str) -> Value {
        let start = Instant::now();
        loop {
            let instance = self.get(&format!("instances/{id}")).await;
            if instance["status"] != "Running" {
                return instance;
            }
            assert!(start.elapsed() < WITHIN, "{instance}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn connect_storage(scene: &Scene, soda: &Soda) {
    let rest = scene.rest();
    rest.put_secret("soda-token", TOKEN).await.expect("the secret is stored");
    let authentication = json!({ "scheme": "header", "name": TOKEN_HEADER, "value": "soda-token" });
    let connection = json!({ "baseUrl": soda.url, "authentication": authentication, "timeoutMs": 2000 });
    rest.put("/v1/connections/soda", connection).await.expect("the connection is stored");
    let grants = json!({ "connections": { "backend": "soda" } });
    rest.put("/v1/packs/storage/grants", grants).await.expect("the connection is granted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_provisioned_through_the_interface_of_soda_over_a_crash() {
    let mut scene = Scene::start("storage").await;
    let soda = Soda::start_with(Pace::After(MOMENT)).await;
    let host = soda.host(&["default"]);
    connect_storage(&scene, &soda).await;
    let sources = ["opensds.provision-volume", "opensds.snapshot-volume"];
    let service = scene.register("volume provision", "provisioning", &sources).await;
    assert_eq!(scene.register("volume provision", "provisioning", &sources).await, service, "an installer runs twice");
    let form = scene.get(&format!("services/{service}")).await["input"].clone();
    let required: Vec<&String> = form
        .as_object()
        .expect("a map")
        .iter()
        .filter(|(_, field)| field["required"] == true)
        .map(|(name, _)| name)
        .collect();
    assert_eq!(required, ["name", "size", "host_id"]);

    let parameters = json!({ "name": "data", "size": "2", "host_id": host, "profile_id": "", "snapshot_id": null,
        "poll_seconds": "0.02", "auth_token": "gAAAAABe-a-token", "ip_addr": "192.0.2.77", "port": "50040", "tenant_id": "x" });
    let body = json!({ "service_id": service, "action": "opensds.provision-volume", "name": "from the dashboard",
        "description": "data of the orders", "user_id": "5580", "parameters": parameters });
    let started = scene.post("instances", body).await;
    assert_eq!((&started["status"], &started["input"]["host_id"]), (&json!("Running"), &json!(host)));
    let id = started["id"].as_str().expect("an id").to_owned();
    scene.server.kill();
    scene.server.start_again().await.expect("it starts again");

    let ended = scene.ended(&id).await;
    assert_eq!((&ended["status"], &ended["state"]), (&json!("Success"), &json!("completed")), "{ended}");
    assert_eq!(
        (&ended["description"], &ended["service_definition_id"]),
        (&json!("data of the orders"), &json!(service))
    );
    let volumes = soda.volumes();
    assert_eq!((volumes.len(), &volumes[0]["status"]), (1, &json!("inUse")), "made once, and attached");
    assert_eq!(ended["result"]["volumeId"], volumes[0]["id"]);
    assert!(ended["output"].as_str().is_some_and(|text| text.lines().count() > 1), "{ended}");
    let told = [scene.get(&format!("tasks/{id}")).await, scene.get("instances").await, ended.clone()];
    let told = Value::from(told.to_vec()).to_string();
    assert!(!told.contains("gAAAAABe") && !told.contains("192.0.2.77") && !told.contains(TOKEN), "{told}");
    assert_eq!(scene.get(&format!("tasks/{id}")).await["published"]["volumeId"], volumes[0]["id"]);

    let refused = json!({ "service_id": service, "name": "too small", "parameters": { "name": "a", "size": "none" } });
    let (status, answer) = scene.send(Method::POST, "instances", Some(&refused)).await;
    assert!(status == 400 && answer["faultstring"].as_str().is_some_and(|text| text.contains("host_id")), "{answer}");
    assert_eq!(scene.send(Method::DELETE, &format!("instances/{id}"), None).await, (200, json!("Success")));
    assert_eq!(scene.get("instances").await, json!([]));
    assert_eq!(scene.send(Method::DELETE, &format!("services/{service}"), None).await, (200, json!("Success")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_migrated_by_a_plan_through_the_interface_of_soda() {
    let scene = Scene::start("bucket-migration").await;
    let cloud = Multicloud::start().await;
    let rest = scene.rest();
    rest.put_secret("cloud-token", multicloud::TOKEN).await.expect("the secret is stored");
    rest.put_secret("cloud-key", "s3-secret").await.expect("the secret is stored");
    let authentication = json!({ "scheme": "header", "name": multicloud::TOKEN_HEADER, "value": "cloud-token" });
    let connection = json!({ "baseUrl": cloud.url, "authentication": authentication, "timeoutMs": 2_000 });
    rest.put("/v1/connections/cloud", connection).await.expect("the connection is stored");
    rest.put_s3_connection("cloud-s3", &cloud.s3_url, "s3-access", "cloud-key").await.expect("stored");
    let connections = json!({ "multicloud": "cloud", "multicloud-s3": "cloud-s3" });
    let secrets = json!({ "backend-access-key": "cloud-key", "backend-secret-key": "cloud-key" });
    let grants = json!({ "connections": connections, "secrets": secrets });
    rest.put("/v1/packs/bucket-migration/grants", grants).await.expect("granted");
    cloud.backend("east");
    cloud.backend("west");
    cloud.bucket("b1", "east", &[5, 0, 700]);

    let service = scene.register("migration bucket", "migration", &["opensds.migration-bucket"]).await;
    let parameters = json!({ "name": "nightly", "description": "for test", "srcBucketName": "b1", "destBucketName": "b2",
        "destBackend": "west", "remainSource": "true", "userId": "5580", "poll_seconds": "0.01", "port": "8089" });
    let body = json!({ "service_id": service, "name": "move", "parameters": parameters });
    let id = scene.post("instances", body).await["id"].as_str().expect("an id").to_owned();
    let ended = scene.ended(&id).await;
    assert_eq!(ended["status"], "Success", "{ended}");
    assert_eq!(
        (&ended["action"], &ended["input"]["srcBucketName"]),
        (&json!("opensds.migration-bucket"), &json!("b1"))
    );
    assert_eq!(cloud.look("b2"), Some(("west".to_owned(), 3)));
    assert_eq!(cloud.plans(), Vec::<String>::new(), "the plan is gone");
}

/// The requests of SODA's own command line as it puts them on the wire, and the status that each is answered with. It
/// encodes a registration twice.
const COMMAND_LINE: &[(&str, &str, u16)] = &[
    ("GET services", "", 200),
    (
        "POST services",
        r#""{\"name\":\"volume provision\",\"description\":\"Volume Service\",\"tenant_id\":\"94b280022d0c4401bcf3b0ea85870519\",\"user_id\":\"558057c4256545bd8a307c37464003c9\",\"input\":\"\",\"constraint\":\"\",\"group\":\"provisioning\",\"workflows\":[{\"definition_source\":\"opensds.provision-volume\",\"wfe_type\":\"st2\"},{\"definition_source\":\"opensds.snapshot-volume\",\"wfe_type\":\"st2\"}]}""#,
        200,
    ),
    ("GET services/SERVICE", "", 200),
    ("GET services/08e8a8a3-7a78-43d3-9ab1-45fe7a60d4eb", "", 404),
    ("GET workflows", "", 200),
    (
        "POST instances",
        r#"{"service_id": "SERVICE", "action": "opensds.provision-volume", "name": "Volume Provision name", "description": "Volume Provision description", "user_id": "558057c4256545bd8a307c37464003c9", "parameters": {"ip_addr": "127.0.0.1", "port": "50040", "tenant_id": "94b280022d0c4401bcf3b0ea85870519", "size": 1, "name": "test", "host_id": "h-1"}}"#,
        200,
    ),
    ("GET instances", "", 200),
    ("GET instances/INSTANCE", "", 200),
    ("GET tasks/INSTANCE", "", 200),
    ("DELETE instances/INSTANCE", "", 200),
    ("DELETE instances/INSTANCE", "", 404),
];

/// The requests of SODA's dashboard, and the status that each is answered with: a form gives text for every field.
const DASHBOARD: &[(&str, &str, u16)] = &[
    ("GET services", "", 200),
    ("GET services/SERVICE", "", 200),
    (
        "POST instances",
        r#"{"service_id":"SERVICE","user_id":"558057c4256545bd8a307c37464003c9","action":"opensds.provision-volume","name":"data","description":"of the orders","parameters":{"name":"test","size":"1","host_id":"h-1","auth_token":"gAAAAABe","tenant_id":"94b280022d0c4401bcf3b0ea85870519","snapshot_from_cloud":"false","host_info":{"ip":"10.0.0.1"},"profile_id":""}}"#,
        200,
    ),
    ("GET instances", "", 200),
    ("GET instances/?service_def=SERVICE", "", 200),
    ("GET tasks/INSTANCE", "", 200),
    ("GET instances/INSTANCE", "", 200),
    ("DELETE instances/INSTANCE", "", 200),
];

/// A request as Python's `requests` writes it.
fn by_requests(host: &str, method: &str, path: &str, body: &str) -> String {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: python-requests/2.34.2\r\nAccept-Encoding: gzip, \
         deflate\r\nAccept: */*\r\nConnection: keep-alive\r\n"
    );
    match method {
        "POST" => format!(
            "{head}content-type: application/json\r\nx-auth-token: gAAAAABe\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
        "DELETE" => format!("{head}Content-Length: 0\r\n\r\n"),
        _ => format!("{head}\r\n"),
    }
}

/// A request as a browser writes it for Angular, behind the dashboard's proxy.
fn by_browser(host: &str, method: &str, path: &str, body: &str) -> String {
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: {host}\r\nX-Real-IP: 192.0.2.9\r\nConnection: close\r\nAccept: application/json, \
         text/plain, */*\r\nAccept-Language: en\r\nAccept-Encoding: gzip, deflate\r\nX-Auth-Token: gAAAAABe\r\nReferer: \
         http://{host}/\r\n"
    );
    match method {
        "POST" => format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
        _ => format!("{head}\r\n"),
    }
}

/// Writes these bytes; the status of the answer.
async fn on_the_wire(host: &str, request: &str) -> u16 {
    let mut socket = TcpStream::connect(host).await.expect("the server listens");
    socket.write_all(request.as_bytes()).await.expect("it takes the request");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n") {
        head.push(socket.read_u8().await.expect("it answers"));
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{head}"))
}

async fn as_they_ask(scene: &Scene, asked: &[(&str, &str, u16)], written: fn(&str, &str, &str, &str) -> String) {
    let host = scene.server.url.trim_start_matches("http://");
    let (mut service, mut instance) = (String::new(), String::new());
    for (line, body, expected) in asked {
        let known = |text: &str| text.replace("SERVICE", &service).replace("INSTANCE", &instance);
        let (method, path) = line.split_once(' ').expect("a method and a path");
        let request = written(host, method, &format!("{ROOT}/{}", known(path)), &known(body));
        assert_eq!(on_the_wire(host, &request).await, *expected, "{request}");
        let services = scene.get("services").await;
        let of_pack = services.as_array().and_then(|all| all.iter().find(|one| one["name"] == "volume provision"));
        service = of_pack.and_then(|one| one["id"].as_str()).expect("the pack's service").to_owned();
        if *line == "POST instances" {
            instance = scene.get("instances").await[0]["id"].as_str().expect("an instance").to_owned();
            scene.ended(&instance).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn soda_s_own_clients_are_answered_byte_for_byte() {
    let scene = Scene::start("storage").await;
    as_they_ask(&scene, COMMAND_LINE, by_requests).await;
    as_they_ask(&scene, DASHBOARD, by_browser).await;
}
